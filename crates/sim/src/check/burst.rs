//! How much of a stream may leave at once: in any millisecond at most 20 kB of payload, or 1.25 times what its receiver
//! takes where that is more. After acknowledgements that come in a bunch, a window that opens in one go, a freeze, alike.

use std::collections::VecDeque;

const MS: u64 = 1_000_000;
/// Payload that may leave in a millisecond at any rate, bytes.
const LEAST: u64 = 20_000;
/// The rate is the highest of one or two epochs of this length, ns.
const EPOCH: u64 = 2_000 * MS;

/// What left of one stream, and what of it was acknowledged.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// What left in the last millisecond, and in all.
    left: VecDeque<(u64, u64)>,
    sum: u64,
    /// What is under way for the first time: when it left, where it ends, and what was acknowledged by then.
    under_way: VecDeque<(u64, u64, u64)>,
    acked: u64,
    epoch: u64,
    /// Bytes per millisecond, the most in this epoch and in the one before.
    most: [u64; 2],
}

impl Burst {
    /// So much of the stream is acknowledged now: what was acknowledged since the newest of it left, in the time since
    /// then, is a delivery rate (draft-ietf-ccwg-bbr, section 4.1.2).
    pub(super) fn acknowledged(&mut self, now: u64, to: u64) {
        let mut newest = None;
        while self.under_way.front().is_some_and(|(_, end, _)| *end <= to) {
            newest = self.under_way.pop_front();
        }
        self.acked = self.acked.max(to);
        if now / EPOCH != self.epoch {
            self.most = [0, if now / EPOCH == self.epoch + 1 { self.most[0] } else { 0 }];
            self.epoch = now / EPOCH;
        }
        let Some((at, _, before)) = newest else { return };
        let rate = (self.acked - before) * MS / (now - at).max(1);
        self.most[0] = self.most[0].max(rate);
    }

    /// `bytes` of payload leave, up to `end`.
    pub(super) fn leaves(&mut self, now: u64, bytes: u64, end: u64) -> Result<(), String> {
        if self.under_way.back().is_none_or(|last| last.1 < end) {
            self.under_way.push_back((now, end, self.acked.max(1)));
        }
        while self.left.front().is_some_and(|(at, _)| at + MS <= now) {
            self.sum -= self.left.pop_front().map_or(0, |(_, bytes)| bytes);
        }
        self.left.push_back((now, bytes));
        self.sum += bytes;
        let per_ms = self.most[0].max(self.most[1]);
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
        assert!((0..20).all(|k| burst.leaves(k * MS / 20, 1000, 1 + (k + 1) * 1000).is_ok()));
        assert!(burst.leaves(MS - 1, 1000, 21_001).is_err());
        assert!(burst.leaves(3 * MS, 1000, 22_001).is_ok());
    }

    #[test]
    fn what_the_receiver_takes_and_a_quarter_may_leave_where_that_is_more() {
        let at_once = |burst: &mut Burst, now: u64, from: u64| {
            (1..=100).take_while(|k| burst.leaves(now + k, 1000, from + k * 1000).is_ok()).count()
        };
        let mut burst = Burst::default();
        // 400,000 bytes are acknowledged in a round trip of 10 ms.
        burst.leaves(0, 1000, 400_001).unwrap();
        burst.acknowledged(10 * MS, 400_001);
        assert_eq!(at_once(&mut burst, 11 * MS, 400_001), 50);
        // 51,000 in another of 5 s: the earlier rate is of long ago.
        burst.acknowledged(5_000 * MS, 451_001);
        assert_eq!(at_once(&mut burst, 5_001 * MS, 451_001), 20);
    }
}
