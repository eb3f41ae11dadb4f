//! The engine's sign of life.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::Arc;
use std::time::Duration;

use super::layout::WirePage;
use super::maps::Wire;
use super::{book, Beat, SteerError};
use crate::sys;

/// Timeouts of silence after which the programs take an engine for dead: SW_PATIENCE of bpf/wire.h.
const PATIENCE: u64 = 10;

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
        if self.wire.live(now) {
            if before == self.wire.mine.load(Relaxed) {
                return Ok(());
            }
            return Err(taken(page.owner_pid.load(Relaxed)));
        }
        let next = succeed(page, before).ok_or_else(|| taken(page.owner_pid.load(Relaxed)))?;
        page.survivors.store(book::sweep(&self.wire, next), Relaxed);
        self.wire.told_open.store(page.open_beat.load(Acquire), Relaxed);
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
        page.beat_ns.fetch_max(now_ns, AcqRel);
        // The programs say after which beat a frame found the wire open; of several threads exactly one hears it.
        let open = page.open_beat.load(Acquire);
        if open <= self.wire.told_open.fetch_max(open, AcqRel) {
            return Beat::Alive;
        }
        page.opened.fetch_add(1, Relaxed);
        let (silent, timeout) = (now_ns.saturating_sub(open), page.timeout_ns.load(Relaxed));
        // The programs read their own clock: the last timeout before their patience ends counts as too late.
        Beat::Opened { for_ns: silent.saturating_sub(timeout), late: silent < (PATIENCE - 1) * timeout }
    }

    /// True if a frame has found the wire open since the latest beat: the next beat closes it again, and says so.
    pub fn is_open(&self) -> bool {
        let page = self.wire.page();
        page.open_beat.load(Acquire) == page.beat_ns.load(Acquire)
    }

    /// Gives the wire back in good order: it opens at once, uncounted.
    pub fn release(&self) {
        let (page, mine) = (self.wire.page(), self.wire.mine.swap(0, AcqRel));
        if mine != 0 && page.generation.load(Acquire) == mine {
            page.owner_pid.store(0, Release);
        }
    }
}

/// Silence after which the programs take an engine for dead.
pub(super) fn patience(page: &WirePage) -> Duration {
    Duration::from_nanos(PATIENCE.saturating_mul(page.timeout_ns.load(Relaxed)))
}

/// Takes the wire from an engine that lives no more, if one still has it: should it wake up, it finds itself succeeded.
pub(super) fn depose(page: &WirePage) {
    if page.owner_pid.load(Relaxed) != 0 {
        let _ = succeed(page, page.generation.load(Relaxed));
    }
}

/// Begins the generation after `before`; `None`: another process was quicker.
fn succeed(page: &WirePage, before: u32) -> Option<u32> {
    let next = before % MAX_GENERATION + 1;
    page.generation.compare_exchange(before, next, AcqRel, Relaxed).ok()?;
    // An owner that is still there never gave the wire back.
    page.opened.fetch_add(u64::from(page.owner_pid.swap(0, AcqRel) != 0), Relaxed);
    Some(next)
}

fn taken(owner: u32) -> SteerError {
    SteerError::Refused(format!("Process {owner} already runs this wire; stop it first (`kill {owner}` drains and ends it)."))
}
