//! The sending half of a model endpoint: scoreboard, loss detection by time (RACK) or by duplicate ACKs ([`acks`]),
//! transmission, retransmission timer (RFC 6298) and probes ([`output`]). Offsets: 0 is the SYN, 1 the first byte.

mod acks;
mod output;

use std::collections::VecDeque;

use super::cc::Cc;
use super::config::TcpConfig;

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    start: u64,
    end: u64,
    at: u64,
    times: u32,
    sacked: bool,
    /// Found lost and not sent again yet.
    lost: bool,
    /// Delivered bytes and when, at the time of sending; when the flight's first segment was sent (rate samples).
    delivered: u64,
    delivered_at: u64,
    first_sent_at: u64,
    app_limited: bool,
}

/// What to put on the wire: stream offsets, FIN included as the offset after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Emit {
    pub start: u64,
    pub end: u64,
    pub again: bool,
}

/// An ACK as the endpoint unwrapped it.
#[derive(Clone, Debug, Default)]
pub(super) struct AckIn {
    /// Offset of the ACK's own sequence number in the peer's stream.
    pub seq: u64,
    pub ack: u64,
    pub window: u64,
    /// Age of the echoed timestamp, ns, at a resolution of 1 ms.
    pub echo_age: Option<u64>,
    pub blocks: Vec<(u64, u64)>,
    pub ece: bool,
    /// It carries data, SYN or FIN: then it is no duplicate ACK.
    pub carries: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    Recovery,
    /// After a timeout.
    Loss,
}

/// Round-trip estimates (RFC 6298), ns.
#[derive(Debug)]
struct Rtt {
    smoothed: u64,
    variation: u64,
    /// Smallest of this and the last 10 s.
    min: [u64; 2],
    min_at: u64,
    latest: u64,
}

impl Rtt {
    fn sample(&mut self, now: u64, rtt: u64) {
        let rtt = rtt.max(1);
        self.latest = rtt;
        if self.smoothed == 0 {
            (self.smoothed, self.variation) = (rtt, rtt / 2);
        } else {
            self.variation = (3 * self.variation + self.smoothed.abs_diff(rtt)) / 4;
            self.smoothed = (7 * self.smoothed + rtt) / 8;
        }
        if now > self.min_at + 10_000_000_000 {
            (self.min, self.min_at) = ([self.min[1], rtt], now);
        }
        self.min = self.min.map(|m| m.min(rtt));
        self.min[1] = self.min[1].min(rtt);
    }
}

/// Counters of a sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendTotals {
    /// Data segments sent, first time or again.
    pub segments: u64,
    /// Segments with data sent again, for whatever reason. A FIN alone does not count: nobody but its receiver
    /// acknowledges it, so it may go twice where a backlog lies before it.
    pub retransmitted: u64,
    /// Retransmission timeouts.
    pub timeouts: u64,
    /// Tail loss probes that repeated data.
    pub probes: u64,
    /// Times that loss was found.
    pub recoveries: u64,
    /// Times that it was none.
    pub undone: u64,
    /// Pauses that a zero window made.
    pub pauses: u64,
}

#[derive(Debug)]
pub(super) struct Sender {
    pub mss: u64,
    pub una: u64,
    pub nxt: u64,
    right: u64,
    wl1: u64,
    wl2: u64,
    /// End of what the application has written.
    pub written: u64,
    pub fin: bool,
    segs: VecDeque<Sent>,
    sacked: u64,
    lost: u64,
    dup_acks: u64,
    sack: bool,
    highest_sacked: u64,
    /// When something was last sent again: without SACK what was sent before may have waited for that at the receiver
    /// (Karn's rule).
    resent_at: u64,
    reordering: bool,
    rtt: Rtt,
    rack_at: u64,
    rack_end: u64,
    rack_rtt: u64,
    phase: Phase,
    recover: u64,
    prr_delivered: u64,
    prr_out: u64,
    recover_flight: u64,
    /// For undoing: segments sent again in this episode that no DSACK has covered, and when the first was sent.
    undo_left: Option<i64>,
    first_again_at: u64,
    pub cc: Cc,
    delivered: u64,
    delivered_at: u64,
    first_sent_at: u64,
    app_limited_until: u64,
    rto_at: Option<u64>,
    backoff: u32,
    tries: u32,
    tlp_at: Option<u64>,
    tlp_sent: bool,
    tlp: bool,
    reo_at: Option<u64>,
    persist_at: Option<u64>,
    pace_at: u64,
    min_rto: u64,
    zero_window_pause: u64,
    asleep_until: u64,
    /// CWR is due on the next new segment, and no second cut before this offset is acknowledged.
    pub cwr: bool,
    ecn_recover: u64,
    pub totals: SendTotals,
    rtt_samples: Vec<u32>,
}

impl Sender {
    pub(super) fn new(cfg: &TcpConfig, mss: u64, sack: bool, seed: u64) -> Sender {
        Sender {
            mss,
            una: 1,
            nxt: 1,
            right: 1,
            wl1: 0,
            wl2: 0,
            written: 1,
            fin: false,
            segs: VecDeque::new(),
            sacked: 0,
            lost: 0,
            dup_acks: 0,
            sack,
            highest_sacked: 0,
            resent_at: 0,
            reordering: false,
            rtt: Rtt { smoothed: 0, variation: 0, min: [u64::MAX; 2], min_at: 0, latest: 0 },
            rack_at: 0,
            rack_end: 0,
            rack_rtt: 0,
            phase: Phase::Open,
            recover: 0,
            prr_delivered: 0,
            prr_out: 0,
            recover_flight: 0,
            undo_left: None,
            first_again_at: 0,
            cc: Cc::new(cfg.cc, cfg.hystart, mss, cfg.iw, seed),
            delivered: 0,
            delivered_at: 0,
            first_sent_at: 0,
            app_limited_until: 0,
            rto_at: None,
            backoff: 0,
            tries: 0,
            tlp_at: None,
            tlp_sent: false,
            tlp: cfg.tlp && sack,
            reo_at: None,
            persist_at: None,
            pace_at: 0,
            min_rto: cfg.min_rto_ns,
            zero_window_pause: cfg.zero_window_pause_ns,
            asleep_until: 0,
            cwr: false,
            ecn_recover: 0,
            totals: SendTotals::default(),
            rtt_samples: Vec::new(),
        }
    }

    /// The handshake's round trip, and the window that it ended with.
    pub(super) fn established(&mut self, now: u64, rtt: Option<u64>, window: u64) {
        if let Some(rtt) = rtt {
            self.rtt.sample(now, rtt);
        }
        self.right = 1 + window;
        self.delivered_at = now;
        self.first_sent_at = now;
    }

    pub(super) fn outstanding(&self) -> bool {
        !self.segs.is_empty()
    }

    /// End of the stream: all that was written, and the FIN.
    fn end(&self) -> u64 {
        self.written + u64::from(self.fin)
    }

    pub(super) fn all_acked(&self) -> bool {
        self.una == self.end()
    }

    /// Timeouts in a row without an answer.
    pub(super) fn tries(&self) -> u32 {
        self.tries
    }

    /// Round trips measured, in µs.
    pub(super) fn rtt_samples(&self) -> &[u32] {
        &self.rtt_samples
    }

    pub(super) fn pipe(&self) -> u64 {
        let dup = if self.sack { 0 } else { self.dup_acks * self.mss };
        (self.nxt - self.una).saturating_sub(self.sacked + self.lost + dup)
    }

    fn rto(&self) -> u64 {
        let base = if self.rtt.smoothed == 0 {
            1_000_000_000
        } else {
            self.rtt.smoothed + (4 * self.rtt.variation).max(self.min_rto)
        };
        (base << self.backoff.min(12)).min(120_000_000_000)
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let pace = self.waits_for_pace().then_some(self.pace_at);
        let awake = Some(self.asleep_until).filter(|at| *at > 0);
        [self.rto_at, self.tlp_at, self.reo_at, self.persist_at, pace, awake].into_iter().flatten().min()
    }

    fn waits_for_pace(&self) -> bool {
        self.cc.pacing_rate().is_some() && (self.lost > 0 || self.new_segment().is_some()) && self.room() >= self.mss
    }

    /// The path takes no segments above this size.
    pub(super) fn shrink_mss(&mut self, mss: u64) {
        if mss >= self.mss {
            return;
        }
        self.mss = mss;
        // What was too big is lost for sure, and is cut when it is sent again.
        let mut lost = 0;
        for s in self.segs.iter_mut().filter(|s| s.end - s.start > mss && !s.sacked && !s.lost) {
            s.lost = true;
            lost += s.end - s.start;
        }
        self.lost += lost;
    }
}
