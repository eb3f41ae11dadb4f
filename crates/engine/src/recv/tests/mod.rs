//! Tests of the receiver. [`Bed`] plays the flow around it: it holds frames, keeps what the sender would get, and moves
//! time.

mod custody;
mod drain;
mod edge;
mod judge;
mod order;
mod policy;
mod report;
mod stamps;

use std::collections::BTreeSet;

use super::*;
use crate::seq::Off;

pub(super) const MSS: u16 = 1000;
pub(super) const MS: u64 = 1_000_000;

/// A receiver with its surroundings. Data begins at offset 1.
pub(super) struct Bed {
    pub r: Receiver,
    pub pool: OooPool,
    pub now: Now,
    pub onward: Onward,
    /// What the sender was given, in order.
    pub delivered: Vec<Seg>,
    /// Frames held out of order.
    pub held: BTreeSet<u32>,
    pub limit: u32,
    next_frame: u32,
    pub ts: u32,
}

pub(super) fn params() -> RecvParams {
    RecvParams { sack: true, ts: true, ecn: false, shift: 7, mss: MSS }
}

impl Bed {
    pub fn new() -> Bed {
        Bed::with(params(), 64)
    }

    pub fn with(params: RecvParams, places: u32) -> Bed {
        let now = Now(1_000_000_000);
        Bed {
            r: Receiver::new(&params, now, 1, 1, 1 + 65535, 100),
            pool: OooPool::new(places),
            now,
            onward: Onward { una: 1, right: 1 << 20, room: 4 << 20, custody: 1 << 20, passive: false },
            delivered: Vec::new(),
            held: BTreeSet::new(),
            limit: 1 << 20,
            next_frame: 0,
            ts: 100,
        }
    }

    /// A segment as X would send it now.
    pub fn seg(&self, seq: Off, len: u32) -> SegIn {
        SegIn { seq, len, fin: false, ts: Some(self.ts), ce: false, cwr: false }
    }

    /// Data, as the flow would treat it.
    pub fn data(&mut self, seq: Off, len: u32) -> Verdict {
        let seg = self.seg(seq, len);
        self.feed(&seg)
    }

    pub fn fin(&mut self, seq: Off, len: u32) -> Verdict {
        let seg = SegIn { fin: true, ..self.seg(seq, len) };
        self.feed(&seg)
    }

    pub fn feed(&mut self, seg: &SegIn) -> Verdict {
        let verdict = self.r.judge(&self.pool, self.now, seg);
        self.next_frame += 1;
        let whole = Seg {
            start: seg.seq,
            frame: FrameId(self.next_frame),
            off: 0,
            frame_len: seg.len as u16 + 54,
            l4: 34,
            payload_off: 54,
            len: seg.len as u16,
            held: 2048,
            fin: seg.fin,
            whole: true,
        };
        match verdict {
            Verdict::InOrder(part) => {
                self.deliver(part.of(&whole));
                self.r.took(self.now, seg, &verdict);
                while let Some(ready) = self.r.ready(&self.pool) {
                    assert!(self.held.remove(&ready.frame.0));
                    self.deliver(ready);
                    self.r.pop_ready(&mut self.pool, self.now);
                }
            }
            Verdict::Ahead(part) => {
                let held = part.of(&whole);
                let mut freed = Vec::new();
                let full = self.r.hold(&mut self.pool, self.now, seg, &held, self.limit, |f| freed.push(f.0)).is_err();
                for frame in freed {
                    assert!(self.held.remove(&frame));
                }
                if !full {
                    self.held.insert(held.frame.0);
                }
            }
            _ => self.r.took(self.now, seg, &verdict),
        }
        verdict
    }

    fn deliver(&mut self, seg: Seg) {
        let end = self.delivered.last().map_or(1, Seg::end);
        assert_eq!(seg.start, end, "the sender gets a stream without gap or overlap");
        assert!(seg.seq_len() > 0);
        self.delivered.push(seg);
    }

    /// Y acknowledged everything that came.
    pub fn y_has_all(&mut self) {
        self.onward.una = self.r.rcv_nxt();
    }

    pub fn due(&self) -> Option<u64> {
        self.r.ack_due(self.now, &self.onward).map(|at| at.since(self.now))
    }

    /// Sends an acknowledgement and checks what must hold of every one.
    pub fn ack(&mut self) -> AckFields {
        let (ack, right) = (self.r.told_ack(), self.r.told_right());
        let fields = self.r.compose(self.now, &self.onward);
        assert!(fields.ack >= ack, "I2: told_ack went back");
        assert!(self.r.told_right() >= right, "I2: told_right went back");
        assert!(fields.ack <= self.r.rcv_nxt().max(self.onward.una), "I1");
        assert_eq!(fields.ack, self.r.told_ack());
        let shown = fields.ack + (u64::from(fields.window) << self.r.params.shift);
        assert_eq!(shown, self.r.told_right(), "the edge is the one that the header says");
        if let Some(fin) = self.r.fin() {
            assert!(fields.ack <= fin || self.onward.una > fin, "I7");
        }
        fields
    }

    pub fn wait(&mut self, ns: u64) {
        self.now = self.now.after_ns(ns);
    }

    /// Past the segments that are acknowledged one by one: 16 of one byte, all acknowledged by Y.
    pub fn warmed(mut self) -> Bed {
        for _ in 0..QUICK {
            self.data(self.r.rcv_nxt(), 1);
        }
        self.y_has_all();
        self.ack();
        assert_eq!(self.due(), None);
        self
    }
}

/// A generator for tests that print their seed (xorshift64).
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
    pub fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}
