//! Transfers through the engine: every byte arrives, under custody, whatever the ends speak. The checkers of the world
//! hold the invariants on every packet.

mod common;

use common::{assert_nothing_is_left, complete, custody_share, lte, option_sets, optimized, radio, with};
use smartwire_engine::Side;
use smartwire_sim::endpoint::CcKind;
use smartwire_sim::link::spec::{Rate, Reorder};
use smartwire_sim::world::FlowSpec;

#[test]
fn downloads_and_uploads_complete_under_custody_over_both_families() {
    for v6 in [false, true] {
        let flows = vec![FlowSpec::download(v6, 1000, 3_000_000), FlowSpec::upload(v6, 1001, 1_000_000)];
        let mut world = complete(with(optimized(lte()), flows), 30);
        assert!(custody_share(&world) > 0.99, "{}", custody_share(&world));
        assert_nothing_is_left(&mut world);
    }
}

#[test]
fn both_directions_of_one_connection_run_at_once() {
    use smartwire_sim::endpoint::Step::{Expect, Fin, Send};
    for v6 in [false, true] {
        let mut flow = FlowSpec::new(v6, 1000);
        flow.phone_app = vec![Send(2_000_000), Expect(3_000_000), Fin];
        flow.server_app = vec![Send(3_000_000), Expect(2_000_000), Fin];
        let mut world = complete(with(optimized(lte()), vec![flow]), 60);
        assert!(custody_share(&world) > 0.99);
        assert_nothing_is_left(&mut world);
    }
}

#[test]
fn every_combination_of_options_is_optimized_and_survives_loss_both_ways() {
    for (name, set) in option_sets() {
        for v6 in [false, true] {
            println!("{name} v6 {v6}");
            let spec = radio(lte(), |l| {
                l.loss = 0.01;
                l.reorder = Some(Reorder { chance: 0.01, late_ms: 10.0 });
            });
            let flows = [FlowSpec::download(v6, 1000, 800_000), FlowSpec::upload(v6, 1001, 300_000)];
            let flows = flows.map(|f| f.both(&set)).to_vec();
            let mut world = complete(with(optimized(spec), flows), 120);
            assert!(custody_share(&world) > 0.95, "{name}: {}", custody_share(&world));
            assert_nothing_is_left(&mut world);
        }
    }
}

#[test]
fn options_that_only_one_end_offers_are_not_used() {
    for (name, set) in option_sets() {
        println!("only the phone: {name}");
        let mut flow = FlowSpec::download(true, 1000, 500_000);
        set(&mut flow.phone_tcp);
        complete(with(optimized(radio(lte(), |l| l.loss = 0.005)), vec![flow]), 60);
    }
}

#[test]
fn a_connection_that_the_server_opens_is_optimized_too() {
    let mut flow = FlowSpec::upload(false, 1000, 1_000_000);
    flow.opens = Side::Core;
    let world = complete(with(optimized(lte()), vec![flow]), 30);
    assert!(custody_share(&world) > 0.99);
}

#[test]
fn sequence_numbers_and_timestamps_wrap_in_mid_flow() {
    for v6 in [false, true] {
        let flow = FlowSpec::download(v6, 1000, 3_000_000).both(|t| {
            t.isn = u32::MAX - 700_000;
            t.ts_at_zero = u32::MAX - 700;
        });
        let world = complete(with(optimized(radio(lte(), |l| l.loss = 0.01)), vec![flow]), 60);
        assert!(custody_share(&world) > 0.99);
    }
}

#[test]
fn servers_on_bbr_and_on_reno_are_served_alike() {
    for cc in [CcKind::Bbr, CcKind::Reno] {
        let mut flow = FlowSpec::download(false, 1000, 10_000_000);
        flow.server_tcp.cc = cc;
        let world = complete(with(optimized(lte()), vec![flow]), 20);
        assert!(custody_share(&world) > 0.99);
    }
}

#[test]
fn nobody_sends_anything_twice_where_nothing_is_lost() {
    for v6 in [false, true] {
        let world = complete(with(optimized(lte()), vec![FlowSpec::download(v6, 1000, 20_000_000)]), 60);
        let (phone, server) = world.flow(0);
        let stats = world.engine().unwrap().stats();
        assert_eq!((server.sent.retransmitted, stats.retransmitted), (0, 0), "no frame for {}", stats.no_frame);
        assert_eq!(phone.repeated, 0);
    }
}

#[test]
fn two_hundred_connections_of_twenty_phones_complete() {
    let mut spec = optimized(lte());
    spec.phones = vec![spec.phones[0].clone(); 20];
    let flows = (0..200u16).map(|i| FlowSpec {
        phone: usize::from(i % 20),
        start_ns: u64::from(i) * 10_000_000,
        ..FlowSpec::download(i % 3 == 0, 1000 + i, 100_000 + 2000 * u64::from(i))
    });
    let mut world = complete(with(spec, flows.collect()), 60);
    assert!(custody_share(&world) > 0.99, "{} {:?}", custody_share(&world), world.engine().unwrap().stats());
    assert_nothing_is_left(&mut world);
}

/// ACKs that ride on data are no duplicates: only probes find the hole where nothing else is sent.
#[test]
fn a_tail_lost_without_sack_is_repaired_while_the_other_direction_sends() {
    use smartwire_sim::endpoint::Step::{Expect, Fin, Send};
    for seed in 1..=25 {
        let mut flow = FlowSpec::new(seed % 2 == 0, 1000).both(|t| t.sack = false);
        flow.phone_app = vec![Send(150_000), Expect(150_000), Fin];
        flow.server_app = vec![Send(150_000), Expect(150_000), Fin];
        flow.server_tcp.mss = 618;
        let mut spec = optimized(lte());
        // A slow link has a small budget, which the lost flight fills.
        spec.phones[0].0.rate = Rate::Mbps(1.4);
        spec.phones[0].0.loss = 0.03;
        spec.seed = seed;
        complete(with(spec, vec![flow]), 60);
    }
}
