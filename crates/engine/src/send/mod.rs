//! The sending half of an optimized stream: from the moment a segment of X's is in order until Y has acknowledged it.
//!
//! Pure: no packets, no clock, no allocation after [`SegPool::new`]. The caller tells it what arrived ([`Sender::on_ack`])
//! and that time has passed ([`Sender::on_timer`]), asks what to transmit ([`Sender::next`]) and reports that it did
//! ([`Sender::sent`]).
//!
//! Loss is found by RACK (RFC 8985) alone; there is **no retransmission timer**. After a silence only probes are sent,
//! nothing is presumed lost and the window does not collapse: a radio that slept answers the first probe, and that one
//! answer condemns or clears everything sent before it.

mod ack;
mod blame;
mod cubic;
mod freeze;
mod newreno;
mod probe;
mod prr;
mod queue;
mod rack;
mod rate;
mod rtt;
mod types;
mod xmit;

#[cfg(test)]
mod tests;

pub use queue::SegPool;
pub use types::{
    split_dsack, AckIn, AckOut, FrozenSender, Full, ProbeKind, Seg, SegId, SenderParams, Xmit, XmitKind,
};

use crate::api::{FrameId, Now};
use crate::pool::Seldom;
use crate::seq::Off;
use smartwire_packet::csum::prefetch_front;
use blame::Blame;
use cubic::{Cubic, Saved};
use newreno::NewReno;
use probe::Probe;
use prr::Prr;
use queue::{Queue, NONE};
use rack::Rack;
use rate::Rate;
use rtt::Rtt;

/// The sender of one stream: first where it stands, then what every segment and acknowledgement needs.
///
/// One that stands still is *asleep*: only its first cache line counts, all else is as [`Default`] makes it.
#[derive(Clone, Debug, Default)]
#[repr(C, align(64))]
pub struct Sender {
    una: Off,
    nxt: Off,
    end: Off,
    right: Off,
    /// Highest flight of this round and the one before, bytes.
    peak: u32,
    peak_before: u32,
    /// The same, coming down by a quarter of what is delivered at most.
    peak_held: u32,
    params: SenderParams,
    awake: bool,
    /// Between the detection of a loss and the acknowledgement of all that was sent by then, or by the last cut.
    recovering: bool,
    cwr: bool,
    /// First flight after the start or after idleness: segments that may still join it; nothing of it delivered yet.
    first_left: u8,
    first_open: bool,
    /// Within one call: whether blame may follow, bytes found lost, and what a duplicate ACK without SACK stands for.
    blamed: bool,
    lost_found: u32,
    dup_bytes: u32,
    q: Queue,
    reno: NewReno,
    last_xmit: Now,
    last_new: Option<Now>,
    rtt: Rtt,
    cc: Cubic,
    probe: Probe,
    rate: Rate,
    prr: Prr,
    // From here on what acknowledgements need and segments do not.
    rack: Rack,
    blame: Blame,
    loss: Seldom<Loss>,
}

/// What a loss leaves behind.
#[derive(Clone, Debug, Default)]
struct Loss {
    /// Recovery ends once una has come here.
    recover: Off,
    blame_from: Off,
    /// When the window was last cut: a loss among what was sent before is part of the same congestion.
    last_cut: Now,
    /// What undoes the cut of this recovery, and the bytes resent in it that no DSACK has covered yet.
    saved: Option<Saved>,
    undo_left: u32,
    /// Timestamp on the first retransmission of this recovery.
    retx_stamp: Option<u32>,
    /// Answered an ECN-Echo; the next one counts once una has passed this.
    ecn_until: Off,
    /// SACK blocks of the last ACK that had any.
    sack_seen: [(Off, Off); 4],
    resent_segs: u64,
}

impl Sender {
    /// Y acknowledged again what it had acknowledged of a stream that stands still, with this right edge of its window.
    pub fn on_still_ack(&mut self, right: Off) {
        debug_assert!(self.is_idle());
        self.right = right;
    }

    /// A sender with nothing queued, una = nxt = `una`, that may send up to `right`.
    pub fn new(params: &SenderParams, una: Off, right: Off) -> Sender {
        let mut sender = Sender::default();
        sender.sleep(params, una, right);
        sender.wake(&FrozenSender::default(), Now(0));
        sender
    }

    /// Stands still from now on, wherever it stood before. Every field is named, so that none stays what it was.
    pub(crate) fn sleep(&mut self, p: &SenderParams, at: Off, edge: Off) {
        let Sender {
            una,
            nxt,
            end,
            right,
            peak,
            peak_before,
            peak_held,
            params,
            awake,
            recovering,
            cwr,
            first_left,
            first_open,
            blamed,
            lost_found,
            dup_bytes,
            q,
            rack,
            probe,
            rtt,
            rate,
            cc,
            last_new,
            last_xmit,
            reno,
            blame,
            prr,
            loss,
        } = self;
        *params = SenderParams { mss: p.mss.max(1), ..*p };
        (*una, *nxt, *end, *right) = (at, at, at, edge);
        (*peak, *peak_before, *peak_held) = (0, 0, 0);
        (*recovering, *cwr, *first_left, *first_open, *blamed) = (false, false, 0, false, false);
        if !std::mem::take(awake) {
            return;
        }
        (*lost_found, *dup_bytes, *last_new, *last_xmit) = (0, 0, None, Now(0));
        *q = Queue::default();
        *rack = Rack::default();
        *probe = Probe::default();
        *rtt = Rtt::default();
        *rate = Rate::default();
        *cc = Cubic::default();
        *reno = NewReno::default();
        *blame = Blame::default();
        *prr = Prr::default();
        loss.renew();
    }

    /// It is not asleep: something was queued since it stood still.
    pub(crate) fn is_awake(&self) -> bool {
        self.awake
    }

    /// Asks for all that a segment needs, or an acknowledgement.
    pub(crate) fn prefetch(&self, payload: bool) {
        let all = std::mem::offset_of!(Sender, loss) + 64;
        prefetch_front(self, if payload { std::mem::offset_of!(Sender, rack) } else { all });
    }

    /// Asks for the first segment that waits for its acknowledgement, and the last one.
    pub(crate) fn prefetch_segments(&self, pool: &SegPool) {
        pool.prefetch(self.q.head);
        pool.prefetch(self.q.tail);
    }

    /// The same for a stream that stands still.
    pub(crate) fn prefetch_still(&self) {
        prefetch_front(self, 64);
    }

    /// Takes the next segment in order; `seg.start` must be [`Sender::end`]. [`Full`]: the pool is empty, nothing was
    /// taken. A segment that takes no sequence number is refused likewise.
    #[inline]
    pub fn enqueue(&mut self, pool: &mut SegPool, seg: &Seg) -> Result<(), Full> {
        debug_assert!(self.awake && seg.start == self.end);
        if seg.seq_len() == 0 {
            return Err(Full);
        }
        let first = self.q.unsent == NONE;
        self.q.push(pool, seg)?;
        self.end = seg.end();
        if first && self.una == self.nxt {
            self.arm(pool);
        }
        Ok(())
    }

    /// Gives every segment back; for a flow that is reset. `freed` is called with each frame.
    pub fn clear(&mut self, pool: &mut SegPool, mut freed: impl FnMut(FrameId)) {
        if !self.awake {
            return;
        }
        while self.q.head != NONE {
            if let Some(frame) = self.q.pop(pool).frame_to_free() {
                freed(frame);
            }
        }
        self.una = self.end;
        self.nxt = self.end;
        self.rack.deadline = None;
        self.probe = Probe::default();
    }

    /// Slow start may begin with this window, if it is larger than the present one and the window was never cut.
    pub fn raise_cwnd_to(&mut self, bytes: u32) {
        if self.cc.ssthresh == u32::MAX {
            self.cc.cwnd = self.cc.cwnd.max(bytes);
        }
    }

    /// First estimate of the round trip, from the handshake, ns. Ignored once there is a measurement.
    pub fn seed_rtt(&mut self, now: Now, rtt_ns: u64) {
        if self.rtt.smoothed() == 0 {
            self.rtt.seed(rtt_ns, rtt_ns, now);
        }
    }

    /// Reordering learned elsewhere on this path: wait at least this long before a hole counts as lost, ns.
    pub fn set_reordering(&mut self, ns: u64) {
        self.rack.learn(ns);
    }

    /// The extent of reordering seen, ns; 0 if none was.
    pub fn reordering(&self) -> u64 {
        self.rack.learned
    }

    /// Lowest byte not acknowledged.
    pub fn una(&self) -> Off {
        self.una
    }
    /// One past the highest byte sent.
    pub fn nxt(&self) -> Off {
        self.nxt
    }
    /// One past the highest byte queued: where the next segment must begin.
    pub fn end(&self) -> Off {
        self.end
    }
    /// Right edge of Y's window less una, bytes.
    pub(crate) fn window(&self) -> u32 {
        self.right.saturating_sub(self.una).min(u64::from(u32::MAX)) as u32
    }
    /// Right edge of Y's window.
    pub fn right(&self) -> Off {
        self.right
    }
    /// Bytes believed on their way: sent, neither acknowledged, SACKed nor lost.
    pub fn in_flight(&self) -> u32 {
        self.q.flight - self.reno_out()
    }
    /// The most that was on its way at once in this round trip and the one before, bytes.
    /// It comes down by no more than a quarter of what is delivered: twice of it beyond una never goes back, or
    /// acknowledgements to X would pause until una has caught up, longer than X waits before it sends a probe.
    pub fn peak_flight(&self) -> u32 {
        self.peak_held.max(self.peak).max(self.peak_before)
    }
    /// Bytes found lost and not sent again yet.
    pub fn lost(&self) -> u32 {
        self.q.lost
    }
    /// Bytes SACKed beyond una.
    pub fn sacked(&self) -> u32 {
        self.q.sacked
    }
    /// Bytes not sent yet.
    pub fn backlog(&self) -> u32 {
        (self.end - self.nxt) as u32
    }
    /// True while a probe is to be sent: [`Sender::next`] gives it whatever the budget.
    pub fn probe_due(&self) -> bool {
        self.probe.due.is_some()
    }
    /// True if something waits that only the subscriber's budget and the pacing may hold back: window and congestion
    /// control would let it go.
    #[inline]
    pub fn wants_to_send(&self, pool: &SegPool) -> bool {
        self.awake && (self.probe.due.is_some() || self.choice(pool, u32::MAX).is_some())
    }
    /// Queued segments that share bytes with `[start, end)`, for the comparison of their content.
    pub fn overlapping<'a>(&self, pool: &'a SegPool, start: Off, end: Off) -> impl Iterator<Item = Seg> + 'a {
        let mut id = self.q.head;
        std::iter::from_fn(move || {
            let node = (id != NONE).then(|| pool.at(id))?;
            id = node.next;
            Some(node.seg())
        })
        .skip_while(move |seg| seg.end() <= start)
        .take_while(move |seg| seg.start < end)
    }
    /// Frame memory held, bytes.
    pub fn held(&self) -> u32 {
        if self.awake { self.q.held } else { 0 }
    }
    /// Segments sent more than once so far, probes with payload included.
    pub fn resent_segments(&self) -> u64 {
        self.loss.resent_segs
    }
    /// Congestion window, bytes.
    pub fn cwnd(&self) -> u32 {
        self.cc.cwnd
    }
    /// Slow-start threshold, bytes; `u32::MAX` until the window is first cut.
    pub fn ssthresh(&self) -> u32 {
        self.cc.ssthresh
    }
    /// True between the detection of a loss and the acknowledgement of what was sent by then.
    pub fn recovering(&self) -> bool {
        self.recovering
    }
    /// Smoothed round trip, ns; 0 if not measured yet. Samples that waited through an outage are left out.
    pub fn srtt(&self) -> u64 {
        self.rtt.smoothed()
    }
    /// Least round trip of the last ten seconds or more, ns; 0 if not measured yet.
    pub fn min_rtt(&self) -> u64 {
        self.rtt.min()
    }
    /// Rate at which Y receives this stream: the maximum over the last rounds, bytes per second; 0 if not measured yet.
    pub fn delivery_rate(&self) -> u64 {
        self.rate.max()
    }
    /// Rate, bytes per second, at which a policer on the path was found to drop; the window is held just below it.
    pub fn policer(&self) -> Option<u64> {
        self.blame.cap()
    }
    /// Suggested pacing, bytes per second: 1.25 times the delivery rate or what the window needs, whichever is more
    /// (twice the window per round trip in slow start); `u64::MAX` if nothing is known yet.
    pub fn pacing_rate(&self) -> u64 {
        let srtt = self.rtt.smoothed();
        if srtt == 0 {
            return u64::MAX;
        }
        let window = (u128::from(self.cc.cwnd) * 1_000_000_000 / u128::from(srtt)) as u64;
        let window = if self.cc.in_slow_start() { window * 2 } else { window + window / 4 };
        let measured = self.rate.max();
        let rate = window.max(measured + measured / 4);
        self.blame.cap().map_or(rate, |cap| rate.min(cap))
    }
    /// Y answered empty probes twice and never the full segment after them: the path may drop segments of that size
    /// without saying so. Cut them ([`Sender::split`], at most 1,000 bytes).
    pub fn size_doubted(&self) -> bool {
        self.probe.size_doubt >= 2
    }
    /// Probes sent since Y was last heard.
    pub fn unanswered_probes(&self) -> u32 {
        self.probe.count
    }
    /// Nothing is queued and nothing unacknowledged: it can be frozen.
    pub fn is_idle(&self) -> bool {
        self.una == self.end
    }
    /// True if Y's ECN-Echo was answered with a cut and the next new segment must carry CWR (RFC 3168 section 6.1.2).
    /// Reading clears it.
    pub fn take_cwr(&mut self) -> bool {
        std::mem::take(&mut self.cwr)
    }
}
