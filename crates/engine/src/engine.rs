//! The engine: what a driver calls.

use smartwire_packet::{csum, icmp, proto};

use crate::admit::{Agreed, Handshakes, HsSegment, Step};
use crate::api::{Command, Event, EventKind, FlowKey, Io, Now, Rx, Side, SubscriberKey, Target};
use crate::config::{Config, ConfigError};
use crate::events::Events;
use crate::flow::actives::Actives;
use crate::flow::dead::Dead;
use crate::flow::parsed::{self, Parsed, Segment, What};
use crate::flow::paths::{Answers, Paths};
use crate::flow::record::{Active, Phase, Record, NONE};
use crate::flow::refused::Refused;
use crate::flow::rx::Taken;
use crate::flow::{Cx, Fate, Flow, Memory, Shared};
use crate::policy::Policies;
use crate::reason::{Finding, RefuseReason, StopReason};
use crate::recv::OooPool;
use crate::send::SegPool;
use crate::slab::Slab;
use crate::stats::Stats;
use crate::subscriber::{Next, Subscribers};
use crate::table::{Hasher, Table};
use crate::wheel::Wheel;

mod admission;
mod lifecycle;
mod orders;
mod shaping;
mod sweep;

use shaping::Fared;

/// Frames that are parsed and looked up together before the first of them is run.
const BATCH: usize = 64;
/// So many frames before it is dealt with, a frame's flow is asked for; and what that leads to.
const FAR: usize = 4;
const NEAR: usize = 2;
/// How far ahead in a batch the next segment of the same stream is looked for.
const AHEAD: usize = 8;
/// Orders that bypass a subscriber or a flow, remembered at once.
const ORDERS: usize = 1024;
/// Turns given to one subscriber in a row, a bound on one call.
const TURNS: u32 = 4096;
/// A flow whose both ends have closed is kept for late packets this long, ns.
const LINGER_NS: u64 = 10_000_000_000;

/// The optimizer of one worker. Allocates everything in [`Engine::new`]; `now` must never go back.
pub struct Engine {
    sh: Shared,
    /// All optimized flows, and beside those that have something outstanding their active state.
    records: Slab<Record>,
    actives: Actives,
    hasher: Hasher,
    scope_seed: u64,
    index: Table,
    handshakes: Handshakes,
    answers: Answers,
    refused: Refused,
    dead: Dead,
    /// Timers: of active flows by active handle, of idle ones by record, of pacing by subscriber.
    active_wheel: Wheel,
    idle_wheel: Wheel,
    pace_wheel: Wheel,
    batch: Vec<Parsed>,
    /// Flows came or went since the frames of this batch were looked up.
    changed: bool,
    /// Data of the same stream follows the segment at hand at once: what both set off is done once, after the second, as
    /// by receivers with GRO. And the flow for which that is still to be done.
    joined: bool,
    waiting: Option<u32>,
    bypassed: Vec<Target>,
    /// Walks over all records that are not done yet.
    sweeps: Vec<sweep::Sweep>,
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
        let paths = cfg.max_flows.saturating_mul(2).min(cfg.max_subscribers.saturating_mul(2).saturating_add(1 << 16));
        Ok(Engine {
            records: Slab::new(cfg.max_flows),
            actives: Actives::new(cfg.max_active),
            hasher: Hasher::new(seed),
            scope_seed: seed ^ 0x7363_6f70,
            index: Table::new(cfg.max_flows),
            handshakes: Handshakes::new(cfg.max_half_open, seed),
            answers: Answers::new(cfg.max_half_open),
            refused: Refused::new(cfg.max_half_open.max(1 << 12)),
            dead: Dead::new(cfg.max_half_open.max(1 << 12)),
            active_wheel: Wheel::new(cfg.max_active),
            idle_wheel: Wheel::new(cfg.max_flows),
            pace_wheel: Wheel::new(cfg.max_subscribers),
            batch: Vec::with_capacity(BATCH),
            changed: false,
            joined: false,
            waiting: None,
            bypassed: Vec::with_capacity(ORDERS),
            sweeps: Vec::with_capacity(sweep::SWEEPS),
            sh: Shared {
                stats: Stats::default(),
                events: Events::new(8192),
                pool: SegPool::new(cfg.max_segments),
                ooo: OooPool::new(cfg.max_segments),
                subs: Subscribers::new(&cfg, seed),
                paths: Paths::new(paths),
                scratch: vec![0; 1 << 16],
                ip_id: seed as u16,
                policies: Policies::none(),
                memory: Memory::new(cfg.stream_bytes),
                more: None,
                cfg,
            },
        })
    }

    /// Takes a batch of received frames. All of them belong to the engine afterwards.
    pub fn on_rx<I: Io>(&mut self, now: Now, rx: &[Rx], io: &mut I) {
        self.sh.look(io.frames());
        let mut batch = std::mem::take(&mut self.batch);
        for frames in rx.chunks(BATCH) {
            self.parse(frames, io, &mut batch);
            self.changed = false;
            self.look_up(&mut batch);
            let streams = streams(&batch);
            // What a frame needs is on its way from memory while the ones before it are dealt with.
            for at in 0..batch.len() + FAR {
                batch.get(at).into_iter().for_each(|parsed| self.fetch_state(parsed));
                at.checked_sub(FAR - NEAR).and_then(|i| batch.get(i)).into_iter().for_each(|parsed| self.fetch_more(parsed, io));
                let Some(i) = at.checked_sub(FAR) else { continue };
                let parsed = &batch[i];
                // Does another segment of the same stream follow soon?
                let more = streams[i] != NONE && streams[i + 1..=i + AHEAD].contains(&streams[i]);
                self.sh.more = more.then_some(parsed.rx.port.side() as usize);
                self.joined = streams[i] != NONE && streams[i + 1] == streams[i] && batch[i + 1].has_payload();
                if !self.run(now, parsed, io) {
                    io.release(parsed.rx.frame);
                }
                if let Some(handle) = self.waiting.take_if(|_| !self.joined) {
                    self.after(now, handle, Fate::Live, io);
                }
            }
        }
        self.batch = batch;
        self.gauges();
    }

    /// Runs whatever is due. Call it when [`Engine::next_deadline`] has come, and after each batch.
    pub fn on_time<I: Io>(&mut self, now: Now, io: &mut I) {
        self.sh.look(io.frames());
        self.sweep(now, io);
        while let Some(sub) = self.pace_wheel.pop(now) {
            self.pump_subscriber(now, sub, NONE, io);
        }
        while let Some(handle) = self.active_wheel.pop(now) {
            self.active_timer(now, handle, io);
        }
        while let Some(id) = self.idle_wheel.pop(now) {
            self.idle_timer(now, id, io);
        }
        self.gauges();
    }

    /// When [`Engine::on_time`] must be called next; `None`: nothing is pending.
    pub fn next_deadline(&self) -> Option<Now> {
        if !self.sweeps.is_empty() {
            return Some(Now(0));
        }
        let wheels = [&self.pace_wheel, &self.active_wheel, &self.idle_wheel];
        wheels.into_iter().filter_map(Wheel::next_deadline).min()
    }

    /// The oldest event not read yet.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.sh.events.pop()
    }

    /// Counters and gauges.
    pub fn stats(&self) -> &Stats {
        &self.sh.stats
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.sh.cfg
    }

    /// Traffic of a subscriber that passed beside the engine since the last call, in bytes: it fills the same radio
    /// queue.
    pub fn foreign_traffic(&mut self, now: Now, who: SubscriberKey, down_bytes: u64, up_bytes: u64) {
        self.sh.subs.on_foreign(now, &who, down_bytes, up_bytes);
    }

    /// True when no flow is optimized any more: the process may leave.
    pub fn drained(&self) -> bool {
        self.records.is_empty() && self.sh.subs.datagrams() == 0
    }

    // ---- a batch, stage by stage ---------------------------------------------------------------------------------

    /// Parses the frames and asks for the index lines of their flows.
    fn parse<I: Io>(&mut self, frames: &[Rx], io: &I, batch: &mut Vec<Parsed>) {
        batch.clear();
        for rx in frames {
            self.sh.stats.frames_in += 1;
            self.sh.stats.bytes_in += u64::from(rx.len);
            let bytes = parsed::slice(io.bytes(rx.frame), rx.off, rx.len);
            let parsed = Parsed::new(rx, bytes, &self.hasher, self.scope_seed);
            if parsed.has_key() {
                self.index.prefetch(parsed.hash);
            }
            batch.push(parsed);
        }
        if let Some(rx) = frames.first() {
            self.sh.memory.buffers_of((io.bytes(rx.frame).len() as u32).max(64));
        }
    }

    /// Finds the flows.
    fn look_up(&self, batch: &mut [Parsed]) {
        for parsed in batch.iter_mut().filter(|parsed| parsed.has_key()) {
            parsed.flow = self.index.find(parsed.hash, |_| true);
            parsed.flow.into_iter().for_each(|id| self.records.prefetch(id));
        }
        for parsed in batch.iter_mut() {
            let Some(id) = parsed.flow else { continue };
            if self.records.get(id).is_none_or(|rec| rec.key != parsed.key) {
                // Another flow with the same mark.
                parsed.flow = self.find(parsed.hash, &parsed.key);
            }
        }
    }

    /// Asks for what the record of a frame's flow leads to; for an idle flow that is the place that it will get.
    fn fetch_state(&self, parsed: &Parsed) {
        let Some(rec) = parsed.flow.and_then(|id| self.records.get(id)) else { return };
        let place = if rec.active == NONE { self.actives.upcoming(FAR / 2) } else { Some(rec.active) };
        if let Some(place) = place {
            self.actives.prefetch(place, parsed.stream(), parsed.has_payload());
            self.active_wheel.prefetch(place);
            self.sh.subs.prefetch_turn(place);
        }
        self.sh.subs.prefetch(rec.sub);
    }

    /// Asks for what those lead to.
    fn fetch_more<I: Io>(&self, parsed: &Parsed, io: &I) {
        let Some(rec) = parsed.flow.and_then(|id| self.records.get(id)) else { return };
        io.custody_ahead(rec.entry);
        self.sh.subs.prefetch_control(rec.sub);
        if let Some(act) = self.actives.get(rec.active) {
            act.tx[parsed.stream()].prefetch_segments(&self.sh.pool);
        }
        if parsed.has_payload() {
            self.sh.pool.prefetch_upcoming(NEAR - 1);
        }
    }

    fn find(&self, hash: u64, key: &FlowKey) -> Option<u32> {
        self.index.find(hash, |id| self.records[id].key == *key)
    }

    /// Deals with one frame; true if it is held.
    fn run<I: Io>(&mut self, now: Now, parsed: &Parsed, io: &mut I) -> bool {
        match parsed.what {
            What::Segment => return self.segment(now, parsed, io),
            What::Fragment => self.fragment(now, parsed, io),
            What::Icmp => self.icmp(now, parsed, io),
            What::Malformed => self.sh.stats.malformed += 1,
            What::Other => {
                self.sh.stats.not_tcp += 1;
                if self.sh.policies.table().shapes() && parsed.layers.proto == proto::UDP {
                    match self.datagram(now, parsed, io) {
                        Fared::Passes => {}
                        Fared::Held => return true,
                        Fared::Dropped => return false,
                    }
                }
            }
        }
        self.forward(parsed, io);
        false
    }

    /// A plain wire.
    fn forward<I: Io>(&mut self, parsed: &Parsed, io: &mut I) {
        self.sh.stats.forwarded += 1;
        self.sh.stats.frames_out += 1;
        self.sh.stats.bytes_out += u64::from(parsed.rx.len);
        io.send(parsed.rx.port.peer(), parsed.rx.frame, parsed.rx.off, parsed.rx.len);
    }

    /// A TCP segment: of an optimized flow, or one that admission must judge.
    fn segment<I: Io>(&mut self, now: Now, parsed: &Parsed, io: &mut I) -> bool {
        let bytes = parsed::slice(io.bytes(parsed.rx.frame), parsed.rx.off, parsed.rx.len);
        let Some(s) = parsed.segment(bytes) else {
            self.forward(parsed, io);
            return false;
        };
        // Looked up before the batch ran: where flows came or went since, once more.
        let known = if self.changed { self.find(parsed.hash, &parsed.key) } else { parsed.flow };
        if let Some(id) = known.filter(|id| !self.swept_away(now, *id, io)) {
            let taken = self.on_segment(now, id, &s, io);
            if !taken.again {
                return taken.kept;
            }
        }
        self.admit(now, parsed, &s, io)
    }

    /// A segment of an optimized flow.
    fn on_segment<I: Io>(&mut self, now: Now, id: u32, s: &Segment, io: &mut I) -> Taken {
        let Some(handle) = self.activate(now, id) else {
            // No room for active state, and nothing outstanding: step aside.
            self.hand_back_idle(now, id, StopReason::LowMemory, io);
            self.sh.stats.frames_out += 1;
            self.sh.stats.bytes_out += u64::from(s.frame_len);
            io.send(s.port.peer(), s.frame, s.off, s.frame_len);
            return Taken::DONE;
        };
        let act = &self.actives[handle];
        if act.promised == 0 && !self.sh.fits(act.promises()) && act.is_idle() {
            // It would use a window for which there is no memory. Nothing is outstanding yet.
            self.finish(now, handle, Fate::HandedBack(StopReason::LowMemory), io);
            self.sh.stats.forwarded += 1;
            self.sh.stats.frames_out += 1;
            self.sh.stats.bytes_out += u64::from(s.frame_len);
            io.send(s.port.peer(), s.frame, s.off, s.frame_len);
            return Taken::DONE;
        }
        let taken = self.with(now, handle, io, |flow, cx| flow.segment(cx, s));
        if self.joined && s.len > 0 && taken.fate == Fate::Live && !self.actives[handle].is_urgent() {
            self.waiting = Some(handle);
        } else {
            self.after(now, handle, taken.fate, io);
        }
        taken
    }

    /// Calls `f` with a flow and all that it shares with others.
    fn with<I: Io, T>(
        &mut self,
        now: Now,
        handle: u32,
        io: &mut I,
        f: impl FnOnce(&mut Flow<'_>, &mut Cx<'_, I>) -> T,
    ) -> T {
        let act = &mut self.actives[handle];
        let rec = &mut self.records[act.flow];
        f(&mut Flow { handle, rec, act }, &mut Cx { now, io, sh: &mut self.sh })
    }

    /// A fragment of TCP.
    fn fragment<I: Io>(&mut self, now: Now, parsed: &Parsed, io: &mut I) {
        let bytes = parsed::slice(io.bytes(parsed.rx.frame), parsed.rx.off, parsed.rx.len);
        if !csum::verify_ip(bytes, &parsed.layers) {
            // Damage may make anything look like a fragment.
            self.sh.stats.bad_checksum += 1;
            return;
        }
        let numbers = parsed.numbers(bytes);
        let Some(id) = parsed.flow.and_then(|_| self.find(parsed.hash, &parsed.key)) else {
            self.sh.stats.not_optimized += 1;
            if parsed.has_key() && self.refused.add(parsed.hash) {
                self.refuse(now, &parsed.key, RefuseReason::Fragment);
            }
            return;
        };
        if let Some(handle) = self.activate(now, id) {
            self.with(now, handle, io, |flow, cx| flow.fragment(cx, parsed, numbers));
            self.after(now, handle, Fate::Live, io);
        }
    }

    /// An ICMP packet, which may be an error about a flow of ours.
    fn icmp<I: Io>(&mut self, now: Now, parsed: &Parsed, io: &mut I) {
        let bytes = parsed::slice(io.bytes(parsed.rx.frame), parsed.rx.off, parsed.rx.len);
        let Some(error) = icmp::error(bytes, &parsed.layers) else { return };
        let side = parsed.rx.port.side();
        let scope = parsed.layers.scope(bytes, self.scope_seed);
        let Some(key) = crate::flow::icmp::key(&error, side, scope) else { return };
        let Some(id) = self.find(self.hasher.flow(&key), &key) else { return };
        if !csum::verify(bytes, &parsed.layers) {
            return;
        }
        if let Some(handle) = self.activate(now, id) {
            let stream = side.other() as usize;
            self.with(now, handle, io, |flow, cx| flow.icmp(cx, stream, &error));
            self.after(now, handle, Fate::Live, io);
        }
    }

    /// Gauges that are cheaper read than kept.
    fn gauges(&mut self) {
        let stats = &mut self.sh.stats;
        stats.flows = u64::from(self.records.len());
        stats.active = u64::from(self.actives.len());
        stats.half_open = u64::from(self.handshakes.len());
        stats.subscribers = u64::from(self.sh.subs.len());
        stats.half_open_evicted = self.handshakes.evicted();
        let (pool, ooo) = (&self.sh.pool, &self.sh.ooo);
        stats.segments = u64::from(pool.capacity() - pool.free()) + u64::from(ooo.capacity() - ooo.free())
            + u64::from(self.sh.subs.datagrams());
    }
}

/// For each frame of a batch a number of its stream, [`NONE`] for those without and beyond the end.
fn streams(batch: &[Parsed]) -> [u32; BATCH + AHEAD] {
    let mut streams = [NONE; BATCH + AHEAD];
    for (stream, parsed) in streams.iter_mut().zip(batch) {
        *stream = parsed.flow.map_or(NONE, |flow| flow << 1 | parsed.rx.port.side() as u32);
    }
    streams
}
