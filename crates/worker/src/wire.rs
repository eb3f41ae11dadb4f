//! A running wire, as whoever opened it sees it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use smartwire_engine::{FlowInfo, SubscriberInfo};
use smartwire_io::sys::Wake;
use smartwire_io::IoError;

use crate::make::Made;
use crate::open::{self, About, Opened};
use crate::options::Options;
use crate::policies::Ruling;
use crate::seat::{Ask, Order, Published};
use crate::tap::{Capture, Captured, Select};

/// Workers at most.
const MOST_WORKERS: usize = 64;
/// How long an answer may take before the wire is said to hang.
const ANSWER: Duration = Duration::from_secs(5);

/// How to reach one engine.
pub(crate) struct Desk {
    pub asks: Sender<Ask>,
    pub wake: Arc<Wake>,
    pub published: Arc<Published>,
}

/// A running wire. Dropping it stops it.
pub struct Wire {
    about: About,
    pub(crate) desks: Vec<Desk>,
    /// Of threads that have no desk.
    pub(crate) wakes: Vec<Arc<Wake>>,
    pub(crate) stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) failed: Arc<Mutex<Option<String>>>,
    news: Arc<Mutex<Vec<String>>>,
    capture: Mutex<Option<Capture>>,
    policies: Mutex<Ruling>,
    listening: bool,
}

impl Wire {
    /// Joins the interfaces into a wire; frames flow when it returns.
    ///
    /// # Errors
    /// One sentence with the fix; nothing is left half done.
    pub fn open(options: &Options) -> Result<Wire, IoError> {
        let opened = open::open(options)?;
        let copper = opened.copper;
        Wire::start(options, opened).inspect_err(|_| open::undo(&options.pairs, copper))
    }

    fn start(options: &Options, opened: Opened) -> Result<Wire, IoError> {
        let count = if options.engine.observe { 1 } else { options.workers.clamp(1, MOST_WORKERS) };
        let mut made = Made::new(options, &opened, count)?;
        let mut wire = Wire {
            about: opened.about.clone(),
            desks: Vec::new(),
            wakes: Vec::new(),
            stop: Arc::new(AtomicBool::new(false)),
            threads: Mutex::new(Vec::new()),
            failed: Arc::new(Mutex::new(None)),
            news: made.news.clone(),
            capture: Mutex::new(None),
            policies: Mutex::new(options.policies.clone().unwrap_or_else(Ruling::none)),
            listening: options.engine.observe,
        };
        // A wire that is dropped half made stops what runs.
        if count == 1 {
            made.single(&mut wire, opened)?;
        } else {
            made.spread(&mut wire, opened, count)?;
        }
        Ok(wire)
    }

    /// What was chosen.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Carries out an order; returns how many flows it concerned.
    ///
    /// # Errors
    /// The wire has stopped, or hangs.
    pub fn order(&self, order: Order) -> Result<u32, IoError> {
        Ok(self.ask(|reply| Ask::Order(order, reply))?.into_iter().sum())
    }

    /// All flows, at most [`crate::seat::MOST_ROWS`] per worker.
    ///
    /// # Errors
    /// As [`Wire::order`].
    pub fn flows(&self) -> Result<Vec<FlowInfo>, IoError> {
        Ok(self.ask(Ask::Flows)?.concat())
    }

    /// All subscribers, at most [`crate::seat::MOST_ROWS`] per worker.
    ///
    /// # Errors
    /// As [`Wire::order`].
    pub fn subscribers(&self) -> Result<Vec<SubscriberInfo>, IoError> {
        Ok(self.ask(Ask::Subscribers)?.concat())
    }

    /// Puts other policies in force in all engines, each between two batches.
    ///
    /// # Errors
    /// As [`Wire::order`].
    pub fn set_policies(&self, ruling: &Ruling) -> Result<(), IoError> {
        let mut here = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        self.ask(|reply| Ask::Policies(ruling.text.clone(), ruling.fresh(), reply))?;
        *here = ruling.clone();
        Ok(())
    }

    /// The policies in force, each with the connections for which it decided; and the classes, with theirs.
    ///
    /// # Errors
    /// As [`Wire::order`].
    pub fn policies(&self) -> Result<[Vec<(String, u64)>; 2], IoError> {
        let here = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sums = here.names().map(|names| names.into_iter().map(|name| (name, 0)).collect::<Vec<_>>());
        for counts in self.ask(Ask::Hits)? {
            for (sum, counts) in sums.iter_mut().zip(counts) {
                sum.iter_mut().zip(counts).for_each(|((_, all), count)| *all += count);
            }
        }
        Ok(sums)
    }

    /// True when nothing is optimized any more.
    pub fn drained(&self) -> bool {
        self.desks.iter().all(|d| d.published.drained())
    }

    /// Why the wire stopped by itself, if it did. The copper wire forwards then.
    pub fn failed(&self) -> Option<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What an operator should hear since the last call: ports that went down or came back.
    pub fn news(&self) -> Vec<String> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Opens the copper wire and closes the ports. Drain first, or what is in custody is reset by the copper wire.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.desks.iter().map(|d| &d.wake).chain(&self.wakes).for_each(|w| w.wake());
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // A panic has been noted by the thread itself.
            let _ = thread.join();
        }
    }

    /// Captures what is selected to `path` (pcapng, an interface per port with directions) until
    /// [`Wire::capture_end`]: at most `snap` bytes of each frame, at most `most` frames.
    ///
    /// # Errors
    /// The file can't be written, or a capture is running.
    pub fn capture(&self, path: &Path, select: Select, snap: usize, most: u64) -> Result<(), IoError> {
        let mut running = self.capture.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return Err(IoError::new("A capture of this wire is running already: end it first."));
        }
        if self.listening {
            let port = self.about.ports.first().map_or("PORT", String::as_str);
            return Err(IoError::new(format!(
                "This wire only observes, so its packets stay in the kernel: capture them there with `tcpdump -i {port}`."
            )));
        }
        let capture = running.insert(Capture::create(path, &self.about.ports, select, snap, most)?);
        self.ask(|reply| Ask::Tap(capture.tap(), reply)).map(|_| ())
    }

    /// How far the running capture is; `None`: there is none.
    pub fn captured(&self) -> Option<Captured> {
        self.capture.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Capture::captured)
    }

    /// Ends the capture; the file is complete when it returns.
    pub fn capture_end(&self) -> Option<Captured> {
        let capture = self.capture.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        // A wire that has stopped has no taps left.
        let _ = self.ask(|reply| Ask::Tap(None, reply));
        Some(capture.captured())
    }

    /// Takes a thread that ends when the wire stops.
    pub(crate) fn keep(&self, thread: JoinHandle<()>) {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
    }

    fn ask<T>(&self, make: impl Fn(SyncSender<T>) -> Ask) -> Result<Vec<T>, IoError> {
        let gone = || IoError::new(self.failed().unwrap_or_else(|| "The wire has stopped.".into()));
        let mut answers: Vec<Receiver<T>> = Vec::with_capacity(self.desks.len());
        for desk in &self.desks {
            let (reply, answer) = mpsc::sync_channel(1);
            desk.asks.send(make(reply)).map_err(|_| gone())?;
            desk.wake.wake();
            answers.push(answer);
        }
        answers.into_iter().map(|a| a.recv_timeout(ANSWER).map_err(|_| gone())).collect()
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop();
    }
}
