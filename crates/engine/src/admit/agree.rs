//! One handshake: what each end said, and whether the two agree on something that can be optimized.

use super::{HsSegment, Step};
use crate::api::{FlowKey, Now, Port, Side};
use crate::reason::RefuseReason;
use smartwire_packet::tcp::{Flags, Kinds};

/// Announced segment sizes below this are absurd: a header per handful of bytes.
const LEAST_MSS: u16 = 64;

/// What both ends agreed on. Pairs are indexed by the side of the endpoint that announced the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The side that sent the SYN.
    pub initiator: Side,
    /// Initial sequence numbers: offset 0 of the stream *from* that side.
    pub isn: [u32; 2],
    /// Largest segment that this side takes: the option's value, or 536 (IPv4) and 1220 (IPv6) without it.
    pub mss: [u16; 2],
    /// Window shifts, 0 to 14; both 0 unless both announced one.
    pub shift: [u8; 2],
    /// Both announced a window shift.
    pub scaled: bool,
    /// SACK is permitted both ways.
    pub sack: bool,
    /// Timestamps are in use.
    pub ts: bool,
    /// ECN (RFC 3168) is in use.
    pub ecn: bool,
    /// The last window that this side announced, in bytes.
    pub window: [u32; 2],
    /// The last TSval of this side; 0 without timestamps.
    pub ts_val: [u32; 2],
    /// Round trip between the wire and this side, ns; `None` if a repetition made it ambiguous.
    pub rtt_ns: [Option<u64>; 2],
    /// Port on which this side's segments arrive.
    pub port: [Port; 2],
}

/// What a SYN or a SYN-ACK says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hello {
    pub isn: u32,
    kinds: Kinds,
    mss: u16,
    shift: Option<u8>,
    ts_val: u32,
    window: u16,
    ecn: bool,
    port: u8,
}

impl Hello {
    pub fn read(key: &FlowKey, seg: &HsSegment, port: Port) -> Hello {
        let default_mss = if FlowKey::v4(key.access_addr).is_some() { 536 } else { 1220 };
        let ecn_flags = Flags(seg.flags.0 & (Flags::ECE | Flags::CWR | Flags::AE).0);
        // SYN: ECE and CWR; SYN-ACK: ECE alone (RFC 3168 section 6.1.1).
        let ecn = if seg.flags.contains(Flags::ACK) { Flags::ECE } else { Flags::ECE | Flags::CWR };
        Hello {
            isn: seg.seq,
            kinds: Kinds(seg.options.kinds.0 & !(Kinds::NOP.0 | Kinds::EOL.0)),
            mss: seg.options.mss.unwrap_or(default_mss),
            shift: seg.options.wscale.map(|s| s.min(14)),
            ts_val: seg.options.ts.map_or(0, |t| t.val),
            window: seg.window,
            ecn: ecn_flags == ecn,
            port: port.0,
        }
    }

    fn same_options(&self, other: &Hello) -> bool {
        (self.kinds, self.mss, self.shift) == (other.kinds, other.mss, other.shift)
    }

    fn has(&self, kind: Kinds) -> bool {
        self.kinds.contains(kind)
    }
}

/// What forbids to optimize a connection whose SYN or SYN-ACK looks like this.
fn odd_options(seg: &HsSegment) -> Option<RefuseReason> {
    let kinds = seg.options.kinds;
    let has = |k: Kinds| kinds.0 & k.0 != 0;
    if has(Kinds::MPTCP) {
        Some(RefuseReason::Mptcp)
    } else if has(Kinds(Kinds::MD5.0 | Kinds::AO.0)) {
        Some(RefuseReason::Md5OrAo)
    } else if has(Kinds::TFO) {
        Some(RefuseReason::FastOpen)
    } else if has(Kinds::ACCECN) || seg.flags.contains(Flags::AE) {
        Some(RefuseReason::AccEcn)
    } else if has(Kinds(Kinds::MALFORMED.0 | Kinds::DUPLICATE.0)) {
        Some(RefuseReason::Malformed)
    } else if !kinds.is_subset(Kinds::ORDINARY) || has(Kinds::SACK) {
        Some(RefuseReason::UnknownOption)
    } else if seg.options.mss.is_some_and(|m| m < LEAST_MSS) {
        Some(RefuseReason::WrongMss)
    } else if seg.flags.intersects(Flags::FIN | Flags::URG) {
        Some(RefuseReason::Malformed)
    } else {
        None
    }
}

/// What forbids to optimize a connection that begins with this SYN (or SYN-ACK).
pub(super) fn odd_syn(seg: &HsSegment) -> Option<RefuseReason> {
    // The option says more than the data that comes with it.
    odd_options(seg).or((seg.len > 0).then_some(RefuseReason::SynData))
}

/// A handshake.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub key: FlowKey,
    pub begun: Now,
    /// Who sent the SYN.
    pub from: Side,
    refused: Option<RefuseReason>,
    pub syn: Hello,
    answer: Option<Hello>,
    syn_at: Now,
    answer_at: Now,
    syn_again: bool,
    answer_again: bool,
}

impl Record {
    pub fn begun(key: FlowKey, from: Side, now: Now) -> Record {
        Record {
            key,
            begun: now,
            from,
            refused: None,
            syn: Hello::default(),
            answer: None,
            syn_at: now,
            answer_at: now,
            syn_again: false,
            answer_again: false,
        }
    }

    /// True if it was not refused before.
    pub fn refuse(&mut self, reason: RefuseReason) -> bool {
        let news = self.refused.is_none();
        self.refused.get_or_insert(reason);
        news
    }

    pub fn refuse_if(&mut self, reason: Option<RefuseReason>) -> Step {
        match reason {
            Some(r) if self.refuse(r) => Step::Refuse(r),
            _ => Step::Watch,
        }
    }

    pub fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    pub fn begins_anew(&self, from: Side, isn: u32) -> bool {
        from != self.from || isn != self.syn.isn
    }

    pub fn is_same_syn(&self, from: Side, isn: u32) -> bool {
        self.from == from && self.syn.isn == isn
    }

    pub fn on_repeated_syn(&mut self, now: Now, from: Side, seg: &HsSegment) -> Step {
        if from != self.from {
            return self.refuse_if(Some(RefuseReason::SimultaneousOpen));
        }
        if let Some(odd) = odd_syn(seg) {
            return self.refuse_if(Some(odd));
        }
        let again = Hello::read(&self.key, seg, Port(self.syn.port));
        if again.isn != self.syn.isn || !again.same_options(&self.syn) {
            return self.refuse_if(Some(RefuseReason::HandshakeChanged));
        }
        // RFC 3168 section 6.1.1.1: a sender whose SYN was lost may try again without ECN. Who received the first one too
        // may grant it all the same, and mark its data: the answer decides. Who sent the second marks none.
        self.syn = Hello { ecn: self.syn.ecn || again.ecn, ..again };
        self.syn_at = now;
        self.syn_again = true;
        Step::Watch
    }

    pub fn on_syn_ack(&mut self, now: Now, port: Port, seg: &HsSegment) -> Step {
        if self.is_refused() {
            return Step::Watch;
        }
        if port.side() == self.from {
            return self.refuse_if(Some(RefuseReason::SimultaneousOpen));
        }
        if seg.ack != self.syn.isn.wrapping_add(1) {
            return self.refuse_if(Some(RefuseReason::HandshakeMismatch));
        }
        if let Some(odd) = odd_syn(seg) {
            return self.refuse_if(Some(odd));
        }
        let mut hello = Hello::read(&self.key, seg, port);
        if let Some(first) = self.answer {
            if first.isn != hello.isn || !first.same_options(&hello) || hello.ecn && !first.ecn {
                return self.refuse_if(Some(RefuseReason::HandshakeChanged));
            }
            self.answer_again = true;
            // It may give up ECN likewise, and the first one may have arrived.
            hello.ecn = first.ecn;
        } else {
            self.answer_at = now;
        }
        self.answer = Some(hello);
        Step::Watch
    }

    /// A segment without SYN or RST: the third ACK, with data perhaps, or something that shows that it was missed.
    pub fn on_third(&mut self, now: Now, port: Port, seg: &HsSegment) -> Step {
        if self.is_refused() {
            return Step::Watch;
        }
        let Some(answer) = self.answer else {
            // The initiator answers a SYN-ACK that did not come by here.
            let reason =
                if port.side() == self.from { RefuseReason::OneWay } else { RefuseReason::HandshakeMismatch };
            return self.refuse_if(Some(reason));
        };
        if port.side() != self.from || !seg.flags.contains(Flags::ACK) || seg.ack != answer.isn.wrapping_add(1) {
            return self.refuse_if(Some(RefuseReason::HandshakeMismatch));
        }
        let ahead = seg.seq.wrapping_sub(self.syn.isn.wrapping_add(1));
        if ahead > 0 {
            // Data overtook the third ACK: one that begins at the beginning comes yet. Anything before it is not ours.
            let plausible = ahead <= u32::from(answer.window);
            return self.refuse_if((!plausible).then_some(RefuseReason::HandshakeMismatch));
        }
        if let Some(odd) = odd_later(seg) {
            return self.refuse_if(Some(odd));
        }
        let ts = self.syn.has(Kinds::TS) && answer.has(Kinds::TS);
        if ts && seg.options.ts.is_none() {
            return self.refuse_if(Some(RefuseReason::HandshakeMismatch));
        }
        Step::Open(self.agreed(now, port, seg, &answer, ts))
    }

    fn agreed(&self, now: Now, port: Port, seg: &HsSegment, answer: &Hello, ts: bool) -> Agreed {
        let both = |kind: Kinds| self.syn.has(kind) && answer.has(kind);
        let shifts = self.syn.shift.zip(answer.shift).unwrap_or((0, 0));
        let pair = |ours: u32, theirs: u32| by_side(self.from, ours, theirs);
        let ts_val = if ts { (seg.options.ts.map_or(0, |t| t.val), answer.ts_val) } else { (0, 0) };
        let rtt_theirs = (!self.syn_again && !self.answer_again).then(|| self.answer_at.since(self.syn_at));
        let rtt_ours = (!self.answer_again).then(|| now.since(self.answer_at));
        Agreed {
            initiator: self.from,
            isn: pair(self.syn.isn, answer.isn),
            mss: by_side(self.from, self.syn.mss, answer.mss),
            shift: by_side(self.from, shifts.0, shifts.1),
            scaled: self.syn.shift.is_some() && answer.shift.is_some(),
            sack: both(Kinds::SACK_PERM),
            ts,
            ecn: self.syn.ecn && answer.ecn,
            // The window of a SYN-ACK is never scaled (RFC 7323 section 2.2).
            window: pair(u32::from(seg.window) << shifts.0, u32::from(answer.window)),
            ts_val: pair(ts_val.0, ts_val.1),
            rtt_ns: by_side(self.from, rtt_ours, rtt_theirs),
            port: by_side(self.from, port, Port(answer.port)),
        }
    }
}

/// What forbids to optimize a connection with this third segment.
fn odd_later(seg: &HsSegment) -> Option<RefuseReason> {
    let kinds = seg.options.kinds;
    if seg.options.malformed() {
        Some(RefuseReason::Malformed)
    } else if !kinds.is_subset(Kinds::ORDINARY) {
        Some(RefuseReason::UnknownOption)
    } else {
        None
    }
}

/// A pair by side, from the initiator's and the other end's value.
fn by_side<T>(initiator: Side, ours: T, theirs: T) -> [T; 2] {
    match initiator {
        Side::Access => [ours, theirs],
        Side::Core => [theirs, ours],
    }
}
