//! How fast bytes may leave: a rate, and a limit for any millisecond that holds whatever the rate says.
//!
//! Bursts of hundreds of kilobytes (ACKs that come in a bunch, a window that opens in one go, the end of a freeze)
//! overflow the first 1G port behind a 10G one. In any millisecond at most max(burst, 1.25 x rate) leaves.

use crate::api::Now;

/// One packet: what a rate may be overdrawn by, and what is waited for.
const PACKET: u64 = 1514;
/// log2 of a slot's width in ns: 33 us. All slots are 1.05 ms, which are exactly four ticks of the timer wheel.
const SLOT_SHIFT: u32 = 15;
const SLOTS: u64 = 32;

/// Rate and limit for a delivery rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may leave at once, after a pause.
    pub burst: u64,
    /// Bytes that may leave in any millisecond.
    pub per_ms: u64,
}

impl Pace {
    /// The pace for a wished-for rate, held below the limit per millisecond: `burst_per_ms` bytes or 1.25 times the
    /// delivery rate (both rates in bytes per second).
    pub fn new(wish: u64, delivery: u64, burst_per_ms: u32) -> Pace {
        let per_ms = u64::from(burst_per_ms).max(delivery / 800);
        // What a coarse timer lets pass between two ticks has to fit.
        let burst = (per_ms / 2).max(PACKET);
        Pace { rate: wish.clamp(1, per_ms * 1000), burst, per_ms }
    }
}

/// A token bucket that fills by the rate, and what left in the last millisecond.
#[derive(Clone, Copy, Debug)]
pub struct Pacer {
    /// Bytes that may leave now; negative after a packet larger than what was left.
    tokens: i64,
    filled: Now,
    /// Bytes that left in each slot of the last millisecond, and in all.
    slots: [u32; SLOTS as usize],
    sum: u32,
    newest: u64,
}

impl Default for Pacer {
    fn default() -> Pacer {
        Pacer { tokens: 0, filled: Now(0), slots: [0; SLOTS as usize], sum: 0, newest: 0 }
    }
}

impl Pacer {
    /// Bytes that may leave now, or when the first one may.
    pub fn allowance(&mut self, now: Now, pace: Pace) -> Result<u32, Now> {
        self.fill(now, pace);
        self.roll(now);
        let room = pace.per_ms.saturating_sub(u64::from(self.sum));
        if room < PACKET {
            // When enough of the last millisecond's slots have passed out of it.
            return Err(self.room_at(PACKET - room));
        }
        if self.tokens > 0 {
            return Ok((self.tokens as u64).min(room) as u32);
        }
        // Wait for a packet's worth: no wake-up per byte.
        let lack = (PACKET as i64 - self.tokens) as u64;
        Err(now.after_ns(lack * 1_000_000_000 / pace.rate))
    }

    fn fill(&mut self, now: Now, pace: Pace) {
        // More than a second's worth is never kept.
        let passed = now.since(self.filled);
        let gained = passed.min(1_000_000_000).saturating_mul(pace.rate) / 1_000_000_000;
        if gained > 0 {
            // What was gained is counted from the time that it took, not from now: no fraction of a byte is lost.
            let took = gained.saturating_mul(1_000_000_000) / pace.rate;
            self.filled = if passed > 1_000_000_000 { now } else { self.filled.after_ns(took) };
            self.tokens = self.tokens.saturating_add(gained.min(1 << 40) as i64);
        }
        self.tokens = self.tokens.min(pace.burst as i64);
    }

    fn roll(&mut self, now: Now) {
        let newest = now.0 >> SLOT_SHIFT;
        for i in 0..newest.saturating_sub(self.newest).min(SLOTS) {
            if self.sum == 0 {
                break;
            }
            let slot = &mut self.slots[((newest - i) % SLOTS) as usize];
            self.sum -= std::mem::take(slot);
        }
        self.newest = self.newest.max(newest);
    }

    fn room_at(&self, mut lack: u64) -> Now {
        for i in 1..SLOTS {
            let slot = self.newest + i;
            lack = lack.saturating_sub(u64::from(self.slots[(slot % SLOTS) as usize]));
            if lack == 0 {
                return Now(slot << SLOT_SHIFT);
            }
        }
        Now((self.newest + SLOTS) << SLOT_SHIFT)
    }

    /// Bytes left.
    pub fn sent(&mut self, now: Now, bytes: u32) {
        self.roll(now);
        self.tokens -= i64::from(bytes);
        let slot = &mut self.slots[(self.newest % SLOTS) as usize];
        *slot += bytes;
        self.sum += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends as much as it may in steps of `step_ns`, in packets of 1448; (most in any millisecond, bytes per second).
    fn blast(pace: Pace, step_ns: u64) -> (u64, u64) {
        let mut pacer = Pacer::default();
        let mut sent: Vec<(u64, u64)> = Vec::new();
        let start = 1_000_000_000;
        for step in 0..1_000_000_000 / step_ns {
            let now = start + step * step_ns;
            while pacer.allowance(Now(now), pace).is_ok() {
                pacer.sent(Now(now), 1448);
                sent.push((now, 1448));
            }
        }
        let (mut most, mut first, mut sum) = (0, 0, 0);
        for i in 0..sent.len() {
            sum += sent[i].1;
            while sent[first].0 + 1_000_000 <= sent[i].0 {
                sum -= sent[first].1;
                first += 1;
            }
            most = most.max(sum);
        }
        (most, sent.iter().map(|s| s.1).sum())
    }

    #[test]
    fn no_millisecond_carries_more_than_the_burst_or_a_quarter_above_the_rate() {
        for delivery in [100_000u64, 1_000_000, 10_000_000, 25_000_000, 125_000_000] {
            let pace = Pace::new(delivery * 2, delivery, 20_000);
            for step in [50_000, 262_144, 1_000_000] {
                let (most, _) = blast(pace, step);
                assert!(most <= 20_000.max(delivery / 800), "{delivery}: {most} in a millisecond");
            }
        }
    }

    #[test]
    fn the_rate_is_reached_on_a_coarse_timer() {
        for delivery in [100_000u64, 1_000_000, 10_000_000] {
            let (_, rate) = blast(Pace::new(delivery, delivery, 20_000), 262_144);
            assert!(rate * 100 >= delivery * 95, "{rate} of {delivery}");
        }
    }
}
