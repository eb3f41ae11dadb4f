//! AF_XDP as the kernel defines it (linux/if_xdp.h): structs, constants, and the calls made with them.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::ptr::NonNull;

use crate::error::IoError;

pub(super) const SOL_XDP: i32 = 283;
pub(super) const XDP_MMAP_OFFSETS: i32 = 1;
pub(super) const XDP_RX_RING: i32 = 2;
pub(super) const XDP_TX_RING: i32 = 3;
pub(super) const XDP_UMEM_REG: i32 = 4;
pub(super) const XDP_UMEM_FILL_RING: i32 = 5;
pub(super) const XDP_UMEM_COMPLETION_RING: i32 = 6;
pub(super) const XDP_STATISTICS: i32 = 7;
pub(super) const XDP_OPTIONS: i32 = 8;
/// Since 6.18: more than 32 packets per send call.
pub(super) const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

pub(super) const XDP_SHARED_UMEM: u16 = 1 << 0;
pub(super) const XDP_COPY: u16 = 1 << 1;
pub(super) const XDP_ZEROCOPY: u16 = 1 << 2;
pub(super) const XDP_USE_NEED_WAKEUP: u16 = 1 << 3;
pub(super) const XDP_OPTIONS_ZEROCOPY: u32 = 1 << 0;

pub(super) const PGOFF_RX: i64 = 0;
pub(super) const PGOFF_TX: i64 = 0x8000_0000;
pub(super) const PGOFF_FILL: i64 = 0x1_0000_0000;
pub(super) const PGOFF_COMPLETION: i64 = 0x1_8000_0000;

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct SockAddr {
    pub family: u16,
    pub flags: u16,
    pub ifindex: u32,
    pub queue: u32,
    pub shared_fd: u32,
}
const _: () = assert!(mem::size_of::<SockAddr>() == 16);

/// Padded by hand: the bytes that older kernels call padding are `tx_metadata_len` to newer ones, and must be zero.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct UmemReg {
    pub addr: u64,
    pub len: u64,
    pub chunk_size: u32,
    pub headroom: u32,
    pub flags: u32,
    pub tx_metadata_len: u32,
}
const _: () = assert!(mem::size_of::<UmemReg>() == 32);

/// Where a ring's parts lie in its mapping.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct RingOffset {
    pub producer: u64,
    pub consumer: u64,
    pub desc: u64,
    pub flags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct MmapOffsets {
    pub rx: RingOffset,
    pub tx: RingOffset,
    pub fill: RingOffset,
    pub completion: RingOffset,
}
const _: () = assert!(mem::size_of::<MmapOffsets>() == 128);

/// One packet in the receive or transmit ring.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Desc {
    pub addr: u64,
    pub len: u32,
    pub options: u32,
}
const _: () = assert!(mem::size_of::<Desc>() == 16);

/// What the kernel counted for one socket (XDP_STATISTICS).
#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// Dropped for other reasons (too long for a chunk, among them).
    pub rx_dropped: u64,
    /// Received descriptors that made no sense.
    pub rx_invalid_descs: u64,
    /// Sent descriptors that made no sense: a bug of ours.
    pub tx_invalid_descs: u64,
    /// Dropped because the receive ring was full.
    pub rx_ring_full: u64,
    /// The fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
    /// The transmit ring was empty when the driver looked.
    pub tx_ring_empty_descs: u64,
}
const _: () = assert!(mem::size_of::<Statistics>() == 48);

/// A shared mapping of a socket's ring.
pub(crate) struct Mapping {
    ptr: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is not tied to a thread; access to its bytes is the business of the ring on top.
unsafe impl Send for Mapping {}

impl Mapping {
    pub(super) fn new(fd: RawFd, len: usize, offset: i64) -> Result<Mapping, IoError> {
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory.
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                fd,
                offset,
            )
        };
        match NonNull::new(p.cast()) {
            Some(ptr) if p != libc::MAP_FAILED => Ok(Mapping { ptr, len }),
            _ => Err(IoError::last("map an AF_XDP ring")),
        }
    }

    pub(super) fn ptr(&self) -> NonNull<u8> {
        self.ptr
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; the ring that used it owns it and is being dropped.
        unsafe { libc::munmap(self.ptr.as_ptr().cast(), self.len) };
    }
}

pub(super) fn get_option<T: Copy + Default>(fd: RawFd, name: i32) -> io::Result<T> {
    crate::sys::get_option(fd, SOL_XDP, name)
}

pub(super) fn bind(fd: RawFd, addr: &SockAddr) -> io::Result<()> {
    // SAFETY: `addr` is a valid sockaddr_xdp of the length given.
    let rc = unsafe { libc::bind(fd, (addr as *const SockAddr).cast(), mem::size_of::<SockAddr>() as libc::socklen_t) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Asks the kernel to look at the transmit ring. `Ok(true)`: it took what it could; `Ok(false)`: busy, try again.
pub(super) fn kick_tx(fd: RawFd) -> io::Result<bool> {
    // SAFETY: an empty send with null pointers; the kernel reads none.
    let rc = unsafe { libc::sendto(fd, std::ptr::null(), 0, libc::MSG_DONTWAIT, std::ptr::null(), 0) };
    if rc >= 0 {
        return Ok(true);
    }
    let err = io::Error::last_os_error();
    match err.raw_os_error() {
        Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::EINTR) => Ok(false),
        _ => Err(err),
    }
}

/// Asks the kernel to look at the fill ring.
pub(super) fn kick_rx(fd: RawFd) {
    // SAFETY: an empty receive with null pointers; the kernel writes none. Its result only says whether it was busy.
    unsafe {
        libc::recvfrom(fd, std::ptr::null_mut(), 0, libc::MSG_DONTWAIT, std::ptr::null_mut(), std::ptr::null_mut())
    };
}
