//! The sign of life: beats as long as every thread of the wire does what it promised.
//!
//! A thread that works promises before each turn to be back within [`PATIENCE_NS`]; one that goes to sleep, when it
//! wakes up and that much later. A small thread of high priority beats while all promises hold, so that a worker which
//! merely waits for a processor does not open the wire, and one that hangs, or a process that is killed or stopped,
//! does.
//!
//! Once the wire is open the small thread leaves the next beat to the I/O thread: the wire closes again only in the
//! hands of the one who must first be told that it was open.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smartwire_io::steer::{Beat, Heartbeat};
use smartwire_io::sys::Wake;
use smartwire_io::{sys, IoError};

const BEAT: Duration = Duration::from_millis(5);
/// After this much silence the I/O thread beats by itself (the wire opens after 25 ms).
const LATE_NS: u64 = 15_000_000;
/// How long a turn may take.
const PATIENCE_NS: u64 = 50_000_000;
/// How long a thread may take to begin.
const START_NS: u64 = 2_000_000_000;
const NOBODY: usize = usize::MAX;

struct Shared {
    heartbeat: Heartbeat,
    /// Wakes the I/O thread.
    io: Arc<Wake>,
    /// Per thread: the time by which it promised to be back.
    promises: Vec<AtomicU64>,
    last: AtomicU64,
    /// Who broke a promise; [`NOBODY`].
    broken: AtomicUsize,
    lost: AtomicBool,
    /// What the I/O thread has not been told yet.
    opened: Mutex<Option<Beat>>,
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
    ///
    /// # Errors
    /// Another live process has the wire.
    pub(crate) fn start(heartbeat: Heartbeat, threads: usize, io: Arc<Wake>) -> Result<Pulse, IoError> {
        let first = sys::clock_ns() + START_NS;
        let promises = (0..threads).map(|_| AtomicU64::new(first)).collect();
        let shared = Arc::new(Shared {
            heartbeat,
            io,
            promises,
            last: AtomicU64::new(0),
            broken: AtomicUsize::new(NOBODY),
            lost: AtomicBool::new(false),
            opened: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let mine = shared.clone();
        let (ready, claimed) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name("pulse".into())
            .spawn(move || {
                // Claimed here, where it can be kept: a thread that is only starting may wait long for a processor.
                sys::be_first();
                let claim = mine.heartbeat.claim();
                let good = claim.is_ok();
                mine.beat(sys::clock_ns());
                let _ = ready.send(claim);
                while good && !mine.stop.load(Ordering::Acquire) {
                    mine.turn(sys::clock_ns());
                    thread::sleep(BEAT);
                }
            })
            .map_err(|e| IoError::os("start a thread", e))?;
        match claimed.recv() {
            Ok(Ok(())) => Ok(Pulse { shared, thread: Some(thread) }),
            Ok(Err(e)) => Err(crate::open::steer_error(e)),
            Err(_) => Err(IoError::new("The heartbeat could not be started; this is a bug, please report it.")),
        }
    }

    /// Why the latest beat was late, for people.
    pub(crate) fn why(&self) -> String {
        match self.shared.broken.swap(NOBODY, Ordering::AcqRel) {
            NOBODY => "the machine did not run the heartbeat in time".into(),
            index => format!("thread {index} did not come back in time"),
        }
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
        if let Some(beat) = self.shared.opened.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return beat;
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
        if let Some(late) = self.promises.iter().position(|p| now_ns > p.load(Ordering::Acquire)) {
            self.broken.store(late, Ordering::Release);
        } else if self.heartbeat.is_open() {
            self.io.wake();
        } else {
            let beat = self.beat(now_ns);
            // It opened in this very moment.
            if matches!(beat, Beat::Opened { .. }) {
                *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some(beat);
                self.io.wake();
            }
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
