//! A short underuse of the link that shows the least round trip, and whose queue it is that makes it longer.
//!
//! Only what is in flight tells: a queue of one's own shrinks and grows with it, anything else does not. Where the first
//! dip does not bring the round trip down to what is known, deeper ones follow, until it has come down or does not fall any
//! more. That may be a rate that falls as fast; so as much as before is sent again, and if the round trip stays, the delay
//! is not ours.

use super::control::bytes_in;
use super::meter::Meter;
use crate::api::Now;

const MS: u64 = 1_000_000;
/// The first dip keeps 15/16 of what the link holds without a queue.
const FIRST: u64 = 15;
/// Bytes in flight in the deepest dip: enough for two flows to be acknowledged without delay.
const LEAST: u64 = 4 * 1448;

/// What is in flight may be above a budget by this: a packet that was begun, and one that was just acknowledged.
pub const OVER: u64 = 2 * 1514;

/// What a dip has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The least round trip as it was known, or less, ns.
    Known(u64),
    /// The round trip is this whatever is in flight, ns: the path is longer, or somebody else holds the queue.
    Longer(u64),
    /// It follows what is in flight: the link has become slow.
    Slower,
}

/// The state of a dip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dip {
    /// None is being made.
    None,
    /// The queue is to run empty: so many sixteenths of what the link holds; least round trip of the dip before.
    Drain {
        /// Sixteenths.
        part: u64,
        /// Least round trip before all of this, ns.
        known: u64,
        /// ns; `u64::MAX` in the first.
        before: u64,
    },
    /// It has: round trips until then tell the least.
    Hold {
        /// Sixteenths.
        part: u64,
        /// Least round trip before all of this, ns.
        known: u64,
        /// ns; `u64::MAX` in the first.
        before: u64,
        /// End.
        until: Now,
        /// Least round trip in it so far, ns.
        seen: u64,
    },
    /// As much as before is sent again; the round trip did not fall below `low` ns.
    Rise {
        /// ns.
        low: u64,
        /// When round trips begin to count.
        from: Now,
        /// When they cease to.
        until: Now,
        /// Least of them, ns.
        seen: u64,
    },
}

impl Dip {
    /// A dip begins.
    pub fn first(meter: &Meter) -> Dip {
        Dip::Drain { part: FIRST, known: meter.least(), before: u64::MAX }
    }

    /// A round trip was measured, ns.
    pub fn sample(&mut self, now: Now, rtt: u64) {
        match self {
            Dip::Hold { seen, .. } => *seen = rtt.min(*seen),
            Dip::Rise { seen, from, .. } if now >= *from => *seen = rtt.min(*seen),
            _ => {}
        }
    }

    /// Moves on; says so when it is over.
    pub fn step(&mut self, now: Now, meter: &Meter, rate: u64, in_flight: u64) -> Option<Found> {
        match *self {
            Dip::Drain { part, known, before } if in_flight <= budget(part, meter, rate) + OVER => {
                // What was sent before the queue was empty comes back first.
                let until = now.after_ns(meter.whole_rtt.max(meter.least()) + 10 * MS);
                *self = Dip::Hold { part, known, before, until, seen: u64::MAX };
                None
            }
            Dip::Hold { part, known, before, until, seen } if now >= until && seen != u64::MAX => {
                let first = before == u64::MAX;
                let falls = if first { seen < known - known / 16 } else { seen <= before / 8 * 7 };
                let long = seen > known + known / 8 + 4 * MS;
                let deepest = budget(part, meter, rate) == LEAST;
                *self = if (falls || first && long) && !deepest {
                    // Also where it falls below what was known: that may have held a queue all along.
                    Dip::Drain { part: part / 2, known, before: seen }
                } else if long {
                    let from = now.after_ns(meter.whole_rtt + 20 * MS);
                    let until = from.after_ns(meter.whole_rtt.min(200 * MS));
                    Dip::Rise { low: seen, from, until, seen: u64::MAX }
                } else {
                    Dip::None
                };
                (*self == Dip::None).then_some(Found::Known(seen))
            }
            Dip::Rise { low, until, seen, .. } if now >= until && seen != u64::MAX => {
                *self = Dip::None;
                Some(if seen < low + low / 3 { Found::Longer(low) } else { Found::Slower })
            }
            _ => None,
        }
    }

    /// What may be in flight meanwhile; `before` that was so much.
    pub fn budget(&self, meter: &Meter, rate: u64, before: u64) -> Option<u64> {
        match *self {
            Dip::None => None,
            Dip::Rise { .. } => Some(before.max(2 * LEAST)),
            Dip::Drain { part, .. } | Dip::Hold { part, .. } => Some(budget(part, meter, rate)),
        }
    }
}

fn budget(part: u64, meter: &Meter, rate: u64) -> u64 {
    let ns = meter.least() * part / 16 + meter.up();
    bytes_in(rate, ns).max(LEAST)
}
