//! Connections within VLANs and tunnels: optimized like any other, and kept apart.

mod common;

use common::*;
use smartwire_packet::{parse, Encap};

fn exchange(t: &mut Pair, encap: Encap, prefix: usize) {
    t.handshake();
    t.ack(C, 1);
    let mut out = Vec::new();
    for i in 0..6 {
        out.extend(t.data(C, 1 + i * MSS / 2, MSS / 2));
    }
    out.extend(t.wait(100 * MS));
    assert_eq!(t.rcv[A as usize], 1 + 3 * MSS);
    let acks: Vec<_> = out.iter().filter(|p| p.side == C).collect();
    assert!(!acks.is_empty());
    for ack in &acks {
        // The headers of an ACK that nobody sent are those of the phone's own packets.
        let own = t.frame(&t.pkt(A, 1, 0, ACK));
        assert!(parse(&ack.raw).unwrap().encap.contains(encap));
        assert_eq!(ack.raw[..prefix], own[..prefix]);
    }
    t.ack(A, 1);
    assert_eq!(t.engine.stats().segments, 0);
}

#[test]
fn acks_of_the_engine_carry_the_tag_of_their_direction() {
    each(|t| {
        t.vlan = Some(77);
        exchange(t, Encap::VLAN, 18);
    });
}

#[test]
fn acks_of_the_engine_go_through_the_tunnel_of_their_direction() {
    each(|t| {
        t.gtpu = Some([0x1111, 0x2222]);
        exchange(t, Encap::GTPU, 14);
    });
}

#[test]
fn the_same_addresses_in_two_vlans_are_two_connections() {
    each(|t| {
        t.vlan = Some(1);
        t.handshake();
        let mut other = Pair::new(t.v, t.opts, config());
        other.vlan = Some(2);
        std::mem::swap(&mut other.engine, &mut t.engine);
        std::mem::swap(&mut other.io, &mut t.io);
        other.now = t.now;
        other.handshake();
        std::mem::swap(&mut other.engine, &mut t.engine);
        std::mem::swap(&mut other.io, &mut t.io);
        assert_eq!(t.engine.stats().flows, 2);
        assert_eq!(t.engine.subscribers().count(), 2);
    });
}
