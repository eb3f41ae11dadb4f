//! Congestion control of the model senders: Reno, CUBIC, and the frame that BBR (in its own file) fits in.

use super::bbr::Bbr;
use super::config::CcKind;

/// What an ACK told. Bytes and ns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AckSample {
    pub now: u64,
    /// Newly delivered, cumulatively or selectively.
    pub delivered: u64,
    /// Delivered since the connection began, and when the sampled segment was sent.
    pub total: u64,
    pub prior_total: u64,
    pub rtt: Option<u64>,
    pub min_rtt: u64,
    /// Delivery rate, bytes per second, and whether the application limited it.
    pub rate: Option<f64>,
    pub app_limited: bool,
    /// In flight before and after this ACK.
    pub before: u64,
    pub in_flight: u64,
    pub in_recovery: bool,
}

#[derive(Debug)]
enum Algorithm {
    Reno,
    Cubic(Cubic),
    Bbr(Box<Bbr>),
}

/// A congestion window and who governs it.
#[derive(Debug)]
pub(super) struct Cc {
    pub cwnd: u64,
    pub ssthresh: u64,
    mss: u64,
    algorithm: Algorithm,
    undo: (u64, u64, Option<Cubic>),
}

impl Cc {
    pub(super) fn new(kind: CcKind, hystart: bool, mss: u64, iw: u32, seed: u64) -> Cc {
        let algorithm = match kind {
            CcKind::Reno => Algorithm::Reno,
            CcKind::Cubic => Algorithm::Cubic(Cubic { hystart, ..Cubic::default() }),
            CcKind::Bbr => Algorithm::Bbr(Box::new(Bbr::new(mss, u64::from(iw) * mss, seed))),
        };
        Cc { cwnd: u64::from(iw) * mss, ssthresh: u64::MAX, mss, algorithm, undo: (0, 0, None) }
    }

    /// True if the model and not loss decides: neither PRR nor the usual cuts apply.
    pub(super) fn is_bbr(&self) -> bool {
        matches!(self.algorithm, Algorithm::Bbr(_))
    }

    /// Bytes per second, if the sender is paced.
    pub(super) fn pacing_rate(&self) -> Option<f64> {
        match &self.algorithm {
            Algorithm::Bbr(bbr) => Some(bbr.pacing_rate()),
            _ => None,
        }
    }

    pub(super) fn on_ack(&mut self, s: &AckSample) {
        match &mut self.algorithm {
            Algorithm::Bbr(bbr) => self.cwnd = bbr.on_ack(s, self.cwnd),
            _ if s.in_recovery => {}
            Algorithm::Reno => {
                if s.before + self.mss >= self.cwnd || self.cwnd < self.ssthresh && 2 * s.before >= self.cwnd {
                    self.cwnd += if self.cwnd < self.ssthresh {
                        s.delivered
                    } else {
                        (self.mss * s.delivered).div_ceil(self.cwnd)
                    };
                }
            }
            Algorithm::Cubic(cubic) => {
                if self.cwnd < self.ssthresh {
                    if 2 * s.before >= self.cwnd {
                        self.cwnd += s.delivered;
                    }
                    if cubic.hystart && cubic.delay_grew(s, self.cwnd, self.mss) {
                        self.ssthresh = self.cwnd;
                    }
                } else if s.before + self.mss >= self.cwnd {
                    cubic.grow(s, &mut self.cwnd, self.mss);
                } else {
                    cubic.idle();
                }
            }
        }
    }

    /// Loss was found: the window that recovery aims at is set as `ssthresh`.
    pub(super) fn on_loss(&mut self) {
        let cubic = if let Algorithm::Cubic(c) = &self.algorithm { Some(c.clone()) } else { None };
        self.undo = (self.cwnd, self.ssthresh, cubic);
        match &mut self.algorithm {
            Algorithm::Reno => self.ssthresh = (self.cwnd / 2).max(2 * self.mss),
            Algorithm::Cubic(c) => self.ssthresh = c.cut(self.cwnd, self.mss),
            Algorithm::Bbr(bbr) => bbr.on_loss(self.cwnd),
        }
    }

    pub(super) fn on_rto(&mut self) {
        self.on_loss();
        match &mut self.algorithm {
            Algorithm::Bbr(bbr) => self.cwnd = bbr.on_rto(),
            _ => self.cwnd = self.mss,
        }
    }

    pub(super) fn on_recovery_end(&mut self) {
        match &mut self.algorithm {
            Algorithm::Bbr(bbr) => self.cwnd = bbr.restore(self.cwnd),
            _ => self.cwnd = self.ssthresh.max(2 * self.mss).min(self.cwnd.max(self.ssthresh)),
        }
    }

    /// The loss was none.
    pub(super) fn undo(&mut self) {
        let (cwnd, ssthresh, cubic) = std::mem::take(&mut self.undo);
        self.cwnd = self.cwnd.max(cwnd);
        self.ssthresh = self.ssthresh.max(ssthresh);
        match &mut self.algorithm {
            Algorithm::Bbr(bbr) => self.cwnd = bbr.restore(self.cwnd),
            Algorithm::Cubic(c) => *c = cubic.unwrap_or_default(),
            Algorithm::Reno => {}
        }
    }
}

/// CUBIC's state (RFC 9438); windows in segments.
#[derive(Clone, Debug, Default)]
struct Cubic {
    hystart: bool,
    w_max: f64,
    w_est: f64,
    k: f64,
    epoch: Option<u64>,
    /// HyStart (RFC 9406 section 4.2, with Linux's exit straight to congestion avoidance).
    round_end: u64,
    round_min: u64,
    samples: u32,
}

impl Cubic {
    const C: f64 = 0.4;
    const BETA: f64 = 0.7;

    fn grow(&mut self, s: &AckSample, cwnd: &mut u64, mss: u64) {
        let w = *cwnd as f64 / mss as f64;
        let acked = s.delivered as f64 / mss as f64;
        let epoch = *self.epoch.get_or_insert_with(|| {
            self.w_est = w;
            if self.w_max < w {
                self.w_max = w;
            }
            self.k = ((self.w_max - w) / Self::C).cbrt();
            s.now
        });
        // RFC 9438 section 4.2: the window that the cubic will have one round trip from now.
        let t = (s.now - epoch) as f64 / 1e9 + s.min_rtt as f64 / 1e9;
        let target = (Self::C * (t - self.k).powi(3) + self.w_max).clamp(w, 1.5 * w);
        // Section 4.3: at least as fast as Reno with the same beta would.
        let alpha = if self.w_est < self.w_max { 3.0 * (1.0 - Self::BETA) / (1.0 + Self::BETA) } else { 1.0 };
        self.w_est += alpha * acked / w;
        let grown = w + (target - w) / w * acked;
        *cwnd = (grown.max(self.w_est) * mss as f64) as u64;
    }

    /// Time in which the application limits does not count (RFC 9438 section 4.2): growth starts anew from here.
    fn idle(&mut self) {
        self.epoch = None;
    }

    fn cut(&mut self, cwnd: u64, mss: u64) -> u64 {
        let w = cwnd as f64 / mss as f64;
        // Section 4.7, fast convergence.
        self.w_max = if w < self.w_max { w * (1.0 + Self::BETA) / 2.0 } else { w };
        self.epoch = None;
        ((w * Self::BETA).max(2.0) * mss as f64) as u64
    }

    fn delay_grew(&mut self, s: &AckSample, cwnd: u64, mss: u64) -> bool {
        const LOW_WINDOW: u64 = 16;
        if s.prior_total >= self.round_end {
            self.round_end = s.total;
            self.round_min = u64::MAX;
            self.samples = 0;
        }
        let Some(rtt) = s.rtt else { return false };
        if self.samples < 8 {
            self.round_min = self.round_min.min(rtt);
        }
        self.samples += 1;
        let base = s.min_rtt;
        let threshold = (base / 8).clamp(4_000_000, 16_000_000);
        cwnd >= LOW_WINDOW * mss && self.samples >= 8 && base > 0 && self.round_min >= base + threshold
    }
}
