//! The four rings of an AF_XDP socket: single producer, single consumer, in memory shared with the kernel.
//!
//! ```text
//!   fill        we produce   ──►  kernel consumes    frames to receive into
//!   receive     kernel produces ──►  we consume      packets
//!   transmit    we produce   ──►  kernel consumes    packets to send
//!   completion  kernel produces ──►  we consume      frames whose sending is over
//! ```
//! Producer and consumer indices run freely over all of u32; an entry's slot is its index masked. Each side caches
//! the other's index and reads the shared one again only when the cache runs out.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::sys::{Mapping, RingOffset};
use crate::error::IoError;

/// The kernel asks to be woken by a system call before it will look at the ring (`XDP_RING_NEED_WAKEUP`).
const NEED_WAKEUP: u32 = 1;

/// What rings are made of: where the indices and entries lie, and the memory that keeps them alive.
struct Shared<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    _memory: Memory,
}

enum Memory {
    #[allow(dead_code)] // held for its Drop
    Kernel(Mapping),
    #[cfg(test)]
    #[allow(dead_code)]
    Test(std::sync::Arc<tests::TestRing>),
}

// SAFETY: the pointers lead into memory that the struct itself keeps alive; indices are atomic, and entries are read
// and written only by the side that the indices give them to.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T: Copy> Shared<T> {
    fn from_mapping(map: Mapping, at: &RingOffset, size: u32) -> Result<Shared<T>, IoError> {
        let end = at.desc as usize + size as usize * std::mem::size_of::<T>();
        let indices_end = [at.producer, at.consumer, at.flags].iter().map(|&o| o as usize + 4).max().unwrap_or(0);
        if !size.is_power_of_two() || end > map.len() || indices_end > map.len() {
            return Err(IoError::new("The kernel described an AF_XDP ring that does not fit its memory; use --io packet."));
        }
        // SAFETY: all four offsets lie inside the mapping, as just checked, and the kernel aligns them for their types.
        let (producer, consumer, flags, entries) = unsafe {
            let p = map.ptr();
            (
                p.add(at.producer as usize).cast(),
                p.add(at.consumer as usize).cast(),
                p.add(at.flags as usize).cast(),
                p.add(at.desc as usize).cast(),
            )
        };
        Ok(Shared { producer, consumer, flags, entries, size, _memory: Memory::Kernel(map) })
    }

    fn producer(&self) -> &AtomicU32 {
        // SAFETY: points into `_memory`, which lives as long as self; valid for an AtomicU32 for all bit patterns.
        unsafe { self.producer.as_ref() }
    }

    fn consumer(&self) -> &AtomicU32 {
        // SAFETY: as `producer`.
        unsafe { self.consumer.as_ref() }
    }

    fn needs_wakeup(&self) -> bool {
        // SAFETY: as `producer`.
        unsafe { self.flags.as_ref() }.load(Ordering::Relaxed) & NEED_WAKEUP != 0
    }

    fn entry(&self, index: u32) -> NonNull<T> {
        // SAFETY: the masked index is below `size`, and the entries are `size` long.
        unsafe { self.entries.add((index & (self.size - 1)) as usize) }
    }
}

/// The producing end of a ring (fill, transmit).
pub(crate) struct Producer<T> {
    ring: Shared<T>,
    /// Next index to write; published by [`Producer::publish`].
    next: u32,
    /// The consumer's index as last read.
    consumed: u32,
}

impl<T: Copy> Producer<T> {
    pub(crate) fn new(map: Mapping, at: &RingOffset, size: u32) -> Result<Producer<T>, IoError> {
        Ok(Producer::over(Shared::from_mapping(map, at, size)?))
    }

    fn over(ring: Shared<T>) -> Producer<T> {
        let next = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Acquire);
        Producer { ring, next, consumed }
    }

    /// Entries that can be pushed now.
    pub(crate) fn room(&mut self) -> u32 {
        let used = self.next.wrapping_sub(self.consumed);
        if used >= self.ring.size {
            // Acquire: the consumer's reads of old entries happened before we overwrite them.
            self.consumed = self.ring.consumer().load(Ordering::Acquire);
        }
        self.ring.size - self.next.wrapping_sub(self.consumed).min(self.ring.size)
    }

    /// Writes one entry; `false` when the ring is full. The consumer sees it after [`Producer::publish`].
    pub(crate) fn push(&mut self, entry: T) -> bool {
        if self.room() == 0 {
            return false;
        }
        // SAFETY: the slot is ours: the consumer is past its old entry (`room`) and doesn't see the new one before
        // `publish`.
        unsafe { self.ring.entry(self.next).write(entry) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Shows the consumer all that was pushed.
    pub(crate) fn publish(&mut self) {
        // Release: the entries are written before the index that shows them.
        self.ring.producer().store(self.next, Ordering::Release);
    }

    /// Entries published that the consumer has not taken.
    pub(crate) fn pending(&self) -> u32 {
        self.next.wrapping_sub(self.ring.consumer().load(Ordering::Acquire))
    }

    /// The kernel waits for a system call.
    pub(crate) fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// The consuming end of a ring (receive, completion).
pub(crate) struct Consumer<T> {
    ring: Shared<T>,
    /// Next index to read; given back by [`Consumer::publish`].
    next: u32,
    /// The producer's index as last read.
    produced: u32,
}

impl<T: Copy> Consumer<T> {
    pub(crate) fn new(map: Mapping, at: &RingOffset, size: u32) -> Result<Consumer<T>, IoError> {
        Ok(Consumer::over(Shared::from_mapping(map, at, size)?))
    }

    fn over(ring: Shared<T>) -> Consumer<T> {
        let next = ring.consumer().load(Ordering::Relaxed);
        let produced = ring.producer().load(Ordering::Acquire);
        Consumer { ring, next, produced }
    }

    /// Takes one entry, if there is one. The producer may reuse its slot after [`Consumer::publish`].
    pub(crate) fn pop(&mut self) -> Option<T> {
        if self.next == self.produced {
            // Acquire: the entries were written before the index that shows them.
            self.produced = self.ring.producer().load(Ordering::Acquire);
            if self.next == self.produced {
                return None;
            }
        }
        // SAFETY: the producer has published this entry and can't reuse its slot before `publish`.
        let entry = unsafe { self.ring.entry(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(entry)
    }

    /// Gives back the slots of all that was popped.
    pub(crate) fn publish(&mut self) {
        // Release: our reads happened before the producer may overwrite.
        self.ring.consumer().store(self.next, Ordering::Release);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::UnsafeCell;
    use std::sync::Arc;

    /// Ring memory without a kernel.
    pub(crate) struct TestRing {
        producer: AtomicU32,
        consumer: AtomicU32,
        flags: AtomicU32,
        entries: Box<[UnsafeCell<u64>]>,
    }

    // SAFETY: entries are reached only through the ring protocol, which gives each to one side at a time.
    unsafe impl Sync for TestRing {}
    // SAFETY: plain data.
    unsafe impl Send for TestRing {}

    fn shared(ring: &Arc<TestRing>) -> Shared<u64> {
        Shared {
            producer: NonNull::from(&ring.producer),
            consumer: NonNull::from(&ring.consumer),
            flags: NonNull::from(&ring.flags),
            entries: NonNull::from(&ring.entries[0]).cast(),
            size: ring.entries.len() as u32,
            _memory: Memory::Test(ring.clone()),
        }
    }

    /// Both ends of a ring of `size` entries whose indices start at `start`.
    fn ends(size: usize, start: u32) -> (Producer<u64>, Consumer<u64>, Arc<TestRing>) {
        let ring = Arc::new(TestRing {
            producer: AtomicU32::new(start),
            consumer: AtomicU32::new(start),
            flags: AtomicU32::new(0),
            entries: (0..size).map(|_| UnsafeCell::new(0)).collect(),
        });
        (Producer::over(shared(&ring)), Consumer::over(shared(&ring)), ring)
    }

    #[test]
    fn entries_come_out_in_order_only_after_they_were_published() {
        let (mut p, mut c, _) = ends(8, 0);
        assert!(p.push(1) && p.push(2));
        assert_eq!(c.pop(), None);
        p.publish();
        assert_eq!((c.pop(), c.pop(), c.pop()), (Some(1), Some(2), None));
    }

    #[test]
    fn a_full_ring_refuses_until_the_consumer_gives_slots_back() {
        let (mut p, mut c, _) = ends(4, 0);
        assert_eq!((0..9).filter(|&i| p.push(i)).count(), 4);
        p.publish();
        assert_eq!(c.pop(), Some(0));
        assert!(!p.push(9));
        c.publish();
        assert_eq!(p.room(), 1);
        assert!(p.push(9));
        assert_eq!(p.pending(), 4);
    }

    #[test]
    fn indices_wrap_around_u32_without_losing_an_entry() {
        let (mut p, mut c, _) = ends(8, u32::MAX - 3);
        for round in 0..100u64 {
            for i in 0..5 {
                assert!(p.push(round * 5 + i));
            }
            p.publish();
            for i in 0..5 {
                assert_eq!(c.pop(), Some(round * 5 + i));
            }
            assert_eq!(c.pop(), None);
            c.publish();
        }
    }

    #[test]
    fn two_threads_pass_a_million_entries_in_order() {
        let (mut p, mut c, _) = ends(64, 12345);
        let sender = std::thread::spawn(move || {
            let mut i = 0u64;
            while i < 1_000_000 {
                if p.push(i) {
                    i += 1;
                } else {
                    std::thread::yield_now();
                }
                p.publish();
            }
        });
        let mut want = 0u64;
        while want < 1_000_000 {
            match c.pop() {
                Some(v) => {
                    assert_eq!(v, want);
                    want += 1;
                    c.publish();
                }
                None => std::thread::yield_now(),
            }
        }
        sender.join().unwrap();
    }

    #[test]
    fn the_wakeup_flag_is_read_fresh() {
        let (p, _c, ring) = ends(4, 0);
        assert!(!p.needs_wakeup());
        ring.flags.store(NEED_WAKEUP, Ordering::Relaxed);
        assert!(p.needs_wakeup());
    }
}
