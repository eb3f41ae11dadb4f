//! Orders that concern all flows are carried out a bounded number of records at a time: a million of them in one call
//! would be a silence in which the copper wire opens.

use super::*;
use crate::flow::record::flag;
use crate::policy::{Question, NO_POLICY};

/// Records looked at in one call.
const SLICE: u32 = 4096;
/// Sweeps that wait; where there are more, the oldest is finished at once.
pub(super) const SWEEPS: usize = 16;

/// What is done with each record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Drain { target: Target, deadline: Now },
    Opened { late: bool },
    /// There is another table of policies.
    Policies,
}

/// A walk over the records that has not come to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sweep {
    work: Work,
    next: u32,
    end: u32,
}

impl Engine {
    /// Begins a walk over the records that there are now.
    pub(super) fn begin_sweep<I: Io>(&mut self, now: Now, work: Work, io: &mut I) {
        if self.sweeps.len() == SWEEPS {
            let oldest = self.sweeps.remove(0);
            (oldest.next..oldest.end).for_each(|id| self.visit(now, id, &oldest.work, io));
        }
        self.sweeps.push(Sweep { work, next: 0, end: self.records.end() });
        self.sweep(now, io);
    }

    /// Walks on by one slice.
    pub(super) fn sweep<I: Io>(&mut self, now: Now, io: &mut I) {
        let mut left = SLICE;
        while let Some(sweep) = self.sweeps.first().copied() {
            let stop = sweep.end.min(sweep.next.saturating_add(left));
            left -= stop - sweep.next;
            (sweep.next..stop).for_each(|id| self.visit(now, id, &sweep.work, io));
            if stop < sweep.end {
                self.sweeps[0].next = stop;
                return;
            }
            self.sweeps.remove(0);
        }
    }

    /// What is not certain of a flow any more, or by another table of policies, must not be used before the sweep comes by. True if the flow is gone.
    pub(super) fn swept_away<I: Io>(&mut self, now: Now, id: u32, io: &mut I) -> bool {
        for i in 0..self.sweeps.len() {
            let Sweep { work, next, end } = self.sweeps[i];
            if matches!(work, Work::Opened { .. } | Work::Policies) && (next..end).contains(&id) {
                self.visit(now, id, &work, io);
            }
        }
        self.records.get(id).is_none()
    }

    fn visit<I: Io>(&mut self, now: Now, id: u32, work: &Work, io: &mut I) {
        let Some(rec) = self.records.get(id) else { return };
        match work {
            Work::Drain { target, deadline } => {
                let matches = match target {
                    Target::Subscriber(who) => parsed::subscriber(&rec.key, &self.sh.cfg) == *who,
                    Target::Flow(key) => rec.key == *key,
                    Target::Wire => true,
                };
                if matches {
                    self.drain_one(now, id, *deadline, io);
                }
            }
            Work::Policies => self.decide_again(now, id),
            Work::Opened { late: true } if rec.has(flag::MARKED) => {}
            Work::Opened { .. } => self.let_go(now, id, io),
        }
    }

    /// The policy of a flow by the table in force. What serves it was decided when it began.
    fn decide_again(&mut self, now: Now, id: u32) {
        let rec = &mut self.records[id];
        let vlan = self.sh.paths.get(rec.path[0]).outer_vlan();
        rec.policy = self.sh.policies.table().resolve(&Question::of(&rec.key, vlan)).unwrap_or(NO_POLICY);
        let of = self.sh.policies.table().get(rec.policy);
        self.sh.subs.treat(rec.sub, of.and_then(|of| of.target_ns), of.is_none_or(|of| of.pacing));
        match rec.active {
            NONE => {}
            handle => self.shape(now, id, handle),
        }
    }

    /// The copper wire forwarded packets of this flow behind the engine's back.
    fn let_go<I: Io>(&mut self, now: Now, id: u32, io: &mut I) {
        match self.records[id].active {
            NONE => self.hand_back_idle(now, id, StopReason::WireOpened, io),
            handle => {
                let fate = self.with(now, handle, io, |flow, cx| match flow.act.has_custody() {
                    true => flow.reset_both(cx, StopReason::WireOpened),
                    false => Fate::HandedBack(StopReason::WireOpened),
                });
                self.finish(now, handle, fate, io);
            }
        }
    }
}
