//! What the acknowledgements of a subscriber say of its link: rate, least round trip, and who is waiting where.

use super::oneway::Split;
use super::rate::History;
use crate::api::Now;

const MS: u64 = 1_000_000;
/// A delivery this much more than a round trip after the one before came out of a frozen radio, ns.
const SILENCE_NS: u64 = 60 * MS;
const SILENCE_MOST_NS: u64 = 400 * MS;
/// What counts of such a silence.
const SILENCE_COUNTED_NS: u64 = 20 * MS;
/// A silence longer than a round trip and this is an outage; so much of one counts, and for so long it is remembered, ns.
const OUTAGE_NS: u64 = 200 * MS;
const OUTAGE_MOST_NS: u64 = 2_000 * MS;
const OUTAGE_MEMORY_NS: u64 = 30_000 * MS;
/// A rate is believed after a silence of so long, ns; after a longer one less, as much as that is longer.
const BELIEVED_NS: u64 = 1_000 * MS;
/// Rates over periods of this length tell how much the link swings, ns.
const PERIOD_NS: u64 = 100 * MS;
/// From this much delivery on a rate is known anew, ns.
const FRESH_NS: u64 = 30 * MS;
/// So many round trips in a row above the least by more than jitter explains: every packet finds a queue.
const BUSY_SAMPLES: u32 = 4;
const BUSY_NS: u64 = 10 * MS;
/// The longest delay of the way back is remembered between this and twice this, ns.
const UP_WINDOW_NS: u64 = 1_000 * MS;
/// Two ways told apart within this are known apart, ns.
const KNOWN_NS: u64 = 2_000 * MS;
/// How far the way back may vary without being held for something that the budget has to cover, ns.
const UP_COVERED_NS: u64 = 5 * MS;

/// The measurements of one subscriber.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Meter {
    /// Least round trip without what waited on the way back, ns; `u64::MAX` before the first sample.
    least: u64,
    /// Latest round trip likewise, ns.
    pub rtt: u64,
    /// Latest round trip as it was, ns.
    pub whole_rtt: u64,
    /// When the newest bytes reached the phone: by our clock, less the least way back where the phone's clock is known.
    pub at: Now,
    /// When something was in flight again after nothing was.
    began: Now,
    /// What was in flight in a silence may come in one burst: while so many bytes of it are to come, and for a little
    /// longer, the rate is not above what it was.
    hidden: u64,
    hidden_until: Now,
    cap: u64,
    cap_until: Now,
    /// How much the rate changes from one period to the next, 1/256 of the higher, smoothed; the last period's.
    swing: u64,
    /// Time lost in outages, fading away, ns; the last outage counts when another follows.
    outages: u64,
    last_outage: u64,
    last_outage_at: Now,
    period_rate: u64,
    period_began: Now,
    /// Since when every packet has found a queue, and how many in a row did.
    busy_since: Now,
    busy: u32,
    /// Delay of the queue towards the phone, smoothed, ns.
    queue_mean: u64,
    /// Since when the queue has been longer than wanted on average, and longer by far.
    pub long_since: Option<Now>,
    pub far_since: Option<Now>,
    /// When the round trip was last near its least.
    pub near_least: Now,
    /// When the phone's clock last told the two ways apart.
    split_at: Option<Now>,
    /// Delay of the way back above its least, ns: smoothed, and the longest of this window and the one before.
    up_mean: u64,
    up_most: [u64; 2],
    up_began: Now,
    /// Last, as its own array is.
    delivered: History,
}

/// Where the array in it begins.
pub const FRONT: usize = std::mem::offset_of!(Meter, delivered) + super::rate::FRONT;

impl Meter {
    /// Nothing is known yet.
    pub fn new(now: Now) -> Meter {
        Meter {
            delivered: History::new(now),
            least: u64::MAX,
            rtt: 0,
            whole_rtt: 0,
            at: now,
            began: now,
            hidden: 0,
            hidden_until: now,
            cap: 0,
            cap_until: now,
            swing: 0,
            outages: 0,
            last_outage: 0,
            last_outage_at: now,
            period_rate: 0,
            period_began: now,
            busy_since: now,
            busy: 0,
            queue_mean: 0,
            long_since: None,
            far_since: None,
            near_least: now,
            split_at: None,
            up_mean: 0,
            up_most: [0; 2],
            up_began: now,
        }
    }

    /// Least round trip, ns; 0 before the first sample.
    pub fn least(&self) -> u64 {
        if self.least == u64::MAX {
            0
        } else {
            self.least
        }
    }

    /// The least round trip is this, whatever was seen before.
    pub fn set_least(&mut self, now: Now, ns: u64) {
        self.least = ns;
        self.near_least = now;
        self.long_since = None;
        self.far_since = None;
    }

    /// The queue is long for a reason, and the least round trip as good as known.
    pub fn forget_doubt(&mut self, now: Now) {
        self.near_least = now;
        self.long_since = None;
        self.far_since = None;
    }

    /// Estimate of the delay of the queue towards the phone, ns.
    pub fn queue(&self) -> u64 {
        self.rtt.saturating_sub(self.least())
    }

    /// Delay of the way back that the budget has to cover beside the least round trip, ns.
    pub fn up(&self) -> u64 {
        let most = self.up_most[0].max(self.up_most[1]);
        self.up_mean.max(most.min(UP_COVERED_NS))
    }

    /// The phone's clock tells what waits on the way back.
    pub fn knows_way_back(&self) -> bool {
        self.split_at.is_some_and(|t| self.at.since(t) < KNOWN_NS)
    }

    /// Every packet finds a queue: the link is the limit, and its rate what is delivered.
    pub fn is_busy(&self) -> bool {
        self.busy >= BUSY_SAMPLES
    }

    /// Round trips in a row with a queue.
    pub fn busy_samples(&self) -> u32 {
        self.busy
    }

    /// For how long it has been busy, ns.
    pub fn busy_for(&self) -> u64 {
        self.at.since(self.busy_since)
    }

    /// Nothing was in flight until now.
    pub fn begin(&mut self, now: Now) {
        self.began = now;
    }

    /// Bytes per second over the last `window` ns of delivery.
    pub fn rate(&self, window: u64) -> u64 {
        let rate = self.delivered.rate(self.at, window);
        if self.hidden > 0 || self.at < self.cap_until {
            rate.min(self.cap)
        } else {
            rate
        }
    }

    /// Bytes reached the phone. `state`: bytes in flight before, and the rate that the link was held to carry; `target`:
    /// the queue aimed at, ns.
    pub fn delivered(&mut self, now: Now, bytes: u32, rtt: Option<u64>, split: Option<Split>, state: (u64, u64), target: u64) {
        let up = split.map_or(0, |s| s.up_ns);
        if split.is_some() {
            self.way_back(now, up);
            self.split_at = Some(self.at);
        }
        let at = Now(now.0 - up).max(self.at);
        let gap = at.since(self.at.max(self.began));
        if gap > SILENCE_NS + self.whole_rtt.min(SILENCE_MOST_NS) {
            // A radio that slept says nothing about its rate, nor about its queue.
            self.outage(gap.saturating_sub(OUTAGE_NS + self.whole_rtt.min(SILENCE_MOST_NS)));
            self.forget_doubt(now);
            self.delivered.skip(gap - SILENCE_COUNTED_NS);
            self.busy_since = self.busy_since.after_ns(gap - SILENCE_COUNTED_NS);
            let (in_flight, rate) = state;
            self.hidden = in_flight;
            self.cap = (u128::from(rate) * u128::from(BELIEVED_NS) / u128::from(gap.max(BELIEVED_NS))) as u64;
            self.hidden_until = now.after_ns(self.whole_rtt);
        }
        self.at = at;
        self.delivered.add(at, bytes);
        self.period();
        if self.hidden > 0 {
            self.hidden = if now < self.hidden_until { self.hidden.saturating_sub(u64::from(bytes)) } else { 0 };
            if self.hidden == 0 {
                self.delivered.restart(at);
                self.cap_until = at.after_ns(FRESH_NS);
            }
        }
        if let Some(rtt) = rtt {
            self.whole_rtt = rtt;
            self.round_trip(now, rtt.saturating_sub(up), target);
        }
    }

    /// Time lost in outages within the last half minute, ns. One alone does not count: that was an accident.
    pub fn outages(&self) -> u64 {
        self.outages
    }

    fn outage(&mut self, ns: u64) {
        if ns > 0 {
            let repeated = self.at.since(self.last_outage_at) < OUTAGE_MEMORY_NS;
            self.outages += if repeated { self.last_outage } else { 0 };
            self.last_outage = ns.min(OUTAGE_MOST_NS);
            self.last_outage_at = self.at.after_ns(ns);
        }
    }

    /// How much the rate swings within a tenth of a second, 1/256.
    pub fn swing(&self) -> u64 {
        self.swing
    }

    fn period(&mut self) {
        let (period, at) = (PERIOD_NS, self.at);
        if at.since(self.period_began) < period {
            return;
        }
        let took = at.since(self.period_began);
        let whole = took < 2 * period;
        self.outages -= self.outages / 1_000 * (took / MS).min(1_000) / (OUTAGE_MEMORY_NS / MS) * 1_000;
        self.period_began = at;
        let before = std::mem::replace(&mut self.period_rate, self.delivered.rate(at, period));
        let high = before.max(self.period_rate);
        if whole && high > 0 {
            let change = before.abs_diff(self.period_rate) * 256 / high;
            self.swing = self.swing - self.swing / 16 + change / 16;
        }
    }

    fn round_trip(&mut self, now: Now, rtt: u64, target: u64) {
        self.rtt = rtt;
        self.least = self.least.min(rtt);
        let queue = self.queue();
        if queue < BUSY_NS + self.least / 32 {
            // Near enough: what jitters by so much has no queue that a dip could show.
            self.near_least = now;
            self.busy = 0;
        } else {
            if self.busy == 0 {
                self.busy_since = self.at;
            }
            self.busy += 1;
        }
        self.queue_mean = self.queue_mean - self.queue_mean / 8 + queue / 8;
        mark(&mut self.long_since, now, self.queue_mean > target + 4 * MS);
        mark(&mut self.far_since, now, queue > 2 * target);
    }

    fn way_back(&mut self, now: Now, up: u64) {
        if now.since(self.up_began) > UP_WINDOW_NS {
            self.up_most = [0, self.up_most[0]];
            self.up_began = now;
        }
        self.up_most[0] = self.up_most[0].max(up);
        self.up_mean = self.up_mean - self.up_mean / 8 + up / 8;
    }
}

/// Notes since when something is so.
pub(super) fn mark(since: &mut Option<Now>, now: Now, so: bool) {
    *since = if so { since.or(Some(now)) } else { None };
}
