//! A port on AF_XDP sockets: one per receive queue, all over one memory region that the ports of a wire share.
//!
//! Frames move freely: received on one port, sent on another, completed on the other's completion ring, refilled to
//! either. Sending uses the first queue only, so that a port's frames leave in order.

mod open;
pub(crate) mod ring;
pub(crate) mod sys;

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use smartwire_engine::{Csum, FrameId, Port, Rx};

use crate::backlog::{Backlog, Tx};
use crate::error::IoError;
use crate::frames::Frames;
use crate::port::PortStats;
use crate::sender::Sender;
use ring::{Consumer, Producer};
use sys::Desc;

pub use open::{open, CopyMode, PortSpec, XskOptions};
pub use sys::Statistics;

/// Rounds of kicks that make no progress before a flush gives up until later.
const IDLE_KICKS: u32 = 2;

/// One socket with its four rings (fields drop in this order: rings before their socket).
struct Queue {
    rx: Consumer<Desc>,
    tx: Option<Producer<Desc>>,
    fill: Producer<u64>,
    completion: Consumer<u64>,
    fd: OwnedFd,
    /// Frames in the fill ring or received and not fetched: at most the ring's size, so that the reserve is enough.
    outstanding: u32,
    /// Most frames that may be outstanding.
    fill_size: u32,
    number: u32,
}

/// A port on AF_XDP.
pub struct XskPort {
    queues: Vec<Queue>,
    name: String,
    port: u8,
    chunk: usize,
    zero_copy: bool,
    backlog: Backlog,
    /// Sends instead of the transmit ring, in copy mode.
    sender: Option<Sender>,
    stats: PortStats,
    complete_partial: bool,
    /// Where the next receive starts, so that no queue starves the others.
    turn: usize,
}

impl XskPort {
    /// Takes received frames, round robin over the queues.
    pub(crate) fn recv(&mut self, frames: &mut Frames, out: &mut Vec<Rx>, max: usize) -> usize {
        let before = out.len();
        let n = self.queues.len();
        for i in 0..n {
            let q = (self.turn + i) % n;
            self.recv_queue(q, frames, out, max.saturating_sub(out.len() - before));
        }
        self.turn = (self.turn + 1) % n.max(1);
        out.len() - before
    }

    fn recv_queue(&mut self, q: usize, frames: &mut Frames, out: &mut Vec<Rx>, max: usize) {
        let queue = &mut self.queues[q];
        for _ in 0..max {
            let Some(desc) = queue.rx.pop() else { break };
            queue.outstanding = queue.outstanding.saturating_sub(1);
            let frame = FrameId((desc.addr as usize / self.chunk) as u32);
            let off = desc.addr as usize % self.chunk;
            if !frames.received(frame) {
                continue;
            }
            if desc.len as usize > self.chunk - off {
                self.stats.rx_too_long += 1;
                frames.release(frame);
                continue;
            }
            self.stats.rx_frames += 1;
            self.stats.rx_bytes += u64::from(desc.len);
            let (off, len) = (off as u16, desc.len as u16);
            let csum = if self.complete_partial { complete(frames, frame, off, len) } else { Csum::Unverified };
            self.stats.csum_filled += u64::from(csum == Csum::Verified);
            out.push(Rx { frame, off, len, port: Port(self.port), csum });
        }
        queue.rx.publish();
    }

    /// Completes partial checksums from now on; AF_XDP doesn't say which ones are, so it looks (see
    /// [`crate::partial::complete_if_partial`]).
    pub fn complete_partial_checksums(&mut self) {
        self.complete_partial = true;
    }

    /// Queues a transmission.
    pub(crate) fn queue(&mut self, tx: Tx) -> bool {
        let taken = self.backlog.push(tx);
        self.stats.tx_dropped += u64::from(!taken);
        taken
    }

    /// Moves the backlog into the transmit ring and kicks the kernel until all is taken or nothing moves.
    pub(crate) fn flush(&mut self, frames: &mut Frames) -> Result<(), IoError> {
        if let Some(sender) = &mut self.sender {
            return sender.flush(&mut self.backlog, frames, &mut self.stats);
        }
        let mut idle = 0;
        loop {
            let moved = self.fill_tx_ring();
            let Some((fd, before)) = self.tx_pending() else { return Ok(()) };
            self.kick(fd)?;
            // The kernel takes no packet without room in the completion ring.
            self.reap(frames);
            let after = self.tx_pending().map_or(0, |(_, n)| n);
            if after == 0 && self.backlog.is_empty() {
                return Ok(());
            }
            idle = if after < before || moved > 0 { 0 } else { idle + 1 };
            // Zero copy: the driver sends on its own time; one kick is all that it needs.
            if idle >= IDLE_KICKS || self.zero_copy {
                return Ok(());
            }
        }
    }

    fn fill_tx_ring(&mut self) -> usize {
        let Some(tx) = self.queues[0].tx.as_mut() else { return 0 };
        let mut moved = 0;
        while let Some(t) = self.backlog.front() {
            let addr = u64::from(t.frame.0) * self.chunk as u64 + u64::from(t.off);
            if !tx.push(Desc { addr, len: u32::from(t.len), options: 0 }) {
                break;
            }
            self.backlog.pop();
            self.stats.tx_frames += 1;
            self.stats.tx_bytes += u64::from(t.len);
            moved += 1;
        }
        if moved > 0 {
            tx.publish();
        }
        moved
    }

    fn tx_pending(&self) -> Option<(RawFd, u32)> {
        let q = &self.queues[0];
        let pending = q.tx.as_ref().map_or(0, Producer::pending);
        (pending > 0).then(|| (q.fd.as_raw_fd(), pending))
    }

    fn kick(&mut self, fd: RawFd) -> Result<(), IoError> {
        // In copy mode the flag is always set: nothing is sent without the call.
        if !self.queues[0].tx.as_ref().is_some_and(Producer::needs_wakeup) {
            return Ok(());
        }
        self.stats.tx_kicks += 1;
        match sys::kick_tx(fd) {
            Ok(_) => Ok(()),
            // Down for now: what is in the ring leaves when it comes back.
            Err(e) if e.raw_os_error() == Some(libc::ENETDOWN) => Ok(()),
            Err(e) => Err(IoError::os(format!("send on {}", self.name), e)),
        }
    }

    /// Takes back frames whose transmission is over.
    pub(crate) fn reap(&mut self, frames: &mut Frames) {
        let queue = &mut self.queues[0];
        let mut any = false;
        while let Some(addr) = queue.completion.pop() {
            any = true;
            // Completions keep the offset they were sent with: cut it off.
            frames.completed(FrameId((addr as usize / self.chunk) as u32));
        }
        if any {
            queue.completion.publish();
        }
    }

    /// Gives the kernel free frames to receive into.
    pub(crate) fn refill(&mut self, frames: &mut Frames) {
        for queue in &mut self.queues {
            let mut given = 0;
            while queue.outstanding < queue.fill_size && queue.fill.room() > 0 {
                let Some(frame) = frames.take_fill(self.port) else { break };
                queue.fill.push(u64::from(frame.0) * self.chunk as u64);
                queue.outstanding += 1;
                given += 1;
            }
            if given == 0 {
                continue;
            }
            queue.fill.publish();
            if queue.fill.needs_wakeup() {
                sys::kick_rx(queue.fd.as_raw_fd());
            }
        }
    }

    /// Something waits to be sent.
    pub(crate) fn unsent(&self) -> bool {
        !self.backlog.is_empty() || (!self.zero_copy && self.tx_pending().is_some())
    }

    /// The sockets, one per queue.
    pub fn fds(&self) -> Vec<RawFd> {
        self.queues.iter().map(|q| q.fd.as_raw_fd()).collect()
    }

    /// (receive queue, socket) pairs, for registering with the steering program.
    pub fn sockets(&self) -> impl Iterator<Item = (u32, RawFd)> + '_ {
        self.queues.iter().map(|q| (q.number, q.fd.as_raw_fd()))
    }

    /// The driver sends and receives in place.
    pub fn zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// Counters, with the kernel's own of each socket.
    pub(crate) fn stats(&mut self) -> PortStats {
        let mut s = self.stats;
        for q in &self.queues {
            let k: Statistics = sys::get_option(q.fd.as_raw_fd(), sys::XDP_STATISTICS).unwrap_or_default();
            // In copy mode the kernel counts a frame without a buffer twice.
            let no_buffer = if self.zero_copy { 0 } else { k.rx_fill_ring_empty_descs };
            s.rx_too_long += k.rx_dropped.saturating_sub(no_buffer);
            s.rx_no_frame += k.rx_ring_full + k.rx_fill_ring_empty_descs;
        }
        s
    }
}

fn complete(frames: &mut Frames, frame: FrameId, off: u16, len: u16) -> Csum {
    let range = usize::from(off)..usize::from(off) + usize::from(len);
    let completed = frames.bytes_mut(frame).is_some_and(|b| crate::partial::complete_if_partial(&mut b[range]));
    if completed {
        Csum::Verified
    } else {
        Csum::Unverified
    }
}
