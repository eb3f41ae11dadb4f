//! IP fragments of TCP: what they carry can't be followed, so they pass as they came, and a flow that uses them is handed
//! back. Anybody who guesses addresses and ports can send one; so the first fragment, which has the TCP header, must
//! show that its sender knows the connection (in the spirit of RFC 5961 section 5.2). Others name no connection at all.

use super::parsed::Parsed;
use super::{Cx, Flow};
use crate::api::Io;
use crate::reason::StopReason;
use crate::seq::unwrap;

impl Flow<'_> {
    /// A fragment that names this flow. The caller forwards it in any case.
    pub(crate) fn fragment<I: Io>(&mut self, cx: &mut Cx<'_, I>, parsed: &Parsed, numbers: Option<(u32, u32)>) {
        if numbers.is_some_and(|(seq, ack)| self.knows(parsed.rx.port.side() as usize, seq, ack)) {
            self.begin_drain(cx, StopReason::Fragment, None);
        } else {
            cx.sh.stats.unacceptable += 1;
        }
    }

    /// True if side `x` could have sent these numbers: the sequence number in the window, the acknowledgement of
    /// something that is there to be acknowledged, or was within the last window (RFC 5961 section 5.2).
    fn knows(&self, x: usize, seq: u32, ack: u32) -> bool {
        let (rx, tx) = (&self.act.rx[x], &self.act.tx[1 - x]);
        let seq = unwrap(self.rec.isn[x], seq, rx.rcv_nxt());
        let ack = unwrap(self.rec.isn[1 - x], ack, tx.una());
        let window = tx.right().saturating_sub(tx.una());
        seq.is_some_and(|seq| rx.in_window(seq))
            && ack.is_some_and(|ack| (tx.una().saturating_sub(window)..=tx.nxt()).contains(&ack))
    }
}
