//! What ACKs tell: delivered, lost, not lost after all.

use super::{AckIn, Phase, Sender, Sent};
use crate::endpoint::cc::AckSample;

impl Sender {
    /// Processes an ACK. Returns false if it covers what was never sent.
    pub(in crate::endpoint) fn on_ack(&mut self, now: u64, a: &AckIn) -> bool {
        if a.ack > self.nxt {
            return false;
        }
        let window_grew = self.update_window(a);
        if a.window == 0 && self.zero_window_pause > 0 {
            self.totals.pauses += 1;
            self.asleep_until = now + self.zero_window_pause;
        }
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

    pub(super) fn update_window(&mut self, a: &AckIn) -> bool {
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
    pub(super) fn take_dsack(&mut self, a: &AckIn) -> bool {
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

    pub(super) fn deliver(&mut self, now: u64, seg: &Sent, s: &mut AckSample, newest: &mut Option<Sent>) {
        let bytes = seg.end - seg.start;
        s.delivered += bytes;
        self.delivered += bytes;
        self.delivered_at = now;
        let rtt = now - seg.at;
        if seg.times == 1 && (self.sack || seg.at > self.resent_at) {
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

    pub(super) fn take_cumulative(&mut self, now: u64, ack: u64, s: &mut AckSample, newest: &mut Option<Sent>) {
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

    pub(super) fn take_sacks(&mut self, now: u64, blocks: &[(u64, u64)], s: &mut AckSample, newest: &mut Option<Sent>) {
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

    pub(super) fn take_duplicate(&mut self, a: &AckIn, una_before: u64, window_changed: bool) {
        if self.una > una_before {
            self.dup_acks = 0;
        } else if a.ack == self.una && !a.carries && !window_changed && !self.segs.is_empty() {
            self.dup_acks += 1;
        }
    }

    pub(super) fn detect_losses(&mut self, now: u64) {
        self.reo_at = None;
        let found = if self.sack { self.rack(now) } else { self.third_duplicate() };
        if found && self.phase == Phase::Open {
            self.enter_recovery();
        }
    }

    /// RFC 8985 step 5.
    pub(super) fn rack(&mut self, now: u64) -> bool {
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
    pub(super) fn third_duplicate(&mut self) -> bool {
        if self.phase != Phase::Open || self.dup_acks < 3 {
            return false;
        }
        self.mark_first_lost()
    }

    pub(super) fn mark_first_lost(&mut self) -> bool {
        let Some(seg) = self.segs.front_mut().filter(|s| !s.lost) else { return false };
        seg.lost = true;
        self.lost += seg.end - seg.start;
        true
    }

    pub(super) fn enter_recovery(&mut self) {
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

    pub(super) fn finish_episode(&mut self, advanced: bool) {
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
    pub(super) fn maybe_undo(&mut self, now: u64, a: &AckIn, advanced: bool) {
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

    pub(super) fn sample_rate(&mut self, now: u64, s: &mut AckSample, newest: Option<Sent>) {
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
}
