//! Shorter segments from longer ones.

mod common;

use common::{both, segment, slow, v4_pair, Rng};
use smartwire_packet::build::Packet;
use smartwire_packet::cut::{extract, trim};
use smartwire_packet::tcp::{Flags, Tcp};
use smartwire_packet::{csum, parse, Layers};

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap()
}

#[test]
fn any_part_of_any_segment_is_a_right_segment_of_the_same_bytes() {
    let mut rng = Rng::seeded("any_part");
    for _ in 0..10_000 {
        let frame = segment(&mut rng, 120);
        let l = layers(&frame);
        let (seq, flags, payload) = {
            let t = Tcp::new(&frame, &l).unwrap();
            (t.seq(), t.flags(), t.payload().to_vec())
        };
        let front = rng.below(payload.len() + 1);
        let keep = rng.below(payload.len() - front + 1);
        let mut out = vec![0xee; 2_000];
        let cut = extract(&frame, &l, front as u16, keep as u16, &mut out).unwrap();
        let new = &out[usize::from(cut.start)..usize::from(cut.start) + usize::from(cut.len)];
        assert_eq!(layers(new), cut.layers);
        slow::check(new, &cut.layers).unwrap();
        let t = Tcp::new(new, &cut.layers).unwrap();
        assert_eq!(t.seq(), seq.wrapping_add(front as u32));
        assert_eq!(t.payload(), &payload[front..front + keep]);
        let whole_end = front + keep == payload.len();
        assert_eq!(t.flags(), if whole_end { flags } else { flags & !Flags::FIN });
        assert!(out[usize::from(cut.len)..].iter().all(|b| *b == 0xee), "nothing is written beyond the frame");

        let mut place = frame.clone();
        let trimmed = trim(&mut place, &l, front as u16, keep as u16).unwrap();
        let start = usize::from(trimmed.start);
        assert_eq!(&place[start..start + usize::from(trimmed.len)], new, "in place gives the same frame");
        assert_eq!(trimmed.layers, cut.layers);
    }
}

#[test]
fn cutting_nothing_changes_nothing_but_padding() {
    let mut rng = Rng::seeded("nothing");
    for _ in 0..1_000 {
        let frame = segment(&mut rng, 60);
        let l = layers(&frame);
        let mut out = vec![0; 2_000];
        let cut = extract(&frame, &l, 0, l.data_len(), &mut out).unwrap();
        assert_eq!(&out[..usize::from(cut.len)], &frame[..usize::from(l.end)]);
    }
}

#[test]
fn damage_to_bytes_that_stay_is_still_found_afterwards() {
    let mut rng = Rng::seeded("damage_stays");
    for _ in 0..5_000 {
        let mut frame = segment(&mut rng, 120);
        let l = layers(&frame);
        if l.data_len() < 3 {
            continue;
        }
        let front = rng.below(usize::from(l.data_len()) - 1);
        let keep = 1 + rng.below(usize::from(l.data_len()) - front - 1);
        let at = usize::from(l.data) + front + rng.below(keep);
        frame[at] ^= 1 << rng.below(8);
        let mut out = vec![0; 2_000];
        let cut = extract(&frame, &l, front as u16, keep as u16, &mut out).unwrap();
        assert!(!csum::verify_l4(&out, &cut.layers));
    }
}

#[test]
fn bytes_between_the_ends_of_nested_packets_go_with_the_cut() {
    let (a, b) = v4_pair();
    // GTP-U whose content is longer than the packet within: four bytes that nothing explains.
    for surplus in [[0, 0, 0, 0], [1, 2, 3, 4], [0xff; 4]] {
        for payload in [b"abcd".as_slice(), b"abcde"] {
            let mut inner = Packet::new().ipv4(b, a).tcp(1, 2).payload(payload).build();
            inner.drain(..14);
            inner.extend(surplus);
            let mut frame =
                Packet::new().ipv6(a.to_ipv6_mapped(), b.to_ipv6_mapped()).ipv4(a, b).gtpu(1).udp_checksum(true);
            frame = frame.payload(&inner);
            let frame = frame.build();
            let l = layers(&frame);
            assert!(l.is_tcp() && l.tunnels()[0].end == l.end + 4);
            assert!(csum::verify(&frame, &l));
            for keep in 0..=payload.len() as u16 {
                let mut out = vec![0; 500];
                let cut = extract(&frame, &l, 0, keep, &mut out).unwrap();
                slow::check(&out[..usize::from(cut.len)], &cut.layers).unwrap();
            }
        }
    }
}

#[test]
fn an_absent_outer_checksum_stays_absent() {
    let (a, b) = v4_pair();
    let frame = Packet::new().ipv4(a, b).gtpu(1).ipv4(b, a).tcp(1, 2).payload(b"abcdef").build();
    let l = layers(&frame);
    let mut out = vec![0; 500];
    extract(&frame, &l, 2, 2, &mut out).unwrap();
    assert_eq!(&out[40..42], &[0, 0]);
}

#[test]
fn what_cannot_be_cut_is_left_alone() {
    for packet in both(&Packet::new()) {
        let tcp = packet.clone().tcp(1, 2).payload(b"abcdef");
        for frame in [
            tcp.clone().flags(Flags::SYN | Flags::ACK).build(),
            tcp.clone().flags(Flags::URG | Flags::ACK).build(),
            packet.clone().udp(1, 2).payload(b"abcdef").build(),
            packet.clone().fragment(0, true).tcp(1, 2).payload(b"abcdef").build(),
        ] {
            let l = layers(&frame);
            let (mut place, mut out) = (frame.clone(), vec![9; 200]);
            assert_eq!(trim(&mut place, &l, 1, 1), None);
            assert_eq!(extract(&frame, &l, 1, 1, &mut out), None);
            assert_eq!((place, out), (frame, vec![9; 200]));
        }
        let frame = tcp.build();
        let l = layers(&frame);
        for (front, keep) in [(7, 0), (0, 7), (3, 4), (u16::MAX, 1), (1, u16::MAX)] {
            let (mut place, mut out) = (frame.clone(), vec![9; 200]);
            assert_eq!(trim(&mut place, &l, front, keep), None);
            assert_eq!(extract(&frame, &l, front, keep, &mut out), None);
            assert_eq!((&place, out), (&frame, vec![9; 200]));
        }
        let mut short = vec![9; usize::from(l.data) + 2];
        assert_eq!(extract(&frame, &l, 0, 3, &mut short), None);
        assert!(short.iter().all(|b| *b == 9));
    }
}
