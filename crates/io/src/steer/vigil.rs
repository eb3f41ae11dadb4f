//! A wire as somebody sees it who is not its engine: the guardian that resets silent connections of a dead one.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::Arc;
use std::time::Duration;

use super::maps::Wire;
use super::{attach, heartbeat, CustodyBook, SteerError, Survivor};

/// What an engine gives of itself at an instant; it lives as long as this changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// Which of the engines that had this wire it is.
    pub generation: u32,
    /// Its process; 0: it gave the wire back in good order.
    pub owner_pid: u32,
    /// CLOCK_MONOTONIC of its latest beat.
    pub beat_ns: u64,
}

/// Looks at a wire that another process runs.
#[derive(Debug)]
pub struct Vigil {
    wire: Arc<Wire>,
    book: CustodyBook,
}

impl Vigil {
    /// The wire that an interface is a port of.
    ///
    /// # Errors
    /// It is none, or another version's.
    pub fn of(ifindex: u32) -> Result<Vigil, SteerError> {
        let wire = Arc::new(attach::wire_of(ifindex)?);
        Ok(Vigil { book: CustodyBook { wire: wire.clone() }, wire })
    }

    /// The interfaces by number of their port.
    pub fn ports(&self) -> Vec<u32> {
        self.wire.page().ifindex.iter().map(|i| i.load(Relaxed)).take_while(|&i| i != 0).collect()
    }

    /// The engine's sign of life.
    pub fn sign(&self) -> Sign {
        let page = self.wire.page();
        Sign {
            generation: page.generation.load(Acquire),
            owner_pid: page.owner_pid.load(Acquire),
            beat_ns: page.beat_ns.load(Acquire),
        }
    }

    /// Silence after which the programs take an engine for dead, not late, and answer for its flows.
    pub fn patience(&self) -> Duration {
        heartbeat::patience(self.wire.page())
    }

    /// Lets the engine know, should it beat again, that it was silent for too long: as when a frame finds the wire open.
    pub fn open(&self, sign: Sign) {
        self.wire.page().open_beat.fetch_max(sign.beat_ns, AcqRel);
    }

    /// All marked flows.
    pub fn marked(&self) -> Vec<Survivor> {
        self.book.survivors().collect()
    }

    /// True if the flow still has its place and its mark: its ends have not begun anew, and no engine forgot it.
    pub fn is_marked(&self, flow: &Survivor) -> bool {
        self.book.is_marked(flow.entry, &flow.key)
    }

    /// Counts connections that were reset.
    pub fn count(&self, resets: u64) {
        self.wire.page().guarded.fetch_add(resets, Relaxed);
    }
}
