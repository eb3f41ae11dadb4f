//! Worlds at random: a subset of faults per seed, random ends, random applications, random orders to the engine. After
//! [`HEAL_NS`] nothing is lost any more, and everything must end.

use smartwire_engine::api::Target;
use smartwire_engine::{Command, Config, Now, Side};

use crate::codec::{Opts, Path, Seg, ACK, RST, SYN};
use crate::endpoint::{CcKind, State, Step, TcpConfig};
use crate::link::spec::{BurstLoss, FirstLoss, Overtake, Policer, RandomFreeze, Rate, Reorder};
use crate::link::LinkSpec;
use crate::rng::Rng;
use crate::world::{phone_addr, server_addr, Action, EngineSpec, FlowSpec, Forgery, LinkId, WireSpec, World, WorldSpec};

/// When all faults end.
pub const HEAL_NS: u64 = 30 * S;
/// When everything must have ended.
pub const END_NS: u64 = 400 * S;

const S: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

/// The world of a seed.
pub fn world(seed: u64) -> WorldSpec {
    let rng = &mut Rng::stream(seed, 0xfa17);
    let phones = rng.range(1, 3) as usize;
    let faulty = rng.chance(0.8);
    let radio = |rng: &mut Rng| {
        let mut pair = (slow(rng), slow(rng));
        if faulty {
            faults(rng, &mut pair.0, true);
            faults(rng, &mut pair.1, true);
        }
        pair
    };
    let radios = (0..phones).map(|_| radio(rng)).collect();
    let delay = rng.range(1, 100) as f64;
    let mut internet = (LinkSpec { delay_ms: delay, ..LinkSpec::default() }, LinkSpec { delay_ms: delay, ..LinkSpec::default() });
    if faulty && rng.chance(0.4) {
        faults(rng, &mut internet.0, false);
        faults(rng, &mut internet.1, false);
    }
    let count = rng.range(1, 6);
    let flows: Vec<FlowSpec> = (0..count).map(|i| flow(rng, i as u16, phones)).collect();
    let mut actions = vec![(HEAL_NS, Action::Heal)];
    orders(rng, &mut actions);
    if rng.chance(0.2) {
        forgeries(rng, &flows, &mut actions);
    }
    near_forgeries(&mut Rng::stream(seed, 0xf019), &mut actions);
    if rng.chance(0.15) {
        let link = if rng.chance(0.5) { LinkId::RadioDown(0) } else { LinkId::RadioUp(0) };
        actions.push((rng.range(0, 10 * S), Action::Mtu(link, rng.range(1280, 1480) as u32)));
    }
    WorldSpec {
        seed,
        phones: radios,
        internet,
        wire: WireSpec::Engine(Box::new(engine(rng))),
        flows,
        probe_every_ns: None,
        icmp: true,
        actions,
    }
}

/// Runs the world of a seed to its end.
///
/// # Errors
/// What went wrong, with the seed: a connection that neither ended as its applications meant nor was reset by one of
/// them. Broken invariants and wrong bytes panic.
pub fn run(spec: WorldSpec) -> Result<World, String> {
    let seed = spec.seed;
    let flows = spec.flows.clone();
    let mut world = World::new(spec)?;
    world.run_until(HEAL_NS);
    while world.now() < END_NS {
        if (0..flows.len()).all(|i| ended(&world, i, &flows[i]).is_ok()) {
            return accounts(&world).map(|()| world).map_err(|wrong| format!("seed {seed}: {wrong}"));
        }
        world.run_until(world.now() + S);
    }
    let wrong = (0..flows.len()).find_map(|i| ended(&world, i, &flows[i]).err());
    Err(format!("seed {seed}: {}", wrong.unwrap_or_default()))
}

/// Does the engine own the frames of the segments that it holds, and no others?
fn accounts(world: &World) -> Result<(), String> {
    let Some((engine, io)) = world.engine().zip(world.io()) else { return Ok(()) };
    match (io.owned_frames() as u64, engine.stats().segments) {
        (owned, held) if owned == held => Ok(()),
        (owned, held) => Err(format!("the engine owns {owned} frames and holds {held} segments")),
    }
}

/// Has this connection ended as it should?
fn ended(world: &World, i: usize, flow: &FlowSpec) -> Result<(), String> {
    let (phone, server) = world.flow(i);
    let resets = |app: &[Step]| app.contains(&Step::Reset);
    let fine = if resets(&flow.phone_app) {
        // A reset may be lost, and who has nothing to send never hears of it.
        phone.state == State::Aborted && matches!(server.state, State::Reset | State::Established)
    } else if resets(&flow.server_app) {
        server.state == State::Aborted && matches!(phone.state, State::Reset | State::Established)
    } else {
        (phone.state, server.state) == (State::Closed, State::Closed)
            && phone.received == server.written
            && server.received == phone.written
    };
    if fine {
        return Ok(());
    }
    let engine = world.engine().map(|e| (e.stats().clone(), e.flows().collect::<Vec<_>>()));
    Err(format!("flow {i} has not ended as it should:\nphone {phone:?}\nserver {server:?}\n{engine:?}"))
}

/// A link with a rate and a queue.
fn slow(rng: &mut Rng) -> LinkSpec {
    LinkSpec {
        rate: Rate::Mbps(0.5 * 100f64.powf(rng.unit())),
        queue_bytes: Some((20_000.0 * 100f64.powf(rng.unit())) as u64),
        delay_ms: rng.range(2, 80) as f64,
        seed: rng.bits(),
        ..LinkSpec::default()
    }
}

fn faults(rng: &mut Rng, link: &mut LinkSpec, radio: bool) {
    let mut on = |share: f64| rng.chance(share);
    let (loss, bursts, copies, damage) = (on(0.4), on(0.2), on(0.2), on(0.2));
    let (reorder, jitter, overtake) = (on(0.3), on(0.3), radio && on(0.2));
    let (first, freezes, policer) = (radio && on(0.2), radio && on(0.3), radio && on(0.1));
    if loss {
        link.loss = 0.03 * rng.unit();
    }
    if bursts {
        link.burst_loss = Some(BurstLoss { enter: 0.005 * rng.unit(), leave: 0.1 + 0.5 * rng.unit(), loss: 0.9 });
    }
    if copies {
        link.duplicate = 0.05 * rng.unit();
    }
    if damage {
        link.corrupt = 0.02 * rng.unit();
    }
    if reorder {
        link.reorder = Some(Reorder { chance: 0.1 * rng.unit(), late_ms: 1.0 + 60.0 * rng.unit() });
    }
    if jitter {
        link.jitter_ms = 20.0 * rng.unit();
    }
    if overtake {
        link.overtake = Some(Overtake { air_ms: 50.0 * rng.unit(), ..Overtake::default() });
    }
    if first {
        link.first_loss = Some(FirstLoss { frames: rng.range(1, 12) as u32, after_idle_ms: None });
    }
    if freezes {
        let longest = 100.0 * 100f64.powf(rng.unit());
        link.random_freeze = Some(RandomFreeze { every_ms: 5000.0, min_ms: 50.0, max_ms: longest, seed: rng.bits() });
    }
    if policer {
        link.policer = Some(Policer { mbps: 1.0 + 5.0 * rng.unit(), bucket_bytes: rng.range(15_000, 60_000) });
    }
}

fn tcp(rng: &mut Rng, v6: bool) -> TcpConfig {
    let near_wrap = |rng: &mut Rng| if rng.chance(0.3) { u32::MAX - rng.range(0, 400_000) as u32 } else { rng.bits() as u32 };
    let full: u16 = if v6 { 1440 } else { 1460 };
    let rcv_buf = (20_000.0 * 300f64.powf(rng.unit())) as u64;
    // A quarter of the buffer is some units of the window field at least.
    let coarsest = u64::from((rcv_buf / 64).ilog2()).min(14);
    TcpConfig {
        mss: if rng.chance(0.7) { full } else { rng.range(536, u64::from(full)) as u16 },
        ts: rng.chance(0.8),
        sack: rng.chance(0.8),
        ws: rng.chance(0.85).then(|| rng.range(0, coarsest) as u8),
        ecn: rng.chance(0.3),
        iw: rng.range(1, 20) as u32,
        rcv_buf,
        autotune: rng.chance(0.7),
        cc: [CcKind::Cubic, CcKind::Bbr, CcKind::Reno][rng.below(3) as usize],
        hystart: rng.chance(0.5),
        tlp: rng.chance(0.7),
        delack_ns: rng.range(1, 200) * MS,
        ack_every: if rng.chance(0.8) { 2 } else { rng.range(1, 12) as u32 },
        keepalive_ns: rng.chance(0.1).then_some(5 * S),
        isn: near_wrap(rng),
        ts_at_zero: if rng.chance(0.3) { u32::MAX - rng.range(0, 20_000) as u32 } else { rng.bits() as u32 | 1 },
        renege: if rng.chance(0.1) { 0.01 } else { 0.0 },
        shrink_after: rng.chance(0.1).then(|| rng.range(10_000, 200_000)),
        ..TcpConfig::default()
    }
}

fn flow(rng: &mut Rng, i: u16, phones: usize) -> FlowSpec {
    let v6 = rng.chance(0.5);
    let (phone_app, server_app) = apps(rng);
    FlowSpec {
        phone: rng.below(phones as u64) as usize,
        start_ns: rng.range(0, 5 * S),
        opens: if rng.chance(0.85) { Side::Access } else { Side::Core },
        phone_tcp: tcp(rng, v6),
        server_tcp: tcp(rng, v6),
        phone_app,
        server_app,
        ..FlowSpec::new(v6, 1000 + i)
    }
}

/// Two applications that come to an end together.
fn apps(rng: &mut Rng) -> (Vec<Step>, Vec<Step>) {
    use Step::{Eof, Expect, Fin, Flushed, Read, Reset, Send, StopReading, Wait};
    let much = (1000.0 * 2000f64.powf(rng.unit())) as u64;
    let little = rng.range(1, 5000);
    let pause = rng.range(0, 3 * S);
    match rng.below(9) {
        0 | 1 => (vec![Send(little), Expect(much), Eof, Fin], vec![Expect(little), Send(much), Fin]),
        2 => (vec![Send(much), Expect(little), Fin], vec![Expect(much), Send(little), Eof, Fin]),
        3 => (vec![Send(much), Expect(much), Fin], vec![Send(much), Expect(much), Fin]),
        4 => {
            let rounds = rng.range(2, 12);
            let phone = (1..=rounds).flat_map(|k| [Send(little), Expect(k * (much / 8 + 1)), Wait(pause / 4)]);
            let server = (1..=rounds).flat_map(|k| [Expect(k * little), Send(much / 8 + 1)]);
            (phone.chain([Fin, Eof]).collect(), server.chain([Eof, Fin]).collect())
        }
        5 => (vec![Send(little), Fin, Expect(much), Eof], vec![Eof, Wait(pause), Send(much), Fin]),
        6 => (vec![Send(little), Expect(much / 2), Reset], vec![Expect(little), Send(much)]),
        7 => (vec![Send(little), Eof], vec![Expect(little), Send(much), Flushed, Reset]),
        _ => {
            let phone = vec![Send(little), StopReading, Wait(pause * 3), Read, Expect(much), Eof, Fin];
            (phone, vec![Expect(little), Send(much), Fin])
        }
    }
}

fn engine(rng: &mut Rng) -> EngineSpec {
    let mut spec = EngineSpec::default();
    if rng.chance(0.3) {
        // A small box.
        let frames = rng.range(200, 2000) as u32;
        spec.frames = (frames, frames * 2 / 3);
        spec.book = rng.range(1, 10) as usize;
        spec.config = Config {
            max_flows: rng.range(2, 10) as u32,
            max_active: 2,
            max_half_open: rng.range(1, 8) as u32,
            max_segments: rng.range(100, 1000) as u32,
            stream_bytes: rng.range(32 << 10, 1 << 20) as u32,
            ..spec.config
        };
    }
    if rng.chance(0.2) {
        spec.config.idle_ns = rng.range(1, 10) * S;
    }
    spec
}

/// Drains, bypasses, resumptions and removal at random instants.
fn orders(rng: &mut Rng, actions: &mut Vec<(u64, Action)>) {
    if !rng.chance(0.6) {
        return;
    }
    for _ in 0..rng.range(1, 4) {
        let at = rng.range(0, 20 * S);
        // Enough for every byte to be delivered after healing.
        let deadline = Now(at + 300 * S);
        let target = Target::Wire;
        let command = match rng.below(3) {
            0 => Command::Drain { target, deadline },
            1 => Command::Bypass { target, deadline },
            _ => Command::Resume { target },
        };
        actions.push((at, Action::Order(command)));
    }
    if rng.chance(0.5) {
        let at = rng.range(0, 20 * S);
        let command = Command::Bypass { target: Target::Wire, deadline: Now(at + 300 * S) };
        actions.push((at, Action::Order(command)));
        actions.push((at, Action::RemoveWhenDrained));
    }
}

/// Packets of somebody who knows addresses and ports, and nothing else: resets, SYNs and ACKs with numbers at random.
fn forgeries(rng: &mut Rng, flows: &[FlowSpec], actions: &mut Vec<(u64, Action)>) {
    for _ in 0..rng.range(1, 20) {
        let f = &flows[rng.below(flows.len() as u64) as usize];
        let to_server = rng.chance(0.5);
        let path = Path {
            src_mac: [2, 0, 0, 0, 9, 9],
            dst_mac: [2, 0, 0, 0, 9, 8],
            tags: Vec::new(),
            src: phone_addr(f.phone, f.v6),
            dst: server_addr(f.v6),
            sport: f.ports.0,
            dport: f.ports.1,
            ttl: 33,
            dscp: 0,
            label: 0,
        };
        let path = if to_server { path } else { path.reversed() };
        let flags = [RST, RST | ACK, SYN, ACK][rng.below(4) as usize];
        let opts = Opts { mss: (flags == SYN).then_some(1460), ..Opts::default() };
        let (seq, ack) = (rng.bits() as u32, rng.bits() as u32);
        let frame = path.tcp(&Seg { seq, ack, flags, window: 1000, opts, ..Seg::default() }, 1);
        let side = if to_server { Side::Access } else { Side::Core };
        actions.push((rng.range(S, 20 * S), Action::Inject(side, frame)));
    }
}

/// Packets of somebody who sees the connections, at random instants: close to real ones.
fn near_forgeries(rng: &mut Rng, actions: &mut Vec<(u64, Action)>) {
    if !rng.chance(0.3) {
        return;
    }
    for _ in 0..rng.range(5, 60) {
        let side = if rng.chance(0.5) { Side::Access } else { Side::Core };
        let how = [Forgery::NearReset, Forgery::OldDuplicate, Forgery::FutureStamp][rng.below(3) as usize];
        actions.push((rng.range(S, 20 * S), Action::Forge(side, how)));
    }
}
