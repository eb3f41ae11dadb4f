//! IP headers, extension headers, fragments and tunnels, with offsets counted by hand.

mod common;

use common::{both, encapsulations, segment_in, v4_pair, v6_pair, Rng};
use smartwire_packet::build::Packet;
use smartwire_packet::tcp::Tcp;
use smartwire_packet::{csum, parse, proto, Encap, IpVersion, Layers, Refusal, TunnelKind};

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap_or_else(|e| panic!("{e}: {frame:02x?}"))
}

fn v4() -> Packet {
    let (a, b) = v4_pair();
    Packet::new().ipv4(a, b)
}

fn v6() -> Packet {
    let (c, d) = v6_pair();
    Packet::new().ipv6(c, d)
}

#[test]
fn every_encapsulation_leads_to_the_inner_segment_with_all_checksums_right() {
    let mut rng = Rng::seeded("every_encapsulation");
    for (name, packet) in encapsulations() {
        for _ in 0..50 {
            let frame = segment_in(&mut rng, packet.clone(), 100);
            let layers = parse(&frame).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(layers.is_tcp(), "{name}");
            assert!(csum::verify(&frame, &layers), "{name}: {layers:?}");
            common::slow::check(&frame, &layers).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(Tcp::new(&frame, &layers).is_some(), "{name}");
        }
    }
}

#[test]
fn a_frame_cut_anywhere_before_its_end_is_refused_and_never_misread() {
    let mut rng = Rng::seeded("cut_anywhere");
    for (name, packet) in encapsulations() {
        let frame = segment_in(&mut rng, packet, 40);
        let end = usize::from(layers(&frame).end);
        for cut in 0..end {
            assert!(parse(&frame[..cut]).is_err(), "{name} cut at {cut} of {end}");
        }
        assert_eq!(layers(&frame[..end]), layers(&frame), "{name}: padding changes nothing");
    }
}

#[test]
fn a_cut_frame_names_the_header_that_is_missing() {
    let frame = v6().gtpu(1).ipv4(v4_pair().0, v4_pair().1).tcp(1, 2).build();
    for (cut, refusal) in [
        (0, Refusal::LinkTruncated),
        (13, Refusal::LinkTruncated),
        (14, Refusal::Ipv6Header),
        (53, Refusal::Ipv6Header),
        (54, Refusal::Ipv6Length),
    ] {
        assert_eq!(parse(&frame[..cut]), Err(refusal), "cut at {cut}");
    }
    let frame = v4().tcp(1, 2).build();
    assert_eq!(parse(&frame[..33]), Err(Refusal::Ipv4Header));
    assert_eq!(parse(&frame[..34]), Err(Refusal::Ipv4Length));
}

#[test]
fn ipv4_options_move_the_transport_header() {
    for words in 1..=10_u16 {
        let frame = v4().ip_options(&vec![1; usize::from(words) * 4]).tcp(1, 2).build();
        let l = layers(&frame);
        assert_eq!((l.l4, l.data, l.ip_options), (34 + 4 * words, 54 + 4 * words, true));
        assert!(csum::verify(&frame, &l));
    }
    assert!(!layers(&v4().tcp(1, 2).build()).ip_options);
}

#[test]
fn a_bad_ipv4_header_length_or_total_length_is_refused() {
    let good = v4().tcp(1, 2).build();
    for (at, byte, refusal) in [
        (14, 0x44, Refusal::Ipv4Header), // shorter than itself
        (14, 0x4f, Refusal::Ipv4Header), // longer than the frame
        (17, 19, Refusal::Ipv4Length),
        (17, 41, Refusal::Ipv4Length),
        (17, 0, Refusal::Ipv4Length), // left to the hardware (TSO)
    ] {
        let mut frame = good.clone();
        frame[at] = byte;
        assert_eq!(parse(&frame), Err(refusal), "byte {at} = {byte}");
    }
}

#[test]
fn ipv6_extension_headers_are_stepped_over() {
    let frame = v6().extension(0, &[5, 2, 0, 0, 1, 0]).extension(60, &[1; 14]).extension(43, &[0; 6]).tcp(1, 2).build();
    let l = layers(&frame);
    assert_eq!((l.l4, l.proto, l.ip_options, l.routed), (14 + 40 + 8 + 16 + 8, proto::TCP, true, false));
    assert!(csum::verify(&frame, &l));
}

#[test]
fn eight_extension_headers_are_read_and_nine_refused() {
    let many = |n| (0..n).fold(v6(), |p, _| p.extension(60, &[1, 4])).tcp(1, 2).build();
    assert_eq!(layers(&many(8)).l4, 14 + 40 + 64);
    assert_eq!(parse(&many(9)), Err(Refusal::TooManyExtensions));
}

#[test]
fn an_extension_header_longer_than_its_packet_is_refused() {
    let mut frame = v6().extension(60, &[1, 4]).tcp(1, 2).build();
    frame[55] = 3;
    assert_eq!(parse(&frame), Err(Refusal::Ipv6Extension));
}

#[test]
fn a_routing_header_with_segments_left_makes_the_checksum_unknowable() {
    let frame = v6().extension(43, &[4, 1, 0, 0, 0, 0]).tcp(1, 2).build();
    let l = layers(&frame);
    assert!(l.routed && l.is_tcp());
    assert!(!csum::verify_l4(&frame, &l));
}

#[test]
fn a_jumbogram_is_refused() {
    let mut frame = v6().extension(0, &[0xc2, 4, 0, 1, 0, 0]).tcp(1, 2).build();
    frame[18..20].copy_from_slice(&[0, 0]);
    assert_eq!(parse(&frame), Err(Refusal::Ipv6Length));
}

#[test]
fn fragments_are_no_segments_and_only_the_first_has_ports() {
    for packet in [v4(), v6()] {
        let first = packet.clone().fragment(0, true).tcp(7, 8).build();
        let l = layers(&first);
        assert!(l.frag && l.first_frag && !l.is_tcp());
        assert_eq!(l.data, l.l4);
        assert_eq!(l.ports(&first), Some((7, 8)));
        for more in [false, true] {
            let later = packet.clone().fragment(100, more).raw(proto::TCP).payload(&[1; 40]).build();
            let l = layers(&later);
            assert!(l.frag && !l.first_frag && !l.is_tcp());
            assert_eq!((l.proto, l.ports(&later)), (proto::TCP, None));
            assert!(Tcp::new(&later, &l).is_none());
        }
    }
}

#[test]
fn a_whole_packet_with_a_fragment_header_is_a_segment() {
    let frame = v6().fragment(0, false).tcp(7, 8).build();
    let l = layers(&frame);
    assert!(l.is_tcp() && l.ip_options && !l.frag);
    assert!(csum::verify(&frame, &l));
}

#[test]
fn a_second_fragment_header_makes_no_fragment_whole_again() {
    let first = v6().fragment(0, true).fragment(0, false).tcp(7, 8).build();
    let l = layers(&first);
    assert!(l.frag && l.first_frag && !l.is_tcp());
    let later = v6().fragment(0, true).fragment(3, false).raw(proto::TCP).payload(&[0x55; 40]).build();
    let l = layers(&later);
    assert!(l.frag && !l.first_frag);
}

#[test]
fn a_fragment_may_end_within_its_extension_headers() {
    let mut frame = v6().fragment(0, true).extension(60, &[1, 12]).payload(&[0; 8]).raw(proto::TCP).build();
    frame[14 + 40 + 8 + 1] = 9;
    let l = layers(&frame);
    assert!(l.frag && l.first_frag);
    assert_eq!((l.proto, l.ports(&frame)), (60, None));
}

#[test]
fn an_ipv4_reserved_bit_or_df_makes_no_fragment() {
    for flags in [0x00, 0x40, 0x80, 0xc0] {
        let mut frame = v4().tcp(1, 2).build();
        frame[20] = flags;
        assert!(layers(&frame).is_tcp());
    }
}

#[test]
fn ip_in_ip_of_every_pair_of_versions() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    for (frame, encap, l3) in [
        (v4().ipv4(a, b).tcp(1, 2).build(), Encap::V4_IN_V4, 34),
        (v4().ipv6(c, d).tcp(1, 2).build(), Encap::V6_IN_V4, 34),
        (v6().ipv4(a, b).tcp(1, 2).build(), Encap::V4_IN_V6, 54),
        (v6().ipv6(c, d).tcp(1, 2).build(), Encap::V6_IN_V6, 54),
    ] {
        let l = layers(&frame);
        assert_eq!((l.encap, l.l3, l.tunnel_count), (encap, l3, 1));
        let t = l.tunnels()[0];
        assert_eq!((t.ip, t.l4, t.end, t.kind), (14, l3, l.end, TunnelKind::Ip));
    }
}

#[test]
fn gtpu_with_each_combination_of_optional_fields() {
    let (a, b) = v4_pair();
    let plain = v4().gtpu(5).ipv4(a, b).tcp(1, 2).build();
    let l = layers(&plain);
    assert_eq!((l.l3, l.encap, l.ip), (14 + 20 + 8 + 8, Encap::GTPU, IpVersion::V4));
    let t = l.tunnels()[0];
    assert_eq!((t.ip, t.l4, t.kind, t.v6), (14, 34, TunnelKind::Gtpu, false));

    let seq = v6().gtpu(5).gtp_seq(9).ipv4(a, b).tcp(1, 2).build();
    assert_eq!(layers(&seq).l3, 14 + 40 + 8 + 12);

    // N-PDU number: the same four optional bytes under another flag.
    let mut npdu = v4().gtpu(5).gtp_seq(9).ipv4(a, b).tcp(1, 2).build();
    npdu[42] = 0x31;
    assert_eq!(layers(&npdu).l3, 14 + 20 + 8 + 12);

    let one = v4().gtpu(5).gtp_extension(0x85, &[0x10, 9]).ipv4(a, b).tcp(1, 2).build();
    assert_eq!(layers(&one).l3, 14 + 20 + 8 + 12 + 4);

    let two = v4().gtpu(5).gtp_extension(0x85, &[0; 6]).gtp_extension(0xc0, &[0; 2]).ipv4(a, b).tcp(1, 2).build();
    assert_eq!(layers(&two).l3, 14 + 20 + 8 + 12 + 8 + 4);
}

#[test]
fn without_the_extension_flag_the_next_type_byte_means_nothing() {
    let (a, b) = v4_pair();
    let mut frame = v4().gtpu(5).gtp_seq(9).ipv4(a, b).tcp(1, 2).build();
    frame[53] = 0x85;
    assert_eq!(layers(&frame).l3, 54);
}

#[test]
fn gtpu_extension_headers_end_at_eight_at_zero_length_and_at_the_packet() {
    let (a, b) = v4_pair();
    let many = |n| {
        let gtp = (0..n).fold(v4().gtpu(5), |p, _| p.gtp_extension(0x85, &[0, 9]));
        gtp.ipv4(a, b).tcp(1, 2).build()
    };
    assert_eq!(layers(&many(8)).l3, 54 + 32);
    assert_eq!(parse(&many(9)), Err(Refusal::GtpExtension));
    for length in [0, 200] {
        let mut frame = many(1);
        frame[54] = length;
        assert_eq!(parse(&frame), Err(Refusal::GtpExtension));
    }
}

#[test]
fn other_messages_on_the_gtpu_port_are_udp() {
    let (a, b) = v4_pair();
    let good = v4().gtpu(5).ipv4(a, b).tcp(1, 2).build();
    // Echo request, end marker, version 2, GTP'.
    for (at, byte) in [(43, 1), (43, 254), (42, 0x50), (42, 0x20)] {
        let mut frame = good.clone();
        frame[at] = byte;
        let l = layers(&frame);
        assert_eq!((l.proto, l.l4, l.data, l.tunnel_count), (proto::UDP, 34, 42, 0));
    }
    let mut reply = good.clone();
    reply[36..38].copy_from_slice(&[0x12, 0x34]); // from port 2152 to another: the destination decides
    assert_eq!(layers(&reply).proto, proto::UDP);
}

#[test]
fn gtpu_lengths_that_do_not_fit_are_refused() {
    let (a, b) = v4_pair();
    let good = v4().gtpu(5).ipv4(a, b).tcp(1, 2).build();
    for (at, change, refusal) in [
        (45, 1, Refusal::GtpHeader),   // more than UDP has
        (39, 1, Refusal::GtpHeader),   // UDP more than IP has
        (39, -1, Refusal::GtpHeader),  // UDP less than IP has
        (45, -1, Refusal::Ipv4Length), // less than the packet within
    ] {
        let mut frame = good.clone();
        frame[at] = frame[at].wrapping_add_signed(change);
        assert_eq!(parse(&frame), Err(refusal), "byte {at} {change:+}");
    }
}

#[test]
fn gtpu_that_carries_no_ip_is_refused() {
    let (a, b) = v4_pair();
    let mut frame = v4().gtpu(5).ipv4(a, b).tcp(1, 2).build();
    frame[50] = 0x00;
    assert_eq!(parse(&frame), Err(Refusal::GtpPayload));
    let empty = v4().gtpu(5).build();
    assert_eq!(parse(&empty), Err(Refusal::GtpPayload));
}

#[test]
fn three_tunnels_are_read_and_four_refused() {
    let (a, b) = v4_pair();
    let nest = |n| (0..n).fold(Packet::new(), |p, _| p.ipv4(a, b)).tcp(1, 2).build();
    assert_eq!(layers(&nest(4)).tunnel_count, 3);
    assert_eq!(parse(&nest(5)), Err(Refusal::TooManyTunnels));
}

#[test]
fn an_outer_fragment_is_not_looked_into() {
    let (a, b) = v4_pair();
    let frame = v4().fragment(0, true).gtpu(5).ipv4(a, b).tcp(1, 2).build();
    let l = layers(&frame);
    assert_eq!((l.proto, l.frag, l.tunnel_count), (proto::UDP, true, 0));
}

#[test]
fn tcp_headers_that_do_not_fit_are_refused() {
    for packet in both(&Packet::new()) {
        let frame = packet.clone().tcp(1, 2).build();
        let l4 = usize::from(layers(&frame).l4);
        for offset in [0x00, 0x40, 0x60] {
            let mut bad = frame.clone();
            bad[l4 + 12] = offset;
            assert_eq!(parse(&bad), Err(Refusal::TcpHeader));
        }
        let short = packet.raw(proto::TCP).payload(&[0x50; 19]).build();
        assert_eq!(parse(&short), Err(Refusal::TcpHeader));
    }
}

#[test]
fn a_udp_header_that_is_cut_short_is_refused() {
    for packet in both(&Packet::new()) {
        assert_eq!(parse(&packet.raw(proto::UDP).payload(&[0; 7]).build()), Err(Refusal::UdpHeader));
    }
}

#[test]
fn protocols_without_ports_have_none() {
    for packet in both(&Packet::new()) {
        let frame = packet.clone().icmp().payload(&[8, 0, 0, 0, 0, 1, 0, 1]).build();
        assert_eq!(layers(&frame).ports(&frame), None);
        let frame = packet.raw(47).payload(&[1; 30]).build();
        let l = layers(&frame);
        assert_eq!((l.proto, l.ports(&frame), l.data_len()), (47, None, 30));
    }
}
