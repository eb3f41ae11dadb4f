//! The custody book: what remains in the path when the engine is gone reads there which flows must be reset.
//!
//! Written before the packet that creates custody, at the end of custody, and once per window or 100 ms between. The
//! copper wire resets whoever sends something with the numbers of that very segment; for the other end it has those of
//! the book, which are a little old by then.

use super::record::{flag, NONE};
use super::{Cx, Flow};
use crate::api::{CustodyMark, Io};
use crate::broken::{breaks, Broken};
use crate::seq::Off;

/// How old the numbers in the book may grow, ns.
const REFRESH_NS: u64 = 100_000_000;

impl Flow<'_> {
    /// Reserves a place in the book before custody can begin; without one nothing is acknowledged early.
    pub(crate) fn claim<I: Io>(&mut self, cx: &mut Cx<'_, I>, s: usize) {
        if self.rec.entry == NONE && self.act.rx[s].rcv_nxt() > self.act.tx[s].una() {
            match cx.io.custody_claim(&self.rec.key) {
                Some(entry) => self.rec.entry = entry,
                None => self.act.no_book = true,
            }
        }
    }

    /// Brings the book and the gauges up to date with the custody that there is now, or is about to be.
    pub(crate) fn mark<I: Io>(&mut self, cx: &mut Cx<'_, I>) {
        let custody = self.act.custody_of(0) + self.act.custody_of(1);
        let marked = self.rec.has(flag::MARKED);
        if custody == 0 && self.act.custody == 0 && !marked {
            return;
        }
        let stats = &mut cx.sh.stats;
        stats.custody_bytes = stats.custody_bytes + custody - self.act.custody;
        if self.act.custody == 0 && custody > 0 {
            self.act.progress = [cx.now; 2];
        }
        self.act.custody = custody;
        // A receiver that has got beyond the book's number for its reset would ignore it.
        let beyond = |s: usize| self.act.tx[s].nxt() > self.act.marked_to[s];
        let stale = custody > 0 && (cx.now.since(self.act.marked_at) >= REFRESH_NS || beyond(0) || beyond(1));
        if (custody > 0) == marked && !stale {
            return;
        }
        if self.rec.entry != NONE && !breaks(Broken::BookNotWritten) {
            let mark = self.custody_mark(cx, custody > 0);
            cx.io.custody_write(self.rec.entry, &mark);
        }
        self.act.marked_at = cx.now;
        self.act.marked_to = [0, 1].map(|s| self.reset_at(s));
        self.rec.flags = if custody > 0 { self.rec.flags | flag::MARKED } else { self.rec.flags & !flag::MARKED };
    }

    fn custody_mark<I: Io>(&self, cx: &Cx<'_, I>, custody: bool) -> CustodyMark {
        let (rec, act) = (&*self.rec, &*self.act);
        CustodyMark {
            custody,
            rcv_nxt: [0, 1].map(|side: usize| rec.wire(1 - side, self.reset_at(1 - side))),
            snd_nxt: [0, 1].map(|side: usize| rec.wire(side, act.rx[side].rcv_nxt())),
            macs: [0, 1].map(|side: usize| cx.sh.paths.get(rec.path[side]).macs()),
            tpid: cx.sh.paths.get(rec.path[0]).tpids(),
            port: rec.port,
        }
    }

    /// Where the receiver of stream `s` is to be reset. What is in flight still arrives and moves its RCV.NXT, and a
    /// reset below that is ignored (RFC 5961 section 3.2). So it gets the end of its window: not exact, it is answered
    /// with a challenge ACK, and that with the exact number.
    fn reset_at(&self, s: usize) -> Off {
        let tx = &self.act.tx[s];
        match self.act.custody_of(s) {
            0 => tx.nxt(),
            _ => tx.nxt().max(tx.right().saturating_sub(1)),
        }
    }
}
