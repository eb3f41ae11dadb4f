//! RST and SYN within an optimized flow (tcp.md 2.7), and the resets that the engine itself sends.

use super::parsed::Segment;
use super::rx::Taken;
use super::{Cx, Fate, Flow};
use crate::api::Io;
use crate::broken::{breaks, Broken};
use crate::reason::StopReason;
use crate::recv::Rst;
use crate::seq::unwrap;

/// How long custody is still delivered to an end whose peer reset the connection, ns.
const DELIVER_NS: u64 = 5_000_000_000;

impl Flow<'_> {
    /// X reset the connection, or somebody pretends that it did (RFC 5961 section 3).
    pub(crate) fn on_rst<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) -> Taken {
        let (x, y) = (s.side as usize, s.side.other() as usize);
        let near = self.act.rx[x].rcv_nxt();
        let judged = unwrap(self.rec.isn[x], s.seq, near).map_or(Rst::Drop, |seq| self.act.rx[x].judge_rst(seq));
        let believed = judged == Rst::Challenge && breaks(Broken::ResetBelievedInWindow);
        if judged == Rst::Exact || believed {
            return self.reset_by(cx, s);
        }
        if !self.act.has_custody() && self.act.reset_to[y].is_none() {
            // The endpoint may judge for itself; the flow goes on until it hears otherwise.
            cx.forward(s);
            return Taken::DONE;
        }
        cx.sh.stats.unacceptable += 1;
        if judged == Rst::Challenge && self.act.rx[x].challenge(cx.now) {
            cx.sh.stats.challenges += 1;
            self.ack_to(cx, x, None);
        }
        Taken::DONE
    }

    /// X is gone: nothing more goes there. What it sent before is delivered to Y first, then Y is reset too.
    fn reset_by<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) -> Taken {
        let (x, y) = (s.side as usize, s.side.other() as usize);
        let Cx { io, sh, now } = cx;
        self.act.tx[y].clear(&mut sh.pool, |frame| io.release(frame));
        self.act.rx[y].clear(&mut sh.ooo, |frame| io.release(frame));
        self.act.rx[x].clear(&mut sh.ooo, |frame| io.release(frame));
        if self.act.tx[x].is_idle() {
            if s.seq == self.rec.wire(x, self.act.tx[x].una()) {
                cx.forward(s);
            } else {
                self.reset_to(cx, y);
            }
            return Taken::fate(Fate::PeerReset);
        }
        let until = now.after_ns(DELIVER_NS);
        self.act.reset_to[y].get_or_insert(until);
        if y == 0 {
            self.report_flight(cx);
        }
        Taken::DONE
    }

    /// The reset owed to a side, once all that it is to receive is delivered, or time is up.
    pub(crate) fn owed_resets<I: Io>(&mut self, cx: &mut Cx<'_, I>) -> Fate {
        for t in 0..2 {
            let Some(until) = self.act.reset_to[t] else { continue };
            if self.act.tx[1 - t].is_idle() || until <= cx.now {
                self.reset_to(cx, t);
                return Fate::PeerReset;
            }
        }
        Fate::Live
    }

    /// A SYN within the flow: a repetition from the handshake passes, and one after both ends have closed begins a new
    /// connection. Any other is answered with a challenge ACK (RFC 5961 section 4): an endpoint that has forgotten the
    /// connection resets it at the exact number then, and its next SYN passes. Only one with an acceptable sequence
    /// number is believed at once, if the flow owes nothing to anybody.
    pub(crate) fn on_syn<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: &Segment) -> Taken {
        let x = s.side as usize;
        if s.seq == self.rec.isn[x] {
            cx.forward(s);
            return Taken::DONE;
        }
        if self.closed() {
            return Taken { again: true, ..Taken::fate(Fate::Closed) };
        }
        let near = self.act.rx[x].rcv_nxt();
        let acceptable = unwrap(self.rec.isn[x], s.seq, near).is_some_and(|seq| self.act.rx[x].judge_rst(seq) != Rst::Drop);
        if acceptable && !self.act.has_custody() && self.act.reset_to == [None; 2] {
            return Taken { again: true, ..Taken::fate(Fate::HandedBack(StopReason::SynInFlow)) };
        }
        cx.sh.stats.unacceptable += 1;
        if self.act.rx[x].challenge(cx.now) {
            cx.sh.stats.challenges += 1;
            self.ack_to(cx, x, None);
        }
        Taken::DONE
    }

    /// Custody can't be delivered: both ends hear it at once. Silence is never an outcome.
    pub(crate) fn reset_both<I: Io>(&mut self, cx: &mut Cx<'_, I>, why: StopReason) -> Fate {
        if !breaks(Broken::SilentGiveUp) {
            self.reset_to(cx, 0);
            self.reset_to(cx, 1);
        }
        Fate::Reset(why)
    }
}
