//! The engine's boundary: what goes in, what comes out, and what it asks of the world that drives it.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::reason::{Finding, RefuseReason, StopReason};

/// Nanoseconds since an origin that the driver chooses; never goes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Now(pub u64);

impl Now {
    /// This instant plus `ns` nanoseconds, saturating.
    pub fn after_ns(self, ns: u64) -> Now {
        Now(self.0.saturating_add(ns))
    }
    /// Nanoseconds from `earlier` to this instant, zero if `earlier` is later.
    pub fn since(self, earlier: Now) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two sides of the wire: the access network (phones, radio) and the core (internet, servers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Towards the subscribers.
    Access = 0,
    /// Towards the internet.
    Core = 1,
}

impl Side {
    /// The other side.
    pub fn other(self) -> Side {
        match self {
            Side::Access => Side::Core,
            Side::Core => Side::Access,
        }
    }
}

/// A port of the wire. Several pairs of ports may form one wire: pair `k` is access port `2k` and core port `2k + 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Port(pub u8);

impl Port {
    /// The side that this port is on.
    pub fn side(self) -> Side {
        if self.0 & 1 == 0 {
            Side::Access
        } else {
            Side::Core
        }
    }
    /// The port at the other end of the same pair: where a plain wire would send what arrives here.
    pub fn peer(self) -> Port {
        Port(self.0 ^ 1)
    }
}

/// A frame buffer that the driver owns; see [`Io`] for who may do what with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FrameId(pub u32);

/// What the driver knows about the TCP checksum of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Csum {
    /// Nothing: the engine verifies it before it acknowledges anything (invariant I4).
    Unverified,
    /// Verified by something that can be trusted as much as our own code.
    Verified,
}

/// One received frame: Ethernet header first, VLAN tags in band, at `off..off + len` of the buffer.
#[derive(Clone, Copy, Debug)]
pub struct Rx {
    /// The buffer; on arrival the engine holds one reference to it.
    pub frame: FrameId,
    /// First byte of the Ethernet header within the buffer.
    pub off: u16,
    /// Length in bytes, without FCS.
    pub len: u16,
    /// The port that it arrived on.
    pub port: Port,
    /// What is known of its checksum.
    pub csum: Csum,
}

/// Who a connection is between, always written from the access side, whichever direction a packet travels.
///
/// IPv4 addresses are IPv4-mapped (`::ffff:a.b.c.d`), so one key type serves both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Address of the endpoint on the access side.
    pub access_addr: Ipv6Addr,
    /// Address of the endpoint on the core side.
    pub core_addr: Ipv6Addr,
    /// TCP port of the endpoint on the access side.
    pub access_port: u16,
    /// TCP port of the endpoint on the core side.
    pub core_port: u16,
    /// The direction-independent part of the encapsulation (VLANs, PPPoE session, tunnel endpoints), written out or as a
    /// keyed hash: `smartwire_packet::Layers::scope`; 0 for plain Ethernet. The same addresses in two VLANs never meet.
    pub scope: u64,
}

impl FlowKey {
    /// The IPv4 form of an IPv4-mapped address, if it is one.
    pub fn v4(addr: Ipv6Addr) -> Option<Ipv4Addr> {
        addr.to_ipv4_mapped()
    }
}

/// Whom a radio queue belongs to: an IPv4 address, or an IPv6 prefix (the /64 by default, low bits zero).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberKey {
    /// Address or prefix, IPv4 as IPv4-mapped.
    pub addr: Ipv6Addr,
    /// As [`FlowKey::scope`].
    pub scope: u64,
}

/// What must be known about a flow's custody by whatever remains in the path when the engine is gone, so that both
/// ends are reset and none is left hanging. Sequence numbers are as on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CustodyMark {
    /// True while some byte was acknowledged to one end and not by the other.
    pub custody: bool,
    /// Per side (index [`Side`] as usize): the sequence number for a reset of the endpoint. Its RCV.NXT, or, while
    /// something is in flight to it, a number further up in its window: that it answers with a challenge ACK.
    pub rcv_nxt: [u32; 2],
    /// Per side: the endpoint's SND.NXT as far as seen, the acknowledgement number to put beside it.
    pub snd_nxt: [u32; 2],
    /// Ethernet destination, then source address of a frame towards that side, per side.
    pub macs: [[u8; 12]; 2],
    /// EtherTypes of the one or two VLAN tags whose ids are the flow's scope; 0: no such tag.
    pub tpid: [u16; 2],
    /// Number of the port last used towards that side.
    pub port: [u8; 2],
}

/// What the engine asks of the world: frames, transmission, and the custody book that outlives the process.
///
/// **Ownership.** Each buffer has a reference count of which the engine holds at most one, plus one per transmission in
/// flight. A frame handed in with [`Rx`] or out by [`Io::alloc`] is the engine's until [`Io::release`], called exactly
/// once. [`Io::send`] never takes the engine's reference: forwarding is `send` then `release`, a held segment is `send`
/// now and `release` once acknowledged. The driver frees a buffer when both counts are zero.
pub trait Io {
    /// The whole buffer.
    fn bytes(&self, frame: FrameId) -> &[u8];
    /// The whole buffer for writing; `None` while a transmission is still reading it (zero-copy drivers), in which case
    /// the earlier transmission has not left the box and the caller must skip its own.
    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]>;
    /// A fresh buffer for a packet of the engine's own (ACK, probe, reset). `None`: out of frames, send nothing.
    fn alloc(&mut self) -> Option<FrameId>;
    /// Asks to keep a received frame beyond this batch. `false`: no budget; nothing of it may be acknowledged.
    fn hold(&mut self, frame: FrameId) -> bool;
    /// Gives the engine's reference back.
    fn release(&mut self, frame: FrameId);
    /// (free for holding, total that may be held): the pressure gauge behind windows and admission.
    fn frames(&self) -> (u32, u32);
    /// Queues `off..off + len` of the buffer on a port, in order per port.
    fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16);
    /// Reserves an entry in the custody book for a flow; `None` when its place is taken: take no custody then.
    fn custody_claim(&mut self, key: &FlowKey) -> Option<u32>;
    /// Rewrites an entry. Must happen before the packet that creates the custody is sent.
    fn custody_write(&mut self, entry: u32, mark: &CustodyMark);
    /// An entry, or none where it is beyond the book, may be rewritten soon: a hint to bring it into the caches.
    fn custody_ahead(&self, _entry: u32) {}
    /// Gives an entry back.
    fn custody_release(&mut self, entry: u32);
}

/// What an operator can order. Selectors that match nothing are answered with a count of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Stop optimizing: deliver custody, hand back, then forward. Past the deadline what is left is reset both ways.
    Drain {
        /// What to drain.
        target: Target,
        /// When to give up and reset.
        deadline: Now,
    },
    /// As `Drain`, and new flows of the target are refused until `Resume`.
    Bypass {
        /// What to bypass.
        target: Target,
        /// When to give up and reset.
        deadline: Now,
    },
    /// New flows of the target are optimized again; flows already handed back stay as they are.
    Resume {
        /// What to resume.
        target: Target,
    },
}

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The whole wire.
    Wire,
    /// All flows of one subscriber.
    Subscriber(SubscriberKey),
    /// One flow.
    Flow(FlowKey),
}

/// Something that happened to a flow, for the event ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub now: Now,
    /// Whose flow.
    pub key: FlowKey,
    /// What.
    pub kind: EventKind,
}

/// The kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The handshake was odd: the flow is forwarded untouched.
    Refused(RefuseReason),
    /// The flow is being optimized from now on.
    Optimizing,
    /// The flow began to drain.
    Draining(StopReason),
    /// The flow was handed back to its endpoints, which agree on everything.
    HandedBack(StopReason),
    /// Both ends were reset because custody could not be delivered.
    Reset(StopReason),
    /// Something is wrong with a neighbour; the flow goes on.
    Found(Finding),
    /// Both directions closed.
    Closed,
}
