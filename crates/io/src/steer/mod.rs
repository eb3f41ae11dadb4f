//! Steering: the BPF programs that hand frames to the engine, and the copper wire that carries all else.
//!
//! ```text
//!            port A                                             port B
//!   frame ─► XDP ── live heartbeat and claimed ──► AF_XDP socket
//!             │ else
//!             ▼
//!            tap (AF_PACKET socket filter) ── live and claimed ──► AF_PACKET socket
//!             │
//!             ▼
//!            tc ── taken by the tap ──► dropped here (the engine has it)
//!             ├── custody of a dead engine ──► reset to both ends
//!             └── else ───────────────────────────────────────────► out of port B
//! ```
//!
//! The programs are attached over netlink and outlive the process, and so do the maps that they use: the heartbeat, the
//! custody book, the counters. A restart finds them by id from the interfaces, no bpffs needed.

mod error;
pub use error::SteerError;

use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use smartwire_engine::api::{CustodyMark, FlowKey, SubscriberKey};

/// How frames reach the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By XDP in the driver into AF_XDP sockets.
    XdpNative,
    /// By XDP in the stack (any driver) into AF_XDP sockets.
    XdpGeneric,
    /// By a socket filter into AF_PACKET sockets.
    Packet,
}

/// What may be chosen when a wire is attached.
#[derive(Clone, Copy, Debug)]
pub struct AttachOptions {
    /// Entries in the custody book, a power of two; an existing book keeps its size.
    pub custody_entries: u32,
    /// Subscribers whose other traffic can be counted at a time.
    pub foreign_entries: u32,
    /// Silence of the engine after which the wire opens.
    pub timeout: Duration,
    /// Longest frame in bytes (with Ethernet header) that the engine's buffers take; longer ones stay on the copper
    /// wire. 0: no limit.
    pub max_frame: u32,
    /// Prefix length of an IPv6 subscriber.
    pub subscriber_prefix_v6: u8,
}

impl Default for AttachOptions {
    fn default() -> Self {
        AttachOptions {
            custody_entries: 1 << 16,
            foreign_entries: 1 << 16,
            timeout: Duration::from_millis(25),
            max_frame: 0,
            subscriber_prefix_v6: 64,
        }
    }
}

/// What a beat found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// All is well.
    Alive,
    /// The previous beat was too long ago: the wire was open for about this long, frames may have passed behind the
    /// engine's back.
    Opened {
        /// Nanoseconds for which the wire was open.
        for_ns: u64,
    },
    /// Another process has claimed the wire: stop, touch nothing.
    Lost,
}

/// Bytes of a subscriber that the engine did not see, since registration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForeignBytes {
    /// Towards the subscriber.
    pub down: u64,
    /// From the subscriber.
    pub up: u64,
}

/// Handle of a registered subscriber's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ForeignSlot(pub u32);

/// Frames since the wire was attached, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that the copper wire forwarded.
    pub copper_frames: u64,
    /// Their bytes.
    pub copper_bytes: u64,
    /// Frames handed to the engine.
    pub claimed_frames: u64,
    /// Their bytes.
    pub claimed_bytes: u64,
    /// Resets sent by the copper wire for flows whose custody was lost.
    pub resets: u64,
    /// Frames longer than the engine's buffers, left on the copper wire.
    pub oversize_frames: u64,
    /// Claimed frames for which no socket was registered, left on the copper wire.
    pub no_socket_frames: u64,
}

/// A marked flow of an engine that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Its place in the book, for [`CustodyBook::forget`].
    pub entry: u32,
    /// Who.
    pub key: FlowKey,
    /// Its sequence numbers and addresses.
    pub mark: CustodyMark,
    /// Resets that the copper wire has already sent, per side (index `Side as usize`).
    pub resets: [u32; 2],
}

/// What is attached to an interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attached {
    /// Our copper wire's tc program, by BPF program id.
    pub tc: Option<u32>,
    /// Our XDP program, by BPF program id.
    pub xdp: Option<u32>,
    /// Someone else's XDP program: its id and name.
    pub foreign_xdp: Option<(u32, String)>,
    /// Someone else's tc ingress filters.
    pub foreign_tc: bool,
    /// The interface at the other end of the wire.
    pub peer_ifindex: Option<u32>,
    /// The engine behind it beats.
    pub live: bool,
    /// Its process id, as it gave it; 0 when nobody has claimed the wire.
    pub owner_pid: u32,
}

/// The engine's sign of life, shared with the BPF programs. Cheap to clone; any thread may beat.
#[derive(Clone, Debug)]
pub struct Heartbeat {}

impl Heartbeat {
    /// CLOCK_MONOTONIC in nanoseconds, the clock of the programs.
    pub fn now_ns() -> u64 {
        todo!()
    }
    /// Takes the wire for this process: from here on claimed frames come to its sockets for as long as it beats.
    pub fn claim(&self) -> Result<(), SteerError> {
        todo!()
    }
    /// "I live", at least every fifth of the timeout. A few stores; no system call but the clock.
    pub fn beat(&self) -> Beat {
        todo!()
    }
    /// As [`Heartbeat::beat`], for a caller that has just read the clock.
    pub fn beat_at(&self, _now_ns: u64) -> Beat {
        todo!()
    }
    /// Gives the wire back in good order: it opens at once, uncounted.
    pub fn release(&self) {
        todo!()
    }
}

/// The custody book. Cheap to clone, any thread may write its own entries; implements what `engine::Io::custody_*` need.
#[derive(Clone, Debug)]
pub struct CustodyBook {}

impl CustodyBook {
    /// Reserves an entry; `None` when its bucket is full or the wire could not answer for such a flow.
    pub fn claim(&self, _key: &FlowKey) -> Option<u32> {
        todo!()
    }
    /// Rewrites an entry.
    pub fn write(&self, _entry: u32, _mark: &CustodyMark) {
        todo!()
    }
    /// Gives an entry back.
    pub fn release(&self, _entry: u32) {
        todo!()
    }
    /// Marked flows of earlier engines. Send their resets, then [`CustodyBook::forget`] each some seconds later: until
    /// then the copper wire goes on answering their segments.
    pub fn survivors(&self) -> impl Iterator<Item = Survivor> + '_ {
        std::iter::empty()
    }
    /// Forgets a survivor.
    pub fn forget(&self, _entry: u32) {
        todo!()
    }
}

/// A wire's programs and maps.
#[derive(Debug)]
pub struct Steer {}

impl Steer {
    /// Joins each (access, core) pair of interfaces (by index) into one wire. Until [`Heartbeat::claim`] all of it is
    /// copper wire. Finds what an earlier process left and takes it over with its custody book and counters.
    pub fn attach(_pairs: &[(u32, u32)], _mode: Mode, _opts: &AttachOptions) -> Result<Steer, SteerError> {
        todo!()
    }
    /// Directs claimed frames of a port's receive queue to an AF_XDP socket.
    pub fn register_xsk(&self, _ifindex: u32, _queue: u32, _fd: RawFd) -> Result<(), SteerError> {
        todo!()
    }
    /// The opposite of [`Steer::register_xsk`].
    pub fn unregister_xsk(&self, _ifindex: u32, _queue: u32) -> Result<(), SteerError> {
        todo!()
    }
    /// The engine's sign of life.
    pub fn heartbeat(&self) -> &Heartbeat {
        todo!()
    }
    /// The custody book.
    pub fn custody(&self) -> &CustodyBook {
        todo!()
    }
    /// The program for `SO_ATTACH_BPF` on this wire's AF_PACKET sockets. Attach it before the socket is bound.
    pub fn socket_filter_fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
    /// Starts counting the bytes of a subscriber that the engine does not see. `shaped`: its UDP comes to the engine.
    pub fn foreign_register(&self, _subscriber: &SubscriberKey, _shaped: bool) -> Result<ForeignSlot, SteerError> {
        todo!()
    }
    /// Stops counting.
    pub fn foreign_unregister(&self, _subscriber: &SubscriberKey) -> Result<(), SteerError> {
        todo!()
    }
    /// The bytes counted so far; no system call.
    pub fn foreign_read(&self, _slot: ForeignSlot) -> ForeignBytes {
        todo!()
    }
    /// How often the wire opened while an engine had claimed it.
    pub fn open_count(&self) -> u64 {
        todo!()
    }
    /// Frames and resets so far.
    pub fn counters(&self) -> Counters {
        todo!()
    }
    /// Takes the XDP programs off, leaving the copper wire.
    pub fn detach_xdp(&self) -> Result<(), SteerError> {
        todo!()
    }
    /// Takes everything off a pair of interfaces. `false`: nothing of ours was there.
    pub fn unwire(_access: u32, _core: u32) -> Result<bool, SteerError> {
        todo!()
    }
    /// What is attached to an interface.
    pub fn inspect(_ifname: &str) -> Result<Attached, SteerError> {
        todo!()
    }
}
