use super::*;

fn blocks(f: &AckFields) -> Vec<(u64, u64)> {
    f.sack().to_vec()
}

#[test]
fn the_newest_run_comes_first_and_three_fit_beside_timestamps() {
    let mut b = Bed::new();
    for i in [1u64, 3, 5, 7] {
        b.data(1 + i * 100, 100);
    }
    assert_eq!(blocks(&b.ack()), [(701, 801), (501, 601), (301, 401)]);
    b.data(201, 100);
    assert_eq!(blocks(&b.ack()), [(101, 401), (701, 801), (501, 601)], "runs that touch are one");
}

#[test]
fn without_timestamps_four_fit() {
    let mut b = Bed::with(RecvParams { ts: false, ..params() }, 8);
    for i in [1u64, 3, 5, 7, 9] {
        b.data(1 + i * 100, 100);
    }
    let f = b.ack();
    assert_eq!(blocks(&f), [(901, 1001), (701, 801), (501, 601), (301, 401)]);
    assert_eq!(f.ts_ecr, None);
}

#[test]
fn what_is_in_order_is_no_longer_reported() {
    let mut b = Bed::new();
    b.data(101, 100);
    b.data(301, 100);
    b.data(1, 100);
    assert_eq!(blocks(&b.ack()), [(301, 401)]);
    b.data(201, 100);
    assert_eq!(blocks(&b.ack()), []);
}

#[test]
fn a_duplicate_below_the_ack_is_reported_once() {
    let mut b = Bed::new();
    b.data(1, 200);
    b.data(301, 100);
    b.ack();
    b.data(51, 100);
    let f = b.ack();
    assert!(f.dsack);
    assert_eq!(blocks(&f), [(51, 151), (301, 401)]);
    let f = b.ack();
    assert!(!f.dsack);
    assert_eq!(blocks(&f), [(301, 401)]);
}

#[test]
fn a_duplicate_of_something_held_is_reported_beside_the_run_that_contains_it() {
    let mut b = Bed::new();
    b.data(101, 200);
    b.data(501, 100);
    b.ack();
    b.data(151, 100);
    let f = b.ack();
    assert!(f.dsack);
    assert_eq!(blocks(&f), [(151, 251), (101, 301), (501, 601)]);
}

#[test]
fn the_repeated_front_of_a_new_segment_is_reported_too() {
    let mut b = Bed::new();
    b.data(1, 100);
    b.data(51, 100);
    let f = b.ack();
    assert!(f.dsack);
    assert_eq!((f.ack, blocks(&f)), (151, vec![(51, 101)]));
}

#[test]
fn a_duplicate_of_what_x_was_not_told_yet_is_not_reported_as_received() {
    let mut b = Bed::new();
    b.onward.custody = 0;
    b.data(1, 100);
    assert_eq!(b.ack().ack, 1);
    b.data(1, 100);
    let f = b.ack();
    assert_eq!((f.ack, f.dsack, blocks(&f)), (1, false, vec![]));
}

#[test]
fn without_sack_nothing_is_reported() {
    let mut b = Bed::with(RecvParams { sack: false, ..params() }, 8);
    b.data(101, 100);
    b.data(101, 100);
    let f = b.ack();
    assert_eq!((blocks(&f), f.dsack), (vec![], false));
}

#[test]
fn a_full_pool_drops_the_furthest_and_takes_back_its_sack() {
    let mut b = Bed::with(params(), 2);
    b.data(301, 100);
    b.data(501, 100);
    b.data(101, 100);
    assert_eq!(b.held.len(), 2);
    assert_eq!(blocks(&b.ack()), [(101, 201), (301, 401)]);
    // The furthest of all is refused itself.
    b.data(701, 100);
    assert_eq!(blocks(&b.ack()), [(101, 201), (301, 401)]);
    b.data(1, 100);
    b.data(201, 100);
    assert_eq!((b.r.rcv_nxt(), b.pool.free()), (401, 2));
}

#[test]
fn a_stream_keeps_to_its_share_of_memory() {
    let mut b = Bed::new();
    b.limit = 3 * 2048;
    for i in [9u64, 7, 5, 3, 1] {
        b.data(1 + i * 100, 100);
    }
    assert_eq!((b.r.held(), b.held.len()), (3 * 2048, 3));
    assert_eq!(blocks(&b.ack()), [(101, 201), (301, 401), (501, 601)]);
    let mut freed = 0;
    b.r.clear(&mut b.pool, |_| freed += 1);
    assert_eq!((freed, b.r.held(), b.pool.free()), (3, 0, b.pool.capacity()));
    assert_eq!(blocks(&b.ack()), []);
}

#[test]
fn cutting_the_furthest_off_a_run_shortens_its_block() {
    let mut b = Bed::with(params(), 3);
    b.data(301, 100);
    b.data(401, 100);
    b.data(501, 100);
    b.data(101, 100);
    assert_eq!(blocks(&b.ack()), [(101, 201), (301, 501)]);
}
