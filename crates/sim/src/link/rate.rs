//! How fast packets leave a queue: constant and stepped rates, traces, and seeded random rates.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::link::freeze::Freezer;
use crate::link::spec::Rate;
use crate::rng::Rng;
use crate::trace::{Trace, SLOT_BYTES};

/// A radio rate as a random process: log-normal around a mean with a memory, outages, and scheduling in bunches.
///
/// The logarithm of the rate is an Ornstein-Uhlenbeck process, advanced every 10 ms; its mean is corrected so that the
/// mean *rate* is `mean_mbps` (before clamping). Slots of 1500 bytes leave at the ends of `bunch_ms` intervals, as a
/// radio scheduler gives them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateModel {
    /// Mean rate, Mbit/s.
    pub mean_mbps: f64,
    /// Standard deviation of ln(rate): 0.3 swings gently, 0.8 tenfold.
    pub sigma: f64,
    /// Correlation time.
    pub memory_ms: f64,
    /// Never below.
    pub min_mbps: f64,
    /// Never above.
    pub max_mbps: f64,
    /// Scheduling interval: slots leave together at its end.
    pub bunch_ms: f64,
    /// Mean time between outages; absent: none.
    #[serde(default)]
    pub outage_every_ms: Option<f64>,
    /// Mean length of an outage.
    #[serde(default)]
    pub outage_ms: f64,
}

impl RateModel {
    pub(super) fn check(&self) -> Result<(), String> {
        let ok = self.mean_mbps > 0.0
            && self.sigma >= 0.0
            && self.memory_ms > 0.0
            && self.min_mbps > 0.0
            && self.max_mbps >= self.min_mbps
            && self.bunch_ms > 0.0
            && self.outage_every_ms.is_none_or(|e| e > 0.0 && self.outage_ms > 0.0);
        if ok {
            Ok(())
        } else {
            Err("rate.model needs rates, memory_ms and bunch_ms above 0, sigma at least 0, and max_mbps >= min_mbps".into())
        }
    }
}

const STEP_NS: u64 = 10_000_000;

/// The running state of a [`RateModel`]: slots generated ahead of time, independent of the traffic.
#[derive(Clone, Debug)]
pub struct ModelSlots {
    model: RateModel,
    rng: Rng,
    /// Start of the next step to generate.
    at_ns: u64,
    /// ln(rate) relative to its mean.
    x: f64,
    outage_until_ns: u64,
    next_outage_ns: u64,
    /// Bytes of the unfinished slot.
    part: f64,
    ahead: VecDeque<u64>,
}

impl ModelSlots {
    fn new(model: RateModel, seed: u64) -> ModelSlots {
        let mut rng = Rng::stream(seed, 0x7a7e);
        let x = model.sigma * rng.normal();
        let mut slots = ModelSlots {
            model,
            rng,
            at_ns: 0,
            x,
            outage_until_ns: 0,
            next_outage_ns: u64::MAX,
            part: 0.0,
            ahead: VecDeque::new(),
        };
        slots.plan_outage(0);
        slots
    }

    fn plan_outage(&mut self, from_ns: u64) {
        if let Some(every_ms) = self.model.outage_every_ms {
            self.next_outage_ns = from_ns + (self.rng.exponential(every_ms) * 1e6) as u64;
        }
    }

    fn step(&mut self) {
        let m = self.model;
        let decay = (-(STEP_NS as f64) / (m.memory_ms * 1e6)).exp();
        self.x = self.x * decay + m.sigma * (1.0 - decay * decay).sqrt() * self.rng.normal();
        if self.at_ns >= self.next_outage_ns {
            let length_ns = (self.rng.exponential(m.outage_ms) * 1e6) as u64;
            self.outage_until_ns = self.at_ns + length_ns;
            self.plan_outage(self.outage_until_ns);
        }
        let mut mbps = (m.mean_mbps * (self.x - m.sigma * m.sigma / 2.0).exp()).clamp(m.min_mbps, m.max_mbps);
        if self.at_ns < self.outage_until_ns {
            mbps = 0.0;
        }
        let bytes = mbps * STEP_NS as f64 / 8e3;
        let slot = f64::from(SLOT_BYTES);
        let mut need = slot - self.part;
        let bunch_ns = (m.bunch_ms * 1e6) as u64;
        while need <= bytes {
            let at = self.at_ns + (need / bytes * STEP_NS as f64) as u64;
            self.ahead.push_back(at.div_ceil(bunch_ns) * bunch_ns);
            need += slot;
        }
        self.part = bytes - (need - slot);
        self.at_ns += STEP_NS;
    }

    fn first_after(&mut self, t_ns: u64) -> u64 {
        while self.ahead.back().is_none_or(|&last| last <= t_ns) {
            self.step();
        }
        self.ahead[self.ahead.partition_point(|&s| s <= t_ns)]
    }
}

/// The server behind a queue.
#[derive(Clone, Debug)]
pub(super) enum Server {
    /// Packets pass at once.
    Unlimited,
    /// Bits leave at a rate that is constant between steps: (from ns, bytes per ns).
    Steps(Vec<(u64, f64)>),
    /// Slots of 1500 bytes from a trace, which started `offset` ago; `next` is the next unused slot.
    Trace { trace: Trace, offset_ns: u64, next: u64 },
    /// Slots of 1500 bytes from a random process.
    Model(Box<ModelSlots>),
}

impl Server {
    pub(super) fn new(rate: &Rate, trace: Option<&Trace>, seed: u64) -> Server {
        let trace_from = |offset_ms: f64| {
            let trace = trace.expect("the plan loaded the trace").clone();
            let offset_ns = (offset_ms * 1e6) as u64;
            let next = if offset_ns == 0 { 0 } else { trace.first_after(offset_ns - 1) };
            Server::Trace { trace, offset_ns, next }
        };
        let per_ns = |mbps: f64| mbps / 8e3;
        match rate {
            Rate::Unlimited => Server::Unlimited,
            Rate::Mbps(mbps) => Server::Steps(vec![(0, per_ns(*mbps))]),
            Rate::Steps(steps) => {
                Server::Steps(steps.iter().map(|&(ms, mbps)| ((ms * 1e6) as u64, per_ns(mbps))).collect())
            }
            Rate::Trace { offset_ms, .. } => trace_from(*offset_ms),
            Rate::Slots(_) => trace_from(0.0),
            Rate::Model(model) => Server::Model(Box::new(ModelSlots::new(*model, seed))),
        }
    }

    /// True if packets leave in slots, false if they are serialised.
    pub(super) fn is_slotted(&self) -> bool {
        matches!(self, Server::Trace { .. } | Server::Model(_))
    }

    /// Slots up to and including `t_ns` are gone unused.
    pub(super) fn skip_past(&mut self, t_ns: u64) {
        match self {
            Server::Trace { trace, offset_ns, next } => {
                if trace.time_ns(*next) <= t_ns + *offset_ns {
                    *next = trace.first_after(t_ns + *offset_ns);
                }
            }
            Server::Model(m) => {
                m.first_after(t_ns);
                let gone = m.ahead.partition_point(|&s| s <= t_ns);
                m.ahead.drain(..gone);
            }
            _ => {}
        }
    }

    /// The next unused slot outside a freeze; slots within freezes are passed over for good.
    pub(super) fn next_slot(&mut self, freezer: &mut Freezer) -> u64 {
        loop {
            let at = match self {
                Server::Trace { trace, offset_ns, next } => trace.time_ns(*next) - *offset_ns,
                Server::Model(m) => {
                    if m.ahead.is_empty() {
                        m.step();
                        continue;
                    }
                    m.ahead[0]
                }
                _ => unreachable!("only slotted servers have slots"),
            };
            match freezer.thaws_at(at) {
                Some(end) => self.skip_past(end.saturating_sub(1)),
                None => return at,
            }
        }
    }

    /// The slot that `next_slot` returned is used.
    pub(super) fn use_slot(&mut self) {
        match self {
            Server::Trace { next, .. } => *next += 1,
            Server::Model(m) => {
                m.ahead.pop_front();
            }
            _ => {}
        }
    }

    /// When `bytes` that begin at `start_ns` have left, without anything ahead of them.
    pub(super) fn finish(&mut self, start_ns: u64, bytes: u32, freezer: &mut Freezer) -> u64 {
        let mut at = start_ns;
        match self {
            Server::Unlimited => freezer.thaws_at(at).unwrap_or(at),
            Server::Steps(steps) => {
                let mut left = f64::from(bytes);
                loop {
                    if let Some(end) = freezer.thaws_at(at) {
                        at = end;
                    }
                    let k = steps.partition_point(|s| s.0 <= at).max(1) - 1;
                    let until = steps.get(k + 1).map_or(u64::MAX, |s| s.0).min(freezer.next_freeze(at));
                    let need_ns = (left / steps[k].1).ceil() as u64;
                    if at.saturating_add(need_ns) <= until {
                        return at + need_ns;
                    }
                    left -= (until - at) as f64 * steps[k].1;
                    at = until;
                }
            }
            // A packet of up to one slot that finds the queue empty leaves at the first open slot after it came.
            Server::Trace { .. } | Server::Model(_) => loop {
                let slot = match self {
                    Server::Trace { trace, offset_ns, .. } => {
                        trace.time_ns(trace.first_after(at + *offset_ns)) - *offset_ns
                    }
                    Server::Model(m) => m.first_after(at),
                    _ => unreachable!(),
                };
                match freezer.thaws_at(slot) {
                    Some(end) => at = end.saturating_sub(1).max(at),
                    None => return slot,
                }
            },
        }
    }

    /// Bytes that could leave in `(from, to]`, freezes left out. `self` must be as new, or not past `from`.
    pub(super) fn capacity_bytes(&self, from_ns: u64, to_ns: u64, freezer: &Freezer) -> Option<u64> {
        let mut server = self.clone();
        let mut freezer = freezer.clone();
        match &mut server {
            Server::Unlimited => None,
            Server::Steps(steps) => {
                let mut at = from_ns;
                let mut bytes = 0.0;
                while at < to_ns {
                    if let Some(end) = freezer.thaws_at(at) {
                        at = end.min(to_ns);
                        continue;
                    }
                    let k = steps.partition_point(|s| s.0 <= at).max(1) - 1;
                    let until = steps.get(k + 1).map_or(u64::MAX, |s| s.0).min(freezer.next_freeze(at)).min(to_ns);
                    bytes += (until - at) as f64 * steps[k].1;
                    at = until;
                }
                Some(bytes as u64)
            }
            _ => {
                server.skip_past(from_ns);
                let mut slots = 0;
                while server.next_slot(&mut freezer) <= to_ns {
                    server.use_slot();
                    slots += 1;
                }
                Some(slots * u64::from(SLOT_BYTES))
            }
        }
    }
}
