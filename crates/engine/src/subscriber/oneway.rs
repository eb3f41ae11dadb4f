//! Which direction a delay is in, told by the phone's own timestamp clock (RFC 7323).
//!
//! An acknowledgement carries the time at the phone. Against our clock it grows with the delay of the way back, and
//! what it took to get there shrinks it; the two clocks' offset is unknown but constant. So each direction's delay is
//! known up to a constant, and its excess over the least that was seen is known outright.
//!
//! The clock's unit is not announced: it is learned from the first acknowledgements, as one of those in use.

use crate::api::Now;

const MS: u64 = 1_000_000;
/// Ticks per second of the clocks in use. RFC 7323 section 5.4 allows 1 to 1000.
const RATES: [u64; 6] = [1000, 250, 100, 10, 2, 1];
/// The unit is guessed once this much time and this many ticks have passed.
const LEARN_NS: u64 = 200 * MS;
const LEARN_TICKS: u32 = 3;
/// A clock is allowed to run wrong by so much: 1/4096 (244 ppm) before the least delays are mistaken, 1/128 before it is
/// taken for one of an unknown unit.
const DRIFT: u64 = 4096;
const STRANGE: u64 = 128;
/// A round trip this near the least had no queue in either direction, ns.
const NEAR_NS: u64 = 4 * MS;
/// Time between two such round trips that tells the clock's true rate.
const CHECK_NS: u64 = 2_000 * MS;

/// What one acknowledgement says of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Delay of the way to the phone above the least seen, ns. A lower bound: the least seen may have held a queue too.
    pub down_ns: u64,
    /// Delay of the way back above the least seen, ns. A lower bound likewise.
    pub up_ns: u64,
}

/// The clock of one flow's phone.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneWay {
    stage: Stage,
    /// When the clock showed its first value.
    origin: Now,
    /// The latest value, and the time by the phone's clock from the first one to it, ns.
    ticks: u32,
    phone_ns: u64,
    /// One tick, ns.
    tick_ns: u64,
    /// Least delay of the way back (up to a constant), as of when.
    least_up: i64,
    least_at: Now,
    least_rtt: u64,
    /// The way back when the round trip was least, and when.
    check_up: i64,
    check_at: Now,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Silent,
    Learning,
    Known,
    /// It ticks at no rate that is known.
    Strange,
}

impl OneWay {
    /// An acknowledgement that arrived at `now` with timestamp value `tsval`, of a segment sent at `sent`. `None` while
    /// the phone's clock is not understood.
    pub fn sample(&mut self, now: Now, tsval: u32, sent: Now) -> Option<Split> {
        let rtt = now.since(sent);
        match self.stage {
            Stage::Silent => {
                *self = OneWay { stage: Stage::Learning, origin: now, ticks: tsval, least_rtt: rtt, ..OneWay::default() };
                None
            }
            Stage::Learning => {
                self.least_rtt = self.least_rtt.min(rtt);
                self.learn(now, tsval);
                None
            }
            Stage::Known => self.split(now, tsval, rtt),
            Stage::Strange => None,
        }
    }

    /// Takes the unit that is nearest, by ratio.
    fn learn(&mut self, now: Now, tsval: u32) {
        let (ns, ticks) = (now.since(self.origin), tsval.wrapping_sub(self.ticks));
        if ns < LEARN_NS || !(LEARN_TICKS..=1 << 30).contains(&ticks) {
            return;
        }
        let seen = u64::from(ticks) * 1_000_000_000 / ns;
        let ratio = |rate: u64| 1000 * rate.max(seen) / rate.min(seen).max(1);
        let rate = RATES.into_iter().min_by_key(|&r| ratio(r)).filter(|&r| ratio(r) < 1500);
        match rate {
            Some(rate) => {
                self.stage = Stage::Known;
                self.tick_ns = 1_000_000_000 / rate;
                self.origin = now;
                self.ticks = tsval;
                self.least_up = i64::MAX;
                self.least_at = now;
            }
            None => self.stage = Stage::Strange,
        }
    }

    fn split(&mut self, now: Now, tsval: u32, rtt: u64) -> Option<Split> {
        let ahead = i64::from(tsval.wrapping_sub(self.ticks) as i32) * self.tick_ns as i64;
        let up = now.since(self.origin) as i64 - (self.phone_ns as i64 + ahead);
        if ahead > 0 {
            self.phone_ns += ahead as u64;
            self.ticks = tsval;
        }
        // A clock that is slow makes the way back look ever longer: the least delay rises by as much as it may drift.
        let drift = (now.since(self.least_at) / DRIFT) as i64;
        self.least_up = self.least_up.saturating_add(drift).min(up);
        self.least_at = now;
        self.least_rtt = self.least_rtt.min(rtt);
        if rtt <= self.least_rtt + NEAR_NS {
            self.check(now, up);
            if self.stage == Stage::Strange {
                return None;
            }
        }
        let excess = rtt - self.least_rtt;
        // What is left of a tick may have passed before the value was read: at least so much is sure.
        let sure = ((up - self.least_up) as u64).saturating_sub(self.tick_ns);
        let up_ns = sure.min(excess);
        Some(Split { up_ns, down_ns: (excess - up_ns).saturating_sub(self.tick_ns) })
    }

    /// The round trip is at its least, so the way back is: two such moments tell the clock's rate.
    fn check(&mut self, now: Now, up: i64) {
        if self.check_at == Now(0) {
            (self.check_at, self.check_up) = (now, up);
            return;
        }
        let ns = now.since(self.check_at);
        if ns < CHECK_NS {
            return;
        }
        let off = up.abs_diff(self.check_up).saturating_sub(self.tick_ns + NEAR_NS);
        if off > ns / STRANGE {
            self.stage = Stage::Strange;
        }
        (self.check_at, self.check_up) = (now, up);
        self.least_up = self.least_up.max(up - NEAR_NS as i64 - self.tick_ns as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phone whose clock has `rate` ticks a second, off by `ppm`. Feeds an ACK every 20 ms; `up` gives the delay of the
    /// way back in ms above 25, `down` that of the way there. From the time that the clock is known on: when (ms), what
    /// was made of it, and the true delay of the way back above 25 ms, ns (ACKs do not overtake each other).
    fn run(rate: u64, ppm: i64, seconds: u64, down: impl Fn(u64) -> u64, up: impl Fn(u64) -> u64) -> Vec<(u64, Split, u64)> {
        let mut clock = OneWay::default();
        let mut out = Vec::new();
        let mut last = 0;
        for ms in (100..seconds * 1000).step_by(20) {
            let at_phone = (ms + 25 + down(ms)) * MS + 123_456;
            let now = (at_phone + (25 + up(ms)) * MS).max(last);
            last = now;
            let skewed = (at_phone as i128 * i128::from(1_000_000 + ppm) / 1_000_000) as u64;
            let tsval = 0xFFFF_F000u32.wrapping_add((skewed as u128 * u128::from(rate) / 1_000_000_000) as u32);
            if let Some(split) = clock.sample(Now(now), tsval, Now(ms * MS)) {
                out.push((ms, split, now - at_phone - 25 * MS));
            }
        }
        out
    }

    #[test]
    fn a_full_uplink_is_told_from_a_full_downlink_on_clocks_of_each_unit() {
        for (rate, error) in [(1000, 2), (250, 8), (100, 20)] {
            for ppm in [0, 200, -200] {
                let full_up = |ms| if (5_000..15_000).contains(&ms) { 500 } else { 0 };
                let full_down = |ms| if (20_000..30_000).contains(&ms) { 300 } else { 0 };
                let seen = run(rate, ppm, 40, full_down, full_up);
                assert!(seen.len() > 1500, "{rate} Hz is understood");
                for (ms, s, true_up) in seen {
                    let (up, down) = (s.up_ns / MS, s.down_ns / MS);
                    // 10 ms is what a clock may drift unseen while the uplink is full.
                    assert!(up.abs_diff(true_up / MS) <= error + 10, "{rate} Hz {ppm} ppm at {ms} ms: up {up}");
                    assert!(down.abs_diff(full_down(ms)) <= error + 10, "{rate} Hz {ppm} ppm at {ms} ms: down {down}");
                }
            }
        }
    }

    #[test]
    fn a_coarse_clock_never_claims_more_than_is_sure() {
        for rate in [10, 2, 1] {
            for (ms, s, true_up) in run(rate, 100, 40, |ms| (ms / 7) % 60, |ms| (ms / 11) % 40) {
                assert!(s.up_ns <= true_up + 5 * MS, "{rate} Hz at {ms} ms: {s:?}, truly {true_up}");
            }
        }
    }

    #[test]
    fn a_clock_of_an_unknown_unit_is_not_used_for_long() {
        let seen = run(1100, 0, 60, |_| 0, |_| 0);
        assert!(seen.last().is_none_or(|s| s.0 < 6_000), "{:?}", seen.last());
        for rate in [30, 40_000] {
            assert!(run(rate, 0, 20, |_| 0, |_| 0).is_empty(), "{rate} Hz");
        }
    }
}
