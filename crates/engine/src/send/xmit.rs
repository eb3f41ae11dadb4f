//! What to transmit, and what is noted when it was.

use super::probe::Outstanding;
use super::queue::{FIRST_FLIGHT, LOST, NONE, RETX, SACKED, SENT};
use super::types::{SegId, Xmit, XmitKind};
use super::{AckOut, SegPool, Sender};
use crate::api::Now;
use crate::broken::{breaks, Broken};

/// Nothing outstanding for this long: the radio may have gone to sleep, and the next flight is a first one, ns.
const IDLE_NS: u64 = 1_000_000_000;
/// Segments of a first flight that may be lost without blame.
const FIRST_SEGMENTS: u8 = 16;

impl Sender {
    /// What to transmit now, if anything: a probe, else what was lost, else new data. `budget` is what the subscriber's
    /// share and the pacing leave, in bytes; with 0 only a probe can come. Nothing is changed until [`Sender::sent`].
    #[inline]
    pub fn next(&self, pool: &SegPool, now: Now, budget: u32) -> Option<Xmit> {
        let _ = now;
        if !self.awake {
            return None;
        }
        if self.probe.due.is_some() {
            return self.probe_choice(pool);
        }
        let id = self.choice(pool, budget)?;
        let kind = if self.q.lost_head != NONE { XmitKind::Retransmit } else { XmitKind::New };
        let seg = pool.seg(SegId(id));
        Some(Xmit { kind, id: Some(SegId(id)), start: seg.start, seg: Some(seg) })
    }

    /// The segment whose turn it is, what was lost first, if budget, window and congestion control let it go.
    #[inline]
    pub(super) fn choice(&self, pool: &SegPool, budget: u32) -> Option<u32> {
        let lost = self.q.lost_head;
        let id = if lost != NONE { lost } else { self.q.unsent };
        if id == NONE {
            return None;
        }
        let seg = pool.at(id);
        let len = seg.seq_len();
        if len > budget || (lost == NONE && seg.end() > self.right && !breaks(Broken::BeyondTheWindow)) {
            return None;
        }
        let flight = self.in_flight();
        // Without SACK the flight is a guess: the hole at una never waits for it (RFC 6582 section 3.2 step 3).
        let hole = lost != NONE && !self.params.sack && lost == self.q.head;
        if flight > 0 && flight + len > self.cc.cwnd && !hole {
            return None;
        }
        Some(id)
    }

    /// The transmission was handed to the port with timestamp `ts_val` (anything without timestamps).
    #[inline]
    pub fn sent(&mut self, pool: &mut SegPool, now: Now, xmit: &Xmit, ts_val: u32) {
        let again = xmit.resent();
        let was_due = self.probe.due.is_some();
        if let XmitKind::Probe(kind) = xmit.kind {
            self.probe.due = None;
            self.probe.last = Some(Outstanding { kind, start: xmit.start, end: xmit.start + u64::from(xmit.seq_len()) });
        }
        if let Some(SegId(id)) = xmit.id {
            if again {
                self.note_again(pool, id, ts_val, matches!(xmit.kind, XmitKind::Probe(_)));
                self.reno.again = now;
            } else {
                self.note_new(pool, now, id);
            }
            self.fly(pool, now, id);
        }
        if !was_due {
            // Each transmission gives Y a whole interval to answer (RFC 8985 section 7.2).
            self.probe.base = now;
        }
        self.arm(pool);
    }

    /// The frame of `xmit` still waits in the box for an earlier transmission, so it was not sent again: as good as
    /// sent now, but no retransmission.
    pub fn skipped(&mut self, pool: &mut SegPool, now: Now, xmit: &Xmit) {
        if matches!(xmit.kind, XmitKind::Probe(_)) {
            self.probe.due = None;
        }
        match xmit.id {
            Some(SegId(id)) if xmit.resent() => self.fly(pool, now, id),
            _ => {}
        }
        self.probe.base = now;
        self.arm(pool);
    }

    fn note_new(&mut self, pool: &mut SegPool, now: Now, id: u32) {
        debug_assert_eq!(id, self.q.unsent);
        if self.una == self.nxt && (self.last_new.is_none_or(|t| now.since(t) >= IDLE_NS)) {
            self.first_left = FIRST_SEGMENTS;
            self.first_open = true;
        }
        self.last_new = Some(now);
        let n = pool.at_mut(id);
        if self.first_left > 0 {
            self.first_left -= 1;
            n.flags |= FIRST_FLIGHT;
        }
        self.nxt = n.end();
        self.q.unsent = n.next;
    }

    fn note_again(&mut self, pool: &mut SegPool, id: u32, ts_val: u32, probe: bool) {
        let n = pool.at_mut(id);
        n.flags |= RETX;
        n.retx = n.retx.saturating_add(1);
        if !probe {
            self.loss.undo_left = self.loss.undo_left.saturating_add(n.seq_len());
            self.loss.retx_stamp.get_or_insert(ts_val);
        }
        self.loss.resent_segs += 1;
    }

    #[inline]
    fn fly(&mut self, pool: &mut SegPool, now: Now, id: u32) {
        self.q.unlink(pool, id);
        let flight = self.q.flight;
        // Each later than the one before, also within one instant: RACK goes by the order.
        self.last_xmit = Now(now.0.max(self.last_xmit.0 + 1));
        let n = pool.at_mut(id);
        n.xmit = self.last_xmit;
        self.rate.stamp(now, n, flight);
        let len = n.seq_len();
        self.q.fly(pool, id);
        if self.prr.active {
            self.prr.sent(len);
        }
        self.peak = self.peak.max(self.in_flight());
        if self.q.unsent == NONE && self.q.lost == 0 && self.q.flight < self.cc.cwnd {
            self.rate.ran_dry(self.q.flight);
        }
    }

    /// Time has come for [`Sender::deadline`]. Ask [`Sender::next`] afterwards. `link_full` as in
    /// [`AckIn`](super::AckIn).
    pub fn on_timer(&mut self, pool: &mut SegPool, now: Now, link_full: bool) -> AckOut {
        let mut out = AckOut::default();
        self.begin_judgement();
        if self.rack.deadline.is_some_and(|d| d <= now) {
            self.rack_detect(pool, now);
        }
        if self.probe.deadline.is_some_and(|d| d <= now) {
            self.probe_timer(pool, now);
        }
        self.react(now, link_full, &mut out);
        self.arm(pool);
        out
    }

    /// When [`Sender::on_timer`] wants to be called; `None`: not before the next event.
    #[inline]
    pub fn deadline(&self) -> Option<Now> {
        if !self.awake {
            return None;
        }
        match (self.rack.deadline, self.probe.deadline) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Another flow of the same subscriber heard from Y's side: if this one is silent and backing off, it probes now, but
    /// no more often than it would without backing off.
    pub fn path_alive(&mut self, now: Now) {
        let rested = now.since(self.probe.base) >= self.pto();
        if self.probe.count >= 2 && self.nxt > self.una && self.probe.due.is_none() && rested {
            self.probe.count = 1;
            self.probe.deadline = Some(now);
        }
    }

    /// The path's MTU shrank: segments with more than `max_payload` bytes that are not SACKed are cut into pieces of at
    /// most that; those sent already are found lost, without blame. Returns false if the pool ran out before all were
    /// cut; the rest stays as it is.
    pub fn split(&mut self, pool: &mut SegPool, max_payload: u16) -> bool {
        let max = max_payload.max(1);
        let mut id = self.q.head;
        let mut all = true;
        while id != NONE {
            if pool.at(id).len > max && !pool.at(id).is(SACKED) {
                if pool.at(id).is(SENT) && !pool.at(id).is(LOST) {
                    self.q.lose(pool, id);
                }
                if self.q.cut(pool, id, max).is_err() {
                    all = false;
                }
            }
            id = pool.at(id).next;
        }
        self.params.mss = self.params.mss.min(max);
        self.cc.set_mss(u32::from(self.params.mss));
        if self.q.lost > 0 && !self.recovering {
            self.recovering = true;
            self.loss.recover = self.nxt;
            self.loss.saved = None;
            self.loss.undo_left = 0;
        }
        self.probe.size_doubt = 0;
        self.probe.due = None;
        self.loss.sack_seen = [(0, 0); 4];
        self.arm(pool);
        all
    }
}
