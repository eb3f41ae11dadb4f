//! The congestion window: slow start, CUBIC (RFC 9438), and how far a cut goes. Integers only, so that every machine
//! computes the same.

use crate::api::Now;

/// Multiplicative decrease of CUBIC, RFC 9438 section 4.6, in tenths.
const BETA_TENTHS: u64 = 7;
/// Decrease for an ECN mark, RFC 8511 section 3 (ABE for CUBIC), in hundredths.
const BETA_ECN_HUNDREDTHS: u64 = 85;
/// Nothing grows beyond this: sequence arithmetic wants flights below 2³⁰ bytes.
const CWND_LIMIT: u32 = 1 << 29;

/// Why the window is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// A segment was lost on a full link.
    Loss,
    /// Y echoed a congestion mark.
    Ecn,
}

#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(super) struct Cubic {
    mss: u32,
    pub cwnd: u32,
    pub ssthresh: u32,
    /// Window before the last cut, bytes (0: never cut).
    w_max: u32,
    /// Window when this epoch began.
    cwnd_epoch: u32,
    /// `w_max` before fast convergence, the bound of RFC 9438 section 4.3.
    cwnd_prior: u32,
    /// Start of the epoch of congestion avoidance.
    epoch: Option<Now>,
    /// Time from the epoch's start until the window is `w_max` again, ms.
    k_ms: u64,
    /// Reno-friendly window, bytes.
    w_est: u64,
    /// Fractions of a byte owed to the window and to `w_est`, in units of 1/cwnd byte.
    owed: u64,
    owed_est: u64,
    last_ack: Now,
}

/// What a cut can be undone to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Saved {
    cwnd: u32,
    ssthresh: u32,
    w_max: u32,
    cwnd_prior: u32,
}

impl Cubic {
    pub fn new(mss: u32) -> Cubic {
        Cubic {
            mss,
            cwnd: initial_window(mss),
            ssthresh: u32::MAX,
            w_max: 0,
            cwnd_epoch: 0,
            cwnd_prior: 0,
            epoch: None,
            k_ms: 0,
            w_est: 0,
            owed: 0,
            owed_est: 0,
            last_ack: Now(0),
        }
    }

    pub fn set_mss(&mut self, mss: u32) {
        self.mss = mss;
    }

    pub fn in_slow_start(&self) -> bool {
        self.cwnd < self.ssthresh
    }

    /// `acked` bytes were delivered outside of a recovery; `limited`: the window was what held the sender back.
    pub fn grow(&mut self, now: Now, acked: u32, limited: bool, srtt_ns: u64) {
        let gap = now.since(self.last_ack);
        self.last_ack = now;
        if !limited {
            // Time without need of the window does not count (RFC 9438 section 5.8).
            if let Some(epoch) = &mut self.epoch {
                *epoch = epoch.after_ns(gap);
            }
            return;
        }
        let mut acked = acked;
        if self.in_slow_start() {
            // Bytes are counted, not ACKs, and no more than were delivered (RFC 3465 with L unlimited: sends are paced).
            let room = (self.ssthresh - self.cwnd).min(acked);
            self.cwnd = (self.cwnd + room).min(CWND_LIMIT);
            acked -= room;
            if acked == 0 {
                return;
            }
        }
        self.avoid(now, acked, srtt_ns);
        self.cwnd = self.cwnd.min(CWND_LIMIT);
    }

    /// Congestion avoidance, RFC 9438 sections 4.2 to 4.5.
    fn avoid(&mut self, now: Now, acked: u32, srtt_ns: u64) {
        let epoch = *self.epoch.get_or_insert(now);
        if self.w_est == 0 {
            self.begin_epoch();
        }
        let cwnd = u64::from(self.cwnd);
        let t_ms = (now.since(epoch) + srtt_ns) / 1_000_000;
        let target = self.w_cubic(t_ms).clamp(cwnd, cwnd + cwnd / 2);
        self.owed += (target - cwnd) * u64::from(acked);
        self.cwnd += (self.owed / cwnd) as u32;
        self.owed %= cwnd;
        // alpha = 3(1 - beta)/(1 + beta) = 9/17 until the window is what it was before the cut, then 1 (section 4.3).
        let alpha_17 = if self.w_est >= u64::from(self.cwnd_prior) { 17 } else { 9 };
        self.owed_est += alpha_17 * u64::from(acked) * u64::from(self.mss);
        self.w_est += self.owed_est / (17 * cwnd);
        self.owed_est %= 17 * cwnd;
        if self.w_est > u64::from(self.cwnd) {
            self.cwnd = self.w_est.min(u64::from(CWND_LIMIT)) as u32;
        }
    }

    fn begin_epoch(&mut self) {
        self.cwnd_epoch = self.cwnd;
        self.w_est = u64::from(self.cwnd);
        self.owed = 0;
        self.owed_est = 0;
        if self.w_max <= self.cwnd {
            self.w_max = self.cwnd;
            self.k_ms = 0;
        } else {
            // K = cbrt((w_max - cwnd_epoch) / C) seconds with C = 0.4 segments per s³ (section 4.2).
            let segs_e9 = u64::from(self.w_max - self.cwnd) * 2_500_000_000 / u64::from(self.mss);
            self.k_ms = cbrt(segs_e9);
        }
    }

    /// W_cubic(t) in bytes: C·(t − K)³ + w_max.
    fn w_cubic(&self, t_ms: u64) -> u64 {
        let d = t_ms.abs_diff(self.k_ms).min(100_000);
        let bytes = d * d * d / 1_000_000 * u64::from(self.mss) * 4 / 10_000;
        if t_ms >= self.k_ms {
            u64::from(self.w_max) + bytes
        } else {
            u64::from(self.w_max).saturating_sub(bytes)
        }
    }

    /// Cuts the threshold for a flight of `flight` bytes, but to no less than `floor` and no more than `ceiling` bytes;
    /// returns what undoes it. The window itself comes down by proportional rate reduction.
    pub fn cut(&mut self, why: Cut, flight: u32, floor: u32, ceiling: u32) -> Saved {
        let saved =
            Saved { cwnd: self.cwnd, ssthresh: self.ssthresh, w_max: self.w_max, cwnd_prior: self.cwnd_prior };
        let flight = flight.min(self.cwnd);
        self.cwnd_prior = flight;
        // Fast convergence, RFC 9438 section 4.7: W_max = cwnd (1 + beta) / 2.
        self.w_max = if flight < self.w_max { (u64::from(flight) * (10 + BETA_TENTHS) / 20) as u32 } else { flight };
        let kept = match why {
            Cut::Loss => u64::from(flight) * BETA_TENTHS / 10,
            Cut::Ecn => u64::from(flight) * BETA_ECN_HUNDREDTHS / 100,
        } as u32;
        // What is known to get through is where growth is to level off.
        self.w_max = self.w_max.min(ceiling);
        self.ssthresh = kept.max(floor).min(ceiling).min(flight).max(2 * self.mss);
        self.epoch = None;
        self.w_est = 0;
        saved
    }

    /// The cut was needless: back to what was before, where that is more.
    pub fn undo(&mut self, saved: &Saved) {
        self.cwnd = self.cwnd.max(saved.cwnd);
        self.ssthresh = self.ssthresh.max(saved.ssthresh);
        self.w_max = self.w_max.max(saved.w_max);
        self.cwnd_prior = saved.cwnd_prior;
        self.epoch = None;
        self.w_est = 0;
    }

    /// The window stands at a ceiling known from elsewhere: growth begins anew from there, on the flat of the curve.
    pub fn settle(&mut self, at: u32) {
        self.cwnd = self.cwnd.min(at.max(2 * self.mss));
        self.ssthresh = self.ssthresh.min(self.cwnd);
        self.w_max = self.cwnd;
        self.epoch = None;
        self.w_est = 0;
    }
}

/// IW10, RFC 6928 section 2.
pub(super) fn initial_window(mss: u32) -> u32 {
    (10 * mss).min((2 * mss).max(14600))
}

/// Integer cube root, rounded down.
fn cbrt(x: u64) -> u64 {
    let mut root = 0u64;
    let mut bit = 1u64 << 21;
    while bit > 0 {
        let r = root | bit;
        if r.checked_mul(r).and_then(|s| s.checked_mul(r)).is_some_and(|c| c <= x) {
            root = r;
        }
        bit >>= 1;
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn the_cube_root_is_exact_at_cubes_and_below_them() {
        for r in [0u64, 1, 2, 999, 2_642_245] {
            assert_eq!(cbrt(r * r * r), r);
            if r > 1 {
                assert_eq!(cbrt(r * r * r - 1), r - 1);
            }
        }
        assert_eq!(cbrt(u64::MAX), 2_642_245);
    }

    #[test]
    fn the_initial_window_is_ten_segments_up_to_14600_bytes() {
        assert_eq!(initial_window(1460), 14600);
        assert_eq!(initial_window(536), 5360);
        assert_eq!(initial_window(8948), 17896);
    }

    #[test]
    fn slow_start_doubles_by_bytes_delivered() {
        let mut c = Cubic::new(1000);
        c.grow(Now(MS), 10_000, true, 50 * MS);
        assert_eq!(c.cwnd, 20_000);
        c.grow(Now(2 * MS), 10_000, false, 50 * MS);
        assert_eq!(c.cwnd, 20_000, "unused window does not grow");
    }

    /// RFC 9438 section 4.2: after a cut the window is back at W_max after K = cbrt(W_max (1 - beta) / C).
    #[test]
    fn the_window_returns_to_w_max_after_k_seconds() {
        let mut c = Cubic::new(1000);
        c.cwnd = 1_000_000;
        c.cut(Cut::Loss, 1_000_000, 0, u32::MAX);
        c.cwnd = c.ssthresh;
        assert_eq!(c.cwnd, 700_000);
        let rtt = 100 * MS;
        let mut now = Now(0);
        let mut back = None;
        for _ in 0..200 {
            now = now.after_ns(rtt);
            c.grow(now, c.cwnd, true, rtt);
            if back.is_none() && c.cwnd >= 995_000 {
                back = Some(now.0 as f64 / 1e9);
            }
        }
        let k = (1000.0 * 0.3 / 0.4f64).cbrt();
        let back = back.expect("the window grew back");
        println!("back at W_max after {back:.1} s, K = {k:.1} s");
        assert!((back - k).abs() < 2.3, "{back} against K = {k}");
    }

    #[test]
    fn fast_convergence_lowers_w_max_when_the_window_shrinks_twice() {
        let mut c = Cubic::new(1000);
        c.cwnd = 100_000;
        c.cut(Cut::Loss, 100_000, 0, u32::MAX);
        assert_eq!(c.w_max, 100_000);
        c.cwnd = 80_000;
        c.cut(Cut::Loss, 80_000, 0, u32::MAX);
        assert_eq!(c.w_max, 68_000);
    }

    #[test]
    fn an_ecn_mark_cuts_less_than_a_loss() {
        let mut c = Cubic::new(1000);
        c.cwnd = 100_000;
        c.cut(Cut::Ecn, 100_000, 0, u32::MAX);
        assert_eq!(c.ssthresh, 85_000);
    }

    #[test]
    fn a_cut_can_be_undone() {
        let mut c = Cubic::new(1000);
        c.cwnd = 100_000;
        let saved = c.cut(Cut::Loss, 100_000, 0, u32::MAX);
        c.cwnd = c.ssthresh;
        c.undo(&saved);
        assert_eq!((c.cwnd, c.ssthresh), (100_000, u32::MAX));
    }
}
