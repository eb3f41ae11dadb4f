//! ICMP errors and what they quote.

mod common;

use common::{both, v4_pair, v6_pair, Rng};
use smartwire_packet::build::Packet;
use smartwire_packet::icmp::{error, Error, Kind};
use smartwire_packet::{parse, proto, IpVersion};

/// The IP packet of a frame.
fn ip_of(packet: Packet) -> Vec<u8> {
    packet.build().split_off(14)
}

fn message(kind: u8, code: u8, rest: u32, quote: &[u8]) -> Vec<u8> {
    let mut m = vec![kind, code, 0, 0];
    m.extend(rest.to_be_bytes());
    m.extend(quote);
    m
}

fn read(outer: Packet, message: &[u8]) -> Option<Error> {
    let frame = outer.icmp().payload(message).build();
    error(&frame, &parse(&frame).unwrap())
}

fn tcp_quote() -> [Vec<u8>; 2] {
    both(&Packet::new()).map(|p| ip_of(p.tcp(5000, 443).seq(0x0102_0304).payload(&[7; 100])))
}

#[test]
fn too_big_says_the_mtu_and_which_segment() {
    let [v4, v6] = both(&Packet::new());
    let [q4, q6] = tcp_quote();
    let e = read(v4, &message(3, 4, 1400, &q4)).unwrap();
    assert_eq!(e.kind, Kind::TooBig { mtu: 1400 });
    let q = e.quoted;
    assert_eq!((q.ip, q.proto, q.length), (IpVersion::V4, proto::TCP, 140));
    assert_eq!((q.src, q.dst), (v4_pair().0.to_ipv6_mapped(), v4_pair().1.to_ipv6_mapped()));
    assert_eq!((q.ports, q.seq), (Some((5000, 443)), Some(0x0102_0304)));

    let e = read(v6, &message(2, 0, 70_000, &q6)).unwrap();
    assert_eq!(e.kind, Kind::TooBig { mtu: 70_000 });
    let q = e.quoted;
    assert_eq!((q.ip, q.proto, q.length), (IpVersion::V6, proto::TCP, 160));
    assert_eq!((q.src, q.dst), v6_pair());
    assert_eq!((q.ports, q.seq), (Some((5000, 443)), Some(0x0102_0304)));
}

#[test]
fn an_error_is_found_within_any_encapsulation() {
    let [q4, q6] = tcp_quote();
    for (_, packet) in common::encapsulations() {
        let [v4, v6] = both(&packet);
        assert!(read(v4, &message(3, 4, 1400, &q4)).is_some());
        assert!(read(v6, &message(2, 0, 1400, &q6)).is_some());
    }
}

#[test]
fn every_kind_of_error_is_told_from_the_others() {
    let [q4, q6] = tcp_quote();
    for (kind, code, expected) in [
        (3, 1, Some(Kind::Unreachable { code: 1 })),
        (3, 13, Some(Kind::Unreachable { code: 13 })),
        (11, 0, Some(Kind::TimeExceeded { code: 0 })),
        (12, 2, Some(Kind::ParameterProblem { code: 2 })),
        (4, 0, Some(Kind::Other { kind: 4, code: 0 })),
        (5, 1, Some(Kind::Other { kind: 5, code: 1 })),
        (0, 0, None),
        (8, 0, None),
        (13, 0, None),
    ] {
        let [v4, _] = both(&Packet::new());
        assert_eq!(read(v4, &message(kind, code, 0, &q4)).map(|e| e.kind), expected, "ICMP {kind}/{code}");
    }
    for (kind, code, expected) in [
        (1, 4, Some(Kind::Unreachable { code: 4 })),
        (3, 1, Some(Kind::TimeExceeded { code: 1 })),
        (4, 0, Some(Kind::ParameterProblem { code: 0 })),
        (100, 0, Some(Kind::Other { kind: 100, code: 0 })),
        (128, 0, None),
        (135, 0, None),
        (137, 0, None),
    ] {
        let [_, v6] = both(&Packet::new());
        assert_eq!(read(v6, &message(kind, code, 0, &q6)).map(|e| e.kind), expected, "ICMPv6 {kind}/{code}");
    }
}

#[test]
fn a_quote_cut_anywhere_yields_what_is_there_and_no_more() {
    for (n, quote) in tcp_quote().into_iter().enumerate() {
        let header = [20, 40][n];
        for cut in 0..quote.len() {
            let outer = both(&Packet::new())[n].clone();
            let kind = [3, 1][n];
            let got = read(outer, &message(kind, 0, 0, &quote[..cut])).map(|e| e.quoted);
            assert_eq!(got.is_some(), cut >= header, "cut at {cut}");
            if let Some(q) = got {
                assert_eq!(q.ports.is_some(), cut >= header + 4, "cut at {cut}");
                assert_eq!(q.seq.is_some(), cut >= header + 8, "cut at {cut}");
            }
        }
    }
}

#[test]
fn ipv4_options_in_the_quote_move_the_ports() {
    let [v4, _] = both(&Packet::new());
    let (a, b) = v4_pair();
    let quote = ip_of(Packet::new().ipv4(a, b).ip_options(&[1; 8]).tcp(7, 8).seq(9));
    let q = read(v4.clone(), &message(3, 0, 0, &quote)).unwrap().quoted;
    assert_eq!((q.ports, q.seq), (Some((7, 8)), Some(9)));
    let mut bad = quote;
    bad[0] = 0x44;
    assert_eq!(read(v4, &message(3, 0, 0, &bad)), None);
}

#[test]
fn extension_headers_in_the_quote_are_followed() {
    let [_, v6] = both(&Packet::new());
    let (c, d) = v6_pair();
    let quote = ip_of(Packet::new().ipv6(c, d).extension(0, &[1; 14]).extension(60, &[1, 4]).tcp(7, 8).seq(9));
    let q = read(v6.clone(), &message(1, 0, 0, &quote)).unwrap().quoted;
    assert_eq!((q.proto, q.ports, q.seq), (proto::TCP, Some((7, 8)), Some(9)));
    let q = read(v6, &message(1, 0, 0, &quote[..50])).unwrap().quoted;
    assert_eq!((q.ports, q.seq), (None, None));
}

#[test]
fn a_quoted_fragment_has_ports_only_if_it_is_the_first() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    for (offset, known) in [(0, true), (100, false)] {
        let [v4, v6] = both(&Packet::new());
        let quote = ip_of(Packet::new().ipv4(a, b).fragment(offset, true).raw(proto::TCP).payload(&[1; 24]));
        assert_eq!(read(v4, &message(3, 0, 0, &quote)).unwrap().quoted.ports.is_some(), known);
        let quote = ip_of(Packet::new().ipv6(c, d).fragment(offset, true).raw(proto::TCP).payload(&[1; 24]));
        let q = read(v6, &message(1, 0, 0, &quote)).unwrap().quoted;
        assert_eq!((q.proto, q.ports.is_some()), (proto::TCP, known));
    }
}

#[test]
fn other_protocols_are_quoted_without_a_sequence_number() {
    let [v4, _] = both(&Packet::new());
    let (a, b) = v4_pair();
    let udp = ip_of(Packet::new().ipv4(a, b).udp(53, 54).payload(&[1; 20]));
    let q = read(v4.clone(), &message(3, 3, 0, &udp)).unwrap().quoted;
    assert_eq!((q.proto, q.ports, q.seq), (proto::UDP, Some((53, 54)), None));
    let gre = ip_of(Packet::new().ipv4(a, b).raw(47).payload(&[1; 20]));
    assert_eq!(read(v4, &message(3, 3, 0, &gre)).unwrap().quoted.ports, None);
}

#[test]
fn what_is_no_whole_icmp_message_of_its_ip_version_is_no_error() {
    let [q4, q6] = tcp_quote();
    let [v4, v6] = both(&Packet::new());
    for packet in [
        v4.clone().raw(proto::ICMPV6).payload(&message(1, 0, 0, &q6)),
        v6.clone().raw(proto::ICMP).payload(&message(3, 0, 0, &q4)),
        v4.clone().fragment(0, true).icmp().payload(&message(3, 4, 1400, &q4)),
        v4.clone().icmp().payload(&[3, 4, 0, 0, 0, 0, 5]),
        v4.clone().icmp().payload(&message(3, 4, 1400, &q6)),
        v6.icmp().payload(&message(2, 0, 1400, &q4)),
        v4.tcp(1, 2).payload(&message(3, 4, 1400, &q4)),
    ] {
        let frame = packet.build();
        assert_eq!(error(&frame, &parse(&frame).unwrap()), None);
    }
}

#[test]
fn any_bytes_as_a_quote_are_read_without_harm() {
    let mut rng = Rng::seeded("any_quote");
    for _ in 0..20_000 {
        let [v4, v6] = both(&Packet::new());
        let n = rng.below(120);
        let mut quote = rng.bytes(n);
        if let Some(first) = quote.first_mut() {
            *first = *first & 0x0f | [0x40, 0x60][rng.below(2)];
        }
        read(v4, &message(3, 4, rng.u32(), &quote));
        read(v6, &message(2, 0, rng.u32(), &quote));
    }
}
