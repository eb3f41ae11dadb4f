//! The receiving half of an optimized stream X→Y: what the engine takes from X and what it tells X.
//!
//! Pure: no packets, no clock, no allocation after [`OooPool::new`]. It works in two steps, since what can't be held must
//! not be acknowledged: [`Receiver::judge`] says what a segment is and changes nothing; once the caller has done its part
//! (held the frame, given it to the sender), [`Receiver::took`] or [`Receiver::hold`] makes it so. A segment that was
//! judged and not taken might as well have been lost before it came.
//!
//! [`Receiver::compose`] gives the fields that go on *every* segment to X and records that X was told: call it only for
//! a packet that will leave. [`Receiver::ack_due`] says when a packet must leave for their sake alone; ask it after every
//! change on either half.

mod ack;
mod edge;
mod freeze;
mod judge;
mod marks;
mod pool;
mod sack;
mod types;

#[cfg(test)]
mod tests;

pub(crate) use ack::Plan;
pub use pool::OooPool;
pub use types::{AckFields, FrozenReceiver, Onward, Part, RecvParams, Refusal, Rst, SegIn, Verdict};

use crate::api::{FrameId, Now};
use crate::broken::{breaks, Broken};
use crate::send::{Full, Seg};
use crate::seq::{Maybe, Off};
use smartwire_packet::csum::prefetch_front;
use marks::Marks;
use pool::Held;
use sack::Blocks;

/// How long an acknowledgement waits for company, ns (RFC 9293 section 3.8.6.3 allows 500 ms; Linux waits 40).
const DELAY_NS: u64 = 40_000_000;
/// Segments at the start that are acknowledged one by one, so that X's slow start is not slowed.
const QUICK: u8 = 16;
/// What every path carries (RFC 9293 section 3.7.1): a segment up to this may be full.
const MOST_SMALL: u32 = 536;
/// Least time between two answers to segments that are not acceptable (RFC 5961 section 7; Linux: 500 ms).
const INVALID_NS: u64 = 500_000_000;

/// The receiver of one stream. First what every segment needs; the rest begins with the marks.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Receiver {
    rcv_nxt: Off,
    told_ack: Off,
    told_right: Off,
    params: RecvParams,
    /// ECN-Echo, until CWR (RFC 3168 section 6.1.3), and whether the last data segment was marked.
    ece: bool,
    ce: bool,
    /// An acknowledgement must leave even if it says nothing new.
    urgent: bool,
    quick: u8,
    /// `blocks` counts: it says something.
    runs: bool,
    /// Largest payload seen of X: what "full segment" means, since X may be held to less than Y takes.
    full: u32,
    ts_recent: u32,
    ts_out: u32,
    ts_recent_at: Now,
    /// When told_ack last moved a step where custody is more than half full.
    step_at: Now,
    /// Until when news may wait for company.
    delayed: Maybe,
    /// Offset of the FIN, once it is in order.
    fin: Maybe,
    held: Held,
    /// Received twice and not reported yet.
    dsack: Option<(Off, Off)>,
    draining: Maybe,
    /// Of what X was not told; void where it was told of everything.
    marks: Marks,
    blocks: Blocks,
    /// When a segment that is not acceptable was last answered.
    answered: Maybe,
}

const _: () = assert!(std::mem::offset_of!(Receiver, marks) == 128, "what a silent stream needs is two cache lines");

impl Receiver {
    /// A receiver that expects `rcv_nxt` next. `told_ack` and `told_right` are what X has been told so far by Y's own
    /// packets, `ts` the TSval of X's last segment.
    pub fn new(params: &RecvParams, now: Now, rcv_nxt: Off, told_ack: Off, told_right: Off, ts: u32) -> Receiver {
        let mut r = Receiver::default();
        r.begin(params, now, rcv_nxt, told_ack, told_right, ts);
        r
    }

    /// Becomes what [`Receiver::new`] would make, where it is. Every field is named, so that none stays what it was.
    fn begin(&mut self, p: &RecvParams, now: Now, nxt: Off, told: Off, right: Off, ts: u32) {
        let Receiver {
            rcv_nxt,
            told_ack,
            told_right,
            params,
            ece,
            ce,
            urgent,
            quick,
            runs,
            full,
            ts_recent,
            ts_out,
            ts_recent_at,
            step_at,
            delayed,
            fin,
            held,
            dsack,
            draining,
            answered,
            marks: _,
            blocks: _,
        } = self;
        *params = RecvParams { shift: p.shift.min(14), mss: p.mss.max(1), ..*p };
        (*rcv_nxt, *told_ack, *told_right) = (nxt, told, right.max(told));
        (*ece, *ce, *urgent, *quick, *runs) = (false, false, false, QUICK, false);
        *full = MOST_SMALL.min(u32::from(params.mss));
        (*ts_recent, *ts_out, *ts_recent_at, *step_at) = (ts, ts, now, now);
        (*delayed, *fin, *draining, *dsack, *answered) = (Maybe::NONE, Maybe::NONE, Maybe::NONE, None, Maybe::NONE);
        *held = Held::new();
    }

    /// Asks for what an ordinary segment needs: with payload the first marks too.
    pub(crate) fn prefetch(&self, payload: bool) {
        let marks = std::mem::offset_of!(Receiver, marks);
        prefetch_front(self, if payload { marks + 64 } else { marks });
    }

    /// Y's own packet passes to X untouched (handshake tail): X was told this much by it.
    pub fn told(&mut self, ack: Off, right: Off) {
        self.told_ack = self.told_ack.max(ack);
        self.told_right = self.told_right.max(right);
    }

    /// The segment was dealt with as its verdict says: learn from it and acknowledge it. Not for [`Verdict::Ahead`].
    #[inline]
    pub fn took(&mut self, now: Now, seg: &SegIn, verdict: &Verdict) {
        if breaks(Broken::ForgedTimestampLearned) {
            self.learn_ts(now, seg);
        }
        match *verdict {
            Verdict::InOrder(part) => {
                self.learn(now, seg);
                self.repeated(seg.seq, part.start(seg));
                self.advance(now, part.end(seg), part.len(seg), seg.ts, part.fin);
            }
            Verdict::Empty => self.learn(now, seg),
            Verdict::Keepalive => self.learn_ts(now, seg),
            Verdict::WindowProbe => self.ack_now(),
            Verdict::Old { .. } => {
                self.repeated(seg.seq, seg.seq + u64::from(seg.len));
                self.ack_now();
            }
            Verdict::Drop(Refusal::Window | Refusal::Paws) if self.challenge(now) => self.ack_now(),
            Verdict::Drop(_) => {}
            Verdict::Ahead(_) => debug_assert!(false, "a segment ahead is held, not taken"),
        }
    }

    /// Stores a segment that is [`Verdict::Ahead`]; `held` is that part of it, at most `limit` bytes of frame memory are
    /// used. Where there is no room, segments further ahead give way: their SACK was advice (RFC 2018 section 8), and
    /// `freed` is called with their frames. [`Full`]: this one is the furthest; nothing was taken.
    pub fn hold(
        &mut self,
        pool: &mut OooPool,
        now: Now,
        seg: &SegIn,
        held: &Seg,
        limit: u32,
        mut freed: impl FnMut(FrameId),
    ) -> Result<(), Full> {
        while pool.free() == 0 || self.held.bytes.saturating_add(u32::from(held.held)) > limit {
            let Some(last) = self.held.last(pool).filter(|l| l.start > held.start) else { return Err(Full) };
            self.held.pop_last(pool);
            if self.runs {
                self.blocks.cut(last.start);
            }
            freed(last.frame);
        }
        self.held.insert(pool, held);
        self.learn(now, seg);
        self.repeated(seg.seq, held.start);
        if !breaks(Broken::HoleNotReported) {
            if !std::mem::replace(&mut self.runs, true) {
                self.blocks.clear();
            }
            self.blocks.add(held.start, held.end());
        }
        self.ack_now();
        Ok(())
    }

    /// The held segment that continues the stream, now that the hole before it is filled. Give it to the sender, then
    /// say [`Receiver::pop_ready`].
    pub fn ready(&self, pool: &OooPool) -> Option<Seg> {
        self.held.first(pool).filter(|s| s.start == self.rcv_nxt && self.fin().is_none())
    }

    /// The segment that [`Receiver::ready`] gave now belongs to the sender.
    pub fn pop_ready(&mut self, pool: &mut OooPool, now: Now) {
        if self.ready(pool).is_some() {
            let Some(seg) = self.held.pop_first(pool) else { return };
            self.advance(now, seg.end(), u32::from(seg.len), None, seg.fin);
        }
    }

    /// Held segments that share bytes with `[start, end)`, for the comparison of their content.
    pub fn overlapping<'a>(&self, pool: &'a OooPool, start: Off, end: Off) -> impl Iterator<Item = Seg> + 'a {
        self.held.overlapping(pool, start, end)
    }

    /// Gives back every segment held out of order; X will send them again. `freed` is called with each frame.
    pub fn clear(&mut self, pool: &mut OooPool, mut freed: impl FnMut(FrameId)) {
        while let Some(seg) = self.held.pop_first(pool) {
            freed(seg.frame);
        }
        self.runs = false;
    }

    /// From now on told_ack follows Y's own acknowledgements and the window Y's own edge (tcp.md 2.6).
    pub fn drain(&mut self, now: Now) {
        if self.draining.get().is_none() {
            self.draining = Maybe::from(now.0);
        }
    }

    /// True once a RST, a SYN in the window or an unacceptable segment may be answered with a challenge ACK; at most
    /// one in 500 ms.
    pub fn challenge(&mut self, now: Now) -> bool {
        if self.answered.get().is_some_and(|at| now.since(Now(at)) < INVALID_NS) {
            return false;
        }
        self.answered = Maybe::from(now.0);
        true
    }

    /// In-order edge: every byte below it is the sender's (or was).
    pub fn rcv_nxt(&self) -> Off {
        self.rcv_nxt
    }
    /// Highest acknowledgement shown to X.
    pub fn told_ack(&self) -> Off {
        self.told_ack
    }
    /// Right window edge shown to X.
    pub fn told_right(&self) -> Off {
        self.told_right
    }
    /// Offset of X's FIN, once it is in order.
    pub fn fin(&self) -> Option<Off> {
        self.fin.get()
    }
    /// Segments are held out of order.
    pub(crate) fn holds_any(&self) -> bool {
        self.held.count > 0
    }
    /// Frame memory of segments held out of order, bytes.
    pub fn held(&self) -> u32 {
        self.held.bytes
    }
    /// Highest TSval of X's: the one to stamp on every segment to Y, queued and resent ones included (tcp.md 2.4).
    pub fn ts_out(&self) -> u32 {
        self.ts_out
    }
    /// True while draining.
    pub fn is_draining(&self) -> bool {
        self.draining.get().is_some()
    }
    /// Nothing is held and nothing is to be said: it can be frozen.
    pub fn is_idle(&self) -> bool {
        self.held.count == 0 && !self.urgent && self.told_ack == self.rcv_nxt
    }

    #[inline]
    fn learn(&mut self, now: Now, seg: &SegIn) {
        self.learn_ts(now, seg);
        if self.params.ecn && seg.len > 0 {
            // CWR first: a mark on the segment that carries it is a new one (RFC 3168 section 6.1.3).
            self.ece = seg.ce || (self.ece && !seg.cwr);
            if seg.ce != self.ce {
                self.ce = seg.ce;
                self.ack_now();
            }
        }
    }

    fn repeated(&mut self, start: Off, end: Off) {
        if start < end {
            self.dsack = Some((start, end));
            if self.runs {
                self.blocks.touch(start, end);
            }
        }
    }
}
