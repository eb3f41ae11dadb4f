//! The sign of life: beats as long as every thread of the wire does what it promised.
//!
//! A thread that works promises before each turn to be back within [`PATIENCE_NS`]; one that goes to sleep, when it
//! wakes up and that much later. A small thread of high priority beats while all promises hold. One that hangs opens the
//! wire, as does a process that is killed or stopped; one that merely waits for a processor is given [`STARVED_NS`].
//!
//! Once the wire is open the small thread leaves the next beat to the I/O thread: the wire closes again only in the
//! hands of the one who must first be told that it was open.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smartwire_io::steer::{Beat, Heartbeat};
use smartwire_io::sys::Wake;
use smartwire_io::{sys, IoError};

const BEAT: Duration = Duration::from_millis(5);
/// While every thread sleeps and promised to for longer than this, beating so often is enough: no frames come, and the
/// programs count the time only while some do.
const IDLE_BEAT: Duration = Duration::from_millis(10);
/// After this much silence the I/O thread beats by itself (the wire opens after 25 ms).
const LATE_NS: u64 = 15_000_000;
/// How long a turn may take.
const PATIENCE_NS: u64 = 40_000_000;
/// How long a thread may take to begin.
const START_NS: u64 = 2_000_000_000;
const NOBODY: usize = usize::MAX;
/// How late a thread may be that would run if it were given a processor.
const STARVED_NS: u64 = 200_000_000;
/// For how long it is watched before that can be said of it.
const WATCH_NS: u64 = 15_000_000;
/// Sleeping this long instead of [`BEAT`], this thread was not run either: nothing on this machine was.
const STALL_NS: u64 = 20_000_000;

struct Shared {
    heartbeat: Heartbeat,
    /// Wakes the I/O thread.
    io: Arc<Wake>,
    /// Per thread: the time by which it promised to be back.
    promises: Vec<AtomicU64>,
    /// Per thread: its id in the kernel, once it has promised anything.
    threads: Vec<AtomicU32>,
    /// Times that the machine did not run the heartbeat when it was due.
    stalls: Arc<AtomicU64>,
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
    pub(crate) fn start(heartbeat: Heartbeat, threads: usize, io: Arc<Wake>, stalls: Arc<AtomicU64>) -> Result<Pulse, IoError> {
        let first = sys::clock_ns() + START_NS;
        let promises = (0..threads).map(|_| AtomicU64::new(first)).collect();
        let shared = Arc::new(Shared {
            heartbeat,
            io,
            promises,
            threads: (0..threads).map(|_| AtomicU32::new(0)).collect(),
            stalls,
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
                let (mut late, mut before) = (None, sys::clock_ns());
                while good && !mine.stop.load(Ordering::Acquire) {
                    let now = sys::clock_ns();
                    mine.stalls.fetch_add(u64::from(now - before > STALL_NS), Ordering::Relaxed);
                    before = now;
                    mine.turn(now, &mut late);
                    thread::sleep(if mine.all_sleep(now) { IDLE_BEAT } else { BEAT });
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
        if self.shared.threads[self.index].load(Ordering::Relaxed) == 0 {
            self.shared.threads[self.index].store(sys::thread_id(), Ordering::Relaxed);
        }
    }
}

/// A thread that did not come back in time.
struct Late {
    index: usize,
    /// When that was seen, and how much processor time it had used by then.
    since_ns: u64,
    used_ns: u64,
}

/// Of a thread that was ready to run all the time while it was watched, and used this much of it.
fn may_starve(watched_ns: u64, used_ns: u64) -> bool {
    watched_ns < WATCH_NS || (watched_ns < STARVED_NS && used_ns < watched_ns / 2)
}

impl Shared {
    /// Every thread has said that it will sleep for longer than an idle beat.
    fn all_sleep(&self, now_ns: u64) -> bool {
        let until = now_ns + IDLE_BEAT.as_nanos() as u64 + PATIENCE_NS;
        self.promises.iter().all(|p| p.load(Ordering::Acquire) > until)
    }

    fn turn(&self, now_ns: u64, late: &mut Option<Late>) {
        let index = self.promises.iter().position(|p| now_ns > p.load(Ordering::Acquire));
        let excused = index.is_none_or(|index| self.starves(index, now_ns, late));
        if index.is_none() {
            *late = None;
        }
        if !excused {
            self.broken.store(index.unwrap_or(NOBODY), Ordering::Release);
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

    /// True as long as thread `index`, which is late, may only be waiting for a processor: it is ready to run, and has
    /// hardly been run.
    fn starves(&self, index: usize, now_ns: u64, late: &mut Option<Late>) -> bool {
        let Some(used_ns) = sys::ready_thread_cpu_ns(self.threads[index].load(Ordering::Relaxed)) else { return false };
        let late = match late {
            Some(late) if late.index == index => late,
            _ => late.insert(Late { index, since_ns: now_ns, used_ns }),
        };
        may_starve(now_ns - late.since_ns, used_ns - late.used_ns)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_gets_no_processor_is_waited_for_but_not_for_ever_and_one_that_spins_is_not() {
        let ms = 1_000_000;
        assert!(may_starve(5 * ms, 5 * ms), "too early to tell");
        assert!(!may_starve(20 * ms, 16 * ms), "it runs, and does not come back");
        assert!(may_starve(20 * ms, 0));
        assert!(may_starve(190 * ms, 20 * ms));
        assert!(!may_starve(200 * ms, 0));
    }
}
