//! The sign of life: beats as long as every thread of the wire does what it promised.
//!
//! A thread that works promises before each turn to be back within [`PATIENCE_NS`]; one that goes to sleep, when it
//! wakes up and that much later. A small thread of high priority beats while all promises hold, so that a worker which
//! merely waits for a processor does not open the wire, and one that hangs, or a process that is killed or stopped,
//! does.
//!
//! Once a beat is late the small thread leaves the next one to the I/O thread: the wire closes again only in the hands
//! of the one who must first be told that it was open.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smartwire_io::steer::{Beat, Heartbeat};
use smartwire_io::{sys, IoError};

const BEAT: Duration = Duration::from_millis(5);
/// A beat later than this may have opened the wire (25 ms), and is left to the I/O thread.
const LATE_NS: u64 = 20_000_000;
/// How long a turn may take.
const PATIENCE_NS: u64 = 50_000_000;

struct Shared {
    heartbeat: Heartbeat,
    /// Per thread: the time by which it promised to be back.
    promises: Vec<AtomicU64>,
    last: AtomicU64,
    lost: AtomicBool,
    stop: AtomicBool,
}

/// The beating thread, and what the others tell it.
pub(crate) struct Pulse {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// One thread's voice.
#[derive(Clone)]
pub(crate) struct Promise {
    shared: Arc<Shared>,
    index: usize,
}

impl Pulse {
    /// Claims the wire and begins to beat for `threads` threads.
    pub(crate) fn start(heartbeat: Heartbeat, threads: usize) -> Result<Pulse, IoError> {
        heartbeat.claim().map_err(crate::open::steer_error)?;
        let now = sys::clock_ns();
        let promises = (0..threads).map(|_| AtomicU64::new(now + 4 * PATIENCE_NS)).collect();
        let (lost, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let shared = Arc::new(Shared { heartbeat, promises, last: AtomicU64::new(now), lost, stop });
        shared.beat(now);
        let mine = shared.clone();
        let thread = thread::Builder::new()
            .name("pulse".into())
            .spawn(move || {
                sys::be_first();
                while !mine.stop.load(Ordering::Acquire) {
                    mine.turn(sys::clock_ns());
                    thread::sleep(BEAT);
                }
            })
            .map_err(|e| IoError::os("start a thread", e))?;
        Ok(Pulse { shared, thread: Some(thread) })
    }

    /// The voice of thread `index`.
    pub(crate) fn promise(&self, index: usize) -> Promise {
        Promise { shared: self.shared.clone(), index }
    }

    /// Beats if it is late; says what the wire did meanwhile. The I/O thread calls it before it handles frames.
    pub(crate) fn check(&self, now_ns: u64) -> Beat {
        if self.shared.lost.load(Ordering::Acquire) {
            return Beat::Lost;
        }
        if now_ns.saturating_sub(self.shared.last.load(Ordering::Acquire)) <= LATE_NS {
            return Beat::Alive;
        }
        self.shared.beat(now_ns)
    }

    /// Stops beating and opens the wire at once, in good order. A second time it does nothing.
    pub(crate) fn release(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        self.shared.stop.store(true, Ordering::Release);
        let _ = thread.join();
        if !self.shared.lost.load(Ordering::Acquire) {
            self.shared.heartbeat.release();
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.release();
    }
}

impl Promise {
    /// "I shall be back soon after `ns` from `now_ns`."
    pub(crate) fn back_in(&self, now_ns: u64, ns: u64) {
        self.shared.promises[self.index].store(now_ns + ns + PATIENCE_NS, Ordering::Release);
    }
}

impl Shared {
    fn turn(&self, now_ns: u64) {
        let kept = self.promises.iter().all(|p| now_ns <= p.load(Ordering::Acquire));
        if kept && now_ns.saturating_sub(self.last.load(Ordering::Acquire)) <= LATE_NS {
            self.beat(now_ns);
        }
    }

    fn beat(&self, now_ns: u64) -> Beat {
        let beat = self.heartbeat.beat_at(now_ns);
        self.last.fetch_max(now_ns, Ordering::AcqRel);
        if beat == Beat::Lost {
            self.lost.store(true, Ordering::Release);
        }
        beat
    }
}
