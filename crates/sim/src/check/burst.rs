//! How much of a stream may leave at once: in any millisecond at most 20 kB of payload, or 1.25 times what its receiver
//! takes where that is more. After acknowledgements that come in a bunch, a window that opens in one go, a freeze, alike.

use std::collections::VecDeque;

use crate::crossings::Ranges;

const MS: u64 = 1_000_000;
/// Payload that may leave in a millisecond at any rate, bytes.
const LEAST: u64 = 20_000;
/// The rate is the highest of one or two epochs of this length, ns.
const EPOCH: u64 = 2_000 * MS;
/// More of a silence does not make a rate older, ns: what was known before it is what is known after it.
const SILENCE: u64 = 200 * MS;

/// What left of one stream, and what of it its receiver has.
#[derive(Debug, Default)]
pub(super) struct Burst {
    /// What left in the last millisecond, and in all.
    left: VecDeque<(u64, u64)>,
    sum: u64,
    /// What is under way for the first time: when it left, where it ends, and how much was delivered by then.
    under_way: VecDeque<(u64, u64, u64)>,
    high: u64,
    /// What is acknowledged, and what of the rest is SACKed; all in all; and the end of what gave the last rate.
    acked: u64,
    sacked: Ranges,
    delivered: u64,
    counted: u64,
    /// What was delivered before the present batch: whoever deals with one segment after the other may know no more.
    before: u64,
    /// When the last acknowledgement came, and for how long they have come in this epoch.
    last: u64,
    heard: u64,
    /// Bytes per millisecond, the most in this epoch and in the one before.
    most: [u64; 2],
}

impl Burst {
    /// So much of the stream is acknowledged now, and these parts of it: what was delivered since the newest of them left,
    /// in the time since then, is a delivery rate (draft-ietf-ccwg-bbr, section 4.1.2).
    pub(super) fn acknowledged(&mut self, now: u64, to: u64, blocks: impl Iterator<Item = (u64, u64)>) {
        let mut top = to;
        let from = self.acked.max(1);
        if to > from {
            self.delivered += to - from - self.sacked.add(from, to);
            self.acked = to;
        }
        for (left, right) in blocks.filter(|b| b.0 < b.1 && b.1 <= self.high) {
            let left = left.max(self.acked.max(1));
            if left < right {
                self.delivered += right - left - self.sacked.add(left, right);
                top = top.max(right);
            }
        }
        self.sacked.drop_below(self.acked);
        self.heard += (now - self.last).min(SILENCE);
        self.last = now;
        if self.heard >= EPOCH {
            (self.most, self.heard) = ([0, self.most[0]], 0);
        }
        let newest = self.under_way.partition_point(|(_, end, _)| *end <= top).checked_sub(1).map(|i| self.under_way[i]);
        let news = |(_, end, _): &(u64, u64, u64)| *end > self.counted && (*end <= to || self.sacked.covers(*end - 1, *end));
        if let Some((at, end, before)) = newest.filter(news) {
            self.counted = end;
            let rate = (self.delivered - before) * MS / (now - at).max(1);
            self.most[0] = self.most[0].max(rate);
        }
        while self.under_way.front().is_some_and(|(_, end, _)| *end <= to) {
            self.under_way.pop_front();
        }
    }

    /// The batch is over.
    pub(super) fn settle(&mut self) {
        self.before = self.delivered;
    }

    /// `bytes` of payload leave, up to `end`.
    pub(super) fn leaves(&mut self, now: u64, bytes: u64, end: u64) -> Result<(), String> {
        if self.under_way.back().is_none_or(|last| last.1 < end) {
            self.under_way.push_back((now, end, self.before));
        }
        self.high = self.high.max(end);
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
        burst.acknowledged(10 * MS, 400_001, [].into_iter());
        assert_eq!(at_once(&mut burst, 11 * MS, 400_001), 50);
        // After a silence that is all that is known.
        burst.acknowledged(9_000 * MS, 451_001, [].into_iter());
        assert_eq!(at_once(&mut burst, 9_001 * MS, 451_001), 50);
        // After four seconds of nothing as fast it is of long ago.
        (1..=40).for_each(|k| burst.acknowledged((9_001 + 100 * k) * MS, 451_001, [].into_iter()));
        assert_eq!(at_once(&mut burst, 13_002 * MS, 502_001), 20);
    }

    #[test]
    fn what_is_reported_beyond_a_hole_counts_as_taken() {
        let mut burst = Burst::default();
        burst.leaves(0, 1000, 1001).unwrap();
        burst.leaves(0, 1000, 400_001).unwrap();
        burst.acknowledged(10 * MS, 1, [(1001, 400_001)].into_iter());
        burst.acknowledged(10 * MS, 1, [(1001, 400_001)].into_iter());
        assert!((1..=49).all(|k| burst.leaves(11 * MS, 1000, 400_001 + k * 1000).is_ok()));
        assert!(burst.leaves(11 * MS, 1000, 450_001).is_err());
    }
}
