//! A flow's active state comes and goes, its timers run, and it ends.

use super::*;
use crate::broken::{breaks, Broken};
use crate::flow::out::RETRY_NS;
use crate::flow::timers::Due;

/// Share of the active places that may be kept by flows with nothing outstanding: one in so many.
const WARM: u32 = 8;

impl Engine {
    /// The active state of a flow, made from its record if need be; `None` where all places hold something outstanding.
    pub(super) fn activate(&mut self, now: Now, id: u32) -> Option<u32> {
        let rec = &mut self.records[id];
        rec.last_ms = (now.0 / 1_000_000) as u32;
        if rec.active != NONE {
            return Some(rec.active);
        }
        let handle = self.actives.thaw(id, rec, now)?;
        rec.active = handle;
        if self.sh.policies.table().shapes() {
            self.shape(now, id, handle);
        }
        Some(handle)
    }

    /// After a flow was touched: its end if that came, else what may leave leaves, and its timer is set.
    pub(super) fn after<I: Io>(&mut self, now: Now, handle: u32, fate: Fate, io: &mut I) {
        self.waiting.take_if(|waiting| *waiting == handle);
        if fate != Fate::Live {
            return self.finish(now, handle, fate, io);
        }
        let sub = self.records[self.actives[handle].flow].sub;
        self.pump_subscriber(now, sub, handle, io);
        match self.with(now, handle, io, |flow, cx| flow.settle(cx)) {
            (Fate::Live, due) => self.rest(now, handle, Some(due)),
            (fate, _) => self.finish(now, handle, fate, io),
        }
    }

    /// Sets a flow's timer, or freezes it if it has nothing outstanding. `due`: its acknowledgements, where that is known.
    fn rest(&mut self, now: Now, handle: u32, due: Option<Due>) {
        let act = &mut self.actives[handle];
        let rec = &mut self.records[act.flow];
        let flow = Flow { handle, rec, act };
        if flow.rec.phase == Phase::Optimize && flow.closed() {
            flow.rec.phase = Phase::Closed;
            self.idle_wheel.arm(now, flow.act.flow, now.after_ns(LINGER_NS));
        }
        let due = due.unwrap_or_else(|| flow.acks_due(now, &self.sh));
        let at = flow.deadline(now, &self.sh, &due);
        // Moved only where it must fire earlier; one that fires too early looks again.
        if flow.act.armed.is_none_or(|armed| at < armed) {
            flow.act.armed = Some(at);
            self.active_wheel.arm(now, handle, at);
        }
        let act = &mut self.actives[handle];
        if act.is_idle() {
            // What it has promised is not likely to be used now, and is looked at again when it is.
            self.sh.promise(&mut act.promised, 0);
            if self.actives.len() > self.sh.cfg.max_active / WARM {
                self.freeze(now, handle);
            }
        }
    }

    /// A flow that is established and nothing more costs its record alone.
    pub(super) fn cool(&mut self, now: Now, id: u32) {
        let Some(handle) = self.records.get(id).map(|rec| rec.active) else { return };
        if self.actives.get(handle).is_some_and(Active::is_idle) {
            self.freeze(now, handle);
        }
    }

    /// Gives the active state of an idle flow up.
    fn freeze(&mut self, now: Now, handle: u32) {
        let Some(act) = self.actives.get(handle) else { return };
        let rec = &mut self.records[act.flow];
        debug_assert!(act.is_idle());
        rec.freeze(&act.rx, &act.tx);
        rec.active = NONE;
        self.active_wheel.cancel(handle);
        let mut promised = act.promised;
        self.sh.promise(&mut promised, 0);
        self.sh.subs.leave(now, rec.sub, handle);
        self.actives.free(handle);
    }

    /// Serves the flows of a subscriber, and comes back when more may leave. The caller sets the timer of `own`.
    pub(super) fn pump_subscriber<I: Io>(&mut self, now: Now, sub: u32, own: u32, io: &mut I) {
        let shaped = self.sh.subs.is_shaped(sub);
        let at = if shaped { self.pump_shaped(now, sub, own, io) } else { self.pump(now, sub, own, io) };
        at.into_iter().for_each(|at| self.pace_wheel.arm(now, sub, at));
    }

    /// Serves the flows of a subscriber in turn, as far as its budget goes; when to go on.
    pub(super) fn pump<I: Io>(&mut self, now: Now, sub: u32, own: u32, io: &mut I) -> Option<Now> {
        for _ in 0..TURNS {
            match self.sh.subs.next(now, sub) {
                Next::Send { flow, bytes } => {
                    let left = self.with(now, flow, io, |flow, cx| flow.pump_access(cx, bytes));
                    if flow != own {
                        self.rest(now, flow, None);
                    }
                    if left == 0 {
                        // It could not leave: out of buffers, or the frame is still being read.
                        self.sh.subs.unready(sub, flow);
                        self.retry(now, flow);
                    }
                }
                Next::At(at) => return Some(at),
                Next::Blocked | Next::Idle => return None,
            }
        }
        Some(now.after_ns(1))
    }

    fn retry(&mut self, now: Now, handle: u32) {
        let Some(act) = self.actives.get_mut(handle) else { return };
        let at = now.after_ns(RETRY_NS);
        act.pace_at = Some(act.pace_at.map_or(at, |pace| pace.min(at)));
        if act.armed.is_none_or(|armed| at < armed) {
            act.armed = Some(at);
            self.active_wheel.arm(now, handle, at);
        }
    }

    /// The timer of an active flow.
    pub(super) fn active_timer<I: Io>(&mut self, now: Now, handle: u32, io: &mut I) {
        let Some(act) = self.actives.get_mut(handle) else { return };
        act.armed = None;
        let id = act.flow;
        if self.swept_away(now, id, io) {
            return;
        }
        let at = {
            let act = &mut self.actives[handle];
            let rec = &mut self.records[act.flow];
            let mut flow = Flow { handle, rec, act };
            flow.look_for_life(now, &self.sh);
            flow.deadline(now, &self.sh, &flow.acks_due(now, &self.sh))
        };
        if at > now {
            self.actives[handle].armed = Some(at);
            self.active_wheel.arm(now, handle, at);
            return;
        }
        if self.actives[handle].is_idle() {
            self.freeze(now, handle);
            return;
        }
        let fate = self.with(now, handle, io, |flow, cx| {
            let fate = flow.on_timer(cx);
            flow.report_flight(cx);
            fate
        });
        self.after(now, handle, fate, io);
    }

    /// The timer of a record: idle for too long, or closed for long enough.
    pub(super) fn idle_timer<I: Io>(&mut self, now: Now, id: u32, io: &mut I) {
        let Some(rec) = self.records.get(id) else { return };
        let now_ms = (now.0 / 1_000_000) as u32;
        let quiet = u64::from(now_ms.wrapping_sub(rec.last_ms)) * 1_000_000;
        if rec.phase == Phase::Closed {
            if let Some(handle) = self.activate(now, id) {
                self.finish(now, handle, Fate::Closed, io);
            }
        } else if rec.active == NONE && quiet >= self.sh.cfg.idle_ns {
            self.hand_back_idle(now, id, StopReason::Idle, io);
        } else {
            let left = self.sh.cfg.idle_ns.saturating_sub(quiet).max(1_000_000_000.min(self.sh.cfg.idle_ns));
            self.idle_wheel.arm(now, id, now.after_ns(left));
        }
    }

    /// Hands a flow back that has nothing outstanding: its ends agree already. There is no last ACK as after a drain
    /// (tcp.md 2.6 (5)): both ends know every number, and a window smaller than promised is not taken from an ACK that
    /// says nothing else new (RFC 9293 section 3.8.6: SND.WL1 and SND.WL2); the peer's next segment brings the real one.
    pub(super) fn hand_back_idle<I: Io>(&mut self, now: Now, id: u32, why: StopReason, io: &mut I) {
        self.end(now, id, Fate::HandedBack(why), io);
    }

    /// A flow ends: everything that it holds is given back.
    pub(super) fn finish<I: Io>(&mut self, now: Now, handle: u32, fate: Fate, io: &mut I) {
        self.waiting.take_if(|waiting| *waiting == handle);
        let Some(act) = self.actives.get_mut(handle) else { return };
        let id = act.flow;
        let sh = &mut self.sh;
        for s in 0..2 {
            act.tx[s].clear(&mut sh.pool, |frame| io.release(frame));
            act.rx[s].clear(&mut sh.ooo, |frame| {
                if !breaks(Broken::FrameLeaked) {
                    io.release(frame);
                }
            });
        }
        sh.stats.custody_bytes -= act.custody;
        sh.promise(&mut act.promised, 0);
        sh.stats.draining -= u64::from(act.draining.is_some());
        self.active_wheel.cancel(handle);
        sh.subs.leave(now, self.records[id].sub, handle);
        self.records[id].active = NONE;
        self.actives.free(handle);
        self.end(now, id, fate, io);
    }

    /// The record goes, and the reason is counted.
    fn end<I: Io>(&mut self, now: Now, id: u32, fate: Fate, io: &mut I) {
        let Some(rec) = self.records.remove(id) else { return };
        self.changed = true;
        let hash = self.hasher.flow(&rec.key);
        self.index.remove(hash, id);
        self.idle_wheel.cancel(id);
        self.sh.subs.close(rec.sub);
        rec.path.into_iter().for_each(|path| self.sh.paths.give(path));
        if rec.entry != NONE {
            io.custody_release(rec.entry);
        }
        // What still comes is forwarded, and was counted.
        self.refused.add(hash);
        if fate == Fate::PeerReset {
            self.dead.add(now, hash);
        }
        let stats = &mut self.sh.stats;
        let kind = match fate {
            Fate::Live | Fate::Closed => {
                stats.closed += 1;
                EventKind::Closed
            }
            Fate::HandedBack(why) => {
                stats.handed_back += 1;
                stats.stopped[why as usize] += 1;
                EventKind::HandedBack(why)
            }
            Fate::Reset(why) => {
                stats.resets += 1;
                stats.stopped[why as usize] += 1;
                EventKind::Reset(why)
            }
            Fate::PeerReset => {
                stats.stopped[StopReason::PeerReset as usize] += 1;
                EventKind::Closed
            }
        };
        self.event(now, &rec.key, kind);
    }
}
