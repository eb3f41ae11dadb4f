//! When to acknowledge, and how far: delayed ACKs (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), custody that fills
//! up, and draining (tcp.md 2.3 and 2.6).

use super::judge::before;
use super::marks::Mark;
use super::types::{AckFields, Onward};
use super::{Receiver, DELAY_NS};
use crate::api::Now;
use crate::broken::{breaks, Broken};
use crate::seq::{Maybe, Off};

/// Most time between two acknowledgements while custody may still grow: below the least retransmission timeout (200 ms
/// in Linux), so that a frozen radio does not make X resend.
const GAP_NS: u64 = 150_000_000;
/// While draining, an acknowledgement is withheld for a third of the time since the drain began, until this long after
/// it: X's retransmission timer learns the delay before it meets the real one.
const RAMP_NS: u64 = 2_000_000_000;

/// What X would be told now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    ack: Off,
    right: Off,
    window: u16,
    /// All that could be told was; else the edge held some of it back.
    pub whole: bool,
    /// When more can be told though nothing else happens.
    next: Option<Now>,
    step_at: Now,
}

impl Receiver {
    /// When a packet must leave for the sake of its acknowledgement, if no segment to X carries it before: at or before
    /// `now` means at once. Ask again after every change, on either side of the stream; `None`: nothing is to be said.
    pub fn ack_due(&self, now: Now, onward: &Onward) -> Option<Now> {
        if self.urgent {
            return Some(now);
        }
        if self.nothing_new() {
            return None;
        }
        self.plan_due(now, &self.plan(now, onward))
    }

    /// As [`Receiver::ack_due`] for what [`Receiver::plan`] says.
    #[inline]
    pub(crate) fn plan_due(&self, now: Now, plan: &Plan) -> Option<Now> {
        if self.urgent {
            return Some(now);
        }
        let fin_acked = self.fin().is_some_and(|f| plan.ack > f && self.told_ack <= f);
        if fin_acked || self.window_update_due(plan.right) {
            return Some(now);
        }
        let news = plan.ack - self.told_ack;
        // Every second full segment at once (RFC 5681 section 4.2).
        if news >= 2 * u64::from(self.full) {
            Some(now)
        } else if news > 0 {
            Some(self.delayed.get().map_or(now, Now))
        } else {
            plan.next
        }
    }

    /// X was told of all its bytes and has room left for more: what [`Receiver::plan`] would find, at less cost.
    #[inline]
    pub(crate) fn nothing_new(&self) -> bool {
        let roomy = self.told_right - self.told_ack > 4 * u64::from(self.params.mss);
        self.told_ack == self.rcv_nxt && !self.is_draining() && (roomy || self.rcv_nxt == 1 || self.fin().is_some())
    }

    /// As [`Receiver::nothing_new`]; or the edge could not move by enough to be worth a packet, since no more than `room`
    /// bytes can be free beside what is stored: see [`Receiver::window_update_due`].
    #[inline]
    pub(crate) fn nothing_to_say(&self, room: u64) -> bool {
        if self.told_ack != self.rcv_nxt || self.is_draining() {
            return false;
        }
        let left = self.told_right.saturating_sub(self.rcv_nxt);
        let most = self.told_right.max(self.rcv_nxt.saturating_add(room / 2)) + (1 << self.params.shift);
        self.nothing_new() || left >= 2 * u64::from(self.params.mss) && most < self.told_right + left
    }

    /// An acknowledgement is to leave at once, a duplicate one if need be: an answer to a keepalive, to a challenge, or
    /// Y's answer to something that was forwarded.
    pub fn ack_now(&mut self) {
        self.urgent = true;
    }

    /// An acknowledgement of its own must leave for this very segment.
    pub fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// In-order data up to `end` is the sender's.
    #[inline]
    pub(super) fn advance(&mut self, now: Now, end: Off, len: u32, ts: Option<u32>, fin: bool) {
        if self.told_ack >= self.rcv_nxt {
            self.marks.clear();
        }
        let ts = ts.or(self.marks.last_ts()).unwrap_or(self.ts_recent);
        self.marks.push(Mark { end, ts, at: now });
        if fin {
            self.fin = Maybe::from(end - 1);
        }
        self.rcv_nxt = end;
        if self.runs {
            self.blocks.passed(end);
        }
        self.full = self.full.max(len);
        // At once for what fills a hole (RFC 5681 section 4.2), and in X's slow start.
        if self.quick > 0 || self.held.count > 0 {
            self.quick = self.quick.saturating_sub(1);
            self.delayed = Maybe::from(now.0);
        } else if self.delayed.get().is_none() {
            self.delayed = Maybe::from(now.after_ns(DELAY_NS).0);
        }
    }

    /// What X would be told now.
    #[inline]
    pub(crate) fn plan(&self, now: Now, onward: &Onward) -> Plan {
        // I7: X hears that its FIN arrived only when Y has said so.
        let edge = self.fin().filter(|f| onward.una <= *f && !breaks(Broken::FinAckedEarly)).unwrap_or(self.rcv_nxt);
        let cap = edge.min(onward.una + u64::from(onward.custody)).max(self.told_ack);
        let (target, next, step_at) = match self.draining.get() {
            Some(since) => self.drain_target(now, Now(since), cap, onward.una),
            None => self.custody_target(now, cap, onward),
        };
        let target = target.max(self.told_ack);
        let (ack, right, window) = self.encode(target, onward);
        Plan { ack, right, window, whole: ack == target, next, step_at }
    }

    /// Up to half of the custody at once; beyond it step by step, the fuller the slower. X's round trip grows gradually
    /// towards the real one, so that its timer follows, and while Y is silent one segment in 150 ms keeps X patient.
    fn custody_target(&self, now: Now, cap: Off, onward: &Onward) -> (Off, Option<Now>, Now) {
        let half = u64::from(onward.custody / 2).max(1);
        let free = onward.una + half;
        if cap <= free {
            return (cap, None, now);
        }
        let mss = u64::from(self.params.mss);
        let mut target = self.told_ack.max(free);
        // A pause is not made up for by a burst.
        let earliest = Now(now.0.saturating_sub(GAP_NS));
        let mut step_at = if self.told_ack < free { now } else { self.step_at.max(earliest) };
        while target < cap {
            let gap = GAP_NS * (target - free).min(half) / half;
            // One segment per gap on average, two at a time as long as that is not too long to wait.
            let (wait, step) = if gap <= GAP_NS / 2 { (2 * gap, 2 * mss) } else { (gap, mss) };
            let at = step_at.after_ns(wait);
            if at > now {
                return (target, Some(at), step_at);
            }
            step_at = at;
            target = cap.min(target + step);
        }
        (cap, None, step_at)
    }

    /// What Y acknowledged, and for a while what arrived long enough ago.
    fn drain_target(&self, now: Now, since: Now, cap: Off, una: Off) -> (Off, Option<Now>, Now) {
        let mut target = una.min(cap);
        let marks = self.marks.iter().take(if self.told_ack < self.rcv_nxt { usize::MAX } else { 0 });
        for mark in marks.take_while(|m| m.at.since(since) < RAMP_NS) {
            let at = mark.at.after_ns(mark.at.since(since) / 3);
            if at > now && mark.end > target {
                return (target, Some(at).filter(|_| target < cap), now);
            }
            target = cap.min(target.max(mark.end));
        }
        (target, None, now)
    }

    /// The fields of a segment that leaves for X now, and the record that X was told.
    pub fn compose(&mut self, now: Now, onward: &Onward) -> AckFields {
        self.compose_plan(now, &self.plan(now, onward))
    }

    /// The same by the plan for this moment.
    #[inline]
    pub(crate) fn compose_plan(&mut self, now: Now, plan: &Plan) -> AckFields {
        debug_assert!(plan.ack >= self.told_ack && plan.ack <= self.rcv_nxt.max(self.told_ack), "I1 and I2");
        debug_assert!(plan.right >= self.told_right, "I2");
        self.told_right = plan.right;
        self.step_at = plan.step_at;
        self.tell(now, plan.ack, plan.window)
    }

    /// The last acknowledgement before the flow is handed back: Y's own numbers, whatever X was told (tcp.md 2.6 (5)).
    pub fn compose_final(&mut self, now: Now, onward: &Onward) -> AckFields {
        let ack = onward.una.max(self.told_ack);
        let window = onward.right.saturating_sub(ack) >> self.params.shift;
        self.tell(now, ack, window.min(u64::from(u16::MAX)) as u16)
    }

    /// When more can be told than was told by `plan`, which was whole, if nothing happened since.
    #[inline]
    pub(crate) fn due_after(&self, plan: &Plan) -> Option<Now> {
        plan.next.filter(|_| !self.nothing_new())
    }

    #[inline]
    fn tell(&mut self, now: Now, ack: Off, window: u16) -> AckFields {
        let ts_ecr = self.params.ts.then_some(self.ts_recent);
        let news = self.told_ack < self.rcv_nxt;
        self.told_ack = ack;
        if news {
            self.echo_next();
        }
        self.urgent = false;
        self.delayed = Maybe::from((self.rcv_nxt > ack).then(|| now.after_ns(DELAY_NS).0));
        let mut fields =
            AckFields { ack, window, ts_ecr, ece: self.ece, blocks: [(0, 0); 4], count: 0, dsack: false };
        self.report(&mut fields);
        fields
    }

    /// TS.Recent for the next acknowledgement; see [`super::marks`].
    #[inline]
    fn echo_next(&mut self) {
        self.marks.told(self.told_ack);
        if let Some(mark) = self.marks.first() {
            if !before(mark.ts, self.ts_recent) {
                self.ts_recent = mark.ts;
                self.ts_recent_at = mark.at;
            }
        }
    }

    /// DSACK first, then the newest runs.
    #[inline]
    fn report(&mut self, fields: &mut AckFields) {
        let dsack = self.dsack.take();
        if !self.params.sack {
            return;
        }
        let room = if self.params.ts { 3 } else { 4 };
        let runs = self.blocks.iter().take(if self.runs { usize::MAX } else { 0 });
        let newest = runs.clone().next();
        // Above the ACK and in no block, it would be read as a SACK (RFC 2883 section 4).
        let told = |d: &(Off, Off)| d.1 <= fields.ack || newest.is_some_and(|b| b.0 <= d.0 && b.1 >= d.1);
        let dsack = dsack.filter(told);
        fields.dsack = dsack.is_some();
        for block in dsack.into_iter().chain(runs).take(room) {
            fields.blocks[usize::from(fields.count)] = block;
            fields.count += 1;
        }
    }
}
