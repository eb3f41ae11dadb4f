//! The sending half of an optimized stream: from the moment a segment of X's is in order until Y has acknowledged it.
//!
//! Pure: no packets, no clock, no allocation after [`SegPool::new`]. The caller tells it what arrived ([`Sender::on_ack`])
//! and that time has passed ([`Sender::on_timer`]), asks what to transmit ([`Sender::next`]) and reports that it did
//! ([`Sender::sent`]).
//!
//! Loss is found by RACK (RFC 8985) alone; there is **no retransmission timer**. After a silence only probes are sent,
//! nothing is presumed lost and the window does not collapse: a radio that slept answers the first probe, and that one
//! answer condemns or clears everything sent before it.

mod queue;
mod types;

pub use queue::SegPool;
pub use types::{
    split_dsack, AckIn, AckOut, FrozenSender, Full, ProbeKind, Seg, SegId, SenderParams, Xmit, XmitKind,
};

use crate::api::{FrameId, Now};
use crate::seq::Off;
use queue::{Queue, NONE};

/// The sender of one stream.
#[derive(Clone, Debug)]
pub struct Sender {
    params: SenderParams,
    q: Queue,
    una: Off,
    nxt: Off,
    end: Off,
    right: Off,
    cwnd: u32,
    ssthresh: u32,
    srtt_ns: u64,
}

impl Sender {
    /// A sender with nothing queued, una = nxt = `una`, that may send up to `right`.
    pub fn new(params: &SenderParams, una: Off, right: Off) -> Sender {
        let iw = u32::from(params.mss) * 10;
        Sender {
            params: *params,
            q: Queue::new(),
            una,
            nxt: una,
            end: una,
            right,
            cwnd: iw,
            ssthresh: u32::MAX,
            srtt_ns: 0,
        }
    }

    /// Takes the next segment in order; `seg.start` must be [`Sender::end`]. [`Full`]: the pool is empty, nothing was
    /// taken. A segment that takes no sequence number is refused likewise.
    pub fn enqueue(&mut self, pool: &mut SegPool, seg: &Seg) -> Result<(), Full> {
        debug_assert_eq!(seg.start, self.end);
        if seg.seq_len() == 0 {
            return Err(Full);
        }
        self.q.push(pool, seg)?;
        self.end = seg.end();
        Ok(())
    }

    /// An acknowledgement of Y's arrived. `freed` is called with each frame that is needed no more, in order.
    pub fn on_ack(
        &mut self,
        pool: &mut SegPool,
        now: Now,
        ack: &AckIn<'_>,
        mut freed: impl FnMut(FrameId),
    ) -> AckOut {
        let _ = now;
        let mut out = AckOut::default();
        if ack.ack > self.nxt {
            out.refused = true;
            return out;
        }
        out.window_grew = ack.right > self.right;
        self.right = ack.right;
        while self.q.head != NONE && pool.at(self.q.head).end() <= ack.ack {
            out.newly_acked += pool.at(self.q.head).seq_len();
            if let Some(frame) = self.q.pop(pool) {
                freed(frame);
            }
        }
        if ack.ack > self.una {
            out.advanced = true;
            self.una = ack.ack;
        }
        out
    }

    /// What to transmit now, if anything. `budget` is what the subscriber's share and the pacing leave, in bytes; with 0
    /// only a probe can come. Nothing is changed until [`Sender::sent`].
    pub fn next(&self, pool: &SegPool, now: Now, budget: u32) -> Option<Xmit> {
        let _ = now;
        if self.q.unsent == NONE {
            return None;
        }
        let seg = pool.seg(SegId(self.q.unsent));
        if seg.end() > self.right || seg.seq_len() > budget || self.q.flight + seg.seq_len() > self.cwnd {
            return None;
        }
        Some(Xmit { kind: XmitKind::New, id: Some(SegId(self.q.unsent)), start: seg.start, seg: Some(seg) })
    }

    /// The transmission was handed to the port with timestamp `ts_val` (0 without timestamps).
    pub fn sent(&mut self, pool: &mut SegPool, now: Now, xmit: &Xmit, ts_val: u32) {
        let _ = ts_val;
        if let Some(SegId(id)) = xmit.id {
            if id == self.q.unsent {
                self.q.unsent = pool.at(id).next;
                self.nxt = pool.at(id).end();
            } else {
                self.q.unlink(pool, id);
            }
            pool.at_mut(id).xmit = now;
            self.q.fly(pool, id);
        }
    }

    /// The frame of `xmit` still waits in the box for an earlier transmission, so it was not sent again: as good as
    /// sent now, but no retransmission.
    pub fn skipped(&mut self, pool: &mut SegPool, now: Now, xmit: &Xmit) {
        self.sent(pool, now, xmit, 0);
    }

    /// Time has come for [`Sender::deadline`]. Ask [`Sender::next`] afterwards. `link_full` as in [`AckIn`].
    pub fn on_timer(&mut self, pool: &mut SegPool, now: Now, link_full: bool) -> AckOut {
        let _ = (pool, now, link_full);
        AckOut::default()
    }

    /// When [`Sender::on_timer`] wants to be called; `None`: not before the next event.
    pub fn deadline(&self) -> Option<Now> {
        None
    }

    /// Another flow of the same subscriber heard from Y's side: if this one is silent and backing off, it probes now.
    pub fn path_alive(&mut self, now: Now) {
        let _ = now;
    }

    /// The path's MTU shrank: segments with more than `max_payload` bytes that are not SACKed are cut into pieces of at
    /// most that, the sent ones among them are found lost without blame. Returns false if the pool ran out before all
    /// were cut; the rest stays as it is.
    pub fn split(&mut self, pool: &mut SegPool, max_payload: u16) -> bool {
        let _ = (pool, max_payload);
        true
    }

    /// Gives every segment back; for a flow that is reset. `freed` is called with each frame.
    pub fn clear(&mut self, pool: &mut SegPool, mut freed: impl FnMut(FrameId)) {
        while self.q.head != NONE {
            if let Some(frame) = self.q.pop(pool) {
                freed(frame);
            }
        }
        self.end = self.nxt;
    }

    /// Slow start may begin with this window, if it is larger than the present one and nothing was lost yet.
    pub fn raise_cwnd_to(&mut self, bytes: u32) {
        if self.ssthresh == u32::MAX {
            self.cwnd = self.cwnd.max(bytes);
        }
    }

    /// First estimate of the round trip, from the handshake, ns.
    pub fn seed_rtt(&mut self, rtt_ns: u64) {
        if self.srtt_ns == 0 {
            self.srtt_ns = rtt_ns;
        }
    }

    /// Reordering learned elsewhere on this path: wait at least this long before a hole counts as lost, ns.
    pub fn set_reordering(&mut self, ns: u64) {
        let _ = ns;
    }

    /// The extent of reordering seen, ns; 0 if none was.
    pub fn reordering(&self) -> u64 {
        0
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
    /// Right edge of Y's window.
    pub fn right(&self) -> Off {
        self.right
    }
    /// Bytes believed on their way: sent, neither acknowledged, SACKed nor lost.
    pub fn in_flight(&self) -> u32 {
        self.q.flight
    }
    /// Bytes found lost and not sent again yet.
    pub fn lost(&self) -> u32 {
        self.q.lost
    }
    /// Bytes not sent yet.
    pub fn backlog(&self) -> u32 {
        (self.end - self.nxt) as u32
    }
    /// True if something waits that only the subscriber's budget and the pacing may hold back: window and congestion
    /// control would let it go.
    pub fn wants_to_send(&self, pool: &SegPool, now: Now) -> bool {
        self.next(pool, now, u32::MAX).is_some()
    }
    /// Frame memory held, bytes.
    pub fn held(&self) -> u32 {
        self.q.held
    }
    /// Congestion window, bytes.
    pub fn cwnd(&self) -> u32 {
        self.cwnd
    }
    /// Smoothed round trip, ns; 0 if not measured yet.
    pub fn srtt(&self) -> u64 {
        self.srtt_ns
    }
    /// Least round trip of the last ten seconds or more, ns; 0 if not measured yet.
    pub fn min_rtt(&self) -> u64 {
        self.srtt_ns
    }
    /// Rate at which Y receives this stream: the maximum over the last rounds, bytes per second; 0 if not measured yet.
    pub fn delivery_rate(&self) -> u64 {
        0
    }
    /// Suggested pacing, bytes per second; `u64::MAX` if nothing is known yet.
    pub fn pacing_rate(&self) -> u64 {
        u64::MAX
    }
    /// Nothing is queued and nothing unacknowledged: it can be frozen.
    pub fn is_idle(&self) -> bool {
        self.una == self.end
    }
    /// True if Y's ECN-Echo was answered with a cut and the next new segment must carry CWR (RFC 3168 section 6.1.2).
    /// Reading clears it.
    pub fn take_cwr(&mut self) -> bool {
        false
    }

    /// The compact record of an idle sender.
    pub fn freeze(&self) -> FrozenSender {
        FrozenSender {
            una: self.una,
            window: (self.right.saturating_sub(self.una)) as u32,
            cwnd: self.cwnd,
            ssthresh: self.ssthresh,
            srtt_us: (self.srtt_ns / 1000) as u32,
            ..FrozenSender::default()
        }
    }

    /// A sender as [`Sender::freeze`] left it, at time `now`.
    pub fn thaw(params: &SenderParams, frozen: &FrozenSender, now: Now) -> Sender {
        let _ = now;
        let mut s = Sender::new(params, frozen.una, frozen.una + u64::from(frozen.window));
        s.cwnd = frozen.cwnd;
        s.ssthresh = frozen.ssthresh;
        s.srtt_ns = u64::from(frozen.srtt_us) * 1000;
        s
    }
}
