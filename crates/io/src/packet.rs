//! A port on AF_PACKET sockets: frames are copied from the kernel straight into the buffers that the engine holds.
//!
//! For interfaces without XDP. A socket filter takes what the engine claims; the copper wire carries the rest. The
//! kernel says per frame which checksum is partial (PACKET_VNET_HDR), so these are completed here; merged super-packets
//! are longer than any segment that was on a wire, and are counted and left out (the offload contract asks for them to
//! be off). VLAN tags that the kernel strips are put back in band.

use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use smartwire_engine::{Csum, FrameId, Port, Rx};

use crate::backlog::{Backlog, Tx};
use crate::error::IoError;
use crate::frames::Frames;
use crate::partial;
use crate::port::PortStats;
use crate::raw;
use crate::sender::Sender;
use crate::sys;

/// Frames per system call.
const BATCH: usize = 64;
/// Where a frame starts in its buffer: leaves room for a tag in front.
const LEAD: usize = 64;
const TAG: usize = 4;
/// `struct virtio_net_hdr` of linux/virtio_net.h.
const VNET_LEN: usize = 10;
const VNET_NEEDS_CSUM: u8 = 1;
const CONTROL_WORDS: usize = 6;
const PACKET_VNET_HDR: i32 = 15;
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// How to open a port.
#[derive(Clone, Copy, Debug)]
pub struct PacketOptions {
    /// Receive and send buffer of the socket, bytes.
    pub socket_buffer: u32,
    /// Transmissions that may wait outside the socket.
    pub backlog: usize,
    /// Send only.
    pub deaf: bool,
}

/// A port on AF_PACKET.
pub struct PacketPort {
    rx: OwnedFd,
    tx: Sender,
    name: String,
    port: u8,
    /// Buffers that the next receive writes to.
    slots: Vec<FrameId>,
    vnet: [[u8; VNET_LEN]; BATCH],
    control: [[u64; CONTROL_WORDS]; BATCH],
    backlog: Backlog,
    stats: PortStats,
}

impl PacketPort {
    /// Opens interface `ifindex` (called `name`) as port number `port`. With a `filter` (a BPF socket filter) only what
    /// it claims comes in; without one, everything.
    ///
    /// # Errors
    /// A sentence with the fix.
    pub fn open(
        port: u8,
        ifindex: u32,
        name: &str,
        filter: Option<BorrowedFd<'_>>,
        options: PacketOptions,
    ) -> Result<PacketPort, IoError> {
        let doing = format!("open a packet socket on {name}");
        let rx = raw::socket(&doing)?;
        let fd = rx.as_raw_fd();
        let os = |e| IoError::os(&doing, e);
        sys::set_option(fd, libc::SOL_PACKET, libc::PACKET_AUXDATA, &1i32).map_err(os)?;
        sys::set_option(fd, libc::SOL_PACKET, PACKET_IGNORE_OUTGOING, &1i32).map_err(os)?;
        sys::set_option(fd, libc::SOL_PACKET, PACKET_VNET_HDR, &1i32).map_err(os)?;
        raw::set_buffers(fd, options.socket_buffer);
        if let Some(filter) = filter {
            sys::set_option(fd, libc::SOL_SOCKET, libc::SO_ATTACH_BPF, &filter.as_raw_fd()).map_err(os)?;
        }
        // Protocol 0 receives nothing.
        let protocol = if options.deaf { 0 } else { libc::ETH_P_ALL as u16 };
        raw::bind(fd, ifindex, protocol).map_err(os)?;
        let tx = Sender::open(ifindex, name, options.socket_buffer)?;
        Ok(PacketPort {
            rx,
            tx,
            name: name.to_owned(),
            port,
            slots: Vec::with_capacity(BATCH),
            vnet: [[0; VNET_LEN]; BATCH],
            control: [[0; CONTROL_WORDS]; BATCH],
            backlog: Backlog::new(options.backlog),
            stats: PortStats::default(),
        })
    }

    /// The descriptor that becomes readable when frames arrive.
    pub fn fd(&self) -> RawFd {
        self.rx.as_raw_fd()
    }

    /// False while there is no buffer to receive into: polling for frames would only spin.
    pub(crate) fn can_receive(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Takes up to `max` received frames.
    pub(crate) fn recv(&mut self, frames: &mut Frames, out: &mut Vec<Rx>, max: usize) -> Result<usize, IoError> {
        self.refill(frames);
        let want = max.min(self.slots.len());
        if want == 0 {
            return Ok(0);
        }
        let before = out.len();
        let (n, headers) = self.recv_headers(frames, want)?;
        for (i, h) in headers.iter().take(n).enumerate() {
            let frame = self.slots[i];
            if !frames.received(frame) {
                continue;
            }
            match self.accept(i, h, frames, frame) {
                Some(rx) => out.push(rx),
                None => frames.release(frame),
            }
        }
        self.slots.drain(..n);
        self.refill(frames);
        Ok(out.len() - before)
    }

    fn recv_headers(&mut self, frames: &Frames, want: usize) -> Result<(usize, [libc::mmsghdr; BATCH]), IoError> {
        // SAFETY: mmsghdr and iovec are plain data for which all zeroes is a valid value.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut iov: [[libc::iovec; 2]; BATCH] = unsafe { mem::zeroed() };
        for i in 0..want {
            let room = frames.chunk() - LEAD;
            // SAFETY: LEAD bytes into the chunk is inside it.
            let start = unsafe { frames.fill_ptr(self.slots[i]).add(LEAD) };
            iov[i][0] = libc::iovec { iov_base: self.vnet[i].as_mut_ptr().cast(), iov_len: VNET_LEN };
            iov[i][1] = libc::iovec { iov_base: start.cast(), iov_len: room };
            let h = &mut headers[i].msg_hdr;
            h.msg_iov = iov[i].as_mut_ptr();
            h.msg_iovlen = 2;
            h.msg_control = self.control[i].as_mut_ptr().cast();
            h.msg_controllen = mem::size_of_val(&self.control[i]) as _;
        }
        // SAFETY: the first `want` headers point to iovecs and control buffers that outlive the call; each frame's iovec
        // covers bytes of a chunk that is in state Fill, so nobody else touches them while the kernel writes.
        let n = unsafe {
            libc::recvmmsg(self.fd(), headers.as_mut_ptr(), want as u32, libc::MSG_DONTWAIT, std::ptr::null_mut())
        };
        if n >= 0 {
            return Ok((n as usize, headers));
        }
        let err = std::io::Error::last_os_error();
        match err.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR | libc::ENETDOWN) => Ok((0, headers)),
            _ => Err(IoError::os(format!("receive on {}", self.name), err)),
        }
    }

    /// Looks at what the kernel says about received frame `i`; `None`: it can't be taken, and is counted.
    fn accept(&mut self, i: usize, h: &libc::mmsghdr, frames: &mut Frames, frame: FrameId) -> Option<Rx> {
        let vnet = self.vnet[i];
        let len = (h.msg_len as usize).checked_sub(VNET_LEN)?;
        if vnet[1] != 0 {
            self.stats.rx_merged += 1;
            return None;
        }
        if h.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || len > frames.chunk() - LEAD {
            self.stats.rx_too_long += 1;
            return None;
        }
        let bytes = frames.bytes_mut(frame)?;
        let mut csum = Csum::Unverified;
        if vnet[0] & VNET_NEEDS_CSUM != 0 {
            let start = usize::from(u16::from_ne_bytes([vnet[6], vnet[7]]));
            let offset = usize::from(u16::from_ne_bytes([vnet[8], vnet[9]]));
            if partial::complete(&mut bytes[LEAD..LEAD + len], start, offset) {
                self.stats.csum_filled += 1;
                csum = Csum::Verified;
            }
        }
        let tag = raw::auxdata(&self.control[i], h.msg_hdr.msg_controllen).and_then(raw::stripped_tag);
        let (off, len) = match tag {
            Some(tag) if len >= 12 => {
                raw::put_tag_back(&mut bytes[LEAD - TAG..LEAD + len], tag);
                (LEAD - TAG, len + TAG)
            }
            _ => (LEAD, len),
        };
        self.stats.rx_frames += 1;
        self.stats.rx_bytes += len as u64;
        Some(Rx { frame, off: off as u16, len: len as u16, port: Port(self.port), csum })
    }

    /// Gets buffers for the next receive.
    pub(crate) fn refill(&mut self, frames: &mut Frames) {
        while self.slots.len() < BATCH {
            let Some(frame) = frames.take_fill(self.port) else { break };
            self.slots.push(frame);
        }
    }

    /// Queues a transmission.
    pub(crate) fn queue(&mut self, tx: Tx) -> bool {
        let taken = self.backlog.push(tx);
        self.stats.tx_dropped += u64::from(!taken);
        taken
    }

    /// Something waits to be sent.
    pub(crate) fn unsent(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Sends the backlog until it is empty or the kernel's queue is full.
    pub(crate) fn flush(&mut self, frames: &mut Frames) -> Result<(), IoError> {
        self.tx.flush(&mut self.backlog, frames, &mut self.stats)
    }

    /// Counters, with the kernel's own.
    pub(crate) fn stats(&mut self) -> PortStats {
        #[repr(C)]
        #[derive(Clone, Copy, Default)]
        struct TpacketStats {
            packets: u32,
            drops: u32,
        }
        // Reading resets the kernel's figures, so they are added up here.
        if let Ok(s) = sys::get_option::<TpacketStats>(self.fd(), libc::SOL_PACKET, libc::PACKET_STATISTICS) {
            self.stats.rx_no_frame += u64::from(s.drops);
        }
        self.stats
    }
}
