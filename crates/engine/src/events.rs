//! A bounded queue of events between the engine and whoever logs them.

use std::collections::VecDeque;

use crate::api::Event;

/// Events kept until they are read; when nobody reads, the newest are counted and dropped.
#[derive(Debug)]
pub(crate) struct Events {
    queue: VecDeque<Event>,
    limit: usize,
}

impl Events {
    /// Room for `limit` events, allocated now.
    pub(crate) fn new(limit: usize) -> Events {
        Events { queue: VecDeque::with_capacity(limit), limit }
    }

    /// Appends; `false` if it was full and the event is lost.
    pub(crate) fn push(&mut self, event: Event) -> bool {
        if self.queue.len() >= self.limit {
            return false;
        }
        self.queue.push_back(event);
        true
    }

    /// The oldest event not read yet.
    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_front()
    }
}
