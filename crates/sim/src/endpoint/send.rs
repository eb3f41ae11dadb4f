//! The sending half of a model endpoint: scoreboard, loss detection by time (RACK) or by duplicate ACKs, retransmission
//! timer (RFC 6298), tail loss probes, zero-window probes. Offsets: 0 is the SYN, 1 the first byte.

use std::collections::VecDeque;

use super::cc::{AckSample, Cc};
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
        [self.rto_at, self.tlp_at, self.reo_at, self.persist_at, pace].into_iter().flatten().min()
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

    /// Processes an ACK. Returns false if it covers what was never sent.
    pub(super) fn on_ack(&mut self, now: u64, a: &AckIn) -> bool {
        if a.ack > self.nxt {
            return false;
        }
        let window_grew = self.update_window(a);
        let mut s = AckSample { now, before: self.pipe(), ..AckSample::default() };
        let una_before = self.una;
        let dsack = self.take_dsack(a);
        let mut newest: Option<Sent> = None;
        self.take_cumulative(now, a.ack, &mut s, &mut newest);
        let blocks = usize::from(dsack)..a.blocks.len();
        self.take_sacks(now, &a.blocks[blocks], &mut s, &mut newest);
        self.take_duplicate(a, una_before, window_grew);
        let advanced = self.una > una_before;
        if s.rtt.is_none() && advanced {
            s.rtt = a.echo_age.filter(|&age| age < 120_000_000_000);
        }
        if let Some(rtt) = s.rtt {
            self.rtt.sample(now, rtt);
            self.rtt_samples.push((rtt / 1000) as u32);
        }
        if s.delivered > 0 {
            self.tries = 0;
            self.backoff = 0;
        }
        self.maybe_undo(now, a, advanced);
        self.detect_losses(now);
        if a.ece && self.una > self.ecn_recover && self.phase == Phase::Open {
            self.cc.on_loss();
            self.cc.on_recovery_end();
            self.ecn_recover = self.nxt;
            self.cwr = true;
        }
        self.finish_episode(advanced);
        self.sample_rate(now, &mut s, newest);
        if advanced || s.delivered > 0 {
            self.arm(now);
        }
        if self.una == self.nxt {
            (self.rto_at, self.tlp_at, self.reo_at) = (None, None, None);
        }
        true
    }

    fn update_window(&mut self, a: &AckIn) -> bool {
        // RFC 9293 3.10.7.4: only newer segments move the window.
        let newer = self.wl1 < a.seq || self.wl1 == a.seq && self.wl2 <= a.ack;
        let right = a.ack + a.window;
        if !newer || a.ack < self.una {
            return false;
        }
        (self.wl1, self.wl2) = (a.seq, a.ack);
        let changed = right != self.right;
        self.right = right;
        if self.right > self.nxt {
            self.persist_at = None;
        }
        changed
    }

    /// RFC 2883: a first block below the ACK, or inside the second, reports a duplicate.
    fn take_dsack(&mut self, a: &AckIn) -> bool {
        let Some(&(left, right)) = a.blocks.first() else { return false };
        let inside = a.blocks.get(1).is_some_and(|b| b.0 <= left && right <= b.1);
        if right > a.ack && !inside {
            return false;
        }
        if let Some(left) = &mut self.undo_left {
            *left -= 1;
        }
        true
    }

    fn deliver(&mut self, now: u64, seg: &Sent, s: &mut AckSample, newest: &mut Option<Sent>) {
        let bytes = seg.end - seg.start;
        s.delivered += bytes;
        self.delivered += bytes;
        self.delivered_at = now;
        let rtt = now - seg.at;
        if seg.times == 1 {
            s.rtt = Some(s.rtt.map_or(rtt, |r| r.min(rtt)));
        }
        if newest.is_none_or(|n| (n.delivered, n.at, n.end) < (seg.delivered, seg.at, seg.end)) {
            *newest = Some(*seg);
        }
        // RFC 8985 step 2: an ACK that comes sooner than any round trip is for the first transmission.
        if seg.times > 1 && rtt < self.rtt.min[0] {
            return;
        }
        self.rack_rtt = rtt;
        if (seg.at, seg.end) > (self.rack_at, self.rack_end) {
            (self.rack_at, self.rack_end) = (seg.at, seg.end);
        }
        if seg.times == 1 && seg.end < self.highest_sacked {
            self.reordering = true;
        }
    }

    fn take_cumulative(&mut self, now: u64, ack: u64, s: &mut AckSample, newest: &mut Option<Sent>) {
        while let Some(&seg) = self.segs.front().filter(|seg| seg.start < ack) {
            let part = Sent { end: seg.end.min(ack), ..seg };
            let bytes = part.end - part.start;
            if seg.sacked {
                self.sacked -= bytes;
            } else {
                self.deliver(now, &part, s, newest);
            }
            if seg.lost {
                self.lost -= bytes;
            }
            if seg.end <= ack {
                self.segs.pop_front();
            } else {
                self.segs[0].start = ack;
            }
        }
        self.una = self.una.max(ack);
    }

    fn take_sacks(&mut self, now: u64, blocks: &[(u64, u64)], s: &mut AckSample, newest: &mut Option<Sent>) {
        if !self.sack {
            return;
        }
        for &(left, right) in blocks {
            if left < self.una || right > self.nxt || left >= right {
                continue;
            }
            let mut i = self.segs.partition_point(|seg| seg.start < left);
            while i < self.segs.len() && self.segs[i].end <= right {
                let seg = self.segs[i];
                if !seg.sacked {
                    let bytes = seg.end - seg.start;
                    self.segs[i].sacked = true;
                    self.sacked += bytes;
                    if seg.lost {
                        self.segs[i].lost = false;
                        self.lost -= bytes;
                    }
                    self.deliver(now, &seg, s, newest);
                }
                i += 1;
            }
            self.highest_sacked = self.highest_sacked.max(right);
        }
    }

    fn take_duplicate(&mut self, a: &AckIn, una_before: u64, window_changed: bool) {
        if self.una > una_before {
            self.dup_acks = 0;
        } else if a.ack == self.una && !a.carries && !window_changed && !self.segs.is_empty() {
            self.dup_acks += 1;
        }
    }

    fn detect_losses(&mut self, now: u64) {
        self.reo_at = None;
        let found = if self.sack { self.rack(now) } else { self.third_duplicate() };
        if found && self.phase == Phase::Open {
            self.enter_recovery();
        }
    }

    /// RFC 8985 step 5.
    fn rack(&mut self, now: u64) -> bool {
        if self.sacked == 0 && self.phase == Phase::Open && !self.tlp_sent {
            return false;
        }
        let quarter = if self.rtt.min[0] == u64::MAX { 0 } else { self.rtt.min[0] / 4 };
        let many = self.sacked >= 3 * self.mss;
        let reorder = if !self.reordering && (many || self.phase != Phase::Open) { 0 } else { quarter };
        let (mut found, mut lost, mut latest) = (false, 0, 0);
        for seg in &mut self.segs {
            if seg.start >= self.highest_sacked.max(self.rack_end) {
                break;
            }
            if seg.sacked || seg.lost || (seg.at, seg.end) >= (self.rack_at, self.rack_end) {
                continue;
            }
            let due = seg.at + self.rack_rtt + reorder;
            if due <= now {
                seg.lost = true;
                lost += seg.end - seg.start;
                found = true;
            } else {
                latest = latest.max(due);
            }
        }
        self.lost += lost;
        if latest > 0 {
            self.reo_at = Some(latest);
        }
        found
    }

    /// RFC 6582, where there is no SACK.
    fn third_duplicate(&mut self) -> bool {
        if self.phase != Phase::Open || self.dup_acks < 3 {
            return false;
        }
        self.mark_first_lost()
    }

    fn mark_first_lost(&mut self) -> bool {
        let Some(seg) = self.segs.front_mut().filter(|s| !s.lost) else { return false };
        seg.lost = true;
        self.lost += seg.end - seg.start;
        true
    }

    fn enter_recovery(&mut self) {
        self.totals.recoveries += 1;
        self.phase = Phase::Recovery;
        self.recover = self.nxt;
        self.recover_flight = (self.nxt - self.una).saturating_sub(self.sacked).max(1);
        (self.prr_delivered, self.prr_out) = (0, 0);
        self.undo_left = Some(0);
        self.first_again_at = 0;
        self.tlp_at = None;
        self.cc.on_loss();
    }

    fn finish_episode(&mut self, advanced: bool) {
        if self.phase == Phase::Open {
            return;
        }
        if self.una >= self.recover {
            if self.phase == Phase::Recovery {
                self.cc.on_recovery_end();
            }
            self.phase = Phase::Open;
            self.undo_left = None;
            self.dup_acks = 0;
        } else if advanced && !self.sack && self.phase == Phase::Recovery {
            // A partial ACK: the next hole is known (RFC 6582 section 3.2 step 3).
            self.mark_first_lost();
        }
    }

    /// Was the loss none? Every retransmission was a duplicate (RFC 3708), or the ACK echoes the original (RFC 3522).
    fn maybe_undo(&mut self, now: u64, a: &AckIn, advanced: bool) {
        if self.phase == Phase::Open {
            return;
        }
        let echoed = a.echo_age.is_some_and(|age| {
            advanced && self.first_again_at > 0 && now.saturating_sub(age) + 1_000_000 < self.first_again_at
        });
        let all_duplicates = self.first_again_at > 0 && self.undo_left.is_some_and(|left| left <= 0);
        if !(echoed || all_duplicates) {
            return;
        }
        self.totals.undone += 1;
        self.cc.undo();
        self.undo_left = None;
        self.first_again_at = 0;
        for seg in &mut self.segs {
            seg.lost = false;
        }
        self.lost = 0;
        self.phase = Phase::Open;
        self.reordering = true;
    }

    fn sample_rate(&mut self, now: u64, s: &mut AckSample, newest: Option<Sent>) {
        s.total = self.delivered;
        s.in_flight = self.pipe();
        s.min_rtt = self.rtt.min[0];
        s.in_recovery = self.phase == Phase::Recovery;
        if self.phase == Phase::Recovery {
            self.prr_delivered += s.delivered;
        }
        let Some(seg) = newest else { return };
        s.prior_total = seg.delivered;
        s.app_limited = seg.app_limited;
        let interval = (now - seg.delivered_at).max(seg.at - seg.first_sent_at);
        self.first_sent_at = seg.at;
        if interval >= self.rtt.min[0] && interval > 0 {
            s.rate = Some((self.delivered - seg.delivered) as f64 * 1e9 / interval as f64);
        }
        self.cc.on_ack(s);
    }

    fn arm(&mut self, now: u64) {
        self.rto_at = self.outstanding().then(|| now + self.rto());
        self.tlp_at = None;
        let quiet = self.phase == Phase::Open && self.sacked == 0 && self.lost == 0;
        if self.tlp && quiet && self.outstanding() && !self.tlp_sent && self.rtt.smoothed > 0 {
            let extra = if self.segs.len() == 1 { 200_000_000 } else { 2_000_000 };
            let probe = 2 * self.rtt.smoothed + extra;
            if probe < self.rto() {
                self.tlp_at = Some(now + probe);
            }
        }
    }

    /// Room in the window, bytes.
    fn room(&self) -> u64 {
        let window = if self.phase == Phase::Recovery && !self.cc.is_bbr() {
            // Proportional rate reduction (RFC 9937).
            let pipe = self.pipe();
            let target = self.cc.ssthresh;
            let send = if pipe > target {
                (self.prr_delivered * target).div_ceil(self.recover_flight).saturating_sub(self.prr_out)
            } else {
                (self.prr_delivered.saturating_sub(self.prr_out) + self.mss).min(target - pipe)
            };
            let first = if self.prr_out == 0 { self.mss } else { 0 };
            return send.max(first);
        } else {
            self.cc.cwnd
        };
        window.saturating_sub(self.pipe())
    }

    fn new_segment(&self) -> Option<(u64, u64)> {
        let end = self.end().min(self.nxt + self.mss).min(self.right);
        if end <= self.nxt {
            return None;
        }
        // Silly window avoidance (RFC 9293 3.8.6.2.1): a part of a segment only if nothing is outstanding.
        let cut_by_window = end == self.right && end < self.end().min(self.nxt + self.mss);
        (!cut_by_window || !self.outstanding()).then_some((self.nxt, end))
    }

    /// Everything that may be sent now.
    pub(super) fn pump(&mut self, now: u64, out: &mut Vec<Emit>) {
        loop {
            let paced = self.cc.pacing_rate();
            if paced.is_some() && now < self.pace_at {
                break;
            }
            let room = self.room();
            let sent = if self.lost > 0 {
                if room < self.mss && self.pipe() > 0 {
                    break;
                }
                self.resend_lost(now, out)
            } else {
                let Some((start, end)) = self.new_segment() else { break };
                if room < end - start && self.pipe() > 0 {
                    break;
                }
                self.send_new(now, start, end, out);
                end - start
            };
            if let Some(rate) = paced {
                self.pace_at = self.pace_at.max(now.saturating_sub(1_000_000)) + (sent as f64 * 1e9 / rate) as u64;
            }
        }
        if self.new_segment().is_none() && self.lost == 0 && self.pipe() < self.cc.cwnd {
            self.app_limited_until = self.delivered + self.pipe().max(1);
        }
        self.watch_window(now);
    }

    fn watch_window(&mut self, now: u64) {
        let blocked = !self.outstanding() && self.end() > self.nxt && self.right <= self.nxt;
        if blocked && self.persist_at.is_none() {
            self.persist_at = Some(now + self.rto());
        } else if !blocked {
            self.persist_at = None;
        }
    }

    fn stamp(&mut self, now: u64, start: u64, end: u64, times: u32) -> Sent {
        Sent {
            start,
            end,
            at: now,
            times,
            sacked: false,
            lost: false,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            app_limited: self.delivered < self.app_limited_until,
        }
    }

    fn send_new(&mut self, now: u64, start: u64, end: u64, out: &mut Vec<Emit>) {
        let was_idle = !self.outstanding();
        if was_idle {
            (self.first_sent_at, self.delivered_at) = (now, now);
        }
        let seg = self.stamp(now, start, end, 1);
        self.segs.push_back(seg);
        self.nxt = end;
        self.totals.segments += 1;
        self.prr_out += end - start;
        out.push(Emit { start, end, again: false });
        if was_idle || self.rto_at.is_none() {
            self.tlp_sent = false;
            self.arm(now);
        } else if self.phase == Phase::Open && self.tlp_at.is_some() {
            let rto = self.rto_at;
            self.arm(now);
            self.rto_at = rto;
        }
    }

    fn resend_lost(&mut self, now: u64, out: &mut Vec<Emit>) -> u64 {
        let Some(i) = self.segs.iter().position(|s| s.lost) else {
            self.lost = 0;
            return 0;
        };
        self.resend(now, i, out)
    }

    fn resend(&mut self, now: u64, i: usize, out: &mut Vec<Emit>) -> u64 {
        let mut seg = self.segs[i];
        if seg.end - seg.start > self.mss {
            let rest = Sent { start: seg.start + self.mss, ..seg };
            seg.end = rest.start;
            self.segs.insert(i + 1, rest);
        }
        let bytes = seg.end - seg.start;
        if seg.lost {
            self.lost -= bytes;
        }
        self.segs[i] = self.stamp(now, seg.start, seg.end, seg.times + 1);
        self.totals.segments += 1;
        self.totals.retransmitted += u64::from(seg.start < self.written);
        self.prr_out += bytes;
        if let Some(left) = &mut self.undo_left {
            *left += 1;
        }
        if self.first_again_at == 0 {
            self.first_again_at = now;
        }
        out.push(Emit { start: seg.start, end: seg.end, again: true });
        if self.rto_at.is_none() {
            self.arm(now);
        }
        bytes
    }

    /// Whatever is due. Returns true if a zero-length probe must be sent.
    pub(super) fn on_timer(&mut self, now: u64, out: &mut Vec<Emit>) -> bool {
        let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
        if due(self.reo_at) {
            self.detect_losses(now);
        }
        if due(self.tlp_at) {
            self.tlp_at = None;
            self.tlp_probe(now, out);
        }
        if due(self.rto_at) {
            self.timeout(now);
        }
        if due(self.persist_at) {
            self.backoff += 1;
            self.persist_at = Some(now + self.rto().min(60_000_000_000));
            return true;
        }
        false
    }

    fn tlp_probe(&mut self, now: u64, out: &mut Vec<Emit>) {
        self.tlp_sent = true;
        if let Some((start, end)) = self.new_segment() {
            self.send_new(now, start, end, out);
        } else if let Some(last) = self.segs.len().checked_sub(1).filter(|&i| !self.segs[i].sacked) {
            self.totals.probes += 1;
            self.resend(now, last, out);
            self.first_again_at = 0;
        }
        self.tlp_sent = true;
        self.tlp_at = None;
        self.rto_at = Some(now + self.rto());
    }

    /// RFC 6298 section 5.
    fn timeout(&mut self, now: u64) {
        self.totals.timeouts += 1;
        self.tries += 1;
        if self.phase != Phase::Loss {
            self.cc.on_rto();
            self.undo_left = Some(0);
            self.first_again_at = 0;
        }
        self.phase = Phase::Loss;
        self.recover = self.nxt;
        self.dup_acks = 0;
        // Everything may have to go again, what SACK covered too if the receiver reneged (RFC 2018 section 8).
        let reneged = self.segs.front().is_some_and(|s| s.sacked);
        let mut lost = 0;
        for seg in &mut self.segs {
            if reneged {
                seg.sacked = false;
            }
            seg.lost = !seg.sacked;
            lost += if seg.lost { seg.end - seg.start } else { 0 };
        }
        if reneged {
            self.sacked = 0;
        }
        self.lost = lost;
        self.backoff += 1;
        self.tlp_at = None;
        self.pace_at = now;
        self.rto_at = Some(now + self.rto());
    }
}
