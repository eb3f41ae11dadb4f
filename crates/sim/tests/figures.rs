//! The lab's `speedup`, `loss` and `smallbox` in virtual time, with the requirement as the bound.

mod common;

use common::{complete, optimized, radio, with, MS};
use smartwire_sim::endpoint::TcpConfig;
use smartwire_sim::link::spec::{FirstLoss, Rate};
use smartwire_sim::link::LinkSpec;
use smartwire_sim::world::{EngineSpec, FlowSpec, WireSpec, World, WorldSpec};

/// A radio of constant rate and 50 ms, 2 MB of queue, and an internet of `internet_ms`.
fn lab(mbps: f64, internet_ms: f64, phones: usize) -> WorldSpec {
    let radio = LinkSpec { rate: Rate::Mbps(mbps), queue_bytes: Some(2_000_000), delay_ms: 25.0, ..LinkSpec::default() };
    let internet = LinkSpec { delay_ms: internet_ms / 2.0, ..LinkSpec::default() };
    WorldSpec {
        seed: 1,
        phones: vec![(radio.clone(), radio); phones],
        internet: (internet.clone(), internet),
        icmp: true,
        ..WorldSpec::default()
    }
}

/// ms from the SYN until the phone has all of a download of `bytes`, and until it has the first byte.
fn download(spec: &WorldSpec, v6: bool, bytes: u64, change: &dyn Fn(&mut FlowSpec)) -> f64 {
    let mut flow = FlowSpec::download(v6, 1000, bytes);
    change(&mut flow);
    let world = complete(with(spec.clone(), vec![flow]), 120);
    world.flow(0).0.steps[1] as f64 / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[test]
fn downloads_are_faster_by_what_the_lab_asks() {
    let plain = lab(30.0, 100.0, 1);
    let ours = optimized(plain.clone());
    for v6 in [false, true] {
        for (bytes, limit) in [(1, 1.02), (10_000, 1.02), (100_000, 0.85), (1_000_000, 0.85), (10_000_000, 1.0)] {
            let (without, with) = (download(&plain, v6, bytes, &|_| {}), download(&ours, v6, bytes, &|_| {}));
            println!("v6 {v6} {bytes} bytes: {with:.0} of {without:.0} ms, {:.3}, at most {limit}", with / without);
            assert!(with <= limit * without, "v6 {v6} {bytes} bytes: {with} ms of {without}");
        }
        let two = |f: &mut FlowSpec| f.server_tcp.iw = 2;
        let (without, with) = (download(&plain, v6, 1_000_000, &two), download(&ours, v6, 1_000_000, &two));
        println!("v6 {v6} initial window 2: {with:.0} of {without:.0} ms, {:.3}, at most 0.75", with / without);
        assert!(with <= 0.75 * without, "v6 {v6} initial window 2: {with} ms of {without}");
        let small = |f: &mut FlowSpec| f.phone_tcp = TcpConfig { rcv_buf: 65_535, ws: None, autotune: false, ..f.phone_tcp.clone() };
        let (without, with) = (download(&plain, v6, 1_000_000, &small), download(&ours, v6, 1_000_000, &small));
        println!("v6 {v6} 64 kB window: {with:.0} of {without:.0} ms, {:.3}, at most 0.75", with / without);
        assert!(with <= 0.75 * without, "v6 {v6} 64 kB window: {with} ms of {without}");
    }
}

#[test]
fn a_lossy_megabyte_is_no_slower_than_a_lossless_one_that_is_not_optimized() {
    let plain = lab(20.0, 30.0, 1);
    for v6 in [false, true] {
        let without = download(&plain, v6, 1_000_000, &|_| {});
        let times = (1..=15).map(|seed| {
            let mut spec = radio(optimized(plain.clone()), |l| l.loss = 0.01);
            spec.seed = seed;
            spec.phones[0].0.seed = 2 * seed;
            spec.phones[0].1.seed = 2 * seed + 1;
            download(&spec, v6, 1_000_000, &|_| {})
        });
        let times: Vec<f64> = times.collect();
        println!("v6 {v6}: {:.0} ms of {without:.0}: {times:.0?}", median(times.clone()));
        assert!(median(times) <= without, "v6 {v6}");
        let first = |frames| {
            let mut spec = optimized(plain.clone());
            spec.phones[0].0.first_loss = (frames > 0).then_some(FirstLoss { frames, after_idle_ms: None });
            download(&spec, v6, 100_000, &|_| {})
        };
        let (lossy, clean) = (first(10), first(0));
        println!("v6 {v6}: first ten lost {lossy:.0} ms, none {clean:.0}");
        assert!(lossy <= clean + 200.0, "v6 {v6}: {lossy} ms, {clean} without loss");
    }
}

/// Longest time without a byte between a flow's first and its last, ms, and the share of payload under custody.
fn small_box(v6: bool, seed: u64, stagger_us: u64) -> (u64, f64) {
    let mut spec = lab(3.0, 30.0, PHONES);
    spec.seed = seed;
    let config = EngineSpec::default().config;
    // What the rings take of 2,000 frames can't be held.
    spec.wire = WireSpec::Engine(Box::new(EngineSpec { config, frames: (2_000, 1_232), ..EngineSpec::default() }));
    let count = PHONES * FLOWS_EACH;
    let flows = (0..count).map(|i| FlowSpec {
        phone: i / FLOWS_EACH,
        start_ns: 300 * MS + i as u64 * stagger_us * 1_000,
        ..FlowSpec::download(v6, 1000 + (i % FLOWS_EACH) as u16, SMALL)
    });
    let flows = flows.collect();
    let mut world = World::new(with(spec, flows)).unwrap();
    let mut last = vec![(0u64, 0u64); count];
    let mut longest = vec![0; count];
    for tick in 1..=200u64 {
        world.run_until(tick * 100 * MS);
        for (i, (bytes, at)) in last.iter_mut().enumerate() {
            let now = world.received(i).0;
            if now > *bytes {
                longest[i] = longest[i].max(if *bytes > 0 { tick - *at } else { 0 });
                (*bytes, *at) = (now, tick);
            }
        }
    }
    let stats = world.engine().unwrap().stats();
    assert!(last.iter().all(|l| l.0 == SMALL), "a download has not ended");
    let worst = (0..count).max_by_key(|&i| longest[i]).unwrap();
    let (gap, share) = (longest[worst] * 100, common::custody_share(&world));
    println!("v6 {v6} seed {seed} stagger {stagger_us}: gap {gap} ms (flow {worst}), share {share:.3}, optimized {}, stopped {:?}, no frame {}, server {:?}",
        stats.optimized, stats.stopped, stats.no_frame, world.flow(worst).1.sent);
    assert_eq!((stats.resets, stats.no_frame), (0, 0));
    (gap, share)
}

const PHONES: usize = 20;
const FLOWS_EACH: usize = 10;
const SMALL: u64 = 250_000;

#[test]
fn on_a_small_box_two_hundred_downloads_end_and_none_stalls() {
    for (v6, seed, stagger_us) in [(false, 1, 0), (true, 3, 1_000)] {
        let (gap, _) = small_box(v6, seed, stagger_us);
        assert!(gap <= 3_000, "{gap} ms without a byte");
    }
}
