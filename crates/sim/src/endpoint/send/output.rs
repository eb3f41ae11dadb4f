//! What is sent, and when: new data, what was lost, and what the timers ask for.

use super::{Emit, Phase, Sender, Sent};

impl Sender {
    pub(super) fn arm(&mut self, now: u64) {
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
    pub(super) fn room(&self) -> u64 {
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

    pub(super) fn new_segment(&self) -> Option<(u64, u64)> {
        let end = self.end().min(self.nxt + self.mss).min(self.right);
        if end <= self.nxt {
            return None;
        }
        // Silly window avoidance (RFC 9293 3.8.6.2.1): a part of a segment only if nothing is outstanding.
        let cut_by_window = end == self.right && end < self.end().min(self.nxt + self.mss);
        (!cut_by_window || !self.outstanding()).then_some((self.nxt, end))
    }

    /// Everything that may be sent now.
    pub(in crate::endpoint) fn pump(&mut self, now: u64, out: &mut Vec<Emit>) {
        if now < self.asleep_until {
            return;
        }
        self.asleep_until = 0;
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

    pub(super) fn watch_window(&mut self, now: u64) {
        let blocked = !self.outstanding() && self.end() > self.nxt && self.right <= self.nxt;
        if blocked && self.persist_at.is_none() {
            self.persist_at = Some(now + self.rto());
        } else if !blocked {
            self.persist_at = None;
        }
    }

    pub(super) fn stamp(&mut self, now: u64, start: u64, end: u64, times: u32) -> Sent {
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

    pub(super) fn send_new(&mut self, now: u64, start: u64, end: u64, out: &mut Vec<Emit>) {
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

    pub(super) fn resend_lost(&mut self, now: u64, out: &mut Vec<Emit>) -> u64 {
        let Some(i) = self.segs.iter().position(|s| s.lost) else {
            self.lost = 0;
            return 0;
        };
        self.resend(now, i, out)
    }

    pub(super) fn resend(&mut self, now: u64, i: usize, out: &mut Vec<Emit>) -> u64 {
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
        self.resent_at = now;
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
    pub(in crate::endpoint) fn on_timer(&mut self, now: u64, out: &mut Vec<Emit>) -> bool {
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

    pub(super) fn tlp_probe(&mut self, now: u64, out: &mut Vec<Emit>) {
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
    pub(super) fn timeout(&mut self, now: u64) {
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
