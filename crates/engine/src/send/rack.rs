//! Loss detection by time: RACK, RFC 8985 section 6.

use super::queue::{Node, NONE, RETX};
use super::{SegPool, Sender};
use crate::api::Now;
use crate::seq::Off;

/// RFC 8985 section 6.2 step 4: the widened window is kept for this many recoveries without DSACK.
const PERSIST: u8 = 16;
/// SACKed segments that make waiting for reordering needless where none was ever seen.
const DUP_THRESH: u32 = 3;
/// How long a hole waits while only markedly smaller segments have overtaken it, ns: small packets were seen more than
/// 50 ms ahead of large ones in equipment of one radio vendor. The rest is for queues that change meanwhile.
const SMALL_OVERTAKES_NS: u64 = 80_000_000;
/// Nothing waits longer than this for reordering, however much was learned, ns.
const LEARNED_LIMIT_NS: u64 = 300_000_000;
/// Segments sent in one instant are told apart by 1 ns each: so much a round trip may seem too short, ns.
pub(super) const BURST_NS: u64 = 10_000;
/// Segments still waiting that one pass looks at.
const LOOK: u32 = 32;

/// The latest transmission known to have arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Latest {
    xmit: Now,
    end: Off,
    rtt: u64,
}

impl Latest {
    /// RFC 8985 section 6.2 step 2: sent later, ties by sequence.
    fn advance(&mut self, xmit: Now, end: Off, rtt: u64) {
        if (xmit, end) >= (self.xmit, self.end) {
            *self = Latest { xmit, end, rtt };
        }
    }
    fn is_after(&self, node: &Node) -> bool {
        (self.xmit, self.end) > (node.xmit, node.end())
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Rack {
    any: Latest,
    /// The same over segments larger than half of an MSS only.
    large: Latest,
    /// Highest byte known delivered.
    fack: Off,
    /// The same before the ACK at hand.
    fack_before: Off,
    pub reordering_seen: bool,
    mult: u8,
    persist: u8,
    /// DSACKs count once per round: next when una passes this.
    dsack_until: Off,
    /// Extent of reordering seen, ns.
    pub learned: u64,
    /// How long what was last found lost had been waited for, ns.
    waited: u64,
    /// How late it was if the acknowledgement that came soon after it was sent again was not for that, ns; 0: it was not.
    late: u64,
    pub deadline: Option<Now>,
}

impl Rack {
    /// Reordering of this extent is known on this path, ns.
    pub fn learn(&mut self, ns: u64) {
        self.learned = self.learned.max(ns.min(LEARNED_LIMIT_NS));
        self.reordering_seen |= ns > 0;
    }

    /// An ACK begins.
    pub fn begin_ack(&mut self) {
        self.fack_before = self.fack;
    }

    /// A segment arrived at Y for the first time.
    pub fn delivered(&mut self, now: Now, n: &Node, min_rtt: u64, mss: u32) {
        let rtt = now.since(n.xmit);
        // An ACK sooner than the least round trip is for the earlier transmission (RFC 8985 section 6.2 step 2). The
        // test by echoed timestamps is not made: timestamps sent here are ratcheted, not our own clock.
        let ambiguous = n.is(RETX) && rtt + BURST_NS < min_rtt;
        if n.end() <= self.fack_before && !n.is(RETX) {
            // Sent once, and something sent after it was known delivered before this ACK: section 6.2 step 3.
            self.reordering_seen = true;
            let extent = rtt.saturating_sub(self.any.rtt);
            self.learned = self.learned.max(extent).min(LEARNED_LIMIT_NS);
        }
        if ambiguous && n.end() <= self.fack_before {
            // It was late and not lost, or this is a shorter round trip than was known: a DSACK will tell.
            self.late = self.waited + rtt;
        }
        if n.end() > self.fack {
            self.fack = n.end();
        }
        if ambiguous {
            return;
        }
        self.any.advance(n.xmit, n.end(), rtt);
        if n.seq_len() * 2 > mss {
            self.large.advance(n.xmit, n.end(), rtt);
        }
    }

    /// A DSACK arrived: wait longer from now on, by a quarter of min_rtt per round (section 6.2 step 4), and as long as
    /// would have been enough; where nobody knows that, twice as long as was not, up to a round trip.
    pub fn dsack(&mut self, una: Off, nxt: Off, srtt: u64) {
        self.reordering_seen = true;
        self.persist = PERSIST;
        if una >= self.dsack_until {
            self.mult = self.mult.saturating_add(1);
            self.dsack_until = nxt;
            let enough = if self.late > 0 { self.late } else { (2 * self.waited).min(srtt) };
            self.learned = self.learned.max(enough.min(LEARNED_LIMIT_NS));
            self.late = 0;
        }
    }

    /// A recovery ended.
    pub fn recovered(&mut self) {
        self.persist = self.persist.saturating_sub(1);
        if self.persist == 0 {
            self.mult = 0;
        }
    }

    /// Reordering window, ns.
    fn window(&self, recovering: bool, sacked_segs: u32, min_rtt: u64, srtt: u64) -> u64 {
        if !self.reordering_seen && (recovering || sacked_segs >= DUP_THRESH) {
            return 0;
        }
        let adaptive = (u64::from(self.mult) + 1) * min_rtt / 4;
        // A quarter more than was seen: queues between make it vary.
        adaptive.min(srtt).max(self.learned + self.learned / 4)
    }
}

impl Sender {
    /// Moves to the lost list what RACK condemns, and sets its timer for what it may condemn next. Costs what is newly
    /// lost plus at most [`LOOK`].
    pub(super) fn rack_detect(&mut self, pool: &mut SegPool, now: Now) {
        self.rack.deadline = None;
        if self.q.flight_head == NONE || self.rack.any.end == 0 {
            return;
        }
        let srtt = self.rtt.smoothed();
        let wait = self.rack.window(self.recovering, self.q.sacked_segs, self.rtt.min(), srtt);
        let small_wait = SMALL_OVERTAKES_NS.min((2 * srtt).max(self.rack.learned));
        let mut id = self.q.flight_head;
        let mut looked = 0;
        while id != NONE && looked < LOOK {
            let n = pool.at(id);
            if !self.rack.any.is_after(n) {
                break;
            }
            let next = n.xnext;
            let overtaken_by_small = n.seq_len() * 2 > u32::from(self.params.mss) && !self.rack.large.is_after(n);
            let wait = if overtaken_by_small { wait.max(small_wait) } else { wait };
            let due = n.xmit.after_ns(self.rack.any.rtt + wait);
            if due <= now {
                self.rack.waited = wait;
                self.mark_lost(pool, now, id);
            } else {
                if self.rack.deadline.is_none_or(|d| due < d) {
                    self.rack.deadline = Some(due);
                }
                if !overtaken_by_small {
                    break;
                }
                looked += 1;
            }
            id = next;
        }
    }
}
