//! One port of the wire, whichever way its frames come: AF_XDP or AF_PACKET behind one interface.

use std::os::fd::RawFd;

use smartwire_engine::Rx;

use crate::backlog::Tx;
use crate::error::IoError;
use crate::frames::Frames;
use crate::packet::PacketPort;
use crate::xsk::XskPort;

/// What happened on a port since it was opened. All count frames unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortStats {
    /// Received and handed to the engine.
    pub rx_frames: u64,
    /// Their bytes.
    pub rx_bytes: u64,
    /// Sent: taken by the kernel.
    pub tx_frames: u64,
    /// Their bytes.
    pub tx_bytes: u64,
    /// Not sent because the backlog was full.
    pub tx_dropped: u64,
    /// Not sent because the kernel refused them for good (longer than the MTU, port down).
    pub tx_refused: u64,
    /// Not received: longer than a frame buffer (offloads are on, or the MTU is unequal).
    pub rx_too_long: u64,
    /// Not received: merged super-packets (GRO, LRO or TSO is on).
    pub rx_merged: u64,
    /// Received with a partial checksum that was computed in full here.
    pub csum_filled: u64,
    /// Received while no frame was free, so lost in the kernel's ring or socket buffer.
    pub rx_no_frame: u64,
    /// System calls that asked the kernel to send.
    pub tx_kicks: u64,
    /// Messages to a packet socket: single frames and runs of a stream's segments.
    pub tx_messages: u64,
}

/// A port: receives into and sends from the frames of one ledger.
pub enum PortIo {
    /// AF_XDP.
    Xsk(Box<XskPort>),
    /// AF_PACKET.
    Packet(Box<PacketPort>),
}

impl PortIo {
    /// Appends up to `max` received frames to `out`; each is held by the engine from then on. Returns how many.
    pub fn recv(&mut self, frames: &mut Frames, out: &mut Vec<Rx>, max: usize) -> Result<usize, IoError> {
        match self {
            PortIo::Xsk(p) => Ok(p.recv(frames, out, max)),
            PortIo::Packet(p) => p.recv(frames, out, max),
        }
    }

    /// Queues a transmission. `false`: the backlog is full, it is not going to be sent.
    pub fn queue(&mut self, tx: Tx) -> bool {
        match self {
            PortIo::Xsk(p) => p.queue(tx),
            PortIo::Packet(p) => p.queue(tx),
        }
    }

    /// Hands queued transmissions to the kernel as far as it takes them.
    pub fn flush(&mut self, frames: &mut Frames) -> Result<(), IoError> {
        match self {
            PortIo::Xsk(p) => p.flush(frames),
            PortIo::Packet(p) => p.flush(frames),
        }
    }

    /// Takes back frames whose transmission is over, and gives the kernel free ones to receive into.
    pub fn reap_and_refill(&mut self, frames: &mut Frames) {
        match self {
            PortIo::Xsk(p) => {
                p.reap(frames);
                p.refill(frames);
            }
            PortIo::Packet(p) => p.refill(frames),
        }
    }

    /// True while something waits to be sent and the kernel should be asked again soon.
    pub fn unsent(&self) -> bool {
        match self {
            PortIo::Xsk(p) => p.unsent(),
            PortIo::Packet(p) => p.unsent(),
        }
    }

    /// Descriptors that become readable when frames arrive.
    pub fn fds(&self) -> Vec<RawFd> {
        match self {
            PortIo::Xsk(p) => p.fds(),
            PortIo::Packet(p) => vec![p.fd()],
        }
    }

    /// False while there is no buffer to receive into: waiting for frames would only spin.
    pub fn can_receive(&self) -> bool {
        match self {
            PortIo::Xsk(_) => true,
            PortIo::Packet(p) => p.can_receive(),
        }
    }

    /// Counters, kernel's included.
    pub fn stats(&mut self) -> PortStats {
        match self {
            PortIo::Xsk(p) => p.stats(),
            PortIo::Packet(p) => p.stats(),
        }
    }

    /// True when a frame's bytes are copied while it is sent, so that they may change before it completes.
    pub fn copies(&self) -> bool {
        match self {
            PortIo::Xsk(p) => !p.zero_copy(),
            PortIo::Packet(_) => true,
        }
    }

    /// How frames come, in words: "AF_XDP zero copy", "AF_XDP copy", "AF_PACKET".
    pub fn kind(&self) -> &'static str {
        match self {
            PortIo::Xsk(p) if p.zero_copy() => "AF_XDP zero copy",
            PortIo::Xsk(_) => "AF_XDP copy",
            PortIo::Packet(_) => "AF_PACKET",
        }
    }
}
