//! The classifier against the packet library, frame by frame.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use smartwire_packet::build::Packet;
use smartwire_packet::tcp::Flags;
use smartwire_packet::{icmp, parse, proto, Encap, Refusal};

use super::{Bench, PATIENT};
use crate::steer::{bpf, maps, AttachOptions};

fn ends(v6: bool) -> (IpAddr, IpAddr) {
    match v6 {
        false => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(198, 51, 100, 2).into()),
        true => ("2001:db8:1:2::1".parse::<Ipv6Addr>().unwrap().into(), "2001:db8:9::2".parse::<Ipv6Addr>().unwrap().into()),
    }
}

type Link = fn(Packet) -> Packet;
const LINKS: [(&str, Link); 6] = [
    ("plain", |p| p),
    ("802.1Q", |p| p.vlan(100)),
    ("802.1ad", |p| p.service_vlan(5).vlan(6)),
    ("0x9100", |p| p.tag(0x9100, 0x6005).vlan(6)),
    ("three tags", |p| p.vlan(1).vlan(2).vlan(3)),
    ("eight tags", |p| (1..9).fold(p, |p, id| p.vlan(id))),
];

/// (what, frame) for each link header and IP version, with `inner` behind the IP header.
fn each(what: &str, inner: impl Fn(Packet) -> Packet) -> Vec<(String, Vec<u8>)> {
    let all = LINKS.iter().flat_map(|(link, wrap)| [false, true].map(|v6| (link, wrap, v6)));
    let frame = |wrap: &Link, v6| {
        let (a, b) = ends(v6);
        inner(wrap(Packet::new()).ip(a, b)).build()
    };
    all.map(|(link, wrap, v6)| (format!("{what}, {link}, v6: {v6}"), frame(wrap, v6))).collect()
}

fn icmp_type(kind4: u8, kind6: u8) -> Vec<(String, Vec<u8>)> {
    let quoted = |v6| {
        let (a, b) = ends(v6);
        Packet::new().ip(b, a).tcp(80, 4000).build()[14..].to_vec()
    };
    let message = |v6: bool| [&[if v6 { kind6 } else { kind4 }, 0, 0, 0, 0, 0, 0, 0][..], &quoted(v6)].concat();
    LINKS
        .iter()
        .flat_map(|(link, wrap)| [false, true].map(|v6| (link, wrap, v6)))
        .map(|(link, wrap, v6)| {
            let (a, b) = ends(v6);
            let frame = wrap(Packet::new()).ip(a, b).icmp().payload(&message(v6)).build();
            (format!("ICMP {kind4}/{kind6}, {link}, v6: {v6}"), frame)
        })
        .collect()
}

fn cut_by_one_byte(mut frames: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    frames.iter_mut().for_each(|(_, frame)| frame.truncate(frame.len() - 1));
    frames
}

/// What the engine gets.
fn claimed() -> Vec<(String, Vec<u8>)> {
    let (a4, b4) = ends(false);
    let (a6, b6) = ends(true);
    let tcp = |p: Packet| p.tcp(4000, 80).payload(b"hello");
    let mut all = [
        each("TCP", tcp),
        each("SYN", |p| p.tcp(4000, 80).flags(Flags::SYN).options(&[2, 4, 5, 180])),
        each("padded ACK", |p| p.tcp(4000, 80).padding(6)),
        each("large TCP", |p| p.tcp(4000, 80).payload(&[9; 1400])),
        each("first fragment of TCP", |p| p.fragment(0, true).tcp(4000, 80).payload(&[1; 64])),
        each("middle fragment of TCP", |p| p.fragment(9, true).tcp(4000, 80).payload(&[1; 64])),
        each("last fragment of TCP", |p| p.fragment(90, false).tcp(4000, 80).payload(&[1; 8])),
        each("IP options", |p| p.ip_options(&[7, 7, 4, 0, 0, 0, 0]).extension(60, &[0; 6]).tcp(4000, 80)),
        each("hop-by-hop and routing", |p| p.extension(0, &[0; 14]).extension(43, &[0, 0, 0, 1, 0, 0]).tcp(4000, 80)),
        each("atomic fragment", |p| p.fragment(0, false).tcp(4000, 80)),
        each("GTP-U with TCP", |p| tcp(p.gtpu(7).ip(a4, b4))),
        each("GTP-U with sequence number and extension", |p| tcp(p.gtpu(7).gtp_seq(3).gtp_extension(0x85, &[1, 2]).ip(a6, b6))),
        each("GTP-U with UDP", |p| p.gtpu(7).ip(a4, b4).udp(1, 2).payload(b"x")),
        each("IPv4 in IP", |p| tcp(p.ip(a4, b4))),
        each("IPv6 in IP", |p| tcp(p.ip(a6, b6))),
        icmp_type(3, 1),
        icmp_type(11, 3),
        icmp_type(12, 4),
        icmp_type(3, 2),
    ]
    .concat();
    for (name, link) in [
        ("MPLS", (|p| p.mpls(17)) as Link),
        ("three labels", |p| p.vlan(4).mpls(16).mpls(17).mpls(18)),
        ("sixteen labels", |p| (0..16).fold(p, Packet::mpls)),
        ("PPPoE", |p| p.pppoe(1)),
        ("PPPoE behind two tags", |p| p.service_vlan(1).vlan(2).pppoe(1)),
    ] {
        for v6 in [false, true] {
            let (a, b) = ends(v6);
            all.push((format!("TCP in {name}"), tcp(link(Packet::new()).ip(a, b)).build()));
            all.push((format!("UDP in {name}"), link(Packet::new()).ip(a, b).udp(1, 2).payload(b"x").build()));
        }
    }
    all
}

/// What is wire.
fn wire() -> Vec<(String, Vec<u8>)> {
    let mut all = [
        each("UDP", |p| p.udp(5000, 443).payload(&[1; 1200])),
        each("UDP to GTP-U's port", |p| p.udp(2152, 2152).payload(&[0x32, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0])),
        each("GTP' (protocol type 0)", |p| p.udp(2152, 2152).payload(&[0x20, 255, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0])),
        each("fragment of UDP", |p| p.fragment(3, true).udp(1, 2).payload(&[0; 64])),
        each("fragment of a tunnel", |p| p.fragment(3, true).raw(41).payload(&[0; 64])),
        each("first fragment of GTP-U", |p| p.fragment(0, true).gtpu(7).ip(ends(false).0, ends(false).1).tcp(1, 2)),
        each("first fragment of a tunnel", |p| p.fragment(0, true).ip(ends(true).0, ends(true).1).tcp(1, 2)),
        cut_by_one_byte(each("TCP shorter than its IP header says", |p| p.tcp(4000, 80).payload(b"hello"))),
        each("SCTP", |p| p.raw(132).payload(&[0; 32])),
        each("GRE", |p| p.raw(47).payload(&[0; 32])),
        each("cut TCP header", |p| p.raw(6).payload(&[0; 19])),
        icmp_type(8, 128),
        icmp_type(0, 129),
        icmp_type(13, 135),
        icmp_type(14, 136),
    ]
    .concat();
    let raw = |rest: &[u8]| [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2][..], rest].concat();
    all.extend(
        [
            ("ARP", raw(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
            ("PPPoE LCP", raw(&[0x88, 0x64, 0x11, 0, 0, 1, 0, 6, 0xc0, 0x21, 1, 1, 0, 4])),
            ("PPPoE discovery", raw(&[0x88, 0x63, 0x11, 9, 0, 0, 0, 0])),
            ("pseudo-wire", raw(&[0x88, 0x47, 0, 1, 1, 64, 0, 0, 0, 0, 0x45, 0, 0, 0])),
            ("labels without end", raw(&[&[0x88, 0x47][..], &[0, 1, 0, 64].repeat(17), &[0x45, 0, 0, 0]].concat())),
            ("nine tags", Packet::tcp((1..10).fold(Packet::new(), Packet::vlan).ip(ends(false).0, ends(false).1), 1, 2).build()),
            ("IPv4 that says it is 6", raw(&[&[8, 0, 0x65, 0, 0, 40], &[6; 34][..]].concat())),
            ("length field frame", raw(&[0, 4, 0x42, 0x42, 3, 0])),
        ]
        .map(|(what, frame)| (what.to_owned(), frame)),
    );
    all
}

#[test]
fn claims_tcp_and_what_may_carry_or_concern_it_and_nothing_else() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    bench.heartbeat.claim().unwrap();
    for (what, frame) in claimed() {
        assert!(bench.claims(&frame), "{what} is not claimed");
    }
    for (what, frame) in wire() {
        assert!(!bench.claims(&frame), "{what} is claimed");
    }
}

#[test]
fn claims_nothing_without_a_live_engine_nor_frames_beyond_its_buffers() {
    let Some(bench) = Bench::new(&AttachOptions { max_frame: 600, ..PATIENT }) else { return };
    let (a, b) = ends(true);
    let frame = |bytes| Packet::new().ip(a, b).tcp(1, 2).payload(&vec![7; bytes]).build();
    let most = 600 - frame(0).len();
    assert!(!bench.claims(&frame(0)), "before the claim");
    bench.heartbeat.claim().unwrap();
    assert!(bench.claims(&frame(most)));
    assert!(!bench.claims(&frame(most + 1)));
    let counted = maps::counters(&bench.wire);
    assert_eq!((counted.oversize_frames, counted.no_socket_frames), (1, 0));
    // Claimed twice, by XDP and by tc.
    assert_eq!((counted.claimed_frames, counted.claimed_bytes), (2, 1200));
    // What XDP should have taken and did not.
    bpf::test_run(&bench.xdp[0].tc, &frame(most)).unwrap();
    assert_eq!(maps::counters(&bench.wire).no_socket_frames, 1);
    bench.heartbeat.release();
    assert!(!bench.claims(&frame(0)), "after the release");
}

/// What the packet library says that the engine would look at.
fn engine_wants(frame: &[u8]) -> Option<bool> {
    let encapsulated = |e: Encap| e.0 & !(Encap::VLAN | Encap::QINQ).0 != 0;
    match parse(frame) {
        Ok(l) => Some(encapsulated(l.encap) || l.proto == proto::TCP || icmp::error(frame, &l).is_some()),
        // Wire, whatever it was.
        Err(Refusal::LinkTruncated | Refusal::NotIp | Refusal::TooManyTags) => Some(false),
        // What encapsulates the malformed header may be whole.
        Err(_) => None,
    }
}

#[test]
fn never_misses_what_the_packet_library_finds_in_a_cut_or_damaged_frame() {
    let Some(bench) = Bench::new(&PATIENT) else { return };
    bench.heartbeat.claim().unwrap();
    let seed = 0x5eed_5eed_5eed_5eed_u64;
    let mut state = seed;
    let mut random = |below: usize| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let frames: Vec<_> = claimed().into_iter().chain(wire()).collect();
    let check = |what: &str, frame: &[u8]| {
        let claims = bench.claims(frame);
        if let Some(wants) = engine_wants(frame) {
            // Of an ICMP error the engine wants less: only what quotes two addresses.
            let enough = claims == wants || (claims && parse(frame).is_ok_and(|l| matches!(l.proto, 1 | 58)));
            assert!(enough, "{what} (seed {seed:#x}): claimed {claims}, wanted {wants}: {frame:02x?}");
        }
    };
    for (what, frame) in &frames {
        for _ in 0..12 {
            let mut cut = frame[..1 + random(frame.len())].to_vec();
            check(what, &cut);
            if cut.len() > 14 {
                // Damage behind the addresses, where it matters.
                for _ in 0..1 + random(3) {
                    let at = 12 + random((cut.len() - 12).min(64));
                    cut[at] = random(256) as u8;
                }
                check(what, &cut);
            }
            let mut damaged = frame.clone();
            let at = 12 + random((frame.len() - 12).min(80));
            damaged[at] = random(256) as u8;
            check(what, &damaged);
        }
    }
}
