//! How many bytes may be in flight towards one subscriber.

use super::oneway::Split;
use super::pace::{Pace, Pacer};
use super::rate::History;
use super::Mode;
use crate::api::Now;

const MS: u64 = 1_000_000;
/// Bytes that are always allowed: four segments.
const LEAST: u64 = 4 * 1448;

/// The controller of a subscriber that is receiving.
#[derive(Clone, Debug)]
pub struct Control {
    pub(super) in_flight: u64,
    pub(super) budget: u64,
    pub(super) rate: u64,
    pub(super) rtt_ns: u64,
    pub(super) queue_ns: u64,
    pub(super) mode: Mode,
    delivered: History,
    /// Least round trip, ns; `u64::MAX` before the first sample.
    min_rtt: u64,
    pacer: Pacer,
    pub(super) last: Now,
    /// When something was in flight again after nothing was.
    began: Now,
    /// The rate is not above this until then: after a silence.
    cap: u64,
    cap_until: Now,
    /// Since when every packet has found a queue, and how many in a row did.
    busy_since: Now,
    over: u32,
    /// When the round trip was last near its minimum.
    near_min: Now,
    dip: Dip,
    /// The budget is not below this until then.
    hold: u64,
    hold_until: Now,
    /// Delay of the way back above its least, smoothed, ns.
    up_ns: u64,
    up_avg: u64,
    up_max: [u64; 2],
    up_began: Now,
    /// When the newest bytes reached the phone, by our clock less the least way back.
    at: Now,
}

/// A short underuse of the link that shows the minimum round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dip {
    None,
    /// The queue is to run empty: so many sixteenths of what the link holds; least round trip of the step before.
    Drain { part: u64, before: u64 },
    /// It has; round trips until then tell the minimum.
    Hold { part: u64, before: u64, until: Now, least: u64 },
}

/// Bytes in flight in the deepest dip.
const DIP_LEAST: u64 = 2 * 1448;

/// What the controller is set to.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Queueing delay aimed at, ns.
    pub target_ns: u64,
    /// Bytes that may leave in a millisecond at any rate.
    pub burst_per_ms: u32,
}

fn bytes_in(rate: u64, ns: u64) -> u64 {
    (u128::from(rate) * u128::from(ns) / 1_000_000_000) as u64
}

impl Control {
    /// A controller that knows nothing yet.
    pub fn new(now: Now) -> Control {
        Control {
            in_flight: 0,
            budget: u64::MAX,
            rate: 0,
            rtt_ns: 0,
            queue_ns: 0,
            mode: Mode::Start,
            delivered: History::new(now),
            min_rtt: u64::MAX,
            pacer: Pacer::default(),
            last: now,
            began: now,
            cap: 0,
            cap_until: now,
            busy_since: now,
            over: 0,
            near_min: now,
            dip: Dip::None,
            hold: 0,
            hold_until: now,
            up_ns: 0,
            up_avg: 0,
            up_max: [0; 2],
            up_began: now,
            at: now,
        }
    }

    /// Least round-trip time known, ns; 0 before the first sample.
    pub fn min_rtt_ns(&self) -> u64 {
        if self.min_rtt == u64::MAX { 0 } else { self.min_rtt }
    }

    /// Bytes reached the phone.
    pub fn on_delivered(&mut self, now: Now, set: &Setting, bytes: u32, rtt: Option<u64>, split: Option<Split>) {
        self.last = now;
        let up = split.map_or(0, |s| s.up_ns);
        if split.is_some() {
            if now.since(self.up_began) > 1000 * MS {
                self.up_max = [up, self.up_max[0]];
                self.up_began = now;
            }
            self.up_max[0] = self.up_max[0].max(up);
            self.up_avg = self.up_avg - self.up_avg / 8 + up / 8;
            self.up_ns = self.up_avg.max(self.up_max[0].max(self.up_max[1]).min(20 * MS));
        }
        // When the bytes reached the phone, by our clock less the least way back; without timestamps, now.
        let at = Now(now.0 - up).max(self.at);
        // Counted from the last delivery, or from when there was something to deliver again.
        let gap = at.since(self.at.max(self.began));
        let silence = 100 * MS + self.min_rtt_ns() / 2;
        if gap > silence {
            self.delivered.skip(gap - 20 * MS);
            self.busy_since = self.busy_since.after_ns(gap - 20 * MS);
            // What was delivered in secret comes in one burst: its rate is not the link's.
            self.cap = self.rate;
            self.cap_until = at.after_ns(self.min_rtt_ns() + 2 * set.target_ns);
        }
        self.at = at;
        self.delivered.add(at, bytes);
        let target = set.target_ns;
        if let Some(rtt) = rtt {
            let rtt = rtt - up.min(rtt);
            self.min_rtt = self.min_rtt.min(rtt);
            if let Dip::Hold { least, .. } = &mut self.dip {
                *least = rtt.min(*least);
            }
            self.rtt_ns = rtt;
            let least = self.min_rtt_ns();
            self.queue_ns = rtt - least.min(rtt);
            if self.queue_ns < least / 16 + 4 * MS {
                self.near_min = now;
            }
            if self.queue_ns < 10 * MS + least / 32 {
                self.over = 0;
            } else {
                if self.over == 0 {
                    self.busy_since = at;
                }
                self.over += 1;
            }
        }
        let least = self.min_rtt_ns();
        let busy = self.over >= 4 as u32;
        if self.mode == Mode::Start {
            self.rate = self.delivered.rate(at, least + 8 * MS);
            if busy && self.over >= 8 && self.queue_ns > target / 2 {
                self.mode = Mode::Track;
                let rate = self.delivered.rate(at, at.since(self.busy_since).max(40 * MS));
                self.hold = bytes_in(rate, least + target);
                self.hold_until = now.after_ns(least + target);
            } else {
                return;
            }
        }
        self.track(now, target, busy);
        self.dip(now, target);
    }

    fn track(&mut self, now: Now, target: u64, busy: bool) {
        let least = self.min_rtt_ns();
        let whole = least + target;
        let window = if busy { self.at.since(self.busy_since).clamp(40 * MS, (100 * MS).min(whole)) } else { 100 * MS};
        self.rate = self.delivered.rate(self.at, window);
        if self.at < self.cap_until {
            self.rate = self.rate.min(self.cap);
        }
        let ahead = if busy { target } else { target.max(least * 4 / 4) };
        self.budget = bytes_in(self.rate, least + self.up_ns + ahead).max(LEAST);
        if now < self.hold_until {
            self.budget = self.budget.max(self.hold);
        }
    }

    /// Lets the queue run empty now and then, so that the minimum round trip stays known.
    fn dip(&mut self, now: Now, target: u64) {
        let least = self.min_rtt_ns();
        match self.dip {
            Dip::None if now.since(self.near_min) > 8000 * MS => {
                self.dip = Dip::Drain { part: 14, before: u64::MAX };
                self.hold = self.budget;
            }
            Dip::Drain { part, before } if self.in_flight <= self.part(part) => {
                // What was sent before the queue was empty comes back first.
                self.dip = Dip::Hold { part, before, until: now.after_ns(self.rtt_ns.max(least) + 10 * MS), least: u64::MAX };
            }
            Dip::Hold { part, before, until, least: seen } if now >= until && seen != u64::MAX => {
                let near = seen < least + least / 8 + 4 * MS;
                // It does not fall with what is in flight, so it is not the queue of this subscriber.
                let fixed = before != u64::MAX && seen > before / 8 * 7;
                if near || fixed || self.part(part) == DIP_LEAST {
                    self.dip = Dip::None;
                    self.min_rtt = seen;
                    self.hold_until = now.after_ns(seen + target);
                    self.near_min = now;
                } else {
                    self.dip = Dip::Drain { part: part / 2, before: seen };
                }
            }
            _ => {}
        }
        if let Dip::Drain { part, .. } | Dip::Hold { part, .. } = self.dip {
            self.budget = self.part(part);
        }
    }

    /// So many sixteenths of what the link holds without a queue.
    fn part(&self, part: u64) -> u64 {
        (bytes_in(self.rate, self.min_rtt_ns()) * part / 16).max(DIP_LEAST)
    }

    /// Bytes were found lost.
    pub fn on_lost(&mut self, now: Now, _bytes: u32) {
        self.last = now;
    }

    /// Bytes left.
    pub fn on_sent(&mut self, now: Now, bytes: u32) {
        self.last = now;
        self.pacer.sent(now, bytes);
    }

    /// Bytes that may leave now, or when, or nothing before something is delivered.
    pub fn allowance(&mut self, now: Now, set: &Setting) -> Result<u32, Option<Now>> {
        if self.in_flight == 0 {
            self.began = now;
        }
        let room = self.budget.saturating_sub(self.in_flight);
        if room == 0 {
            return Err(None);
        }
        let wish = match self.mode {
            Mode::Start => (self.rate * 4).max(2_000_000),
            _ => {
                let least = self.min_rtt_ns().max(MS);
                (u128::from(self.budget) * 1_250_000_000 / u128::from(least)) as u64
            }
        };
        let pace = Pace::new(wish, self.rate, set.burst_per_ms);
        let tokens = self.pacer.allowance(now, pace).map_err(Some)?;
        Ok(tokens.min(room.min(1 << 30) as u32))
    }

    /// True where the subscriber's own queue is so long that a loss is likely to be an overflow.
    pub fn link_full(&self, set: &Setting) -> bool {
        self.queue_ns > 2 * set.target_ns
    }
}
