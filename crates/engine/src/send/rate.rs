//! Delivery rate and rounds.
//!
//! The rate of a sample is the bytes delivered between a segment's transmission and its delivery over the longer of the
//! time that they took to be sent and to be acknowledged (draft-ietf-ccwg-bbr, section on delivery rate), so that
//! neither a burst of ACKs nor one of sends inflates it.

use super::queue::{Node, APP_LIMITED, SENT};
use crate::api::Now;

/// Rounds that a maximum is believed: between this and twice this.
const MAX_ROUNDS: u32 = 5;

/// Times of segments are kept in µs, wrapping.
fn us(now: Now) -> u32 {
    (now.0 / 1000) as u32
}

#[derive(Clone, Debug, Default)]
#[repr(C)]
pub(super) struct Rate {
    /// Bytes delivered in all.
    pub delivered: u64,
    delivered_us: u32,
    first_us: u32,
    /// Bytes delivered when the sender last ran out of data; 0: it did not since.
    limited_until: u64,
    /// The newest segment delivered by the ACK at hand.
    sample: Option<Sample>,
    /// A round ends when something sent after this many bytes were delivered is delivered itself.
    round_end: u64,
    /// Rounds so far.
    pub rounds: u32,
    max_now: u64,
    max_before: u64,
    max_since: u32,
    /// Highest samples of this round and the one before.
    round_now: u64,
    round_before: u64,
    latest: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    delivered: u32,
    delivered_us: u32,
    first_us: u32,
    sent_us: u32,
    limited: bool,
}

impl Rate {
    /// A segment is being sent.
    pub fn stamp(&mut self, now: Now, node: &mut Node, flight: u32) {
        if flight == 0 {
            self.first_us = us(now);
            self.delivered_us = us(now);
        }
        node.first_us = self.first_us;
        node.delivered = self.delivered as u32;
        node.delivered_us = self.delivered_us;
        node.flags = if self.limited_until > 0 { node.flags | APP_LIMITED } else { node.flags & !APP_LIMITED };
    }

    /// Nothing more to send with `flight` bytes under way: rates are lower bounds until those are through.
    pub fn ran_dry(&mut self, flight: u32) {
        self.limited_until = (self.delivered + u64::from(flight)).max(1);
    }

    /// A segment, or `bytes` of one, arrived at Y.
    pub fn delivered(&mut self, now: Now, node: &Node, bytes: u32) {
        self.delivered += u64::from(bytes);
        self.delivered_us = us(now);
        if !node.is(SENT) {
            return;
        }
        let newer = self.sample.is_none_or(|s| node.delivered.wrapping_sub(s.delivered) as i32 >= 0);
        if newer {
            let sent_us = us(node.xmit);
            self.sample = Some(Sample {
                delivered: node.delivered,
                delivered_us: node.delivered_us,
                first_us: node.first_us,
                sent_us,
                limited: node.is(APP_LIMITED),
            });
            self.first_us = sent_us;
        }
    }

    /// Ends an ACK: takes its sample, if what it acknowledges arrived just now. Returns true if a round ended.
    pub fn end_ack(&mut self, min_rtt_ns: u64, timely: bool) -> bool {
        if self.limited_until > 0 && self.delivered > self.limited_until {
            self.limited_until = 0;
        }
        let Some(s) = self.sample.take() else { return false };
        let bytes = (self.delivered as u32).wrapping_sub(s.delivered);
        let acked = self.delivered_us.wrapping_sub(s.delivered_us);
        let sent = s.sent_us.wrapping_sub(s.first_us);
        let interval = acked.max(sent);
        // Shorter than the least round trip: a measurement error (same section).
        if timely && interval > 0 && u64::from(interval) * 1000 >= min_rtt_ns / 2 {
            self.take(u64::from(bytes) * 1_000_000 / u64::from(interval), s.limited);
        }
        let newest_seen = self.delivered - u64::from(bytes);
        if newest_seen < self.round_end {
            return false;
        }
        self.round_end = self.delivered;
        self.end_round();
        true
    }

    fn take(&mut self, rate: u64, limited: bool) {
        self.latest = rate;
        self.round_now = self.round_now.max(rate);
        if !limited || rate >= self.max() {
            self.max_now = self.max_now.max(rate);
        }
    }

    fn end_round(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        self.round_before = self.round_now;
        self.round_now = 0;
        if self.limited_until == 0 && self.rounds.wrapping_sub(self.max_since) >= MAX_ROUNDS {
            self.max_since = self.rounds;
            self.max_before = self.max_now;
            self.max_now = 0;
        }
    }

    /// Maximum over the last rounds, bytes per second.
    pub fn max(&self) -> u64 {
        self.max_now.max(self.max_before)
    }

    /// Over the last round trip, bytes per second.
    pub fn latest(&self) -> u64 {
        self.latest
    }

    /// Maximum over this round and the one before, bytes per second.
    pub fn recent(&self) -> u64 {
        self.round_now.max(self.round_before)
    }
}
