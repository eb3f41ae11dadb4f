use super::*;

#[test]
fn the_window_offers_half_of_the_room_and_never_goes_back() {
    let mut b = Bed::new();
    b.onward.room = 1 << 20;
    let f = b.ack();
    assert_eq!(u64::from(f.window) << 7, 1 << 19);
    b.onward.room = 1 << 16;
    let right = b.r.told_right();
    b.data(1, 1000);
    b.ack();
    assert!(b.r.told_right() <= right + 127);
}

#[test]
fn without_a_shift_the_window_ends_at_65535() {
    let mut b = Bed::with(RecvParams { shift: 0, ..params() }, 8);
    for _ in 0..100 {
        b.data(b.r.rcv_nxt(), 1000);
        b.y_has_all();
        assert_eq!(b.ack().window, 65535);
    }
}

#[test]
fn small_segments_are_acknowledged_to_the_last_byte_while_there_is_room() {
    // The granularity of the window is no reason to withhold an ACK as long as the edge may move.
    for shift in [0, 7, 14] {
        let mut b = Bed::with(RecvParams { shift, ..params() }, 8);
        b.onward.room = 1 << 20;
        for i in 0..200 {
            b.data(b.r.rcv_nxt(), 10);
            b.onward.room -= 2048;
            assert_eq!(b.ack().ack, b.r.rcv_nxt(), "shift {shift}, segment {i}");
        }
    }
}

/// X sends all it may, Y takes nothing, memory is what it is: how far does the edge get?
fn stuffed(shift: u8, mss: u16) -> (Bed, u64) {
    let p = RecvParams { shift, mss, ..params() };
    let mut b = Bed::with(p, 8);
    let memory = 1u64 << 18;
    b.onward.custody = 1 << 17;
    for _ in 0..5000 {
        let left = b.r.told_right() - b.r.rcv_nxt();
        let len = left.min(u64::from(mss)) as u32;
        if len > 0 {
            b.data(b.r.rcv_nxt(), len);
        }
        b.onward.room = memory.saturating_sub(b.r.rcv_nxt() - b.onward.una) as u32;
        if let Some(wait) = b.due() {
            if wait <= 200 * MS {
                b.wait(wait);
                b.ack();
            }
        }
    }
    (b, memory)
}

#[test]
fn rounding_does_not_creep_the_edge_past_its_limit() {
    for shift in [0, 7, 14] {
        for mss in [1, 100, 1000, 1448] {
            let (b, memory) = stuffed(shift, mss);
            let unit = 1u64 << shift;
            let overhang = (2 * u64::from(mss)).next_multiple_of(unit) + unit;
            let bound = b.onward.una + memory.max(u64::from(b.onward.custody)) + overhang;
            assert!(b.r.told_right() <= bound, "shift {shift} mss {mss}: {} > {bound}", b.r.told_right());
            assert!(b.r.told_ack() <= b.onward.una + u64::from(b.onward.custody));
        }
    }
}

#[test]
fn where_the_edge_may_not_grow_the_ack_covers_only_what_the_scale_can_express() {
    let mut b = Bed::with(RecvParams { shift: 14, ..params() }, 8);
    b.onward.room = 1 << 17;
    b.ack();
    let right = b.r.told_right();
    b.onward.room = 0;
    let mut withheld = 0;
    while b.r.rcv_nxt() + 3000 < right {
        b.data(b.r.rcv_nxt(), 1000);
        if b.due() == Some(0) {
            let f = b.ack();
            assert_eq!((right - f.ack) % (1 << 14), 0);
            assert_eq!(b.r.told_right(), right);
            assert!(b.r.rcv_nxt() - f.ack < 1 << 14, "and no less than that");
        }
        withheld = withheld.max(b.r.rcv_nxt() - b.r.told_ack());
    }
    assert!(withheld > 10_000, "the test never met the case");
    b.y_has_all();
    b.onward.room = 1 << 17;
    b.ack();
    assert_eq!(b.r.told_ack(), b.r.rcv_nxt());
}

#[test]
fn an_ack_that_would_say_nothing_new_is_not_due() {
    let mut b = Bed::with(RecvParams { shift: 14, ..params() }, 8).warmed();
    b.onward.room = 0;
    b.data(17, 1000);
    b.data(1017, 1000);
    // Withheld by the rounding: a duplicate ACK would be a lie about a loss.
    assert_eq!(b.due(), None);
    assert_eq!(b.ack().ack, 17);
    assert_eq!(b.due(), None);
}

#[test]
fn an_edge_that_y_drew_between_two_steps_is_rounded_up_once() {
    // The window of a SYN-ACK is not scaled.
    let mut b = Bed::with(RecvParams { shift: 14, ..params() }, 8);
    b.onward.room = 0;
    b.r = Receiver::new(&b.r.params, b.now, 1, 1, 1 + 5000, 100);
    assert_eq!(b.ack().window, 1);
    assert_eq!(b.r.told_right(), 1 + 16384);
    for _ in 0..14 {
        b.data(b.r.rcv_nxt(), 1000);
        b.ack();
        assert_eq!(b.r.told_right(), 1 + 16384);
    }
    b.data(b.r.rcv_nxt(), 1000);
    assert_eq!(b.ack().ack, 15_001, "less than two segments are left: the edge must grow");
}

#[test]
fn with_memory_full_two_segments_may_still_come() {
    let mut b = Bed::new();
    b.onward.room = 0;
    b.data(1, 60_000);
    b.data(60_001, 5535);
    let f = b.ack();
    assert_eq!(f.ack, 65536);
    assert!(u64::from(f.window) << 7 >= 2 * u64::from(MSS));
}

#[test]
fn a_window_that_has_doubled_is_told_unasked_a_smaller_growth_is_not() {
    let mut b = Bed::new().warmed();
    b.onward.room = 0;
    b.onward.custody = 0;
    let start = b.r.rcv_nxt();
    let left = (b.r.told_right() - start) as u32;
    b.data(start, left - 3000);
    b.ack();
    b.onward.room = 2 * (3000 + 1900);
    assert_eq!(b.due(), None, "not two segments more");
    b.onward.room = 2 * (3000 + 2900);
    assert_eq!(b.due(), None, "not twice as much");
    b.onward.room = 2 * (3000 + 3300);
    assert_eq!(b.due(), Some(0));
    b.ack();
    assert_eq!(b.due(), None);
}

#[test]
fn random_histories_keep_both_edges_monotone_and_expressible() {
    for seed in 0..300 {
        let mut dice = Dice::new(seed);
        let shift = [0, 2, 7, 11, 14][dice.below(5) as usize];
        let mut b = Bed::with(RecvParams { shift, ..params() }, 8);
        for step in 0..200 {
            let len = 1 + dice.below(1448) as u32;
            b.data(b.r.rcv_nxt(), len);
            b.onward.una += dice.below(b.r.rcv_nxt() - b.onward.una + 1);
            b.onward.room = dice.below(1 << 20) as u32;
            b.onward.custody = dice.below(1 << 18) as u32;
            b.wait(dice.below(200) * MS);
            if step == 150 && dice.percent(50) {
                b.r.drain(b.now);
            }
            // `ack` asserts the invariants.
            if dice.percent(70) {
                b.ack();
            }
        }
        assert!(b.r.told_ack() > 1, "seed {seed}");
    }
}
