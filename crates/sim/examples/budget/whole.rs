//! The same table from the whole engine between model endpoints (CUBIC and BBR fitted to the kernel's), packets and all.

use smartwire_sim::endpoint::{CcKind, Step};
use smartwire_sim::link::LinkSpec;
use smartwire_sim::world::{EngineSpec, FlowSpec, LinkId, WireSpec, World, WorldSpec};

use crate::world::{MS, SEC};
use crate::delay::{link, percentile};

const SECONDS: u64 = 40;

struct Run {
    share: f64,
    echo: Vec<Option<u64>>,
}

fn one(down: &LinkSpec, up: &LinkSpec, inet_ms: f64, cc: Option<CcKind>, engine: bool, flows: usize) -> Run {
    let bulk = |i: usize| {
        let cc = cc.unwrap_or(CcKind::Cubic);
        let f = FlowSpec::new(false, 5000 + i as u16);
        FlowSpec {
            phone_app: vec![Step::Send(200), Step::Expect(1 << 40)],
            server_app: vec![Step::Expect(200), Step::Send(1 << 40)],
            ..f
        }
        .both(|t| (t.cc, t.rcv_buf) = (cc, 16 << 20))
    };
    let inet = LinkSpec { delay_ms: inet_ms / 2.0, ..LinkSpec::default() };
    let mut world = World::new(WorldSpec {
        seed: 1,
        phones: vec![(down.clone(), up.clone())],
        internet: (inet.clone(), inet),
        wire: if engine { WireSpec::Engine(Box::<EngineSpec>::default()) } else { WireSpec::Copper },
        flows: (0..if cc.is_some() { flows } else { 0 }).map(bulk).collect(),
        probe_every_ns: Some(20 * MS),
        ..WorldSpec::default()
    })
    .expect("a valid world");
    world.run_until(SECONDS * SEC);
    let capacity = world.capacity_bytes(LinkId::RadioDown(0), 0, SECONDS * SEC).unwrap_or(1);
    let bytes: u64 = (0..world.flow_count()).map(|i| world.received(i).0).sum();
    Run {
        share: bytes as f64 * 1500.0 / 1448.0 / capacity as f64,
        echo: world.echoes().iter().map(|e| e.rtt_ns).collect(),
    }
}

fn excess(loaded: &Run, idle: &Run, p: f64) -> f64 {
    let pairs = loaded.echo.iter().zip(&idle.echo);
    let mut all: Vec<u64> = pairs.filter_map(|(l, i)| Some(l.as_ref()?.saturating_sub(*i.as_ref()?))).collect();
    all.sort_unstable();
    percentile(&all, p) as f64 / 1e6
}

/// Share of the link's capacity, and p50, p95 and p99 of the delay that the load adds to an echo, ms.
pub struct Figures {
    pub share: f64,
    pub ms: [f64; 3],
}

/// The engine before CUBIC servers; CUBIC without it; BBR without it; BBR behind a proxy (as if the servers stood at the
/// wire).
pub fn compare(down: &LinkSpec, up: &LinkSpec, flows: usize) -> [Figures; 4] {
    let modes = [(30.0, CcKind::Cubic, true), (30.0, CcKind::Cubic, false), (30.0, CcKind::Bbr, false), (0.0, CcKind::Bbr, false)];
    modes.map(|(inet, cc, engine)| {
        let idle = one(down, up, inet, None, false, flows);
        let loaded = one(down, up, inet, Some(cc), engine, flows);
        Figures { share: loaded.share, ms: [50.0, 95.0, 99.0].map(|p| excess(&loaded, &idle, p)) }
    })
}

pub fn table(links: &[&str], seeds: u64, radio: Option<f64>, queue: Option<u64>, flows: usize) {
    println!("{:<12} seed | engine: share p50 p95 p99 | cubic: share p50 p95 | bbr: share p95 | proxy: share p95 | engine of cubic: share, p95 | engine of proxy: share, p95", "link");
    for name in links {
        for seed in 1..=seeds {
            let Some((down, up, _)) = link(name, seed, queue, radio) else { continue };
            let [s, c, b, p] = compare(&down, &up, flows);
            println!(
                "{name:<12} {seed:>4} | {:>6.3} {:>5.0} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} | {:>6.3} {:>5.0} | {:>5.3} {:>5.3} | {:>5.3} {:>5.3}",
                s.share, s.ms[0], s.ms[1], s.ms[2], c.share, c.ms[0], c.ms[1], b.share, b.ms[1], p.share, p.ms[1],
                s.share / c.share, s.ms[1] / c.ms[1], s.share / p.share, s.ms[1] / p.ms[1]
            );
        }
    }
}

/// A bulk download beside one that is refused (an unknown option in its SYN) and beside an upload, with and without the
/// engine: goodput of the first, Mbit/s, from 8 s on.
pub fn beside() {
    let down = LinkSpec::from_json(r#"{"rate": {"mbps": 20}, "queue_bytes": 2000000, "delay_ms": 25}"#).expect("valid");
    let up = LinkSpec::from_json(r#"{"rate": {"mbps": 5}, "queue_bytes": 312000, "delay_ms": 25}"#).expect("valid");
    let bulk = |port, start_ns| FlowSpec {
        start_ns,
        phone_app: vec![Step::Send(200), Step::Expect(1 << 40)],
        server_app: vec![Step::Expect(200), Step::Send(1 << 40)],
        ..FlowSpec::new(false, port).both(|t| t.rcv_buf = 16 << 20)
    };
    let refused = |start| {
        let mut f = bulk(6000, start);
        f.phone_tcp.syn_options = &[250, 4, 1, 2];
        f
    };
    let upload = |start_ns, ts| FlowSpec {
        start_ns,
        phone_app: vec![Step::Send(1 << 40)],
        server_app: vec![Step::Expect(1 << 40)],
        ..FlowSpec::new(false, 7000).both(|t| (t.rcv_buf, t.ts) = (16 << 20, ts))
    };
    let no_ts = |f: FlowSpec| f.both(|t| t.ts = false);
    let cases = [
        ("refused download from 5 s", vec![bulk(5000, 0), refused(5 * SEC)]),
        ("refused download from 0 s", vec![bulk(5000, 0), refused(0)]),
        ("refused download before", vec![bulk(5000, 4 * SEC), refused(0)]),
        ("upload", vec![bulk(5000, 0), upload(3 * SEC, true)]),
        ("upload, no timestamps", vec![no_ts(bulk(5000, 0)), upload(3 * SEC, false)]),
    ];
    for (name, flows) in cases {
        let mbps = |engine: bool| {
            let inet = LinkSpec { delay_ms: 15.0, ..LinkSpec::default() };
            let mut world = World::new(WorldSpec {
                seed: 1,
                phones: vec![(down.clone(), up.clone())],
                internet: (inet.clone(), inet),
                wire: if engine { WireSpec::Engine(Box::<EngineSpec>::default()) } else { WireSpec::Copper },
                flows: flows.clone(),
                ..WorldSpec::default()
            })
            .expect("a valid world");
            world.run_until(8 * SEC);
            let before = world.received(0).0;
            world.run_until(40 * SEC);
            (world.received(0).0 - before) as f64 * 8e3 / (32 * SEC) as f64
        };
        let (with, without) = (mbps(true), mbps(false));
        println!("{name:<28} with {with:>6.2} without {without:>6.2} ratio {:.2}", with / without);
    }
}
