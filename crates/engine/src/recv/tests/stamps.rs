use super::*;

const DAY: u64 = 86_400_000 * MS;

#[test]
fn an_older_timestamp_is_dropped_and_answered() {
    let mut b = Bed::new().warmed();
    b.ts = 200;
    b.data(17, 100);
    b.ack();
    b.ts = 199;
    assert_eq!(b.data(117, 100), Verdict::Drop(Refusal::Paws));
    assert_eq!(b.due(), Some(0));
    assert_eq!((b.r.rcv_nxt(), b.r.ts_out()), (117, 200));
    b.ts = 200;
    assert!(matches!(b.data(117, 100), Verdict::InOrder(_)), "equal is not older");
}

#[test]
fn timestamps_wrap() {
    let mut b = Bed::new();
    b.r = Receiver::new(&params(), b.now, 1, 1, 65536, u32::MAX - 5);
    b.ts = 3;
    assert!(matches!(b.data(1, 100), Verdict::InOrder(_)));
    assert_eq!((b.r.ts_out(), b.ack().ts_ecr), (3, Some(3)));
    b.ts = u32::MAX;
    assert_eq!(b.data(101, 100), Verdict::Drop(Refusal::Paws));
}

#[test]
fn after_24_days_of_silence_any_timestamp_is_taken() {
    let mut b = Bed::new();
    b.ts = 0x7000_0000;
    b.data(1, 100);
    b.y_has_all();
    b.ack();
    b.wait(24 * DAY);
    b.ts = 0x6fff_ffff;
    assert_eq!(b.data(101, 100), Verdict::Drop(Refusal::Paws));
    b.wait(1);
    assert!(matches!(b.data(101, 100), Verdict::InOrder(_)));
    assert_eq!((b.r.ts_out(), b.ack().ts_ecr), (0x6fff_ffff, Some(0x6fff_ffff)));
}

#[test]
fn a_segment_without_the_timestamp_that_was_agreed_is_dropped_in_silence() {
    let mut b = Bed::new();
    let seg = SegIn { ts: None, ..b.seg(1, 100) };
    assert_eq!(b.feed(&seg), Verdict::Drop(Refusal::NoTimestamp));
    assert_eq!(b.due(), None);
}

#[test]
fn without_timestamps_none_are_looked_at() {
    let mut b = Bed::with(RecvParams { ts: false, ..params() }, 8);
    let seg = SegIn { ts: None, ..b.seg(1, 100) };
    assert!(matches!(b.feed(&seg), Verdict::InOrder(_)));
    b.ts = 7;
    assert!(matches!(b.data(101, 100), Verdict::InOrder(_)));
    assert_eq!(b.ack().ts_ecr, None);
}

#[test]
fn a_delayed_acknowledgement_echoes_the_first_segment_that_it_covers() {
    let mut b = Bed::new().warmed();
    b.ts = 201;
    b.data(17, 1000);
    b.ts = 202;
    b.data(1017, 1000);
    assert_eq!(b.ack().ts_ecr, Some(201));
    b.ts = 203;
    b.data(2017, 1000);
    assert_eq!(b.ack().ts_ecr, Some(203));
}

#[test]
fn over_a_hole_the_echo_is_that_of_the_last_segment_in_order() {
    let mut b = Bed::new().warmed();
    b.ts = 201;
    b.data(17, 1000);
    b.ack();
    b.ts = 202;
    b.data(2017, 1000);
    assert_eq!(b.ack().ts_ecr, Some(201));
    b.ts = 203;
    b.data(1017, 1000);
    assert_eq!(b.ack().ts_ecr, Some(203), "the one that fills the hole");
}

#[test]
fn a_withheld_acknowledgement_echoes_the_segment_at_its_own_edge() {
    let mut b = Bed::new().warmed();
    b.onward.custody = 0;
    for i in 0..3 {
        b.ts = 201 + i;
        b.data(17 + u64::from(i) * 1000, 1000);
    }
    for i in 0..3 {
        b.onward.una += 1000;
        assert_eq!(b.ack().ts_ecr, Some(201 + i));
    }
}

#[test]
fn every_acceptable_segment_moves_the_ratchet_and_no_other_does() {
    let mut b = Bed::new().warmed();
    b.ts = 300;
    b.data(17, 0);
    assert_eq!(b.r.ts_out(), 300, "a pure ACK");
    b.ts = 301;
    b.data(1017, 100);
    assert_eq!(b.r.ts_out(), 301, "ahead");
    b.ts = 302;
    b.data(b.r.told_right() + 5, 100);
    assert_eq!(b.r.ts_out(), 301, "outside the window");
    b.data(10, 3);
    assert_eq!(b.r.ts_out(), 301, "old");
    b.ts = 303;
    b.data(16, 0);
    assert_eq!(b.r.ts_out(), 303, "a keepalive, which is forwarded");
    b.ts = 302;
    b.data(1117, 100);
    assert_eq!(b.r.ts_out(), 303, "it never goes back");
}

#[test]
fn a_segment_ahead_never_becomes_the_recent_timestamp() {
    // Else the retransmission of what came before it, or a late original, would be dropped as old.
    let mut b = Bed::new();
    b.ts = 500;
    b.data(101, 100);
    b.ts = 150;
    assert!(matches!(b.data(1, 100), Verdict::InOrder(_)));
    assert_eq!(b.ack().ts_ecr, Some(150));
}

#[test]
fn the_echo_follows_when_acknowledgements_are_withheld() {
    // tcp.md 2.3: at its limit told_ack moves only with una, a whole window behind rcv_nxt.
    let mut b = Bed::new().warmed();
    b.onward.custody = 0;
    let first = b.r.rcv_nxt();
    let mut arrived = Vec::new();
    for i in 0..200u64 {
        b.ts = 1000 + i as u32;
        b.data(first + i * 1000, 1000);
        arrived.push((first + i * 1000, b.ts));
        b.wait(MS);
        if i >= 20 {
            // Y is 20 segments behind.
            b.onward.una = first + (i - 19) * 1000;
            let told = b.r.told_ack();
            let f = b.ack();
            assert_eq!(f.ack, b.onward.una);
            let exact = arrived.iter().rev().find(|(start, _)| *start <= told).unwrap().1;
            let echo = f.ts_ecr.unwrap();
            assert!(echo <= exact, "never a round trip shorter than it was: {echo} for {exact}");
            assert!(exact - echo <= 20, "at most a window's worth too long: {echo} for {exact}");
        }
    }
}
