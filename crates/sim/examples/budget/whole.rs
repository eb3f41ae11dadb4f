//! The same table from the whole engine between model endpoints (CUBIC and BBR fitted to the kernel's), packets and all.

use smartwire_sim::endpoint::{CcKind, Step};
use smartwire_sim::link::LinkSpec;
use smartwire_sim::world::{EngineSpec, FlowSpec, LinkId, WireSpec, World, WorldSpec};

use crate::world::{MS, SEC};
use crate::{link, percentile};

const SECONDS: u64 = 40;

struct Run {
    mbps: f64,
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
        mbps: bytes as f64 * 8e3 / (SECONDS * SEC) as f64,
        share: bytes as f64 * 1500.0 / 1448.0 / capacity as f64,
        echo: world.echoes().iter().map(|e| e.rtt_ns).collect(),
    }
}

fn excess(loaded: &Run, idle: &Run) -> Vec<u64> {
    let pairs = loaded.echo.iter().zip(&idle.echo);
    let mut all: Vec<u64> = pairs.filter_map(|(l, i)| Some(l.as_ref()?.saturating_sub(*i.as_ref()?))).collect();
    all.sort_unstable();
    all
}

pub fn table(links: &[&str], seeds: u64, radio: Option<f64>, queue: Option<u64>, flows: usize) {
    println!("{:<12} seed | smart: util  p50  p95  p99 | cubic: util  p50  p95 | bbr: util  p95 | bbr proxy: util  p95 | of cubic's goodput, p95; of the proxy's", "link");
    for name in links {
        for seed in 1..=seeds {
            let Some((mut down, mut up, _)) = link(name, seed, queue, radio) else { continue };
            // The world mixes its own seed in.
            (down.seed, up.seed) = (down.seed, up.seed);
            let run = |inet, cc, engine| one(&down, &up, inet, cc, engine, flows);
            let idle = run(30.0, None, false);
            let s = run(30.0, Some(CcKind::Cubic), true);
            let c = run(30.0, Some(CcKind::Cubic), false);
            let b = run(30.0, Some(CcKind::Bbr), false);
            let p = run(0.0, Some(CcKind::Bbr), false);
            let idle_near = run(0.0, None, false);
            let at = |r: &Run, idle: &Run, q| percentile(&excess(r, idle), q) as f64 / 1e6;
            println!(
                "{name:<12} {seed:>4} | {:>6.3} {:>5.0} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} | {:>6.3} {:>5.0} | {:>5.3} {:>5.3}; {:>5.3} {:>5.3} | {:.2} Mbit/s",
                s.share, at(&s, &idle, 50.0), at(&s, &idle, 95.0), at(&s, &idle, 99.0),
                c.share, at(&c, &idle, 50.0), at(&c, &idle, 95.0),
                b.share, at(&b, &idle, 95.0), p.share, at(&p, &idle_near, 95.0),
                s.share / c.share, at(&s, &idle, 95.0) / at(&c, &idle, 95.0),
                s.share / p.share, at(&s, &idle, 95.0) / at(&p, &idle_near, 95.0), s.mbps
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
            if engine && std::env::var("WATCH").is_ok_and(|w| name.starts_with(&w)) {
                let mut last = 0;
                for k in 0..200u64 {
                    world.run_until(k * SEC / 5);
                    let got = world.received(0).0;
                    if let Some(g) = world.engine().and_then(|e| e.subscribers().next()) {
                        println!("{:.1} {:?} got {:.2} Mbps backlog {:?}", k as f64 / 5.0, g, (got - last) as f64 * 4e-5, world.link(LinkId::RadioDown(0)).backlog());
                    }
                    last = got;
                }
            }
            world.run_until(8 * SEC);
            let before = world.received(0).0;
            world.run_until(40 * SEC);
            (world.received(0).0 - before) as f64 * 8e3 / (32 * SEC) as f64
        };
        let (with, without) = (mbps(true), mbps(false));
        println!("{name:<28} with {with:>6.2} without {without:>6.2} ratio {:.2}", with / without);
    }
}
