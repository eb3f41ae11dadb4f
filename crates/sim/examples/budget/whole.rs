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

/// Round trip between wire and servers, ms.
const INTERNET_MS: f64 = 30.0;

fn world(down: &LinkSpec, up: &LinkSpec, inet_ms: f64, cc: Option<CcKind>, engine: bool, flows: usize) -> World {
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
    World::new(WorldSpec {
        seed: 1,
        phones: vec![(down.clone(), up.clone())],
        internet: (inet.clone(), inet),
        wire: if engine { WireSpec::Engine(Box::<EngineSpec>::default()) } else { WireSpec::Copper },
        flows: (0..if cc.is_some() { flows } else { 0 }).map(bulk).collect(),
        probe_every_ns: Some(20 * MS),
        ..WorldSpec::default()
    })
    .expect("a valid world")
}

fn received(world: &World) -> u64 {
    (0..world.flow_count()).map(|i| world.received(i).0).sum()
}

fn one(down: &LinkSpec, up: &LinkSpec, inet_ms: f64, cc: Option<CcKind>, engine: bool, flows: usize) -> Run {
    let mut world = world(down, up, inet_ms, cc, engine, flows);
    world.run_until(SECONDS * SEC);
    let capacity = world.capacity_bytes(LinkId::RadioDown(0), 0, SECONDS * SEC).unwrap_or(1);
    Run {
        share: received(&world) as f64 * 1500.0 / 1448.0 / capacity as f64,
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
    MODES.map(|mode| figures(down, up, flows, mode))
}

type Mode = (f64, CcKind, bool);
const MODES: [Mode; 4] =
    [(INTERNET_MS, CcKind::Cubic, true), (INTERNET_MS, CcKind::Cubic, false), (INTERNET_MS, CcKind::Bbr, false), (0.0, CcKind::Bbr, false)];

fn figures(down: &LinkSpec, up: &LinkSpec, flows: usize, (inet, cc, engine): Mode) -> Figures {
    let idle = one(down, up, inet, None, false, flows);
    let loaded = one(down, up, inet, Some(cc), engine, flows);
    Figures { share: loaded.share, ms: [50.0, 95.0, 99.0].map(|p| excess(&loaded, &idle, p)) }
}

pub fn table(links: &[&str], seeds: u64, radio: Option<f64>, queue: Option<u64>, flows: usize, engine_only: bool) {
    println!("{:<12} seed | engine: share p50 p95 p99 | cubic: share p50 p95 | bbr: share p95 | proxy: share p95 | engine of cubic: share, p95 | engine of proxy: share, p95", "link");
    for name in links {
        for seed in 1..=seeds {
            let Some((down, up, _)) = link(name, seed, queue, radio) else { continue };
            if engine_only {
                let s = figures(&down, &up, flows, MODES[0]);
                println!("{name:<12} {seed:>4} | {:>6.3} {:>5.0} {:>5.0} {:>5.0}", s.share, s.ms[0], s.ms[1], s.ms[2]);
                continue;
            }
            let [s, c, b, p] = compare(&down, &up, flows);
            println!(
                "{name:<12} {seed:>4} | {:>6.3} {:>5.0} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} | {:>6.3} {:>5.0} | {:>5.3} {:>5.3} | {:>5.3} {:>5.3}",
                s.share, s.ms[0], s.ms[1], s.ms[2], c.share, c.ms[0], c.ms[1], b.share, b.ms[1], p.share, p.ms[1],
                s.share / c.share, s.ms[1] / c.ms[1], s.share / p.share, s.ms[1] / p.ms[1]
            );
        }
    }
}

/// Where capacity goes unused, per 100 ms: with the engine, and with BBR behind a proxy. `q`: bytes in the radio's queue.
pub fn lost(name: &str, seed: u64, radio: Option<f64>, queue: Option<u64>, flows: usize) {
    let (down, up, _) = link(name, seed, queue, radio).expect("a link");
    let mut engine = world(&down, &up, INTERNET_MS, Some(CcKind::Cubic), true, flows);
    let mut proxy = world(&down, &up, 0.0, Some(CcKind::Bbr), false, flows);
    println!("   s   capacity | engine: sent      q unused | budget flight   rate least   rtt | proxy: sent      q unused | excess ms");
    let mut unused = [0i64; 2];
    let mut quiet = world(&down, &up, INTERNET_MS, None, false, 0);
    quiet.run_until(SECONDS * SEC);
    let mut loaded = world(&down, &up, INTERNET_MS, Some(CcKind::Cubic), true, flows);
    loaded.run_until(SECONDS * SEC);
    let echo = |w: &World, k: u64| w.echoes().get(k as usize).and_then(|e| e.rtt_ns);
    for bin in 0..SECONDS * 10 {
        let (from, to) = (bin * 100 * MS, (bin + 1) * 100 * MS);
        let capacity = engine.capacity_bytes(LinkId::RadioDown(0), from, to).unwrap_or(0);
        let left = |w: &mut World, unused: &mut i64| {
            let of = |w: &World| w.link(LinkId::RadioDown(0)).totals().by_fate[0].1;
            let before = of(w);
            w.run_until(to);
            let sent = of(w) - before;
            *unused += capacity as i64 - sent as i64;
            (sent, w.link(LinkId::RadioDown(0)).backlog().0, *unused)
        };
        let (e, p) = (left(&mut engine, &mut unused[0]), left(&mut proxy, &mut unused[1]));
        let Some(it) = engine.engine().and_then(|e| e.subscribers().next()) else { continue };
        let ms = |ns: u64| ns / MS;
        println!(
            "{:>5.1} {capacity:>9} | {:>8} {:>9} {:>8} | {:>8} {:>8} {:>7} {:>4} {:>6} | {:>8} {:>9} {:>8} | {:>6}",
            bin as f64 / 10.0, e.0, e.1, e.2, if it.budget == u64::MAX { 0 } else { it.budget }, it.in_flight, it.rate, ms(it.min_rtt_ns), ms(it.rtt_ns), p.0, p.1, p.2,
            format!("{:?} {:?}", echo(&loaded, bin * 5).map(ms), echo(&quiet, bin * 5).map(ms))
        );
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
