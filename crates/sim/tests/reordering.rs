//! Packets that overtake others cost nothing once it is known how far they do: neither goodput nor retransmissions, and
//! what one connection of a phone has learned its next ones know.

mod common;

use common::{complete, lte, optimized, radio, with, MS, S};
use smartwire_sim::endpoint::Step;
use smartwire_sim::link::spec::{Overtake, Reorder};
use smartwire_sim::world::{FlowSpec, World, WorldSpec};

fn bulk(v6: bool) -> FlowSpec {
    FlowSpec {
        phone_app: vec![Step::Send(200), Step::Eof],
        server_app: vec![Step::Expect(200), Step::Send(1 << 40)],
        ..FlowSpec::new(v6, 1000)
    }
}

/// Bytes delivered and segments sent again, from `from` to `to`.
fn between(spec: WorldSpec, from: u64, to: u64) -> (u64, u64) {
    let mut world = World::new(spec).unwrap();
    let look = |world: &World| (world.received(0).0, world.engine().unwrap().stats().retransmitted);
    world.run_until(from);
    let before = look(&world);
    world.run_until(to);
    let after = look(&world);
    println!("{} sent again before {} s, {} after", before.1, from / S, after.1 - before.1);
    (after.0 - before.0, after.1 - before.1)
}

#[test]
fn reordering_by_fifty_ms_is_learned_once_and_costs_two_percent_at_most() {
    for v6 in [false, true] {
        // At 20 Mbit/s fifty ms are eighty segments, and eighteen ms are thirty.
        for late_ms in [18.0, 50.0] {
            let (straight, _) = between(with(optimized(lte()), vec![bulk(v6)]), 3 * S, 23 * S);
            let late = Some(Reorder { chance: 0.02, late_ms });
            let (bytes, again) = between(with(optimized(radio(lte(), |l| l.reorder = late)), vec![bulk(v6)]), 3 * S, 23 * S);
            println!("v6 {v6}, {late_ms} ms: {:.4} of the goodput, {again} sent again", bytes as f64 / straight as f64);
            assert_eq!(again, 0, "v6 {v6}, {late_ms} ms");
            assert!(bytes * 100 >= straight * 98, "v6 {v6}, {late_ms} ms: {bytes} of {straight} bytes");
        }
    }
}

#[test]
fn what_one_connection_learned_of_a_phones_reordering_its_next_ones_know() {
    let late = |l: &mut smartwire_sim::link::LinkSpec| l.reorder = Some(Reorder { chance: 0.05, late_ms: 50.0 });
    for v6 in [false, true] {
        let first = FlowSpec::download(v6, 1000, 5_000_000);
        let later = (1..=5).map(|k| FlowSpec { start_ns: (5 + k) * S, ..FlowSpec::download(v6, 1000 + k as u16, 1_000_000) });
        let flows = std::iter::once(first).chain(later).collect();
        let mut world = World::new(with(optimized(radio(lte(), late)), flows)).unwrap();
        world.run_until(5 * S);
        let before = world.engine().unwrap().stats().retransmitted;
        assert_eq!(world.received(0).0, 5_000_000);
        world.run_until(20 * S);
        let after = world.engine().unwrap().stats().retransmitted;
        println!("v6 {v6}: {before} sent again by the first connection, {} by the five after it", after - before);
        assert!((1..=5).all(|i| world.received(i).0 == 1_000_000));
        assert!(before > 0, "nothing to learn");
        assert_eq!(after, before, "v6 {v6}");
    }
}

#[test]
fn small_packets_thirty_segments_or_fifty_ms_ahead_cause_no_retransmission_at_all() {
    for v6 in [false, true] {
        for (segments, air_ms) in [(30, 0.0), (0, 50.0)] {
            let overtaking = |l: &mut smartwire_sim::link::LinkSpec| l.overtake = Some(Overtake { segments, air_ms, ..Overtake::default() });
            let mut flow = FlowSpec::new(v6, 1000);
            // Answers of 35 full segments and a small one that overtakes them.
            let bytes = 35 * if v6 { 1428 } else { 1448 } + 100;
            flow.phone_app = (0..40).flat_map(|k| [Step::Send(200), Step::Expect(bytes * (k + 1)), Step::Wait(30 * MS)]).collect();
            flow.phone_app.push(Step::Fin);
            flow.server_app = (0..40).flat_map(|k| [Step::Expect(200 * (k + 1)), Step::Send(bytes)]).collect();
            flow.server_app.extend([Step::Eof, Step::Fin]);
            let world = complete(with(optimized(radio(lte(), overtaking)), vec![flow]), 60);
            let stats = world.engine().unwrap().stats();
            println!("v6 {v6}, {air_ms} ms: {} of {} sent again", stats.retransmitted, stats.sent);
            assert_eq!(stats.retransmitted, 0, "v6 {v6}, {air_ms} ms");
        }
    }
}
