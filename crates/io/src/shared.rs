//! A file of 64-bit words that other processes map and read while this one writes.

use std::fs::{self, OpenOptions};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use crate::error::IoError;

/// A shared mapping of a whole file, seen as words. Dropping it leaves the file.
pub struct SharedWords {
    base: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is not tied to a thread, and its words are reached only as atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Makes the file with `content` (padded with zeros to whole words), in its place at once and complete, and maps it.
    ///
    /// # Errors
    /// The file can't be made or mapped.
    pub fn create(path: &Path, content: &[u8]) -> Result<SharedWords, IoError> {
        let failed = |e| IoError::os(format!("write {}", path.display()), e);
        let words = content.len().div_ceil(8).max(1);
        let mut padded = content.to_vec();
        padded.resize(words * 8, 0);
        let next = path.with_extension("new");
        fs::write(&next, padded).map_err(failed)?;
        let file = OpenOptions::new().read(true).write(true).open(&next).map_err(failed)?;
        // SAFETY: a new mapping at an address of the kernel's choice touches no existing memory; the file is as long as
        // the mapping.
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                words * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        let base = match NonNull::new(p.cast()) {
            Some(base) if p != libc::MAP_FAILED => base,
            _ => return Err(IoError::last(format!("map {}", path.display()))),
        };
        let shared = SharedWords { base, words };
        fs::rename(&next, path).map_err(failed)?;
        Ok(shared)
    }

    /// The words. Little-endian for whoever reads them: store with `to_le`.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `words` long, aligned to a page, and lives as long as self; any bits are a valid word.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.words) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `create`; no slice of it outlives self.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * 8) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_is_stored_in_a_word_stands_in_the_file() {
        let path = std::env::temp_dir().join(format!("sw-shared-{}", std::process::id()));
        let shared = SharedWords::create(&path, b"12345678abc").unwrap();
        assert_eq!(shared.words().len(), 2);
        shared.words()[1].store(0x0102_u64.to_le(), Ordering::Relaxed);
        assert_eq!(fs::read(&path).unwrap(), b"12345678\x02\x01\0\0\0\0\0\0");
        fs::remove_file(&path).unwrap();
    }
}
