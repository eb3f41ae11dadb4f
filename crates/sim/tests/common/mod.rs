//! Small worlds for the scenarios.
#![allow(dead_code)]

use smartwire_sim::endpoint::{State, TcpConfig};
use smartwire_sim::link::spec::Rate;
use smartwire_sim::link::LinkSpec;
use smartwire_sim::world::{EngineSpec, FlowSpec, WireSpec, World, WorldSpec};

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000_000_000;

/// 20 Mbit/s down, 10 up, radio 50 ms, internet 30 ms, 1 MB of queue.
pub fn lte() -> WorldSpec {
    let radio = |mbps| LinkSpec {
        rate: Rate::Mbps(mbps),
        queue_bytes: Some(1_000_000),
        delay_ms: 25.0,
        ..LinkSpec::default()
    };
    let internet = LinkSpec { delay_ms: 15.0, ..LinkSpec::default() };
    WorldSpec {
        seed: 1,
        phones: vec![(radio(20.0), radio(10.0))],
        internet: (internet.clone(), internet),
        icmp: true,
        ..WorldSpec::default()
    }
}

/// The same with the engine in the wire.
pub fn optimized(spec: WorldSpec) -> WorldSpec {
    WorldSpec { wire: WireSpec::Engine(Box::<EngineSpec>::default()), ..spec }
}

/// Changes both directions of the first phone's radio.
pub fn radio(mut spec: WorldSpec, change: impl Fn(&mut LinkSpec)) -> WorldSpec {
    change(&mut spec.phones[0].0);
    change(&mut spec.phones[0].1);
    spec
}

/// The spec with these flows.
pub fn with(spec: WorldSpec, flows: Vec<FlowSpec>) -> WorldSpec {
    WorldSpec { flows, ..spec }
}

/// Every combination of SACK, timestamps, window scaling and ECN.
pub fn option_sets() -> impl Iterator<Item = (String, impl Fn(&mut TcpConfig))> {
    (0..16u32).map(|bits| {
        let on = move |bit: u32| bits >> bit & 1 == 1;
        let name = format!("sack {} ts {} ws {} ecn {}", on(0), on(1), on(2), on(3));
        let set = move |t: &mut TcpConfig| {
            (t.sack, t.ts, t.ecn) = (on(0), on(1), on(3));
            t.ws = on(2).then_some(9);
        };
        (name, set)
    })
}

/// Runs to the end, within `limit` seconds; every connection must end, and with both ends closed.
pub fn complete(spec: WorldSpec, limit: u64) -> World {
    let world = finish(spec, limit);
    for i in 0..flows(&world) {
        let (phone, server) = world.flow(i);
        assert_eq!((phone.state, server.state), (State::Closed, State::Closed), "flow {i}: {phone:?} {server:?}");
        assert!(phone.finished && server.finished, "flow {i}");
        assert_eq!(phone.received, server.written, "flow {i} down");
        assert_eq!(server.received, phone.written, "flow {i} up");
    }
    world
}

/// Runs until every connection has ended, one way or the other.
pub fn finish(spec: WorldSpec, limit: u64) -> World {
    let seed = spec.seed;
    let mut world = World::new(spec).unwrap();
    let done = world.run_to_end(limit * S);
    let unfinished = world.unfinished();
    let ends: Vec<_> = unfinished.iter().take(3).map(|&i| world.flow(i)).collect();
    assert!(done, "seed {seed}: flows {unfinished:?} have not ended after {limit} s: {ends:#?}");
    world
}

fn flows(world: &World) -> usize {
    world.flow_count()
}

/// When the step `k` of the phone's script was done, ms after the flow's start.
pub fn phone_step_ms(world: &World, flow: usize, k: usize) -> f64 {
    world.flow(flow).0.steps[k] as f64 / 1e6
}

/// Share of TCP payload that the engine treated as its own.
pub fn custody_share(world: &World) -> f64 {
    let share = world.share();
    share.under_custody as f64 / (share.under_custody + share.beside).max(1) as f64
}

/// All frames are free again and the custody book is empty, once the engine has nothing to do any more.
pub fn assert_nothing_is_left(world: &mut World) {
    let now = world.now();
    world.run_until(now + 200 * S);
    let io = world.io().expect("an engine");
    assert_eq!(io.owned_frames(), 0, "frames leaked");
    assert_eq!(io.book().count(), 0, "custody book entries leaked");
}
