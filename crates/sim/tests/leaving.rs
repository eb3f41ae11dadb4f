//! The engine leaves at any moment: every byte arrives, nothing is reset, and a plain wire in its place works.

mod common;

use common::{complete, custody_share, lte, optimized, radio, with, MS, S};
use smartwire_engine::api::EventKind;
use smartwire_engine::StopReason;
use smartwire_sim::endpoint::{State, Step};
use smartwire_sim::rng::Rng;
use smartwire_sim::world::{Action, EngineSpec, FlowSpec, Order, Whose, WireSpec, World, WorldSpec};

fn bypass(limit: u64) -> Action {
    Action::Order(Order::Bypass, Whose::Wire, limit)
}

fn transfers(v6: bool) -> Vec<FlowSpec> {
    let mut flows: Vec<FlowSpec> = (0..3).map(|i| FlowSpec::download(v6, 1000 + i, 8_000_000)).collect();
    flows.extend((0..2).map(|i| FlowSpec::upload(v6, 1100 + i, 5_000_000)));
    flows
}

#[test]
fn a_plain_wire_takes_over_the_moment_that_the_engine_says_it_is_drained() {
    let mut rng = Rng::new(5);
    let mut met_custody = 0;
    for round in 0..10 {
        let at = rng.range(100 * MS, 3 * S);
        let actions = vec![(at, bypass(100 * S)), (at, Action::RemoveWhenDrained)];
        let spec = radio(optimized(lte()), |l| l.loss = if round % 2 == 0 { 0.01 } else { 0.0 });
        let spec = WorldSpec { actions, seed: round, ..with(spec, transfers(round % 3 == 0)) };
        let mut before = World::new(spec.clone()).unwrap();
        before.run_until(at - 1);
        met_custody += u32::from(before.engine().unwrap().stats().custody_bytes >= 64 << 10);
        let world = complete(spec, 120);
        let removed = world.removed_at().expect("the engine never drained");
        assert!(removed - at < 20 * S, "it took {} s", (removed - at) as f64 / 1e9);
    }
    assert!(met_custody >= 5, "only {met_custody} of 10 met 64 kB of custody");
}

#[test]
fn draining_and_resuming_at_random_moments_loses_nothing() {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        let orders = (0..6).map(|_| {
            let at = rng.range(0, 6 * S);
            let order = [Order::Drain, Order::Bypass, Order::Resume][rng.below(3) as usize];
            (at, Action::Order(order, Whose::Wire, 100 * S))
        });
        let mut flows = transfers(seed % 2 == 0);
        for (i, flow) in flows.iter_mut().enumerate() {
            flow.start_ns = i as u64 * S;
        }
        let spec = WorldSpec { actions: orders.collect(), seed, ..optimized(radio(lte(), |l| l.loss = 0.01)) };
        complete(with(spec, flows), 120);
    }
}

#[test]
fn a_drain_through_a_freeze_waits_for_the_radio() {
    for v6 in [false, true] {
        let at = 1500 * MS;
        let freeze = |l: &mut smartwire_sim::link::LinkSpec| l.freezes = vec![(1400.0, 3000.0)];
        let actions = vec![(at, bypass(100 * S)), (at, Action::RemoveWhenDrained)];
        let spec = WorldSpec { actions, ..with(optimized(radio(lte(), freeze)), transfers(v6)) };
        let world = complete(spec, 120);
        assert!(world.removed_at().is_some_and(|removed| removed > 4400 * MS), "custody was left behind");
    }
}

#[test]
fn a_drain_that_meets_its_limit_resets_both_ends_and_says_so() {
    for v6 in [false, true] {
        let at = 2 * S;
        let dead = |l: &mut smartwire_sim::link::LinkSpec| l.freezes = vec![(1900.0, 60_000.0)];
        let spec = WorldSpec { actions: vec![(at, bypass(5 * S))], ..optimized(radio(lte(), dead)) };
        let mut world = World::new(with(spec, vec![FlowSpec::download(v6, 1000, 20_000_000)])).unwrap();
        // Custody goes within seconds; what the server was promised of the window beyond the phone's own, in ten.
        world.run_until(13 * S);
        assert_eq!(world.flow(0).1.state, State::Reset, "the server still believes in bytes that nobody will deliver");
        let reset = |e: &smartwire_engine::Event| e.kind == EventKind::Reset(StopReason::DrainLimit);
        assert!(world.take_events().iter().any(reset));
        assert_eq!(world.engine().unwrap().stats().resets, 1);
        assert!(world.engine().unwrap().drained());
        world.run_until(70 * S);
        assert_eq!(world.flow(0).0.state, State::Reset);
    }
}

#[test]
fn one_flow_or_one_subscriber_is_drained_and_the_others_are_not() {
    let mut spec = optimized(lte());
    spec.phones = vec![spec.phones[0].clone(); 2];
    let flows: Vec<FlowSpec> =
        (0..4u16).map(|i| FlowSpec { phone: usize::from(i / 2), ..FlowSpec::download(false, 1000 + i, 20_000_000) }).collect();
    for (whose, others) in [(Whose::Flow(0), vec![1001, 1002, 1003]), (Whose::Subscriber(2), vec![1000, 1001])] {
        let actions = vec![(S, Action::Order(Order::Drain, whose, 59 * S))];
        let spec = WorldSpec { actions, ..with(spec.clone(), flows.clone()) };
        let mut world = World::new(spec).unwrap();
        world.run_until(20 * S);
        let mut left: Vec<u16> = world.engine().unwrap().flows().map(|f| f.key.access_port).collect();
        left.sort_unstable();
        assert_eq!(left, others);
        assert!(world.run_to_end(60 * S));
    }
}

#[test]
fn a_small_box_with_two_thousand_frames_serves_two_hundred_flows() {
    let mut spec = lte();
    spec.phones = vec![spec.phones[0].clone(); 10];
    let mut engine = EngineSpec { frames: (2000, 1100), ..EngineSpec::default() };
    engine.config.max_segments = 1100;
    spec.wire = WireSpec::Engine(Box::new(engine));
    let flows = (0..200u16).map(|i| FlowSpec {
        phone: usize::from(i % 10),
        start_ns: u64::from(i) * 5 * MS,
        ..FlowSpec::download(i % 2 == 0, 1000 + i, 500_000)
    });
    let world = complete(with(spec, flows.collect()), 200);
    let stats = world.engine().unwrap().stats();
    println!("custody share {}, no frame {}, resets {}", custody_share(&world), stats.no_frame, stats.resets);
    assert_eq!((stats.resets, stats.no_frame), (0, 0), "what a window promised finds room");
    assert!(stats.optimized > 0);
}

#[test]
fn a_full_custody_book_leaves_flows_alone() {
    let mut spec = lte();
    spec.wire = WireSpec::Engine(Box::new(EngineSpec { book: 2, ..EngineSpec::default() }));
    complete(with(spec, transfers(true)), 60);
}

/// How long a drain at `at` of these flows takes, ms; every byte arrives.
fn drain_ms(flows: Vec<FlowSpec>, at: u64) -> u64 {
    let actions = vec![(at, bypass(100 * S)), (at, Action::RemoveWhenDrained)];
    let world = complete(WorldSpec { actions, ..with(optimized(lte()), flows) }, 100);
    (world.removed_at().expect("the engine never drained") - at) / MS
}

#[test]
fn a_drain_takes_no_longer_than_the_custody_and_the_promises_that_there_are() {
    for v6 in [false, true] {
        // Something was just said, and nothing is on its way.
        let mut chat = FlowSpec::download(v6, 1000, 30_000);
        chat.server_app.insert(2, Step::Wait(20 * S));
        assert_eq!(drain_ms(vec![chat], 900 * MS), 0);
        // Custody of 35 kB, and the silent direction was promised more than the phone's own window.
        let up = drain_ms(vec![FlowSpec::upload(v6, 1000, 10_000_000)], 3 * S);
        assert!(up < 300, "an upload: {up} ms");
        // 1.4 MB of custody are 0.6 s of this radio; what the server was promised besides has to be used up.
        let down = drain_ms(vec![FlowSpec::download(v6, 1000, 20_000_000)], 3 * S);
        assert!(down < 4000, "a download: {down} ms");
    }
}
