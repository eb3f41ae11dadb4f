//! What a flow costs while nothing is outstanding, and what it has beside that while something is.

use smartwire_packet::csum::prefetch_front;

use crate::api::{FlowKey, Now, Side};
use crate::pool::Seldom;
use crate::recv::{FrozenReceiver, Receiver, RecvParams};
use crate::policy::NO_POLICY;
use crate::reason::StopReason;
use crate::send::{FrozenSender, Sender, SenderParams};
use crate::seq::{wrap, Off};
use crate::subscriber::pace::Pacer;
use crate::subscriber::OneWay;
use super::watch::Watch;

/// No handle.
pub(crate) const NONE: u32 = u32::MAX;

/// Options in force, and small facts, as bits of [`Record::flags`].
pub(crate) mod flag {
    pub const SACK: u8 = 1;
    pub const TS: u8 = 2;
    pub const ECN: u8 = 4;
    /// The side that answered the handshake has shown that it is ESTABLISHED.
    pub const CONFIRMED: u8 = 8;
    /// The client (which sent the SYN) is on the core side.
    pub const CORE_CLIENT: u8 = 16;
    /// The custody book says that this flow has custody.
    pub const MARKED: u8 = 32;
    /// A keepalive of this side's was passed on, and its peer has not answered yet.
    pub const ASKED: [u8; 2] = [64, 128];
}

/// What a flow is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Optimize,
    Drain,
    /// Both FINs are acknowledged; kept for late packets until then (in ms).
    Closed,
}

/// A sender with nothing outstanding, without what the receiver's record says already (una is rcv_nxt).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SlimSender {
    window: u32,
    srtt_us: u32,
    min_rtt_us: u32,
    cwnd: u32,
    ssthresh: u32,
    reordering_us: u32,
}

/// One optimized flow. All that is kept of it while it is idle; beside it stands an [`Active`] while it is not.
///
/// Index 0 of a pair is the access side, or the stream from it; index 1 the core side.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub key: FlowKey,
    pub rx: [FrozenReceiver; 2],
    pub tx: [SlimSender; 2],
    pub isn: [u32; 2],
    /// Headers of packets towards each side: handle in [`Paths`](super::paths::Paths), and flow label.
    pub path: [u32; 2],
    pub label: [u32; 2],
    pub sub: u32,
    /// Handle of its [`Active`], or [`NONE`].
    pub active: u32,
    /// Entry in the custody book, or [`NONE`].
    pub entry: u32,
    /// Last packet, ms.
    pub last_ms: u32,
    /// Largest payload towards each side.
    pub mss: [u16; 2],
    /// Its policy in the table in force.
    pub policy: u16,
    /// Window shift that each side announced.
    pub shift: [u8; 2],
    /// Port last used towards each side.
    pub port: [u8; 2],
    /// Period in which the headers towards each side were last compared with a real packet's.
    pub path_seen: [u8; 2],
    pub flags: u8,
    pub phase: Phase,
}

const _: () = assert!(std::mem::size_of::<Option<Record>>() <= 240);

/// Which segment last updated the window (SND.WL1 and SND.WL2, RFC 9293 section 3.10.7.4).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WindowFrom {
    pub seq: Off,
    pub ack: Off,
}

/// A drain in progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draining {
    pub reason: StopReason,
    /// Reset both ways then.
    pub deadline: Now,
    /// Give up the soft points of the stop predicate then.
    pub soft: Now,
    /// Per stream: up to where its source had sent when this began.
    pub from: [Off; 2],
}

/// What a flow needs while something is outstanding. Stream `s` runs from side `s`: `rx[s]` receives it there, `tx[s]`
/// sends it on to the other side.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Active {
    /// Handle of the record, or [`NONE`] in a place that is free.
    pub flow: u32,
    /// For which return of its subscriber it was woken from its silence last, ms.
    pub woken: u32,
    /// The custody book has no place for it: nothing may be acknowledged early.
    pub no_book: bool,
    pub last: Now,
    /// The timer's deadline in the wheel.
    pub armed: Option<Now>,
    /// Window promised to both senders beyond what is stored, as it stands in the gauge; custody likewise.
    pub promised: u64,
    pub custody: u64,
    /// When the stream's receiver last acknowledged something, or custody began.
    pub progress: [Now; 2],
    /// When the custody book was last written.
    pub marked_at: Now,
    /// Where the receivers of both streams are to be reset, as it stands there.
    pub marked_to: [Off; 2],
    pub wl: [WindowFrom; 2],
    pub pace_at: Option<Now>,
    pub draining: Option<Draining>,
    /// A reset is owed to that side, once custody towards it is delivered or at this time.
    pub reset_to: [Option<Now>; 2],
    /// What the stream's receiver has acknowledged though it was not sent from here: it took another way. 0: nothing.
    pub beyond: [Off; 2],
    pub oneway: OneWay,
    pub rx: [Receiver; 2],
    pub tx: [Sender; 2],
    /// What was noticed of each side as a source.
    pub watch: [Watch; 2],
    /// Paces the stream towards the core; the other one is paced with its subscriber's.
    pub pacer: Seldom<Pacer>,
}

impl Record {
    /// A flow of which nothing is known yet.
    pub(crate) fn empty(key: FlowKey) -> Record {
        Record {
            key,
            rx: [FrozenReceiver::default(); 2],
            tx: [SlimSender::default(); 2],
            isn: [0; 2],
            path: [NONE; 2],
            label: [0; 2],
            sub: NONE,
            active: NONE,
            entry: NONE,
            last_ms: 0,
            mss: [0; 2],
            policy: NO_POLICY,
            shift: [0; 2],
            port: [0; 2],
            path_seen: [0; 2],
            flags: 0,
            phase: Phase::Optimize,
        }
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn recv_params(&self, stream: usize) -> RecvParams {
        RecvParams {
            sack: self.has(flag::SACK),
            ts: self.has(flag::TS),
            ecn: self.has(flag::ECN),
            shift: self.shift[1 - stream],
            mss: self.mss[1 - stream],
        }
    }

    pub(crate) fn send_params(&self, stream: usize) -> SenderParams {
        SenderParams {
            mss: self.mss[1 - stream],
            sack: self.has(flag::SACK),
            ts: self.has(flag::TS),
            ecn: self.has(flag::ECN),
        }
    }

    /// Ports of the packets towards a side: source, destination.
    pub(crate) fn ports_to(&self, side: usize) -> (u16, u16) {
        match side {
            0 => (self.key.core_port, self.key.access_port),
            _ => (self.key.access_port, self.key.core_port),
        }
    }

    /// The wire form of an offset in the stream from a side.
    pub(crate) fn wire(&self, stream: usize, off: Off) -> u32 {
        wrap(self.isn[stream], off)
    }

    pub(crate) fn client(&self) -> Side {
        if self.has(flag::CORE_CLIENT) {
            Side::Core
        } else {
            Side::Access
        }
    }

    /// Keeps what matters of a flow that is idle.
    pub(crate) fn freeze(&mut self, rx: &[Receiver; 2], tx: &[Sender; 2]) {
        for s in 0..2 {
            self.rx[s] = rx[s].freeze();
            if tx[s].is_awake() {
                self.tx[s] = SlimSender::from(&tx[s].freeze());
            } else {
                self.tx[s].window = tx[s].window();
            }
        }
    }

    /// Payload bytes of a stream delivered up to the moment that the flow became idle.
    pub(crate) fn delivered(&self, stream: usize) -> u64 {
        self.rx[stream].rcv_nxt.saturating_sub(1)
    }

    /// Smoothed round trip towards the receiver of a stream when the flow became idle, ns.
    pub(crate) fn srtt_ns(&self, stream: usize) -> u64 {
        u64::from(self.tx[stream].srtt_us) * 1000
    }
}

impl SlimSender {
    fn from(f: &FrozenSender) -> SlimSender {
        SlimSender {
            window: f.window,
            srtt_us: f.srtt_us,
            min_rtt_us: f.min_rtt_us,
            cwnd: f.cwnd,
            ssthresh: f.ssthresh,
            reordering_us: f.reordering_us,
        }
    }

    pub(crate) fn widen(&self, una: Off) -> FrozenSender {
        FrozenSender {
            una,
            window: self.window,
            srtt_us: self.srtt_us,
            min_rtt_us: self.min_rtt_us,
            cwnd: self.cwnd,
            ssthresh: self.ssthresh,
            reordering_us: self.reordering_us,
        }
    }
}

impl Active {
    /// Becomes the active state of an idle flow. Every field is named, so that none stays what it was for another flow.
    pub(crate) fn thaw(&mut self, id: u32, rec: &Record, now: Now) {
        let Active {
            flow,
            woken,
            no_book,
            last,
            armed,
            promised,
            custody,
            progress,
            marked_at,
            marked_to,
            wl,
            pace_at,
            draining,
            reset_to,
            oneway,
            pacer,
            watch,
            beyond,
            rx,
            tx,
        } = self;
        for s in 0..2 {
            rx[s].thaw(&rec.recv_params(s), &rec.rx[s], now);
            let (at, window) = (rec.rx[s].rcv_nxt, u64::from(rec.tx[s].window));
            tx[s].sleep(&rec.send_params(s), at, at + window);
        }
        *wl = [0, 1].map(|s: usize| WindowFrom { seq: rec.rx[1 - s].rcv_nxt, ack: rec.rx[s].rcv_nxt });
        (*flow, *woken, *no_book) = (id, 0, false);
        (*last, *armed, *promised, *custody) = (now, None, 0, 0);
        (*progress, *marked_at, *marked_to) = ([now; 2], Now(0), [0; 2]);
        (*pace_at, *draining, *reset_to) = (None, None, [None; 2]);
        *oneway = OneWay::default();
        pacer.renew();
        (*watch, *beyond) = ([Watch::default(); 2], [0; 2]);
    }

    /// Asks for what a segment of stream `s`, or an acknowledgement of it, will need: all of that stream, and of the other
    /// where it stands.
    pub(crate) fn prefetch(&self, s: usize, payload: bool) {
        prefetch_front(self, std::mem::offset_of!(Active, rx));
        self.rx[s].prefetch(payload);
        self.rx[1 - s].prefetch(false);
        self.tx[s].prefetch(payload);
        self.tx[1 - s].prefetch_still();
        if payload {
            prefetch_front(&self.watch, 1);
        }
    }

    /// Nothing is outstanding in either direction: the record alone will do.
    pub(crate) fn is_idle(&self) -> bool {
        self.draining.is_none()
            && self.reset_to == [None; 2]
            && (0..2).all(|s| {
                self.tx[s].is_idle() && self.rx[s].is_idle() && self.rx[s].rcv_nxt() == self.tx[s].una()
            })
    }

    /// An acknowledgement of its own must leave for the very segment that came.
    pub(crate) fn is_urgent(&self) -> bool {
        self.rx[0].is_urgent() || self.rx[1].is_urgent()
    }

    /// Bytes of a stream that its sender believes delivered and its receiver has not acknowledged.
    pub(crate) fn custody_of(&self, stream: usize) -> u64 {
        self.rx[stream].told_ack().saturating_sub(self.acked(stream))
    }

    /// What a stream's receiver has acknowledged of what was sent from here; or of everything, where it has all that is here
    /// by another way.
    pub(crate) fn acked(&self, stream: usize) -> Off {
        let (tx, beyond) = (&self.tx[stream], self.beyond[stream]);
        if beyond > tx.end() { beyond } else { tx.una() }
    }

    /// As [`Active::custody_of`], of both streams.
    pub(crate) fn has_custody(&self) -> bool {
        self.custody_of(0) > 0 || self.custody_of(1) > 0
    }

    /// Window promised to both senders beyond what is stored.
    pub(crate) fn promises(&self) -> u64 {
        (0..2).map(|s: usize| self.rx[s].told_right().saturating_sub(self.rx[s].rcv_nxt())).sum()
    }

    /// Frame memory held for a stream, in order or not.
    pub(crate) fn held(&self, stream: usize) -> u32 {
        self.tx[stream].held().saturating_add(self.rx[stream].held())
    }
}
