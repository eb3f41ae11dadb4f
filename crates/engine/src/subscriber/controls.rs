//! The controllers of the subscribers that receive.

use super::control::{self, Control};
use crate::api::Now;
use crate::pool::Pool;

/// Owner of a place that is free.
const NONE: u32 = u32::MAX;

/// Controllers behind `u32` handles. Whose a place is stands in its first cache line.
#[derive(Debug)]
pub(super) struct Controls(Pool<Control>);

impl Controls {
    /// Room for at most `capacity`.
    pub fn new(capacity: u32) -> Controls {
        Controls(Pool::new(capacity))
    }

    /// A new one for a subscriber; `None` where all places are taken.
    pub fn make(&mut self, now: Now, owner: u32) -> Option<u32> {
        let handle = self.0.take()?;
        let place = &mut self.0[handle];
        *place = Control::new(now);
        place.owner = owner;
        Some(handle)
    }

    /// Gives a place up; nothing happens where it is free.
    pub fn free(&mut self, handle: u32) {
        if let Some(control) = self.get_mut(handle) {
            control.owner = NONE;
            self.0.give(handle);
        }
    }

    pub fn get(&self, handle: u32) -> Option<&Control> {
        self.0.get(handle).filter(|control| control.owner != NONE)
    }

    pub fn get_mut(&mut self, handle: u32) -> Option<&mut Control> {
        self.0.get_mut(handle).filter(|control| control.owner != NONE)
    }

    /// Asks for what an ordinary packet needs of one.
    pub fn prefetch(&self, handle: u32) {
        self.0.prefetch_front(handle, control::FRONT);
    }

    /// One more than the highest handle ever given out.
    pub fn end(&self) -> u32 {
        self.0.end()
    }

    /// No place is free.
    pub fn is_full(&self) -> bool {
        self.0.free() == 0
    }
}

/// Panics on a free place: for handles that the owner knows to be live.
impl std::ops::Index<u32> for Controls {
    type Output = Control;
    fn index(&self, handle: u32) -> &Control {
        self.get(handle).expect("a live handle")
    }
}

impl std::ops::IndexMut<u32> for Controls {
    fn index_mut(&mut self, handle: u32) -> &mut Control {
        self.get_mut(handle).expect("a live handle")
    }
}
