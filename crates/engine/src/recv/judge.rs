//! What a segment is: acceptability (RFC 9293 section 3.10.7.4), PAWS (RFC 7323), RST (RFC 5961).

use super::types::{Part, Refusal, Rst, SegIn, Verdict};
use super::{OooPool, Receiver};
use crate::api::Now;
use crate::broken::{breaks, Broken};
use crate::seq::Off;

/// TS.Recent older than this says nothing (RFC 7323 section 5.5).
const STALE_NS: u64 = 24 * 86_400 * 1_000_000_000;

impl Receiver {
    /// What this segment is. Changes nothing.
    #[inline]
    pub fn judge(&self, pool: &OooPool, now: Now, seg: &SegIn) -> Verdict {
        if self.params.ts {
            match seg.ts {
                None => return Verdict::Drop(Refusal::NoTimestamp),
                Some(ts) if self.too_old(now, ts) => return Verdict::Drop(Refusal::Paws),
                Some(_) => {}
            }
        }
        if !seg.fin && seg.len <= 1 && seg.seq + 1 == self.told_ack {
            return if self.told_right == self.told_ack { Verdict::WindowProbe } else { Verdict::Keepalive };
        }
        if seg.len == 0 && !seg.fin {
            return if self.in_window(seg.seq) { Verdict::Empty } else { Verdict::Drop(Refusal::Window) };
        }
        if seg.end() <= self.rcv_nxt {
            return Verdict::Old { told: seg.end() < self.told_ack };
        }
        if self.fin().is_some() {
            return Verdict::Drop(Refusal::Window);
        }
        if seg.seq >= self.told_right && seg.seq > self.rcv_nxt {
            return Verdict::Drop(Refusal::Window);
        }
        self.judge_new(pool, seg)
    }

    /// A segment with something beyond rcv_nxt.
    fn judge_new(&self, pool: &OooPool, seg: &SegIn) -> Verdict {
        let payload_end = seg.seq + u64::from(seg.len);
        // A FIN takes no room: only payload must end within the window.
        let fits = payload_end.min(self.told_right.max(self.rcv_nxt));
        let start = seg.seq.max(self.rcv_nxt);
        if start >= fits && seg.len > 0 && payload_end > self.rcv_nxt {
            // The window is shut, or all that is new lies beyond it.
            return Verdict::WindowProbe;
        }
        let end = fits + u64::from(seg.fin && fits == payload_end);
        let (from, to) = self.held.first_gap(pool, start, end);
        if from == to {
            return Verdict::Old { told: false };
        }
        let part = Part {
            front: (from - seg.seq) as u32,
            back: payload_end.saturating_sub(to) as u32,
            fin: seg.fin && to == payload_end + 1,
        };
        if from == self.rcv_nxt {
            Verdict::InOrder(part)
        } else {
            Verdict::Ahead(part)
        }
    }

    /// What a RST at `seq` is.
    pub fn judge_rst(&self, seq: Off) -> Rst {
        // X, if it knows nothing of the connection any more, answers a challenge with a RST at the number that it was
        // told: both edges are exact.
        if seq == self.rcv_nxt || seq == self.told_ack {
            Rst::Exact
        } else if self.in_window(seq) {
            Rst::Challenge
        } else {
            Rst::Drop
        }
    }

    /// From what X was told to the right edge; a FIN may lie on the edge.
    pub fn in_window(&self, seq: Off) -> bool {
        (self.told_ack..=self.told_right.max(self.rcv_nxt)).contains(&seq)
    }

    /// Older than TS.Recent, which has not gone stale.
    fn too_old(&self, now: Now, ts: u32) -> bool {
        before(ts, self.ts_recent) && !self.stale(now) && !breaks(Broken::PawsSkipped)
    }

    fn stale(&self, now: Now) -> bool {
        now.since(self.ts_recent_at) > STALE_NS
    }

    /// Takes the timestamp of a segment that passed PAWS and the test of its sequence number.
    #[inline]
    pub(super) fn learn_ts(&mut self, now: Now, seg: &SegIn) {
        let Some(ts) = seg.ts.filter(|_| self.params.ts) else { return };
        let stale = self.stale(now);
        if stale || before(self.ts_out, ts) {
            self.ts_out = ts;
        }
        // Last.ACK.sent is told_ack (RFC 7323 section 4.3).
        if seg.seq <= self.told_ack && (stale || !before(ts, self.ts_recent)) {
            self.ts_recent = ts;
            self.ts_recent_at = now;
        }
    }
}

/// Timestamps compare modulo 2^32 (RFC 7323 section 5.2).
pub(super) fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}
