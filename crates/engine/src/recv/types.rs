//! What goes into a [`Receiver`](super::Receiver) and what comes out of it.

use crate::send::Seg;
use crate::seq::Off;

/// What the handshake settled about the path from X.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecvParams {
    /// SACK was negotiated.
    pub sack: bool,
    /// Timestamps were negotiated.
    pub ts: bool,
    /// ECN was negotiated (RFC 3168).
    pub ecn: bool,
    /// Window shift that *Y* announced, 0 to 14: windows shown to X are encoded with it.
    pub shift: u8,
    /// Largest payload that X sends in a segment, bytes.
    pub mss: u16,
}

/// A segment of X's with a verified checksum, without RST or SYN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegIn {
    /// Offset of its first payload byte.
    pub seq: Off,
    /// Payload bytes.
    pub len: u32,
    /// FIN is set.
    pub fin: bool,
    /// TSval of its timestamps option.
    pub ts: Option<u32>,
    /// Its IP header says Congestion Experienced.
    pub ce: bool,
    /// CWR is set.
    pub cwr: bool,
}

impl SegIn {
    /// One past its last sequence number.
    pub fn end(&self) -> Off {
        self.seq + u64::from(self.len) + u64::from(self.fin)
    }
}

/// What of a segment is new: the rest was received before, or does not fit the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Payload bytes to leave out at the front.
    pub front: u32,
    /// Payload bytes to leave out at the end.
    pub back: u32,
    /// The FIN belongs to it.
    pub fin: bool,
}

impl Part {
    /// Offset of the first byte kept of a segment.
    pub fn start(&self, seg: &SegIn) -> Off {
        seg.seq + u64::from(self.front)
    }
    /// Payload bytes kept of a segment.
    pub fn len(&self, seg: &SegIn) -> u32 {
        seg.len - self.front - self.back
    }
    /// One past the last sequence number kept of a segment.
    pub fn end(&self, seg: &SegIn) -> Off {
        self.start(seg) + u64::from(self.len(seg)) + u64::from(self.fin)
    }
    /// The part of `whole`, the segment as it came, that is kept.
    pub fn of(&self, whole: &Seg) -> Seg {
        Seg {
            start: whole.start + u64::from(self.front),
            payload_off: whole.payload_off + self.front as u16,
            len: whole.len - (self.front + self.back) as u16,
            fin: self.fin,
            whole: whole.whole && self.front == 0 && self.back == 0 && self.fin == whole.fin,
            ..*whole
        }
    }
}

/// What a segment is. Nothing is changed by asking; see [`Receiver::judge`](super::Receiver::judge).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It continues the stream. Hold the frame, give it to the sender, then say [`Receiver::took`](super::Receiver::took).
    InOrder(Part),
    /// There is a hole before it. Hold the frame, then say [`Receiver::hold`](super::Receiver::hold).
    Ahead(Part),
    /// Neither payload nor FIN, and acceptable.
    Empty,
    /// A keepalive (RFC 9293 section 3.8.4): just below what X was told. Its garbage byte, if any, is not data. Custody
    /// empty: forward it with rewritten ACK and timestamps, and pass the real peer's answer on with
    /// [`Receiver::ack_now`](super::Receiver::ack_now) when it comes; else say that at once.
    Keepalive,
    /// A zero-window probe (RFC 9293 section 3.8.6.1): answered at once with the window as it is now.
    WindowProbe,
    /// All of it was received before: answered at once, with a DSACK. Never forward it. `told`: X was told so long ago.
    Old {
        /// It ends below what X was told.
        told: bool,
    },
    /// Not to be looked at any further.
    Drop(Refusal),
}

impl Verdict {
    /// True if its ACK field, window and SACK blocks may be processed: what Linux (`tcp_sequence`) takes, which is
    /// what RFC 9293 section 3.10.7.4 accepts plus segments that end at or begin at an edge of the window. Who does not
    /// know the sequence numbers can't guess that easily; any old number would be half of the space.
    pub fn ack_counts(&self) -> bool {
        !matches!(self, Verdict::Drop(_) | Verdict::Old { told: true })
    }
}

/// Why a segment is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It lies outside the window (RFC 9293 section 3.10.7.4), or behind the FIN.
    Window,
    /// Its timestamp is older than the last one in sequence (PAWS, RFC 7323 section 5.3).
    Paws,
    /// It has no timestamp though they were negotiated (RFC 7323 section 3.2).
    NoTimestamp,
}

/// What a RST is (RFC 5961 section 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rst {
    /// Exactly at the edge: X means it.
    Exact,
    /// In the window: answer with a challenge ACK if [`Receiver::challenge`](super::Receiver::challenge) allows it, and
    /// drop the RST.
    Challenge,
    /// Elsewhere: drop it.
    Drop,
}

/// What the other half of the stream and the memory of the flow allow at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Onward {
    /// Y's cumulative ACK ([`Sender::una`](crate::send::Sender::una)).
    pub una: Off,
    /// Right edge of Y's own window ([`Sender::right`](crate::send::Sender::right)); only looked at while draining
    /// and in passive mode.
    pub right: Off,
    /// Bytes that can still be stored for this stream, beyond what is stored already.
    pub room: u32,
    /// The most custody to take: told_ack never passes `una + custody`.
    pub custody: u32,
    /// X is shown Y's window, whatever could be stored.
    pub passive: bool,
}

/// The fields of a segment to X that the receiver decides: put them on every segment to X.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AckFields {
    /// Cumulative acknowledgement.
    pub ack: Off,
    /// Window field, as it stands in the header (scaled).
    pub window: u16,
    /// TSecr; `None` where timestamps were not negotiated.
    pub ts_ecr: Option<u32>,
    /// ECN-Echo.
    pub ece: bool,
    pub(super) blocks: [(Off, Off); 4],
    pub(super) count: u8,
    /// The first block is a DSACK (RFC 2883).
    pub dsack: bool,
}

impl AckFields {
    /// The SACK blocks `[left, right)`, DSACK first, then the newest first; at most 3 with timestamps, else 4.
    pub fn sack(&self) -> &[(Off, Off)] {
        &self.blocks[..usize::from(self.count)]
    }
}

/// A [`Receiver`](super::Receiver) with nothing pending, as kept while its flow is idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrozenReceiver {
    /// In-order edge.
    pub rcv_nxt: Off,
    /// told_right less rcv_nxt, bytes.
    pub window: u32,
    /// TS.Recent.
    pub ts_recent: u32,
    /// When TS.Recent was set, s.
    pub ts_recent_s: u32,
    /// Highest TSval of X's.
    pub ts_out: u32,
    /// Bit 0: the FIN is in, bit 1: ECN-Echo is latched.
    pub flags: u8,
    /// Segments still to be acknowledged one by one.
    pub quick: u8,
}
