//! The active states of all flows, reset where they are: neither built elsewhere and moved nor dropped.
//!
//! A flow that is used now and then gets and loses its active state with nearly every packet. So a place that is given up
//! keeps its contents, and the next flow writes only what counts for it: an array is empty by its counter.

use super::record::{Active, Record, NONE};
use crate::api::Now;
use crate::pool::Pool;

/// Active states behind `u32` handles; those in use name their flow, the others [`NONE`].
#[derive(Debug)]
pub(crate) struct Actives(Pool<Active>);

impl Actives {
    /// Room for at most `capacity`.
    pub(crate) fn new(capacity: u32) -> Actives {
        Actives(Pool::new(capacity))
    }

    /// The active state of a flow that was idle, from its record; `None` where all places are taken.
    pub(crate) fn thaw(&mut self, id: u32, rec: &Record, now: Now) -> Option<u32> {
        let handle = self.0.take()?;
        self.0[handle].thaw(id, rec, now);
        Some(handle)
    }

    /// Gives a place up; what its flow holds was given back before.
    pub(crate) fn free(&mut self, handle: u32) {
        if let Some(act) = self.get_mut(handle) {
            act.flow = NONE;
            self.0.give(handle);
        }
    }

    pub(crate) fn get(&self, handle: u32) -> Option<&Active> {
        self.0.get(handle).filter(|act| act.flow != NONE)
    }

    pub(crate) fn get_mut(&mut self, handle: u32) -> Option<&mut Active> {
        self.0.get_mut(handle).filter(|act| act.flow != NONE)
    }

    /// Asks for what a segment of stream `s`, or an acknowledgement of it, will need.
    pub(crate) fn prefetch(&self, handle: u32, s: usize, payload: bool) {
        if let Some(act) = self.0.get(handle) {
            act.prefetch(s, payload);
        }
    }

    /// The place of the flow that is thawed after so many others.
    pub(crate) fn upcoming(&self, after: usize) -> Option<u32> {
        self.0.upcoming(after)
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> u32 {
        self.0.taken()
    }
}

/// Panics on a free place: for handles that the owner knows to be live.
impl std::ops::Index<u32> for Actives {
    type Output = Active;
    fn index(&self, handle: u32) -> &Active {
        self.get(handle).expect("a live handle")
    }
}

impl std::ops::IndexMut<u32> for Actives {
    fn index_mut(&mut self, handle: u32) -> &mut Active {
        self.get_mut(handle).expect("a live handle")
    }
}
