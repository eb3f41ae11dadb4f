use super::path::Path;
use super::*;

#[test]
fn slow_start_doubles_each_round_trip_from_ten_segments() {
    let mut p = Path::new(params(), 100, 0, 0);
    p.budget = u32::MAX;
    let mut windows = Vec::new();
    for round in 0..6 {
        p.run_to(round * 100 + 50);
        windows.push(p.b.s.cwnd() / MSS);
    }
    assert_eq!(windows, [10, 20, 40, 80, 160, 320]);
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let mut p = Path::new(params(), 100, 0, 0);
    p.refill = false;
    for i in 0..50 {
        p.b.queue(2);
        p.run_to(i * 200);
    }
    assert!(p.b.s.cwnd() <= 20 * MSS, "{}", p.b.s.cwnd());
}

#[test]
fn after_a_cut_the_window_grows_back_along_the_cubic() {
    // A link of 8 Mbit/s and 100 ms holds 100 segments; 150 are under way when one is lost. RFC 9438: down to 70 %, and
    // back at W_max after K = cbrt(W_max (1 - beta) / C) = 4.8 s.
    let mut p = Path::new(params(), 100, 8, 5_000);
    p.budget = u32::MAX;
    p.b.s.cc.cwnd = 150 * MSS;
    p.b.s.cc.ssthresh = 150 * MSS;
    p.run_to(1_000);
    let w_max = p.b.s.cwnd();
    p.b.link_full = true;
    let mut left = 1;
    p.fate = Box::new(move |_, x| {
        if x.kind == XmitKind::New && left > 0 {
            left -= 1;
            super::path::Fate::Lose
        } else {
            super::path::Fate::Pass
        }
    });
    p.run_to(1_600);
    assert_eq!((p.cuts, p.resent()), (1, 1));
    let low = p.b.s.cwnd();
    assert!((68..75).contains(&(low * 100 / w_max)), "{low} of {w_max}");
    p.run_to(3_500);
    let soon = p.b.s.cwnd();
    p.run_to(6_000);
    let back = p.b.s.cwnd();
    assert!(soon > low && soon < w_max, "{low} {soon} of {w_max}");
    assert!(back.abs_diff(w_max) <= w_max / 20, "{back} of {w_max}");
    p.run_to(11_000);
    assert!(p.b.s.cwnd() > w_max * 11 / 10, "and beyond it: {}", p.b.s.cwnd());
}

#[test]
fn the_delivery_rate_is_the_link_s_also_after_a_pause() {
    let mut p = Path::new(params(), 60, 20, 1000);
    let mut all = Vec::new();
    for pause in 0..5u64 {
        p.refill = true;
        p.run_to(pause * 6_000 + 3_000);
        let rate = p.b.s.delivery_rate() * 1060 / 1000 * 8 / 1000;
        all.push(rate);
        p.refill = false;
        p.run_to(pause * 6_000 + 6_000);
    }
    assert!(all.iter().all(|r| (18_000..=20_500).contains(r)), "kbit/s of 20,000: {all:?}");
}

#[test]
fn sends_are_paced_at_a_quarter_above_what_gets_through_and_twice_the_window_in_slow_start() {
    let mut p = Path::new(params(), 100, 0, 0);
    assert_eq!(p.b.s.pacing_rate(), 2 * 10_000 * 10, "bytes per second: twice ten segments per 100 ms");
    p.budget = 100_000;
    p.run_to(2_000);
    p.b.s.cc.ssthresh = 20_000;
    p.b.s.cc.cwnd = 20_000;
    let rate = p.b.s.pacing_rate();
    assert!(rate.abs_diff(1_250_000) < 20_000, "1.25 times 100 kB per 100 ms, not {rate}");
    assert_eq!(Sender::new(&params(), 1, 1).pacing_rate(), u64::MAX);
}

#[test]
fn y_s_window_is_respected_and_its_shrinking_survived() {
    let mut b = Bed::new();
    b.right = 1 + 5500;
    b.ack(1);
    b.queue(10);
    assert_eq!(b.pump(), 5, "five whole segments");
    b.right = 1 + 3000;
    b.wait(10);
    let out = b.sack(1, &[(1001, 5001)]);
    assert_eq!(out.lost, 1000);
    assert_eq!(b.pump(), 1, "what was sent before may be sent again");
    b.wait(10);
    b.right = 1 + 6000;
    b.ack(5001);
    assert_eq!(b.pump(), 1);
}

#[test]
fn with_ecn_an_echo_cuts_once_a_window_and_is_answered_with_cwr() {
    let mut b = Bed::flying_with(SenderParams { ecn: true, ..params() });
    let una = b.s.una();
    b.wait(100);
    let a = AckIn { ece: true, ..b.plain(una + 1000) };
    assert!(b.on(a).cut);
    let ssthresh = b.s.ssthresh();
    assert!(ssthresh < 10 * MSS);
    assert!(b.s.take_cwr());
    assert!(!b.s.take_cwr());
    let a = AckIn { ece: true, ..b.plain(una + 2000) };
    assert!(!b.on(a).cut);
    assert_eq!(b.s.ssthresh(), ssthresh);
    assert_eq!(b.s.lost(), 0);
}

#[test]
fn a_loss_that_cut_the_window_answers_the_echo_of_the_same_window_too() {
    let mut b = Bed::flying_with(SenderParams { ecn: true, ..params() });
    b.link_full = true;
    let una = b.s.una();
    b.wait(100);
    assert!(b.sack(una, &[(una + 1000, una + 4000)]).cut);
    assert!(b.s.take_cwr(), "RFC 3168 section 6.1.2: whatever the reason");
    let ssthresh = b.s.ssthresh();
    let a = AckIn { ece: true, sack: &[(una + 1000, una + 5000)], ..b.plain(una) };
    assert!(!b.on(a).cut);
    assert_eq!(b.s.ssthresh(), ssthresh);
}

#[test]
fn without_ecn_an_echo_means_nothing() {
    let mut b = Bed::flying();
    b.wait(100);
    let a = AckIn { ece: true, ..b.plain(b.s.una() + 1000) };
    assert!(!b.on(a).cut);
    assert!(!b.s.take_cwr());
}

#[test]
fn an_ack_into_a_segment_trims_it_and_keeps_its_frame() {
    let mut b = Bed::flying();
    let una = b.s.una();
    let freed = b.freed.len();
    b.wait(100);
    let out = b.ack(una + 300);
    assert_eq!((out.newly_acked, b.freed.len()), (300, freed));
    b.sack(una + 300, &[(una + 1000, una + 9000)]);
    let x = b.s.next(&b.pool, b.now, u32::MAX).unwrap();
    let seg = x.seg.unwrap();
    assert_eq!((x.start, seg.len, seg.payload_off, seg.whole), (una + 300, 700, 354, false));
}

#[test]
fn a_fin_takes_a_number_and_is_freed_with_it() {
    let mut b = Bed::new();
    let seg = b.seg(100, true);
    b.s.enqueue(&mut b.pool, &seg).unwrap();
    b.pump();
    assert_eq!(b.s.nxt(), 102);
    b.wait(50);
    b.ack(101);
    assert!(b.freed.is_empty() && !b.s.is_idle());
    b.ack(102);
    assert!(b.s.is_idle());
    assert_eq!(b.freed.len(), 1);
}

#[test]
fn a_budget_holds_back_everything_but_a_probe() {
    let mut b = Bed::new();
    b.s.seed_rtt(b.now, 100 * MS);
    b.queue(3);
    assert_eq!(b.s.next(&b.pool, b.now, 999), None);
    let x = b.s.next(&b.pool, b.now, 1000).unwrap();
    b.s.sent(&mut b.pool, b.now, &x, 0);
    assert!(b.s.wants_to_send(&b.pool));
    b.now = b.s.deadline().unwrap();
    b.s.on_timer(&mut b.pool, b.now, false);
    assert!(matches!(b.s.next(&b.pool, b.now, 0).unwrap().kind, XmitKind::Probe(_)));
}

#[test]
fn a_full_pool_takes_nothing() {
    let mut b = Bed::new();
    b.pool = SegPool::new(2);
    b.queue(2);
    let seg = b.seg(1000, false);
    assert_eq!(b.s.enqueue(&mut b.pool, &seg), Err(Full));
    assert_eq!(b.s.end(), 2001);
    b.audit();
}

#[test]
fn a_smaller_mtu_cuts_what_was_sent_and_what_was_not() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.queue(2);
    b.wait(100);
    b.sack(una, &[(una + 2000, una + 3000)]);
    let cwnd = b.s.cwnd();
    assert!(b.s.split(&mut b.pool, 400));
    b.audit();
    assert_eq!((b.s.sacked(), b.s.in_flight()), (1000, 0));
    assert!(b.s.recovering());
    b.log.clear();
    b.pump();
    let mut at = una;
    for (_, kind, start) in b.log.iter().take_while(|l| l.2 < una + 10_000) {
        assert_eq!((*kind, *start), (XmitKind::Retransmit, at));
        at += if (at - una) % 1000 == 800 { 200 } else { 400 };
        if at == una + 2000 {
            at += 1000;
        }
    }
    assert_eq!(at, una + 10_000, "the window had room for all of it");
    assert_eq!(b.s.ssthresh(), u32::MAX, "no blame");
    assert!(b.s.cwnd() >= cwnd);
    while !b.s.is_idle() {
        b.wait(100);
        b.ack(b.s.nxt());
        b.pump();
    }
    assert_eq!(b.freed.len(), 13, "each frame once");
    assert_eq!(b.pool.free(), b.pool.capacity());
}

#[test]
fn an_idle_sender_thaws_as_it_was() {
    let mut p = Path::new(params(), 60, 20, 100);
    p.run_to(3_000);
    p.refill = false;
    p.run_to(10_000);
    assert!(p.b.s.is_idle());
    let frozen = p.b.s.freeze();
    assert!(std::mem::size_of::<FrozenSender>() <= 40);
    let mut s = Sender::default();
    s.sleep(&params(), frozen.una, frozen.una + u64::from(frozen.window));
    s.wake(&frozen, p.b.now);
    assert_eq!(s.freeze(), frozen);
    assert_eq!((s.una(), s.nxt(), s.end(), s.right()), (p.b.s.una(), p.b.s.una(), p.b.s.una(), p.b.s.right()));
    assert!(s.srtt().abs_diff(p.b.s.srtt()) < 1000);
    assert_eq!((s.cwnd(), s.ssthresh()), (p.b.s.cwnd(), p.b.s.ssthresh()));
}

#[test]
fn clearing_gives_every_frame_back() {
    let mut b = Bed::flying();
    b.queue(5);
    let una = b.s.una();
    b.sack(una, &[(una + 2000, una + 5000)]);
    b.freed.clear();
    let freed = &mut b.freed;
    b.s.clear(&mut b.pool, |f| freed.push(f));
    assert_eq!(b.freed.len(), 15);
    assert_eq!((b.pool.free(), b.s.held(), b.s.in_flight(), b.s.deadline()), (b.pool.capacity(), 0, 0, None));
}

#[test]
fn a_frame_that_still_waits_in_the_box_counts_as_sent_and_not_as_resent() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.sack(una, &[(una + 1000, una + 4000)]);
    let x = b.s.next(&b.pool, b.now, u32::MAX).unwrap();
    assert_eq!(x.kind, XmitKind::Retransmit);
    b.s.skipped(&mut b.pool, b.now, &x);
    b.audit();
    assert_eq!((b.s.lost(), b.s.resent_segments()), (0, 0));
}

#[test]
fn what_may_be_acknowledged_ahead_never_falls_back_when_the_budget_shrinks() {
    let mut p = Path::new(params(), 60, 20, 1000);
    p.budget = 600_000;
    p.run_to(3_000);
    let before = p.b.s.peak_flight();
    assert!(before > 500_000, "{before} bytes in flight");
    p.budget = 150_000;
    let mut edge = 0;
    for ms in 3_000..6_000 {
        p.run_to(ms);
        let now = p.b.s.una() + 2 * u64::from(p.b.s.peak_flight());
        assert!(now >= edge, "back by {} bytes at {ms} ms", edge - now);
        edge = now;
    }
    assert!(p.b.s.peak_flight() < 160_000, "{} bytes in the end", p.b.s.peak_flight());
}
