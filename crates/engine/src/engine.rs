//! The engine: what a driver calls.

use crate::api::{Command, Event, FlowKey, Io, Now, Rx, SubscriberKey};
use crate::config::{Config, ConfigError};
use crate::events::Events;
use crate::stats::Stats;

/// The optimizer of one worker. Allocates everything in [`Engine::new`]; `now` must never go back.
pub struct Engine {
    cfg: Config,
    stats: Stats,
    events: Events,
}

/// What a flow is doing, for people who look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Handshake seen in part.
    Observe,
    /// Acknowledging and delivering.
    Optimize,
    /// Delivering custody, acknowledging nothing early.
    Drain,
}

/// A snapshot of one flow. Index 0 of a pair is the stream *from* the access side, 1 from the core side.
#[derive(Clone, Copy, Debug)]
pub struct FlowInfo {
    /// Who.
    pub key: FlowKey,
    /// What it is doing.
    pub mode: Mode,
    /// Bytes acknowledged to the sender and not by the receiver, per stream.
    pub custody: [u64; 2],
    /// Bytes sent and not acknowledged, per stream.
    pub in_flight: [u64; 2],
    /// Payload bytes acknowledged by the receiver since the handshake, per stream.
    pub delivered: [u64; 2],
    /// Smoothed round-trip time towards the receiver, ns; 0 unknown; per stream.
    pub srtt_ns: [u64; 2],
    /// Congestion window, bytes, per stream; 0 while idle.
    pub cwnd: [u64; 2],
}

/// A snapshot of one subscriber.
#[derive(Clone, Copy, Debug)]
pub struct SubscriberInfo {
    /// Who.
    pub key: SubscriberKey,
    /// Flows optimized.
    pub flows: u32,
    /// Bytes in flight towards it.
    pub in_flight: u64,
    /// Bytes that may be in flight.
    pub budget: u64,
    /// Delivery rate, bytes per second.
    pub rate: u64,
    /// Smallest recent round-trip time of the radio side, ns.
    pub min_rtt_ns: u64,
    /// Latest round-trip time, ns.
    pub rtt_ns: u64,
}

impl Engine {
    /// Allocates an engine with all that it will ever use.
    ///
    /// # Errors
    /// One sentence that says which setting to change.
    pub fn new(cfg: Config, seed: u64) -> Result<Engine, ConfigError> {
        cfg.check()?;
        let _ = seed;
        Ok(Engine { cfg, stats: Stats::default(), events: Events::new(8192) })
    }

    /// Takes a batch of received frames. All of them belong to the engine afterwards.
    pub fn on_rx<I: Io>(&mut self, now: Now, rx: &[Rx], io: &mut I) {
        let _ = now;
        for frame in rx {
            self.stats.frames_in += 1;
            self.stats.bytes_in += u64::from(frame.len);
            self.stats.forwarded += 1;
            io.send(frame.port.peer(), frame.frame, frame.off, frame.len);
            io.release(frame.frame);
        }
    }

    /// Runs whatever is due. Call it when [`Engine::next_deadline`] has come, and after each batch.
    pub fn on_time<I: Io>(&mut self, now: Now, io: &mut I) {
        let _ = (now, io);
    }

    /// When [`Engine::on_time`] must be called next; `None`: nothing is pending.
    pub fn next_deadline(&self) -> Option<Now> {
        None
    }

    /// Carries out an order; returns how many flows it concerned.
    pub fn command<I: Io>(&mut self, now: Now, command: Command, io: &mut I) -> u32 {
        let _ = (now, command, io);
        0
    }

    /// The oldest event not read yet.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.cfg
    }

    /// Traffic of a subscriber that passed beside the engine since the last call, in bytes: it fills the same radio
    /// queue.
    pub fn foreign_traffic(&mut self, now: Now, who: SubscriberKey, down_bytes: u64, up_bytes: u64) {
        let _ = (now, who, down_bytes, up_bytes);
    }

    /// The copper wire forwarded packets behind the engine's back: nothing it knows is certain any more. Flows without
    /// custody are let go, the others are reset both ways.
    pub fn wire_opened<I: Io>(&mut self, now: Now, io: &mut I) {
        let _ = (now, io);
        self.stats.wire_opened += 1;
    }

    /// True when no flow is optimized any more: the process may leave.
    pub fn drained(&self) -> bool {
        true
    }

    /// All flows, in no particular order.
    pub fn flows(&self) -> impl Iterator<Item = FlowInfo> + '_ {
        std::iter::empty()
    }

    /// All subscribers, in no particular order.
    pub fn subscribers(&self) -> impl Iterator<Item = SubscriberInfo> + '_ {
        std::iter::empty()
    }
}
