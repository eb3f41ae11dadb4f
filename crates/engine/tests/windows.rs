//! Windows both ways, probes, keepalives, memory, and path MTU.

mod common;

use common::io::MemIo;
use common::*;
use smartwire_engine::{RefuseReason, Side, StopReason};
use smartwire_packet::build::Packet;
use smartwire_packet::tcp::Flags;

fn data_to(out: &[Pkt], side: Side) -> Vec<&Pkt> {
    out.iter().filter(|p| p.side == side && p.len > 0).collect()
}

fn begin(t: &mut Pair) {
    t.handshake();
    t.ack(C, 1);
}

#[test]
fn nothing_is_sent_beyond_the_phones_window_and_it_is_probed_until_it_opens() {
    each(|t| {
        begin(t);
        t.window[A as usize] = 2 * MSS / 128 * 128;
        t.ack(A, 1);
        let mut out = Vec::new();
        for i in 0..6 {
            out.extend(t.data(C, 1 + i * MSS, MSS));
        }
        out.extend(t.wait(30 * MS));
        assert_eq!(data_to(&out, A).len(), 1, "one full segment fits");
        t.window[A as usize] = 0;
        t.ack(A, 1);
        let out = t.wait(5_000 * MS);
        let probes: Vec<_> = out.iter().filter(|p| p.side == A).collect();
        assert!((2..10).contains(&probes.len()), "{} probes", probes.len());
        assert!(probes.iter().all(|p| p.len == 0 && p.seq == MSS), "zero-length, just below the edge");
        t.window[A as usize] = 1 << 20;
        let out = [t.ack(A, 1), t.wait(100 * MS)].concat();
        assert!(!data_to(&out, A).is_empty());
        assert_eq!(t.rcv[A as usize], 1 + 6 * MSS);
        t.ack(A, 1);
    });
}

#[test]
fn the_server_is_never_shown_a_window_of_less_than_two_segments() {
    for v in VARIANTS {
        let cfg = smartwire_engine::Config { stream_bytes: 128 << 10, ..config() };
        let mut t = Pair::new(v, PLAIN, cfg);
        t.window[A as usize] = 64_000 / 128 * 128;
        begin(&mut t);
        t.window[A as usize] = 0;
        t.ack(A, 1);
        let (mut seq, mut least, mut right) = (1, u64::MAX, 64_001);
        for _ in 0..400 {
            let len = MSS.min(right - seq);
            let out = if len > 0 { t.data(C, seq, len) } else { Vec::new() };
            seq += len;
            let out = [out, t.wait(50 * MS)].concat();
            for p in out.iter().filter(|p| p.side == C) {
                right = right.max(p.right());
                // From the acknowledgement: below it nothing more will be asked.
                least = least.min(p.window);
            }
        }
        assert!(least >= 2 * MSS, "window of {least}");
        assert!(t.engine.stats().custody_bytes <= 128 << 10);
        t.window[A as usize] = 1 << 20;
        t.ack(A, 1);
        for _ in 0..200 {
            t.wait(20 * MS);
            t.ack(A, 1);
        }
        assert_eq!(t.rcv[A as usize], seq, "all arrives once the phone takes it");
        t.audit();
    }
}

#[test]
fn a_keepalive_is_answered_by_the_real_peer_when_nothing_is_in_custody() {
    each(|t| {
        begin(t);
        t.data(A, 1, 100);
        t.wait(10 * MS);
        t.ack(C, 1);
        t.wait(100 * MS);
        let keepalive = t.pkt(A, 100, 0, ACK);
        let out = t.send(&keepalive);
        assert!(out.iter().any(|p| p.side == C && p.seq == 100 && p.len == 0), "{out:?}");
        assert!(out.iter().all(|p| p.side == C), "no local answer: {out:?}");
        let out = t.ack(C, 1);
        assert!(out.iter().any(|p| p.side == A && p.ack == 101), "the answer comes back: {out:?}");
    });
}

#[test]
fn a_keepalive_is_answered_locally_while_custody_exists() {
    each(|t| {
        begin(t);
        t.data(A, 1, 100);
        t.wait(100 * MS);
        let keepalive = t.pkt(A, 100, 1, ACK);
        let out = t.send(&keepalive);
        assert!(out.iter().any(|p| p.side == A && p.ack == 101), "{out:?}");
        assert!(data_to(&out, C).is_empty(), "the garbage byte never enters the stream");
        t.ack(C, 1);
    });
}

/// An ICMP error towards the server: what was sent to the phone is too big for the path.
fn too_big(t: &Pair, quoted: &[u8], mtu: u32) -> Vec<u8> {
    let router = if t.v.v6 { "2001:db8:5::1".parse().unwrap() } else { "10.9.9.9".parse().unwrap() };
    let mut body = if t.v.v6 { vec![2, 0, 0, 0] } else { vec![3, 4, 0, 0] };
    body.extend(mtu.to_be_bytes());
    body.extend(&quoted[14..quoted.len().min(14 + 120)]);
    Packet::new().ip(router, t.addrs[1]).icmp().payload(&body).build()
}

#[test]
fn custody_is_cut_when_the_paths_mtu_shrinks_and_the_error_goes_on_to_the_server() {
    each(|t| {
        begin(t);
        let mut out = Vec::new();
        for i in 0..4 {
            out.extend(t.data(C, 1 + i * MSS, MSS));
        }
        out.extend(t.wait(30 * MS));
        // None of them arrived.
        t.rcv[A as usize] = 1;
        let icmp = too_big(t, &data_to(&out, A)[0].raw.clone(), 1300);
        let port = t.ports[0];
        t.io.out.clear();
        let id = t.io.receive(&icmp).unwrap();
        let rx = smartwire_engine::Rx {
            frame: id,
            off: 0,
            len: icmp.len() as u16,
            port,
            csum: smartwire_engine::Csum::Unverified,
        };
        t.engine.on_rx(t.now, &[rx], &mut t.io);
        assert!(t.io.out.iter().any(|(p, raw)| p.side() == C && *raw == icmp), "forwarded as it came");
        let out = [t.collect(), t.wait(100 * MS)].concat();
        let pieces = data_to(&out, A);
        assert!(!pieces.is_empty());
        assert!(pieces.iter().all(|p| p.raw.len() <= 14 + 1300), "{:?}", pieces.iter().map(|p| p.raw.len()).collect::<Vec<_>>());
        for _ in 0..20 {
            t.ack(A, 1);
            t.wait(100 * MS);
        }
        assert_eq!(t.rcv[A as usize], 1 + 4 * MSS);
        assert_eq!((t.engine.stats().resegmented, t.engine.stats().icmp), (1, 1));
    });
}

#[test]
fn an_error_about_bytes_that_are_not_in_flight_changes_nothing() {
    each(|t| {
        begin(t);
        t.data(C, 1, MSS);
        t.wait(10 * MS);
        let forged = t.pkt(C, 500_000, MSS, ACK);
        let icmp = too_big(t, &t.frame(&forged), 1300);
        let port = t.ports[0];
        t.send_raw(port, &icmp);
        assert_eq!((t.engine.stats().icmp, t.engine.stats().resegmented), (1, 0));
        t.ack(A, 1);
    });
}

#[test]
fn a_damaged_segment_passes_untouched_and_is_never_acknowledged() {
    each(|t| {
        begin(t);
        let p = t.pkt(C, 1, MSS, ACK);
        let mut frame = t.frame(&p);
        let last = frame.len() - 1;
        frame[last] ^= 1;
        let id = t.io.receive(&frame).unwrap();
        let port = t.ports[1];
        let rx = smartwire_engine::Rx {
            frame: id,
            off: 0,
            len: frame.len() as u16,
            port,
            csum: smartwire_engine::Csum::Unverified,
        };
        t.engine.on_rx(t.now, &[rx], &mut t.io);
        let out = std::mem::take(&mut t.io.out);
        assert_eq!(out, [(t.ports[0], frame)]);
        assert_eq!((t.engine.stats().bad_checksum, t.engine.stats().accepted_bytes), (1, 0));
        assert!(t.wait(500 * MS).is_empty());
    });
}

#[test]
fn with_few_frames_left_new_connections_are_not_optimized() {
    for v in VARIANTS {
        let mut t = Pair::new(v, PLAIN, config());
        t.io = MemIo::new(100);
        let _taken: Vec<_> = (0..75).map(|_| t.io.receive(&[0; 60]).unwrap()).collect();
        for (side, flags) in [(A, SYN), (C, SYN | ACK), (A, ACK)] {
            let p = t.pkt(side, u64::from(flags == ACK), 0, flags);
            let frame = t.frame(&p);
            let out = t.send(&p);
            assert_eq!(out[0].raw, frame);
        }
        assert_eq!(t.engine.stats().refused[RefuseReason::LowMemory as usize], 1);
        assert!(t.mode_is_gone());
    }
}

#[test]
fn without_a_frame_to_hold_nothing_is_acknowledged_and_a_flow_that_holds_nothing_steps_aside() {
    each(|t| {
        begin(t);
        t.io.reserve = 5_000;
        let p = t.pkt(C, 1, MSS, ACK);
        let frame = t.frame(&p);
        t.check.wire = true;
        let out = t.send(&p);
        assert_eq!(out.len(), 1, "{out:?}");
        assert_eq!(out[0].raw, frame);
        assert_eq!(t.engine.stats().stopped[StopReason::LowMemory as usize], 1);
        assert!(t.mode_is_gone());
    });
}

#[test]
fn a_flow_that_holds_something_drops_what_it_cannot_hold() {
    each(|t| {
        begin(t);
        t.data(C, 1, MSS);
        t.wait(10 * MS);
        t.io.reserve = 5_000;
        let out = t.data(C, 1 + MSS, MSS);
        assert!(out.iter().all(|p| p.ack <= 1 + MSS), "{out:?}");
        assert_eq!(t.engine.stats().no_frame, 1);
        t.io.reserve = 100;
        t.data(C, 1 + MSS, MSS);
        t.wait(10 * MS);
        assert_eq!(t.rcv[A as usize], 1 + 2 * MSS);
        t.ack(A, 1);
    });
}

#[test]
fn the_custody_book_is_written_before_custody_begins_and_when_it_ends() {
    each(|t| {
        begin(t);
        assert!(t.io.book.is_empty());
        t.data(C, 1, MSS);
        t.wait(50 * MS);
        let mark = *t.io.book.values().next().expect("an entry");
        let wire = |i: usize, off: u64| t.v.isn[i].wrapping_add(off as u32);
        assert!(mark.custody);
        assert_eq!(mark.rcv_nxt[1], wire(0, 1), "what the server would take a reset at");
        let ahead = mark.rcv_nxt[0].wrapping_sub(wire(1, 1));
        assert!(ahead >= MSS as u32 && ahead < 1 << 20, "in the phone's window, beyond what is on its way: {ahead}");
        assert_eq!(mark.snd_nxt, [wire(0, 1), wire(1, 1 + MSS)]);
        assert_eq!(mark.macs[0], [2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb]);
        t.ack(A, 1);
        assert!(!t.io.book.values().next().expect("an entry").custody);
        let written = t.io.marks_written;
        assert!(written <= 3, "{written} writes");
    });
}

#[test]
fn a_full_custody_book_means_that_nothing_is_acknowledged_early() {
    each(|t| {
        t.io.book_size = 0;
        begin(t);
        t.data(C, 1, MSS);
        t.wait(100 * MS);
        assert_eq!((t.rcv[A as usize], t.check.custody(C)), (1 + MSS, 0));
        let out = [t.ack(A, 1), t.wait(100 * MS)].concat();
        assert!(out.iter().any(|p| p.side == C && p.ack == 1 + MSS));
    });
}

#[test]
fn a_frame_that_is_still_being_read_is_not_written_and_its_retransmission_is_skipped() {
    each(|t| {
        t.io.slow = true;
        begin(t);
        for i in 0..6 {
            t.data(C, 1 + i * MSS, MSS);
        }
        t.wait(30 * MS);
        let mut ack = t.pkt(A, 1, 0, ACK);
        ack.ack = 1;
        ack.sack = vec![(1 + MSS, 1 + 6 * MSS)];
        let out = [t.send(&ack), t.wait(10 * MS)].concat();
        assert!(data_to(&out, A).iter().all(|p| p.seq != 1), "the first transmission has not left the box");
        t.io.complete();
        t.ack(A, 1);
        t.io.complete();
        t.io.slow = false;
    });
}

#[test]
fn acks_and_data_leave_on_the_pair_of_ports_that_each_direction_uses() {
    each(|t| {
        // The phone's packets come by the first pair, the server's by the second.
        t.ports = [smartwire_engine::Port(0), smartwire_engine::Port(3)];
        t.handshake();
        t.ack(C, 1);
        let out = [t.data(C, 1, MSS), t.wait(50 * MS)].concat();
        assert!(out.iter().all(|p| p.port.0 == if p.side == A { 2 } else { 1 }), "{out:?}");
        t.ack(A, 1);
    });
}

#[test]
fn what_is_not_tcp_passes_byte_for_byte() {
    each(|t| {
        let port = t.ports[0];
        let udp = Packet::new().ip(t.addrs[0], t.addrs[1]).udp(53, 53).payload(b"x").build();
        let arp = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &[0; 46]].concat();
        let frag = Packet::new().ip(t.addrs[0], t.addrs[1]).tcp(1, 2).payload(&[7; 64]).build();
        for frame in [udp, arp, frag[..50].to_vec(), vec![1, 2, 3]] {
            let id = t.io.receive(&frame).unwrap();
            let rx = smartwire_engine::Rx {
                frame: id,
                off: 0,
                len: frame.len() as u16,
                port,
                csum: smartwire_engine::Csum::Unverified,
            };
            t.engine.on_rx(t.now, &[rx], &mut t.io);
            assert_eq!(std::mem::take(&mut t.io.out), [(t.ports[1], frame)]);
        }
        assert_eq!(t.engine.stats().forwarded, 4);
    });
}

#[test]
fn a_connection_joined_in_the_middle_is_refused_once_and_passes_untouched() {
    each(|t| {
        for i in 0..5 {
            let p = t.pkt(C, 5_000 + i * MSS, MSS, ACK);
            let frame = t.frame(&p);
            assert_eq!(t.send(&p)[0].raw, frame);
        }
        assert_eq!(t.engine.stats().refused[RefuseReason::MidStream as usize], 1);
        assert_eq!(t.engine.stats().not_optimized, 5);
    });
}

#[test]
fn in_observe_mode_nothing_is_touched() {
    for v in VARIANTS {
        let mut t = Pair::new(v, PLAIN, smartwire_engine::Config { observe: true, ..config() });
        for (side, seq, flags) in [(A, 0, SYN), (C, 0, SYN | ACK), (A, 1, ACK), (C, 1, ACK), (A, 1, Flags::RST)] {
            let p = t.pkt(side, seq, 0, flags);
            let frame = t.frame(&p);
            assert_eq!(t.send(&p)[0].raw, frame);
        }
        assert_eq!(t.engine.stats().refused[RefuseReason::Observing as usize], 1);
    }
}

#[test]
fn what_waited_for_a_hole_goes_on_when_the_pool_of_segments_has_room_again() {
    for v in VARIANTS {
        let mut t = Pair::new(v, PLAIN, smartwire_engine::Config { max_segments: 16, ..config() });
        (t.syn_window, t.window) = (11_136, [11_136; 2]);
        begin(&mut t);
        let last = 17;
        for i in 1..last {
            t.data(C, 1 + i * 100, 100);
        }
        // The hole is filled, and takes the last place that the last of those behind it would need.
        t.data(C, 1, 100);
        for _ in 0..50 {
            t.ack(A, t.rcv[A as usize]);
            t.wait(20 * MS);
        }
        assert_eq!(t.rcv[A as usize], 1 + last * 100, "without another segment of the server's");
        t.audit();
    }
}
