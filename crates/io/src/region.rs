//! The memory behind the frames: one mapping per I/O thread, cut into chunks of equal size.

use std::ptr::NonNull;

use smartwire_engine::FrameId;

use crate::error::IoError;

/// Transparent huge pages come in this size; the mapping is aligned to it so that all of it can be huge.
const HUGE: usize = 2 << 20;

/// One mapping, `count` chunks of `chunk` bytes. Shared by the threads of a wire; who may touch which chunk is kept by
/// [`crate::frames::Frames`], of which each chunk belongs to exactly one at a time.
pub struct Region {
    base: NonNull<u8>,
    map: NonNull<u8>,
    map_len: usize,
    chunk: usize,
    count: u32,
}

// SAFETY: the mapping lives as long as the Region and is not tied to a thread. Its bytes are reached only through
// `slice`/`slice_mut`, whose callers promise that the chunk is theirs alone.
unsafe impl Send for Region {}
// SAFETY: as above; a shared Region hands out no bytes by itself.
unsafe impl Sync for Region {}

impl Region {
    /// Maps memory for `count` frames of `chunk` bytes (2048 or 4096). Pages are populated as they are used, or when an
    /// AF_XDP socket pins them.
    ///
    /// # Errors
    /// The memory is not there: the sentence says how many frames would fit.
    pub fn new(count: u32, chunk: usize) -> Result<Region, IoError> {
        if chunk != 2048 && chunk != 4096 {
            return Err(IoError::new(format!("Frames of {chunk} bytes are not possible; choose 2048 or 4096.")));
        }
        if count < 64 {
            return Err(IoError::new(format!("{count} frames are too few for any ring; give at least 64 (--frames).")));
        }
        let bytes = count as usize * chunk;
        if let Some(free) = available_memory() {
            if bytes as u64 > free {
                return Err(too_little(count, chunk, free));
            }
        }
        let map_len = bytes + HUGE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no existing memory.
        let map = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                map_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if map == libc::MAP_FAILED {
            return Err(too_little(count, chunk, available_memory().unwrap_or(0)));
        }
        let start = (map as usize).next_multiple_of(HUGE);
        // SAFETY: start..start+bytes lies inside the mapping just made (it is HUGE bytes longer). Advice is only
        // advice: without huge pages everything works, with more page-table misses.
        unsafe { libc::madvise(start as *mut libc::c_void, bytes, libc::MADV_HUGEPAGE) };
        let (Some(base), Some(map)) = (NonNull::new(start as *mut u8), NonNull::new(map.cast::<u8>())) else {
            return Err(IoError::new("The kernel mapped frame memory at address zero; restart without vm.mmap_min_addr=0."));
        };
        Ok(Region { base, map, map_len, chunk, count })
    }

    /// Bytes per chunk.
    pub fn chunk(&self) -> usize {
        self.chunk
    }

    /// Number of chunks.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.count as usize * self.chunk
    }

    /// Never true.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Start of the memory, for registering it as a UMEM.
    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    fn at(&self, frame: FrameId) -> *mut u8 {
        assert!(frame.0 < self.count, "frame {} is beyond the region", frame.0);
        // SAFETY: the chunk starts inside the mapping, as just asserted.
        unsafe { self.base.as_ptr().add(frame.0 as usize * self.chunk) }
    }

    /// The bytes of a chunk.
    ///
    /// # Safety
    /// Nobody writes to the chunk while the slice lives: no other thread's ledger owns it, and it is in no fill ring.
    pub(crate) unsafe fn slice(&self, frame: FrameId) -> &[u8] {
        // SAFETY: the chunk lies in the mapping (asserted in `at`) and was zeroed by the kernel, so it is initialized.
        unsafe { std::slice::from_raw_parts(self.at(frame), self.chunk) }
    }

    /// The bytes of a chunk, for writing.
    ///
    /// # Safety
    /// Nobody else reads or writes the chunk while the slice lives.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice_mut(&self, frame: FrameId) -> &mut [u8] {
        // SAFETY: as `slice`, and the caller promises to be alone.
        unsafe { std::slice::from_raw_parts_mut(self.at(frame), self.chunk) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; no slice of it outlives the Region that lent it.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.map_len) };
    }
}

fn too_little(count: u32, chunk: usize, free: u64) -> IoError {
    let fit = free / 10 * 9 / chunk as u64;
    IoError::new(format!(
        "{count} frames of {chunk} bytes need {} MB of memory and {} MB are free; give at most {fit} with --frames, or free some memory.",
        (count as usize * chunk) >> 20,
        free >> 20
    ))
}

/// Bytes that can be had without swapping: MemAvailable, and the cgroup's limit where it is tighter.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|l| l.starts_with("MemAvailable:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    let mut free = kib << 10;
    let read = |f: &str| std::fs::read_to_string(format!("/sys/fs/cgroup/{f}")).ok()?.trim().parse::<u64>().ok();
    if let (Some(max), Some(now)) = (read("memory.max"), read("memory.current")) {
        free = free.min(max.saturating_sub(now));
    }
    Some(free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_frames_for_this_machine_are_refused_with_a_number_that_fits() {
        let err = Region::new(u32::MAX, 4096).err().unwrap().to_string();
        assert!(err.contains("--frames") && err.contains("need 16777215 MB"), "{err}");
    }

    #[test]
    fn odd_chunk_sizes_are_refused() {
        assert!(Region::new(1024, 3000).is_err());
    }
}
