//! How much of a subscriber's traffic passes beside the engine: UDP, flows that are not optimized.

use crate::api::Now;

/// Counted in periods at least this long, ns: what is told comes in lumps.
const PERIOD_NS: u64 = 200_000_000;
/// Not told anything for so long: nothing passes.
const STALE_NS: u64 = 5 * PERIOD_NS;

/// Rate of the traffic that passes beside the engine towards one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Foreign {
    bytes: u64,
    began: Now,
    rate: u64,
    told: Option<Now>,
}

impl Foreign {
    /// Nothing is known.
    pub fn new(now: Now) -> Foreign {
        Foreign { bytes: 0, began: now, rate: 0, told: None }
    }

    /// So many bytes passed since the last call.
    pub fn add(&mut self, now: Now, bytes: u64) {
        if self.told.is_none_or(|t| now.since(t) > STALE_NS) {
            // The first lump has no beginning.
            *self = Foreign { told: Some(now), ..Foreign::new(now) };
            return;
        }
        self.told = Some(now);
        self.bytes += bytes;
        let took = now.since(self.began);
        if took >= PERIOD_NS {
            let rate = (u128::from(self.bytes) * 1_000_000_000 / u128::from(took)) as u64;
            // A rise counts at once, a fall over some periods: a sender that recovers from a loss is not gone.
            self.rate = if rate > self.rate { self.rate / 2 + rate / 2 } else { self.rate / 4 * 3 + rate / 4 };
            (self.bytes, self.began) = (0, now);
        }
    }

    /// Bytes per second, smoothed over periods.
    pub fn rate(&self, now: Now) -> u64 {
        match self.told {
            Some(told) if now.since(told) <= STALE_NS => self.rate,
            _ => 0,
        }
    }

    /// Anything was ever told: if nothing passes now, that is known.
    pub fn is_told(&self) -> bool {
        self.told.is_some()
    }
}
