//! The ledger adds up, whoever has which frame.

use super::*;

fn frames(count: u32, reserve: u32) -> Frames {
    Frames::new(Arc::new(Region::new(count, 2048).unwrap()), reserve).unwrap()
}

#[test]
fn a_frame_goes_round_from_free_through_the_kernel_and_the_engine_and_back() {
    let mut f = frames(64, 16);
    let id = f.take_fill(1).unwrap();
    assert_eq!(f.state(id), (State::Fill, 0));
    assert!(f.received(id));
    f.bytes_mut(id).unwrap()[7] = 9;
    assert_eq!(f.bytes(id)[7], 9);
    f.release(id);
    assert_eq!(f.audit().unwrap(), Census { free: 64, ..Census::default() });
}

#[test]
fn a_frame_sent_twice_is_free_only_after_two_completions_and_the_release() {
    let mut f = frames(64, 16);
    let id = f.alloc().unwrap();
    assert!(f.sent(id) && f.sent(id));
    f.completed(id);
    f.release(id);
    assert_eq!(f.state(id), (State::Sending, 1));
    f.audit().unwrap();
    f.completed(id);
    assert_eq!(f.state(id), (State::Free, 0));
    f.audit().unwrap();
}

#[test]
fn a_frame_in_flight_is_not_writable() {
    let mut f = frames(64, 16);
    let id = f.alloc().unwrap();
    f.sent(id);
    assert!(f.bytes_mut(id).is_none());
    f.completed(id);
    assert!(f.bytes_mut(id).is_some());
}

#[test]
fn a_copy_of_what_the_copper_wire_forwards_is_never_sent_by_any_thread() {
    let mut io = frames(64, 16);
    let mut worker = Frames::empty(io.region().clone(), 10);
    let id = io.alloc_copy().unwrap();
    assert!(!io.sent(id));
    worker.take(io.give(id, 1));
    assert!(!worker.sent(id));
    io.take(worker.give(id, 0));
    io.release(id);
    // The same buffer with a packet of our own.
    assert_eq!(io.alloc(), Some(id));
    assert!(io.sent(id));
    io.audit().unwrap();
}

#[test]
fn keeping_never_touches_the_reserve() {
    let mut f = frames(64, 16);
    let ids: Vec<FrameId> = (0..64).map(|_| f.alloc().unwrap()).collect();
    let kept = ids.iter().filter(|&&id| f.hold(id)).count();
    assert_eq!(kept, 48);
    assert_eq!(f.budget(), (0, 48));
    f.release(ids[0]);
    assert_eq!(f.budget(), (1, 48));
    assert!(f.hold(ids[63]));
    f.audit().unwrap();
}

#[test]
fn addresses_that_the_kernel_never_had_are_counted_as_faults() {
    let mut f = frames(64, 16);
    assert!(!f.received(FrameId(3)));
    assert!(!f.received(FrameId(3000)));
    f.completed(FrameId(3));
    assert_eq!(f.faults(), 3);
    assert!(f.audit().is_err());
}

#[test]
fn frames_given_to_another_ledger_are_in_exactly_one_of_the_two() {
    let mut io = frames(64, 16);
    let mut worker = Frames::empty(io.region().clone(), 10);
    let id = io.alloc().unwrap();
    let token = io.give(id, 1);
    assert_eq!(worker.take(token), id);
    worker.sent(id);
    worker.release(id);
    io.completed(id);
    assert_eq!(io.completed_away().collect::<Vec<_>>(), [(1, id)]);
    worker.completed(id);
    let back = worker.surplus(0).unwrap();
    let token = worker.give(back, 0);
    io.take(token);
    io.release(back);
    assert_eq!(io.audit().unwrap().free, 64);
    assert_eq!(worker.audit().unwrap().away, 64);
}

#[test]
fn closing_a_port_frees_what_its_rings_had() {
    let mut f = frames(64, 16);
    for _ in 0..5 {
        f.take_fill(0);
        f.take_fill(1);
    }
    assert_eq!(f.drain_fill(0), 5);
    assert_eq!(f.audit().unwrap(), Census { free: 59, filled: 5, ..Census::default() });
}
