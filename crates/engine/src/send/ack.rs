//! An acknowledgement, step by step.

use super::blame::View;
use super::cubic::Cut;
use super::queue::{Node, FIRST_FLIGHT, LOST, NONE, RETX, SACKED};
use super::rack::BURST_NS;
use super::types::{AckIn, AckOut, ProbeKind};
use super::{SegPool, Sender};
use crate::api::{FrameId, Now};
use crate::seq::Off;

/// What one ACK delivered, as far as later steps need it.
#[derive(Default)]
struct Found {
    /// Newest transmission among the segments delivered that were sent only once, and its round trip.
    newest: Option<(Now, u64)>,
    /// Segments acknowledged cumulatively.
    segs: u32,
    /// When the first of them was sent last if that was not the first time, and its length.
    head_retx: Option<Now>,
    head_len: u32,
    /// The last of them had been, and when last.
    last_retx: Option<Now>,
}

impl Sender {
    /// An acknowledgement of Y's arrived. `freed` is called with each frame that is needed no more, in order.
    ///
    /// Costs what is newly acknowledged, SACKed and lost, plus the holes below a SACK block that was not there before.
    pub fn on_ack(
        &mut self,
        pool: &mut SegPool,
        now: Now,
        ack: &AckIn<'_>,
        mut freed: impl FnMut(FrameId),
    ) -> AckOut {
        let mut out = AckOut::default();
        if ack.ack > self.nxt {
            out.refused = true;
            return out;
        }
        out.window_grew = ack.right > self.right;
        self.right = ack.right;
        if out.window_grew {
            self.probe.persist = 0;
        }
        if self.probe.count >= 2 {
            self.rtt.outage(now);
        }
        self.rack.begin_ack();
        let mut found = Found::default();
        self.cumulative(pool, now, ack.ack, &mut found, &mut out, &mut freed);
        if self.params.sack && !ack.sack.is_empty() {
            self.scoreboard(pool, now, ack.sack, &mut found, &mut out);
        }
        // What begins at una can't be SACKed and not acknowledged, unless Y dropped it again.
        let renege = self.q.head != NONE && pool.at(self.q.head).is(SACKED);
        self.probe.reneging = renege.then(|| self.probe.reneging.unwrap_or(now));
        self.begin_judgement();
        self.judge(pool, now, ack, &found, &mut out);
        self.measure(now, &found, &mut out);
        self.react(now, ack.link_full, &mut out);
        self.grow(now, ack, &mut out);
        self.note_blocked(pool, now);
        self.arm(pool);
        out
    }

    /// Takes off what is acknowledged; an ACK into the middle of a segment trims its front.
    fn cumulative(
        &mut self,
        pool: &mut SegPool,
        now: Now,
        ack: Off,
        found: &mut Found,
        out: &mut AckOut,
        freed: &mut impl FnMut(FrameId),
    ) {
        if ack <= self.una {
            return;
        }
        out.advanced = true;
        if self.q.head != NONE {
            let head = pool.at(self.q.head);
            found.head_retx = head.is(RETX).then_some(head.xmit);
            found.head_len = head.seq_len();
        }
        while self.q.head != NONE && pool.at(self.q.head).end() <= ack {
            let node = self.q.pop(pool);
            if !node.is(SACKED) {
                self.delivered(now, &node, found);
                out.newly_acked += node.seq_len();
            }
            found.segs += 1;
            found.last_retx = node.is(RETX).then_some(node.xmit);
            if let Some(frame) = node.frame_to_free() {
                freed(frame);
            }
        }
        if self.q.head != NONE && pool.at(self.q.head).start < ack {
            let node = *pool.at(self.q.head);
            let by = (ack - node.start) as u32;
            if !node.is(SACKED) {
                self.rate.delivered(now, &node, by);
                out.newly_acked += by;
            }
            self.q.trim_head(pool, by);
        }
        self.una = ack;
    }

    /// Marks what the blocks cover; a segment covered in part stays unSACKed.
    fn scoreboard(
        &mut self,
        pool: &mut SegPool,
        now: Now,
        blocks: &[(Off, Off)],
        found: &mut Found,
        out: &mut AckOut,
    ) {
        let known = self.loss.sack_seen;
        self.loss.sack_seen = [(0, 0); 4];
        for (i, &(left, right)) in blocks.iter().take(4).enumerate() {
            if left >= right || right > self.nxt || right <= self.una {
                continue;
            }
            self.loss.sack_seen[i] = (left, right);
            // What earlier ACKs said already is not walked again.
            let mut fresh = (left.max(self.una), right);
            for &(l, r) in &known {
                if l <= fresh.0 && fresh.0 < r {
                    fresh.0 = r;
                }
                if l < fresh.1 && fresh.1 <= r {
                    fresh.1 = l;
                }
            }
            if fresh.0 < fresh.1 {
                self.sack_range(pool, now, (left, right), fresh, found, out);
            }
        }
    }

    /// Marks the segments that lie within `block` and touch its part `fresh`.
    fn sack_range(
        &mut self,
        pool: &mut SegPool,
        now: Now,
        block: (Off, Off),
        fresh: (Off, Off),
        found: &mut Found,
        out: &mut AckOut,
    ) {
        let mut id = self.q.seek(pool, fresh.0);
        while id != NONE && id != self.q.unsent {
            let n = pool.at(id);
            if n.start >= fresh.1 {
                break;
            }
            if n.is(SACKED) {
                id = pool.at(n.xnext).next;
                continue;
            }
            let next = n.next;
            if n.start >= block.0 && n.end() <= block.1 {
                let node = *n;
                self.delivered(now, &node, found);
                out.newly_sacked += node.seq_len();
                self.q.sack(pool, id);
            }
            id = next;
        }
    }

    /// A segment reached Y for the first time as far as known.
    fn delivered(&mut self, now: Now, node: &Node, found: &mut Found) {
        self.rate.delivered(now, node, node.seq_len());
        if self.params.sack {
            self.rack.delivered(now, node, self.rtt.min(), u32::from(self.params.mss));
        }
        self.first_open = false;
        self.first_left = 0;
        // Karn: a segment sent more than once gives no sample.
        if !node.is(RETX) && found.newest.is_none_or(|(xmit, _)| node.xmit >= xmit) {
            found.newest = Some((node.xmit, now.since(node.xmit)));
        }
    }

    pub(super) fn begin_judgement(&mut self) {
        self.lost_found = 0;
        self.blamed = false;
        self.dup_bytes = 0;
    }

    /// Duplicates, then losses.
    fn judge(&mut self, pool: &mut SegPool, now: Now, ack: &AckIn<'_>, found: &Found, out: &mut AckOut) {
        if let Some((left, right)) = ack.dsack {
            self.duplicate(left, right, out);
        }
        let progress = out.delivered() > 0;
        let dup = !self.params.sack && ack.pure && ack.ack == self.una && !out.advanced && !out.window_grew;
        if dup && (self.probe.count == 0 || self.reno.dups > 0) {
            self.dup_bytes = self.reno_dup(pool, now);
        }
        if dup && self.probe.count > 0 && self.recovering {
            // After a silence, with everything before it sent again: the segment at una was lost once more.
            self.reno_lose_head(pool, now);
        }
        self.probe_outcome(ack, out);
        self.heard(now, progress);
        if self.params.sack {
            self.rack_detect(pool, now);
        } else if out.advanced {
            self.reno_eifel(ack, found, out);
            self.reno_too_soon(now, found, out);
            self.reno_advance(pool, now, found.segs, found.last_retx);
        }
    }

    /// Y received `[left, right)` twice (RFC 2883): a retransmission, or a probe, was needless.
    fn duplicate(&mut self, left: Off, right: Off, out: &mut AckOut) {
        if right <= left || right > self.nxt || right - left > u64::from(u32::MAX) {
            return;
        }
        if let Some(p) = self.probe.last {
            if p.kind == ProbeKind::Highest && left <= p.start && p.end <= right {
                self.probe.last = None;
                return;
            }
        }
        let bytes = (right - left) as u32;
        if self.loss.undo_left == 0 {
            // Not ours: the network duplicates.
            return;
        }
        out.spurious += bytes;
        self.blame.spurious(bytes);
        self.rack.dsack(self.una, self.nxt, self.rtt.smoothed());
        self.loss.undo_left = self.loss.undo_left.saturating_sub(bytes);
        self.undo_if_all_needless(out);
    }

    pub(super) fn undo_if_all_needless(&mut self, out: &mut AckOut) {
        if self.loss.undo_left > 0 {
            return;
        }
        if let Some(saved) = self.loss.saved.take() {
            self.cc.undo(&saved);
            self.prr.stop();
            out.undone = true;
        }
    }

    /// Eifel (RFC 3522) where there is no DSACK: the ACK that fills the hole at una echoes a timestamp older than the
    /// first retransmission. Safe for the segment at una only, since only that one updates TS.Recent, and only where the
    /// ratcheted timestamp moved in between.
    fn reno_eifel(&mut self, ack: &AckIn<'_>, found: &Found, out: &mut AckOut) {
        let (Some(ecr), Some(stamp)) = (ack.ts_ecr, self.loss.retx_stamp) else { return };
        if self.params.ts && found.head_retx.is_some() && self.recovering && (ecr.wrapping_sub(stamp) as i32) < 0 {
            out.spurious += self.loss.undo_left;
            self.loss.undo_left = 0;
            self.undo_if_all_needless(out);
        }
    }

    /// The only retransmission of this recovery went out less than the least round trip ago, and what it repeats is
    /// acknowledged: the original arrived. Nothing was lost at una, so no ACK to come is a partial one (RFC 6582
    /// section 4: a go-back-N of segments that are all under way).
    fn reno_too_soon(&mut self, now: Now, found: &Found, out: &mut AckOut) {
        let Some(again) = found.head_retx.filter(|_| self.recovering && self.loss.undo_left == found.head_len) else {
            return;
        };
        if now.since(again) + BURST_NS < self.rtt.min() {
            self.loss.recover = self.una;
            out.spurious += self.loss.undo_left;
            self.loss.undo_left = 0;
            self.undo_if_all_needless(out);
        }
    }

    /// RFC 8985 section 7.4: a probe that sent the highest segment again may have repaired a loss that nothing else shows.
    fn probe_outcome(&mut self, ack: &AckIn<'_>, out: &mut AckOut) {
        let Some(p) = self.probe.last else { return };
        if ack.ack < p.end || p.kind == ProbeKind::Zero {
            return;
        }
        if p.kind == ProbeKind::NewData {
            self.probe.last = None;
        } else if ack.ack > p.end {
            // Acknowledged, more was sent and acknowledged after it, and no duplicate was reported.
            self.probe.last = None;
            if self.params.sack && p.start >= self.loss.blame_from {
                out.lost += (p.end - p.start) as u32;
                self.blame.lost((p.end - p.start) as u32);
            }
        }
    }

    fn measure(&mut self, now: Now, found: &Found, out: &mut AckOut) {
        // Without SACK a filled hole acknowledges what arrived long before.
        let timely = found.newest.filter(|(xmit, _)| self.params.sack || *xmit > self.reno.again);
        if let Some((xmit, rtt)) = timely {
            if self.rtt.is_tainted(xmit) {
                self.rtt.tainted_sample(now, rtt);
                out.silent_rtt_ns = Some(rtt);
            } else {
                self.rtt.sample(now, rtt);
                out.rtt_ns = Some(rtt);
            }
        }
        self.blame.delivered(out.delivered());
        self.peak_held = self.peak_flight().saturating_sub(out.delivered() / 4);
        if self.rate.end_ack(self.rtt.min(), self.params.sack || timely.is_some()) {
            self.peak_before = self.peak;
            self.peak = self.in_flight();
            self.blame.round(now, u32::from(self.params.mss));
            self.blame.saw(self.rate.recent());
        }
    }

    /// Takes a segment for lost, and notes whether anyone may be blamed for it.
    pub(super) fn mark_lost(&mut self, pool: &mut SegPool, now: Now, id: u32) {
        let n = *pool.at(id);
        if n.is(LOST) {
            return;
        }
        self.blame.any_lost(now, self.rtt.smoothed());
        self.q.lose(pool, id);
        self.lost_found += n.seq_len();
        // Lost in the first flight after idleness, or during an outage, says nothing about the rate; lost among what was
        // sent before the last cut, nothing new.
        let first = n.is(FIRST_FLIGHT) && !n.is(RETX);
        if !first && !self.rtt.is_tainted(n.xmit) && n.xmit >= self.loss.last_cut {
            self.blame.lost(n.seq_len());
            self.blamed = true;
        }
    }

    /// Losses found: recovery begins, and the window is cut if they are to be believed.
    pub(super) fn react(&mut self, now: Now, link_full: bool, out: &mut AckOut) {
        if self.lost_found > 0 {
            out.lost += self.lost_found;
            if !self.recovering {
                self.recovering = true;
                self.loss.recover = self.nxt;
                self.loss.saved = None;
                self.loss.undo_left = 0;
                self.loss.retx_stamp = None;
            }
            let heavy = self.blame.heavy(self.queued());
            if self.blamed && (link_full || heavy) {
                self.cut_for_loss(now, heavy, out);
            }
        }
        if self.recovering_or_reducing() && self.una >= self.loss.recover {
            self.end_recovery();
        }
        if self.prr.active {
            let safe = out.advanced && self.lost_found == 0;
            let mss = u32::from(self.params.mss);
            self.cc.cwnd = self.prr.window(out.delivered() + self.dup_bytes, self.in_flight(), self.cc.ssthresh, mss, safe);
        }
    }

    fn recovering_or_reducing(&self) -> bool {
        self.recovering || self.prr.active
    }

    fn end_recovery(&mut self) {
        if self.prr.active {
            self.cc.cwnd = self.cc.ssthresh;
            self.prr.stop();
        }
        if self.recovering {
            self.recovering = false;
            self.rack.recovered();
        }
    }

    fn cut_for_loss(&mut self, now: Now, heavy: bool, out: &mut AckOut) {
        let (srtt, min) = (self.rtt.smoothed(), self.rtt.min());
        let bytes_in = |rate: u64, ns: u64| (u128::from(rate) * u128::from(ns) / 1_000_000_000).min(1 << 30) as u32;
        let recent = self.rate.recent();
        let (floor, ceiling) = if heavy {
            // Down to what gets through, in one step.
            let view = View { srtt, queued: self.queued(), latest: self.rate.latest(), recent };
            let rate = self.blame.cut(now, view);
            let through = bytes_in(rate, srtt);
            (if self.blame.cap().is_some() { through / 10 * 9 } else { 0 }, through / 10 * 9)
        } else {
            // The queue is to shrink, the link not to starve.
            (bytes_in(recent, min), u32::MAX)
        };
        self.cut(now, Cut::Loss, floor, ceiling, out);
    }

    /// The round trip has grown.
    fn queued(&self) -> bool {
        let min = self.rtt.min();
        self.rtt.smoothed() > min + (min / 4).max(4_000_000)
    }

    fn cut(&mut self, now: Now, why: Cut, floor: u32, ceiling: u32, out: &mut AckOut) {
        // RecoverFS of RFC 9937: the flight before this ACK.
        let flight = (self.nxt - self.una) as u32 - self.q.sacked + out.delivered();
        let saved = self.cc.cut(why, flight, floor, ceiling);
        if self.loss.saved.is_none() && why == Cut::Loss {
            self.loss.saved = Some(saved);
        }
        self.loss.recover = self.nxt;
        self.loss.last_cut = now;
        self.loss.blame_from = self.nxt;
        // Once per window of data, and Y is told whatever the reason was (RFC 3168 section 6.1.2).
        self.loss.ecn_until = self.nxt + 1;
        self.cwr = self.params.ecn;
        self.prr.start(flight);
        out.cut = true;
    }

    /// Congestion marks, then growth.
    fn grow(&mut self, now: Now, ack: &AckIn<'_>, out: &mut AckOut) {
        if ack.ece && self.params.ecn && self.una >= self.loss.ecn_until && !out.cut {
            self.cut(now, Cut::Ecn, 0, u32::MAX, out);
        }
        if !self.prr.active && out.delivered() > 0 {
            self.cc.grow(now, out.delivered(), self.window_limited(), self.rtt.smoothed());
        }
        if let Some(cap) = self.blame.cap() {
            let bytes = u128::from(cap) * u128::from(self.rtt.smoothed()) / 1_000_000_000;
            self.cc.settle(bytes.min(1 << 30) as u32 + u32::from(self.params.mss) / 2);
        }
    }

    /// The window, and not the application or the subscriber's budget, held the sender back in the last round
    /// (RFC 9438 section 5.8; in slow start half of it in use is enough to let it grow on).
    fn window_limited(&self) -> bool {
        let peak = self.peak.max(self.peak_before);
        if self.cc.in_slow_start() {
            self.cc.cwnd < peak.saturating_mul(2)
        } else {
            self.cc.cwnd < peak + 2 * u32::from(self.params.mss)
        }
    }
}
