//! DRAIN, and the predicate that says when a flow can be handed back (tcp.md 2.6).

use super::record::{Draining, Phase};
use super::out::Say;
use super::{Cx, Fate, Flow};
use crate::api::{EventKind, Io, Now};
use crate::broken::{breaks, Broken};
use crate::reason::StopReason;
use crate::seq::Off;

/// How long the soft points of the stop predicate are waited for, ns.
const SOFT_NS: u64 = 5_000_000_000;

impl Flow<'_> {
    /// Stops acknowledging early; what is in custody is delivered. Without a deadline the delivery limit counts.
    pub(crate) fn begin_drain<I: Io>(&mut self, cx: &mut Cx<'_, I>, reason: StopReason, deadline: Option<Now>) {
        let deadline = deadline.unwrap_or(cx.now.after_ns(cx.sh.cfg.delivery_limit_ns));
        match &mut self.act.draining {
            Some(draining) => draining.deadline = draining.deadline.min(deadline),
            None => {
                let from = [0, 1].map(|s: usize| self.act.rx[s].rcv_nxt());
                self.act.draining = Some(Draining { reason, deadline, soft: cx.now.after_ns(SOFT_NS), from });
                self.rec.phase = Phase::Drain;
                cx.sh.stats.draining += 1;
                cx.event(self.rec, EventKind::Draining(reason));
                for rx in &mut self.act.rx {
                    rx.drain(cx.now);
                }
            }
        }
    }

    /// Hands the flow back if nothing stands against it any more, or resets it at the deadline.
    pub(crate) fn drained<I: Io>(&mut self, cx: &mut Cx<'_, I>) -> Fate {
        let Some(draining) = self.act.draining else { return Fate::Live };
        if self.act.reset_to != [None; 2] {
            return Fate::Live;
        }
        let soft = draining.soft <= cx.now;
        if breaks(Broken::CustodyDroppedAtStop) || (0..2).all(|s| self.stream_is_settled(s, draining.from[s], soft)) {
            return self.hand_back(cx, draining.reason);
        }
        if draining.deadline > cx.now {
            return Fate::Live;
        }
        if self.act.has_custody() {
            return self.reset_both(cx, StopReason::DrainLimit);
        }
        self.hand_back(cx, draining.reason)
    }

    /// Points 1 to 4 and 6 of the stop predicate, for one stream of which X had sent up to `from` when the drain began.
    fn stream_is_settled(&self, s: usize, from: Off, soft: bool) -> bool {
        let (rx, tx) = (&self.act.rx[s], &self.act.tx[s]);
        // What X was told is with Y; all that was accepted from X, its FIN included, has been sent to Y.
        let told = rx.told_ack() <= self.act.acked(s);
        let sent = tx.backlog() == 0 || self.act.beyond[s] > tx.end();
        // X is promised no more than Y promises, or does not use it: it is silent, and what it sends next fits into Y's
        // own window (twice what was in flight lately, at least an initial window, RFC 6928); Y's answer to that tells
        // it the rest.
        let next = (2 * tx.peak_flight()).max(10 * u32::from(self.rec.mss[1 - s]));
        let unused = rx.rcv_nxt() == from && tx.right() >= tx.una() + u64::from(next);
        // X knows what Y has: bytes SACKed to X are with the sender.
        let known = rx.held() == 0 && (unused || rx.told_right() <= tx.right());
        told && sent && (known || soft)
    }

    /// The last acts: what is held out of order goes to Y, and each end hears the other's real ACK and window.
    fn hand_back<I: Io>(&mut self, cx: &mut Cx<'_, I>, reason: StopReason) -> Fate {
        for s in 0..2 {
            let mut from = 0;
            loop {
                let next = self.act.rx[s].overlapping(&cx.sh.ooo, from, u64::MAX).next();
                let Some(seg) = next else { break };
                self.send_seg(cx, s, &seg, false);
                from = seg.end();
            }
        }
        for t in (0..2).filter(|_| !breaks(Broken::NoLastWord)) {
            let seq = self.act.tx[1 - t].nxt();
            self.bare_to(cx, t, seq, Say::Final);
        }
        Fate::HandedBack(reason)
    }
}
