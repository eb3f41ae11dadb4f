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
//!             ├── custody of a dead engine ──► reset to both ends (dropped while it may only be late)
//!             └── else ───────────────────────────────────────────► out of port B
//! ```
//!
//! The programs are attached over netlink and outlive the process, and so do the maps that they use: the heartbeat, the
//! custody book, the counters. A restart finds them by id from the interfaces, no bpffs needed.
//!
//! In order, for one who runs an engine:
//!
//! 1. [`Steer::attach`]: from here on the ports are a copper wire.
//! 2. Sockets on every receive queue of every port: AF_XDP ones go to [`Steer::register_xsk`], AF_PACKET ones get
//!    [`Steer::socket_filter_fd`] before they are bound.
//! 3. [`Heartbeat::claim`]: claimed frames come to the sockets. An AF_PACKET wire that is claimed without sockets drops
//!    them, so not earlier.
//! 4. [`CustodyBook::survivors`] of an earlier engine: reset both ends, [`CustodyBook::forget`] some seconds later.
//! 5. [`Heartbeat::beat`] for as long as frames are really being handled; [`Beat::Lost`] means stop and touch nothing.
//! 6. [`Heartbeat::release`] when no custody is left. The copper wire stays; [`Steer::unwire`] removes it.

mod attach;
mod book;
mod bpf;
mod error;
mod foreign;
mod glimpse;
mod heartbeat;
mod layout;
mod maps;
mod object;
pub mod proxy;
mod rtnl;
mod shared;
mod vigil;
#[cfg(test)]
mod tests;

pub use book::CustodyBook;
pub use error::SteerError;
pub use heartbeat::Heartbeat;
pub use vigil::{Sign, Vigil};

use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;
use std::time::Duration;

use smartwire_engine::api::{CustodyMark, FlowKey, SubscriberKey};

use foreign::Foreigners;
use maps::Wire;

/// How frames reach the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By XDP in the driver into AF_XDP sockets.
    XdpNative,
    /// By XDP in the stack (any driver) into AF_XDP sockets.
    XdpGeneric,
    /// By a socket filter into AF_PACKET sockets.
    Packet,
    /// Not at all: the ports stay a copper wire, and only tc sees the frames.
    Copper,
}

/// What a live engine wants of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Wanted {
    /// What it claims.
    Claimed = 0,
    /// Nothing: all of it is copper wire.
    Nothing = 1,
    /// Copies of the handshakes ([`Steer::glimpses`]); all of it is copper wire.
    Handshakes = 2,
}

/// What may be chosen when a wire is attached.
#[derive(Clone, Copy, Debug)]
pub struct AttachOptions {
    /// Entries in the custody book, a power of two; an existing book keeps its size.
    pub custody_entries: u32,
    /// Subscribers whose other traffic can be counted at a time.
    pub foreign_entries: u32,
    /// Silence of the engine after which the wire opens. Flows with custody are reset after ten times as long; until
    /// then their segments are dropped, so that an engine that was only late finds them as it left them.
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
    /// A beat was so late that the wire opened, for about this long, and frames passed behind the engine's back.
    Opened {
        /// Nanoseconds for which the wire was open.
        for_ns: u64,
        /// Segments of flows with custody were held back, not answered: those flows can go on.
        late: bool,
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
    /// Frames that the copper wire forwarded, by the side that they came from (index `Side as usize`).
    pub copper_frames: [u64; 2],
    /// Their bytes.
    pub copper_bytes: [u64; 2],
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
    /// Segments of marked flows dropped while their engine was silent but might only be late.
    pub held_back_frames: u64,
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

/// A wire's programs and maps. Dropping it leaves all of it on the interfaces.
#[derive(Debug)]
pub struct Steer {
    wire: Arc<Wire>,
    heartbeat: Heartbeat,
    custody: CustodyBook,
    ports: Vec<attach::Port>,
    tap: OwnedFd,
    foreigners: Foreigners,
}

impl Steer {
    /// Joins each (access, core) pair of interfaces (by index) into one wire. Until [`Heartbeat::claim`] all of it is
    /// copper wire. Finds what an earlier process left and takes it over with its custody book and counters.
    ///
    /// # Errors
    /// A sentence with the fix; the interfaces are as they were before.
    pub fn attach(pairs: &[(u32, u32)], mode: Mode, opts: &AttachOptions) -> Result<Steer, SteerError> {
        let (wire, ports, tap) = attach::attach(pairs, mode, opts)?;
        let wire = Arc::new(wire);
        Ok(Steer {
            heartbeat: Heartbeat { wire: wire.clone() },
            custody: CustodyBook { wire: wire.clone() },
            foreigners: Foreigners::new(&wire),
            wire,
            ports,
            tap,
        })
    }

    /// Directs claimed frames of a port's receive queue to an AF_XDP socket.
    pub fn register_xsk(&self, ifindex: u32, queue: u32, fd: RawFd) -> Result<(), SteerError> {
        bpf::map_update(self.sockets(ifindex, queue)?, &queue, &fd)
            .map_err(|e| SteerError::kernel("register an AF_XDP socket with the XDP program", e))
    }

    /// The opposite of [`Steer::register_xsk`].
    pub fn unregister_xsk(&self, ifindex: u32, queue: u32) -> Result<(), SteerError> {
        match bpf::map_delete(self.sockets(ifindex, queue)?, &queue) {
            Err(e) if e.raw_os_error() != Some(libc::ENOENT) => {
                Err(SteerError::kernel("take an AF_XDP socket from the XDP program", e))
            }
            _ => Ok(()),
        }
    }

    fn sockets(&self, ifindex: u32, queue: u32) -> Result<&OwnedFd, SteerError> {
        let port = self.ports.iter().find(|p| p.ifindex == ifindex).and_then(|p| p.xdp.as_ref());
        let port = port.ok_or_else(|| SteerError::Refused(format!("Interface {ifindex} has no XDP program of this wire.")))?;
        if queue >= layout::MAX_QUEUES {
            let most = layout::MAX_QUEUES;
            return Err(SteerError::Refused(format!("Queue {queue} is one too many; reduce them to {most} with `ethtool -L`.")));
        }
        Ok(&port.sockets)
    }

    /// Tells the programs what the engine wants, from the next frame on.
    pub fn want(&self, wanted: Wanted) {
        self.wire.page().mode.store(wanted as u32, Relaxed);
    }

    /// Calls `f` with the interface and the bytes of each handshake segment that was copied since the last call, `most`
    /// at most. One thread only.
    pub fn glimpses(&self, most: usize, f: impl FnMut(u32, &[u8])) {
        self.wire.glimpses.read(most, f);
    }

    /// The number in the wire of the port on an interface.
    pub fn port_of(&self, ifindex: u32) -> Option<u8> {
        self.ports.iter().position(|p| p.ifindex == ifindex).map(|n| n as u8)
    }

    /// The engine's sign of life.
    pub fn heartbeat(&self) -> &Heartbeat {
        &self.heartbeat
    }

    /// The custody book.
    pub fn custody(&self) -> &CustodyBook {
        &self.custody
    }

    /// The program for `SO_ATTACH_BPF` on this wire's AF_PACKET sockets. Attach it before the socket is bound.
    pub fn socket_filter_fd(&self) -> BorrowedFd<'_> {
        self.tap.as_fd()
    }

    /// Starts counting the bytes of a subscriber that the engine does not see. `shaped`: its UDP comes to the engine.
    ///
    /// Counted are subscribers on plain Ethernet and behind one or two VLAN tags. All IP in other encapsulations comes
    /// to the engine while it lives.
    pub fn foreign_register(&self, subscriber: &SubscriberKey, shaped: bool) -> Result<ForeignSlot, SteerError> {
        self.foreigners.register(&self.wire, subscriber, shaped)
    }

    /// All UDP comes to the engine, whose policies say who is shaped; or that of shaped subscribers alone again.
    pub fn shape_all(&self, all: bool) {
        self.foreigners.shape_all(&self.wire, all);
    }

    /// Stops counting.
    pub fn foreign_unregister(&self, subscriber: &SubscriberKey) -> Result<(), SteerError> {
        self.foreigners.unregister(&self.wire, subscriber)
    }

    /// The bytes counted so far; no system call.
    pub fn foreign_read(&self, slot: ForeignSlot) -> ForeignBytes {
        foreign::read(&self.wire, slot)
    }

    /// How often the wire opened while an engine had claimed it.
    pub fn open_count(&self) -> u64 {
        self.wire.page().opened.load(Relaxed)
    }

    /// Connections that a guardian reset after their engine was gone.
    pub fn guarded(&self) -> u64 {
        self.wire.page().guarded.load(Relaxed)
    }

    /// Frames and resets so far.
    pub fn counters(&self) -> Counters {
        maps::counters(&self.wire)
    }

    /// Takes XDP programs off that cost every frame a copy though they let it pass, which those in the stack do. In a
    /// driver they cost nothing, and switching them may stop a card for a moment, so they stay.
    pub fn rest_xdp(&self) -> Result<(), SteerError> {
        self.ports.iter().try_for_each(attach::Port::rest_xdp)
    }

    /// Undoes [`Steer::rest_xdp`].
    pub fn wake_xdp(&self) -> Result<(), SteerError> {
        self.ports.iter().try_for_each(attach::Port::wake_xdp)
    }

    /// Takes the XDP programs off, leaving the copper wire.
    pub fn detach_xdp(&self) -> Result<(), SteerError> {
        self.ports.iter().try_for_each(|p| attach::remove_xdp(p.ifindex).map(|_| ()))
    }

    /// Takes everything off a pair of interfaces. `false`: nothing of ours was there.
    pub fn unwire(access: u32, core: u32) -> Result<bool, SteerError> {
        attach::unwire(access, core)
    }

    /// What is attached to an interface.
    pub fn inspect(ifname: &str) -> Result<Attached, SteerError> {
        let ifindex = crate::sys::if_index(ifname).map_err(|e| SteerError::Refused(e.to_string()))?;
        attach::inspect(ifindex)
    }
}
