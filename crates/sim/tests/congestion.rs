//! Losses that mean a full link are heeded: the lab's `congestion` in virtual time, over the whole transfer.

mod common;

use common::{optimized, with, S};
use smartwire_sim::endpoint::Step;
use smartwire_sim::link::spec::{Policer, Rate};
use smartwire_sim::link::LinkSpec;
use smartwire_sim::world::{FlowSpec, LinkId, World, WorldSpec};

const PAYLOAD: f64 = 1448.0 / 1500.0;

/// The lab's radio: 20 Mbit/s both ways, 50 ms, 2 MB of queue; internet 30 ms.
fn lab(seed: u64) -> WorldSpec {
    let radio = LinkSpec { rate: Rate::Mbps(20.0), queue_bytes: Some(2_000_000), delay_ms: 25.0, ..LinkSpec::default() };
    let internet = LinkSpec { delay_ms: 15.0, ..LinkSpec::default() };
    WorldSpec {
        seed,
        phones: vec![(radio.clone(), radio)],
        internet: (internet.clone(), internet),
        icmp: true,
        ..WorldSpec::default()
    }
}

/// (goodput in Mbit/s, share of packets lost on the radio) of one download over `seconds`, slow start and all.
fn bulk(spec: WorldSpec, v6: bool, seconds: u64) -> (f64, f64) {
    let flow = FlowSpec {
        phone_app: vec![Step::Send(200), Step::Eof],
        server_app: vec![Step::Expect(200), Step::Send(1 << 40)],
        ..FlowSpec::new(v6, 1000)
    };
    let mut world = World::new(with(optimized(spec), vec![flow])).unwrap();
    world.run_until(seconds * S);
    let totals = world.link(LinkId::RadioDown(0)).totals();
    let lost = totals.dropped() as f64 / (totals.dropped() + totals.by_fate[0].0) as f64;
    (world.received(0).0 as f64 * 8e3 / (seconds * S) as f64, lost)
}

#[test]
fn a_policer_is_found_at_once_and_loses_three_percent_at_most() {
    for v6 in [false, true] {
        for (mbps, bucket_bytes) in [(5.0, 30_000), (5.0, 100_000), (10.0, 30_000)] {
            let mut spec = lab(1);
            spec.phones[0].0.policer = Some(Policer { mbps, bucket_bytes });
            let (rate, lost) = bulk(spec, v6, 20);
            println!("v6 {v6}: {mbps} Mbit/s, {bucket_bytes} bytes: {:.3} of it, {:.2} % lost", rate / mbps / PAYLOAD, 100.0 * lost);
            assert!(lost <= 0.03 && rate >= 0.9 * mbps * PAYLOAD, "v6 {v6}: {rate} of {mbps} Mbit/s, {lost} lost");
        }
    }
}

#[test]
fn a_shallow_buffer_behind_a_tenfold_rate_step_loses_three_percent_at_most() {
    for v6 in [false, true] {
        for (high, low, queue) in [(20.0, 2.0, 64_000), (20.0, 2.0, 30_000)] {
            let mut spec = lab(1);
            spec.phones[0].0.rate = Rate::Steps(vec![(0.0, high), (10_300.0, low)]);
            spec.phones[0].0.queue_bytes = Some(queue);
            let (rate, lost) = bulk(spec, v6, 20);
            let mean = (high + low) / 2.0;
            println!("v6 {v6}: {high} to {low} Mbit/s, {queue} bytes: {:.3} of it, {:.2} % lost", rate / mean / PAYLOAD, 100.0 * lost);
            assert!(lost <= 0.03 && rate >= 0.9 * mean * PAYLOAD, "v6 {v6}: {rate} of {mean} Mbit/s, {lost} lost");
        }
    }
}
