//! Custody is delivered: loss, reordering, duplicates, timestamps, ECN, and connections without this or that option.

mod common;

use common::*;
use smartwire_engine::api::EventKind;
use smartwire_engine::{Csum, Rx};
use smartwire_packet::tcp::Flags;
use smartwire_packet::Ecn;

/// Sends `n` full segments of the server's in a row; what came out.
fn burst(t: &mut Pair, from: u64, n: u64) -> Vec<Pkt> {
    let mut out = Vec::new();
    for i in 0..n {
        out.extend(t.data(C, from + i * MSS, MSS));
    }
    out.extend(t.wait(30 * MS));
    out
}

fn to(out: &[Pkt], side: smartwire_engine::Side) -> Vec<&Pkt> {
    out.iter().filter(|p| p.side == side).collect()
}

#[test]
fn a_segment_lost_on_the_radio_is_sent_again_by_the_engine_and_the_server_never_knows() {
    each(|t| {
        t.handshake();
        let out = burst(t, 1, 8);
        assert_eq!(to(&out, A).iter().filter(|p| p.len > 0).count(), 8);
        // The phone has all but the second: it says so in its ACKs.
        let mut again = Vec::new();
        for upto in 3..=8 {
            let mut ack = t.pkt(A, 1, 0, ACK);
            ack.ack = 1 + MSS;
            ack.sack = if t.opts.sack { vec![(1 + 2 * MSS, 1 + upto * MSS)] } else { Vec::new() };
            again.extend(t.send(&ack));
        }
        again.extend(t.wait(60 * MS));
        let resent: Vec<_> = again.iter().filter(|p| p.side == A && p.len > 0).collect();
        assert!(resent.iter().any(|p| p.seq == 1 + MSS && p.len == MSS), "{resent:?}");
        assert!(to(&again, C).iter().all(|p| p.ack == 1 + 8 * MSS && p.sack.is_empty()), "the server heard of it");
        assert_eq!(t.engine.stats().retransmitted, 1);
        t.ack(A, 1);
        assert_eq!(t.engine.stats().custody_bytes, 0);
    });
}

#[test]
fn segments_that_come_together_go_on_at_once_and_are_acknowledged_together() {
    each(|t| {
        t.handshake();
        let rx: Vec<Rx> = (0..6)
            .map(|i| {
                let p = t.pkt(C, 1 + i * MSS, MSS, ACK);
                let frame = t.frame(&p);
                t.check.entered(t.now, &p);
                let id = t.io.receive(&frame).unwrap();
                Rx { frame: id, off: 0, len: frame.len() as u16, port: p.port, csum: Csum::Unverified }
            })
            .collect();
        t.engine.on_rx(t.now, &rx, &mut t.io);
        let out = t.collect();
        assert_eq!(to(&out, A).iter().map(|p| p.seq).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5].map(|i| 1 + i * MSS));
        assert_eq!(to(&out, C).iter().map(|p| p.ack).collect::<Vec<_>>(), [1 + 6 * MSS]);
        t.ack(A, 1);
        assert_eq!(t.engine.stats().custody_bytes, 0);
    });
}

#[test]
fn segments_out_of_order_are_held_reported_with_sack_and_delivered_in_order() {
    each(|t| {
        t.handshake();
        let out = t.data(C, 1 + MSS, MSS);
        assert!(to(&out, A).is_empty(), "nothing may overtake the hole");
        let acks = to(&out, C);
        assert_eq!((acks[0].ack, acks[0].sack.as_slice()), (1, &[(1 + MSS, 1 + 2 * MSS)][..]));
        let out = [t.data(C, 1, MSS), t.wait(30 * MS)].concat();
        assert_eq!(to(&out, A).iter().map(|p| p.seq).collect::<Vec<_>>(), [1, 1 + MSS]);
        assert_eq!(to(&out, C).last().unwrap().ack, 1 + 2 * MSS);
        assert_eq!(t.engine.stats().out_of_order, 1);
        t.ack(A, 1);
    });
}

#[test]
fn a_segment_sent_twice_is_answered_with_a_dsack_and_not_forwarded() {
    each(|t| {
        t.handshake();
        t.data(C, 1, MSS);
        t.wait(MS);
        let out = t.data(C, 1, MSS);
        assert!(to(&out, A).is_empty());
        let ack = to(&out, C)[0];
        assert_eq!((ack.ack, ack.sack.as_slice()), (1 + MSS, &[(1, 1 + MSS)][..]));
        assert_eq!(t.engine.stats().duplicate_segments, 1);
        t.ack(A, 1);
    });
}

#[test]
fn data_that_waited_carries_a_timestamp_no_older_than_any_packet_before_it() {
    each(|t| {
        t.handshake();
        t.ack(C, 1);
        // The phone's window is shut: the server's data waits in the engine with the timestamp of its arrival.
        t.window[A as usize] = 0;
        t.ack(A, 1);
        t.data(C, 1, MSS);
        t.wait(100 * MS);
        // The server acknowledges upload data later: a newer timestamp passes the waiting data.
        t.data(A, 1, 100);
        t.wait(5 * MS);
        t.ack(C, 1 + MSS);
        t.wait(300 * MS);
        t.window[A as usize] = 1 << 20;
        let out = [t.ack(A, 101), t.wait(300 * MS)].concat();
        let data = out.iter().find(|p| p.side == A && p.len > 0).expect("the data leaves when the window opens");
        // The checker has compared its TSval with all that left before (I5); here with the newest that came in.
        assert!(data.ts.is_some());
        assert_eq!(t.rcv[A as usize], 1 + MSS);
        t.ack(A, 101);
    });
}

#[test]
fn connections_without_sack_timestamps_or_scaling_are_optimized_too() {
    for opts in [
        Opts { sack: false, ..PLAIN },
        Opts { ts: false, ..PLAIN },
        Opts { shift: None, ..PLAIN },
        Opts { shift: Some(14), ..PLAIN },
        Opts { sack: false, ts: false, shift: None, ecn: false },
        Opts { ecn: true, ..PLAIN },
    ] {
        each_with(opts, |t| {
            t.handshake();
            let out = burst(t, 1, 10);
            assert!(to(&out, C).iter().any(|p| p.ack > 1), "{opts:?}: nothing acknowledged");
            assert_eq!(t.rcv[A as usize], 1 + 10 * MSS, "{opts:?}");
            t.ack(A, 1);
            let out = t.wait(300 * MS);
            assert_eq!(to(&out, C).len() as u64 + to(&out, A).len() as u64, to(&out, C).len() as u64);
            assert_eq!(t.engine.stats().segments, 0, "{opts:?}");
        });
    }
}

#[test]
fn the_newreno_path_repairs_a_loss_without_sack() {
    each_with(Opts { sack: false, ..PLAIN }, |t| {
        t.handshake();
        burst(t, 1, 8);
        let mut out = Vec::new();
        for _ in 0..4 {
            let mut ack = t.pkt(A, 1, 0, ACK);
            ack.ack = 1 + MSS;
            out.extend(t.send(&ack));
        }
        assert!(out.iter().any(|p| p.side == A && p.seq == 1 + MSS && p.len == MSS), "{out:?}");
        t.ack(A, 1);
    });
}

#[test]
fn a_congestion_mark_is_echoed_to_the_sender_and_not_passed_on() {
    each_with(Opts { ecn: true, ..PLAIN }, |t| {
        t.handshake();
        let mut p = t.pkt(C, 1, MSS, ACK);
        p.ecn = Ecn::Ce;
        let out = [t.send(&p), t.wait(50 * MS)].concat();
        assert!(to(&out, C).iter().any(|p| p.is(Flags::ECE)), "CE is echoed");
        assert!(to(&out, A).iter().all(|p| p.len == 0 || p.ecn == Ecn::Ect0), "CE is cleared");
        // Until the sender says CWR.
        let mut p = t.pkt(C, 1 + MSS, MSS, ACK | Flags::CWR);
        p.ecn = Ecn::Ect0;
        let out = [t.send(&p), t.wait(50 * MS)].concat();
        assert!(!to(&out, C).last().unwrap().is(Flags::ECE));
        t.ack(A, 1);
    });
}

#[test]
fn the_phones_congestion_echo_cuts_the_engines_window_and_is_answered_with_cwr() {
    each_with(Opts { ecn: true, ..PLAIN }, |t| {
        t.handshake();
        burst(t, 1, 4);
        let ack = t.pkt(A, 1, 0, ACK | Flags::ECE);
        let out = t.send(&ack);
        assert!(to(&out, C).iter().all(|p| !p.is(Flags::ECE)), "who acknowledges owns the echo");
        assert_eq!(t.engine.stats().cuts, 1);
        let mut p = t.pkt(C, 1 + 4 * MSS, MSS, ACK);
        p.ecn = Ecn::Ect0;
        let out = [t.send(&p), t.wait(50 * MS)].concat();
        assert!(to(&out, A).iter().any(|p| p.len > 0 && p.is(Flags::CWR)));
        t.ack(A, 1);
    });
}

#[test]
fn a_tail_that_is_lost_is_found_by_a_probe_and_nothing_else_is_sent_during_a_freeze() {
    each(|t| {
        t.handshake();
        burst(t, 1, 4);
        let mut ack = t.pkt(A, 1, 0, ACK);
        ack.ack = 1 + 3 * MSS;
        t.send(&ack);
        let before = t.engine.stats().probes;
        let out = t.wait(10_000 * MS);
        let sent = to(&out, A);
        assert!(t.engine.stats().probes > before && sent.len() < 20, "{} packets in ten seconds", sent.len());
        assert_eq!(t.engine.stats().retransmitted, 0, "probes only");
        t.ack(A, 1);
    });
}

#[test]
fn uploads_are_optimized_like_downloads() {
    each(|t| {
        t.handshake();
        let mut seq = 1;
        let mut out = Vec::new();
        for _ in 0..20 {
            out.extend(t.data(A, seq, MSS));
            out.extend(t.wait(MS));
            seq += MSS;
        }
        out.extend(t.wait(100 * MS));
        assert_eq!(to(&out, A).last().unwrap().ack, seq);
        assert!(to(&out, C).iter().filter(|p| p.len > 0).count() >= 10);
        t.ack(C, 1);
        t.wait(100 * MS);
        t.ack(C, 1);
        t.wait(1000 * MS);
        t.ack(C, 1);
        assert_eq!(t.rcv[C as usize], seq);
    });
}

#[test]
fn the_client_may_be_on_the_core_side() {
    each(|t| {
        t.handshake_from(C);
        t.data(A, 1, MSS);
        t.wait(5 * MS);
        t.data(C, 1, 100);
        t.wait(5 * MS);
        assert_eq!((t.rcv[C as usize], t.rcv[A as usize]), (1 + MSS, 101));
        t.ack(A, 1 + MSS);
        t.ack(C, 101);
        assert!(t.events.iter().any(|e| e.kind == EventKind::Optimizing));
        assert_eq!(t.engine.stats().segments, 0);
    });
}

#[test]
fn an_idle_flow_keeps_its_record_only_and_goes_on_as_if_nothing_had_been() {
    each(|t| {
        t.handshake();
        burst(t, 1, 4);
        t.ack(A, 1);
        t.wait(5_000 * MS);
        assert_eq!((t.engine.stats().active, t.engine.stats().flows), (0, 1));
        burst(t, 1 + 4 * MSS, 4);
        assert_eq!(t.rcv[A as usize], 1 + 8 * MSS);
        t.ack(A, 1);
        t.wait(200_000 * MS);
        t.wait(200_000 * MS);
        assert!(t.mode_is_gone(), "handed back after the idle time");
        assert_eq!(t.engine.stats().stopped[smartwire_engine::StopReason::Idle as usize], 1);
    });
}

#[test]
fn a_phone_that_is_heard_on_one_flow_after_an_outage_is_probed_at_once_on_the_others() {
    for v in VARIANTS {
        let mut t = Pair::new(v, PLAIN, config());
        t.handshake();
        // An ACK of the first connection, sent later, and a second one with custody.
        let other = t.frame(&t.pkt(A, 1, 0, ACK));
        t.tcp_ports[0] += 1;
        t.rcv = [0; 2];
        t.handshake();
        t.ack(C, 1);
        for i in 0..4 {
            t.data(C, 1 + i * MSS, MSS);
        }
        let silent = t.wait(55_000 * MS);
        let probes: Vec<_> = silent.iter().filter(|p| p.side == A).map(|p| p.at).collect();
        let gap = probes.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap();
        assert!(gap > 4_000 * MS, "it backs off: {probes:?}");
        let last = *probes.last().unwrap();
        t.check.wire = true;
        t.send_raw(t.ports[0], &other);
        let out = t.wait(300 * MS);
        assert!(out.iter().any(|p| p.side == A && p.at > last), "{out:?}");
    }
}
