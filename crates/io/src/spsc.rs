//! A bounded queue from one thread to another: wait-free, nothing allocated after it is made.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Keeps the two indices on cache lines of their own.
#[repr(align(128))]
struct Index(AtomicUsize);

struct Queue<T> {
    /// Next slot to write; only the sender stores it.
    tail: Index,
    /// Next slot to read; only the receiver stores it.
    head: Index,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: a slot is the sender's until `tail` passes it (Release) and the receiver's until `head` does, so no two
// threads ever touch one at the same time.
unsafe impl<T: Send> Sync for Queue<T> {}
// SAFETY: it only holds values that may move between threads.
unsafe impl<T: Send> Send for Queue<T> {}

impl<T> Queue<T> {
    fn slot(&self, index: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[index & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Queue<T> {
    fn drop(&mut self) {
        let (head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        let mut at = head;
        while at != tail {
            // SAFETY: slots between head and tail hold values that nobody took, and both ends are gone.
            unsafe { (*self.slot(at).get()).assume_init_drop() };
            at = at.wrapping_add(1);
        }
    }
}

/// The end that sends.
pub struct Sender<T> {
    queue: Arc<Queue<T>>,
    tail: usize,
    head: usize,
}

/// The end that receives.
pub struct Receiver<T> {
    queue: Arc<Queue<T>>,
    head: usize,
    tail: usize,
}

/// A queue with room for `size` values (rounded up to a power of two).
pub fn queue<T: Send>(size: usize) -> (Sender<T>, Receiver<T>) {
    let slots = (0..size.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect();
    let (tail, head) = (Index(AtomicUsize::new(0)), Index(AtomicUsize::new(0)));
    let queue = Arc::new(Queue { tail, head, slots });
    (Sender { queue: queue.clone(), tail: 0, head: 0 }, Receiver { queue, head: 0, tail: 0 })
}

impl<T: Send> Sender<T> {
    /// How many values fit now.
    pub fn room(&mut self) -> usize {
        let size = self.queue.slots.len();
        if self.tail.wrapping_sub(self.head) >= size {
            // Acquire: the receiver has read the slots that we are going to write.
            self.head = self.queue.head.0.load(Ordering::Acquire);
        }
        size - self.tail.wrapping_sub(self.head)
    }

    /// Sends one; gives it back when the queue is full.
    ///
    /// # Errors
    /// The queue is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        if self.room() == 0 {
            return Err(value);
        }
        // SAFETY: the receiver is past this slot (`room`) and doesn't look at it before `tail` moves.
        unsafe { (*self.queue.slot(self.tail).get()).write(value) };
        self.tail = self.tail.wrapping_add(1);
        // Release: the value is there before the index that shows it.
        self.queue.tail.0.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T: Send> Receiver<T> {
    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        // SAFETY: the sender has shown this slot (`tail`, Acquire) and doesn't reuse it before `head` moves; moving
        // `head` makes this read the only one.
        let value = unsafe { (*self.queue.slot(self.head).get()).assume_init_read() };
        self.head = self.head.wrapping_add(1);
        // Release: the value was read before the sender may overwrite it.
        self.queue.head.0.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Nothing waits.
    pub fn is_empty(&mut self) -> bool {
        if self.head == self.tail {
            // Acquire: the values that the index shows are there.
            self.tail = self.queue.tail.0.load(Ordering::Acquire);
        }
        self.head == self.tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_value_back_and_keeps_its_order() {
        let (mut s, mut r) = queue(2);
        assert!(s.push(1).is_ok() && s.push(2).is_ok());
        assert_eq!(s.push(3), Err(3));
        assert_eq!((r.pop(), s.push(3), r.pop(), r.pop(), r.pop()), (Some(1), Ok(()), Some(2), Some(3), None));
    }

    #[test]
    fn values_that_nobody_took_are_dropped_with_the_queue() {
        let value = Arc::new(());
        let (mut s, mut r) = queue(8);
        for _ in 0..5 {
            assert!(s.push(value.clone()).is_ok());
        }
        drop(r.pop());
        drop((s, r));
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn a_million_values_cross_threads_in_order() {
        let (mut s, mut r) = queue(64);
        let sender = std::thread::spawn(move || {
            let mut i = 0u64;
            while i < 1_000_000 {
                if s.push(i).is_ok() {
                    i += 1;
                } else {
                    std::thread::yield_now();
                }
            }
        });
        let mut want = 0;
        while want < 1_000_000 {
            match r.pop() {
                Some(v) => {
                    assert_eq!(v, want);
                    want += 1;
                }
                None => std::thread::yield_now(),
            }
        }
        sender.join().unwrap();
    }
}
