//! Whether a loss means congestion.
//!
//! Radio links lose segments for reasons of their own. A loss is believed where the caller says that the subscriber's
//! queue is full, or where losses exceed 5 % over two rounds. The second also meets what drops without a long queue:
//!
//! - *Policers* drop what exceeds a rate and never queue: their mark is that losses come back at the same delivery rate
//!   whenever the window has grown, and are absent below it. Between two losses of a token bucket, which was empty at
//!   both, exactly its rate has passed ([`Episode`]). Two heavy losses at rates within an eighth of each other, without a
//!   longer round trip, name the rate; the window then stays just below it and tries for more at growing intervals.
//! - *Short buffers* are full before the round trip says much: their mark is that losses end when the window is cut.
//!
//! Once either has shown itself a smaller share of losses is believed, as long as it shows the same mark. Losses at
//! random follow no window: where a cut changed nothing, the share that is believed is 5 % as before.

use crate::api::Now;

/// Segments that a period must have seen at least before it can end; shorter rounds are taken together, so that single
/// losses in a small window are not mistaken for a share.
const PERIOD_SEGMENTS: u32 = 20;
/// Losses (segments) below which no share is computed.
const LEAST_LOSSES: u32 = 6;
/// Standard deviations above the share that is believed.
const DEVIATIONS: u64 = 3;
/// Segments from which on the time since a cut says whether it helped.
const PROOF_SEGMENTS: u64 = 100;
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

impl Period {
    /// Segments of the mean size of those lost.
    fn segs(&self) -> u64 {
        (self.lost + self.delivered) * u64::from(self.lost_segs) / self.lost.max(1)
    }

    /// Losses exceed this share by more than chance makes of it: by three standard deviations of a Poisson distribution.
    fn exceeds(&self, per_cent: u64, least: u32) -> bool {
        let (segs, all) = (u64::from(self.lost_segs), self.segs());
        let above = (100 * segs).saturating_sub(per_cent * all);
        self.lost_segs >= least && above * above > DEVIATIONS * DEVIATIONS * 100 * per_cent * all
    }
}

/// Losses that follow each other within two round trips. What was full at the first of them and at the last, or empty,
/// let exactly its rate pass between them.
#[derive(Clone, Copy, Debug, Default)]
struct Episode {
    began: Now,
    last: Now,
    /// Delivered in all when it began, and at the last loss.
    from: u64,
    to: u64,
}

impl Episode {
    fn lost(&mut self, now: Now, total: u64, srtt: u64) {
        if self.last.0 == 0 || now.since(self.last) > 2 * srtt {
            *self = Episode { began: now, last: now, from: total, to: total };
        }
        (self.last, self.to) = (now, total);
    }

    /// The rate, bytes per second, where it lasted long enough to be exact.
    fn rate(&self, srtt: u64) -> Option<u64> {
        let ns = self.last.since(self.began);
        let bytes = self.to - self.from;
        (ns >= 3 * srtt.max(1)).then(|| (u128::from(bytes) * 1_000_000_000 / u128::from(ns)) as u64)
    }
}

/// What the path looks like when a loss is judged.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    /// Smoothed round trip, ns.
    pub srtt: u64,
    /// It has grown: something queues.
    pub queued: bool,
    /// Delivery rate, bytes per second: over the last round trip, and the highest of the last two rounds.
    pub latest: u64,
    pub recent: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Blame {
    now: Period,
    before: Period,
    episode: Episode,
    /// Bytes delivered in all.
    total: u64,
    /// Since the last cut for heavy losses, and the losses that led to it, per mille; 0 once it is known whether the cut
    /// ended them.
    since: Period,
    cut_share: u32,
    /// It did, while something queued: a short buffer.
    short: bool,
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
        self.since.delivered += u64::from(bytes);
        self.total += u64::from(bytes);
    }

    /// A segment was lost that was sent since the last cut, not in a first flight and not during an outage.
    pub fn lost(&mut self, bytes: u32) {
        for period in [&mut self.now, &mut self.since] {
            period.lost += u64::from(bytes);
            period.lost_segs += 1;
        }
    }

    /// Any segment was lost.
    pub fn any_lost(&mut self, now: Now, srtt: u64) {
        self.episode.lost(now, self.total, srtt);
    }

    /// A loss was none.
    pub fn spurious(&mut self, bytes: u32) {
        for period in [&mut self.now, &mut self.since] {
            period.lost = period.lost.saturating_sub(u64::from(bytes));
            period.lost_segs = period.lost_segs.saturating_sub(1);
        }
    }

    /// A round ended.
    pub fn round(&mut self, now: Now, mss: u32) {
        if self.now.delivered + self.now.lost >= u64::from(PERIOD_SEGMENTS * mss) {
            self.before = self.now;
            self.now = Period { began: now, ..Period::default() };
        }
        let seen = self.since.delivered + self.since.lost;
        if self.cut_share > 0 && seen >= PROOF_SEGMENTS * u64::from(mss) {
            let share = self.since.lost * 1000 / seen;
            self.short = share * 4 <= u64::from(self.cut_share);
            self.cut_share = 0;
        }
        if self.capped && self.hold > 0 {
            self.hold -= 1;
            self.capped = self.hold > 0;
        }
    }

    /// Losses over the last two periods exceed the share that is believed: 5 %, or 2 % where what drops is known.
    pub fn heavy(&self, queued: bool) -> bool {
        let known = if queued { self.short } else { self.policer > 0 };
        let (per_cent, least) = if known { (2, LEAST_LOSSES / 2) } else { (5, LEAST_LOSSES) };
        self.both().exceeds(per_cent, least)
    }

    fn both(&self) -> Period {
        Period {
            began: if self.before.delivered > 0 { self.before.began } else { self.now.began },
            delivered: self.now.delivered + self.before.delivered,
            lost: self.now.lost + self.before.lost,
            lost_segs: self.now.lost_segs + self.before.lost_segs,
        }
    }

    /// The window is cut for heavy losses. Returns the rate to come down to, bytes per second.
    pub fn cut(&mut self, now: Now, view: View) -> u64 {
        let exact = self.episode.rate(view.srtt);
        let rate = exact.unwrap_or_else(|| self.mean_rate(now).max(view.latest).min(view.recent));
        let near = |a: u64| a > 0 && rate.abs_diff(a) <= a / 8;
        if view.queued {
            self.forget();
        } else if self.policer > 0 || near(self.suspect) {
            self.police(rate, exact.is_some());
        }
        self.suspect = if view.queued { 0 } else { rate };
        let both = self.both();
        self.cut_share = (both.lost * 1000 / (both.lost + both.delivered).max(1)) as u32;
        self.before = Period::default();
        self.now = Period { began: now, ..Period::default() };
        self.since = Period::default();
        rate
    }

    /// Losses without a queue, once more, at this rate.
    fn police(&mut self, rate: u64, exact: bool) {
        self.policer = match self.policer {
            _ if exact => rate,
            0 => (self.suspect + rate) / 2,
            // Below its own rate nothing is dropped: it was found too high.
            known if self.capped => known - known / 16,
            known if rate.abs_diff(known) <= known / 8 => (known + rate) / 2,
            known => known,
        };
        self.capped = true;
        self.next_hold = if self.next_hold == 0 { HOLD_FIRST } else { (self.next_hold * 2).min(HOLD_MOST) };
        self.hold = self.next_hold;
    }

    /// Nothing was wrong with the rate after all.
    fn forget(&mut self) {
        self.policer = 0;
        self.capped = false;
        self.next_hold = 0;
    }

    fn mean_rate(&self, now: Now) -> u64 {
        let both = self.both();
        let ns = now.since(both.began).max(1);
        (u128::from(both.delivered) * 1_000_000_000 / u128::from(ns)) as u64
    }

    /// Delivery at `rate` without heavy loss: a policer known below that is gone.
    pub fn saw(&mut self, rate: u64) {
        if self.policer > 0 && !self.capped && rate > self.policer + self.policer / 2 && !self.heavy(false) {
            self.suspect = 0;
            self.forget();
        }
    }

    /// Ceiling of the rate, bytes per second.
    pub fn cap(&self) -> Option<u64> {
        self.capped.then_some(self.policer - self.policer * MARGIN_32 / 32)
    }
}
