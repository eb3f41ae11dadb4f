//! Worlds at random: a subset of faults per seed, random ends, random applications, random orders to the engine. After
//! [`HEAL_NS`] nothing is lost any more, and everything must end.

mod ends;
mod happenings;

use smartwire_engine::Config;

use crate::endpoint::{State, Step, Summary};
use crate::link::spec::{BurstLoss, FirstLoss, Overtake, Policer, RandomFreeze, Rate, Reorder};
use crate::link::LinkSpec;
use crate::rng::Rng;
use crate::world::{Action, EngineSpec, FlowSpec, WireSpec, World, WorldSpec};

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
    let mut radios: Vec<_> = (0..phones).map(|_| radio(rng)).collect();
    let delay = rng.range(1, 100) as f64;
    let mut internet = (LinkSpec { delay_ms: delay, ..LinkSpec::default() }, LinkSpec { delay_ms: delay, ..LinkSpec::default() });
    if faulty && rng.chance(0.4) {
        faults(rng, &mut internet.0, false);
        faults(rng, &mut internet.1, false);
    }
    let count = rng.range(1, 6);
    let mut flows: Vec<FlowSpec> = (0..count).map(|i| ends::flow(rng, i as u16, phones)).collect();
    let mut actions = vec![(HEAL_NS, Action::Heal)];
    happenings::orders(rng, &mut actions);
    happenings::smaller_path(rng, &mut actions);
    let mut engine = engine(rng);
    // Each of these draws from a stream of its own: one more fault leaves the others of a seed as they are.
    let stream = |name| Rng::stream(seed, name);
    happenings::near(&mut stream(0xf019), &mut actions);
    happenings::blind(&mut stream(0xf01a), &flows, &mut actions);
    happenings::false_acks(&mut stream(0xf01b), &mut actions);
    happenings::small_orders(&mut stream(0xf01c), flows.len(), &mut actions);
    happenings::other_ways(&mut stream(0xf01d), &mut actions);
    happenings::short_memory(&mut stream(0xf01e), &mut actions);
    happenings::sleeps(&mut stream(0xf01f), &mut actions);
    ends::quirks(&mut stream(0xf020), &mut flows);
    ends::tunnels(&mut stream(0xf021), &mut flows);
    happenings::short_limits(&mut stream(0xf023), &mut engine, &mut actions);
    marks(&mut stream(0xf024), &mut radios, &mut internet);
    let icmp = !stream(0xf022).chance(0.2);
    WorldSpec { seed, phones: radios, internet, wire: WireSpec::Engine(Box::new(engine)), flows, probe_every_ns: None, icmp, actions }
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

/// Has this connection ended as it should? Where the limits are short, a reset is an end too; who has nothing to send may
/// never hear of it, if it was lost.
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
    let over = |s: &Summary| matches!(s.state, State::Closed | State::Reset | State::TimedOut | State::Aborted);
    let silent = |s: &Summary| s.state == State::Established && s.acked == s.written;
    let given_up = world.may_give_up() && world.engine().is_none_or(|e| e.stats().resets > 0);
    let one_reset = phone.state == State::Reset || server.state == State::Reset;
    let reset = given_up && one_reset && (over(&phone) || silent(&phone)) && (over(&server) || silent(&server));
    // An end that has closed answers what still comes with a reset: nothing is lost by it.
    let all_there = phone.received == server.written && server.received == phone.written && phone.eof && server.eof;
    let after_the_end = all_there && over(&phone) && over(&server);
    if fine || reset || after_the_end {
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

/// Queues that mark instead of dropping.
fn marks(rng: &mut Rng, radios: &mut [(LinkSpec, LinkSpec)], internet: &mut (LinkSpec, LinkSpec)) {
    for pair in radios.iter_mut().chain([internet]) {
        for link in [&mut pair.0, &mut pair.1] {
            if rng.chance(0.2) {
                link.mark = 0.1 * rng.unit();
            }
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

