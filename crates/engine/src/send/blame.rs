//! Whether a loss means congestion.
//!
//! Radio links lose segments for reasons of their own. A loss is believed where the caller says that the subscriber's
//! queue is full, or where losses exceed 5 % over two rounds. The second also meets *policers*, which drop what exceeds
//! a rate and never queue: their mark is that losses come back at the same delivery rate whenever the window has grown,
//! and are absent below it. Two heavy losses at rates within an eighth of each other, without a longer round trip, name
//! the rate; the window then stays just below it and tries for more at growing intervals, and while it tries a much
//! smaller share of losses is believed.

use crate::api::Now;

/// Segments that a period must have seen at least before it can end; shorter rounds are taken together, so that single
/// losses in a small window are not mistaken for a share.
const PERIOD_SEGMENTS: u32 = 20;
/// Losses (segments) below which no share is computed.
const LEAST_LOSSES: u32 = 6;
/// Standard deviations above the share that is believed.
const DEVIATIONS: u64 = 3;
/// Rounds that a rate cap is held at first, and at most.
const HOLD_FIRST: u32 = 48;
const HOLD_MOST: u32 = 768;
/// A rate found is used by this much less, in 1/32: a token bucket refills with the rest.
const MARGIN_32: u64 = 1;

#[derive(Clone, Copy, Debug, Default)]
struct Period {
    began: Now,
    delivered: u64,
    lost: u64,
    lost_segs: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Blame {
    now: Period,
    before: Period,
    /// Rate at the last heavy loss without a queue, bytes per second.
    suspect: u64,
    /// Rate of a policer, bytes per second; 0: none known.
    policer: u64,
    /// The window is held at the policer's rate.
    capped: bool,
    /// Rounds left until more is tried, and how many next time.
    hold: u32,
    next_hold: u32,
}

impl Blame {
    /// Bytes arrived at Y.
    pub fn delivered(&mut self, bytes: u32) {
        self.now.delivered += u64::from(bytes);
    }

    /// A segment was lost, not in a first flight and not during an outage.
    pub fn lost(&mut self, bytes: u32) {
        self.now.lost += u64::from(bytes);
        self.now.lost_segs += 1;
    }

    /// A loss was none.
    pub fn spurious(&mut self, bytes: u32) {
        self.now.lost = self.now.lost.saturating_sub(u64::from(bytes));
        self.now.lost_segs = self.now.lost_segs.saturating_sub(1);
    }

    /// A round ended. Returns true if a rate cap is to be tried beyond from now on.
    pub fn round(&mut self, now: Now, mss: u32) -> bool {
        if self.now.delivered + self.now.lost >= u64::from(PERIOD_SEGMENTS * mss) {
            self.before = self.now;
            self.now = Period { began: now, ..Period::default() };
        }
        if self.capped && self.hold > 0 {
            self.hold -= 1;
            if self.hold == 0 {
                self.capped = false;
                return true;
            }
        }
        false
    }

    /// Losses over the last two periods exceed the share that is believed: 5 %, or 2 % where a policer is known. More than
    /// chance makes of that share: by three standard deviations of a Poisson distribution.
    pub fn heavy(&self) -> bool {
        let lost = self.now.lost + self.before.lost;
        let segs = u64::from(self.now.lost_segs + self.before.lost_segs);
        if segs == 0 {
            return false;
        }
        // In segments of the mean size of those lost.
        let all = (lost + self.now.delivered + self.before.delivered) * segs / lost.max(1);
        let (per_cent, least) = if self.policer > 0 { (2, LEAST_LOSSES / 2) } else { (5, LEAST_LOSSES) };
        let above = (100 * segs).saturating_sub(per_cent * all);
        segs >= u64::from(least) && above * above > DEVIATIONS * DEVIATIONS * 100 * per_cent * all
    }

    /// The window is cut for heavy losses. `queued`: the round trip had grown, so something did queue. `rate`: highest
    /// delivery rate of the last rounds. Returns the rate to come down to, bytes per second.
    pub fn cut(&mut self, now: Now, rate: u64, queued: bool) -> u64 {
        let mean = self.mean_rate(now).unwrap_or(rate).min(rate);
        let near = |a: u64| a > 0 && mean.abs_diff(a) <= a / 8;
        if !queued && (near(self.suspect) || near(self.policer)) {
            self.policer = if near(self.policer) { (self.policer + mean) / 2 } else { (self.suspect + mean) / 2 };
            self.capped = true;
            self.next_hold = if self.next_hold == 0 { HOLD_FIRST } else { (self.next_hold * 2).min(HOLD_MOST) };
            self.hold = self.next_hold;
        } else {
            self.forget();
        }
        self.suspect = if queued { 0 } else { mean };
        self.before = Period::default();
        self.now = Period { began: now, ..Period::default() };
        mean
    }

    /// Nothing was wrong with the rate after all.
    fn forget(&mut self) {
        self.policer = 0;
        self.capped = false;
        self.next_hold = 0;
    }

    fn mean_rate(&self, now: Now) -> Option<u64> {
        let began = if self.before.delivered > 0 { self.before.began } else { self.now.began };
        let ns = now.since(began);
        let bytes = self.now.delivered + self.before.delivered;
        (ns > 0).then(|| (u128::from(bytes) * 1_000_000_000 / u128::from(ns)) as u64)
    }

    /// Delivery at `rate` without heavy loss: a policer known below that is gone.
    pub fn saw(&mut self, rate: u64) {
        if self.policer > 0 && !self.capped && rate > self.policer + self.policer / 2 && !self.heavy() {
            self.suspect = 0;
            self.forget();
        }
    }

    /// Ceiling of the rate, bytes per second.
    pub fn cap(&self) -> Option<u64> {
        self.capped.then_some(self.policer - self.policer * MARGIN_32 / 32)
    }
}
