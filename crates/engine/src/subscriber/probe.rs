//! Whether anybody competes still, where nobody tells: half of what is in flight is given up for a round trip, now and
//! then. If the queue is all ours, it halves.

use super::dip::OVER;
use super::meter::Meter;
use crate::api::Now;

/// While others compete and nobody tells when they leave, half of the window is given up for a round trip after this, ns;
/// then after twice this and so on.
const FIRST_NS: u64 = 2_000_000_000;
const LAST_NS: u64 = 16_000_000_000;

/// Finds out whether anybody competes still.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// When the next one is due, and how long after it the next.
    at: Now,
    wait: u64,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Wait,
    /// In flight may be so much, which half empties the queue if it is all ours; the round trip before.
    Halve { budget: u64, rtt: u64 },
    /// It is; least round trip since, until then.
    Look { budget: u64, rtt: u64, until: Now, seen: u64 },
}

impl Probe {
    /// Nobody competes yet.
    pub fn new(now: Now) -> Probe {
        Probe { at: now, wait: FIRST_NS, stage: Stage::Wait }
    }

    /// Somebody does from now on.
    pub fn begin(&mut self, now: Now) {
        self.stage = Stage::Wait;
        self.at = now.after_ns(self.wait);
    }

    /// Bytes that may be in flight meanwhile.
    pub fn budget(&self) -> u64 {
        match self.stage {
            Stage::Wait => u64::MAX,
            Stage::Halve { budget, .. } | Stage::Look { budget, .. } => budget,
        }
    }

    /// A round trip was measured, ns.
    pub fn sample(&mut self, rtt: u64) {
        if let Stage::Look { seen, .. } = &mut self.stage {
            *seen = rtt.min(*seen);
        }
    }

    /// Moves on. True when the queue turned out to be all ours.
    pub fn step(&mut self, now: Now, in_flight: u64, meter: &Meter) -> bool {
        match self.stage {
            Stage::Wait if now >= self.at => {
                self.stage = Stage::Halve { budget: in_flight / 2, rtt: meter.rtt };
            }
            Stage::Halve { budget, rtt } if in_flight <= budget + OVER => {
                self.stage = Stage::Look { budget, rtt, until: now.after_ns(meter.whole_rtt), seen: u64::MAX };
            }
            Stage::Look { rtt, until, seen, .. } if now >= until && seen != u64::MAX => {
                self.stage = Stage::Wait;
                self.wait = (self.wait * 2).min(LAST_NS);
                self.at = now.after_ns(self.wait);
                return seen < rtt / 10 * 7;
            }
            _ => {}
        }
        false
    }
}
