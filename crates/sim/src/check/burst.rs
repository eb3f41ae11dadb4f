//! How much of a stream may leave at once: in any millisecond at most 20 kB of payload, or 1.25 times what its receiver
//! takes where that is more. After acknowledgements that come in a bunch, a window that opens in one go, a freeze, alike.

use std::collections::VecDeque;

const MS: u64 = 1_000_000;
/// Payload that may leave in a millisecond at any rate, bytes.
const LEAST: u64 = 20_000;
/// The rate is what was acknowledged in the best period of this length, of the last one or two epochs, ns.
const PERIOD: u64 = 50 * MS;
const EPOCH: u64 = 2_000 * MS;

/// What left of one stream, and what of it was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// What left in the last millisecond, and in all.
    left: VecDeque<(u64, u64)>,
    sum: u64,
    acked: u64,
    /// Acknowledged in this period; the most in a period of this epoch and of the one before.
    period: (u64, u64),
    epoch: u64,
    most: [u64; 2],
}

impl Burst {
    /// So much of the stream is acknowledged now.
    pub(super) fn acknowledged(&mut self, now: u64, to: u64) {
        if now / PERIOD != self.period.0 {
            self.period = (now / PERIOD, 0);
        }
        if now / EPOCH != self.epoch {
            self.most = [0, if now / EPOCH == self.epoch + 1 { self.most[0] } else { 0 }];
            self.epoch = now / EPOCH;
        }
        self.period.1 += to.saturating_sub(self.acked.max(1));
        self.acked = self.acked.max(to);
        self.most[0] = self.most[0].max(self.period.1);
    }

    /// `bytes` of payload leave.
    pub(super) fn leaves(&mut self, now: u64, bytes: u64) -> Result<(), String> {
        while self.left.front().is_some_and(|(at, _)| at + MS <= now) {
            self.sum -= self.left.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        self.left.push_back((now, bytes));
        self.sum += bytes;
        let per_ms = self.most[0].max(self.most[1]) * MS / PERIOD;
        let limit = LEAST.max(per_ms + per_ms / 4);
        if self.sum <= limit {
            return Ok(());
        }
        Err(format!("{} bytes of one stream left within a millisecond; {limit} may", self.sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_kilobytes_may_leave_in_a_millisecond_and_no_more() {
        let mut burst = Burst::default();
        assert!((0..20).all(|k| burst.leaves(k * MS / 20, 1000).is_ok()));
        assert!(burst.leaves(MS - 1, 1000).is_err());
        assert!(burst.leaves(3 * MS, 1000).is_ok());
    }

    #[test]
    fn what_the_receiver_takes_and_a_quarter_may_leave_where_that_is_more() {
        let mut burst = Burst::default();
        // 40 bytes per microsecond.
        (1..=100).for_each(|k| burst.acknowledged(k * MS, 1 + k * 40_000));
        assert!((0..50).all(|k| burst.leaves(101 * MS + k, 1000).is_ok()));
        assert!(burst.leaves(101 * MS + 50, 1000).is_err());
    }
}
