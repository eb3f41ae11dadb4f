//! Which bytes crossed a link more than once: the radio capacity that retransmissions cost, whoever sent them.

use std::collections::HashMap;

/// Disjoint ascending ranges of stream offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges {
    spans: Vec<(u64, u64)>,
}

impl Ranges {
    /// Adds `[start, end)` and returns how many of its bytes were there already.
    pub fn add(&mut self, start: u64, end: u64) -> u64 {
        if start >= end {
            return 0;
        }
        if let Some(last) = self.spans.last_mut().filter(|last| last.1 == start) {
            last.1 = end;
            return 0;
        }
        let from = self.spans.partition_point(|s| s.1 < start);
        let to = self.spans.partition_point(|s| s.0 <= end);
        let mut merged = (start, end);
        let mut again = 0;
        for s in &self.spans[from..to] {
            again += s.1.min(end).saturating_sub(s.0.max(start));
            merged = (merged.0.min(s.0), merged.1.max(s.1));
        }
        self.spans.splice(from..to, [merged]);
        again
    }

    /// The ranges, ascending, never touching.
    pub fn spans(&self) -> &[(u64, u64)] {
        &self.spans
    }

    /// True if all of `[start, end)` is there.
    pub fn covers(&self, start: u64, end: u64) -> bool {
        let k = self.spans.partition_point(|s| s.0 <= start);
        start >= end || k > 0 && self.spans[k - 1].1 >= end
    }

    /// Forgets what lies below `floor`.
    pub fn drop_below(&mut self, floor: u64) {
        self.spans.retain(|s| s.1 > floor);
        if let Some(first) = self.spans.first_mut() {
            first.0 = first.0.max(floor);
        }
    }
}

/// The bytes of each flow that crossed. Sequence numbers are unwrapped per flow; a new SYN starts a flow over.
#[derive(Clone, Debug, Default)]
pub struct Crossings {
    flows: HashMap<u64, (u64, u32, Ranges)>,
}

impl Crossings {
    /// `len` payload bytes at `seq` of `flow` crossed; returns how many of them had crossed before.
    pub fn crossed(&mut self, flow: u64, seq: u32, len: u32, syn: bool) -> u32 {
        // The first sequence number stands in the middle of the 64-bit space, so that earlier ones have room.
        const ORIGIN: u64 = 1 << 40;
        if syn {
            self.flows.remove(&flow);
        }
        let (near, near_seq, ranges) = self.flows.entry(flow).or_insert((ORIGIN, seq, Ranges::default()));
        let start = near.wrapping_add_signed(i64::from(seq.wrapping_sub(*near_seq) as i32));
        let end = start + u64::from(len);
        if end > *near {
            (*near, *near_seq) = (end, seq.wrapping_add(len));
        }
        ranges.add(start, end) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_and_count_what_they_held() {
        let mut r = Ranges::default();
        assert_eq!(r.add(10, 20), 0);
        assert_eq!(r.add(30, 40), 0);
        assert_eq!(r.add(15, 35), 10);
        assert_eq!(r.spans(), [(10, 40)]);
        assert_eq!(r.add(0, 50), 30);
        assert_eq!(r.add(50, 60), 0);
        assert_eq!(r.spans(), [(0, 60)]);
        assert!(r.covers(5, 60) && !r.covers(5, 61));
        r.drop_below(20);
        assert_eq!(r.spans(), [(20, 60)]);
    }

    #[test]
    fn bytes_that_cross_twice_are_counted_across_the_sequence_wrap() {
        let mut c = Crossings::default();
        assert_eq!(c.crossed(1, u32::MAX - 500, 1000, false), 0);
        assert_eq!(c.crossed(1, 499, 1000, false), 0);
        assert_eq!(c.crossed(1, u32::MAX - 500, 1000, false), 1000);
        assert_eq!(c.crossed(2, 499, 1000, false), 0);
        assert_eq!(c.crossed(1, 999, 1000, false), 500);
    }
}
