//! The engine in the world: batches in, frames and events out, both taps checked.
//!
//! In a world with tunnels the fourth byte of both MAC addresses of a frame says in which of them it travels: as links
//! carry frames without tunnels, and whoever sends a frame in the name of an endpoint uses its MAC addresses, a frame that
//! leaves in another connection's tunnel is noticed.

use std::collections::HashMap;

use std::sync::Arc;

use smartwire_engine::policy::{Description, Policies, Table};
use smartwire_engine::{Command, Csum, Engine, Event, Now, Port, Rx, Side};

use super::io::SimIo;
use super::spec::EngineSpec;
use crate::check::{Checker, Share};
use crate::tunnel::Tunnel;

/// The byte of a MAC address that says in which tunnel of a world a frame travels.
pub(super) const TUNNEL_BYTE: usize = 3;

/// An engine with its frames and the checkers at its taps.
pub struct Optimizer {
    /// The engine.
    pub engine: Engine,
    /// Its frames.
    pub io: SimIo,
    /// What frames travel in; the first is none.
    tunnels: Vec<Tunnel>,
    /// The checkers, one per tunnel.
    checkers: Vec<Checker>,
    /// Which tunnel the engine means by a scope.
    scopes: HashMap<u64, usize>,
    /// Events since the last look.
    pub events: Vec<Event>,
    /// Frames lost because no buffer was free.
    pub lost: u64,
    /// Broken invariants are reported.
    strict: bool,
}

impl std::fmt::Debug for Optimizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimizer").field("lost", &self.lost).finish_non_exhaustive()
    }
}

fn port(side: Side) -> Port {
    Port(side as u8)
}

/// In which of so many tunnels a frame travels.
fn place(tunnels: usize, frame: &[u8]) -> usize {
    if tunnels == 1 { 0 } else { usize::from(frame[TUNNEL_BYTE]).min(tunnels - 1) }
}

impl Optimizer {
    /// An engine at its start; the error is one sentence.
    pub fn new(spec: &EngineSpec, seed: u64) -> Result<Optimizer, String> {
        Optimizer::within(spec, seed, vec![Tunnel::default()])
    }

    /// An engine at its start whose frames travel in tunnels.
    pub(super) fn within(spec: &EngineSpec, seed: u64, tunnels: Vec<Tunnel>) -> Result<Optimizer, String> {
        let engine = Engine::new(spec.config.clone(), seed).map_err(|e| e.to_string())?;
        let mut io = SimIo::new(spec.frames.0, spec.frames.1);
        io.limit_book(spec.book);
        let mut checkers: Vec<Checker> = tunnels.iter().map(|_| Checker::default()).collect();
        if spec.frames != EngineSpec::default().frames {
            checkers.iter_mut().for_each(Checker::expect_short_memory);
        }
        let scopes = HashMap::from([(0, 0)]);
        let mut made = Optimizer { engine, io, tunnels, checkers, scopes, events: Vec::new(), lost: 0, strict: true };
        made.policies(0, &spec.policies)?;
        Ok(made)
    }

    /// Payload by treatment.
    pub fn share(&self) -> Share {
        let add = |sum: Share, s: Share| Share { under_custody: sum.under_custody + s.under_custody, beside: sum.beside + s.beside };
        self.checkers.iter().map(Checker::share).fold(Share::default(), add)
    }

    /// From now on the checkers only count: what comes in need not make sense.
    pub fn trust(&mut self) {
        self.strict = false;
    }

    /// Frames come in from a side at one instant. Returns what leaves, or what is broken.
    pub fn frames(&mut self, now: u64, side: Side, frames: &[Vec<u8>]) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let mut out = Vec::new();
        let tunnels = self.tunnels.len();
        for batch in frames.chunk_by(|a, b| place(tunnels, a) == place(tunnels, b)) {
            out.extend(self.batch(now, side, batch)?);
        }
        Ok(out)
    }

    /// Frames of one tunnel come in.
    fn batch(&mut self, now: u64, side: Side, frames: &[Vec<u8>]) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let mut batch = Vec::with_capacity(frames.len());
        let place = frames.first().map_or(0, |f| place(self.tunnels.len(), f));
        for frame in frames {
            let outer = self.tunnels[place].wrap(frame, side as u8);
            let Some(id) = self.io.receive(&outer) else {
                self.lost += 1;
                continue;
            };
            self.checkers[place].on_in(now, side, frame);
            let (off, len) = (0, outer.len() as u16);
            batch.push(Rx { frame: id, off, len, port: port(side), csum: Csum::Unverified });
        }
        self.engine.on_rx(Now(now), &batch, &mut self.io);
        self.tell(place);
        self.time(now)
    }

    /// Whatever is due. Returns what leaves, or what is broken.
    pub fn time(&mut self, now: u64) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let mut rounds = 0;
        while self.engine.next_deadline().is_some_and(|at| at.0 <= now) {
            self.engine.on_time(Now(now), &mut self.io);
            rounds += 1;
            if rounds > 100_000 {
                return Err("the engine's deadline does not move on".into());
            }
        }
        self.finish(now)
    }

    /// Puts other policies in force.
    pub fn policies(&mut self, now: u64, description: &Description) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let table = Table::build(description).map_err(|e| e.to_string())?;
        self.checkers.iter_mut().for_each(|c| c.allow(table.shapes(), table.clamps()));
        self.engine.set_policies(Now(now), &mut Policies::new(Arc::new(table)), &mut self.io);
        self.time(now)
    }

    /// Somebody else takes frames until this share is free, percent.
    pub(crate) fn leave_free(&mut self, percent: u32) {
        self.checkers.iter_mut().for_each(Checker::expect_short_memory);
        self.io.leave_free(percent);
    }

    /// Runs again, after the copper wire was open and held back what belongs to flows in the custody book.
    pub(super) fn wake(&mut self, now: u64) -> Result<Vec<(Side, Vec<u8>)>, String> {
        self.engine.wire_opened(Now(now), true, &mut self.io);
        self.time(now)
    }

    /// Carries out an order.
    pub fn order(&mut self, now: u64, command: Command) -> Result<Vec<(Side, Vec<u8>)>, String> {
        self.engine.command(Now(now), command, &mut self.io);
        self.time(now)
    }

    /// Passes the engine's events on; those of a scope not known yet are about the tunnel of the frames that just came in.
    fn tell(&mut self, place: usize) {
        while let Some(event) = self.engine.poll_event() {
            let place = *self.scopes.entry(event.key.scope).or_insert(place);
            self.checkers[place].on_event(&event);
            self.events.push(event);
        }
    }

    fn finish(&mut self, now: u64) -> Result<Vec<(Side, Vec<u8>)>, String> {
        self.tell(0);
        let sent = self.io.end_batch();
        let mut out = Vec::with_capacity(sent.len());
        for (port, outer) in sent {
            let (side, place) = (port.side(), place(self.tunnels.len(), &outer));
            let frame = self.tunnels[place].unwrap(&outer, side.other() as u8)?;
            let verdict = self.checkers[place].on_out(now, side, &frame);
            if self.strict {
                verdict?;
            }
            out.push((side, frame));
        }
        for checker in &mut self.checkers {
            let verdict = checker.end_batch(self.io.book());
            if self.strict {
                verdict?;
            }
        }
        Ok(out)
    }
}
