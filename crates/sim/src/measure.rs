//! `smartwire sim`: one run of downloads over a link model, and its figures.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::endpoint::{CcKind, Step, Summary, TcpConfig};
use crate::link::spec::Rate;
use crate::link::{Fate, LinkSpec, Sample};
use crate::pcapng::Writer;
use crate::profiles;
use crate::world::{Action,  EngineSpec, FlowSpec, LinkId, WireSpec, World, WorldSpec, ECHO_BYTES};

/// What to run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Towards the phones: the name of a profile, or of a trace file.
    pub down: String,
    /// From the phones; absent: the profile's own, the trace's `.up` beside its `.down`, or `perfect`, which has no
    /// rate.
    pub up: Option<String>,
    /// Bulk downloads of one phone.
    pub flows: usize,
    /// How long.
    pub seconds: f64,
    /// Congestion control of the servers.
    pub cc: String,
    /// With the engine in the wire.
    pub optimize: bool,
    /// Seed of everything random.
    pub seed: u64,
    /// Round trip without queues: radio and internet together; absent: the profile's radio, or 50 ms, and 30 ms more.
    pub rtt_ms: Option<f64>,
    /// The radio's part of it; absent: the profile's, or 50 ms.
    pub radio_ms: Option<f64>,
    /// The phone's queue, bytes.
    pub queue_bytes: Option<u64>,
    /// Random loss on the radio, each way.
    pub loss: f64,
    /// Every second flow is IPv6, or all, or none.
    pub family: Family,
    /// Where in a trace the run begins.
    pub offset_ms: f64,
    /// A pcapng file for both sides of the wire.
    pub capture: Option<PathBuf>,
}

/// Address families of the flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4.
    #[default]
    V4,
    /// IPv6.
    V6,
    /// One after the other.
    Both,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan {
            down: "lte-still".into(),
            up: None,
            flows: 1,
            seconds: 30.0,
            cc: "cubic".into(),
            optimize: true,
            seed: 1,
            rtt_ms: None,
            radio_ms: None,
            queue_bytes: None,
            loss: 0.0,
            family: Family::V4,
            offset_ms: 0.0,
            capture: None,
        }
    }
}

/// Percentiles of a time, ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Spread {
    /// Of times in ns; all zero if there are none.
    pub fn of(mut ns: Vec<u64>) -> Spread {
        if ns.is_empty() {
            return Spread::default();
        }
        ns.sort_unstable();
        let at = |p: f64| round(ns[((ns.len() - 1) as f64 * p).round() as usize] as f64 / 1e6);
        let mean = ns.iter().map(|&x| x as f64).sum::<f64>() / ns.len() as f64 / 1e6;
        Spread { mean: round(mean), p50: at(0.5), p95: at(0.95), p99: at(0.99) }
    }
}

fn round(x: f64) -> f64 {
    (x * 1000.0).round() / 1000.0
}

/// One connection's figures.
#[derive(Clone, Debug, Serialize)]
pub struct FlowReport {
    /// "ipv4" or "ipv6".
    pub family: &'static str,
    /// Payload delivered to the application, Mbit/s.
    pub goodput_mbps: f64,
    /// Payload delivered.
    pub received_bytes: u64,
    /// Round trips as the server measured them.
    pub rtt_ms: Spread,
    /// Data segments that the server sent again.
    pub retransmitted_packets: u64,
    /// Payload bytes that the phone got more than once.
    pub repeated_bytes: u64,
    /// Retransmission timeouts at the server.
    pub timeouts: u64,
}

/// A run's figures.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The link towards the phone.
    pub down: String,
    /// The link from the phone.
    pub up: String,
    /// Whether the engine was in the wire.
    pub optimized: bool,
    /// Congestion control of the servers.
    pub cc: String,
    /// Length.
    pub seconds: f64,
    /// Seed.
    pub seed: u64,
    /// Round trip without queues.
    pub base_rtt_ms: f64,
    /// What the link towards the phone could carry.
    pub capacity_mbps: Option<f64>,
    /// Payload delivered to applications, all flows.
    pub goodput_mbps: f64,
    /// IP bytes that left the radio's queue, of what it could carry.
    pub utilisation: Option<f64>,
    /// Time in the radio's queue towards the phone, per TCP packet (per echo if there are no flows).
    pub queue_ms: Spread,
    /// The same less the wait in an empty queue.
    pub self_inflicted_ms: Spread,
    /// Round trips of a UDP echo that shares the queue.
    pub rtt_ms: Spread,
    /// Echoes that never came back.
    pub echoes_lost: u64,
    /// Data segments sent again, by servers and by the engine.
    pub retransmitted_packets: u64,
    /// Payload bytes that phones got more than once.
    pub repeated_bytes: u64,
    /// Packets that the radio's queue dropped, and that the air lost.
    pub dropped_packets: u64,
    /// Share of the packets offered to the radio's queue that found it full.
    pub overflow: f64,
    /// Share of TCP payload that was delivered under custody.
    pub custody_share: f64,
    /// "ok": every byte received is the byte that was sent (anything else ends the run).
    pub integrity: &'static str,
    /// Per flow.
    pub flows: Vec<FlowReport>,
}

/// The name of a link without a rate.
const PERFECT: &str = "perfect";
const PROBE_NS: u64 = 20_000_000;

/// Runs a plan; `progress` is told the share that is done and may stop the run by returning false.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(f64) -> bool) -> Result<Report, String> {
    let until = (plan.seconds * 1e9) as u64;
    let (mut world, base_rtt_ms) = build(plan)?;
    world.record(LinkId::RadioDown(0));
    let mut capture = plan.capture.as_deref().map(Writer::create).transpose()?;
    if capture.is_some() {
        world.record_frames();
    }
    const PARTS: u64 = 200;
    for part in 1..=PARTS {
        world.run_until(until / PARTS * part);
        if let Some(file) = &mut capture {
            file.write(&world.take_frames())?;
        }
        if !progress(part as f64 / PARTS as f64) {
            return Err("interrupted".into());
        }
    }
    Ok(report(plan, &mut world, base_rtt_ms))
}

/// What the link of a plan can carry towards the phone in each step of its time, bytes; empty where it has no limit.
pub fn capacity(plan: &Plan, step_ns: u64) -> Result<Vec<u64>, String> {
    let (world, _) = build(plan)?;
    let steps = (plan.seconds * 1e9) as u64 / step_ns;
    Ok((0..steps).map_while(|i| world.capacity_bytes(LinkId::RadioDown(0), i * step_ns, (i + 1) * step_ns)).collect())
}

fn build(plan: &Plan) -> Result<(World, f64), String> {
    check(plan)?;
    let cc = CcKind::parse(&plan.cc)?;
    let (mut down, up_default, radio_ms) = link(&plan.down, plan)?;
    let mut up = match &plan.up {
        Some(name) => side(name, plan, false)?,
        None => up_default,
    };
    let radio_ms = plan.radio_ms.unwrap_or(radio_ms);
    let rtt_ms = plan.rtt_ms.unwrap_or(radio_ms + 30.0);
    let radio_ms = radio_ms.min(rtt_ms);
    down.delay_ms = radio_ms / 2.0;
    up.delay_ms = radio_ms / 2.0;
    if plan.queue_bytes.is_some() {
        down.queue_bytes = plan.queue_bytes;
    }
    if plan.loss > 0.0 {
        (down.loss, up.loss) = (plan.loss, plan.loss);
    }
    let internet = LinkSpec { delay_ms: (rtt_ms - radio_ms) / 2.0, ..LinkSpec::default() };
    let flows = (0..plan.flows).map(|i| bulk(plan, i, cc)).collect();
    let wire = if plan.optimize { WireSpec::Engine(Box::<EngineSpec>::default()) } else { WireSpec::Copper };
    let spec = WorldSpec {
        seed: plan.seed,
        phones: vec![(down, up)],
        internet: (internet.clone(), internet),
        wire,
        flows,
        probe_every_ns: Some(PROBE_NS),
        icmp: true,
        actions: Vec::<(u64, Action)>::new(),
    };
    Ok((World::new(spec)?, rtt_ms))
}

fn check(plan: &Plan) -> Result<(), String> {
    let ok = |good: bool, what: String| if good { Ok(()) } else { Err(what) };
    ok(plan.seconds > 0.0 && plan.seconds <= 86_400.0, format!("{} seconds: give more than 0 and at most 86400", plan.seconds))?;
    ok(plan.flows <= 4000, format!("{} flows: give at most 4000", plan.flows))?;
    ok((0.0..1.0).contains(&plan.loss), format!("a loss of {}: give a probability from 0 to below 1", plan.loss))?;
    let rtt = plan.rtt_ms.unwrap_or(80.0);
    ok((0.0..=10_000.0).contains(&rtt), format!("a round trip of {rtt} ms: give 0 to 10000"))?;
    let radio = plan.radio_ms.unwrap_or(0.0);
    ok((0.0..=rtt.max(80.0)).contains(&radio), format!("a radio of {radio} ms: give 0 to the whole round trip"))?;
    ok(plan.queue_bytes.is_none_or(|q| q >= 1500), "a queue must hold one packet: give at least 1500 bytes".into())
}

/// Down and up of a name, and its radio's round trip.
fn link(name: &str, plan: &Plan) -> Result<(LinkSpec, LinkSpec, f64), String> {
    if profiles::NAMES.contains(&name) {
        let p = profiles::profile(name, plan.seed)?;
        return Ok((p.down, p.up, p.radio_rtt_ms));
    }
    let up = match name.strip_suffix(".down").map(|stem| format!("{stem}.up")).filter(|f| PathBuf::from(f).exists()) {
        Some(file) => side(&file, plan, false)?,
        None => LinkSpec { queue_bytes: Some(1_000_000), ..LinkSpec::default() },
    };
    Ok((side(name, plan, true)?, up, 50.0))
}

/// One direction of a name.
fn side(name: &str, plan: &Plan, down: bool) -> Result<LinkSpec, String> {
    if profiles::NAMES.contains(&name) {
        let p = profiles::profile(name, plan.seed)?;
        return Ok(if down { p.down } else { p.up });
    }
    if name == PERFECT {
        return Ok(LinkSpec { seed: plan.seed, ..LinkSpec::default() });
    }
    let file = PathBuf::from(name);
    if !file.exists() {
        let names = profiles::NAMES.join(", ");
        return Err(format!("there is neither a link profile nor a trace file {name}: the profiles are {names} and {PERFECT}"));
    }
    let rate = Rate::Trace { file, offset_ms: plan.offset_ms };
    let queue = if down { 2_000_000 } else { 1_000_000 };
    Ok(LinkSpec { rate, queue_bytes: Some(queue), seed: plan.seed, ..LinkSpec::default() })
}

fn bulk(plan: &Plan, i: usize, cc: CcKind) -> FlowSpec {
    let v6 = match plan.family {
        Family::V4 => false,
        Family::V6 => true,
        Family::Both => i % 2 == 1,
    };
    let flow = FlowSpec::new(v6, 40_000 + i as u16);
    FlowSpec {
        // Started a little apart, so that they are not one flow in disguise.
        start_ns: i as u64 * 137_000_000,
        phone_app: vec![Step::Send(200), Step::Eof, Step::Fin],
        server_app: vec![Step::Expect(200), Step::Send(1 << 50), Step::Fin],
        server_tcp: TcpConfig { cc, isn: 1_000_000 + i as u32, ..flow.server_tcp },
        ..flow
    }
}

fn report(plan: &Plan, world: &mut World, base_rtt_ms: f64) -> Report {
    let until = world.now();
    let seconds = until as f64 / 1e9;
    let mbps = |bytes: u64| round(bytes as f64 * 8e-6 / seconds);
    let samples = world.take_samples(LinkId::RadioDown(0));
    let crossed: Vec<&Sample> = samples.iter().filter(|s| s.fate == Fate::Crossed).collect();
    let capacity = world.capacity_bytes(LinkId::RadioDown(0), 0, until);
    let left: u64 = crossed.iter().map(|s| u64::from(s.bytes)).sum();
    // The open-loop echo weighs outages by their length, TCP by what it had in flight then: they are told apart.
    let data = || crossed.iter().copied().filter(|s| plan.flows == 0 || s.class.payload as usize != ECHO_BYTES);
    let flows: Vec<(Summary, Summary)> = (0..plan.flows).map(|i| world.flow(i)).collect();
    let engine = world.engine().map(|e| e.stats().clone()).unwrap_or_default();
    let share = world.share();
    let total = share.under_custody + share.beside;
    // What was sent within the last round trip had no chance.
    let late = until.saturating_sub(2_000_000_000);
    let totals = world.link(LinkId::RadioDown(0)).totals().clone();
    let reports = flows.iter().enumerate().map(|(i, (phone, server))| FlowReport {
        family: if bulk(plan, i, CcKind::Cubic).v6 { "ipv6" } else { "ipv4" },
        goodput_mbps: mbps(phone.received),
        received_bytes: phone.received,
        rtt_ms: Spread::of(server.rtt_us.iter().map(|&us| u64::from(us) * 1000).collect()),
        retransmitted_packets: server.sent.retransmitted,
        repeated_bytes: phone.repeated,
        timeouts: server.sent.timeouts,
    });
    Report {
        down: plan.down.clone(),
        up: plan.up.clone().unwrap_or_default(),
        optimized: plan.optimize,
        cc: plan.cc.clone(),
        seconds,
        seed: plan.seed,
        base_rtt_ms,
        capacity_mbps: capacity.map(mbps),
        goodput_mbps: mbps(flows.iter().map(|f| f.0.received).sum()),
        utilisation: capacity.filter(|&c| c > 0).map(|c| round(left as f64 / c as f64)),
        queue_ms: Spread::of(data().map(Sample::queue_ns).collect()),
        self_inflicted_ms: Spread::of(data().map(Sample::self_inflicted_ns).collect()),
        rtt_ms: Spread::of(world.echoes().iter().filter_map(|e| e.rtt_ns).collect()),
        echoes_lost: world.echoes().iter().filter(|e| e.rtt_ns.is_none() && e.sent_ns < late).count() as u64,
        retransmitted_packets: flows.iter().map(|f| f.1.sent.retransmitted).sum::<u64>() + engine.retransmitted,
        repeated_bytes: flows.iter().map(|f| f.0.repeated).sum(),
        dropped_packets: totals.dropped(),
        overflow: round(totals.packets(Fate::QueueFull) as f64 / totals.by_fate.iter().map(|f| f.0).sum::<u64>().max(1) as f64),
        custody_share: if total == 0 { 0.0 } else { round(share.under_custody as f64 / total as f64) },
        integrity: "ok",
        flows: reports.collect(),
    }
}
