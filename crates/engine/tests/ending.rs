//! How connections end: FIN, RST, reused ports, and resets of the engine's own.

mod common;

use common::*;
use smartwire_engine::api::EventKind;
use smartwire_engine::{Side, StopReason};
use smartwire_packet::tcp::Flags;

fn rsts(out: &[Pkt], side: Side) -> Vec<Pkt> {
    out.iter().filter(|p| p.side == side && p.is(Flags::RST)).cloned().collect()
}

/// Handshake and `n` segments of the server's, delivered to the phone, not acknowledged by it.
fn with_custody(t: &mut Pair, n: u64) {
    t.handshake();
    t.ack(C, 1);
    for i in 0..n {
        t.data(C, 1 + i * MSS, MSS);
    }
    t.wait(30 * MS);
    assert_eq!(t.check.custody(C), n * MSS);
}

#[test]
fn a_reset_without_custody_passes_as_it_came_and_ends_the_flow() {
    each(|t| {
        t.handshake();
        t.ack(C, 1);
        let rst = t.pkt(A, 1, 0, RST);
        let frame = t.frame(&rst);
        let out = t.send(&rst);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].raw, frame);
        assert!(t.mode_is_gone());
        assert_eq!(t.engine.stats().stopped[StopReason::PeerReset as usize], 1);
    });
}

#[test]
fn a_server_that_resets_is_gone_at_once_but_what_it_sent_is_delivered_before_its_reset() {
    each(|t| {
        with_custody(t, 4);
        let rst = t.pkt(C, 1 + 4 * MSS, 0, RST);
        let out = t.send(&rst);
        assert!(rsts(&out, A).is_empty(), "custody comes first: {out:?}");
        let out = t.ack(A, 1);
        let rst = rsts(&out, A);
        assert_eq!(rst.len(), 1);
        assert_eq!(rst[0].seq, 1 + 4 * MSS, "the phone takes no other number");
        assert!(t.mode_is_gone());
    });
}

#[test]
fn a_phone_that_never_acknowledges_is_reset_at_its_own_edge_after_some_seconds() {
    each(|t| {
        with_custody(t, 4);
        let mut ack = t.pkt(A, 1, 0, ACK);
        ack.ack = 1 + 2 * MSS;
        t.send(&ack);
        let rst = t.pkt(C, 1 + 4 * MSS, 0, RST);
        t.send(&rst);
        let out = t.wait(6_000 * MS);
        // At its edge, and behind what may still arrive there.
        let seqs: Vec<_> = rsts(&out, A).iter().map(|r| r.seq).collect();
        assert_eq!(seqs, [1 + 2 * MSS, 1 + 4 * MSS]);
        assert!(t.mode_is_gone());
    });
}

#[test]
fn the_phones_reset_drops_custody_towards_it_and_resets_the_server() {
    each(|t| {
        with_custody(t, 4);
        let mut rst = t.pkt(A, 1, 0, RST);
        rst.ack = 1;
        let out = t.send(&rst);
        let rst = rsts(&out, C);
        assert_eq!((rst.len(), rst[0].seq), (1, 1));
        assert!(t.mode_is_gone());
        assert_eq!(t.engine.stats().custody_bytes, 0);
    });
}

#[test]
fn what_was_under_way_to_a_phone_that_reset_the_connection_stays_off_the_radio_for_a_while() {
    each(|t| {
        with_custody(t, 4);
        let mut rst = t.pkt(A, 1, 0, RST);
        rst.ack = 1;
        t.send(&rst);
        assert!(t.mode_is_gone());
        for i in 4..20 {
            let out = t.send_raw(t.ports[1], &t.frame(&t.pkt(C, 1 + i * MSS, MSS, ACK)));
            assert!(out.is_empty(), "{out:?}");
        }
        t.wait(4_000 * MS);
        t.check.wire = true;
        // A server that has not heard of it hears it from the phone.
        let frame = t.frame(&t.pkt(C, 1 + 4 * MSS, MSS, ACK));
        let out = t.send_raw(t.ports[1], &frame);
        assert_eq!((out.len(), &out[0].raw), (1, &frame));
    });
}

#[test]
fn a_new_connection_on_the_ports_of_one_that_was_reset_is_not_held_up() {
    each(|t| {
        with_custody(t, 4);
        let mut rst = t.pkt(A, 1, 0, RST);
        rst.ack = 1;
        t.send(&rst);
        t.check.wire = true;
        let syn = t.frame(&t.pkt(A, 90_000, 0, SYN));
        assert_eq!(t.send_raw(t.ports[0], &syn).len(), 1);
        let answer = t.frame(&t.pkt(C, 90_000, 0, SYN | ACK));
        assert_eq!(t.send_raw(t.ports[1], &answer).len(), 1);
    });
}

#[test]
fn a_reset_that_is_not_exact_is_challenged_once_while_custody_exists() {
    each(|t| {
        with_custody(t, 2);
        let mut challenges = 0;
        for off in [500, 700, 900] {
            let rst = t.pkt(C, 1 + 2 * MSS + off, 0, RST);
            let out = t.send(&rst);
            assert!(rsts(&out, A).is_empty());
            challenges += out.iter().filter(|p| p.side == C).count();
        }
        assert_eq!(challenges, 1);
        assert_eq!(t.engine.stats().challenges, 1);
        assert!(!t.mode_is_gone());
        t.ack(A, 1);
    });
}

#[test]
fn a_syn_in_an_established_flow_is_challenged_while_custody_exists_and_begins_anew_after_it() {
    each(|t| {
        with_custody(t, 2);
        let mut syn = t.pkt(A, 70_000, 0, SYN);
        syn.ack = 0;
        let out = t.send_raw(t.ports[0], &t.frame(&syn));
        assert!(out.iter().all(|p| p.side == A && !p.is(SYN)), "a challenge to who sent it, nothing else: {out:?}");
        assert_eq!(out.len(), 1);
        t.ack(A, 1);
        let frame = t.frame(&syn);
        t.check.wire = true;
        let out = t.send_raw(t.ports[0], &frame);
        assert_eq!(out.last().unwrap().raw, frame);
        assert!(t.mode_is_gone());
        assert_eq!(t.engine.stats().stopped[StopReason::SynInFlow as usize], 1);
    });
}

#[test]
fn a_fin_is_acknowledged_only_when_its_receiver_has_done_so() {
    each(|t| {
        t.handshake();
        t.ack(C, 1);
        let fin = t.pkt(C, 1, MSS, FIN);
        let out = [t.send(&fin), t.wait(200 * MS)].concat();
        assert!(out.iter().any(|p| p.side == A && p.is(FIN)));
        let told = out.iter().filter(|p| p.side == C).map(|p| p.ack).max();
        assert_eq!(told, Some(1 + MSS), "the data at once, the FIN not");
        let again = t.send(&fin);
        assert!(again.iter().all(|p| p.side == C && p.ack == 1 + MSS), "a repeated FIN: {again:?}");
        let out = [t.ack(A, 1), t.wait(200 * MS)].concat();
        assert!(out.iter().any(|p| p.side == C && p.ack == 2 + MSS));
    });
}

#[test]
fn both_ends_may_close_at_the_same_time() {
    each(|t| {
        t.handshake();
        t.ack(C, 1);
        let (a, c) = (t.pkt(A, 1, 0, FIN), t.pkt(C, 1, 0, FIN));
        t.send(&a);
        t.send(&c);
        t.wait(10 * MS);
        assert_eq!(t.rcv, [2, 2]);
        t.ack(A, 2);
        t.ack(C, 2);
        t.wait(20_000 * MS);
        assert_eq!(t.engine.stats().closed, 1);
        assert!(t.mode_is_gone());
    });
}

#[test]
fn ports_of_a_closed_connection_can_be_used_again_at_once() {
    each(|t| {
        t.handshake();
        t.ack(C, 1);
        let (a, c) = (t.pkt(A, 1, 0, FIN), t.pkt(C, 1, 0, FIN));
        t.send(&a);
        t.send(&c);
        t.wait(10 * MS);
        t.ack(A, 2);
        t.ack(C, 2);
        t.wait(1_000 * MS);
        let mut again = Pair::new(t.v, t.opts, config());
        again.v.isn = [t.v.isn[0].wrapping_add(1 << 20), t.v.isn[1].wrapping_add(1 << 21)];
        std::mem::swap(&mut again.engine, &mut t.engine);
        std::mem::swap(&mut again.io, &mut t.io);
        again.now = t.now;
        again.handshake();
        again.data(C, 1, MSS);
        again.wait(20 * MS);
        assert_eq!(again.rcv[A as usize], 1 + MSS);
        again.ack(A, 1);
        assert_eq!(again.engine.stats().optimized, 2);
        std::mem::swap(&mut again.engine, &mut t.engine);
        std::mem::swap(&mut again.io, &mut t.io);
    });
}

#[test]
fn custody_that_nobody_takes_ends_in_a_reset_of_both_ends_never_in_silence() {
    each(|t| {
        with_custody(t, 2);
        let out = t.wait(400_000 * MS);
        let seqs = |side| rsts(&out, side).iter().map(|r| r.seq).collect::<Vec<_>>();
        assert_eq!((seqs(A), seqs(C)), (vec![1, 1 + 2 * MSS], vec![1]));
        assert!(t.events.iter().any(|e| e.kind == EventKind::Reset(StopReason::DeliveryLimit)));
        assert_eq!(t.engine.stats().resets, 1);
        assert!(t.io.book.is_empty());
    });
}
