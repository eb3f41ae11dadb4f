//! The engine's sign of life.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::Arc;

use super::maps::Wire;
use super::{book, Beat, SteerError};
use crate::sys;

/// Generations fit a book entry's state beside its custody bit; the last one means "none" to the programs.
const MAX_GENERATION: u32 = (1 << 31) - 2;

/// The engine's sign of life, shared with the BPF programs. Cheap to clone; any thread may beat.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    pub(super) wire: Arc<Wire>,
}

impl Heartbeat {
    /// CLOCK_MONOTONIC in nanoseconds, the clock of the programs.
    pub fn now_ns() -> u64 {
        sys::clock_ns()
    }

    /// Takes the wire for this process: from here on claimed frames come to its sockets for as long as it beats.
    ///
    /// # Errors
    /// Another live process has it.
    pub fn claim(&self) -> Result<(), SteerError> {
        let page = self.wire.page();
        let (now, before) = (Self::now_ns(), page.generation.load(Acquire));
        let owner = page.owner_pid.load(Relaxed);
        if self.wire.live(now) {
            if before == self.wire.mine.load(Relaxed) {
                return Ok(());
            }
            return Err(taken(owner));
        }
        let next = before % MAX_GENERATION + 1;
        if page.generation.compare_exchange(before, next, AcqRel, Relaxed).is_err() {
            return Err(taken(page.owner_pid.load(Relaxed)));
        }
        // Whoever had it never gave it back.
        page.opened.fetch_add(u64::from(owner != 0), Relaxed);
        page.survivors.store(book::sweep(&self.wire, next), Relaxed);
        self.wire.mine.store(next, Release);
        page.beat_ns.store(Self::now_ns(), Release);
        page.owner_pid.store(std::process::id(), Release);
        Ok(())
    }

    /// "I live", at least every fifth of the timeout. A few stores; no system call but the clock.
    pub fn beat(&self) -> Beat {
        self.beat_at(Self::now_ns())
    }

    /// As [`Heartbeat::beat`], for a caller that has just read the clock.
    pub fn beat_at(&self, now_ns: u64) -> Beat {
        let (page, mine) = (self.wire.page(), self.wire.mine.load(Relaxed));
        if mine == 0 || page.generation.load(Acquire) != mine {
            return Beat::Lost;
        }
        // The largest wins, so that of several threads exactly one sees a gap.
        let silent = now_ns.saturating_sub(page.beat_ns.fetch_max(now_ns, AcqRel));
        match silent.checked_sub(page.timeout_ns.load(Relaxed)) {
            None => Beat::Alive,
            Some(for_ns) => {
                page.opened.fetch_add(1, Relaxed);
                Beat::Opened { for_ns }
            }
        }
    }

    /// Gives the wire back in good order: it opens at once, uncounted.
    pub fn release(&self) {
        let (page, mine) = (self.wire.page(), self.wire.mine.swap(0, AcqRel));
        if mine != 0 && page.generation.load(Acquire) == mine {
            page.owner_pid.store(0, Release);
        }
    }
}

fn taken(owner: u32) -> SteerError {
    SteerError::Refused(format!("Process {owner} already runs this wire; stop it first (`kill {owner}` drains and ends it)."))
}
