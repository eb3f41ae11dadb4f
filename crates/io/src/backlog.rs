//! Frames on their way out of a port that its ring or socket had no room for yet.

use std::collections::VecDeque;

use smartwire_engine::FrameId;

/// One transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tx {
    /// The frame.
    pub frame: FrameId,
    /// First byte of the Ethernet header within it.
    pub off: u16,
    /// Length in bytes.
    pub len: u16,
    /// Its checksum was found right: the engine has it in custody.
    pub checked: bool,
}

/// A bounded queue: order is kept, nothing is dropped before it is full, and it never allocates once made.
pub struct Backlog {
    queue: VecDeque<Tx>,
    limit: usize,
}

impl Backlog {
    /// Room for `limit` transmissions.
    pub fn new(limit: usize) -> Backlog {
        Backlog { queue: VecDeque::with_capacity(limit), limit }
    }

    /// Adds one at the end; `false` when it is full.
    pub fn push(&mut self, tx: Tx) -> bool {
        if self.queue.len() >= self.limit {
            return false;
        }
        self.queue.push_back(tx);
        true
    }

    /// The next one to send.
    pub fn front(&self) -> Option<Tx> {
        self.queue.front().copied()
    }

    /// The next ones to send, in order.
    pub fn iter(&self) -> impl Iterator<Item = Tx> + '_ {
        self.queue.iter().copied()
    }

    /// Takes the next one.
    pub fn pop(&mut self) -> Option<Tx> {
        self.queue.pop_front()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_backlog_refuses_and_keeps_its_order() {
        let mut b = Backlog::new(2);
        let tx = |n| Tx { frame: FrameId(n), off: 0, len: 60, checked: false };
        assert!(b.push(tx(1)) && b.push(tx(2)) && !b.push(tx(3)));
        assert_eq!((b.pop(), b.pop(), b.pop()), (Some(tx(1)), Some(tx(2)), None));
    }
}
