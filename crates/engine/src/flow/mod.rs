//! An optimized flow: two receivers, two senders, and the packets that pass between them.
//!
//! ```text
//!   rx        a segment arrives: checksum, verdict of the receiver, ACK to the sender, data into custody
//!   out       what leaves: data in its own frame, ACKs, probes, resets
//!   compose   the header of anything that leaves
//!   close     RST, SYN, FIN
//!   drain     the way out: DRAIN, the stop predicate, the hand-back
//!   timers    what is due without a packet
//!   icmp      path MTU
//!   watch     what is wrong with the neighbours, for the operator
//!   fragment  a way out that not everybody may show
//!   dead      what the other end still had under way when one reset the connection
//!   record    the memory of a flow, idle and active; actives: where the second kind is
//! ```
//!
//! Everywhere, stream `s` is the one that runs from side `s` (0 access, 1 core): `rx[s]` faces its source and `tx[s]` the
//! other side. A packet towards side `t` carries bytes of stream `1 - t` and acknowledges stream `t`.

pub(crate) mod actives;
pub(crate) mod close;
pub(crate) mod compose;
pub(crate) mod custody;
pub(crate) mod dead;
pub(crate) mod drain;
pub(crate) mod fragment;
pub(crate) mod icmp;
pub(crate) mod out;
pub(crate) mod parsed;
pub(crate) mod paths;
pub(crate) mod record;
pub(crate) mod refused;
pub(crate) mod rx;
pub(crate) mod timers;
pub(crate) mod watch;

use crate::api::{Event, EventKind, FrameId, Io, Now, Port};
use crate::config::Config;
use crate::events::Events;
use crate::policy::{Policies, Window, NO_POLICY};
use crate::reason::StopReason;
use crate::recv::{OooPool, Onward};
use crate::send::SegPool;
use crate::stats::Stats;
use crate::subscriber::Subscribers;
use parsed::Segment;
use paths::Paths;
use record::{Active, Record};

/// What all flows share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The stream of the segment at hand, if another one of it is in the same batch.
    pub more: Option<usize>,
    pub cfg: Config,
    pub stats: Stats,
    pub events: Events,
    pub pool: SegPool,
    pub ooo: OooPool,
    pub subs: Subscribers,
    pub paths: Paths,
    pub policies: Policies,
    /// Where packets that are not whole are built.
    pub scratch: Vec<u8>,
    /// Identification of the next IPv4 packet of our own.
    pub ip_id: u16,
    pub memory: Memory,
}

/// How much frame memory there is, as of this batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Size of a buffer, bytes.
    pub frame: u32,
    /// Bytes of frame memory that one stream may fill: what is free now, shared by the thresholds of all (Choudhury and
    /// Hahne, "Dynamic queue length thresholds", 1998), at most the configured limit.
    pub limit: u32,
    /// Whole buffers of it.
    pub limit_frames: u32,
    /// Frames that may still be held.
    pub free: u32,
    /// Flows that have something outstanding.
    pub busy: u32,
    /// What is free, shared by them and one more, bytes of payload.
    fair: u64,
    /// Rung of the ladder: 0 plenty, 1 no new flows, 2 no growth, 3 nothing more can be held.
    pub rung: u8,
}

/// Free frames below which each rung of the ladder begins, percent.
const RUNGS: [u64; 3] = [30, 20, 10];
/// And how far above that it ends, percent.
const HYSTERESIS: u64 = 5;

impl Memory {
    /// Nothing is known yet.
    pub(crate) fn new(limit: u32) -> Memory {
        Memory { frame: 2048, limit, limit_frames: limit / 2048, free: 0, busy: 0, fair: 0, rung: 0 }
    }

    /// Buffers are this large, bytes.
    pub(crate) fn buffers_of(&mut self, frame: u32) {
        if frame != self.frame {
            self.frame = frame;
            self.limit_frames = self.limit / frame;
        }
    }

    fn share(&mut self) {
        self.fair = u64::from(self.free) * FULL / (u64::from(self.busy) + 1);
    }

    /// Looks at the gauge.
    fn look(&mut self, free: u32, percent: u64, cfg: &Config) {
        let mut rung = 0;
        for (i, below) in RUNGS.iter().enumerate() {
            let held = if usize::from(self.rung) > i { HYSTERESIS } else { 0 };
            if percent < below + held {
                rung = i as u8 + 1;
            }
        }
        self.rung = rung;
        self.free = free;
        let free_bytes = (u64::from(free) * u64::from(self.frame)).min(u64::from(cfg.stream_bytes));
        self.limit = (free_bytes as u32).max(4 * self.frame);
        self.limit_frames = self.limit / self.frame;
        self.share();
    }
}

/// Custody that any stream may have, bytes, as long as it is no more than its fair part of what is free: a radio that
/// becomes ten times faster from one moment to the next has a second's worth of a slow link waiting for it, and half of
/// the memory stays free however many streams of one subscriber do so.
const LEAST_CUSTODY: u64 = 3_000_000;
/// Payload of a frame, for what memory can be promised, bytes.
const FULL: u64 = 1400;
/// Share of the memory that is neither filled nor promised that one stream may be promised: one in so many.
const SHARE: u64 = 4;
/// With so much free for every flow that has something outstanding, windows need not be reserved: they are rarely used
/// up all at once. Bytes of payload.
const ROOMY: u64 = 256_000;

impl Shared {
    /// Looks at the memory that there is for holding: frames, and places for segments.
    pub(crate) fn look(&mut self, (free, total): (u32, u32)) {
        let percent = |free: u32, total: u32| u64::from(free) * 100 / u64::from(total.max(1));
        let least = percent(free, total).min(percent(self.pool.free(), self.pool.capacity()));
        self.memory.look(free.min(self.pool.free()), least, &self.cfg);
    }

    /// What is free, shared by the flows that have something outstanding, bytes of payload.
    pub(crate) fn fair(&self) -> u64 {
        self.memory.fair
    }

    /// True where a flow that has promised its senders so much may begin to use it.
    pub(crate) fn fits(&self, promised: u64) -> bool {
        self.fair() >= ROOMY || promised <= self.spare()
    }

    /// The part of memory that a flow may have in any case.
    fn least(&self) -> u64 {
        let half = self.fair() / 2;
        if self.fair() >= ROOMY { half } else { half.min(self.spare()) }
    }

    /// What a flow has promised changes from `was` to `is`; 0 while nothing is outstanding.
    pub(crate) fn promise(&mut self, was: &mut u64, is: u64) {
        if is == *was {
            return;
        }
        if (is > 0) != (*was > 0) {
            self.memory.busy = if is > 0 { self.memory.busy + 1 } else { self.memory.busy - 1 };
            self.memory.share();
        }
        self.stats.promised_bytes = self.stats.promised_bytes + is - *was;
        *was = is;
    }

    /// Payload that could still be stored if every window promised were used up, bytes.
    pub(crate) fn spare(&self) -> u64 {
        (u64::from(self.memory.free) * FULL).saturating_sub(self.stats.promised_bytes)
    }
}

/// One call: the time, the driver, and what all flows share.
pub(crate) struct Cx<'a, I: Io> {
    pub now: Now,
    pub io: &'a mut I,
    pub sh: &'a mut Shared,
}

impl<I: Io> Cx<'_, I> {
    /// Sends a frame and counts it.
    pub(crate) fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16) {
        self.sh.stats.frames_out += 1;
        self.sh.stats.bytes_out += u64::from(len);
        self.io.send(port, frame, off, len);
    }

    /// Sends a segment on as it came.
    pub(crate) fn forward(&mut self, s: &Segment) {
        self.sh.stats.forwarded += 1;
        self.send(s.port.peer(), s.frame, s.off, s.frame_len);
    }

    pub(crate) fn event(&mut self, rec: &Record, kind: EventKind) {
        if !self.sh.events.push(Event { now: self.now, key: rec.key, kind }) {
            self.sh.stats.events_lost += 1;
        }
    }
}

/// What becomes of a flow after something happened to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It goes on.
    Live,
    /// Its endpoints agree on everything: from now on its packets are forwarded untouched.
    HandedBack(StopReason),
    /// Both ends were reset by us.
    Reset(StopReason),
    /// An endpoint reset it.
    PeerReset,
    /// Both directions closed, and the wait for late packets is over.
    Closed,
}

/// A flow with its active state.
pub(crate) struct Flow<'a> {
    /// Handle of the active state.
    pub handle: u32,
    pub rec: &'a mut Record,
    pub act: &'a mut Active,
}

impl Flow<'_> {
    /// Stream `s` moves: its sender becomes what it was when it was last frozen.
    pub(crate) fn wake(&mut self, now: Now, s: usize) {
        let tx = &mut self.act.tx[s];
        if !tx.is_awake() {
            tx.wake(&self.rec.tx[s].widen(tx.una()), now);
        }
    }

    /// The most that may be free for stream `s` beside what it has stored, payload bytes; no bound where its window is Y's.
    fn most_room(&self, s: usize, sh: &Shared) -> u64 {
        match self.is_passive(sh) {
            true => u64::from(u32::MAX),
            false => u64::from(sh.memory.limit_frames) * u64::from(self.rec.mss[1 - s]),
        }
    }

    fn is_passive(&self, sh: &Shared) -> bool {
        let policy = if self.rec.policy == NO_POLICY { None } else { sh.policies.table().get(self.rec.policy) };
        policy.is_some_and(|policy| policy.window == Window::Passive)
    }

    /// What the receiver of stream `s` must know of the other half and of memory.
    pub(crate) fn onward(&self, s: usize, sh: &Shared) -> Onward {
        let (tx, rx) = (&self.act.tx[s], &self.act.rx[s]);
        let mss = u32::from(self.rec.mss[1 - s]);
        let held = self.act.held(s);
        let limit = sh.memory.limit;
        // Acknowledgements are free up to half of the custody: what the radio takes in a round trip, and as much again
        // for the next one, in which it may take twice that.
        let most = u64::from(sh.memory.limit_frames.saturating_mul(mss));
        let custody = (4 * u64::from(tx.peak_flight())).max(LEAST_CUSTODY.min(sh.fair())).min(most) as u32;
        let (room, custody) = match sh.memory.rung {
            0 | 1 => {
                // What X may still send by earlier promises, and a share of what nobody was promised; the flow's fair
                // part of what is free in any case.
                let promised = rx.told_right().saturating_sub(rx.rcv_nxt());
                let room = promised.saturating_add(sh.spare() / SHARE).max(sh.least());
                let room = room.min(u64::from(u32::MAX)) as u32;
                let frames = limit.saturating_sub(held) / sh.memory.frame;
                (frames.saturating_mul(mss).min(room), custody)
            }
            // No ACK ahead above the fair share, no growth of the window.
            _ => (0, custody),
        };
        let passive = self.is_passive(sh);
        let mut onward = Onward { una: tx.una(), right: tx.right(), room, custody, passive };
        if s == 1 {
            // At a rate of its own it needs no more, and what lies here delays what its sender sends next.
            let most = sh.subs.custody(self.handle, self.act.tx[0].srtt());
            onward.custody = onward.custody.min(most.unwrap_or(u32::MAX));
        }
        if self.act.no_book || passive {
            onward.custody = 0;
        }
        if rx.is_draining() && tx.backlog() > 0 {
            // The backlog must end before the flow can be handed back: X may fill it no further.
            onward.right = onward.right.min(rx.told_right());
        }
        onward
    }
}
