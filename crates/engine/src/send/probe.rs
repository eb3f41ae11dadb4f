//! What happens when Y is silent: probes, and nothing else.
//!
//! There is no retransmission timer. A probe makes Y speak, and what Y says lets RACK decide about everything sent
//! before. Probes go out after a PTO (RFC 8985 section 7.2) and then at doubling intervals, of at most 2 s for half a minute. In a closed window the same
//! clock runs persist (RFC 9293 section 3.8.6.1).

use super::queue::{LOST, NONE, SACKED};
use super::types::{ProbeKind, SegId, Xmit, XmitKind};
use super::{SegPool, Sender};
use crate::api::Now;
use crate::broken::{breaks, Broken};
use crate::seq::Off;

const MS: u64 = 1_000_000;
/// Longest interval between probes.
const CAP_NS: u64 = 60_000 * MS;
/// Longest interval while an outage of the radio is what silence means most often: for so many probes each. An outage
/// may have emptied the radio's queue, and then nothing but a probe finds out that it is over.
const OUTAGE: [(u32, u64); 2] = [(16, 1_000 * MS), (24, 2_000 * MS)];
/// Shortest.
const FLOOR_NS: u64 = 10 * MS;
/// Without any estimate of the round trip (RFC 8985 section 7.2).
const BLIND_NS: u64 = 1_000 * MS;
/// Worst delay of an acknowledgement that Y keeps back for a single segment (RFC 8985 section 7.2).
const ACK_DELAY_NS: u64 = 200 * MS;
/// Least interval of persist.
const PERSIST_NS: u64 = 200 * MS;
/// The highest segment has been a probe so often without being SACKed that another must be.
const VAIN: u8 = 2;
/// A longer round trip than this is a queue or a freeze, which a probe need not wait for.
const SRTT_LIMIT_NS: u64 = 3_000 * MS;

#[derive(Clone, Copy, Debug)]
pub(super) struct Outstanding {
    pub kind: ProbeKind,
    pub start: Off,
    pub end: Off,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Probe {
    /// Start of the running interval: the last transmission, or the last word from Y that counted.
    pub base: Now,
    /// Probes sent since then.
    pub count: u32,
    /// To be sent next.
    pub due: Option<ProbeKind>,
    /// The last one sent, until it is known what became of it.
    pub last: Option<Outstanding>,
    pub deadline: Option<Now>,
    /// Times that Y answered an empty probe and yet never the full segment after it.
    pub size_doubt: u8,
    /// Closed-window probes in a row.
    pub persist: u32,
    /// Since when Y's window has been too small for the next segment, as far as noticed.
    pub blocked: Option<Now>,
    /// Since when the first segment has been both SACKed and not acknowledged: Y reneged (RFC 2018 section 8).
    pub reneging: Option<Now>,
}

/// How long to wait for an answer to the last of `count` probes, ns.
fn interval(pto: u64, count: u32) -> u64 {
    let doubled = pto << count.min(20);
    match OUTAGE.into_iter().find(|(probes, _)| count < *probes) {
        Some((_, cap)) => doubled.min(cap.max(2 * pto)),
        None => OUTAGE[1].1.max(2 * pto) << (count - OUTAGE[1].0 + 1).min(10),
    }
    .min(CAP_NS)
}

impl Sender {
    /// The probe timeout, ns, without backoff.
    pub(super) fn pto(&self) -> u64 {
        let srtt = self.rtt.smoothed().min(SRTT_LIMIT_NS);
        if srtt == 0 {
            return BLIND_NS;
        }
        // The radio may have lost all of a first flight: ask earlier.
        let base = if self.first_open { srtt + srtt / 2 } else { 2 * srtt };
        let delay = if self.q.flight_segs <= 1 { ACK_DELAY_NS } else { 0 };
        (base + delay).max(FLOOR_NS)
    }

    /// Sets the clock for what is outstanding now.
    pub(super) fn arm(&mut self, pool: &SegPool) {
        let p = &mut self.probe;
        if self.una == self.nxt {
            p.reneging = None;
            if self.q.unsent == NONE || pool.at(self.q.unsent).end() <= self.right {
                p.deadline = None;
                p.persist = 0;
                p.blocked = None;
                return;
            }
            let base = (2 * self.rtt.smoothed()).clamp(PERSIST_NS, SRTT_LIMIT_NS);
            p.deadline = Some(match p.blocked {
                Some(since) => since.after_ns((base << p.persist.min(20)).min(CAP_NS)),
                // Nobody has looked at the clock since: the timer does, and begins the interval.
                None => Now(0),
            });
            return;
        }
        let pto = self.pto();
        let p = &mut self.probe;
        p.blocked = None;
        let mut deadline = p.base.after_ns(interval(pto, p.count));
        if let Some(since) = p.reneging {
            deadline = deadline.min(since.after_ns(pto));
        }
        p.deadline = Some(deadline);
    }

    /// Notes when a window that is too small for the next segment began to be so.
    pub(super) fn note_blocked(&mut self, pool: &SegPool, now: Now) {
        let unsent = self.q.unsent;
        if self.una == self.nxt && unsent != NONE && pool.at(unsent).end() > self.right {
            self.probe.blocked.get_or_insert(now);
        }
    }

    /// Y was heard; `progress`: something was newly delivered.
    pub(super) fn heard(&mut self, now: Now, progress: bool) {
        let p = &mut self.probe;
        if progress {
            p.base = now;
            p.count = 0;
            p.due = None;
            p.size_doubt = 0;
            return;
        }
        if p.count == 0 || self.right <= self.una {
            return;
        }
        // Alive, and nothing new arrived: what was lost is asked for by a segment that RACK can learn from.
        p.count = 0;
        p.base = now;
        match p.last.take() {
            Some(Outstanding { kind: ProbeKind::Zero, .. }) => {
                p.size_doubt = p.size_doubt.saturating_add(1);
                p.due = Some(ProbeKind::Highest);
            }
            // Without SACK the answer says no more than that the segment at una is missing.
            Some(Outstanding { kind: ProbeKind::NewData, .. }) if !self.params.sack => {
                p.due = Some(ProbeKind::Highest);
            }
            _ => {}
        }
    }

    /// The probe clock ran out.
    pub(super) fn probe_timer(&mut self, pool: &mut SegPool, now: Now) {
        if breaks(Broken::NoProbes) {
            self.probe.base = now;
            return;
        }
        if self.una == self.nxt {
            self.persist_timer(pool, now);
            return;
        }
        if self.reneged(pool, now) {
            let before = self.q.lost;
            self.q.unsack_all(pool);
            self.loss.sack_seen = [(0, 0); 4];
            self.probe.reneging = None;
            // Nobody's fault but Y's: recovery without blame.
            self.lost_found += self.q.lost - before;
        }
        let fits = self.q.unsent != NONE && pool.at(self.q.unsent).end() <= self.right;
        let empty = (self.probe.count % 2 == 1) == self.params.sack;
        // The hole at una may be held back by a flight that is not there any more.
        let hole = !self.params.sack && self.q.lost_head != NONE && self.q.lost_head == self.q.head;
        self.probe.due = Some(if hole {
            ProbeKind::Highest
        } else if fits && self.probe.count % 2 == 0 {
            ProbeKind::NewData
        } else if fits {
            // New data went unanswered: silence may be a path that takes no full segment (invariant I3).
            ProbeKind::Zero
        } else if empty || self.right <= self.una {
            ProbeKind::Zero
        } else {
            ProbeKind::Highest
        });
        self.probe.base = now;
        self.probe.count += 1;
    }

    /// The first segment has been SACKed but not acknowledged for a round trip: Y dropped it after all.
    fn reneged(&self, pool: &SegPool, now: Now) -> bool {
        let head_sacked = self.q.head != NONE && pool.at(self.q.head).is(SACKED);
        head_sacked && self.probe.reneging.is_some_and(|since| now.since(since) >= self.pto())
    }

    fn persist_timer(&mut self, pool: &mut SegPool, now: Now) {
        let first_look = self.probe.blocked.is_none();
        self.probe.blocked = Some(now);
        let id = self.q.unsent;
        if first_look || id == NONE {
            return;
        }
        self.probe.persist += 1;
        let room = self.right.saturating_sub(self.nxt);
        let (len, seq_len) = (pool.at(id).len, pool.at(id).seq_len());
        if room > 0 && room < u64::from(seq_len) && self.q.cut(pool, id, len.min(room as u16)).is_ok() {
            // The window is open, but has stayed below the next segment for a persist interval (invariant I3).
            return;
        }
        self.probe.due = Some(ProbeKind::Zero);
    }

    /// The probe to send now.
    pub(super) fn probe_choice(&self, pool: &SegPool) -> Option<Xmit> {
        let kind = self.probe.due?;
        let id = match kind {
            ProbeKind::Zero => NONE,
            ProbeKind::NewData => self.q.unsent,
            ProbeKind::Highest => self.highest(pool),
        };
        if id == NONE {
            let start = self.una - 1;
            return Some(Xmit { kind: XmitKind::Probe(ProbeKind::Zero), id: None, start, seg: None });
        }
        let seg = pool.seg(SegId(id));
        Some(Xmit { kind: XmitKind::Probe(kind), id: Some(SegId(id)), start: seg.start, seg: Some(seg) })
    }

    /// The segment whose answer tells most: the highest sent; if that was SACKed, the one sent last. Without SACK an
    /// answer to the highest says nothing: then it is the first. It is the first too where the highest went several
    /// times for nothing: Y may not SACK a FIN, or nothing beyond what it has.
    fn highest(&self, pool: &SegPool) -> u32 {
        let last = self.q.last_sent(pool);
        let vain = last != NONE && pool.at(last).retx >= VAIN && !pool.at(self.q.head).is(SACKED);
        if !self.params.sack || vain {
            return self.q.head;
        }
        if last != NONE && !pool.at(last).is(SACKED | LOST) {
            last
        } else if self.q.flight_tail != NONE {
            self.q.flight_tail
        } else {
            self.q.lost_head
        }
    }
}
