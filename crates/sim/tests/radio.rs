//! What radios do, and what the engine makes of it: loss, freezes, reordering, shallow buffers, policers.

mod common;

use common::{complete, custody_share, lte, optimized, radio, with, MS, S};
use smartwire_sim::endpoint::Step;
use smartwire_sim::link::spec::{BurstLoss, FirstLoss, Overtake, Policer, Rate};
use smartwire_sim::link::LinkSpec;
use smartwire_sim::world::{Action, FlowSpec, LinkId, World, WorldSpec};

/// A download that never ends.
fn bulk(v6: bool) -> FlowSpec {
    FlowSpec {
        phone_app: vec![Step::Send(200), Step::Eof],
        server_app: vec![Step::Expect(200), Step::Send(1 << 40)],
        ..FlowSpec::new(v6, 1000)
    }
}

/// Payload delivered between two instants, Mbit/s.
fn goodput(spec: WorldSpec, from: u64, to: u64) -> (f64, World) {
    let mut world = World::new(spec).unwrap();
    world.run_until(from);
    let before = world.received(0).0;
    world.run_until(to);
    ((world.received(0).0 - before) as f64 * 8e3 / (to - from) as f64, world)
}

#[test]
fn one_percent_loss_both_ways_costs_at_most_five_percent() {
    for v6 in [false, true] {
        let lossless = goodput(with(optimized(lte()), vec![bulk(v6)]), 2 * S, 22 * S).0;
        let lossy = radio(optimized(lte()), |l| l.loss = 0.01);
        let (with_loss, world) = goodput(with(lossy, vec![bulk(v6)]), 2 * S, 22 * S);
        println!("v6 {v6}: {with_loss} of {lossless}");
        assert!(with_loss >= 0.95 * lossless, "{with_loss} of {lossless} Mbit/s");
        assert_eq!(world.flow(0).1.sent.timeouts, 0);
    }
}

#[test]
fn loss_in_bursts_is_repaired_from_custody_and_the_server_never_hears_of_it() {
    let bursty = |l: &mut LinkSpec| l.burst_loss = Some(BurstLoss { enter: 0.002, leave: 0.2, loss: 0.8 });
    let world = complete(with(optimized(radio(lte(), bursty)), vec![FlowSpec::download(false, 1000, 10_000_000)]), 60);
    let server = world.flow(0).1.sent;
    assert_eq!(server.retransmitted, 0);
}

/// Freezes both, down or up for ten seconds; the engine only probes, the server repeats nothing, the rate is back.
#[test]
fn a_freeze_of_ten_seconds_costs_probes_and_nothing_else() {
    for (name, down, up) in [("both", true, true), ("down", true, false), ("up", false, true)] {
        for v6 in [false, true] {
            let start = 5 * S;
            let end = start + 10 * S;
            let mut actions = Vec::new();
            if down {
                actions.push((start, Action::Freeze(LinkId::RadioDown(0), 10 * S)));
            }
            if up {
                actions.push((start, Action::Freeze(LinkId::RadioUp(0), 10 * S)));
            }
            let spec = WorldSpec { actions, ..with(optimized(lte()), vec![bulk(v6)]) };
            let mut world = World::new(spec).unwrap();
            world.run_until(3 * S);
            let before = world.received(0).0;
            world.run_until(start);
            let usual = (world.received(0).0 - before) / 20;
            world.run_until(end);
            let during = world.engine().unwrap().stats().clone();
            println!("{name} v6 {v6}: {} probes, {} sent again", during.probes, during.retransmitted);
            assert_eq!(during.retransmitted, 0, "{name}: the engine sent data again");
            assert!(during.probes <= 20, "{name}: {} probes", during.probes);
            world.run_until(end + S);
            let from = world.received(0).0;
            world.run_until(end + S + 100 * MS);
            let bin = world.received(0).0 - from;
            let server = world.flow(0).1.sent;
            assert_eq!((server.retransmitted, server.timeouts), (0, 0), "{name}: the server noticed");
            assert!(bin * 10 >= usual * 9, "{name}: {bin} bytes in 100 ms, {usual} before");
        }
    }
}

/// A freeze of thirty seconds loses nothing: nobody sends anything again but probes.
fn freeze_for_thirty_seconds(v6: bool, sack: bool) {
    for (name, down, up) in [("both", true, true), ("down", true, false), ("up", false, true)] {
        let (start, length) = (5 * S, 30 * S);
        let links = [(down, LinkId::RadioDown(0)), (up, LinkId::RadioUp(0))];
        let frozen = links.into_iter().filter(|l| l.0).map(|(_, link)| (start, Action::Freeze(link, length)));
        let flows = vec![bulk(v6).both(|tcp| tcp.sack = sack)];
        let spec = WorldSpec { actions: frozen.collect(), ..with(optimized(lte()), flows) };
        let mut world = World::new(spec).unwrap();
        world.run_until(start + length + 10 * S);
        let (engine, server) = (world.engine().unwrap().stats().clone(), world.flow(0).1.sent);
        println!("{name} v6 {v6} SACK {sack}: {} probes, server {server:?}", engine.probes);
        assert_eq!(engine.retransmitted, 0, "{name} v6 {v6}: nothing was lost");
        assert_eq!((server.retransmitted, server.timeouts), (0, 0), "{name} v6 {v6}: the server noticed");
    }
}

#[test]
fn a_freeze_of_thirty_seconds_causes_no_needless_retransmission() {
    [false, true].into_iter().for_each(|v6| freeze_for_thirty_seconds(v6, true));
}

#[test]
fn without_sack_a_freeze_of_thirty_seconds_causes_no_needless_retransmission_either() {
    freeze_for_thirty_seconds(false, false);
}

/// As the freeze, but all that was in the radio's queue or comes meanwhile is lost.
#[test]
fn after_an_outage_of_ten_seconds_that_lost_everything_the_rate_is_back_within_two_seconds() {
    for (name, down, up) in [("both", true, true), ("down", true, false), ("up", false, true)] {
        for v6 in [false, true] {
            let (start, end) = (5 * S, 15 * S);
            let mut actions = Vec::new();
            for (at, mtu) in [(start, 1), (end, 1500)] {
                actions.extend(down.then_some((at, Action::Mtu(LinkId::RadioDown(0), mtu))));
                actions.extend(up.then_some((at, Action::Mtu(LinkId::RadioUp(0), mtu))));
            }
            let flows = vec![bulk(v6), FlowSpec { ports: (1001, 443), ..bulk(v6) }];
            let mut world = World::new(WorldSpec { icmp: false, actions, ..with(optimized(lte()), flows) }).unwrap();
            let received = |world: &World| world.received(0).0 + world.received(1).0;
            world.run_until(3 * S);
            let before = received(&world);
            world.run_until(start);
            let usual = (received(&world) - before) / 20;
            let sent = world.engine().unwrap().stats().retransmitted;
            world.run_until(end);
            let during = world.engine().unwrap().stats().clone();
            assert_eq!(during.retransmitted, sent, "{name}: the engine sent data again into the outage");
            assert!(during.probes <= 40, "{name}: {} probes", during.probes);
            world.run_until(end + 2 * S);
            let from = received(&world);
            world.run_until(end + 2 * S + 300 * MS);
            let bin = (received(&world) - from) / 3;
            let servers: Vec<_> = (0..2).map(|i| world.flow(i).1.sent).collect();
            println!("{name} v6 {v6}: {} probes, {bin} bytes in 100 ms, {usual} before, {servers:?}", during.probes);
            assert!(servers.iter().all(|s| (s.retransmitted, s.timeouts) == (0, 0)), "{name}: a server noticed");
            assert!(bin * 10 >= usual * 9, "{name}: {bin} bytes in 100 ms, {usual} before");
        }
    }
}

#[test]
fn the_first_ten_frames_lost_cost_a_small_download_200_ms() {
    let run = |lost: u32| {
        let first = |l: &mut LinkSpec| l.first_loss = (lost > 0).then_some(FirstLoss { frames: lost, after_idle_ms: None });
        let mut spec = optimized(lte());
        first(&mut spec.phones[0].0);
        let world = complete(with(spec, vec![FlowSpec::download(false, 1000, 100_000)]), 30);
        *world.flow(0).0.steps.last().unwrap() as f64 / 1e6
    };
    let (clean, lossy) = (run(0), run(10));
    println!("{clean} ms, with the first ten frames lost {lossy} ms");
    assert!(lossy <= clean + 200.0, "{lossy} ms, {clean} ms without loss");
}

#[test]
fn a_small_download_is_as_fast_after_others_as_on_a_link_that_nobody_knows() {
    for v6 in [false, true] {
        let mut spec = optimized(lte());
        spec.internet.0.delay_ms = 50.0;
        spec.internet.1.delay_ms = 50.0;
        let plan = [(0, 100_000), (2, 10_000_000), (14, 100_000), (16, 10_000), (17, 100_000), (18, 100_000)];
        let flow = |i: usize| {
            let (at, bytes) = plan[i];
            FlowSpec { start_ns: at * S, ..FlowSpec::download(v6, 1000 + i as u16, bytes) }
        };
        let world = complete(with(spec, (0..plan.len()).map(flow).collect()), 30);
        let took = |i: usize| world.flow(i).0.steps[1] / MS - plan[i].0 * 1000;
        let times: Vec<_> = (0..plan.len()).map(took).collect();
        println!("v6 {v6}: {times:?} ms");
        for i in [2, 4, 5] {
            assert!(times[i] <= times[0] + 5, "download {i} took {} ms, the first of its size {} ms", times[i], times[0]);
        }
    }
}

#[test]
fn small_packets_ahead_of_large_ones_are_no_loss() {
    let overtaking = |l: &mut LinkSpec| l.overtake = Some(Overtake { air_ms: 50.0, ..Overtake::default() });
    let mut flow = FlowSpec::new(false, 1000);
    // Answers of 20 kB, each ending in a small segment that overtakes the rest.
    flow.phone_app = (0..40).flat_map(|k| [Step::Send(200), Step::Expect(20_000 * (k + 1)), Step::Wait(30 * MS)]).collect();
    flow.phone_app.push(Step::Fin);
    flow.server_app = (0..40).flat_map(|k| [Step::Expect(200 * (k + 1)), Step::Send(20_000)]).collect();
    flow.server_app.extend([Step::Eof, Step::Fin]);
    let world = complete(with(optimized(radio(lte(), overtaking)), vec![flow]), 60);
    let stats = world.engine().unwrap().stats();
    println!("{} of {} sent again", stats.retransmitted, stats.sent);
    assert!(stats.retransmitted * 50 <= stats.sent, "{} of {} segments sent again", stats.retransmitted, stats.sent);
}

#[test]
fn a_policer_is_respected() {
    let mut spec = optimized(lte());
    spec.phones[0].0.policer = Some(Policer { mbps: 5.0, bucket_bytes: 30_000 });
    let (rate, world) = goodput(with(spec, vec![bulk(false)]), 5 * S, 35 * S);
    let totals = world.link(LinkId::RadioDown(0)).totals();
    let lost = totals.dropped() as f64 / (totals.dropped() + totals.by_fate[0].0) as f64;
    println!("{rate} Mbit/s, {lost} lost");
    assert!(lost <= 0.03, "{lost}");
    assert!(rate >= 0.9 * 5.0 * 1448.0 / 1500.0, "{rate} Mbit/s");
}

#[test]
fn a_shallow_buffer_behind_a_tenfold_rate_step_is_respected() {
    let mut spec = optimized(lte());
    spec.phones[0].0 = LinkSpec {
        rate: Rate::Steps(vec![(0.0, 100.0), (5000.0, 10.0)]),
        queue_bytes: Some(64_000),
        ..spec.phones[0].0.clone()
    };
    let (rate, world) = goodput(with(spec, vec![bulk(false)]), 6 * S, 26 * S);
    let totals = world.link(LinkId::RadioDown(0)).totals();
    let lost = totals.dropped() as f64 / (totals.dropped() + totals.by_fate[0].0) as f64;
    println!("{rate} Mbit/s, {lost} lost");
    assert!(lost <= 0.03, "{lost}");
    assert!(rate >= 0.9 * 10.0 * 1448.0 / 1500.0, "{rate} Mbit/s");
}

#[test]
fn the_queue_is_a_fifth_of_cubics_at_97_percent_of_its_goodput() {
    use smartwire_sim::measure::{run, Plan};
    for down in ["lte-still", "lte-driving"] {
        let plan = |optimize| Plan { down: down.into(), flows: 2, seconds: 40.0, optimize, ..Plan::default() };
        let cubic = run(&plan(false), &mut |_| true).unwrap();
        let smart = run(&plan(true), &mut |_| true).unwrap();
        let idle = run(&Plan { flows: 0, ..plan(false) }, &mut |_| true).unwrap();
        let excess = |r: &smartwire_sim::measure::Report| r.rtt_ms.p95 - idle.rtt_ms.p50;
        println!("{down}: p95 over idle {} of {}, goodput {} of {}", excess(&smart), excess(&cubic), smart.goodput_mbps, cubic.goodput_mbps);
        assert!(excess(&smart) <= excess(&cubic) / 5.0 || excess(&smart) <= 150.0, "{down}");
        assert!(smart.goodput_mbps >= 0.97 * cubic.goodput_mbps, "{down}");
        assert!(smart.custody_share > 0.95);
    }
}

#[test]
fn four_flows_of_one_phone_share_fairly() {
    // The subscriber is an address: IPv4 and IPv6 of one phone are two.
    let flows = (0..4).map(|i| FlowSpec { ports: (1000 + i, 443), ..bulk(false) }).collect();
    let mut world = World::new(with(optimized(lte()), flows)).unwrap();
    world.run_until(20 * S);
    let rates: Vec<f64> = (0..4).map(|i| world.received(i).0 as f64).collect();
    let jain = rates.iter().sum::<f64>().powi(2) / (4.0 * rates.iter().map(|r| r * r).sum::<f64>());
    println!("{rates:?}: Jain {jain}");
    assert!(custody_share(&world) > 0.99);
    assert!(jain >= 0.95, "{jain}");
}
