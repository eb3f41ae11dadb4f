//! The system's allocator, which asks for huge pages where an allocation is large.
//!
//! With a million connections each packet finds its state somewhere in hundreds of megabytes. In pages of 4 KiB nearly
//! every such access also misses the processor's table of pages. The kernel gives huge pages to who asks for them
//! (`madvise` in /sys/kernel/mm/transparent_hugepage/enabled, the setting of most distributions), as memory is touched.

use std::alloc::{GlobalAlloc, Layout, System};

/// Smaller allocations than this are left alone, bytes.
const LARGE: usize = 4 << 20;
/// Size of a huge page, bytes.
const HUGE: usize = 2 << 20;

/// Make it the `#[global_allocator]` of a program with large tables.
#[derive(Debug)]
pub struct Large;

/// Asks for huge pages where whole ones lie within the allocation. Only a hint: what the kernel answers does not matter.
fn advise(at: *mut u8, bytes: usize) {
    let (first, end) = ((at as usize).next_multiple_of(HUGE), (at as usize + bytes) / HUGE * HUGE);
    if at.is_null() || first >= end {
        return;
    }
    // SAFETY: the range lies within an allocation that was just made, and the advice changes no contents.
    unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
}

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Large {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is ours.
        let at = unsafe { System.alloc(layout) };
        if layout.size() >= LARGE {
            advise(at, layout.size());
        }
        at
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is ours. Fresh pages are zero already: nothing is touched before the advice.
        let at = unsafe { System.alloc_zeroed(layout) };
        if layout.size() >= LARGE {
            advise(at, layout.size());
        }
        at
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(at, layout, size) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(at, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_allocations_hold_what_is_written_and_zeroed_ones_are_zero() {
        for size in [1, 4096, LARGE - 1, LARGE, 3 * LARGE + 5] {
            let layout = Layout::from_size_align(size, 64).unwrap();
            // SAFETY: the layout is not empty, the writes lie within it, and it is given back as it was taken.
            unsafe {
                let zeroed = Large.alloc_zeroed(layout);
                let bytes = std::slice::from_raw_parts_mut(zeroed, size);
                assert!(bytes.iter().all(|b| *b == 0));
                bytes.fill(7);
                assert!(bytes.iter().all(|b| *b == 7));
                Large.dealloc(zeroed, layout);
                let plain = Large.alloc(layout);
                plain.add(size - 1).write(1);
                Large.dealloc(plain, layout);
            }
        }
    }
}
