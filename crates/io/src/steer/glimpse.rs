//! Copies of handshake segments, from the copper wire to an engine that only listens: a BPF ring buffer.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::bpf::{self, MapKind};
use super::layout::GLIMPSE;
use super::SteerError;

/// Bytes of the ring, a power of two: what comes between two looks, 50 ms apart.
const SIZE: usize = 1 << 20;
/// The consumer's and the producer's index have a page each.
const PAGE: usize = 4096;
/// A record's header: its length and two flags, then a number of the kernel's.
const HEADER: usize = 8;
const BUSY: u32 = 1 << 31;
const DISCARDED: u32 = 1 << 30;

/// The reading end of the ring.
pub(super) struct Glimpses {
    fd: OwnedFd,
    /// Our index, which the kernel reads.
    consumer: NonNull<u8>,
    /// The kernel's index, then the records, twice in a row so that none is ever cut; read only.
    producer: NonNull<u8>,
    reading: Mutex<()>,
}

// SAFETY: the mappings live as long as the value and are tied to no thread; `reading` lets one thread read at a time.
unsafe impl Send for Glimpses {}
// SAFETY: as above.
unsafe impl Sync for Glimpses {}

impl Glimpses {
    /// Makes the ring.
    pub(super) fn create(name: &str) -> Result<Glimpses, SteerError> {
        Glimpses::over(bpf::map_create(MapKind::RingBuffer, name, (0, 0), SIZE as u32, false)?)
    }

    /// Maps a ring that there is.
    pub(super) fn over(fd: OwnedFd) -> Result<Glimpses, SteerError> {
        let doing = "map a BPF ring buffer into memory";
        let info = bpf::map_info(&fd).map_err(|e| SteerError::kernel(doing, e))?;
        if info.entries as usize != SIZE {
            return Err(SteerError::Refused(format!("The BPF map {} is not as this smartwire needs it.", info.name)));
        }
        let map = |len, protection, offset| {
            // SAFETY: a fresh mapping at an address of the kernel's choice; the kernel checks its length.
            let at = unsafe {
                libc::mmap(std::ptr::null_mut(), len, protection, libc::MAP_SHARED, fd.as_raw_fd(), offset)
            };
            NonNull::new(at.cast::<u8>())
                .filter(|_| at != libc::MAP_FAILED)
                .ok_or_else(|| SteerError::kernel(doing, io::Error::last_os_error()))
        };
        let consumer = map(PAGE, libc::PROT_READ | libc::PROT_WRITE, 0)?;
        let producer = map(PAGE + 2 * SIZE, libc::PROT_READ, PAGE as libc::off_t).inspect_err(|_| {
            // SAFETY: exactly the mapping just made.
            unsafe { libc::munmap(consumer.as_ptr().cast(), PAGE) };
        })?;
        Ok(Glimpses { fd, consumer, producer, reading: Mutex::new(()) })
    }

    /// The map.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// What [`super::Steer::glimpses`] says.
    pub(super) fn read(&self, most: usize, mut f: impl FnMut(u32, &[u8])) {
        let _one = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: an aligned word at the start of a mapping that lives as long as self, used only as an atomic.
        let consumer = unsafe { self.consumer.cast::<AtomicUsize>().as_ref() };
        // SAFETY: as above.
        let producer = unsafe { self.producer.cast::<AtomicUsize>().as_ref() };
        let mut at = consumer.load(Ordering::Relaxed);
        for _ in 0..most {
            if at == producer.load(Ordering::Acquire) {
                break;
            }
            // SAFETY: the masked index lies in the first copy of the records; a record is at most a ring long, so it ends
            // within the second. Records are aligned to 8 bytes.
            let record = unsafe { self.producer.add(PAGE + (at & (SIZE - 1))) };
            // SAFETY: a record's header is published before the producer's index is.
            let header = unsafe { record.cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !(BUSY | DISCARDED)) as usize;
            if header & DISCARDED == 0 && len == GLIMPSE {
                // SAFETY: `len` bytes of a record that is not written any more and not reused before `consumer` moves.
                let bytes = unsafe { std::slice::from_raw_parts(record.as_ptr().add(HEADER), GLIMPSE) };
                let word = |i: usize| u32::from_ne_bytes([bytes[i], bytes[i + 1], bytes[i + 2], bytes[i + 3]]);
                if let Some(frame) = bytes[8..].get(..word(4) as usize) {
                    f(word(0), frame);
                }
            }
            at += (HEADER + len).next_multiple_of(8);
            // Release: the record was read before the kernel may write over it.
            consumer.store(at, Ordering::Release);
        }
    }
}

impl Drop for Glimpses {
    fn drop(&mut self) {
        // SAFETY: exactly the mappings made in `over`; no slice of them outlives a call of `read`.
        unsafe {
            libc::munmap(self.consumer.as_ptr().cast(), PAGE);
            libc::munmap(self.producer.as_ptr().cast(), PAGE + 2 * SIZE);
        }
    }
}
