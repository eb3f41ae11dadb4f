//! A running wire, as whoever opened it sees it.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use smartwire_engine::{Config, Engine, FlowInfo, SubscriberInfo};
use smartwire_io::sys::Wake;
use smartwire_io::IoError;

use crate::events::EventRing;
use crate::foreign::Foreign;
use crate::house::{House, EXTRA};
use crate::journal::Journal;
use crate::open::{self, About, Opened};
use crate::options::Options;
use crate::page::Page;
use crate::pulse::Pulse;
use crate::seat::{Ask, Order, Published, Seat};
use crate::single::Single;
use crate::tap::{Capture, Captured, Select};

/// How long an answer may take before the wire is said to hang.
const ANSWER: Duration = Duration::from_secs(5);

/// How to reach one engine.
struct Desk {
    asks: Sender<Ask>,
    wake: Arc<Wake>,
    published: Arc<Published>,
}

/// A running wire. Dropping it stops it.
pub struct Wire {
    about: About,
    desks: Vec<Desk>,
    stop: Arc<AtomicBool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    failed: Arc<Mutex<Option<String>>>,
    news: Arc<Mutex<Vec<String>>>,
    capture: Mutex<Option<Capture>>,
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
        let Opened { driver, steer, about, .. } = opened;
        let news = Arc::new(Mutex::new(Vec::new()));
        let page = Page::create(&options.stats, about.ports.len(), &EXTRA)?;
        let events = Arc::new(Mutex::new(EventRing::create(&options.events)?));
        let wake = Arc::new(Wake::new()?);
        let (asks, from_outside) = mpsc::channel();
        let published = Arc::new(Published::default());
        let (config, seed) = (engine_config(options, &about), options.seed.unwrap_or_else(fresh_seed));
        let journal = match &options.journal {
            Some(path) => {
                let keepable = driver.frames.budget().1;
                Some(Journal::create(path, &config, seed, driver.frames.chunk(), keepable, news.clone())?)
            }
            None => None,
        };
        let engine = Engine::new(config, seed).map_err(|e| IoError::new(e.to_string()))?;
        let foreign = Foreign::new(steer.clone());
        let seat = Seat::new(engine, from_outside, events, published.clone(), foreign, journal);
        let house = House::new(page, steer.clone(), vec![published.clone()], about.ports.clone(), news.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let pulse = Pulse::start(steer.heartbeat().clone(), 1)?;
        let promise = pulse.promise(0);
        let single =
            Single { driver, seat, house, pulse, promise, steer, wake: wake.clone(), stop: stop.clone() };
        let failed = Arc::new(Mutex::new(None));
        let thread = spawn("wire", failed.clone(), move || single.run())?;
        let desks = vec![Desk { asks, wake, published }];
        Ok(Wire { about, desks, stop, threads: Mutex::new(vec![thread]), failed, news, capture: Mutex::new(None) })
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
        self.desks.iter().for_each(|d| d.wake.wake());
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

fn engine_config(options: &Options, about: &About) -> Config {
    Config {
        max_segments: about.frames.max(16),
        mtu: about.mtu.clamp(576, 9216) as u16,
        ..options.engine.clone()
    }
}

/// A number that nobody else knows: the seed of the flow tables' hash.
fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Starts a thread whose error or panic becomes the wire's sentence.
pub(crate) fn spawn(
    name: &str,
    failed: Arc<Mutex<Option<String>>>,
    body: impl FnOnce() -> Result<(), IoError> + Send + 'static,
) -> Result<JoinHandle<()>, IoError> {
    let run = move || {
        let sentence = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => return,
            Ok(Err(e)) => e.to_string(),
            Err(panic) => {
                let what = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                format!("The wire stopped because of a bug ({what}); the copper wire forwards on. Please report it.")
            }
        };
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(sentence);
    };
    thread::Builder::new().name(name.into()).spawn(run).map_err(|e| IoError::os("start a thread", e))
}
