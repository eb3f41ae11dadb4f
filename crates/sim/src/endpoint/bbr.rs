//! BBR version 1 as Linux has it: a model of the path (bottleneck bandwidth, minimum RTT) sets rate and window.

use super::cc::AckSample;
use crate::rng::Rng;

const HIGH_GAIN: f64 = 2.885;
const CYCLE: [f64; 8] = [1.25, 0.75, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0];
const BW_ROUNDS: u64 = 10;
const MIN_RTT_NS: u64 = 10_000_000_000;
const PROBE_RTT_NS: u64 = 200_000_000;
const MIN_SEGMENTS: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Startup,
    Drain,
    ProbeBw,
    ProbeRtt,
}

#[derive(Debug)]
pub(super) struct Bbr {
    mode: Mode,
    mss: u64,
    initial_cwnd: u64,
    /// Largest delivery rates of the last rounds: (round, bytes per second), falling.
    bw: Vec<(u64, f64)>,
    round: u64,
    round_end: u64,
    min_rtt: u64,
    min_rtt_at: u64,
    full_bw: f64,
    full_rounds: u32,
    cycle: usize,
    cycle_at: u64,
    probe_rtt_done: Option<u64>,
    probe_rtt_round: bool,
    prior_cwnd: u64,
    /// Packet conservation in the first round of recovery.
    conserve_until: Option<u64>,
    was_in_recovery: bool,
    /// Largest excess of an ACK over what the bandwidth explains, over the last and the present window of five rounds.
    extra: [u64; 2],
    extra_rounds: u64,
    epoch_at: u64,
    epoch_acked: u64,
    rng: Rng,
}

impl Bbr {
    pub(super) fn new(mss: u64, initial_cwnd: u64, seed: u64) -> Bbr {
        Bbr {
            mode: Mode::Startup,
            mss,
            initial_cwnd,
            bw: Vec::new(),
            round: 0,
            round_end: 0,
            min_rtt: u64::MAX,
            min_rtt_at: 0,
            full_bw: 0.0,
            full_rounds: 0,
            cycle: 0,
            cycle_at: 0,
            probe_rtt_done: None,
            probe_rtt_round: false,
            prior_cwnd: 0,
            conserve_until: None,
            was_in_recovery: false,
            extra: [0; 2],
            extra_rounds: 0,
            epoch_at: 0,
            epoch_acked: 0,
            rng: Rng::stream(seed, 0xbb),
        }
    }

    fn max_bw(&self) -> f64 {
        self.bw.first().map_or(0.0, |b| b.1)
    }

    fn gains(&self) -> (f64, f64) {
        match self.mode {
            Mode::Startup => (HIGH_GAIN, HIGH_GAIN),
            Mode::Drain => (1.0 / HIGH_GAIN, HIGH_GAIN),
            Mode::ProbeBw => (CYCLE[self.cycle], 2.0),
            Mode::ProbeRtt => (1.0, 1.0),
        }
    }

    pub(super) fn pacing_rate(&self) -> f64 {
        let bw = if self.bw.is_empty() {
            let rtt = if self.min_rtt == u64::MAX { 1_000_000 } else { self.min_rtt.max(1) };
            self.initial_cwnd as f64 * 1e9 / rtt as f64
        } else {
            self.max_bw()
        };
        // Linux paces one percent below the model (bbr_pacing_margin_percent).
        (bw * self.gains().0 * 0.99).max(1000.0)
    }

    fn bdp(&self, gain: f64) -> u64 {
        if self.min_rtt == u64::MAX {
            return self.initial_cwnd;
        }
        (self.max_bw() * self.min_rtt as f64 / 1e9 * gain) as u64
    }

    /// The window for this gain: BDP, room for three bursts of the sending host, and for aggregated ACKs.
    fn target(&self, gain: f64) -> u64 {
        let burst = ((self.pacing_rate() / 1000.0) as u64).clamp(2 * self.mss, 64 << 10);
        self.bdp(gain) + 3 * burst
    }

    pub(super) fn on_ack(&mut self, s: &AckSample, cwnd: u64) -> u64 {
        let new_round = s.prior_total >= self.round_end;
        if new_round {
            self.round_end = s.total;
            self.round += 1;
        }
        if let Some(rate) = s.rate {
            if !s.app_limited || rate >= self.max_bw() {
                self.bw.retain(|b| b.1 > rate && b.0 + BW_ROUNDS > self.round);
                self.bw.push((self.round, rate));
            }
        }
        if self.bw.len() > 1 {
            let round = self.round;
            self.bw.retain(|b| b.0 + BW_ROUNDS > round);
        }
        self.measure_aggregation(s, cwnd, new_round);
        self.next_phase(s);
        self.check_full(s, new_round);
        self.check_drain(s);
        let cwnd = self.check_min_rtt(s, cwnd, new_round);
        self.window(s, cwnd)
    }

    fn measure_aggregation(&mut self, s: &AckSample, cwnd: u64, new_round: bool) {
        if new_round {
            self.extra_rounds += 1;
            if self.extra_rounds >= 5 {
                self.extra_rounds = 0;
                self.extra = [self.extra[1], 0];
            }
        }
        let expected = (self.max_bw() * (s.now - self.epoch_at) as f64 / 1e9) as u64;
        if self.epoch_acked <= expected {
            self.epoch_at = s.now;
            self.epoch_acked = 0;
            self.epoch_acked += s.delivered;
            self.extra[1] = self.extra[1].max(s.delivered.min(cwnd));
            return;
        }
        self.epoch_acked += s.delivered;
        self.extra[1] = self.extra[1].max((self.epoch_acked - expected).min(cwnd));
    }

    fn next_phase(&mut self, s: &AckSample) {
        if self.mode != Mode::ProbeBw || self.min_rtt == u64::MAX {
            return;
        }
        let gain = CYCLE[self.cycle];
        let full_length = s.now - self.cycle_at > self.min_rtt;
        let next = if gain > 1.0 {
            full_length && (s.in_recovery || s.before >= self.target(gain))
        } else {
            full_length || gain < 1.0 && s.before <= self.target(1.0)
        };
        if next {
            self.cycle = (self.cycle + 1) % CYCLE.len();
            self.cycle_at = s.now;
        }
    }

    fn check_full(&mut self, s: &AckSample, new_round: bool) {
        if self.full_rounds >= 3 || !new_round || s.app_limited {
            return;
        }
        if self.max_bw() >= self.full_bw * 1.25 {
            self.full_bw = self.max_bw();
            self.full_rounds = 0;
        } else {
            self.full_rounds += 1;
        }
    }

    fn check_drain(&mut self, s: &AckSample) {
        if self.mode == Mode::Startup && self.full_rounds >= 3 {
            self.mode = Mode::Drain;
        }
        if self.mode == Mode::Drain && s.in_flight <= self.bdp(1.0) + 3 * 2 * self.mss {
            self.probe_bw(s.now);
        }
    }

    fn probe_bw(&mut self, now: u64) {
        self.mode = Mode::ProbeBw;
        // Any phase but the draining one.
        self.cycle = (8 - 1 - self.rng.below(7) as usize + 1) % CYCLE.len();
        self.cycle_at = now;
    }

    fn check_min_rtt(&mut self, s: &AckSample, mut cwnd: u64, new_round: bool) -> u64 {
        let expired = s.now > self.min_rtt_at + MIN_RTT_NS;
        if let Some(rtt) = s.rtt {
            if rtt <= self.min_rtt || expired {
                self.min_rtt = rtt;
                self.min_rtt_at = s.now;
            }
        }
        if expired && self.mode != Mode::ProbeRtt && self.min_rtt != u64::MAX {
            self.mode = Mode::ProbeRtt;
            self.prior_cwnd = self.prior_cwnd.max(cwnd);
            self.probe_rtt_done = None;
        }
        if self.mode != Mode::ProbeRtt {
            return cwnd;
        }
        match self.probe_rtt_done {
            None if s.in_flight <= MIN_SEGMENTS * self.mss => {
                self.probe_rtt_done = Some(s.now + PROBE_RTT_NS);
                self.probe_rtt_round = false;
                self.round_end = s.total;
            }
            None => {}
            Some(done) => {
                self.probe_rtt_round |= new_round;
                if self.probe_rtt_round && s.now >= done {
                    self.min_rtt_at = s.now;
                    cwnd = self.restore(cwnd);
                    if self.full_rounds >= 3 {
                        self.probe_bw(s.now);
                    } else {
                        self.mode = Mode::Startup;
                    }
                }
            }
        }
        cwnd
    }

    fn window(&mut self, s: &AckSample, cwnd: u64) -> u64 {
        let floor = MIN_SEGMENTS * self.mss;
        let mut cwnd = cwnd;
        if s.in_recovery && !self.was_in_recovery {
            self.conserve_until = Some(s.total);
            cwnd = s.in_flight + s.delivered;
        } else if !s.in_recovery && self.was_in_recovery {
            cwnd = self.restore(cwnd);
            self.conserve_until = None;
        }
        self.was_in_recovery = s.in_recovery;
        if self.conserve_until.is_some_and(|until| s.prior_total >= until) {
            self.conserve_until = None;
        }
        if self.conserve_until.is_some() {
            cwnd = cwnd.max(s.in_flight + s.delivered);
        } else {
            let gain = self.gains().1;
            let target = self.target(gain) + self.extra[0].max(self.extra[1]);
            if self.full_rounds >= 3 {
                cwnd = (cwnd + s.delivered).min(target);
            } else if cwnd < target || s.total < self.initial_cwnd {
                cwnd += s.delivered;
            }
        }
        cwnd = cwnd.max(floor);
        if self.mode == Mode::ProbeRtt {
            cwnd = cwnd.min(floor);
        }
        cwnd
    }

    pub(super) fn on_loss(&mut self, cwnd: u64) {
        self.prior_cwnd = if self.was_in_recovery { self.prior_cwnd.max(cwnd) } else { cwnd };
    }

    pub(super) fn on_rto(&mut self) -> u64 {
        self.full_bw = 0.0;
        self.mss
    }

    pub(super) fn restore(&mut self, cwnd: u64) -> u64 {
        cwnd.max(std::mem::take(&mut self.prior_cwnd))
    }
}
