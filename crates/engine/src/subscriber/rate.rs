//! What was delivered when: the delivery rate over windows that the caller chooses.

use crate::api::Now;

/// Buckets of history.
const BUCKETS: usize = 128;
/// log2 of a bucket's width in ns: 2^23 is 8.4 ms, all buckets together 1.07 s.
const WIDTH_SHIFT: u32 = 23;
const WIDTH: u64 = 1 << WIDTH_SHIFT;
/// The longest time that can be looked back on, ns.
pub const LONGEST: u64 = (BUCKETS as u64 - 2) << WIDTH_SHIFT;

/// Bytes delivered over time, as a running total at the end of each bucket: any window costs two look-ups.
///
/// The long array comes last, where it is not asked for ahead of need.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct History {
    /// The newest bucket's number since the origin of time.
    newest: u64,
    /// Time that does not count, ns: silences in which a frozen radio delivered nothing.
    silent: u64,
    /// When counting began: before it there is no rate.
    since: u64,
    total: u32,
    /// Total at the end of each bucket, wrapping.
    ends: [u32; BUCKETS],
}

/// Where the array begins.
pub const FRONT: usize = std::mem::offset_of!(History, ends);

impl History {
    /// An empty history that begins now.
    pub fn new(now: Now) -> History {
        History { ends: [0; BUCKETS], total: 0, newest: now.0 >> WIDTH_SHIFT, silent: 0, since: now.0 }
    }

    /// Counts bytes.
    pub fn add(&mut self, now: Now, bytes: u32) {
        let newest = (now.0 - self.silent) >> WIDTH_SHIFT;
        for bucket in 0..newest.saturating_sub(self.newest).min(BUCKETS as u64) {
            self.ends[(newest - bucket) as usize % BUCKETS] = self.total;
        }
        self.newest = self.newest.max(newest);
        self.total = self.total.wrapping_add(bytes);
        self.ends[self.newest as usize % BUCKETS] = self.total;
    }

    /// So much of the time until now does not count.
    pub fn skip(&mut self, ns: u64) {
        self.silent += ns;
    }

    /// What was before now does not count.
    pub fn restart(&mut self, now: Now) {
        self.since = now.0 - self.silent;
    }

    /// Bytes within the last `window` ns (at most [`LONGEST`]) and the ns that they took: less than the window where
    /// the history is younger.
    pub fn over(&self, now: Now, window: u64) -> (u64, u64) {
        let now = now.0 - self.silent;
        let window = window.min(LONGEST).min(now.saturating_sub(self.since)).max(WIDTH);
        let from = now.saturating_sub(window);
        let bucket = from >> WIDTH_SHIFT;
        if bucket > self.newest {
            return (0, window);
        }
        let end = self.ends[bucket as usize % BUCKETS];
        let start = self.ends[bucket.wrapping_sub(1) as usize % BUCKETS];
        // Within a bucket bytes are taken to be spread evenly.
        let inside = (u64::from(end.wrapping_sub(start)) * (WIDTH - (from & (WIDTH - 1)))) >> WIDTH_SHIFT;
        (u64::from(self.total.wrapping_sub(end)) + inside, window)
    }

    /// Bytes per second over the last `window` ns.
    pub fn rate(&self, now: Now, window: u64) -> u64 {
        let (bytes, span) = self.over(now, window);
        bytes * 1_000_000_000 / span
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
}
