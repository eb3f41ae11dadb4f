//! Proportional rate reduction, RFC 9937: how the flight comes down to ssthresh during a recovery with a cut.

#[derive(Clone, Debug, Default)]
pub(super) struct Prr {
    pub active: bool,
    /// RecoverFS: the flight when recovery began, bytes.
    recover_fs: u64,
    delivered: u64,
    out: u64,
}

impl Prr {
    /// Section 6.1 of RFC 9937: `recover_fs` is nxt − una less what was SACKed before this ACK.
    pub fn start(&mut self, recover_fs: u32) {
        *self = Prr { active: true, recover_fs: u64::from(recover_fs.max(1)), delivered: 0, out: 0 };
    }

    pub fn stop(&mut self) {
        self.active = false;
    }

    /// Bytes were (re)sent.
    pub fn sent(&mut self, bytes: u32) {
        self.out += u64::from(bytes);
    }

    /// The window after an ACK that delivered `delivered` bytes; `safe`: una advanced and nothing more was found lost.
    pub fn window(&mut self, delivered: u32, in_flight: u32, ssthresh: u32, mss: u32, safe: bool) -> u32 {
        let (flight, ssthresh, mss) = (u64::from(in_flight), u64::from(ssthresh), u64::from(mss));
        self.delivered += u64::from(delivered);
        let mut count = if flight > ssthresh {
            (self.delivered * ssthresh).div_ceil(self.recover_fs).saturating_sub(self.out)
        } else {
            let mut limit = self.delivered.saturating_sub(self.out).max(u64::from(delivered));
            if safe {
                limit += mss;
            }
            limit.min(ssthresh - flight)
        };
        if self.out == 0 && count < mss {
            // The first retransmission is never held back.
            count = mss;
        }
        // A window of nothing is none to grow from, should the reduction end here.
        (flight + count).clamp(mss, u64::from(u32::MAX)) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The proportional part: with ssthresh at 70 % about seven segments leave per ten delivered.
    #[test]
    fn sends_leave_in_proportion_while_the_flight_is_above_ssthresh() {
        let (mss, ssthresh) = (1000, 70_000);
        let mut p = Prr::default();
        p.start(100_000);
        let mut flight = 99_000u32;
        let mut sent = 0;
        for _ in 0..60 {
            flight -= mss;
            let w = p.window(mss, flight, ssthresh, mss, false);
            while flight + mss <= w {
                flight += mss;
                p.sent(mss);
                sent += 1;
            }
        }
        assert!((41..=43).contains(&sent), "sent {sent} of 60 delivered");
    }

    #[test]
    fn the_window_is_a_segment_at_least() {
        let mut p = Prr::default();
        p.start(10_000);
        p.sent(1000);
        assert_eq!(p.window(0, 0, 7_000, 1000, false), 1000);
    }

    #[test]
    fn heavy_losses_are_followed_by_conservation_and_slow_start_up_to_ssthresh() {
        let (mss, ssthresh) = (1000, 70_000);
        let mut p = Prr::default();
        p.start(100_000);
        // 80 of 100 were lost: 20 in flight.
        let mut flight = 20_000u32;
        for _ in 0..200 {
            flight -= mss;
            let w = p.window(mss, flight, ssthresh, mss, true);
            while flight + mss <= w {
                flight += mss;
                p.sent(mss);
            }
            assert!(flight <= ssthresh);
        }
        assert!(flight >= ssthresh - mss, "the flight grew back to ssthresh: {flight}");
    }

    #[test]
    fn the_first_retransmission_is_never_held_back() {
        let mut p = Prr::default();
        p.start(10_000);
        assert!(p.window(10, 9_000, 5_000, 1000, false) >= 10_000);
    }
}
