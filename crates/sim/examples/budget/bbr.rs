//! A BBR-like limit for comparison: pacing and window from the sender's own delivery-rate and RTT filters.

use smartwire_engine::send::Sender;
use smartwire_engine::Now;

const MS: u64 = 1_000_000;
const CYCLE: [u64; 8] = [125, 75, 100, 100, 100, 100, 100, 100];

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Startup,
    Drain,
    Probe,
}

/// BBRv1's state machine (gains of Linux); the filters are the sender's: rate over five to ten rounds, RTT over ten to
/// twenty seconds.
#[derive(Clone, Debug)]
pub struct Bbr {
    state: State,
    full: u64,
    full_rounds: u32,
    cycle: usize,
    round_began: u64,
    low_rtt_at: u64,
    low_rtt: u64,
    probe_rtt_until: Option<u64>,
    next_send: u64,
    /// ACK aggregation (Linux 5.1 and later): bytes acknowledged beyond what the rate explains since `epoch`, and the
    /// most of that over the last five to ten round trips.
    epoch: u64,
    epoch_acked: u64,
    extra: [u64; 2],
    extra_rounds: u32,
    extra_at: u64,
}

impl Bbr {
    pub fn new() -> Bbr {
        Bbr {
            state: State::Startup,
            full: 0,
            full_rounds: 0,
            cycle: 2,
            round_began: 0,
            low_rtt_at: 0,
            low_rtt: u64::MAX,
            probe_rtt_until: None,
            next_send: 0,
            epoch: 0,
            epoch_acked: 0,
            extra: [0; 2],
            extra_rounds: 0,
            extra_at: 0,
        }
    }

    fn bdp(s: &Sender) -> u64 {
        (u128::from(s.delivery_rate()) * u128::from(s.min_rtt()) / 1_000_000_000) as u64
    }

    fn aggregate(&mut self, now: u64, s: &Sender, acked: u32) {
        if now >= self.extra_at + s.srtt() {
            self.extra_at = now;
            self.extra_rounds += 1;
            if self.extra_rounds >= 5 {
                self.extra_rounds = 0;
                self.extra = [0, self.extra[0]];
            }
        }
        let rate = s.delivery_rate();
        let expected = (u128::from(rate) * u128::from(now - self.epoch) / 1_000_000_000) as u64;
        if self.epoch_acked <= expected {
            (self.epoch, self.epoch_acked) = (now, 0);
        }
        let expected = if self.epoch_acked == 0 { 0 } else { expected };
        self.epoch_acked += u64::from(acked);
        let extra = (self.epoch_acked - expected.min(self.epoch_acked)).min(rate / 10);
        self.extra[0] = self.extra[0].max(extra);
    }

    pub fn on_ack(&mut self, now: u64, s: &Sender, acked: u32, rtt: Option<u64>) {
        self.aggregate(now, s, acked);
        let min = s.min_rtt().max(MS);
        if let Some(rtt) = rtt {
            if rtt <= self.low_rtt {
                (self.low_rtt, self.low_rtt_at) = (rtt, now);
            }
        }
        if now > self.low_rtt_at + 10_000 * MS && self.probe_rtt_until.is_none() {
            self.probe_rtt_until = Some(now + 200 * MS + min);
        }
        if self.probe_rtt_until.is_some_and(|t| now > t) {
            self.probe_rtt_until = None;
            (self.low_rtt, self.low_rtt_at) = (rtt.unwrap_or(min), now);
        }
        let round = now >= self.round_began + s.srtt().max(min);
        match self.state {
            State::Startup if round => {
                self.round_began = now;
                if s.delivery_rate() >= self.full + self.full / 4 {
                    self.full = s.delivery_rate();
                    self.full_rounds = 0;
                } else {
                    self.full_rounds += 1;
                    if self.full_rounds >= 3 {
                        self.state = State::Drain;
                    }
                }
            }
            State::Drain if u64::from(s.in_flight()) <= Bbr::bdp(s) => {
                self.state = State::Probe;
                self.round_began = now;
            }
            State::Probe => {
                let drained = CYCLE[self.cycle] < 100 && u64::from(s.in_flight()) <= Bbr::bdp(s);
                if now >= self.round_began + min || drained {
                    self.cycle = (self.cycle + 1) % CYCLE.len();
                    self.round_began = now;
                }
            }
            _ => {}
        }
    }

    fn gains(&self) -> (u64, u64) {
        match self.state {
            State::Startup => (289, 289),
            State::Drain => (35, 289),
            State::Probe => (CYCLE[self.cycle], 200),
        }
    }

    /// Bytes that may leave now, or when.
    pub fn allowance(&mut self, now: u64, s: &Sender) -> Result<u32, Option<Now>> {
        if now < self.next_send {
            return Err(Some(Now(self.next_send)));
        }
        let window = match self.probe_rtt_until {
            Some(_) => 4 * 1448,
            None => (Bbr::bdp(s) * self.gains().1 / 100 + 3 * 1448 + self.extra[0].max(self.extra[1])).max(14_600),
        };
        let room = window.saturating_sub(u64::from(s.in_flight()));
        if room < 1448 {
            return Err(None);
        }
        Ok(room.min(1 << 20) as u32)
    }

    pub fn sent(&mut self, now: u64, s: &Sender, bytes: u32) {
        let rate = s.delivery_rate() * self.gains().0 / 100;
        if rate > 0 {
            self.next_send = self.next_send.max(now.saturating_sub(MS)) + u64::from(bytes) * 1_000_000_000 / rate;
        }
    }
}
