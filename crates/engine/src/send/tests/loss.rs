use super::path::{Fate, Path};
use super::*;

const NEW: XmitKind = XmitKind::New;
const RETX: XmitKind = XmitKind::Retransmit;

#[test]
fn three_segments_sacked_above_a_hole_condemn_it_at_once() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    assert_eq!(b.sack(una, &[(una + 1000, una + 2000)]).lost, 0);
    assert_eq!(b.sack(una, &[(una + 1000, una + 3000)]).lost, 0);
    let out = b.sack(una, &[(una + 1000, una + 4000)]);
    assert_eq!((out.lost, out.cut), (1000, false));
    assert!(b.s.recovering());
    b.pump();
    assert_eq!(b.sent_since(una)[0], (RETX, 0));
}

#[test]
fn no_reordering_learned_is_none_to_wait_for() {
    let mut b = Bed::flying();
    b.s.set_reordering(0);
    let una = b.s.una();
    b.wait(100);
    assert_eq!(b.sack(una, &[(una + 1000, una + 4000)]).lost, 1000);
}

#[test]
fn one_segment_sacked_above_a_hole_condemns_it_after_a_quarter_of_min_rtt() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.sack(una, &[(una + 1000, una + 2000)]);
    assert_eq!(b.run(24), 0);
    assert_eq!(b.run(1), 1000);
    b.pump();
    assert_eq!(b.sent_since(una)[0], (RETX, 0));
}

#[test]
fn reordering_is_learned_and_waited_for() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.sack(una, &[(una + 1000, una + 2000)]);
    b.wait(20);
    b.ack(una + 2000);
    assert_eq!(b.s.reordering() / MS, 20);
    // From now on three above a hole no longer condemn it at once.
    let una = una + 2000;
    assert_eq!(b.sack(una, &[(una + 1000, una + 7000)]).lost, 0);
    assert_eq!(b.run(30), 1000);
}

#[test]
fn small_segments_that_overtake_a_large_one_do_not_condemn_it_for_80_ms() {
    let mut b = Bed::flying();
    b.wait(100);
    b.ack(b.s.nxt());
    b.wait(100);
    let una = b.s.una();
    b.queue(1);
    for _ in 0..5 {
        let seg = b.seg(60, false);
        b.s.enqueue(&mut b.pool, &seg).unwrap();
    }
    b.pump();
    b.wait(100);
    assert_eq!(b.sack(una, &[(una + 1000, una + 1300)]).lost, 0);
    assert_eq!(b.run(79), 0);
    assert_eq!(b.run(1), 1000);
}

#[test]
fn a_retransmission_that_is_lost_again_is_found_by_what_was_sent_after_it() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.queue(20);
    b.wait(100);
    b.sack(una, &[(una + 1000, una + 9000)]);
    b.log.clear();
    b.pump();
    let sent = b.sent_since(una);
    assert_eq!(sent[0], (RETX, 0));
    assert!(sent[1..].iter().all(|s| s.0 == NEW) && sent.len() > 4, "{sent:?}");
    b.wait(100);
    // What was sent after the retransmission arrives, the retransmission does not.
    let out = b.sack(una, &[(una + 1000, una + 13_000)]);
    assert_eq!(out.lost, 1000, "{out:?}");
    b.pump();
    assert_eq!(b.sent_since(una)[0], (RETX, 0));
}

#[test]
fn an_ack_too_early_for_a_retransmission_is_not_taken_for_its_own() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.sack(una, &[(una + 1000, una + 4000)]);
    b.pump();
    b.wait(5);
    // The original was late, not lost: 5 ms after the retransmission Y has it.
    let out = b.ack(una + 4000);
    assert_eq!(out.lost, 0);
    assert_eq!(out.rtt_ns, None, "Karn");
    // Segments 5 to 10 were sent before the retransmission, and are not condemned by it.
    assert_eq!(b.run(10), 0);
}

#[test]
fn a_loss_on_a_link_that_is_not_full_does_not_cut_and_on_a_full_one_does() {
    for full in [false, true] {
        let mut b = Bed::flying();
        b.link_full = full;
        let una = b.s.una();
        let cwnd = b.s.cwnd();
        b.wait(100);
        let out = b.sack(una, &[(una + 1000, una + 4000)]);
        assert_eq!((out.lost, out.cut), (1000, full));
        assert_eq!(b.s.ssthresh() < u32::MAX, full);
        if !full {
            assert!(b.s.cwnd() >= cwnd);
        }
    }
}

#[test]
fn a_cut_comes_down_in_proportion_and_ends_at_ssthresh() {
    let mut b = Bed::flying();
    // 100 segments in flight.
    b.queue(200);
    b.s.raise_cwnd_to(100 * MSS);
    b.pump();
    let una = b.s.una();
    b.link_full = true;
    b.wait(100);
    let out = b.sack(una, &[(una + 1000, una + 4000)]);
    assert!(out.cut);
    let ssthresh = b.s.ssthresh();
    assert_eq!(ssthresh, 70 * MSS, "beta = 0.7 of the flight");
    b.log.clear();
    let mut sent = b.pump();
    for i in 5..=100u64 {
        b.sack(una, &[(una + 1000, una + i * 1000)]);
        sent += b.pump();
    }
    assert!((67..=73).contains(&sent), "{sent} sent for 100 delivered");
    b.wait(50);
    assert!(b.s.recovering());
    b.ack(una + 100_000);
    assert!(!b.s.recovering());
    assert!(b.s.cwnd().abs_diff(ssthresh) <= MSS, "{} for {ssthresh}", b.s.cwnd());
}

#[test]
fn one_congestion_event_cuts_once() {
    let mut b = Bed::flying();
    b.link_full = true;
    let una = b.s.una();
    b.wait(100);
    assert!(b.sack(una, &[(una + 1000, una + 4000)]).cut);
    let ssthresh = b.s.ssthresh();
    let out = b.sack(una, &[(una + 5000, una + 9000), (una + 1000, una + 4000)]);
    assert_eq!((out.lost, out.cut), (1000, false), "sent before the cut");
    assert_eq!(b.s.ssthresh(), ssthresh);
}

#[test]
fn a_dsack_for_every_retransmission_undoes_the_cut() {
    let mut b = Bed::flying();
    b.link_full = true;
    let una = b.s.una();
    let cwnd = b.s.cwnd();
    b.wait(100);
    assert!(b.sack(una, &[(una + 1000, una + 4000)]).cut);
    b.pump();
    b.wait(30);
    b.ack(una + 4000);
    b.wait(70);
    let a = AckIn { dsack: Some((una, una + 1000)), ..b.plain(una + 10_000) };
    let out = b.on(a);
    assert_eq!((out.undone, out.spurious), (true, 1000));
    assert!(b.s.cwnd() >= cwnd);
    assert_eq!(b.s.ssthresh(), u32::MAX);
    // And three segments above a hole no longer condemn it at once.
    b.queue(10);
    b.pump();
    let una = b.s.una();
    b.wait(100);
    assert_eq!(b.sack(una, &[(una + 1000, una + 9000)]).lost, 0);
    assert_eq!(b.run(49), 0);
    assert_eq!(b.run(1), 1000, "twice a quarter of the least round trip");
}

#[test]
fn a_dsack_that_nothing_of_ours_explains_changes_nothing() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    let a = AckIn { dsack: Some((una, una + 1000)), ..b.plain(una + 1000) };
    let out = b.on(a);
    assert_eq!((out.undone, out.spurious), (false, 0));
}

#[test]
fn an_ack_of_what_was_never_sent_is_refused_whole() {
    let mut b = Bed::flying();
    let before = format!("{:?}", b.s);
    let out = b.ack(b.s.nxt() + 1);
    assert!(out.refused);
    assert_eq!(before, format!("{:?}", b.s));
}

#[test]
fn sack_blocks_of_nonsense_are_ignored() {
    let mut b = Bed::flying();
    let (una, nxt) = (b.s.una(), b.s.nxt());
    for block in [(nxt, nxt + 1000), (una + 3000, una + 3000), (una + 4000, una + 2000), (0, una), (una + 500, una + 900)] {
        let out = b.sack(una, &[block]);
        assert_eq!((out.newly_sacked, b.s.sacked()), (0, 0), "{block:?}");
    }
}

#[test]
fn a_sack_of_what_was_not_sent_yet_does_not_hide_the_real_one() {
    let mut b = Bed::flying();
    let (una, nxt) = (b.s.una(), b.s.nxt());
    b.wait(100);
    b.sack(una, &[(nxt + 1000, nxt + 3000)]);
    b.sack(una + 10_000, &[]);
    b.queue(5);
    b.pump();
    b.wait(100);
    let out = b.sack(nxt, &[(nxt + 1000, nxt + 3000)]);
    assert_eq!(out.newly_sacked, 2000);
}

#[test]
fn a_receiver_that_drops_what_it_sacked_gets_it_again() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.sack(una, &[(una + 1000, una + 10_000)]);
    b.pump();
    b.wait(100);
    // The hole is filled, and yet the ACK stops before what had been SACKed.
    b.ack(una + 1000);
    assert_eq!(b.s.sacked(), 9000);
    assert_eq!(b.run(1000), 9000);
    let again = b.sent_since(una);
    for i in 1..10 {
        assert!(again.iter().any(|s| s.1 == i), "segment {i} in {again:?}");
    }
}

#[test]
fn a_receiver_that_sacks_what_it_should_acknowledge_is_not_waited_for_for_ever() {
    let mut b = Bed::flying();
    let una = b.s.una();
    b.wait(100);
    b.sack(una, &[(una, una + 10_000)]);
    assert_eq!(b.run(2000), 10_000);
}

#[test]
fn ten_in_a_thousand_lost_at_random_leave_a_link_that_is_not_full_at_its_rate() {
    let mut p = Path::new(params(), 60, 20, 1000);
    let mut dice = Dice::new(7);
    p.fate = Box::new(move |_, x| if x.id.is_some() && dice.per_mille(10) { Fate::Lose } else { Fate::Pass });
    p.run_to(20_000);
    let rate = p.received() * 8 / 20_000;
    println!("{rate} kbit/s, {} cuts, {} resent, {} dropped", p.cuts, p.resent(), p.dropped);
    assert!(rate > 18_000, "{rate} kbit/s of 20,000");
    assert!(p.resent() as u64 <= p.dropped + 5, "{} resent for {} dropped", p.resent(), p.dropped);
}

#[test]
fn reordering_within_what_was_learned_causes_no_retransmission() {
    let mut p = Path::new(params(), 60, 0, 0);
    let mut dice = Dice::new(3);
    p.b.s.set_reordering(30 * MS);
    p.fate = Box::new(move |_, _| if dice.per_mille(100) { Fate::Late(dice.below(25 * MS)) } else { Fate::Pass });
    p.refill = false;
    p.b.queue(100);
    p.run_to(2000);
    assert_eq!(p.received(), 100_000);
    assert_eq!(p.resent(), 0);
}
