//! The way out: DRAIN, the hand-back, orders, and everything odd that ends optimization.

mod common;

use common::*;
use smartwire_engine::api::{EventKind, Target};
use smartwire_engine::{Command, FlowKey, Now, Side, StopReason};
use smartwire_packet::tcp::Flags;

fn key(t: &Pair) -> FlowKey {
    t.engine.flows().next().expect("a flow").key
}

fn drain(t: &mut Pair, target: Target, ms: u64) -> Vec<Pkt> {
    let deadline = Now(t.now.0 + ms * MS);
    let count = t.engine.command(t.now, Command::Drain { target, deadline }, &mut t.io);
    assert_eq!(count, 1);
    t.collect()
}

fn with_custody(t: &mut Pair, n: u64) {
    t.handshake();
    t.ack(C, 1);
    for i in 0..n {
        t.data(C, 1 + i * MSS, MSS);
    }
    t.wait(30 * MS);
    assert_eq!(t.check.custody(C), n * MSS);
}

fn handed_back(t: &Pair, why: StopReason) -> bool {
    t.events.iter().any(|e| e.kind == EventKind::HandedBack(why))
}

fn last_to(out: &[Pkt], side: Side) -> Pkt {
    out.iter().filter(|p| p.side == side).last().expect("a packet").clone()
}

#[test]
fn a_drain_delivers_custody_acknowledges_nothing_new_and_hands_back_with_the_real_numbers() {
    each(|t| {
        with_custody(t, 6);
        let target = Target::Flow(key(t));
        drain(t, target, 60_000);
        assert!(!t.engine.drained());
        // Data that comes meanwhile is passed on, not acknowledged.
        let out = [t.data(C, 1 + 6 * MSS, MSS), t.wait(3_000 * MS)].concat();
        assert!(out.iter().any(|p| p.side == A && p.seq == 1 + 6 * MSS));
        t.window[A as usize] = 300_000 & !127;
        let out = [t.ack(A, 1), t.wait(6_000 * MS)].concat();
        assert!(t.engine.drained());
        assert!(handed_back(t, StopReason::Operator));
        let last = last_to(&out, C);
        assert_eq!((last.ack, last.window), (1 + 7 * MSS, t.window[A as usize]));
        assert_eq!((t.engine.stats().custody_bytes, t.engine.stats().segments), (0, 0));
        // From now on a wire, byte for byte.
        let p = t.pkt(C, 1 + 7 * MSS, MSS, ACK);
        let frame = t.frame(&p);
        let out = t.send(&p);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].raw, frame);
    });
}

#[test]
fn a_drain_that_meets_its_limit_resets_both_ends_and_counts_it() {
    each(|t| {
        with_custody(t, 3);
        drain(t, Target::Wire, 5_000);
        let out = t.wait(6_000 * MS);
        // One to the server; to the phone one in front of what is under way and one behind it.
        assert_eq!(out.iter().filter(|p| p.is(Flags::RST)).count(), 3);
        assert!(t.engine.drained());
        assert_eq!(t.engine.stats().stopped[StopReason::DrainLimit as usize], 1);
    });
}

#[test]
fn a_flow_with_nothing_outstanding_is_handed_back_at_once() {
    each(|t| {
        t.handshake();
        t.ack(C, 1);
        drain(t, Target::Wire, 5_000);
        t.wait(6_000 * MS);
        assert!(t.engine.drained());
        assert!(handed_back(t, StopReason::Operator));
    });
}

#[test]
fn what_is_bypassed_is_refused_until_it_is_resumed() {
    each(|t| {
        let (now, deadline) = (t.now, Now(t.now.0 + 1000 * MS));
        t.engine.command(now, Command::Bypass { target: Target::Wire, deadline }, &mut t.io);
        for p in [t.pkt(A, 0, 0, SYN), t.pkt(C, 0, 0, SYN | ACK)] {
            let mut p = p;
            p.ack = t.rcv[p.side as usize];
            t.send(&p);
        }
        let ack = t.pkt(A, 1, 0, ACK);
        let out = t.send(&ack);
        assert_eq!(out[0].raw, t.frame(&ack));
        assert!(t.mode_is_gone());
        assert_eq!(t.engine.stats().refused[18], 1);
        assert_eq!(t.engine.command(now, Command::Resume { target: Target::Wire }, &mut t.io), 1);
    });
}

#[test]
fn urgent_data_passes_intact_and_ends_the_optimization() {
    each(|t| {
        with_custody(t, 2);
        let mut p = t.pkt(C, 1 + 2 * MSS, 10, ACK | Flags::URG);
        p.window = 1 << 20;
        let out = [t.send(&p), t.wait(10 * MS)].concat();
        assert!(out.iter().any(|p| p.side == A && p.is(Flags::URG) && p.len == 10), "urgent data passes intact");
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert!(handed_back(t, StopReason::Urgent));
    });
}

#[test]
fn a_segment_with_an_unknown_option_is_delivered_and_ends_the_optimization() {
    each(|t| {
        with_custody(t, 2);
        let p = t.pkt(C, 1 + 2 * MSS, 10, ACK);
        let mut frame = t.frame(&p);
        let layers = smartwire_packet::parse(&frame).unwrap();
        // The two NOPs before the timestamps become an option of kind 200.
        let at = usize::from(layers.l4) + 20;
        frame[at..at + 2].copy_from_slice(&[200, 2]);
        smartwire_packet::csum::fill_l4(&mut frame, &layers);
        t.check.entered(t.now, &p);
        let out = [t.send_raw(t.ports[1], &frame), t.wait(10 * MS)].concat();
        assert!(out.iter().any(|p| p.side == A && p.len == 10), "delivered");
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert!(handed_back(t, StopReason::UnknownOption));
    });
}

#[test]
fn who_guesses_ports_alone_cannot_end_the_optimization() {
    each(|t| {
        with_custody(t, 2);
        t.ack(A, 1);
        t.wait(10 * MS);
        // Urgent data and an unknown option, far outside the window.
        let far = t.pkt(C, 1 + (1 << 29), 10, ACK | Flags::URG);
        t.send_raw(t.ports[1], &t.frame(&far));
        let mut frame = t.frame(&t.pkt(C, 1 + (1 << 29), 10, ACK));
        let layers = smartwire_packet::parse(&frame).unwrap();
        let at = usize::from(layers.l4) + 20;
        frame[at..at + 2].copy_from_slice(&[200, 2]);
        smartwire_packet::csum::fill_l4(&mut frame, &layers);
        t.send_raw(t.ports[1], &frame);
        // A SYN: challenged, not believed, though nothing is outstanding (RFC 5961 section 4).
        let syn = t.pkt(C, 1 + (1 << 29), 0, SYN);
        let out = t.send_raw(t.ports[1], &t.frame(&syn));
        assert!(out.iter().all(|p| p.side == C && !p.is(SYN)), "{out:?}");
        t.wait(6_000 * MS);
        assert_eq!(t.engine.stats().draining, 0);
        assert_eq!(t.engine.stats().handed_back, 0);
        assert!(!t.mode_is_gone());
    });
}

/// Ten thousand idle flows, and what the engine did with them after one call.
fn many(v6: bool, order: impl Fn(&mut Pair)) -> Pair {
    let v = VARIANTS[usize::from(v6)];
    let mut t = Pair::new(v, PLAIN, smartwire_engine::Config { max_flows: 20_000, idle_ns: 3_600_000 * MS, ..config() });
    for i in 0..10_000u16 {
        t.tcp_ports[0] = 10_000 + i;
        t.rcv = [0; 2];
        t.check.wire = true;
        t.handshake();
    }
    assert_eq!(t.engine.stats().flows, 10_000);
    order(&mut t);
    t
}

#[test]
fn a_drain_of_the_wire_is_spread_over_calls_and_reaches_every_flow() {
    for v6 in [false, true] {
        let mut t = many(v6, |t| {
            let order = Command::Drain { target: Target::Wire, deadline: Now(t.now.0 + 60_000 * MS) };
            assert_eq!(t.engine.command(t.now, order, &mut t.io), 10_000);
        });
        let mut before = 10_000;
        for _ in 0..3 {
            let flows = t.engine.stats().flows;
            assert!(before - flows <= 4_096, "{} at once", before - flows);
            before = flows;
            if flows > 0 {
                assert!(t.engine.next_deadline().is_some_and(|at| at <= t.now), "called again at once");
            }
            t.engine.on_time(t.now, &mut t.io);
        }
        assert!(t.engine.drained());
    }
}

#[test]
fn a_flow_that_the_copper_wire_may_have_carried_is_let_go_before_its_next_segment_is_looked_at() {
    for v6 in [false, true] {
        let mut t = many(v6, |t| t.engine.wire_opened(t.now, true, &mut t.io));
        assert_eq!(t.engine.stats().flows, 10_000 - 4_096);
        // The last one, far behind the sweep.
        let p = t.pkt(C, 1, MSS, ACK);
        let frame = t.frame(&p);
        let out = t.send_raw(t.ports[1], &frame);
        assert_eq!((out.len(), &out[0].raw), (1, &frame), "as it came");
        assert!(t.engine.flows().all(|f| f.key.access_port != t.tcp_ports[0]));
    }
}

/// Sends the segment as the first of several fragments; it must go on as it came.
fn send_fragment(t: &mut Pair, p: &Pkt) {
    let mut frame = t.frame(p);
    // More fragments follow; the header's checksum with one bit more (RFC 1624).
    frame[14 + 6] |= 0x20;
    let sum = u32::from(!u16::from_be_bytes([frame[14 + 10], frame[14 + 11]])) + 0x2000;
    frame[14 + 10..14 + 12].copy_from_slice(&(!(sum + (sum >> 16)) as u16).to_be_bytes());
    send_as_it_is(t, &frame);
}

/// Sends a frame, which must go on as it came.
fn send_as_it_is(t: &mut Pair, frame: &[u8]) {
    let id = t.io.receive(frame).unwrap();
    let port = t.ports[C as usize];
    let (len, csum) = (frame.len() as u16, smartwire_engine::Csum::Unverified);
    t.engine.on_rx(t.now, &[smartwire_engine::Rx { frame: id, off: 0, len, port, csum }], &mut t.io);
    assert!(t.io.out.iter().any(|(_, raw)| raw == frame));
    t.io.out.clear();
}

#[test]
fn a_fragment_passes_as_it_came_and_ends_the_optimization() {
    for v in VARIANTS.into_iter().filter(|v| !v.v6) {
        let mut t = Pair::new(v, PLAIN, config());
        with_custody(&mut t, 2);
        let p = t.pkt(C, 1 + 2 * MSS, MSS, ACK);
        send_fragment(&mut t, &p);
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert!(handed_back(&t, StopReason::Fragment));
        t.audit();
    }
}

#[test]
fn damage_that_looks_like_a_fragment_passes_and_ends_nothing() {
    for v in VARIANTS.into_iter().filter(|v| !v.v6) {
        let mut t = Pair::new(v, PLAIN, config());
        with_custody(&mut t, 2);
        let mut frame = t.frame(&t.pkt(C, 1 + 2 * MSS, MSS, ACK));
        frame[14 + 6] |= 0x20;
        send_as_it_is(&mut t, &frame);
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert_eq!((t.engine.stats().bad_checksum, t.engine.stats().handed_back), (1, 0));
        t.audit();
    }
}

#[test]
fn a_fragment_of_somebody_who_guesses_passes_and_ends_nothing() {
    for v in VARIANTS.into_iter().filter(|v| !v.v6) {
        let mut t = Pair::new(v, PLAIN, config());
        with_custody(&mut t, 2);
        let good = t.pkt(C, 1 + 2 * MSS, MSS, ACK);
        let guesses = [
            Pkt { seq: 1 + (1 << 29), ..good.clone() },
            Pkt { ack: 1 << 29, ..good.clone() },
            Pkt { seq: 1 + MSS, ..good.clone() },
        ];
        for guess in &guesses {
            send_fragment(&mut t, guess);
        }
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert_eq!((t.engine.stats().unacceptable, t.engine.stats().handed_back), (3, 0));
        assert!(!t.mode_is_gone());
        t.audit();
    }
}

#[test]
fn other_content_for_the_same_bytes_is_counted_and_the_first_copy_wins() {
    // A repetition, and a segment that repeats the end of what came and goes on: its new bytes are good.
    other_content(1);
    other_content(1 + 3 * MSS / 2);
}

fn other_content(start: u64) {
    each(|t| {
        with_custody(t, 2);
        let p = t.pkt(C, start, MSS, ACK);
        let mut frame = t.frame(&p);
        let at = frame.len() - p.len as usize + 5;
        frame[at] ^= 0xff;
        let layers = smartwire_packet::parse(&frame).unwrap();
        smartwire_packet::csum::fill_l4(&mut frame, &layers);
        t.check.entered(t.now, &p);
        t.send_raw(t.ports[1], &frame);
        assert_eq!(t.engine.stats().overlaps, 1);
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert!(handed_back(t, StopReason::Overlap));
    });
}

#[test]
fn an_ack_of_bytes_that_took_another_way_makes_the_engine_step_aside() {
    each(|t| {
        with_custody(t, 2);
        let mut ack = t.pkt(A, 1, 0, ACK);
        ack.ack = 1 + 4 * MSS;
        let frame = t.frame(&ack);
        t.check.wire = true;
        let out = t.send_raw(t.ports[0], &frame);
        assert!(out.iter().any(|p| p.raw == frame), "the ACK itself goes on");
        assert!(handed_back(t, StopReason::UnseenAck));
        assert!(t.mode_is_gone());
    });
}

#[test]
fn an_ack_far_beyond_anything_is_dropped() {
    each(|t| {
        with_custody(t, 2);
        let mut ack = t.pkt(A, 1, 0, ACK);
        ack.ack = 1 << 29;
        t.check.wire = true;
        let out = t.send_raw(t.ports[0], &t.frame(&ack));
        t.check.wire = false;
        assert!(out.iter().all(|p| p.side == A), "{out:?}");
        assert_eq!(t.engine.stats().custody_bytes, 2 * MSS);
        t.ack(A, 1);
    });
}

#[test]
fn a_wire_that_opened_resets_flows_with_custody_and_lets_the_others_go() {
    each(|t| {
        with_custody(t, 2);
        let now = t.now;
        t.engine.wire_opened(now, false, &mut t.io);
        let out = t.collect();
        assert_eq!(out.iter().filter(|p| p.is(Flags::RST)).count(), 3);
        assert_eq!(t.engine.stats().stopped[StopReason::WireOpened as usize], 1);
        assert!(t.engine.drained() && t.io.book.is_empty());
    });
    each(|t| {
        t.handshake();
        let now = t.now;
        t.engine.wire_opened(now, true, &mut t.io);
        assert!(t.collect().is_empty());
        assert!(t.engine.drained());
    });
}

#[test]
fn a_wire_that_opened_for_a_moment_keeps_flows_with_custody() {
    each(|t| {
        with_custody(t, 2);
        let now = t.now;
        t.engine.wire_opened(now, true, &mut t.io);
        assert!(t.collect().is_empty());
        t.ack(A, 2);
        assert_eq!((t.engine.stats().resets, t.engine.stats().custody_bytes), (0, 0));
    });
}

#[test]
fn a_subscriber_can_be_drained_alone() {
    each(|t| {
        with_custody(t, 1);
        let who = t.engine.subscribers().next().expect("one").key;
        let other = smartwire_engine::SubscriberKey { scope: 77, ..who };
        let deadline = Now(t.now.0 + 1000 * MS);
        assert_eq!(t.engine.command(t.now, Command::Drain { target: Target::Subscriber(other), deadline }, &mut t.io), 0);
        assert_eq!(t.engine.command(t.now, Command::Drain { target: Target::Subscriber(who), deadline }, &mut t.io), 1);
        t.ack(A, 1);
        t.wait(6_000 * MS);
        assert!(t.engine.drained());
    });
}
