//! Recovery where SACK was not negotiated: NewReno (RFC 6582) with limited transmit (RFC 3042).
//!
//! Each duplicate ACK stands for one segment that has left the path, so it makes room in the window: that alone is
//! limited transmit before the third, and the inflation of the window after it.

use super::queue::{LOST, NONE, RETX};
use super::rack::BURST_NS;
use super::{SegPool, Sender};
use crate::api::Now;

const DUP_THRESH: u32 = 3;

#[derive(Clone, Debug, Default)]
pub(super) struct NewReno {
    /// Duplicate ACKs that stand for segments beyond una.
    pub dups: u32,
    /// When something was last sent again. What was sent before may have waited at the receiver for that: the ACK that
    /// comes for it measures no round trip, nor do the ACKs after it (Karn's rule, for all that one hole held up).
    pub again: Now,
}

impl Sender {
    /// Bytes that duplicate ACKs show to have left the path.
    pub(super) fn reno_out(&self) -> u32 {
        if self.params.sack {
            0
        } else {
            self.reno.dups.saturating_mul(u32::from(self.params.mss)).min(self.q.flight)
        }
    }

    /// A duplicate ACK (RFC 5681 section 2) that is not the answer to a probe. Returns the bytes that it stands for.
    pub(super) fn reno_dup(&mut self, pool: &mut SegPool, now: Now) -> u32 {
        if self.q.head == NONE || self.nxt == self.una {
            return 0;
        }
        let before = self.reno_out();
        self.reno.dups += 1;
        // Section 3.2 step 2 of RFC 6582: not twice for one window, unless una has passed the last recovery.
        if self.reno.dups >= DUP_THRESH && !self.recovering {
            self.reno_lose_head(pool, now);
        }
        self.reno_out().saturating_sub(before)
    }

    /// una advanced by `segs` segments, the last of which had been sent again at `last_retx`, if it was.
    pub(super) fn reno_advance(&mut self, pool: &mut SegPool, now: Now, segs: u32, last_retx: Option<Now>) {
        let nothing_beyond = self.reno.dups == 0;
        if self.recovering && self.una < self.loss.recover {
            // Partial ACK, RFC 6582 section 3.2 step 3: the next hole begins at una.
            self.reno.dups = self.reno.dups.saturating_sub(segs.saturating_sub(1));
            self.reno_lose_head(pool, now);
        } else {
            self.reno.dups = 0;
        }
        // A retransmission arrived, nothing after it had, and no duplicate ACK ever spoke of more: all that was sent
        // before it is gone. Without this an outage would be repaired at one hole per round trip.
        let Some(arrived) = last_retx.filter(|at| now.since(*at) + BURST_NS >= self.rtt.min()) else { return };
        while nothing_beyond && self.q.flight_head != NONE {
            let oldest = self.q.flight_head;
            if pool.at(oldest).xmit >= arrived {
                break;
            }
            self.mark_lost(pool, now, oldest);
        }
    }

    pub(super) fn reno_lose_head(&mut self, pool: &mut SegPool, now: Now) {
        let head = self.q.head;
        if head != NONE {
            self.reno_lose(pool, now, head);
        }
    }

    fn reno_lose(&mut self, pool: &mut SegPool, now: Now, id: u32) {
        let n = pool.at(id);
        // Sent again less than a round trip ago: its answer cannot be here yet.
        let fresh = n.is(RETX) && now.since(n.xmit) < self.rtt.min();
        if !n.is(LOST) && n.xmit <= now && !fresh && n.start < self.nxt {
            self.mark_lost(pool, now, id);
        }
    }
}
