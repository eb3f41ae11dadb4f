use super::*;

#[test]
fn a_segment_at_the_edge_is_in_order_and_whole() {
    let mut b = Bed::new();
    assert_eq!(b.data(1, 1000), Verdict::InOrder(Part { front: 0, back: 0, fin: false }));
    assert_eq!(b.r.rcv_nxt(), 1001);
    assert!(b.delivered[0].whole);
}

#[test]
fn a_segment_that_is_judged_and_not_taken_leaves_no_trace() {
    let b = Bed::new();
    let before = format!("{:?}", b.r);
    b.r.judge(&b.pool, b.now, &b.seg(1, 1000));
    b.r.judge(&b.pool, b.now, &b.seg(5001, 1000));
    assert_eq!(before, format!("{:?}", b.r));
    assert_eq!(b.due(), None);
}

#[test]
fn the_front_that_was_received_before_is_trimmed() {
    let mut b = Bed::new();
    b.data(1, 1000);
    assert_eq!(b.data(501, 1000), Verdict::InOrder(Part { front: 500, back: 0, fin: false }));
    let seg = b.delivered[1];
    assert_eq!((seg.start, seg.len, seg.payload_off, seg.whole), (1001, 500, 554, false));
}

#[test]
fn what_lies_beyond_the_window_is_trimmed_with_its_fin() {
    let mut b = Bed::new();
    let seg = SegIn { fin: true, ..b.seg(1, 70_000 - 5000) };
    assert_eq!(b.r.judge(&b.pool, b.now, &seg), Verdict::InOrder(Part { front: 0, back: 0, fin: true }));
    b.data(1, 60_000);
    let seg = SegIn { fin: true, ..b.seg(60_001, 10_000) };
    let back = 70_001 - (1 + 65535);
    assert_eq!(b.r.judge(&b.pool, b.now, &seg), Verdict::InOrder(Part { front: 0, back, fin: false }));
    let seg = SegIn { fin: true, ..b.seg(60_101, 10_000) };
    let back = 70_101 - (1 + 65535);
    assert_eq!(b.r.judge(&b.pool, b.now, &seg), Verdict::Ahead(Part { front: 0, back, fin: false }));
}

#[test]
fn a_segment_wholly_beyond_the_window_is_refused() {
    let mut b = Bed::new();
    assert_eq!(b.data(1 + 65535, 1), Verdict::Drop(Refusal::Window));
    assert_eq!(b.data(1 << 30, 1000), Verdict::Drop(Refusal::Window));
    assert_eq!(b.r.rcv_nxt(), 1);
}

#[test]
fn a_hole_is_filled_only_up_to_what_is_held_already() {
    let mut b = Bed::new();
    b.data(501, 100);
    // First copy wins: the held bytes stay, and what lies behind them is left for X to send again.
    assert_eq!(b.data(1, 1000), Verdict::InOrder(Part { front: 0, back: 500, fin: false }));
    assert_eq!(b.r.rcv_nxt(), 601);
    assert_eq!(b.data(1, 1000), Verdict::InOrder(Part { front: 600, back: 0, fin: false }));
    assert_eq!(b.r.rcv_nxt(), 1001);
}

#[test]
fn a_segment_ahead_is_trimmed_on_both_sides_to_the_first_gap() {
    let mut b = Bed::new();
    b.data(1001, 100);
    b.data(1301, 100);
    assert_eq!(b.data(1051, 300), Verdict::Ahead(Part { front: 50, back: 50, fin: false }));
    assert_eq!(b.held.len(), 3);
    assert_eq!(b.data(1001, 400), Verdict::Old { told: false });
}

#[test]
fn the_held_frames_that_a_segment_overlaps_can_be_compared() {
    let mut b = Bed::new();
    b.data(1001, 100);
    b.data(1301, 100);
    let starts = |from, to| b.r.overlapping(&b.pool, from, to).map(|s| s.start).collect::<Vec<_>>();
    assert_eq!(starts(1, 1001), [0u64; 0]);
    assert_eq!(starts(1, 1002), [1001]);
    assert_eq!(starts(1100, 1301), [1001]);
    assert_eq!(starts(1101, 1301), [0u64; 0]);
    assert_eq!(starts(1100, 1302), [1001, 1301]);
}

#[test]
fn all_received_before_is_old_and_answered_at_once() {
    let mut b = Bed::new().warmed();
    b.data(17, 1000);
    b.ack();
    assert_eq!(b.data(17, 1000), Verdict::Old { told: false });
    assert_eq!(b.due(), Some(0));
    assert_eq!(b.delivered.len(), 17);
}

#[test]
fn the_ack_of_a_duplicate_counts_unless_x_was_told_of_all_of_it() {
    let mut b = Bed::new().warmed();
    b.data(17, 1000);
    b.data(1017, 1000);
    b.ack();
    b.data(2017, 1000);
    for (seq, counts) in [(17, false), (1016, false), (1017, true), (1500, true), (2017, true)] {
        let verdict = b.r.judge(&b.pool, b.now, &b.seg(seq, 1000));
        assert_eq!(verdict.ack_counts(), counts, "{seq}: {verdict:?}");
    }
}

#[test]
fn a_pure_ack_counts_between_what_was_told_and_the_right_edge() {
    let mut b = Bed::new();
    b.data(1, 1000);
    b.ack();
    b.data(1001, 1000);
    // Not told yet, so X's older number may still be on its way (as Linux).
    for seq in [1001, 2001, b.r.told_right()] {
        let verdict = b.data(seq, 0);
        assert_eq!(verdict, Verdict::Empty);
        assert!(verdict.ack_counts());
    }
    for seq in [999, b.r.told_right() + 1] {
        let verdict = b.data(seq, 0);
        assert_eq!(verdict, Verdict::Drop(Refusal::Window));
        assert!(!verdict.ack_counts());
    }
}

#[test]
fn segments_outside_the_window_are_answered_twice_a_second_at_most() {
    let mut b = Bed::new().warmed();
    b.data(b.r.told_right() + 1, 0);
    assert_eq!(b.due(), Some(0));
    b.ack();
    b.data(b.r.told_right() + 1, 0);
    assert_eq!(b.due(), None);
    b.wait(500 * MS);
    b.data(b.r.told_right() + 1, 0);
    assert_eq!(b.due(), Some(0));
}

#[test]
fn a_keepalive_with_or_without_garbage_is_no_data() {
    let mut b = Bed::new().warmed();
    assert_eq!(b.data(16, 0), Verdict::Keepalive);
    assert_eq!(b.data(16, 1), Verdict::Keepalive);
    // The caller decides who answers.
    assert_eq!(b.due(), None);
    assert_eq!(b.delivered.len(), 16);
    b.r.ack_now();
    assert_eq!(b.due(), Some(0));
    assert_eq!(b.data(15, 0), Verdict::Drop(Refusal::Window));
}

#[test]
fn a_byte_at_a_shut_window_is_a_probe_and_answered_at_once() {
    let now = Now(0);
    let p = RecvParams { ts: false, ..params() };
    let mut r = Receiver::new(&p, now, 1, 1, 1, 0);
    let pool = OooPool::new(1);
    let seg = SegIn { seq: 1, len: 1, fin: false, ts: None, ce: false, cwr: false };
    assert_eq!(r.judge(&pool, now, &seg), Verdict::WindowProbe);
    // Linux probes with an old number and nothing.
    let empty = SegIn { seq: 0, len: 0, ..seg };
    assert_eq!(r.judge(&pool, now, &empty), Verdict::WindowProbe);
    r.took(now, &seg, &Verdict::WindowProbe);
    let onward = Onward { una: 1, right: 1, room: 0, custody: 0, passive: false };
    assert_eq!(r.ack_due(now, &onward), Some(now));
    assert_eq!(r.rcv_nxt(), 1);
    let past = SegIn { seq: 2, ..seg };
    assert_eq!(r.judge(&pool, now, &past), Verdict::Drop(Refusal::Window));
}

#[test]
fn a_fin_is_taken_in_order_with_or_without_data_and_ends_the_stream() {
    let mut b = Bed::new();
    assert_eq!(b.fin(1, 100), Verdict::InOrder(Part { front: 0, back: 0, fin: true }));
    assert_eq!((b.r.fin(), b.r.rcv_nxt()), (Some(101), 102));
    assert_eq!(b.data(102, 10), Verdict::Drop(Refusal::Window));
    assert_eq!(b.data(50, 100), Verdict::Drop(Refusal::Window));
    assert_eq!(b.fin(101, 0), Verdict::Old { told: false });
    assert_eq!(b.data(102, 0), Verdict::Empty);
    let mut b = Bed::new();
    assert_eq!(b.fin(1, 0), Verdict::InOrder(Part { front: 0, back: 0, fin: true }));
    assert_eq!(b.delivered.len(), 1);
}

#[test]
fn a_fin_ahead_of_a_hole_waits_for_it() {
    let mut b = Bed::new();
    assert_eq!(b.fin(101, 50), Verdict::Ahead(Part { front: 0, back: 0, fin: true }));
    assert_eq!(b.r.fin(), None);
    b.data(1, 100);
    assert_eq!((b.r.fin(), b.r.rcv_nxt()), (Some(151), 152));
    assert!(b.delivered[1].fin);
}

#[test]
fn a_fin_on_the_very_edge_of_the_window_is_taken_and_x_may_acknowledge_behind_it() {
    let mut b = Bed::new();
    b.data(1, 60_000);
    b.data(60_001, 5535);
    assert_eq!(b.r.rcv_nxt(), b.r.told_right());
    assert!(matches!(b.fin(65536, 0), Verdict::InOrder(_)));
    assert_eq!(b.data(65537, 0), Verdict::Empty);
    assert_eq!(b.r.judge_rst(65537), Rst::Exact);
}

#[test]
fn a_reset_counts_only_at_an_edge_that_x_can_know() {
    let mut b = Bed::new();
    b.data(1, 1000);
    b.ack();
    b.data(1001, 1000);
    assert_eq!(b.r.judge_rst(2001), Rst::Exact, "where X stands");
    assert_eq!(b.r.judge_rst(1001), Rst::Exact, "what a challenge told it");
    for seq in [1002, 2000, 2002, b.r.told_right()] {
        assert_eq!(b.r.judge_rst(seq), Rst::Challenge, "{seq}");
    }
    for seq in [0, 1000, b.r.told_right() + 1] {
        assert_eq!(b.r.judge_rst(seq), Rst::Drop, "{seq}");
    }
}

#[test]
fn challenges_are_limited() {
    let mut b = Bed::new();
    assert!(b.r.challenge(b.now));
    assert!(!b.r.challenge(b.now));
    b.wait(499 * MS);
    assert!(!b.r.challenge(b.now));
    b.wait(MS);
    assert!(b.r.challenge(b.now));
}

#[test]
fn an_offset_beyond_four_gigabytes_is_like_any_other() {
    let far = (1u64 << 32) - 1500;
    let now = Now(0);
    let mut b = Bed::new();
    b.r = Receiver::new(&params(), now, far, far, far + 65535, 100);
    b.onward.una = far;
    b.delivered.push(Seg { start: far - 1, len: 1, frame: FrameId(0), ..whole_seg() });
    for i in [0u64, 2, 1, 3] {
        b.data(far + i * 1000, 1000);
    }
    assert_eq!(b.r.rcv_nxt(), far + 4000);
    assert_eq!(b.ack().ack, far + 4000);
}

fn whole_seg() -> Seg {
    let zero = FrameId(0);
    Seg { start: 0, frame: zero, off: 0, frame_len: 55, l4: 34, payload_off: 54, len: 1, held: 2048, fin: false, whole: true }
}
