//! Putting a wire's threads together: one that does everything, or one for the ports and one per engine.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use smartwire_engine::{Config, Engine};
use smartwire_io::frames::Frames;
use smartwire_io::steer::Steer;
use smartwire_io::sys::Wake;
use smartwire_io::{spsc, IoError};

use crate::events::EventRing;
use crate::foreign::Foreign;
use crate::hand::{Hand, SPARES};
use crate::house::{House, EXTRA};
use crate::journal::Journal;
use crate::open::Opened;
use crate::options::Options;
use crate::page::Page;
use crate::passing::Passing;
use crate::pulse::{Promise, Pulse};
use crate::policies::Ruling;
use crate::seat::{Ask, Published, Seat};
use crate::single::Single;
use crate::spread::{Bell, Lane, Spreader, Worker, QUEUE};
use crate::wire::{Desk, Wire};

/// The stack of an engine's thread.
const STACK: usize = 8 << 20;

/// What every wire needs, made before its threads.
pub(crate) struct Made {
    pub news: Arc<Mutex<Vec<String>>>,
    page: Option<Page>,
    events: Arc<Mutex<EventRing>>,
    config: Config,
    seed: u64,
    journal: Option<PathBuf>,
    policies: Option<Ruling>,
    steer: Arc<Steer>,
    chunk: usize,
    dropped: Arc<AtomicU64>,
    stalls: Arc<AtomicU64>,
}

impl Made {
    pub(crate) fn new(options: &Options, opened: &Opened, workers: usize) -> Result<Made, IoError> {
        let config = Config {
            max_segments: opened.about.frames.max(16),
            mtu: opened.about.mtu.clamp(576, 9216) as u16,
            ..options.engine.clone()
        };
        Ok(Made {
            news: Arc::new(Mutex::new(Vec::new())),
            page: Some(Page::create(&options.stats, opened.about.ports.len(), workers, &EXTRA)?),
            events: Arc::new(Mutex::new(EventRing::create(&options.events)?)),
            config,
            seed: options.seed.unwrap_or_else(fresh_seed),
            journal: options.journal.clone(),
            policies: options.policies.clone(),
            steer: opened.steer.clone(),
            chunk: opened.about.frame_bytes,
            dropped: Arc::new(AtomicU64::new(0)),
            stalls: Arc::new(AtomicU64::new(0)),
        })
    }

    /// One thread for everything.
    pub(crate) fn single(&mut self, wire: &mut Wire, opened: Opened) -> Result<(), IoError> {
        let wake = Arc::new(Wake::new()?);
        let (seat, desk) = self.seat(0, opened.driver.frames.budget().1, wake.clone())?;
        let house = self.house(wire, vec![desk.published.clone()])?;
        let passing = Passing::new(self.steer.clone(), self.config.observe);
        let pulse = Pulse::start(self.steer.heartbeat().clone(), 1, wake.clone(), self.stalls.clone())?;
        let promise = pulse.promise(0);
        let (steer, stop) = (self.steer.clone(), wire.stop.clone());
        let single = Single { driver: opened.driver, seat, house, pulse, promise, steer, wake, stop, passing };
        wire.desks.push(desk);
        wire.keep(spawn("wire", wire.failed.clone(), move || single.run())?);
        Ok(())
    }

    /// One thread for the ports and one for each of `count` engines.
    pub(crate) fn spread(&mut self, wire: &mut Wire, opened: Opened, count: usize) -> Result<(), IoError> {
        let driver = opened.driver;
        let most = driver.frames.budget().1.saturating_sub((SPARES * count) as u32) / count as u32;
        if most == 0 {
            return Err(IoError::new(format!("There are too few frames for {count} workers; give more with --frames.")));
        }
        // The engines are made before anything beats: that may take long.
        let (io_bell, end) = (Arc::new(Bell::new()?), Arc::new(AtomicBool::new(false)));
        let (mut lanes, mut workers) = (Vec::new(), Vec::new());
        for index in 0..count {
            let bell = Arc::new(Bell::new()?);
            let (seat, desk) = self.seat(index, most, bell.wake.clone())?;
            let ((to, inbox), (outbox, from)) = (spsc::queue(QUEUE), spsc::queue(QUEUE));
            let frames = Frames::empty(driver.frames.region().clone(), most);
            let hand = Hand::new(frames, inbox, outbox, self.steer.custody().clone(), self.dropped.clone());
            lanes.push(Lane { to, from, bell: bell.clone(), asks: desk.asks.clone(), wants: 0, owed: Vec::new() });
            workers.push((hand, seat, bell));
            wire.desks.push(desk);
        }
        let house = self.house(wire, wire.desks.iter().map(|d| d.published.clone()).collect())?;
        let pulse = Pulse::start(self.steer.heartbeat().clone(), count + 1, io_bell.wake.clone(), self.stalls.clone())?;
        let promises: Vec<Promise> = (0..=count).map(|i| pulse.promise(i)).collect();
        let spreader = Spreader {
            driver,
            lanes,
            house,
            promise: promises[0].clone(),
            pulse,
            passing: Passing::new(self.steer.clone(), false),
            steer: self.steer.clone(),
            bell: io_bell.clone(),
            stop: wire.stop.clone(),
            end: end.clone(),
            subscriber_v6_prefix: self.config.subscriber_v6_prefix,
            subscriber_by_vlan: self.config.subscriber_by_vlan,
            dropped: self.dropped.clone(),
        };
        wire.wakes.push(io_bell.wake.clone());
        wire.keep(spawn("ports", wire.failed.clone(), move || spreader.run())?);
        for (index, (hand, seat, bell)) in workers.into_iter().enumerate() {
            let promise = promises[index + 1].clone();
            let worker = Worker { hand, seat, promise, bell, io_bell: io_bell.clone(), end: end.clone() };
            wire.keep(spawn(&format!("engine-{index}"), wire.failed.clone(), move || worker.run())?);
        }
        Ok(())
    }

    fn seat(&self, index: usize, keepable: u32, wake: Arc<Wake>) -> Result<(Seat, Desk), IoError> {
        let seed = self.seed.wrapping_add(index as u64);
        let journal = match &self.journal {
            Some(path) => {
                let path = if index == 0 { path.clone() } else { numbered(path, index) };
                Some(Journal::create(&path, &self.config, seed, self.chunk, keepable, self.news.clone())?)
            }
            None => None,
        };
        let engine = Engine::new(self.config.clone(), seed).map_err(|e| IoError::new(e.to_string()))?;
        let (asks, from_outside) = mpsc::channel();
        if let Some(ruling) = &self.policies {
            // The first thing that it hears, before any frame; the answer is for nobody.
            let (reply, _) = mpsc::sync_channel(1);
            let _ = asks.send(Ask::Policies(ruling.text.clone(), ruling.fresh(), reply));
        }
        let published = Arc::new(Published::default());
        let foreign = Foreign::new(self.steer.clone());
        let seat = Seat::new(engine, from_outside, self.events.clone(), published.clone(), foreign, journal, self.config.observe);
        Ok((seat, Desk { asks, wake, published }))
    }

    fn house(&mut self, wire: &Wire, engines: Vec<Arc<Published>>) -> Result<House, IoError> {
        let page = self.page.take().ok_or_else(|| IoError::new("The stats page was taken twice; this is a bug."))?;
        let names = wire.about().ports.clone();
        House::new(page, self.steer.clone(), engines, names, self.news.clone(), self.dropped.clone(), self.stalls.clone())
    }
}

/// The journal of a further engine: FILE-1, FILE-2, ...
fn numbered(path: &std::path::Path, index: usize) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!("-{index}"));
    PathBuf::from(name)
}

/// A number that nobody else knows: the seed of the flow tables' hash.
fn fresh_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Starts a thread whose error or panic becomes the wire's sentence.
fn spawn(
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
    thread::Builder::new()
        .name(name.into())
        .stack_size(STACK)
        .spawn(run)
        .map_err(|e| IoError::os("start a thread", e))
}
