//! How many bytes may be in flight towards one subscriber.

use super::oneway::Split;
use super::pace::{Pace, Pacer};
use super::rate::{History, WindowedMin};
use super::Mode;
use crate::api::Now;

const MS: u64 = 1_000_000;
/// Bytes that are always allowed: an initial window of ten segments (RFC 6928).
const LEAST: u64 = 14_600;

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
    min_rtt: WindowedMin,
    pacer: Pacer,
    pub(super) last: Now,
}

/// What the controller is set to.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Queueing delay aimed at, ns.
    pub target_ns: u64,
    /// Bytes that may leave in a millisecond at any rate.
    pub burst_per_ms: u32,
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
            min_rtt: WindowedMin::new(now, 10_000 * MS),
            pacer: Pacer::default(),
            last: now,
        }
    }

    /// Least round-trip time of the last seconds, ns; 0 before the first sample.
    pub fn min_rtt_ns(&self) -> u64 {
        self.min_rtt.get().unwrap_or(0)
    }

    /// Bytes reached the phone.
    pub fn on_delivered(&mut self, now: Now, set: &Setting, bytes: u32, rtt: Option<u64>, _split: Option<Split>) {
        self.last = now;
        self.delivered.add(now, bytes);
        if let Some(rtt) = rtt {
            self.min_rtt.add(now, rtt);
            self.rtt_ns = rtt;
        }
        self.rate = self.delivered.rate(now, 200 * MS);
        let least = self.min_rtt_ns();
        self.queue_ns = self.rtt_ns.saturating_sub(least);
        let quota = u128::from(self.rate) * u128::from(least + set.target_ns) / 1_000_000_000;
        self.budget = (quota as u64).max(LEAST);
        self.mode = Mode::Track;
    }

    /// Bytes were found lost.
    pub fn on_lost(&mut self, now: Now, _bytes: u32) {
        self.last = now;
    }

    /// Bytes left.
    pub fn on_sent(&mut self, now: Now, bytes: u32) {
        self.last = now;
        self.pacer.sent(bytes);
    }

    /// Bytes that may leave now, or when, or nothing before something is delivered.
    pub fn allowance(&mut self, now: Now, set: &Setting) -> Result<u32, Option<Now>> {
        let room = self.budget.saturating_sub(self.in_flight);
        if room == 0 {
            return Err(None);
        }
        let pace = Pace::new((self.rate * 4).max(2_000_000), self.rate, set.burst_per_ms);
        let tokens = self.pacer.allowance(now, pace).map_err(Some)?;
        Ok(tokens.min(room.min(1 << 30) as u32))
    }

    /// True where the subscriber's own queue is so long that a loss is likely to be an overflow.
    pub fn link_full(&self, set: &Setting) -> bool {
        self.queue_ns > 2 * set.target_ns
    }
}
