//! Whatever the bytes: no panic, and an answer that makes sense. Valid packets, damaged in the places that matter.

mod common;

use std::collections::BTreeSet;

use common::{encapsulation, ip, segment, tcp_options, Rng, ECN};
use smartwire_packet::build::{write_tcp, TcpFields, Template};
use smartwire_packet::tcp::{Flags, Options, Tcp, TcpMut};
use smartwire_packet::{csum, cut, icmp, parse, Encap, IpVersion, Layers, Refusal, Tunnel, TunnelKind, MAX_TUNNELS};

/// A valid frame of any kind.
fn valid(rng: &mut Rng) -> Vec<u8> {
    if !rng.one_in(3) {
        return segment(rng, 60);
    }
    let (_, mut packet) = encapsulation(rng);
    packet = ip(rng, packet);
    if rng.one_in(3) {
        packet = packet.extension([0, 43, 60, 44][rng.below(4)], &[0; 6]).ip_options(&[1; 4]);
    }
    if rng.one_in(3) {
        packet = packet.fragment(rng.below(4) as u16, rng.one_in(2));
    }
    let n = rng.below(80);
    let bytes = rng.bytes(n);
    match rng.below(4) {
        0 => packet.udp(rng.u16(), [2152, 53][rng.below(2)]).payload(&bytes).build(),
        1 => {
            let (_, inner) = encapsulation(rng);
            let quote = ip(rng, inner).tcp(1, 2).build().split_off(14);
            packet.icmp().payload(&[&[3, 4, 0, 0, 0, 0, 5, 0], &quote[..]].concat()).build()
        }
        2 => packet.raw(rng.u8()).payload(&bytes).build(),
        _ => packet.tcp(1, 2).options(&tcp_options(rng)).payload(&bytes).build(),
    }
}

/// One to eight changes: bits, bytes, values that parsers trip over, cuts, growth, bytes moved.
fn damage(rng: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(8) {
        if frame.is_empty() {
            return;
        }
        // Mostly in the headers.
        let reach = if rng.one_in(4) { frame.len() } else { frame.len().min(120) };
        let at = rng.below(reach);
        match rng.below(8) {
            0 => frame[at] ^= 1 << rng.below(8),
            1 => frame[at] = rng.u8(),
            2 => frame[at] = [0, 1, 4, 5, 6, 17, 41, 43, 44, 0x45, 0x60, 0x7f, 0x80, 0xff][rng.below(14)],
            3 => frame[at] = frame[at].wrapping_add_signed([-1, 1, -8, 8][rng.below(4)]),
            4 => frame.truncate(at),
            5 => frame.extend(vec![rng.u8(); rng.below(40)]),
            6 => {
                let n = rng.below(9).min(frame.len() - at);
                frame.drain(at..at + n);
            }
            _ => {
                let kinds = [0x8100_u16, 0x88a8, 0x8847, 0x8864, 0x0800, 0x86dd, 0x0021, 2152];
                let word = kinds[rng.below(8)].to_be_bytes();
                frame.splice(at..at, word);
            }
        }
    }
}

/// What holds for the answer to any frame.
fn sensible(frame: &[u8], l: &Layers) {
    let length = frame.len();
    assert!(l.l3 >= 14 && l.l3 < l.l4 && l.l4 <= l.data && l.data <= l.end && usize::from(l.end) <= length, "{l:?}");
    assert_eq!(frame[usize::from(l.l3)] >> 4, l.ip as u8);
    assert!(!l.first_frag || l.frag);
    let mut inside = 13;
    let mut end = u16::MAX;
    for t in l.tunnels() {
        assert!(t.ip > inside && t.l4 > t.ip && t.l4 < t.end && t.end <= end, "{l:?}");
        (inside, end) = (t.ip, t.end);
    }
    assert!(l.l3 > inside && l.end <= end);
    assert_eq!(l.tunnels().is_empty(), !l.encap.contains(Encap::GTPU) && l.encap.0 & 0xf0 == 0);
    if l.is_tcp() {
        let t = Tcp::new(frame, l).expect("a segment has a view");
        assert_eq!(t.payload().len(), usize::from(l.data_len()));
        assert!((20..=60).contains(&t.header_len()));
    }
}

/// Everything that takes a frame and layers, which need not belong together.
fn exercise(rng: &mut Rng, frame: &[u8], l: &Layers) {
    csum::verify(frame, l);
    csum::verify_outer_udp(frame, l);
    icmp::error(frame, l);
    let _ = (l.ports(frame), l.src(frame), l.dst(frame), l.scope(frame, 3), l.ip_id(frame), l.dont_fragment(frame));
    if let Some(t) = Tcp::new(frame, l) {
        let _ = (t.options(), t.seq_len(), t.header_len());
    }
    let (front, keep) = (rng.below(70) as u16, rng.below(70) as u16);
    let mut copy = frame.to_vec();
    cut::trim(&mut copy, l, front, keep);
    let mut copy = frame.to_vec();
    cut::trim(&mut copy, l, 0, l.data_len());
    let mut out = vec![0; rng.below(300)];
    cut::extract(frame, l, front, keep, &mut out);
    if let Some(template) = Template::learn(frame, l) {
        let fields = TcpFields {
            src_port: 1,
            dst_port: 2,
            seq: 3,
            ack: 4,
            flags: Flags::ACK,
            window: 5,
            ip_id: 6,
            ecn: ECN[rng.below(4)],
        };
        let _ = write_tcp(&mut out, &template.path().with_ends(&template.ends()), &fields, &[1; 12], b"payload");
    }
    let mut copy = frame.to_vec();
    l.set_ecn(&mut copy, ECN[rng.below(4)]);
    l.set_dscp(&mut copy, rng.u8());
    l.set_ttl(&mut copy, rng.u8());
    if let Some(mut t) = TcpMut::new(&mut copy, l) {
        t.set_seq(rng.u32());
        t.set_flags(Flags(rng.u16()), Flags(rng.u16()));
        t.set_timestamps(rng.u8(), 1, 2);
        t.set_sack(rng.u8(), &[(1, 2); 9]);
        t.replace_bytes(rng.below(99), &[1, 2, 3]);
    }
    csum::fill_l4(&mut copy, l);
    assert_eq!(copy.len(), frame.len());
}

#[test]
fn damaged_packets_parse_to_something_sensible_or_to_a_refusal() {
    let mut rng = Rng::seeded("damaged");
    let (mut parsed, mut refusals) = (0_u32, BTreeSet::new());
    for _ in 0..40_000 {
        let mut frame = valid(&mut rng);
        damage(&mut rng, &mut frame);
        match parse(&frame) {
            Ok(l) => {
                parsed += 1;
                sensible(&frame, &l);
                exercise(&mut rng, &frame, &l);
            }
            Err(refusal) => {
                refusals.insert(refusal);
            }
        }
    }
    // The damage is neither so heavy nor so light that only one side is tested. A frame of 64 kB and nine tags in a row
    // don't come by chance.
    assert!(parsed > 8_000 && parsed < 32_000, "{parsed}");
    assert!(refusals.len() >= Refusal::ALL.len() - 6, "{refusals:?}");
}

#[test]
fn undamaged_packets_all_parse() {
    let mut rng = Rng::seeded("undamaged");
    for _ in 0..5_000 {
        let frame = segment(&mut rng, 60);
        let l = parse(&frame).unwrap();
        sensible(&frame, &l);
        exercise(&mut rng, &frame, &l);
    }
}

#[test]
fn noise_is_survived() {
    let mut rng = Rng::seeded("noise");
    for _ in 0..20_000 {
        let n = rng.below(200);
        let mut frame = rng.bytes(n);
        if frame.len() > 14 && rng.one_in(2) {
            let kind = [0x0800_u16, 0x86dd, 0x8100, 0x8847, 0x8864][rng.below(5)];
            frame[12..14].copy_from_slice(&kind.to_be_bytes());
            frame[14] = [0x45, 0x60, 0x11, 0x46][rng.below(4)];
        }
        if let Ok(l) = parse(&frame) {
            sensible(&frame, &l);
            exercise(&mut rng, &frame, &l);
        }
        Options::scan(&frame);
    }
}

#[test]
fn layers_of_another_frame_do_no_harm() {
    let mut rng = Rng::seeded("another_frame");
    for _ in 0..10_000 {
        let frame = segment(&mut rng, 60);
        let l = parse(&frame).unwrap();
        let other = segment(&mut rng, 60);
        let cut = rng.below(other.len() + 1);
        exercise(&mut rng, &other[..cut], &l);
    }
}

#[test]
fn layers_that_nobody_parsed_do_no_harm() {
    let mut rng = Rng::seeded("nobody_parsed");
    let offset = |rng: &mut Rng| if rng.one_in(4) { rng.u16() } else { rng.below(140) as u16 };
    for _ in 0..10_000 {
        let mut tunnel = [Tunnel::default(); MAX_TUNNELS];
        for t in &mut tunnel {
            let kind = if rng.one_in(2) { TunnelKind::Ip } else { TunnelKind::Gtpu };
            *t = Tunnel {
                ip: offset(&mut rng),
                l4: offset(&mut rng),
                end: offset(&mut rng),
                kind,
                v6: rng.one_in(2),
                routed: rng.one_in(4),
            };
        }
        let l = Layers {
            l3: offset(&mut rng),
            l4: offset(&mut rng),
            data: offset(&mut rng),
            end: offset(&mut rng),
            ip: if rng.one_in(2) { IpVersion::V4 } else { IpVersion::V6 },
            proto: [6, 6, 6, 17, 1, 58, 47][rng.below(7)],
            frag: rng.one_in(8),
            first_frag: rng.one_in(8),
            ip_options: rng.one_in(8),
            routed: rng.one_in(8),
            encap: Encap(rng.u16()),
            pppoe: if rng.one_in(2) { 0 } else { offset(&mut rng) },
            tunnel_count: rng.below(6) as u8,
            tunnel,
        };
        let frame = segment(&mut rng, 60);
        exercise(&mut rng, &frame, &l);
    }
}
