use super::path::{Fate, Path};
use super::*;

fn no_sack() -> SenderParams {
    SenderParams { sack: false, ..params() }
}

const RETX: XmitKind = XmitKind::Retransmit;

#[test]
fn the_third_duplicate_ack_brings_the_first_segment_again() {
    let mut b = Bed::flying_with(no_sack());
    let una = b.s.una();
    b.wait(100);
    for _ in 0..2 {
        assert_eq!(b.ack(una).lost, 0);
    }
    assert_eq!(b.ack(una).lost, 1000);
    b.pump();
    assert_eq!(b.sent_since(una), [(RETX, 0)]);
}

#[test]
fn an_ack_that_is_not_pure_is_no_duplicate() {
    let mut b = Bed::flying_with(no_sack());
    let una = b.s.una();
    b.wait(100);
    for _ in 0..5 {
        let a = AckIn { pure: false, ..b.plain(una) };
        assert_eq!(b.on(a).lost, 0);
    }
}

#[test]
fn a_hole_that_no_budget_lets_through_goes_as_a_probe() {
    let mut b = Bed::flying_with(no_sack());
    let una = b.s.una();
    b.queue(1);
    b.wait(100);
    for _ in 0..3 {
        b.ack(una);
    }
    assert_eq!(b.s.next(&b.pool, b.now, 0), None);
    b.now = b.s.deadline().unwrap();
    b.s.on_timer(&mut b.pool, b.now, false);
    let x = b.s.next(&b.pool, b.now, 0).unwrap();
    assert_eq!((x.kind, x.start), (XmitKind::Probe(ProbeKind::Highest), una));
}

#[test]
fn the_first_two_duplicates_each_let_a_new_segment_go() {
    // Limited transmit, RFC 3042.
    let mut b = Bed::flying_with(no_sack());
    let una = b.s.una();
    b.queue(10);
    b.s.raise_cwnd_to(0);
    b.pump();
    let flight = (b.s.nxt() - una) / 1000;
    b.log.clear();
    b.wait(100);
    b.ack(una);
    b.pump();
    b.ack(una);
    b.pump();
    let sent = b.sent_since(una);
    assert_eq!(sent, [(XmitKind::New, flight), (XmitKind::New, flight + 1)]);
}

#[test]
fn each_partial_ack_brings_the_next_hole() {
    let mut b = Bed::flying_with(no_sack());
    let una = b.s.una();
    b.wait(100);
    // 0, 3 and 6 are lost: seven duplicates.
    for _ in 0..7 {
        b.ack(una);
        b.pump();
    }
    assert_eq!(b.sent_since(una), [(RETX, 0)]);
    b.wait(100);
    b.ack(una + 3000);
    b.pump();
    assert_eq!(b.sent_since(una), [(RETX, 3)]);
    b.wait(100);
    b.ack(una + 6000);
    b.pump();
    assert_eq!(b.sent_since(una), [(RETX, 6)]);
    b.wait(100);
    b.ack(una + 10_000);
    assert!(!b.s.recovering());
    assert!(b.s.is_idle());
}

#[test]
fn a_cut_recovery_without_sack_ends_at_ssthresh() {
    let mut b = Bed::flying_with(no_sack());
    b.link_full = true;
    let una = b.s.una();
    b.wait(100);
    let mut cut = false;
    for _ in 0..9 {
        cut |= b.ack(una).cut;
        b.pump();
    }
    assert!(cut);
    assert_eq!(b.s.ssthresh(), 7000);
    b.wait(100);
    b.ack(b.s.nxt());
    assert!((7000..8000).contains(&b.s.cwnd()), "ssthresh, and what the last ACK let it grow: {}", b.s.cwnd());
}

#[test]
fn an_echo_older_than_the_retransmission_undoes_the_cut() {
    // Eifel, RFC 3522: the original filled the hole.
    let mut b = Bed::flying_with(no_sack());
    b.link_full = true;
    b.ts = 50;
    let una = b.s.una();
    let cwnd = b.s.cwnd();
    b.wait(100);
    for _ in 0..3 {
        b.ack(una);
    }
    assert!(b.s.ssthresh() < u32::MAX);
    b.pump();
    b.wait(5);
    let a = AckIn { ts_ecr: Some(49), ..b.plain(una + 10_000) };
    let out = b.on(a);
    assert!(out.undone);
    assert!(b.s.cwnd() >= cwnd);
}

#[test]
fn an_echo_of_the_retransmission_undoes_nothing() {
    let mut b = Bed::flying_with(no_sack());
    b.link_full = true;
    b.ts = 50;
    let una = b.s.una();
    b.wait(100);
    for _ in 0..3 {
        b.ack(una);
    }
    b.pump();
    b.wait(100);
    let a = AckIn { ts_ecr: Some(50), ..b.plain(una + 10_000) };
    assert!(!b.on(a).undone);
}

#[test]
fn a_silence_without_sack_is_asked_about_with_nothing_and_the_answer_brings_the_first_segment() {
    let mut b = Bed::flying_with(no_sack());
    let una = b.s.una();
    b.run(200);
    assert_eq!(b.log.last().map(|l| (l.1, l.2)), Some((XmitKind::Probe(ProbeKind::Zero), una - 1)));
    b.log.clear();
    b.wait(100);
    assert_eq!(b.ack(una).lost, 0);
    b.pump();
    assert_eq!(b.sent_since(una), [(XmitKind::Probe(ProbeKind::Highest), 0)]);
    // It arrives, and nothing after it had: all the rest is gone.
    b.wait(100);
    assert_eq!(b.ack(una + 1000).lost, 9000);
    b.pump();
    assert_eq!(b.sent_since(una)[0], (RETX, 1));
}

#[test]
fn after_an_outage_that_lost_a_whole_flight_everything_comes_again() {
    let mut p = Path::new(no_sack(), 60, 20, 1000);
    p.run_to(2_000);
    p.fate = Box::new(|ms, _| if (2_000..4_000).contains(&ms) { Fate::Lose } else { Fate::Pass });
    p.run_to(4_000);
    p.refill = false;
    p.run_to(40_000);
    assert_eq!(p.received() + 1, p.b.s.end());
    assert!(p.b.s.is_idle());
}

#[test]
fn random_loss_without_sack_never_stalls_and_never_loses_a_byte() {
    for seed in 0..20 {
        println!("seed {seed}");
        let mut p = Path::new(no_sack(), 60, 20, 200);
        let mut dice = Dice::new(seed);
        let mut back = Dice::new(seed + 1000);
        p.fate = Box::new(move |_, _| if dice.per_mille(20) { Fate::Lose } else { Fate::Pass });
        p.ack_fate = Box::new(move |_| if back.per_mille(20) { Fate::Lose } else { Fate::Pass });
        p.run_to(5_000);
        p.refill = false;
        p.run_to(60_000);
        assert_eq!(p.received() + 1, p.b.s.end());
        assert!(p.b.s.is_idle());
        assert_eq!(p.b.freed.len() as u64, p.received() / u64::from(MSS), "each frame once");
    }
}

#[test]
fn what_one_hole_held_up_measures_no_round_trip_however_it_is_acknowledged() {
    // RFC 6298 section 3 (Karn): an ACK divided into steps shows segments that were sent once and arrived long ago.
    let mut b = Bed::flying_with(no_sack());
    let (una, srtt) = (b.s.una(), b.s.srtt());
    b.wait(100);
    (0..3).for_each(|_| drop(b.ack(una)));
    b.pump();
    b.wait(20_000);
    for k in 1..=100 {
        assert_eq!(b.ack(una + 100 * k).rtt_ns, None);
    }
    assert_eq!(b.s.srtt(), srtt);
    b.queue(1);
    b.pump();
    b.wait(110);
    assert_eq!(b.ack(b.s.nxt()).rtt_ns, Some(110 * MS), "what was sent after it does");
}

#[test]
fn what_one_hole_held_up_is_no_delivery_rate() {
    // All of it seems to come in the round trip of the one segment that was sent again.
    let mut b = Bed::flying_with(no_sack());
    b.wait(100);
    b.ack(b.s.una() + 1000);
    let una = b.s.una();
    b.s.raise_cwnd_to(100_000);
    for _ in 0..40 {
        b.queue(1);
        b.pump();
        b.wait(10);
    }
    (0..3).for_each(|_| drop(b.ack(una)));
    b.pump();
    b.wait(100);
    b.ack(una + 1000);
    b.pump();
    b.wait(100);
    b.ack(b.s.nxt());
    assert!(b.s.delivery_rate() <= 110_000, "{} bytes/s, of 100,000", b.s.delivery_rate());
}
