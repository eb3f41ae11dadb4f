//! What is due without a packet.

use super::{Cx, Fate, Flow, Shared};
use crate::api::{Io, Now};
use crate::reason::StopReason;

/// A flow that has had nothing outstanding for so long keeps its record only, ns.
pub(crate) const FREEZE_NS: u64 = 1_000_000_000;

/// When an acknowledgement of either stream must leave.
pub(crate) type Due = [Option<Now>; 2];

/// Probes without an answer after which the interval between them has grown.
const BACKED_OFF: u32 = 2;
/// How often such a flow looks whether its subscriber was heard meanwhile, ns.
const LOOK_NS: u64 = 200_000_000;

impl Flow<'_> {
    /// When a packet must leave to acknowledge either stream.
    pub(crate) fn acks_due(&self, now: Now, sh: &Shared) -> Due {
        [self.ack_due(0, now, sh), self.ack_due(1, now, sh)]
    }

    /// When [`Flow::on_timer`] must be called next; `due` is what [`Flow::acks_due`] says.
    pub(crate) fn deadline(&self, now: Now, sh: &Shared, due: &Due) -> Now {
        let act = &*self.act;
        let mut first = if act.is_idle() { act.last.after_ns(FREEZE_NS) } else { Now(u64::MAX) };
        let mut sooner = |at: Option<Now>| first = at.map_or(first, |at| first.min(at));
        for s in [0, 1] {
            sooner(act.tx[s].deadline());
            sooner(due[s]);
            sooner(act.reset_to[s]);
            if act.custody_of(s) > 0 {
                sooner(Some(act.progress[s].after_ns(sh.cfg.delivery_limit_ns)));
            }
        }
        if act.tx[1].unanswered_probes() >= BACKED_OFF {
            first = first.min(now.after_ns(LOOK_NS));
        }
        if let Some(at) = act.pace_at {
            first = first.min(at);
        }
        if let Some(draining) = act.draining {
            first = first.min(draining.deadline);
            if draining.soft > act.last {
                first = first.min(draining.soft);
            }
        }
        first
    }

    /// A flow that backs off asks its phone at once when that was heard on another flow after a silence: the outage is
    /// over, and may have lost everything that was in flight.
    pub(crate) fn look_for_life(&mut self, now: Now, sh: &Shared) {
        if self.act.tx[1].unanswered_probes() < BACKED_OFF {
            return;
        }
        let resumed = sh.subs.resumed(self.rec.sub);
        let progress = (self.act.progress[1].0 / 1_000_000) as u32;
        if resumed != self.act.woken && (resumed.wrapping_sub(progress) as i32) > 0 {
            self.act.woken = resumed;
            self.act.tx[1].path_alive(now);
        }
    }

    /// When a packet must leave to acknowledge stream `s`, if none leaves anyway.
    fn ack_due(&self, s: usize, now: Now, sh: &Shared) -> Option<Now> {
        // Who reset the connection is told nothing more (RFC 9293 section 3.10.7.1).
        if self.act.reset_to[1 - s].is_some() {
            return None;
        }
        let rx = &self.act.rx[s];
        if rx.is_urgent() {
            return Some(now);
        }
        if rx.nothing_to_say(self.most_room(s, sh)) { None } else { rx.ack_due(now, &self.onward(s, sh)) }
    }

    /// Sends what acknowledges stream `t`, if it is due. When it is to be looked at again.
    fn answer<I: Io>(&mut self, cx: &mut Cx<'_, I>, t: usize) -> Option<Now> {
        let rx = &self.act.rx[t];
        let urgent = rx.is_urgent();
        if self.act.reset_to[1 - t].is_some() || !urgent && rx.nothing_to_say(self.most_room(t, cx.sh)) {
            return None;
        }
        let mut plan = rx.plan(cx.now, &self.onward(t, cx.sh));
        let due = rx.plan_due(cx.now, &plan);
        // One acknowledgement for what arrived at once, as receivers with GRO send: nobody learns later by it.
        let wait = cx.sh.more == Some(t) && !urgent;
        if wait || due.is_none_or(|at| at > cx.now) {
            return due;
        }
        let no_book = self.act.no_book;
        self.claim(cx, t);
        if self.act.no_book != no_book {
            plan = self.act.rx[t].plan(cx.now, &self.onward(t, cx.sh));
        }
        if !self.ack_to(cx, t, Some(&plan)) {
            return due;
        }
        if !plan.whole {
            return self.ack_due(t, cx.now, cx.sh);
        }
        let due = self.act.rx[t].due_after(&plan);
        debug_assert_eq!(due, self.ack_due(t, cx.now, cx.sh), "one plan is enough");
        due
    }

    /// Runs what is due; [`Flow::settle`] follows.
    pub(crate) fn on_timer<I: Io>(&mut self, cx: &mut Cx<'_, I>) -> Fate {
        for s in 0..2 {
            if self.act.tx[s].deadline().is_some_and(|at| at <= cx.now) {
                let full = self.link_full(cx, s);
                let out = self.act.tx[s].on_timer(&mut cx.sh.pool, cx.now, full);
                self.after_ack(cx, s, &out, None);
            }
            let limit = self.act.progress[s].after_ns(cx.sh.cfg.delivery_limit_ns);
            if self.act.custody_of(s) > 0 && limit <= cx.now {
                return self.reset_both(cx, StopReason::DeliveryLimit);
            }
        }
        Fate::Live
    }

    /// After anything that happened: what may leave leaves, what is owed is paid, and the books are brought up to date.
    ///
    /// With the flow's fate comes when acknowledgements are due that did not leave.
    pub(crate) fn settle<I: Io>(&mut self, cx: &mut Cx<'_, I>) -> (Fate, Due) {
        self.pump_core(cx);
        let mut due = [None; 2];
        for (t, due) in due.iter_mut().enumerate() {
            *due = self.answer(cx, t);
        }
        self.mark(cx);
        self.gauge_promises(cx);
        let fate = match self.owed_resets(cx) {
            Fate::Live => self.drained(cx),
            fate => fate,
        };
        (fate, due)
    }

    /// Window promised beyond what is stored.
    fn gauge_promises<I: Io>(&mut self, cx: &mut Cx<'_, I>) {
        let promises = self.act.promises();
        cx.sh.promise(&mut self.act.promised, promises);
    }
}
