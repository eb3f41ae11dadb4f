//! Tests of admission: one handshake, told by the segments that cross the wire.

use super::*;
use smartwire_packet::tcp::{Kinds, Timestamps};

const MS: u64 = 1_000_000;
const ACCESS: Port = Port(0);
const CORE: Port = Port(1);

fn key(v6: bool, port: u16) -> FlowKey {
    let (a, c) = if v6 {
        ("2001:db8:1::7".parse().unwrap(), "2001:db8:2::1".parse().unwrap())
    } else {
        ("::ffff:10.0.0.7".parse().unwrap(), "::ffff:192.0.2.1".parse().unwrap())
    };
    FlowKey { access_addr: a, core_addr: c, access_port: port, core_port: 443, scope: 0 }
}

fn options() -> Options {
    let ts = Timestamps { val: 1000, ecr: 0, at: 26 };
    let kinds = Kinds::MSS.0 | Kinds::SACK_PERM.0 | Kinds::TS.0 | Kinds::NOP.0 | Kinds::WSCALE.0;
    Options { kinds: Kinds(kinds), mss: Some(1460), wscale: Some(7), ts: Some(ts), ..Options::default() }
}

fn without(mut o: Options, kind: Kinds) -> Options {
    o.kinds.0 &= !kind.0;
    match kind {
        Kinds::MSS => o.mss = None,
        Kinds::WSCALE => o.wscale = None,
        Kinds::TS => o.ts = None,
        _ => {}
    }
    o
}

fn with(mut o: Options, kind: Kinds) -> Options {
    o.kinds.0 |= kind.0;
    o
}

const X: u32 = u32::MAX - 2;
const Y: u32 = 7_000_000;

fn syn() -> HsSegment {
    HsSegment { seq: X, ack: 0, flags: Flags::SYN, window: 64240, len: 0, options: options() }
}

fn syn_ack() -> HsSegment {
    let ack = X.wrapping_add(1);
    let o = Options { wscale: Some(9), mss: Some(1400), ..options() };
    HsSegment { seq: Y, ack, flags: Flags::SYN | Flags::ACK, window: 65160, len: 0, options: o }
}

fn third() -> HsSegment {
    let o = Options { kinds: Kinds(Kinds::TS.0 | Kinds::NOP.0), ts: options().ts, ..Options::default() };
    HsSegment { seq: X.wrapping_add(1), ack: Y + 1, flags: Flags::ACK, window: 502, len: 0, options: o }
}

/// A table and a clock.
struct Wire {
    hs: Handshakes,
    now: Now,
    key: FlowKey,
}

impl Wire {
    fn new() -> Wire {
        Wire { hs: Handshakes::new(64, 1), now: Now(5_000 * MS), key: key(false, 40_000) }
    }
    fn see(&mut self, port: Port, seg: HsSegment) -> Step {
        self.now = self.now.after_ns(10 * MS);
        self.hs.on_segment(self.now, &self.key, port, &seg)
    }
    fn refuses(&mut self, port: Port, seg: HsSegment, reason: RefuseReason) {
        assert_eq!(self.see(port, seg), Step::Refuse(reason), "{reason:?}");
        // Counted once; the rest of the handshake is only watched.
        assert_eq!(self.see(ACCESS, third()), Step::Watch);
    }
    fn opens(&mut self) -> Agreed {
        match self.see(ACCESS, third()) {
            Step::Open(agreed) => agreed,
            other => panic!("not opened: {other:?}"),
        }
    }
    /// With this SYN and SYN-ACK.
    fn agree(syn: HsSegment, syn_ack: HsSegment) -> Agreed {
        let mut w = Wire::new();
        assert_eq!(w.see(ACCESS, syn), Step::Watch);
        assert_eq!(w.see(CORE, syn_ack), Step::Watch);
        w.opens()
    }
}

#[test]
fn an_ordinary_handshake_opens_with_what_both_ends_said() {
    let a = Wire::agree(syn(), syn_ack());
    assert_eq!(a.initiator, Side::Access);
    assert_eq!(a.isn, [X, Y]);
    assert_eq!(a.mss, [1460, 1400]);
    assert_eq!(a.shift, [7, 9]);
    assert_eq!((a.sack, a.ts, a.ecn), (true, true, false));
    // The third ACK's window is scaled with its sender's shift, a SYN-ACK's never.
    assert_eq!(a.window, [502 << 7, 65160]);
    assert_eq!(a.ts_val, [1000, 1000]);
    assert_eq!(a.port, [ACCESS, CORE]);
}

#[test]
fn the_core_side_may_begin_and_other_ports_may_carry_the_answer() {
    let mut w = Wire::new();
    w.key = key(true, 40_000);
    assert_eq!(w.see(Port(3), syn()), Step::Watch);
    assert_eq!(w.see(Port(0), syn_ack()), Step::Watch);
    let Step::Open(a) = w.see(Port(3), third()) else { panic!() };
    assert_eq!((a.initiator, a.isn, a.shift), (Side::Core, [Y, X], [9, 7]));
    assert_eq!(a.port, [Port(0), Port(3)]);
}

#[test]
fn round_trips_are_measured_on_both_sides_unless_repetition_blurs_them() {
    let a = Wire::agree(syn(), syn_ack());
    assert_eq!(a.rtt_ns, [Some(10 * MS), Some(10 * MS)]);
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    assert_eq!(w.opens().rtt_ns, [Some(10 * MS), None]);
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    w.see(CORE, syn_ack());
    assert_eq!(w.opens().rtt_ns, [None, None]);
}

#[test]
fn an_option_is_active_only_if_both_ends_sent_it() {
    for kind in [Kinds::SACK_PERM, Kinds::TS, Kinds::WSCALE] {
        let mut less = syn();
        less.options = without(less.options, kind);
        let mut less_back = syn_ack();
        less_back.options = without(less_back.options, kind);
        for (s, sa) in [(less, syn_ack()), (syn(), less_back), (less, less_back)] {
            let a = Wire::agree(s, sa);
            assert_eq!(a.sack, kind != Kinds::SACK_PERM);
            assert_eq!(a.ts, kind != Kinds::TS);
            if kind == Kinds::WSCALE {
                assert_eq!((a.shift, a.window), ([0, 0], [502, 65160]));
            }
            if kind == Kinds::TS {
                assert_eq!(a.ts_val, [0, 0]);
            }
        }
    }
}

#[test]
fn no_options_at_all_mean_the_standard_s_defaults() {
    for (v6, mss) in [(false, 536), (true, 1220)] {
        let bare = |s: HsSegment| HsSegment { options: Options::default(), ..s };
        let mut w = Wire::new();
        w.key = key(v6, 40_000);
        w.see(ACCESS, bare(syn()));
        w.see(CORE, bare(syn_ack()));
        assert_eq!(w.opens().mss, [mss, mss]);
    }
}

#[test]
fn a_shift_above_14_is_14() {
    let mut s = syn();
    s.options.wscale = Some(200);
    assert_eq!(Wire::agree(s, syn_ack()).shift, [14, 9]);
}

#[test]
fn the_third_ack_may_carry_data() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    let data = HsSegment { len: 517, flags: Flags::ACK | Flags::PSH, ..third() };
    assert!(matches!(w.see(ACCESS, data), Step::Open(_)));
}

#[test]
fn data_that_overtakes_the_third_ack_waits_for_it() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    let data = HsSegment { len: 100, seq: third().seq.wrapping_add(1400), ..third() };
    assert_eq!(w.see(ACCESS, data), Step::Watch);
    w.opens();
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    let far = HsSegment { seq: third().seq.wrapping_sub(1), ..third() };
    w.refuses(ACCESS, far, RefuseReason::HandshakeMismatch);
}

#[test]
fn an_opened_handshake_leaves_the_table() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    assert_eq!(w.hs.len(), 1);
    w.see(CORE, syn_ack());
    w.opens();
    assert!(w.hs.is_empty());
    assert_eq!(w.see(ACCESS, third()), Step::Unknown);
}

#[test]
fn the_middle_of_a_connection_is_unknown() {
    let mut w = Wire::new();
    assert_eq!(w.see(ACCESS, third()), Step::Unknown);
    assert_eq!(w.see(CORE, HsSegment { len: 1400, ..third() }), Step::Unknown);
    assert!(w.hs.is_empty());
}

#[test]
fn ecn_is_negotiated_as_rfc_3168_says_and_not_otherwise() {
    let flags = |s: HsSegment, f: Flags| HsSegment { flags: s.flags | f, ..s };
    let both = Flags::ECE | Flags::CWR;
    assert!(Wire::agree(flags(syn(), both), flags(syn_ack(), Flags::ECE)).ecn);
    assert!(!Wire::agree(flags(syn(), both), syn_ack()).ecn);
    assert!(!Wire::agree(flags(syn(), both), flags(syn_ack(), both)).ecn, "flags reflected by a broken host");
    assert!(!Wire::agree(syn(), flags(syn_ack(), Flags::ECE)).ecn);
    assert!(!Wire::agree(flags(syn(), Flags::ECE), flags(syn_ack(), Flags::ECE)).ecn);
}

#[test]
fn a_repeated_syn_may_give_up_ecn_and_the_answer_decides() {
    let ecn = HsSegment { flags: Flags::SYN | Flags::ECE | Flags::CWR, ..syn() };
    let grants = HsSegment { flags: syn_ack().flags | Flags::ECE, ..syn_ack() };
    for (answers, agreed) in [(&[syn_ack()][..], false), (&[grants][..], true), (&[grants, syn_ack()][..], true)] {
        let mut w = Wire::new();
        w.see(ACCESS, ecn);
        assert_eq!(w.see(ACCESS, syn()), Step::Watch);
        for answer in answers {
            assert_eq!(w.see(CORE, *answer), Step::Watch);
        }
        assert_eq!(w.opens().ecn, agreed);
    }
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, grants);
    assert!(!w.opens().ecn, "nobody asked");
}

#[test]
fn odd_options_in_syn_or_syn_ack_are_refused_each_with_its_reason() {
    let cases = [
        (Kinds::MPTCP, RefuseReason::Mptcp),
        (Kinds::MD5, RefuseReason::Md5OrAo),
        (Kinds::AO, RefuseReason::Md5OrAo),
        (Kinds::TFO, RefuseReason::FastOpen),
        (Kinds::ACCECN, RefuseReason::AccEcn),
        (Kinds::UNKNOWN, RefuseReason::UnknownOption),
        (Kinds::SACK, RefuseReason::UnknownOption),
        (Kinds::MALFORMED, RefuseReason::Malformed),
        (Kinds::DUPLICATE, RefuseReason::Malformed),
    ];
    for (kind, reason) in cases {
        let odd = |s: HsSegment| HsSegment { options: with(s.options, kind), ..s };
        Wire::new().refuses(ACCESS, odd(syn()), reason);
        let mut w = Wire::new();
        w.see(ACCESS, syn());
        w.refuses(CORE, odd(syn_ack()), reason);
        let mut w = Wire::new();
        w.see(ACCESS, syn());
        assert_eq!(w.see(ACCESS, odd(syn())), Step::Refuse(reason), "a repeated SYN");
    }
}

#[test]
fn accurate_ecn_is_refused_by_its_flags_too() {
    let all = HsSegment { flags: Flags::SYN | Flags::AE | Flags::CWR | Flags::ECE, ..syn() };
    Wire::new().refuses(ACCESS, all, RefuseReason::AccEcn);
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(CORE, HsSegment { flags: syn_ack().flags | Flags::AE, ..syn_ack() }, RefuseReason::AccEcn);
}

#[test]
fn data_in_a_syn_is_refused_as_such_or_as_the_fast_open_that_it_is() {
    Wire::new().refuses(ACCESS, HsSegment { len: 10, ..syn() }, RefuseReason::SynData);
    let tfo = HsSegment { len: 10, options: with(options(), Kinds::TFO), ..syn() };
    Wire::new().refuses(ACCESS, tfo, RefuseReason::FastOpen);
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(CORE, HsSegment { len: 10, ..syn_ack() }, RefuseReason::SynData);
}

#[test]
fn an_absurd_segment_size_is_refused() {
    let mss = |s: HsSegment, mss| HsSegment { options: Options { mss: Some(mss), ..s.options }, ..s };
    Wire::new().refuses(ACCESS, mss(syn(), 63), RefuseReason::WrongMss);
    Wire::new().refuses(ACCESS, mss(syn(), 0), RefuseReason::WrongMss);
    assert_eq!(Wire::agree(mss(syn(), 64), mss(syn_ack(), 65535)).mss, [64, 65535]);
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(CORE, mss(syn_ack(), 1), RefuseReason::WrongMss);
}

#[test]
fn flags_that_no_syn_carries_are_refused() {
    for f in [Flags::FIN, Flags::URG] {
        Wire::new().refuses(ACCESS, HsSegment { flags: Flags::SYN | f, ..syn() }, RefuseReason::Malformed);
    }
}

#[test]
fn a_repeated_syn_that_differs_is_refused_an_equal_one_is_not() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    let mut again = syn();
    again.options.ts = Some(Timestamps { val: 2000, ecr: 0, at: 26 });
    assert_eq!(w.see(ACCESS, again), Step::Watch, "time goes on");
    w.see(CORE, syn_ack());
    w.opens();
    let changes = [
        HsSegment { seq: X.wrapping_add(9), ..syn() },
        HsSegment { options: without(options(), Kinds::WSCALE), ..syn() },
        HsSegment { options: without(options(), Kinds::SACK_PERM), ..syn() },
        HsSegment { options: Options { wscale: Some(8), ..options() }, ..syn() },
        HsSegment { options: Options { mss: Some(536), ..options() }, ..syn() },
    ];
    for changed in changes {
        let mut w = Wire::new();
        w.see(ACCESS, syn());
        w.refuses(ACCESS, changed, RefuseReason::HandshakeChanged);
    }
}

#[test]
fn a_repeated_syn_ack_that_differs_is_refused_an_equal_one_is_not() {
    let changes = [
        HsSegment { seq: Y + 1, ..syn_ack() },
        HsSegment { options: without(syn_ack().options, Kinds::TS), ..syn_ack() },
        HsSegment { flags: syn_ack().flags | Flags::ECE, ..syn_ack() },
    ];
    for changed in changes {
        let mut w = Wire::new();
        w.see(ACCESS, syn());
        w.see(CORE, syn_ack());
        w.refuses(CORE, changed, RefuseReason::HandshakeChanged);
    }
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    assert_eq!(w.see(CORE, syn_ack()), Step::Watch);
    w.opens();
}

#[test]
fn numbers_that_do_not_match_are_refused() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(CORE, HsSegment { ack: X, ..syn_ack() }, RefuseReason::HandshakeMismatch);
    let bad_third = [
        HsSegment { ack: Y, ..third() },
        HsSegment { ack: Y + 2, ..third() },
        HsSegment { flags: Flags::PSH, ..third() },
        HsSegment { options: Options::default(), ..third() },
    ];
    for bad in bad_third {
        let mut w = Wire::new();
        w.see(ACCESS, syn());
        w.see(CORE, syn_ack());
        w.refuses(ACCESS, bad, RefuseReason::HandshakeMismatch);
    }
}

#[test]
fn data_from_the_answering_end_shows_that_the_third_ack_was_missed() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    let data = HsSegment { seq: Y + 1, ack: X.wrapping_add(1), len: 100, ..third() };
    w.refuses(CORE, data, RefuseReason::HandshakeMismatch);
}

#[test]
fn one_direction_alone_is_refused() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(ACCESS, third(), RefuseReason::OneWay);
    let mut w = Wire::new();
    w.refuses(CORE, syn_ack(), RefuseReason::OneWay);
}

#[test]
fn the_same_syn_on_both_sides_is_a_hairpin() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    let straight = w.key;
    w.key = mirrored(&straight);
    assert_eq!(w.see(CORE, syn()), Step::Refuse(RefuseReason::Hairpin));
    assert_eq!(w.see(CORE, syn()), Step::Watch);
    w.key = straight;
    assert_eq!(w.see(CORE, syn_ack()), Step::Watch);
    assert_eq!(w.see(ACCESS, third()), Step::Watch);
}

#[test]
fn an_answer_on_the_side_that_asked_is_a_hairpin() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.key = mirrored(&w.key);
    assert_eq!(w.see(ACCESS, syn_ack()), Step::Refuse(RefuseReason::Hairpin));
}

#[test]
fn two_syns_that_cross_are_refused() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(CORE, HsSegment { seq: Y, ..syn() }, RefuseReason::SimultaneousOpen);
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.refuses(ACCESS, syn_ack(), RefuseReason::SimultaneousOpen);
}

#[test]
fn ports_used_again_after_a_refusal_are_judged_anew() {
    let mut w = Wire::new();
    w.refuses(ACCESS, HsSegment { len: 1, ..syn() }, RefuseReason::SynData);
    assert_eq!(w.see(ACCESS, HsSegment { len: 0, ..syn() }), Step::Watch, "the same connection");
    assert_eq!(w.see(CORE, syn_ack()), Step::Watch);
    assert_eq!(w.see(ACCESS, third()), Step::Watch);
    let (isn, ack) = (77, 78);
    assert_eq!(w.see(ACCESS, HsSegment { seq: isn, ..syn() }), Step::Watch);
    assert_eq!(w.see(CORE, HsSegment { ack, ..syn_ack() }), Step::Watch);
    assert!(matches!(w.see(ACCESS, HsSegment { seq: ack, ..third() }), Step::Open(_)));
}

#[test]
fn a_reset_ends_the_handshake() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, HsSegment { flags: Flags::RST | Flags::ACK, ..syn_ack() });
    assert!(w.hs.is_empty());
    assert_eq!(w.see(ACCESS, HsSegment { seq: 5, ..syn() }), Step::Watch);
}

#[test]
fn a_handshake_that_takes_too_long_is_forgotten() {
    let mut w = Wire::new();
    w.see(ACCESS, syn());
    w.see(CORE, syn_ack());
    w.now = w.now.after_ns(30_000 * MS);
    assert_eq!(w.see(ACCESS, third()), Step::Unknown);
    for _ in 0..w.hs.capacity() {
        w.see(ACCESS, third());
    }
    assert!(w.hs.is_empty(), "and its place is free");
}

#[test]
fn a_flood_evicts_at_random_and_harms_only_those_that_it_evicts() {
    let mut hs = Handshakes::new(1024, 42);
    let now = Now(0);
    let seen = |hs: &mut Handshakes, port: u16, side, seg| hs.on_segment(now, &key(true, port), side, &seg);
    for port in 0..256 {
        seen(&mut hs, port, ACCESS, syn());
    }
    assert_eq!(hs.evicted(), 0, "a quarter full, nothing gives way");
    for port in 10_000..11_024 {
        seen(&mut hs, port, ACCESS, HsSegment { seq: 1, ..syn() });
    }
    let mut opened = 0;
    for port in 0..256 {
        if seen(&mut hs, port, CORE, syn_ack()) == Step::Refuse(RefuseReason::OneWay) {
            continue;
        }
        opened += u32::from(matches!(seen(&mut hs, port, ACCESS, third()), Step::Open(_)));
    }
    assert!(hs.len() <= hs.capacity());
    assert!(hs.evicted() > 0);
    assert!((64..256).contains(&opened), "{opened} of 256 went through a flood as large as the table");
}

#[test]
fn the_same_seed_evicts_the_same() {
    let run = |seed| {
        let mut hs = Handshakes::new(64, seed);
        let steps = (0..2000u16).map(|i| hs.on_segment(Now(0), &key(false, i % 300), ACCESS, &syn()));
        format!("{:?}", steps.collect::<Vec<_>>()) + &format!("{} {}", hs.len(), hs.evicted())
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
