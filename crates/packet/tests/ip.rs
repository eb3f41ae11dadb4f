//! Fields of the innermost IP header, read and changed, and the scope of a flow.

mod common;

use common::{both, encapsulations, segment, segment_in, slow, v4_pair, v6_pair, Rng, ECN};
use smartwire_packet::build::Packet;
use smartwire_packet::{csum, parse, Ecn, Layers, SCOPE_HASHED};

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap()
}

#[test]
fn every_field_is_read_where_it_was_written() {
    for (_, packet) in encapsulations() {
        let (a, b) = v4_pair();
        let frame = packet.clone().ipv4(a, b).class(0xb9).ttl(17).id(0x1234).tcp(1, 2).build();
        let l = layers(&frame);
        assert_eq!((l.traffic_class(&frame), l.dscp(&frame), l.ecn(&frame)), (0xb9, 46, Ecn::Ect1));
        assert_eq!((l.ttl(&frame), l.ip_id(&frame), l.flow_label(&frame)), (17, Some(0x1234), 0));
        assert!(l.dont_fragment(&frame));
        let (c, d) = v6_pair();
        let frame = packet.ipv6(c, d).class(0xb9).ttl(17).flow_label(0xa_bcde).tcp(1, 2).build();
        let l = layers(&frame);
        assert_eq!((l.traffic_class(&frame), l.dscp(&frame), l.ecn(&frame)), (0xb9, 46, Ecn::Ect1));
        assert_eq!((l.ttl(&frame), l.ip_id(&frame), l.flow_label(&frame)), (17, None, 0xa_bcde));
        assert!(l.dont_fragment(&frame));
    }
    let (a, b) = v4_pair();
    let frame = Packet::new().ipv4(a, b).dont_fragment(false).tcp(1, 2).build();
    assert!(!layers(&frame).dont_fragment(&frame));
}

#[test]
fn after_any_change_every_checksum_is_right_in_every_encapsulation() {
    let mut rng = Rng::seeded("ip_changes");
    for _ in 0..10_000 {
        let mut frame = segment(&mut rng, 40);
        let l = layers(&frame);
        let (class, label, ttl) = (l.traffic_class(&frame), l.flow_label(&frame), l.ttl(&frame));
        match rng.below(3) {
            0 => {
                let ecn = ECN[rng.below(4)];
                l.set_ecn(&mut frame, ecn);
                assert_eq!((l.ecn(&frame), l.dscp(&frame), l.ttl(&frame)), (ecn, class >> 2, ttl));
            }
            1 => {
                let dscp = rng.below(64) as u8;
                l.set_dscp(&mut frame, dscp);
                assert_eq!((l.dscp(&frame), l.ecn(&frame)), (dscp, Ecn::from_bits(class)));
            }
            _ => {
                let ttl = rng.u8();
                l.set_ttl(&mut frame, ttl);
                assert_eq!((l.ttl(&frame), l.traffic_class(&frame)), (ttl, class));
            }
        }
        assert_eq!((l.flow_label(&frame), layers(&frame)), (label, l));
        slow::check(&frame, &l).unwrap();
    }
}

#[test]
fn setting_what_is_there_already_changes_no_bit() {
    let mut rng = Rng::seeded("ip_no_bit");
    for _ in 0..1_000 {
        let mut frame = segment(&mut rng, 40);
        let (before, l) = (frame.clone(), layers(&frame));
        let (ecn, dscp, ttl) = (l.ecn(&frame), l.dscp(&frame), l.ttl(&frame));
        l.set_ecn(&mut frame, ecn);
        l.set_dscp(&mut frame, dscp);
        l.set_ttl(&mut frame, ttl);
        assert_eq!(frame, before);
    }
}

#[test]
fn damage_to_an_ip_header_stays_detectable_through_a_change() {
    let [v4, _] = both(&Packet::new());
    let mut frame = v4.tcp(1, 2).build();
    let l = layers(&frame);
    frame[19] ^= 4;
    l.set_ecn(&mut frame, Ecn::Ce);
    l.set_ttl(&mut frame, 3);
    assert!(!csum::verify_ip(&frame, &l));
}

// ---- scope ----------------------------------------------------------------------------------------------------------

fn scope(packet: Packet) -> u64 {
    let frame = packet.build();
    layers(&frame).scope(&frame, 42)
}

#[test]
fn plain_ethernet_has_scope_0_and_nothing_else_has() {
    let mut rng = Rng::seeded("scope_0");
    for (name, packet) in encapsulations() {
        let frame = segment_in(&mut rng, packet, 10);
        assert_eq!(layers(&frame).scope(&frame, rng.u64()) == 0, name == "plain");
    }
}

#[test]
fn both_directions_of_a_flow_have_one_scope() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    let down = |p: Packet| p.ipv4(a, b).tcp(1, 2);
    let up = |p: Packet| p.ipv4(b, a).tcp(2, 1);
    let p = Packet::new;
    for (one, other) in [
        (p().vlan(7), p().tag(0x8100, 0xe007)),                 // another priority
        (p().service_vlan(7).vlan(8), p().vlan(7).vlan(8)),     // another TPID
        (p().mpls(100), p().mpls(200)),                         // another label
        (p().pppoe(9), p().pppoe(9)),
        (p().ipv4(a, b), p().ipv4(b, a)),
        (p().ipv6(c, d).gtpu(1), p().ipv6(d, c).gtpu(2)),       // another TEID
        (p().vlan(3).ipv4(a, b).gtpu(1), p().vlan(3).ipv4(b, a).gtpu(9).gtp_extension(0x85, &[0, 9])),
    ] {
        assert_eq!(scope(down(one)), scope(up(other)));
    }
}

#[test]
fn other_vlans_sessions_and_tunnels_are_other_scopes() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    let p = Packet::new;
    let other = "10.77.0.1".parse().unwrap();
    let all = [
        p(),
        p().vlan(7),
        p().vlan(8),
        p().vlan(7).vlan(8),
        p().vlan(8).vlan(7),
        p().vlan(7).vlan(7),
        p().pppoe(7),
        p().pppoe(8),
        p().vlan(7).pppoe(7),
        p().mpls(7),
        p().ipv4(a, b),
        p().ipv4(a, other),
        p().ipv4(a, b).gtpu(1),
        p().ipv6(c, d),
        p().ipv6(c, d).gtpu(1),
        p().ipv6(a.to_ipv6_mapped(), b.to_ipv6_mapped()),
    ];
    let mut seen: Vec<u64> = all.into_iter().map(|p| scope(p.ipv4(a, b).tcp(1, 2))).collect();
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}

#[test]
fn one_or_two_vlan_ids_are_written_out_so_that_the_copper_wire_finds_the_same_scope() {
    let (a, b) = v4_pair();
    let of = |p: Packet| scope(p.ipv4(a, b).tcp(1, 2));
    assert_eq!(of(Packet::new().tag(0x8100, 0xe007)), 0x1007);
    assert_eq!(of(Packet::new().service_vlan(0xabc).vlan(0)), 0x1abc_1000);
    let hashed = [Packet::new().vlan(1).vlan(2).vlan(3), Packet::new().vlan(1).mpls(2), Packet::new().vlan(1).pppoe(2)];
    assert!(hashed.into_iter().all(|p| of(p) & SCOPE_HASHED != 0));
}

#[test]
fn the_seed_decides_every_other_scope() {
    let (a, b) = v4_pair();
    for packet in [Packet::new().vlan(7).pppoe(1), Packet::new().mpls(1), Packet::new().ipv4(a, b)] {
        let frame = packet.ipv4(a, b).tcp(1, 2).build();
        let l = layers(&frame);
        assert_ne!(l.scope(&frame, 1), l.scope(&frame, 2));
        assert_eq!(l.scope(&frame, 1), l.scope(&frame, 1));
    }
}
