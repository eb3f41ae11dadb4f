//! Sending through an AF_PACKET socket, many frames per call, and runs of a stream's segments as one (see
//! [`crate::train`]): the kernel then makes them one after the other, and delivers them together.

use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};

use crate::backlog::{Backlog, Tx};
use crate::error::IoError;
use crate::frames::Frames;
use crate::link::Net;
use crate::port::PortStats;
use crate::train::{Train, HEADERS_MAX, SEGMENTS_MAX};
use crate::{raw, sys};

/// Messages per system call.
const BATCH: usize = 64;
/// Pieces of memory per system call.
const PIECES: usize = 512;
/// `struct virtio_net_hdr` of linux/virtio_net.h.
const VNET_LEN: usize = 10;
const VNET_NEEDS_CSUM: u8 = 1;
const PACKET_VNET_HDR: i32 = 15;

/// The sending half of a port.
pub(crate) struct Sender {
    fd: OwnedFd,
    name: String,
    /// Longest frame that the interface sends: a single one is refused, but a train is not asked.
    longest: usize,
    /// What stands in front of a message's frames: the kernel's header, and those of a train.
    heads: Box<[[u8; VNET_LEN + HEADERS_MAX]; BATCH]>,
    iov: Box<[libc::iovec; PIECES]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
    /// Frames per message.
    counts: [u16; BATCH],
}

// SAFETY: the pointers in `iov` and `messages` are written and used within one call of `send_batch`.
unsafe impl Send for Sender {}

impl Sender {
    /// A socket that sends on interface `ifindex` (called `name`) and receives nothing.
    pub(crate) fn open(ifindex: u32, name: &str, buffer: u32) -> Result<Sender, IoError> {
        let doing = format!("open a packet socket on {name}");
        let fd = raw::socket(&doing)?;
        sys::set_option(fd.as_raw_fd(), libc::SOL_PACKET, PACKET_VNET_HDR, &1i32).map_err(|e| IoError::os(&doing, e))?;
        raw::set_buffers(fd.as_raw_fd(), buffer);
        raw::bind(fd.as_raw_fd(), ifindex, 0).map_err(|e| IoError::os(&doing, e))?;
        Ok(Sender {
            fd,
            name: name.to_owned(),
            longest: 14 + Net::here()?.mtu(name)? as usize,
            heads: Box::new([[0; VNET_LEN + HEADERS_MAX]; BATCH]),
            // SAFETY: iovec is plain data for which all zeroes is a valid value.
            iov: Box::new(unsafe { mem::zeroed() }),
            // SAFETY: mmsghdr, too.
            messages: Box::new(unsafe { mem::zeroed() }),
            counts: [0; BATCH],
        })
    }

    /// Sends the backlog until it is empty or the kernel's queue is full. The kernel copies, so a frame's transmission
    /// is over when the call returns.
    pub(crate) fn flush(&mut self, backlog: &mut Backlog, frames: &mut Frames, stats: &mut PortStats) -> Result<(), IoError> {
        while !backlog.is_empty() {
            stats.tx_kicks += 1;
            match self.send_batch(backlog, frames) {
                Ok(0) => return Ok(()),
                Ok(n) => {
                    stats.tx_messages += n as u64;
                    let sent = self.counts[..n].iter().map(|&c| usize::from(c)).sum();
                    for _ in 0..sent {
                        let Some(tx) = backlog.pop() else { break };
                        stats.tx_frames += 1;
                        stats.tx_bytes += u64::from(tx.len);
                        frames.completed(tx.frame);
                    }
                }
                Err(e) => match e.raw_os_error() {
                    Some(libc::EAGAIN | libc::ENOBUFS | libc::EINTR) => return Ok(()),
                    // This one can't be sent (longer than the MTU, port down); the next may be.
                    Some(libc::EMSGSIZE | libc::ENETDOWN | libc::ENXIO | libc::EINVAL) => {
                        stats.tx_refused += 1;
                        if let Some(tx) = backlog.pop() {
                            frames.completed(tx.frame);
                        }
                    }
                    _ => return Err(IoError::os(format!("send on {}", self.name), e)),
                },
            }
        }
        Ok(())
    }

    fn send_batch(&mut self, backlog: &Backlog, frames: &Frames) -> std::io::Result<usize> {
        let count = self.write_messages(backlog, frames);
        // SAFETY: the first `count` messages point to pieces of `heads` and of frames inside the region (`send_ptr`
        // checks) that are in flight, so no writer has them; all outlive the call.
        let n = unsafe {
            libc::sendmmsg(self.fd.as_raw_fd(), self.messages.as_mut_ptr(), count as u32, libc::MSG_DONTWAIT)
        };
        if n < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(n as usize)
    }

    /// Describes the frames at the front of the backlog as messages; returns how many.
    fn write_messages(&mut self, backlog: &Backlog, frames: &Frames) -> usize {
        let (mut count, mut piece) = (0, 0);
        let mut waiting = backlog.iter().peekable();
        while count < BATCH && piece + 1 + SEGMENTS_MAX <= PIECES {
            let Some(tx) = waiting.next() else { break };
            let first = frames.sending(tx.frame, tx.off, tx.len);
            let begin = piece;
            piece += 1;
            self.iov[piece] = part(frames, tx, 0);
            piece += 1;
            self.counts[count] = 1;
            let mut train = None;
            while let Some(next) = waiting.peek().copied() {
                // The kernel writes the checksums of a train anew, which must not bless a damaged segment.
                if !(tx.checked && next.checked) || first.len() > self.longest {
                    break;
                }
                if train.is_none() {
                    train = Train::of(first);
                }
                let Some(t) = &mut train else { break };
                if !t.join(first, frames.sending(next.frame, next.off, next.len)) {
                    break;
                }
                waiting.next();
                self.iov[piece] = part(frames, next, t.headers);
                piece += 1;
                self.counts[count] += 1;
            }
            let head = &mut self.heads[count];
            head[..VNET_LEN].fill(0);
            let mut head_len = VNET_LEN;
            if let Some(t) = train.filter(|t| t.segments > 1) {
                self.iov[begin + 1] = part(frames, tx, t.headers);
                head_len += t.describe(first, head);
            }
            self.iov[begin] = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head_len };
            let h = &mut self.messages[count].msg_hdr;
            h.msg_iov = &mut self.iov[begin];
            h.msg_iovlen = (piece - begin) as _;
            count += 1;
        }
        count
    }
}

/// A frame without its first `skip` bytes.
fn part(frames: &Frames, tx: Tx, skip: usize) -> libc::iovec {
    let start = frames.send_ptr(tx.frame, tx.off + skip as u16, tx.len - skip as u16);
    libc::iovec { iov_base: start.cast_mut().cast(), iov_len: usize::from(tx.len) - skip }
}

impl Train {
    /// Writes the kernel's header and those of the train to `head`; returns the length of the latter.
    fn describe(&self, first: &[u8], head: &mut [u8; VNET_LEN + HEADERS_MAX]) -> usize {
        let (vnet, headers) = head.split_at_mut(VNET_LEN);
        let len = self.write_headers(first, headers);
        let (start, offset) = self.checksum();
        vnet[0] = VNET_NEEDS_CSUM;
        vnet[1] = self.kind();
        for (at, value) in [(2, len as u16), (4, self.size as u16), (6, start), (8, offset)] {
            vnet[at..at + 2].copy_from_slice(&value.to_ne_bytes());
        }
        len
    }
}
