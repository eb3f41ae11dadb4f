//! What was delivered when: the delivery rate over windows that the caller chooses, and windowed minima.

use crate::api::Now;

/// Buckets of history.
const BUCKETS: usize = 128;
/// log2 of a bucket's width in ns: 2^23 is 8.4 ms, all buckets together 1.07 s.
const WIDTH_SHIFT: u32 = 23;

/// Bytes per bucket of time.
#[derive(Clone, Debug)]
pub struct History {
    buckets: [u32; BUCKETS],
    /// The newest bucket's number since the origin of time.
    newest: u64,
    /// When the first byte was counted: before it there is no rate.
    since: Now,
}

impl History {
    /// An empty history that begins now.
    pub fn new(now: Now) -> History {
        History { buckets: [0; BUCKETS], newest: now.0 >> WIDTH_SHIFT, since: now }
    }

    /// Counts bytes.
    pub fn add(&mut self, now: Now, bytes: u32) {
        self.roll(now);
        let bucket = &mut self.buckets[self.newest as usize % BUCKETS];
        *bucket = bucket.saturating_add(bytes);
    }

    /// Empties the buckets of the time that has passed.
    fn roll(&mut self, now: Now) {
        let newest = now.0 >> WIDTH_SHIFT;
        let passed = newest.saturating_sub(self.newest);
        for i in 1..=passed.min(BUCKETS as u64) {
            self.buckets[(self.newest + i) as usize % BUCKETS] = 0;
        }
        self.newest = self.newest.max(newest);
    }

    /// Bytes within the last `window` ns (at most a second; rounded up to a bucket), and the ns that these stand for.
    pub fn over(&mut self, now: Now, window: u64) -> (u64, u64) {
        self.roll(now);
        let whole = (window >> WIDTH_SHIFT).clamp(1, BUCKETS as u64 - 2);
        // The current bucket is partly in the future; so many whole ones lie behind it.
        let bytes = (0..=whole).map(|i| u64::from(self.buckets[self.newest.wrapping_sub(i) as usize % BUCKETS])).sum();
        let span = (whole << WIDTH_SHIFT) + (now.0 & ((1 << WIDTH_SHIFT) - 1));
        (bytes, span.min(now.since(self.since)).max(1 << WIDTH_SHIFT))
    }

    /// Bytes per second over the last `window` ns.
    pub fn rate(&mut self, now: Now, window: u64) -> u64 {
        let (bytes, span) = self.over(now, window);
        bytes * 1_000_000_000 / span
    }
}

/// The least value of the last 5 to 10 seconds, in two halves.
#[derive(Clone, Copy, Debug)]
pub struct WindowedMin {
    /// Of the present half window, and of the one before.
    halves: [u64; 2],
    began: Now,
    half_ns: u64,
}

impl WindowedMin {
    /// No value yet; a window of `window` ns.
    pub fn new(now: Now, window: u64) -> WindowedMin {
        WindowedMin { halves: [u64::MAX; 2], began: now, half_ns: window / 2 }
    }

    /// Takes a value in.
    pub fn add(&mut self, now: Now, value: u64) {
        if now.since(self.began) > self.half_ns {
            self.halves = [u64::MAX, self.halves[0]];
            self.began = now;
        }
        self.halves[0] = self.halves[0].min(value);
    }

    /// The least value; `None` before the first one.
    pub fn get(&self) -> Option<u64> {
        let least = self.halves[0].min(self.halves[1]);
        (least != u64::MAX).then_some(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const MS: u64 = 1_000_000;

    #[test]
    fn a_steady_flow_has_its_rate_over_any_window() {
        let mut history = History::new(Now(77 * MS));
        for ms in 77..3000 {
            history.add(Now(ms * MS), 1000);
        }
        for window in [50, 200, 1000] {
            let rate = history.rate(Now(3000 * MS), window * MS);
            assert!((900_000..1_100_000).contains(&rate), "{window} ms: {rate}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_does_not_count() {
        let mut history = History::new(Now(0));
        history.add(Now(10 * MS), 1_000_000);
        assert_eq!(history.rate(Now(400 * MS), 200 * MS), 0);
        assert_eq!(history.rate(Now(400_000 * MS), 1000 * MS), 0);
    }

    #[test]
    fn the_windowed_minimum_forgets_within_its_window_and_keeps_half_of_it_at_least() {
        let mut least = WindowedMin::new(Now(0), 10_000 * MS);
        assert_eq!(least.get(), None);
        least.add(Now(MS), 5);
        for s in 1..5 {
            least.add(Now(s * 1000 * MS), 9);
        }
        assert_eq!(least.get(), Some(5));
        for s in 5..16 {
            least.add(Now(s * 1000 * MS), 9);
        }
        assert_eq!(least.get(), Some(9));
    }
}
