//! One connection through the engine, from the handshake to the last ACK.

mod common;

use common::*;
use smartwire_engine::api::EventKind;

#[test]
fn data_is_acknowledged_before_its_receiver_has_it_and_delivered_byte_for_byte() {
    each(|t| {
        t.handshake();
        // Ten segments from the server: the engine acknowledges them to it and sends them to the phone.
        let mut seq = 1;
        let (mut acked, mut delivered) = (1, 0);
        for _ in 0..10 {
            for p in t.data(C, seq, MSS) {
                if p.side == C {
                    acked = acked.max(p.ack);
                } else {
                    delivered += p.len;
                }
            }
            seq += MSS;
        }
        delivered += t.wait(20 * MS).iter().filter(|p| p.side == A).map(|p| p.len).sum::<u64>();
        assert_eq!(acked, seq, "all is acknowledged though the phone said nothing");
        assert_eq!(t.check.custody(C), 10 * MSS);
        assert_eq!(delivered, 10 * MSS);
        assert_eq!(t.rcv[A as usize], seq);
        // The phone acknowledges: custody ends, and nothing of that reaches the server.
        let out = t.ack(A, 1);
        assert!(out.iter().all(|p| p.side == A || p.ack == seq), "{out:?}");
        assert_eq!(t.engine.stats().custody_bytes, 0);
        assert_eq!(t.engine.stats().segments, 0);
        assert_eq!(t.engine.stats().delivered_bytes, 10 * MSS);
    });
}

#[test]
fn both_directions_carry_data_and_close_with_fins() {
    each(|t| {
        t.handshake();
        t.data(A, 1, 300);
        t.wait(5 * MS);
        assert_eq!(t.rcv[C as usize], 301);
        t.data(C, 1, MSS);
        t.wait(5 * MS);
        assert_eq!(t.rcv[A as usize], 1 + MSS);
        t.ack(A, 301);
        t.wait(50 * MS);
        // The server closes: its FIN reaches the phone, and it hears of it only once the phone acknowledged.
        let fin = t.pkt(C, 1 + MSS, 0, FIN);
        let out = t.send(&fin);
        assert!(out.iter().any(|p| p.side == A && p.is(FIN)), "{out:?}");
        t.wait(100 * MS);
        let out = t.ack(A, 301);
        let out = [out, t.wait(100 * MS)].concat();
        assert!(out.iter().any(|p| p.side == C && p.ack == 2 + MSS), "the FIN's ACK: {out:?}");
        // The other direction still runs, then closes too.
        t.data(A, 301, 50);
        t.wait(10 * MS);
        assert_eq!(t.rcv[C as usize], 351);
        let fin = t.pkt(A, 351, 0, FIN);
        t.send(&fin);
        t.wait(10 * MS);
        let ack = t.pkt(C, 2 + MSS, 0, ACK);
        let out = t.send(&ack);
        let out = [out, t.wait(100 * MS)].concat();
        assert!(out.iter().any(|p| p.side == A && p.ack == 352), "the FIN's ACK: {out:?}");
        t.wait(15_000 * MS);
        assert!(t.events.iter().any(|e| e.kind == EventKind::Closed), "{:?}", t.events);
        assert_eq!(t.engine.stats().closed, 1);
        assert!(t.mode_is_gone());
    });
}
