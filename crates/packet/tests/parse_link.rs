//! Ethernet, tags, labels and sessions, with offsets counted by hand.

mod common;

use common::{both, v4_pair, v6_pair};
use smartwire_packet::build::Packet;
use smartwire_packet::{parse, Encap, IpVersion, Layers, Refusal};

fn tcp(packet: Packet) -> Vec<u8> {
    packet.tcp(1, 2).payload(b"hello").build()
}

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap_or_else(|e| panic!("{e}: {frame:02x?}"))
}

/// Checks a link prefix of `length` bytes in front of both IP versions.
fn leads_to_ip(packet: Packet, length: u16, encap: Encap) {
    let [v4, v6] = both(&packet);
    let l = layers(&tcp(v4));
    assert_eq!((l.ip, l.l3, l.l4, l.data, l.end), (IpVersion::V4, length, length + 20, length + 40, length + 45));
    assert_eq!((l.encap, l.tunnel_count), (encap, 0));
    let l = layers(&tcp(v6));
    assert_eq!((l.ip, l.l3, l.l4, l.data, l.end), (IpVersion::V6, length, length + 40, length + 60, length + 65));
    assert_eq!((l.encap, l.tunnel_count), (encap, 0));
}

#[test]
fn plain_ethernet_has_its_ip_header_at_14() {
    leads_to_ip(Packet::new(), 14, Encap::PLAIN);
}

#[test]
fn one_tag_of_each_type_is_a_vlan() {
    for tpid in [0x8100, 0x88a8, 0x9100] {
        leads_to_ip(Packet::new().tag(tpid, 0xe123), 18, Encap::VLAN);
    }
}

#[test]
fn two_or_more_tags_of_any_types_are_qinq() {
    for outer in [0x8100, 0x88a8, 0x9100] {
        for inner in [0x8100, 0x88a8, 0x9100] {
            leads_to_ip(Packet::new().tag(outer, 7).tag(inner, 8), 22, Encap::VLAN | Encap::QINQ);
        }
    }
    leads_to_ip(Packet::new().service_vlan(1).vlan(2).vlan(3), 26, Encap::VLAN | Encap::QINQ);
}

#[test]
fn eight_tags_are_read_and_nine_refused() {
    let tags = |n| (0..n).fold(Packet::new(), |p, i| p.vlan(i));
    leads_to_ip(tags(8), 14 + 32, Encap::VLAN | Encap::QINQ);
    assert_eq!(parse(&tcp(both(&tags(9))[0].clone())), Err(Refusal::TooManyTags));
}

#[test]
fn label_stacks_of_1_to_16_lead_to_ip_and_17_are_refused() {
    let labels = |n| (0..n).fold(Packet::new(), |p, i| p.mpls(100 + i));
    for n in 1..=16 {
        leads_to_ip(labels(n), 14 + 4 * n as u16, Encap::MPLS);
    }
    assert_eq!(parse(&tcp(both(&labels(17))[1].clone())), Err(Refusal::TooManyLabels));
}

#[test]
fn multicast_mpls_is_mpls() {
    let mut frame = tcp(both(&Packet::new().mpls(5))[0].clone());
    frame[12..14].copy_from_slice(&[0x88, 0x48]);
    assert_eq!(layers(&frame).l3, 18);
}

#[test]
fn mpls_that_carries_something_else_is_refused() {
    let mut frame = tcp(both(&Packet::new().mpls(5))[0].clone());
    frame[18] = 0x00; // a pseudowire control word (RFC 4385)
    assert_eq!(parse(&frame), Err(Refusal::MplsPayload));
}

#[test]
fn a_pppoe_session_leads_to_ip() {
    leads_to_ip(Packet::new().pppoe(9), 22, Encap::PPPOE);
    leads_to_ip(Packet::new().vlan(4).pppoe(9), 26, Encap::VLAN | Encap::PPPOE);
    let l = layers(&tcp(both(&Packet::new().vlan(4).pppoe(9))[0].clone()));
    assert_eq!(l.pppoe, 18);
}

#[test]
fn a_pppoe_length_bounds_the_packet_within() {
    let mut frame = tcp(both(&Packet::new().pppoe(9))[0].clone());
    frame[19] -= 1;
    assert_eq!(parse(&frame), Err(Refusal::Ipv4Length));
    frame[19] += 2;
    assert_eq!(parse(&frame), Err(Refusal::PppoeHeader));
}

#[test]
fn pppoe_of_another_version_type_or_code_is_refused() {
    let good = tcp(both(&Packet::new().pppoe(9))[0].clone());
    for (at, byte) in [(14, 0x21), (14, 0x12), (15, 0x09)] {
        let mut frame = good.clone();
        frame[at] = byte;
        assert_eq!(parse(&frame), Err(Refusal::PppoeHeader));
    }
}

#[test]
fn ppp_protocols_other_than_ip_are_refused() {
    for ppp in [[0xc0, 0x21], [0x80, 0x21], [0x80, 0x57], [0, 0]] {
        let mut frame = tcp(both(&Packet::new().pppoe(9))[0].clone());
        frame[20..22].copy_from_slice(&ppp);
        assert_eq!(parse(&frame), Err(Refusal::PppProtocol));
    }
}

#[test]
fn ethertypes_that_carry_no_ip_are_refused_behind_any_tags() {
    // ARP, LLDP, PPPoE discovery, 802.1X, an LLC length, MACsec.
    for kind in [0x0806_u16, 0x88cc, 0x8863, 0x888e, 0x0026, 0x88e5] {
        let mut plain = tcp(both(&Packet::new())[0].clone());
        plain[12..14].copy_from_slice(&kind.to_be_bytes());
        assert_eq!(parse(&plain), Err(Refusal::NotIp));
        let mut tagged = tcp(both(&Packet::new().service_vlan(1).vlan(2))[0].clone());
        tagged[20..22].copy_from_slice(&kind.to_be_bytes());
        assert_eq!(parse(&tagged), Err(Refusal::NotIp));
    }
}

#[test]
fn a_version_that_contradicts_the_ethertype_is_refused() {
    let [v4, v6] = both(&Packet::new());
    let (mut v4, mut v6) = (tcp(v4), tcp(v6));
    v4[14] = 0x65;
    v6[14] = 0x40;
    assert_eq!(parse(&v4), Err(Refusal::IpVersion));
    assert_eq!(parse(&v6), Err(Refusal::IpVersion));
}

#[test]
fn ethernet_padding_belongs_to_nothing() {
    let (a, b) = v4_pair();
    let frame = Packet::new().ipv4(a, b).tcp(1, 2).padding(6).build();
    assert_eq!(frame.len(), 60);
    let l = layers(&frame);
    assert_eq!((l.end, l.data_len()), (54, 0));
}

#[test]
fn addresses_and_ports_are_those_of_the_innermost_packet() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    let frame = Packet::new().ipv6(c, d).gtpu(1).ipv4(a, b).tcp(1000, 443).build();
    let l = layers(&frame);
    assert_eq!((l.src(&frame), l.dst(&frame)), (a.to_ipv6_mapped(), b.to_ipv6_mapped()));
    assert_eq!(l.ports(&frame), Some((1000, 443)));
    let frame = Packet::new().ipv4(a, b).ipv6(c, d).udp(53, 5353).build();
    let l = layers(&frame);
    assert_eq!((l.src(&frame), l.dst(&frame), l.ports(&frame)), (c, d, Some((53, 5353))));
}

#[test]
fn a_frame_longer_than_any_offset_can_say_is_refused_whatever_it_is() {
    let mut frame = tcp(both(&Packet::new())[0].clone());
    frame.resize(65_535, 0);
    assert_eq!(layers(&frame).end, 59);
    frame.push(0);
    assert_eq!(parse(&frame), Err(Refusal::TooLong));
}
