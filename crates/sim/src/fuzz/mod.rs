//! Random worlds by the thousand: runs the worlds of many seeds on all cores, makes the first of each kind of failure as
//! small as it gets, and writes it down so that it can be run again.
//!
//! ```text
//!   mod      one world, with its verdict; many of them
//!   shrink   the smallest world that still fails in the same way
//!   file     a failure as a file, and back
//! ```

pub mod file;
pub mod shrink;

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::faults;
use crate::world::WorldSpec;

/// Which worlds to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The first seed.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Threads.
    pub jobs: usize,
    /// No new world begins after this.
    pub limit: Option<Duration>,
    /// How many worlds may be run to make one failure smaller.
    pub shrink_runs: u32,
}

/// A world that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What went wrong.
    pub what: String,
    /// The smallest world that goes wrong in the same way; the first of its kind only.
    pub world: Option<WorldSpec>,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// How many worlds were run.
    pub ran: u64,
    /// Virtual time that passed in them, ns.
    pub virtual_ns: u64,
    /// Those that went wrong, by seed.
    pub failures: Vec<Failure>,
}

/// More failures than this are not waited for.
const ENOUGH: usize = 20;

/// Runs one world to its end; returns how much virtual time that took, ns.
///
/// # Errors
/// What went wrong: a connection that has not ended as it should, a broken invariant, a wrong byte, a panic.
pub fn verdict(spec: &WorldSpec) -> Result<u64, String> {
    match catch_unwind(AssertUnwindSafe(|| faults::run(spec.clone()))) {
        Ok(end) => end.map(|world| world.now()),
        Err(payload) => {
            let text = payload.downcast_ref::<String>().cloned();
            Err(text.or(payload.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or("a panic".into()))
        }
    }
}

/// What kind of failure this is: its first line, without numbers and without what stands in front.
pub fn kind(what: &str) -> String {
    let line = what.lines().next().unwrap_or_default();
    let line = line.strip_prefix("seed ").and_then(|l| l.split_once(": ")).map_or(line, |(_, rest)| rest);
    let words: String = line.chars().filter(|c| !c.is_ascii_digit()).take(48).collect();
    words.trim().to_string()
}

/// Runs the worlds of a plan. `progress` hears how many were run and how many failed, and stops everything by `false`.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(u64, usize) -> bool) -> Outcome {
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (tell, told) = mpsc::channel::<(u64, Result<u64, String>)>();
    let work = |tell: mpsc::Sender<_>| {
        while !stop.load(Ordering::Relaxed) && plan.limit.is_none_or(|limit| began.elapsed() < limit) {
            let k = next.fetch_add(1, Ordering::Relaxed);
            if k >= plan.seeds {
                break;
            }
            let seed = plan.from + k;
            if tell.send((seed, verdict(&faults::world(seed)))).is_err() {
                break;
            }
        }
    };
    let mut outcome = Outcome::default();
    thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let tell = tell.clone();
            scope.spawn(|| work(tell));
        }
        drop(tell);
        for (seed, end) in told {
            outcome.ran += 1;
            match end {
                Ok(ns) => outcome.virtual_ns += ns,
                Err(what) => outcome.failures.push(Failure { seed, what, world: None }),
            }
            if !progress(outcome.ran, outcome.failures.len()) || outcome.failures.len() >= ENOUGH {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    outcome.failures.sort_by_key(|f| f.seed);
    let mut known: Vec<String> = Vec::new();
    for failure in &mut outcome.failures {
        let kind = kind(&failure.what);
        if !known.contains(&kind) {
            let (world, what) = shrink::shrink(&faults::world(failure.seed), &failure.what, plan.shrink_runs);
            (failure.world, failure.what) = (Some(world), what);
            known.push(kind);
        }
    }
    outcome
}
