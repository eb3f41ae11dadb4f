use super::*;

#[test]
fn the_first_sixteen_segments_are_acknowledged_one_by_one() {
    let mut b = Bed::new();
    for i in 0..16 {
        b.data(1 + i * 1000, 1000);
        assert_eq!(b.due(), Some(0), "segment {i}");
        b.y_has_all();
        b.ack();
    }
    b.data(16_001, 1000);
    assert_eq!(b.due(), Some(40 * MS));
}

#[test]
fn every_second_full_segment_is_acknowledged_at_once_and_one_alone_within_40_ms() {
    let mut b = Bed::new().warmed();
    b.data(17, 1000);
    assert_eq!(b.due(), Some(40 * MS));
    b.wait(10 * MS);
    assert_eq!(b.due(), Some(30 * MS));
    b.data(1017, 1000);
    assert_eq!(b.due(), Some(0));
    assert_eq!(b.ack().ack, 2017);
    assert_eq!(b.due(), None);
}

#[test]
fn small_segments_wait_until_they_make_two_full_ones() {
    let mut b = Bed::new().warmed();
    b.data(17, 1000);
    b.ack();
    for i in 0..19 {
        b.data(1017 + i * 100, 100);
        assert!(b.due().unwrap() > 0, "{i}");
    }
    b.data(2917, 100);
    assert_eq!(b.due(), Some(0));
}

#[test]
fn full_is_what_x_sends_not_what_y_would_take() {
    let mut b = Bed::with(RecvParams { mss: 8948, ..params() }, 8).warmed();
    b.data(17, 1000);
    assert!(b.due().unwrap() > 0);
    b.data(1017, 1000);
    assert_eq!(b.due(), Some(0));
}

#[test]
fn an_acknowledgement_on_data_to_x_saves_the_one_that_was_due() {
    let mut b = Bed::new().warmed();
    b.data(17, 1000);
    assert!(b.due().is_some());
    b.ack();
    assert_eq!(b.due(), None);
}

#[test]
fn a_hole_its_filling_and_a_duplicate_are_answered_at_once() {
    let mut b = Bed::new().warmed();
    b.data(117, 100);
    assert_eq!(b.due(), Some(0));
    assert_eq!(b.ack().ack, 17);
    b.data(317, 100);
    b.ack();
    b.data(17, 100);
    assert_eq!(b.due(), Some(0), "part of the gap is filled");
    assert_eq!(b.ack().ack, 217);
    b.data(17, 100);
    assert_eq!(b.due(), Some(0));
}

#[test]
fn a_bare_acknowledgement_from_x_is_not_answered() {
    let mut b = Bed::new().warmed();
    b.data(17, 0);
    assert_eq!(b.due(), None);
}

#[test]
fn a_fin_is_acknowledged_only_when_y_has_acknowledged_it() {
    let mut b = Bed::new().warmed();
    b.fin(17, 1000);
    assert_eq!(b.due(), Some(40 * MS));
    assert_eq!(b.ack().ack, 1017, "the data, not the FIN");
    assert_eq!(b.due(), None);
    // X repeats its FIN: a plain ACK at the data edge.
    b.fin(1017, 0);
    assert_eq!(b.due(), Some(0));
    let again = b.ack();
    assert_eq!((again.ack, again.sack()), (1017, &[][..]));
    b.onward.una = 1018;
    assert_eq!(b.due(), Some(0));
    assert_eq!(b.ack().ack, 1018);
    assert_eq!(b.due(), None);
}

#[test]
fn congestion_marks_are_echoed_until_x_has_reduced_its_window() {
    let mut b = Bed::with(RecvParams { ecn: true, ..params() }, 8).warmed();
    let plain = b.seg(17, 100);
    b.feed(&SegIn { ce: true, ..plain });
    assert_eq!(b.due(), Some(0), "a change of the mark is told at once");
    assert!(b.ack().ece);
    b.feed(&SegIn { seq: 117, ..plain });
    assert!(b.ack().ece, "latched");
    b.feed(&SegIn { seq: 217, cwr: true, ..plain });
    assert!(!b.ack().ece);
    b.feed(&SegIn { seq: 317, cwr: true, ce: true, ..plain });
    assert!(b.ack().ece, "a mark on the segment that carries CWR is a new one");
    // Neither a pure ACK nor a duplicate speaks of congestion on the way of new data.
    b.feed(&SegIn { seq: 417, len: 0, cwr: true, ..plain });
    assert!(b.ack().ece);
    b.feed(&SegIn { seq: 417, cwr: true, ..plain });
    b.feed(&SegIn { seq: 17, ce: true, ..plain });
    assert!(!b.ack().ece);
}

#[test]
fn without_ecn_a_mark_means_nothing() {
    let mut b = Bed::new().warmed();
    let seg = SegIn { ce: true, ..b.seg(17, 100) };
    b.feed(&seg);
    assert!(!b.ack().ece);
}

#[test]
fn a_frozen_receiver_thaws_as_it_was() {
    let mut b = Bed::with(RecvParams { ecn: true, ..params() }, 8).warmed();
    b.ts = 5000;
    let seg = SegIn { ce: true, ..b.seg(17, 1000) };
    b.feed(&seg);
    assert!(!b.r.is_idle());
    b.y_has_all();
    b.ack();
    assert!(b.r.is_idle());
    let frozen = b.r.freeze();
    assert!(std::mem::size_of::<FrozenReceiver>() <= 40);
    let later = b.now.after_ns(77 * MS);
    let mut thawed = Receiver::default();
    thawed.thaw(&b.r.params, &frozen, later);
    assert_eq!(thawed.freeze(), frozen);
    assert_eq!((thawed.told_ack(), thawed.told_right()), (b.r.told_ack(), b.r.told_right()));
    assert_eq!((thawed.ts_out(), thawed.fin()), (5000, None));
    let was = b.r.compose(later, &b.onward);
    assert_eq!(thawed.compose(later, &b.onward), was);
}

#[test]
fn a_receiver_whose_stream_has_ended_thaws_ended() {
    let mut b = Bed::new();
    b.fin(1, 10);
    b.ack();
    assert!(!b.r.is_idle());
    b.y_has_all();
    b.ack();
    let mut thawed = Receiver::default();
    thawed.thaw(&b.r.params, &b.r.freeze(), b.now);
    assert_eq!((thawed.fin(), thawed.rcv_nxt()), (Some(11), 12));
}
