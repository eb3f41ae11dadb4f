use super::path::{Fate, Path};
use super::*;

const ZERO: XmitKind = XmitKind::Probe(ProbeKind::Zero);
const HIGHEST: XmitKind = XmitKind::Probe(ProbeKind::Highest);
const NEW_DATA: XmitKind = XmitKind::Probe(ProbeKind::NewData);

#[test]
fn a_lost_tail_is_probed_after_two_round_trips_by_the_highest_segment() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.ack(una + 7000);
    b.run(199);
    assert_eq!(b.log, []);
    b.run(1);
    assert_eq!(b.sent_since(una), [(HIGHEST, 9)]);
    // Its SACK condemns the rest of the tail.
    b.wait(100);
    let out = b.sack(una + 7000, &[(una + 9000, una + 10_000)]);
    assert_eq!(out.lost + b.run(30), 2000);
    b.pump();
    assert_eq!(b.sent_since(una), [(XmitKind::Retransmit, 7), (XmitKind::Retransmit, 8)]);
}

#[test]
fn a_single_segment_gets_the_time_of_a_delayed_acknowledgement() {
    let mut b = Bed::flying();
    b.wait(100);
    b.ack(b.s.nxt());
    b.queue(1);
    b.pump();
    b.log.clear();
    b.run(399);
    assert_eq!(b.log, []);
    b.run(1);
    assert_eq!(b.log.len(), 1);
}

#[test]
fn new_data_makes_the_best_probe_where_the_window_allows() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.queue(5);
    // The congestion window is full.
    assert_eq!(b.pump(), 0);
    b.run(200);
    assert_eq!(b.sent_since(una), [(NEW_DATA, 10)]);
}

#[test]
fn a_probe_that_repaired_the_loss_itself_counts_as_a_loss() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.ack(una + 9000);
    b.run(1000);
    assert_eq!(b.sent_since(una)[0], (HIGHEST, 9));
    b.wait(100);
    let out = b.ack(una + 10_000);
    b.queue(1);
    b.pump();
    b.wait(100);
    let later = b.ack(una + 11_000);
    assert_eq!((out.lost, later.lost), (0, 1000), "no DSACK came");
}

#[test]
fn a_silence_of_a_minute_brings_only_probes_at_intervals_that_double_up_to_a_limit_and_no_collapse() {
    let mut b = Bed::flying();
    let una = b.s.una();
    let cwnd = b.s.cwnd();
    assert_eq!(b.run(60_000), 0, "nothing is presumed lost");
    let times: Vec<u64> = b.log.iter().map(|l| l.0).collect();
    let kinds: Vec<XmitKind> = b.log.iter().map(|l| l.1).collect();
    assert!(kinds.iter().all(|k| matches!(k, XmitKind::Probe(_))));
    assert!(kinds.contains(&ZERO) && kinds.contains(&HIGHEST));
    for (i, w) in times.windows(3).enumerate() {
        // While it may be an outage that is over any moment, 1 s, then 2 s; longer when half a minute is over.
        let limit = [1_000, 2_000, 60_000][usize::from(i >= 14) + usize::from(i >= 22)];
        assert_eq!(w[2] - w[1], (2 * (w[1] - w[0])).min(limit), "{times:?}");
    }
    assert!((20..30).contains(&times.len()), "{times:?}");
    assert_eq!((b.s.cwnd(), b.s.lost()), (cwnd, 0));
    assert_eq!(b.s.una(), una);
}

#[test]
fn after_a_freeze_that_kept_everything_only_probes_were_sent_and_the_rate_is_back() {
    let mut p = Path::new(params(), 60, 20, 1000);
    p.run_to(3_000);
    let cwnd = p.b.s.cwnd();
    let (srtt, min_rtt) = (p.b.s.srtt(), p.b.s.min_rtt());
    let resent = p.resent();
    p.frozen = (3_000, 13_000);
    p.b.log.clear();
    p.run_to(13_000);
    // What was in flight when the radio froze keeps the window full.
    let silent: Vec<_> = p.b.log.iter().filter(|l| (3_200..13_000).contains(&l.0)).collect();
    assert!(!silent.is_empty() && silent.len() < 12, "{silent:?}");
    assert!(silent.iter().all(|l| matches!(l.1, XmitKind::Probe(_))), "{silent:?}");
    assert!(p.b.s.cwnd() >= cwnd * 9 / 10);
    let before = p.received();
    p.run_to(15_000);
    assert_eq!(p.resent(), 0, "nothing was lost");
    assert_eq!((p.cuts, resent), (0, 0));
    let rate = (p.received() - before) * 8 / 2_000;
    assert!(rate > 18_000, "{rate} kbit/s of 20,000 in the two seconds after");
    // What waited in the frozen radio says nothing about the path.
    assert_eq!(p.b.s.min_rtt(), min_rtt);
    assert!(p.b.s.srtt().abs_diff(srtt) < srtt / 5, "{} was {srtt}", p.b.s.srtt());
}

#[test]
fn after_a_freeze_that_lost_everything_one_answer_brings_it_all_back_without_a_cut() {
    for ack_path_only in [false, true] {
        let mut p = Path::new(params(), 60, 20, 1000);
        p.run_to(3_000);
        let cwnd = p.b.s.cwnd();
        let dead = |ms| (3_000..8_000).contains(&ms);
        if ack_path_only {
            p.ack_fate = Box::new(move |ms| if dead(ms) { Fate::Lose } else { Fate::Pass });
        } else {
            p.fate = Box::new(move |ms, _| if dead(ms) { Fate::Lose } else { Fate::Pass });
        }
        p.run_to(8_000);
        let before = p.received();
        // The next probe may be a backed-off interval away.
        p.run_to(17_000);
        let rate = (p.received() - before) * 8 / 9_000;
        println!("{rate} kbit/s, cuts {}, resent {}", p.cuts, p.resent());
        assert_eq!(p.cuts, 0, "an outage is no congestion");
        assert!(p.b.s.cwnd() >= cwnd * 9 / 10);
        assert!(rate > 9_000, "{rate} kbit/s");
        p.refill = false;
        p.run_to(40_000);
        assert_eq!(p.received() + 1, p.b.s.end(), "everything arrives");
    }
}

#[test]
fn an_empty_probe_that_is_answered_is_followed_by_the_highest_segment_at_once() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.run(700);
    assert_eq!(b.sent_since(una).iter().map(|s| s.0).collect::<Vec<_>>(), [HIGHEST, ZERO]);
    b.wait(100);
    b.ack(una);
    b.pump();
    assert_eq!(b.sent_since(una), [(HIGHEST, 9)]);
    b.wait(100);
    let out = b.sack(una, &[(una + 9000, una + 10_000)]);
    assert_eq!(out.lost + b.run(30), 9000, "one answer condemns the whole flight");
}

#[test]
fn the_empty_probe_lies_one_below_una() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.run(700);
    let zero = b.log.iter().find(|l| l.1 == ZERO).unwrap();
    assert_eq!(zero.2, una - 1);
}

#[test]
fn another_flow_s_life_wakes_a_probe_that_backs_off() {
    let mut b = Bed::flying();
    b.run(5_000);
    b.log.clear();
    b.s.path_alive(b.now);
    assert_eq!(b.s.deadline(), Some(b.now));
    b.run(0);
    assert_eq!(b.log.len(), 1);
    b.s.path_alive(b.now);
    b.run(0);
    assert_eq!(b.log.len(), 1, "once");
}

#[test]
fn empty_probes_answered_and_full_segments_never_raise_doubt_about_the_size() {
    // A path that drops segments above 1,000 bytes on the wire and says nothing.
    let mut p = Path::new(params(), 60, 0, 0);
    p.fate = Box::new(|_, x| if x.seg.is_some_and(|s| s.len > 900) { Fate::Lose } else { Fate::Pass });
    p.refill = false;
    p.b.queue(10);
    p.run_to(10_000);
    assert!(p.b.s.size_doubted());
    assert!(p.b.s.split(&mut p.b.pool, 500));
    p.b.audit();
    assert!(!p.b.s.size_doubted());
    p.run_to(20_000);
    assert_eq!(p.received(), 10_000);
    assert_eq!(p.b.freed.len(), 10, "each frame once");
}

#[test]
fn a_closed_window_is_probed_with_nothing_at_doubling_intervals_and_no_give_up() {
    let mut b = Bed::new();
    b.s.seed_rtt(b.now, 100 * MS);
    b.queue(2);
    b.pump();
    b.wait(100);
    b.right = b.s.nxt();
    b.ack(b.s.nxt());
    b.queue(3);
    b.log.clear();
    for _ in 0..400 {
        b.run(1_000);
        if matches!(b.log.last(), Some(l) if l.1 == ZERO && l.0 + 1_000 >= b.ms()) {
            b.ack(b.s.una());
        }
    }
    assert!(b.log.iter().all(|l| l.1 == ZERO));
    let times: Vec<u64> = b.log.iter().map(|l| l.0).collect();
    let gaps: Vec<u64> = times.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.windows(2).all(|g| g[1] == (2 * g[0]).min(60_000)), "{gaps:?}");
    assert_eq!(*gaps.last().unwrap(), 60_000);
    b.right += 3000;
    assert!(b.ack(b.s.una()).window_grew);
    assert_eq!(b.pump(), 3);
}

#[test]
fn a_window_below_a_segment_is_given_a_persist_interval_before_the_segment_is_cut() {
    let mut b = Bed::new();
    b.s.seed_rtt(b.now, 100 * MS);
    b.queue(1);
    b.pump();
    b.wait(100);
    b.right = b.s.nxt() + 400;
    b.ack(b.s.nxt());
    b.wait(30_000);
    let start = b.s.end();
    b.queue(1);
    b.log.clear();
    b.run(0);
    b.run(199);
    assert_eq!(b.log, [], "cut at once, though the window may open yet");
    b.run(300);
    assert_eq!(b.log.len(), 1);
    assert_eq!(b.s.nxt(), start + 400);
    b.right += 400;
    b.wait(100);
    b.ack(b.s.nxt());
    b.run(1_000);
    assert_eq!(b.s.nxt(), start + 800);
    assert_eq!(b.freed.len(), 1, "the frame stays for the rest");
}

#[test]
fn a_fin_that_does_not_fit_does_not_hold_its_data_back_for_ever() {
    let mut b = Bed::new();
    b.s.seed_rtt(b.now, 100 * MS);
    b.right = b.s.nxt() + 1000;
    b.ack(b.s.nxt());
    let seg = b.seg(1000, true);
    b.s.enqueue(&mut b.pool, &seg).unwrap();
    b.pump();
    assert_eq!(b.log, []);
    b.run(1_000);
    assert_eq!(b.s.nxt(), 1001, "the payload went");
    b.wait(100);
    b.right += 1;
    b.ack(1001);
    b.pump();
    assert_eq!(b.s.nxt(), 1002);
    b.wait(100);
    b.ack(1002);
    assert!(b.s.is_idle());
    assert_eq!(b.freed.len(), 1);
}

#[test]
fn the_first_flight_after_a_pause_may_be_lost_without_blame_and_is_asked_for_early() {
    let mut p = Path::new(params(), 60, 20, 1000);
    p.refill = false;
    p.b.queue(3);
    p.run_to(5_000);
    let cwnd = p.b.s.cwnd();
    p.b.queue(10);
    let mut left = 10;
    p.fate = Box::new(move |_, x| {
        if x.id.is_some() && left > 0 {
            left -= 1;
            Fate::Lose
        } else {
            Fate::Pass
        }
    });
    p.b.link_full = true;
    p.b.log.clear();
    p.run_to(5_400);
    assert_eq!(p.received(), 13_000);
    assert_eq!(p.cuts, 0);
    assert!(p.b.s.cwnd() >= cwnd);
    let probe = p.b.log.iter().find(|l| matches!(l.1, XmitKind::Probe(_))).unwrap();
    assert!(probe.0 <= 5_000 + 110, "{probe:?}");
}
