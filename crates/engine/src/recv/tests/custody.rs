use super::*;

const B: u32 = 200_000;

fn bed() -> Bed {
    let mut b = Bed::new().warmed();
    b.onward.custody = B;
    b.onward.room = 8 << 20;
    b.ack();
    b
}

#[test]
fn half_of_the_custody_is_taken_as_fast_as_data_comes() {
    let mut b = bed();
    let una = b.onward.una;
    while b.r.rcv_nxt() + 1000 <= una + u64::from(B) / 2 {
        b.data(b.r.rcv_nxt(), 1000);
        if b.due() == Some(0) {
            assert_eq!(b.ack().ack, b.r.rcv_nxt());
        }
    }
}

/// Y is silent while X keeps its window full; the gaps between acknowledgements, ns, until they stop.
fn freeze(b: &mut Bed) -> Vec<u64> {
    let mut gaps = Vec::new();
    let mut last = b.now;
    for _ in 0..3_000 {
        while b.r.rcv_nxt() - b.r.told_ack() < 60_000 {
            b.data(b.r.rcv_nxt(), 1000);
        }
        let Some(wait) = b.due() else { break };
        b.wait(wait);
        let before = b.r.told_ack();
        b.ack();
        assert!(b.r.told_ack() > before, "every acknowledgement says something new");
        gaps.push(b.now.since(last));
        last = b.now;
    }
    gaps
}

#[test]
fn beyond_half_the_gaps_grow_slowly_and_never_past_what_a_timer_stands() {
    let mut b = bed();
    let una = b.onward.una;
    let gaps = freeze(&mut b);
    assert_eq!(b.r.told_ack(), una + u64::from(B), "all of the custody is used, and no more");
    assert!(gaps.iter().all(|g| *g <= 150 * MS), "{:?}", gaps.iter().max());
    // A timer with a floor of 200 ms and a memory of eight samples follows such steps.
    for w in gaps.windows(2) {
        assert!(w[1] <= w[0] + 20 * MS, "{w:?}");
    }
    let frozen: u64 = gaps.iter().sum();
    assert!(frozen > 5_000 * MS, "X is kept patient for {} ms with {B} bytes", frozen / MS);
}

#[test]
fn at_the_limit_the_ack_moves_only_when_y_does() {
    let mut b = bed();
    freeze(&mut b);
    let told = b.r.told_ack();
    for _ in 0..10 {
        assert_eq!(b.due(), None);
        b.wait(5_000 * MS);
    }
    for i in 1..=10 {
        b.onward.una += 1000;
        assert!(b.due().is_some_and(|d| d <= 150 * MS));
        b.wait(150 * MS);
        assert_eq!(b.ack().ack, told + i * 1000);
    }
}

#[test]
fn a_pause_is_not_made_up_for_by_a_burst() {
    let mut b = bed();
    let una = b.onward.una;
    b.data(b.r.rcv_nxt(), 60_000);
    b.data(b.r.rcv_nxt(), 60_000);
    b.ack();
    assert!(b.r.told_ack() <= una + u64::from(B) / 2 + 2000);
    b.wait(60_000 * MS);
    let before = b.r.told_ack();
    b.ack();
    let burst = b.r.told_ack() - before;
    assert!(burst <= 40_000, "{burst} bytes at once after a minute");
}

#[test]
fn a_steady_stream_settles_a_little_above_half() {
    // Y takes 1,000 bytes per ms; X sends as fast as it is allowed.
    let mut b = bed();
    for ms in 0..5_000u64 {
        while b.r.rcv_nxt() + 1000 <= b.r.told_right() {
            b.data(b.r.rcv_nxt(), 1000);
        }
        if b.due().is_some_and(|d| d < MS) {
            b.ack();
        }
        b.wait(MS);
        b.onward.una = (b.onward.una + 1000).min(b.r.rcv_nxt());
        if ms > 1000 {
            let fill = (b.r.told_ack() - b.onward.una) * 100 / u64::from(B);
            assert!((40..=55).contains(&fill), "{fill} % at {ms} ms");
            let unacked = b.r.rcv_nxt() - b.r.told_ack();
            assert!(unacked <= 4_000, "{unacked} bytes wait to be acknowledged at {ms} ms: X takes that for a longer path");
        }
    }
}

#[test]
fn no_custody_means_plain_end_to_end_acknowledgement() {
    let mut b = bed();
    b.onward.custody = 0;
    let una = b.onward.una;
    b.data(b.r.rcv_nxt(), 1000);
    b.data(b.r.rcv_nxt(), 1000);
    assert_eq!(b.due(), None);
    b.onward.una = una + 2000;
    assert_eq!(b.due(), Some(0));
    assert_eq!(b.ack().ack, una + 2000);
}
