//! What may leave while nothing is acknowledged.
//!
//! When the acknowledgements cease, either the way to the phone has stopped or the way back has, and nobody can tell
//! which. If it is the way back, the link goes on delivering, and all that it could have carried is lost once it has run
//! empty; if it is the way there, whatever is sent makes the queue longer by that much. So what is sent on is the rate
//! that the link had, times the odds that it is the way back: one in six at first, then what the phone's clock has told
//! of the silences that are over (Laplace's rule of succession, over time instead of cases). It ceases after half a second,
//! and after as much more as the way back is remembered to have stopped: then only probes leave.

use super::control::bytes_in;
use super::oneway::Split;
use crate::api::Now;

const MS: u64 = 1_000_000;
/// Acknowledgements that come less far apart are no silence, ns; the link is taken to run empty in it after so long.
const BEGINS_NS: u64 = 150 * MS;
const EMPTY_NS: u64 = 60 * MS;
/// What could have been carried is sent for so much of it at least, ns.
const LASTS_NS: u64 = 400 * MS;
/// What is thought of silences before any was seen weighs like so much of them, a sixth of it of the way back; and so
/// much is remembered, ns.
const PRIOR_NS: u64 = 1_000 * MS;
const MEMORY_NS: u64 = 8_000 * MS;
/// How often it is looked at, ns: a power of two, so that a timer is set once for many acknowledgements.
const LOOK_SHIFT: u32 = 23;

/// The silences of one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct Silence {
    /// When something was acknowledged last, or should have been since.
    heard: Now,
    /// How long silences lasted in all, and how much of that the way back had stopped, ns.
    whole: u64,
    back: u64,
}

impl Silence {
    /// None yet.
    pub fn new(now: Now) -> Silence {
        Silence { heard: now, whole: 0, back: 0 }
    }

    /// Nothing was in flight; what leaves now is acknowledged in `rtt` ns.
    pub fn begin(&mut self, now: Now, rtt: u64) {
        self.heard = self.heard.max(now.after_ns(rtt));
    }

    /// Something was acknowledged.
    pub fn heard(&mut self, now: Now, split: Option<Split>) {
        let silent = now.since(self.heard);
        self.heard = self.heard.max(now);
        if let Some(split) = split.filter(|_| silent > BEGINS_NS) {
            self.whole += silent;
            self.back += split.up_ns.min(silent);
            if self.whole > MEMORY_NS {
                (self.whole, self.back) = (self.whole / 2, self.back / 2);
            }
        }
    }

    /// What could have been carried is sent for so much of a silence, ns.
    fn lasts(&self) -> u64 {
        LASTS_NS + self.back
    }

    /// Bytes that may be in flight beyond the budget, where the link carries `rate` bytes a second.
    pub fn credit(&self, now: Now, rate: u64) -> u64 {
        let silent = now.since(self.heard);
        if silent < BEGINS_NS {
            return 0;
        }
        let odds = (self.back + PRIOR_NS / 6) * 256 / (self.whole + PRIOR_NS);
        bytes_in(rate, (silent - EMPTY_NS).min(self.lasts())) * odds / 256
    }

    /// When there may be more of that; `None`: not before something is acknowledged.
    pub fn look(&self, now: Now) -> Option<Now> {
        let at = now.max(self.heard.after_ns(BEGINS_NS));
        let over = now.since(self.heard) > EMPTY_NS + self.lasts();
        (!over).then(|| Now(((at.0 >> LOOK_SHIFT) + 1) << LOOK_SHIFT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: u64 = 1_000_000;

    /// So many silences of a second, in each of which the way back had stopped for `back_ms`; then what is sent in the
    /// next one, bytes.
    fn after(silences: u64, back_ms: u64) -> u64 {
        let mut silence = Silence::new(Now(0));
        for second in 1..=silences {
            silence.heard(Now(second * 1_000 * MS), Some(Split { up_ns: back_ms * MS, down_ns: 0 }));
        }
        silence.credit(Now((silences + 10) * 1_000 * MS), RATE)
    }

    #[test]
    fn a_sixth_of_what_the_link_carried_is_sent_into_a_first_silence_for_half_a_second() {
        let silence = Silence::new(Now(0));
        assert_eq!(silence.credit(Now(BEGINS_NS - 1), RATE), 0);
        assert_eq!(silence.credit(Now(260 * MS), RATE), 32_812);
        assert_eq!(silence.credit(Now(60_000 * MS), RATE), 65_625);
        assert!(silence.look(Now(450 * MS)).is_some());
        assert_eq!(silence.look(Now(461 * MS)), None);
    }

    #[test]
    fn what_earlier_silences_were_decides() {
        assert!(after(20, 1_000) > 340_000, "{}", after(20, 1_000));
        assert!(after(20, 0) < 25_000, "{}", after(20, 0));
        let mut changed = Silence::new(Now(0));
        for second in 1..=40 {
            let up_ns = if second <= 20 { 1_000 * MS } else { 0 };
            changed.heard(Now(second * 1_000 * MS), Some(Split { up_ns, down_ns: 0 }));
        }
        assert!(changed.credit(Now(50_000 * MS), RATE) < 80_000);
    }

    #[test]
    fn it_goes_on_for_as_long_as_the_way_back_is_remembered_to_have_stopped() {
        let mut silence = Silence::new(Now(0));
        let end = 3_000 * MS;
        silence.heard(Now(end), Some(Split { up_ns: 2_900 * MS, down_ns: 0 }));
        let odds = (2_900 + 1_000 / 6) * 256 / 4_000;
        let most = 3_300 * RATE / 1_000 * odds / 256;
        for (ms, bytes) in [(100, 0), (1_060, RATE * odds / 256), (3_360, most), (60_000, most)] {
            assert!(silence.credit(Now(end + ms * MS), RATE).abs_diff(bytes) <= RATE / 256, "{ms} ms");
        }
        assert!(silence.look(Now(end + 3_300 * MS)).is_some());
        assert_eq!(silence.look(Now(end + 3_361 * MS)), None);
    }

    #[test]
    fn a_timer_is_set_once_for_many_acknowledgements() {
        let mut silence = Silence::new(Now(0));
        let mut times = std::collections::BTreeSet::new();
        for us in 0..8_000 {
            let now = Now(us * 1_000);
            silence.heard(now, None);
            times.extend(silence.look(now));
        }
        assert!(times.len() <= 2, "{times:?}");
        assert!(times.iter().all(|t| t.0 > BEGINS_NS));
    }
}
