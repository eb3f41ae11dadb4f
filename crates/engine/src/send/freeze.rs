//! The record that stays of a sender with nothing outstanding.

use super::cubic::Cubic;
use super::types::FrozenSender;
use super::Sender;
use crate::api::Now;

/// Nanoseconds as µs that fit 32 bits.
fn us(ns: u64) -> u32 {
    (ns / 1000).min(u64::from(u32::MAX)) as u32
}

impl Sender {
    /// The compact record of an idle sender ([`Sender::is_idle`]).
    pub fn freeze(&self) -> FrozenSender {
        debug_assert!(self.is_idle());
        FrozenSender {
            una: self.una,
            window: self.window(),
            srtt_us: us(self.rtt.smoothed()),
            min_rtt_us: us(self.rtt.min()),
            cwnd: if self.prr.active { self.cc.ssthresh } else { self.cc.cwnd },
            ssthresh: self.cc.ssthresh,
            reordering_us: us(self.rack.learned),
        }
    }

    /// Becomes, where it stands, the sender that [`Sender::freeze`] left, at time `now`.
    pub fn wake(&mut self, frozen: &FrozenSender, now: Now) {
        let ns = |us: u32| u64::from(us) * 1000;
        self.awake = true;
        self.rtt.seed(ns(frozen.srtt_us), ns(frozen.min_rtt_us), now);
        self.rack.learn(ns(frozen.reordering_us));
        self.cc = Cubic::new(u32::from(self.params.mss));
        if frozen.cwnd > 0 {
            self.cc.cwnd = frozen.cwnd;
            self.cc.ssthresh = frozen.ssthresh;
        }
    }
}
