//! How fast bytes may leave: a token bucket whose burst stays below what a millisecond may carry.
//!
//! Bursts of hundreds of kilobytes (ACKs that come in a bunch, a window that opens in one go, the end of a freeze)
//! overflow the first 1G port behind a 10G one. In any millisecond at most max(burst, 1.25 x rate) leaves.

use crate::api::Now;

/// A flow may send while its bucket is not empty and so overdraw it by at most one packet.
const OVERDRAFT: u64 = 1514;

/// A token bucket; fills by the pacing rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pacer {
    /// Bytes that may leave now; negative after a packet larger than what was left.
    tokens: i64,
    filled: Now,
}

/// Rate and burst for a delivery rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Bytes per second.
    pub rate: u64,
    /// Bytes that may leave at once.
    pub burst: u64,
}

impl Pace {
    /// The pace for a wished-for rate, held below the limit per millisecond: `burst_per_ms` bytes or 1.25 times the
    /// delivery rate (both rates in bytes per second).
    pub fn new(wish: u64, delivery: u64, burst_per_ms: u32) -> Pace {
        let limit = u64::from(burst_per_ms).max(delivery / 800);
        // A millisecond may see the whole burst and what the rate fills meanwhile: they share the limit.
        let fastest = (limit.saturating_sub(OVERDRAFT) * 1000 * 5 / 6).max(1_000_000);
        let rate = wish.clamp(1, fastest);
        Pace { rate, burst: limit.saturating_sub(OVERDRAFT + rate / 1000).max(OVERDRAFT) }
    }
}

impl Pacer {
    /// Bytes that may leave now, or when the first one may.
    pub fn allowance(&mut self, now: Now, pace: Pace) -> Result<u32, Now> {
        let gained = u128::from(now.since(self.filled)) * u128::from(pace.rate) / 1_000_000_000;
        if gained > 0 {
            // What was gained is counted from the time that it took, not from now: no fraction of a byte is lost.
            let took = gained * 1_000_000_000 / u128::from(pace.rate);
            self.filled = self.filled.after_ns(took as u64);
            self.tokens = self.tokens.saturating_add(gained.min(1 << 40) as i64);
        }
        self.tokens = self.tokens.min(pace.burst as i64);
        if self.tokens > 0 {
            return Ok(self.tokens as u32);
        }
        // Wait for a packet's worth, or a burst if that is smaller: no wake-up per byte.
        let lack = (pace.burst.min(OVERDRAFT) as i64 - self.tokens) as u64;
        Err(now.after_ns(lack * 1_000_000_000 / pace.rate))
    }

    /// Bytes left.
    pub fn sent(&mut self, bytes: u32) {
        self.tokens -= i64::from(bytes);
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
                pacer.sent(1448);
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
