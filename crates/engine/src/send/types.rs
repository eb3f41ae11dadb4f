//! What goes into a [`Sender`](super::Sender) and what comes out of it.

use crate::api::FrameId;
use crate::seq::Off;

/// Handle of a segment held in a [`SegPool`](super::SegPool); valid until the segment is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SegId(pub u32);

/// A segment of X's that waits for Y's acknowledgement: where its bytes are, and which bytes of the stream they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seg {
    /// Offset in the stream of its first payload byte (of the FIN, where there is no payload).
    pub start: Off,
    /// The frame that holds it.
    pub frame: FrameId,
    /// First byte of the Ethernet header within the buffer.
    pub off: u16,
    /// Length of the frame in bytes, from the Ethernet header on.
    pub frame_len: u16,
    /// First byte of the TCP header within the frame.
    pub l4: u16,
    /// First payload byte of this segment within the buffer. Moves with `start` when the front is trimmed or cut off.
    pub payload_off: u16,
    /// Payload bytes.
    pub len: u16,
    /// Bytes of frame memory that it costs (the buffer's size), counted once per frame.
    pub held: u16,
    /// True if a FIN follows the payload; it takes one number of the sequence space.
    pub fin: bool,
    /// True while the segment is X's own, whole: the frame can be sent in place. False once it was trimmed by a partial
    /// acknowledgement or cut by [`Sender::split`](super::Sender::split): then a packet must be built from the frame's
    /// headers and `payload_off..payload_off + len`.
    pub whole: bool,
}

impl Seg {
    /// Where in the frame the TCP header is, options included, while the segment is whole.
    pub fn head(&self) -> std::ops::Range<usize> {
        usize::from(self.l4)..usize::from(self.payload_off.saturating_sub(self.off))
    }
    /// Sequence numbers it takes: payload plus one for a FIN.
    pub fn seq_len(&self) -> u32 {
        u32::from(self.len) + u32::from(self.fin)
    }
    /// One past its last sequence number.
    pub fn end(&self) -> Off {
        self.start + u64::from(self.seq_len())
    }
}

/// The pool, or the stream's place in it, is full: nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What the handshake settled about the path towards Y.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderParams {
    /// Largest payload of a segment that Y accepts, timestamps subtracted, bytes.
    pub mss: u16,
    /// SACK was negotiated. Without it NewReno (RFC 6582) recovers.
    pub sack: bool,
    /// Timestamps were negotiated.
    pub ts: bool,
    /// ECN was negotiated.
    pub ecn: bool,
}

/// One acknowledgement from Y, validated by the caller (ACK acceptability, window scale, wl1/wl2, DSACK told apart with
/// [`split_dsack`]).
#[derive(Clone, Copy, Debug)]
pub struct AckIn<'a> {
    /// Cumulative acknowledgement.
    pub ack: Off,
    /// Right edge of Y's window: the current one where this segment may not update it (RFC 9293, SND.WL1/WL2).
    pub right: Off,
    /// SACK blocks `[left, right)`, as many as were there, without the DSACK block.
    pub sack: &'a [(Off, Off)],
    /// Y reports having received this twice (RFC 2883).
    pub dsack: Option<(Off, Off)>,
    /// Echoed timestamp.
    pub ts_ecr: Option<u32>,
    /// ECN-Echo is set.
    pub ece: bool,
    /// The segment carried no payload, SYN or FIN and did not change the window: it may count as a duplicate ACK
    /// (RFC 5681 section 2). Only looked at where there is no SACK.
    pub pure: bool,
    /// The subscriber's queue is full as far as its budget knows: a loss found now means congestion.
    pub link_full: bool,
}

/// What an acknowledgement or a timer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AckOut {
    /// Bytes newly acknowledged cumulatively that had not been SACKed before.
    pub newly_acked: u32,
    /// Bytes newly SACKed. `newly_acked + newly_sacked` were delivered since the last call.
    pub newly_sacked: u32,
    /// Bytes found lost.
    pub lost: u32,
    /// Bytes of earlier "losses" that Y shows to have received twice: their retransmission was needless.
    pub spurious: u32,
    /// Round trip of the newest segment delivered by this ACK, ns; never ambiguous (Karn).
    pub rtt_ns: Option<u64>,
    /// The same where a silence is part of it: right, but nothing to judge the path by.
    pub silent_rtt_ns: Option<u64>,
    /// The congestion window was cut.
    pub cut: bool,
    /// An earlier cut was undone, because all its retransmissions proved needless.
    pub undone: bool,
    /// The ACK number moved.
    pub advanced: bool,
    /// The right edge moved right.
    pub window_grew: bool,
    /// The ACK was refused: it covers bytes that were never sent. Nothing was changed.
    pub refused: bool,
}

impl AckOut {
    /// Bytes that this ACK shows to have reached Y, in or out of order.
    pub fn delivered(&self) -> u32 {
        self.newly_acked + self.newly_sacked
    }
}

/// Why something is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XmitKind {
    /// For the first time.
    New,
    /// Again, because it was found lost.
    Retransmit,
    /// To make Y speak, after a silence.
    Probe(ProbeKind),
}

/// The kinds of probe, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Data not sent yet: its acknowledgement is unambiguous.
    NewData,
    /// The highest segment sent, again; a DSACK tells whether it was needless.
    Highest,
    /// A segment without payload at una − 1, which every TCP answers at once with an ACK (RFC 9293 section 3.10.7.4).
    /// The engine builds it: there is no frame.
    Zero,
}

/// One transmission that the sender asks for. Report it with [`Sender::sent`](super::Sender::sent) once it is queued, or with
/// [`Sender::skipped`](super::Sender::skipped) if the frame is still waiting for an earlier transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xmit {
    /// Why.
    pub kind: XmitKind,
    /// Which segment; `None` for [`ProbeKind::Zero`].
    pub id: Option<SegId>,
    /// Its first sequence number; una − 1 for [`ProbeKind::Zero`].
    pub start: Off,
    /// The segment itself; `None` for [`ProbeKind::Zero`].
    pub seg: Option<Seg>,
}

impl Xmit {
    /// Sequence numbers that it takes: what it costs of window and budget.
    pub fn seq_len(&self) -> u32 {
        self.seg.map_or(0, |s| s.seq_len())
    }
    /// True if it must not carry ECT (RFC 3168 section 6.1.5: retransmissions and probes).
    pub fn resent(&self) -> bool {
        !matches!(self.kind, XmitKind::New | XmitKind::Probe(ProbeKind::NewData))
    }
}

/// Tells a DSACK block (RFC 2883 section 4: the first block, if it lies below the cumulative ACK or within the second
/// block) from the SACK blocks proper.
pub fn split_dsack(ack: Off, blocks: &[(Off, Off)]) -> (Option<(Off, Off)>, &[(Off, Off)]) {
    match blocks {
        [] => (None, blocks),
        [first, rest @ ..] => {
            let below = first.1 <= ack;
            let inside = rest.first().is_some_and(|s| first.0 >= s.0 && first.1 <= s.1);
            if below || inside {
                (Some(*first), rest)
            } else {
                (None, blocks)
            }
        }
    }
}

/// A [`Sender`](super::Sender) with nothing outstanding, as kept while its flow is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrozenSender {
    /// una = nxt.
    pub una: Off,
    /// Right edge of Y's window less una, bytes.
    pub window: u32,
    /// Smoothed round trip, µs; 0 if never measured.
    pub srtt_us: u32,
    /// Least round trip, µs.
    pub min_rtt_us: u32,
    /// Congestion window, bytes.
    pub cwnd: u32,
    /// Slow-start threshold, bytes.
    pub ssthresh: u32,
    /// Reordering window learned, µs; 0 if no reordering was seen.
    pub reordering_us: u32,
}
