//! The engine in the world: batches in, frames and events out, both taps checked.

use std::sync::Arc;

use smartwire_engine::policy::{Description, Policies, Table};
use smartwire_engine::{Command, Csum, Engine, Event, Now, Port, Rx, Side};

use super::io::SimIo;
use super::spec::EngineSpec;
use crate::check::Checker;

/// An engine with its frames and the checkers at its taps.
pub struct Optimizer {
    /// The engine.
    pub engine: Engine,
    /// Its frames.
    pub io: SimIo,
    /// The checkers.
    pub checker: Checker,
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

impl Optimizer {
    /// An engine at its start; the error is one sentence.
    pub fn new(spec: &EngineSpec, seed: u64) -> Result<Optimizer, String> {
        let engine = Engine::new(spec.config.clone(), seed).map_err(|e| e.to_string())?;
        let mut io = SimIo::new(spec.frames.0, spec.frames.1);
        io.limit_book(spec.book);
        let mut made = Optimizer { engine, io, checker: Checker::default(), events: Vec::new(), lost: 0, strict: true };
        made.policies(0, &spec.policies)?;
        Ok(made)
    }

    /// From now on the checkers only count: what comes in need not make sense.
    pub fn trust(&mut self) {
        self.strict = false;
    }

    /// Frames come in from a side at one instant. Returns what leaves, or what is broken.
    pub fn frames(&mut self, now: u64, side: Side, frames: &[Vec<u8>]) -> Result<Vec<(Side, Vec<u8>)>, String> {
        let mut batch = Vec::with_capacity(frames.len());
        for frame in frames {
            let Some(id) = self.io.receive(frame) else {
                self.lost += 1;
                continue;
            };
            self.checker.on_in(now, side, frame);
            let (off, len) = (0, frame.len() as u16);
            batch.push(Rx { frame: id, off, len, port: port(side), csum: Csum::Unverified });
        }
        self.engine.on_rx(Now(now), &batch, &mut self.io);
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
        self.checker.allow(table.shapes(), table.clamps());
        self.engine.set_policies(Now(now), &mut Policies::new(Arc::new(table)), &mut self.io);
        self.time(now)
    }

    /// Carries out an order.
    pub fn order(&mut self, now: u64, command: Command) -> Result<Vec<(Side, Vec<u8>)>, String> {
        self.engine.command(Now(now), command, &mut self.io);
        self.time(now)
    }

    fn finish(&mut self, now: u64) -> Result<Vec<(Side, Vec<u8>)>, String> {
        while let Some(event) = self.engine.poll_event() {
            self.checker.on_event(&event);
            self.events.push(event);
        }
        let sent = self.io.end_batch();
        let mut out = Vec::with_capacity(sent.len());
        for (port, frame) in sent {
            let verdict = self.checker.on_out(now, port.side(), &frame);
            if self.strict {
                verdict?;
            }
            out.push((port.side(), frame));
        }
        let verdict = self.checker.end_batch(self.io.book());
        if self.strict {
            verdict?;
        }
        Ok(out)
    }
}
