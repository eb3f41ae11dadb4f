//! When a link serves nothing: scheduled freezes, random ones, and those ordered while it runs.

use crate::link::spec::{LinkSpec, RandomFreeze};
use crate::rng::Rng;

/// The frozen intervals of one direction, generated ahead as far as anyone asks. Intervals are `[start, end)`, ns.
#[derive(Clone, Debug)]
pub(super) struct Freezer {
    intervals: Vec<(u64, u64)>,
    random: Option<(RandomFreeze, Rng)>,
    /// Random freezes are known up to here.
    known_ns: u64,
}

impl Freezer {
    pub(super) fn new(spec: &LinkSpec) -> Freezer {
        let ns = |ms: f64| (ms * 1e6) as u64;
        let mut freezer = Freezer {
            intervals: Vec::new(),
            random: spec.random_freeze.map(|r| (r, Rng::stream(r.seed, 0xf3ee))),
            known_ns: 0,
        };
        for &(start, length) in &spec.freezes {
            freezer.add(ns(start), ns(start) + ns(length));
        }
        freezer
    }

    /// Adds an interval, merging what touches.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        self.intervals.push((start, end));
        self.intervals.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::with_capacity(self.intervals.len());
        for &(s, e) in &self.intervals {
            match merged.last_mut() {
                Some(last) if s <= last.1 => last.1 = last.1.max(e),
                _ => merged.push((s, e)),
            }
        }
        self.intervals = merged;
    }

    /// No freeze from `now` on.
    pub(super) fn heal(&mut self, now: u64) {
        self.random = None;
        self.intervals.retain(|i| i.0 < now);
        if let Some(last) = self.intervals.last_mut() {
            last.1 = last.1.min(now);
        }
    }

    fn know(&mut self, t: u64) {
        while self.known_ns <= t {
            let Some((spec, rng)) = &mut self.random else { return };
            let start = self.known_ns + (rng.exponential(spec.every_ms) * 1e6) as u64;
            let length_ms = spec.min_ms * (spec.max_ms / spec.min_ms).powf(rng.unit());
            let end = start + (length_ms * 1e6) as u64;
            self.known_ns = end + 1;
            self.add(start, end);
        }
    }

    /// The end of the freeze that `t` lies in, if it lies in one.
    pub(super) fn thaws_at(&mut self, t: u64) -> Option<u64> {
        self.know(t);
        let k = self.intervals.partition_point(|i| i.0 <= t);
        let (_, end) = *self.intervals[..k].last()?;
        (t < end).then_some(end)
    }

    /// The start of the first freeze after `t`, or the end of what is known to be free.
    pub(super) fn next_freeze(&mut self, t: u64) -> u64 {
        self.know(t);
        let k = self.intervals.partition_point(|i| i.0 <= t);
        let random = if self.random.is_some() { self.known_ns } else { u64::MAX };
        self.intervals.get(k).map_or(random, |i| i.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_freezes_merge_and_end_together() {
        let spec = LinkSpec { freezes: vec![(10.0, 5.0), (12.0, 10.0)], ..LinkSpec::default() };
        let mut f = Freezer::new(&spec);
        assert_eq!(f.thaws_at(9_999_999), None);
        assert_eq!(f.thaws_at(10_000_000), Some(22_000_000));
        assert_eq!(f.thaws_at(22_000_000), None);
        assert_eq!(f.next_freeze(0), 10_000_000);
        assert_eq!(f.next_freeze(22_000_000), u64::MAX);
    }

    #[test]
    fn random_freezes_are_the_same_for_the_same_seed_whoever_asks_when() {
        let random = RandomFreeze { every_ms: 500.0, min_ms: 10.0, max_ms: 100.0, seed: 3 };
        let spec = LinkSpec { random_freeze: Some(random), ..LinkSpec::default() };
        let mut a = Freezer::new(&spec);
        let mut b = Freezer::new(&spec);
        b.thaws_at(60_000_000_000);
        let mut frozen = 0;
        for t in (0..60_000_000_000).step_by(1_000_000) {
            assert_eq!(a.thaws_at(t), b.thaws_at(t));
            frozen += u32::from(a.thaws_at(t).is_some());
        }
        assert!((2000..9000).contains(&frozen), "{frozen} ms of 60 s frozen");
    }
}
