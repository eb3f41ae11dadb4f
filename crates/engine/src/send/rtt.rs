//! Round-trip estimates: smoothed (RFC 6298 section 2.3), and the least of the last ten to twenty seconds.

use crate::api::Now;

/// How long a minimum is believed at least, ns.
const MIN_WINDOW_NS: u64 = 10_000_000_000;

#[derive(Clone, Debug, Default)]
pub(super) struct Rtt {
    srtt: u64,
    min_now: u64,
    min_before: u64,
    window_began: Now,
    /// Segments sent before this gave no sample: they waited in a frozen radio, not in a queue.
    taint: Now,
    /// One sample of them is taken all the same, bounded, so that a path that really became longer is learned.
    taint_fed: bool,
}

impl Rtt {
    /// An estimate from elsewhere (handshake, frozen record), in ns; zero values are ignored.
    pub fn seed(&mut self, srtt: u64, min: u64, now: Now) {
        if srtt > 0 {
            self.srtt = srtt;
        }
        if min > 0 {
            self.min_now = min;
            self.min_before = 0;
            self.window_began = now;
        }
    }

    /// A silence of several probes ended.
    pub fn outage(&mut self, now: Now) {
        self.taint = now;
        self.taint_fed = false;
    }

    /// A sample from a segment sent before the last outage ended.
    pub fn tainted_sample(&mut self, now: Now, rtt: u64) {
        if !self.taint_fed {
            self.taint_fed = true;
            self.sample(now, rtt.min(2 * self.srtt.max(1)));
        }
    }

    /// An unambiguous sample, ns. RFC 6298 section 2.3.
    pub fn sample(&mut self, now: Now, rtt: u64) {
        let rtt = rtt.max(1);
        if self.srtt == 0 {
            self.srtt = rtt;
        } else {
            self.srtt = (self.srtt - self.srtt / 8 + rtt / 8).max(1);
        }
        if self.min_now == 0 || now.since(self.window_began) >= MIN_WINDOW_NS {
            self.min_before = self.min_now;
            self.min_now = rtt;
            self.window_began = now;
        } else if rtt < self.min_now {
            self.min_now = rtt;
        }
    }

    /// True if a segment sent at `xmit` waited through an outage.
    pub fn is_tainted(&self, xmit: Now) -> bool {
        xmit < self.taint
    }

    /// Smoothed round trip, ns; 0: never measured.
    pub fn smoothed(&self) -> u64 {
        self.srtt
    }
    /// Least round trip, ns; 0: never measured.
    pub fn min(&self) -> u64 {
        match (self.min_now, self.min_before) {
            (a, 0) => a,
            (0, b) => b,
            (a, b) => a.min(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_that_of_the_last_ten_to_twenty_seconds() {
        let s = |s: u64| Now(s * 1_000_000_000);
        let mut r = Rtt::default();
        r.sample(s(1), 50);
        r.sample(s(5), 80);
        assert_eq!(r.min(), 50);
        r.sample(s(12), 90);
        assert_eq!(r.min(), 50, "the window before still counts");
        r.sample(s(13), 70);
        r.sample(s(23), 100);
        assert_eq!(r.min(), 70, "what is older does not");
    }

    #[test]
    fn the_smoothed_one_moves_by_an_eighth() {
        let mut r = Rtt::default();
        r.sample(Now(0), 800);
        r.sample(Now(1), 1600);
        assert_eq!(r.smoothed(), 900);
    }
}
