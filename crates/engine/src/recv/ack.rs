//! When to acknowledge, and how far: delayed ACKs (RFC 9293 section 3.8.6.3, RFC 5681 section 4.2), custody that fills
//! up, and draining (tcp.md 2.3 and 2.6).

use super::judge::before;
use super::marks::Mark;
use super::types::{AckFields, Onward};
use super::{Receiver, DELAY_NS};
use crate::api::Now;
use crate::seq::Off;

/// Most time between two acknowledgements while custody may still grow: below the least retransmission timeout (200 ms
/// in Linux), so that a frozen radio does not make X resend.
const GAP_NS: u64 = 150_000_000;
/// While draining, an acknowledgement is withheld for a third of the time since the drain began, until this long after
/// it: X's retransmission timer learns the delay before it meets the real one.
const RAMP_NS: u64 = 2_000_000_000;

/// Paces told_ack where custody is more than half full.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pacing {
    /// When the last step was due.
    step_at: Now,
}

impl Pacing {
    pub fn new(now: Now) -> Pacing {
        Pacing { step_at: now }
    }
}

impl Receiver {
    /// When an acknowledgement must leave, if no segment to X carries it before; `None`: nothing is to be said.
    pub fn ack_due(&self) -> Option<Now> {
        self.due
    }

    /// An acknowledgement is to leave at once: an answer to a keepalive or a challenge, Y's answer to what was forwarded.
    pub fn ack_now(&mut self, now: Now) {
        self.due = Some(self.due.map_or(now, |at| at.min(now)));
    }

    /// In-order data up to `end` is held; see [`Receiver::took`].
    pub(super) fn advance(&mut self, now: Now, end: Off, len: u32, ts: Option<u32>, fin: bool) {
        let before = self.marks.last_ts().unwrap_or(self.ts_recent);
        self.marks.push(Mark { end, ts: ts.unwrap_or(before), at: now });
        if fin {
            self.fin = Some(end - 1);
        }
        let filled_hole = self.held.count > 0;
        self.rcv_nxt = end;
        self.blocks.passed(end);
        self.waiting = self.waiting.saturating_add(len);
        if len == 0 {
            return;
        }
        if self.quick > 0 {
            self.quick -= 1;
            self.ack_now(now);
        } else if filled_hole || self.dsack.is_some() || self.waiting >= 2 * u32::from(self.params.mss) {
            self.ack_now(now);
        } else if self.due.is_none() {
            self.due = Some(now.after_ns(DELAY_NS));
        }
    }

    /// Something changed onward: Y acknowledged, or its window or the memory grew. Decides whether X must hear of it.
    pub fn onward_changed(&mut self, now: Now, onward: &Onward) {
        let (target, _) = self.target(now, onward);
        let step = 2 * u64::from(self.params.mss);
        let fin_acked = self.fin.is_some_and(|f| onward.una > f && self.told_ack <= f);
        let caught_up = target == self.rcv_nxt || target == self.fin.unwrap_or(self.rcv_nxt);
        if fin_acked || target >= self.told_ack + step || self.window_update_due(onward) {
            self.ack_now(now);
        } else if target > self.told_ack && caught_up && self.due.is_none() {
            self.due = Some(now.after_ns(DELAY_NS));
        }
    }

    /// How far X may be told now, and when it may be told more though nothing else happens.
    pub(super) fn target(&mut self, now: Now, onward: &Onward) -> (Off, Option<Now>) {
        // I7: X hears that its FIN arrived only when Y has said so.
        let edge = self.fin.filter(|f| onward.una <= *f).unwrap_or(self.rcv_nxt);
        let cap = edge.min(onward.una + u64::from(onward.custody));
        let (target, next) = match self.draining {
            Some(since) => self.drain_target(now, since, onward.una),
            None => self.custody_target(now, cap, onward),
        };
        let target = target.min(cap).max(self.told_ack).min(edge.max(self.told_ack));
        (target, next.filter(|_| target < cap))
    }

    /// Up to half of the custody at once; beyond it step by step, the fuller the slower. X's round trip grows gradually
    /// towards the real one, so that its timer follows, and while Y is silent one segment in 150 ms keeps X patient.
    fn custody_target(&mut self, now: Now, cap: Off, onward: &Onward) -> (Off, Option<Now>) {
        let half = u64::from(onward.custody / 2).max(1);
        let free = onward.una + half;
        if cap <= free {
            self.pacing.step_at = now;
            return (cap, None);
        }
        let mss = u64::from(self.params.mss);
        let mut target = self.told_ack.max(free);
        if self.told_ack < free {
            self.pacing.step_at = now;
        }
        while target < cap {
            let gap = GAP_NS * (target - free).min(half) / half;
            // One segment per gap on average, two at a time as long as that is not too long to wait.
            let (wait, step) = if gap <= GAP_NS / 2 { (2 * gap, 2 * mss) } else { (gap, mss) };
            let at = self.pacing.step_at.after_ns(wait);
            if at > now {
                return (target, Some(at));
            }
            // A pause is not made up for by a burst.
            self.pacing.step_at = at.max(Now(now.0.saturating_sub(GAP_NS)));
            target += step;
        }
        (cap, None)
    }

    /// What Y acknowledged, and for a while what arrived long enough ago.
    fn drain_target(&self, now: Now, since: Now, una: Off) -> (Off, Option<Now>) {
        let mut target = una;
        for mark in self.marks.iter().take_while(|m| m.at.since(since) < RAMP_NS) {
            let at = mark.at.after_ns(mark.at.since(since) / 3);
            if at > now {
                return (target, Some(at));
            }
            target = target.max(mark.end);
        }
        (target, None)
    }

    /// The fields of a segment that leaves for X now, and the record that X was told.
    pub fn compose(&mut self, now: Now, onward: &Onward) -> AckFields {
        let (target, mut next) = self.target(now, onward);
        let (ack, window) = self.encode(target, onward);
        debug_assert!(ack >= self.told_ack && ack <= self.rcv_nxt.max(onward.una));
        let ts_ecr = self.params.ts.then_some(self.ts_recent);
        self.told_ack = ack;
        self.echo_next();
        let mut fields =
            AckFields { ack, window, ts_ecr, ece: self.ece, blocks: [(0, 0); 4], count: 0, dsack: false };
        self.report(&mut fields);
        let silent = self.fin.is_some_and(|f| ack == f);
        if ack == self.rcv_nxt || silent {
            next = None;
        }
        self.waiting = (self.rcv_nxt - ack.min(self.rcv_nxt)).min(u64::from(u32::MAX)) as u32;
        self.due = next.map(|at| at.max(now));
        fields
    }

    /// TS.Recent for the next acknowledgement; see [`super::marks`].
    fn echo_next(&mut self) {
        self.marks.told(self.told_ack);
        if let Some(mark) = self.marks.first() {
            if !before(mark.ts, self.ts_recent) {
                self.ts_recent = mark.ts;
            }
        }
    }

    /// DSACK first, then the newest runs.
    fn report(&mut self, fields: &mut AckFields) {
        let dsack = self.dsack.take();
        if !self.params.sack {
            return;
        }
        let room = if self.params.ts { 3 } else { 4 };
        let told = fields.ack;
        // A range above the ACK that no block contains would be read as a SACK.
        let reported = |d: &(Off, Off)| d.1 <= told || self.blocks.iter().next().is_some_and(|b| b.0 <= d.0 && b.1 >= d.1);
        let dsack = dsack.filter(reported);
        fields.dsack = dsack.is_some();
        for block in dsack.into_iter().chain(self.blocks.iter()).take(room) {
            fields.blocks[usize::from(fields.count)] = block;
            fields.count += 1;
        }
    }
}
