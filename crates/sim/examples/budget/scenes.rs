//! Situations that a budget must master, each with what it gives beside an unlimited CUBIC sender.

use smartwire_sim::link::LinkSpec;

use crate::phone::Clock;
use crate::world::{run, Case, FlowSpec, Outcome, Udp, Who, MS, SEC};
use crate::delay::{excess, excess_between, percentile};

fn spec(json: &str) -> LinkSpec {
    LinkSpec::from_json(json).expect("a valid link")
}

/// 20 Mbit/s down, 5 up, radio round trip of 50 ms.
pub fn plain() -> Case {
    let down = spec(r#"{"rate": {"mbps": 20}, "queue_bytes": 2000000, "delay_ms": 25}"#);
    let up = spec(r#"{"rate": {"mbps": 5}, "queue_bytes": 1000000, "delay_ms": 25}"#);
    Case { grant: 5 * MS, ..Case::new(down, up) }
}

pub fn goodput(o: &Outcome, flow: usize, from: u64, to: u64) -> f64 {
    let bin = |t: u64| (t / (100 * MS)) as usize;
    let bytes: u64 = o.bins[flow].iter().skip(bin(from)).take(bin(to) - bin(from)).sum();
    bytes as f64 * 8e3 / (to - from) as f64
}

fn idle(case: &Case) -> Outcome {
    run(&Case { flows: Vec::new(), udp: None, ..case.clone() })
}

fn p95(o: &Outcome, idle: &Outcome, from: u64, to: u64) -> f64 {
    percentile(&excess_between(o, idle, from, to), 95.0) as f64 / 1e6
}

/// A bulk download beside what `more` adds; goodput of the download with and without budget.
fn beside(name: &str, case: &Case, from: u64, to: u64) {
    let idle = idle(case);
    let with = |who| {
        let mut c = case.clone();
        c.flows[0].who = who;
        run(&c)
    };
    let (s, c) = (with(Who::Smart), with(Who::Cubic));
    let (a, b) = (goodput(&s, 0, from, to), goodput(&c, 0, from, to));
    println!(
        "{name:<44} smart {a:>6.2} cubic {b:>6.2} ratio {:>5.2} | p95 during {:>5.0} cubic {:>5.0} after {:>5.0} cubic {:>5.0} p50 after {:>4.0}",
        a / b,
        p95(&s, &idle, from, to),
        p95(&c, &idle, from, to),
        p95(&s, &idle, to + 5 * SEC, case.length),
        p95(&c, &idle, to + 5 * SEC, case.length),
        percentile(&excess_between(&s, &idle, to + 5 * SEC, case.length), 50.0) as f64 / 1e6,
    );
}

/// Prints what the controller thinks, every 20 ms.
pub fn watch(case: &Case) {
    let mut case = case.clone();
    case.trace = true;
    for (t, g, backlog) in &run(&case).trace {
        println!(
            "{:>8.2} infl {:>8} budget {:>9} rate {:>7.2} Mbps min {:>5.1} rtt {:>6.1} q {:>6.1} {:?} backlog {}",
            *t as f64 / 1e9, g.in_flight, if g.budget == u64::MAX { 0 } else { g.budget }, g.rate as f64 * 8e-6, g.min_rtt_ns as f64 / 1e6,
            g.rtt_ns as f64 / 1e6, g.queue_ns as f64 / 1e6, g.mode, backlog
        );
    }
}

pub fn upload(hz: u32, queue: u64) -> Case {
    let mut case = plain();
    case.up.queue_bytes = Some(queue);
    case.clock = Clock { hz, offset: 9, skew_ppm: 50 };
    case.flows = vec![FlowSpec::bulk(Who::Smart), FlowSpec { up: true, start: 5 * SEC, stop: 25 * SEC, ..FlowSpec::bulk(Who::Cubic) }];
    case
}

pub fn foreign_tcp(n: usize, start: u64, every: u64) -> Case {
    let mut case = plain();
    case.length = 60 * SEC;
    case.foreign_every = every;
    case.flows = vec![FlowSpec::bulk(Who::Smart)];
    case.flows.extend(vec![FlowSpec { start: start * SEC, stop: 40 * SEC, ..FlowSpec::bulk(Who::Cubic) }; n]);
    case
}

pub fn path(ms: u64) -> Case {
    let mut case = plain();
    case.longer = Some((10 * SEC, ms * MS));
    case.flows = vec![FlowSpec::bulk(Who::Smart)];
    case
}

pub fn udp(mbps: f64, every: u64) -> Case {
    let mut case = plain();
    case.foreign_every = every;
    case.flows = vec![FlowSpec::bulk(Who::Smart)];
    case.udp = Some(Udp { mbps, from: 5 * SEC, to: 25 * SEC });
    case
}

pub fn starving() {
    let clocks = [("1000 Hz", 1000), ("100 Hz", 100), ("no ts", 0)];
    for (what, hz) in clocks {
        for queue in [312_000, 1_000_000] {
            let case = upload(hz, queue);
            beside(&format!("upload, {} kB up queue, {what}", queue / 1000), &case, 8 * SEC, 25 * SEC);
        }
    }
    for every in [100 * MS, 0] {
        let told = if every > 0 { "told" } else { "not told" };
        for mbps in [5.0, 10.0, 19.0, 25.0] {
            let case = udp(mbps, every);
            beside(&format!("udp {mbps} Mbit/s, {told}"), &case, 8 * SEC, 25 * SEC);
        }
        for (n, start) in [(1, 5), (1, 0), (3, 5)] {
            let case = foreign_tcp(n, start, every);
            beside(&format!("{n} tcp from {start} s, {told}"), &case, 8 * SEC, 40 * SEC);
        }
    }
}

/// When the goodput of a 100 ms bin first stays at `share` of `mbps` for 500 ms, s from `from`.
pub fn full_at(o: &Outcome, from: u64, mbps: f64, share: f64) -> f64 {
    let need = (mbps * share * 1e6 / 80.0) as u64;
    let sum = |bin: usize| o.bins.iter().map(|b| b.get(bin).copied().unwrap_or(0)).sum::<u64>();
    let first = (from / (100 * MS)) as usize;
    let bins = o.bins.iter().map(Vec::len).max().unwrap_or(0);
    let at = (first..bins).find(|&b| (b..b + 5).all(|k| sum(k) >= need));
    at.map_or(f64::INFINITY, |b| (b - first) as f64 / 10.0)
}

pub fn start() {
    for (rtt, mbps) in [(600u32, 25), (600, 100), (300, 25), (50, 20), (50, 100), (20, 300), (150, 20)] {
        let way = rtt / 2;
        let mut case = plain();
        case.down = spec(&format!(r#"{{"rate": {{"mbps": {mbps}}}, "queue_bytes": 3000000, "delay_ms": {way}}}"#));
        case.up = spec(&format!(r#"{{"rate": {{"mbps": 20}}, "queue_bytes": 1000000, "delay_ms": {way}}}"#));
        let idle = idle(&case);
        for who in [Who::Smart, Who::Cubic] {
            case.flows = vec![FlowSpec::bulk(who)];
            let o = run(&case);
            let peak = excess_between(&o, &idle, 0, 8 * SEC).last().copied().unwrap_or(0) / MS;
            println!("start rtt {rtt} rate {mbps} {who:?}: full at {:.1} s (0.9), peak {peak} ms, p50 {} ms, goodput {:.2}",
                full_at(&o, 0, f64::from(mbps) * 1448.0 / 1500.0, 0.9), percentile(&excess(&o, &idle), 50.0) / MS, goodput(&o, 0, 10 * SEC, 40 * SEC));
        }
    }
}

pub fn freezes() {
    for (what, down, up) in [("both", true, true), ("down", true, false), ("up", false, true)] {
        for length in [300.0, 1000.0, 3000.0, 10_000.0] {
            for hz in [1000, 0] {
                let mut case = plain();
                case.clock.hz = hz;
                let freeze = vec![(10_000.0, length)];
                if down {
                    case.down.freezes = freeze.clone();
                }
                if up {
                    case.up.freezes = freeze;
                }
                let idle = idle(&case);
                case.flows = vec![FlowSpec::bulk(Who::Smart)];
                let o = run(&case);
                let end = ((10_000.0 + length) as u64) * MS;
                let earlier = goodput(&o, 0, 5 * SEC, 10 * SEC);
                println!(
                    "freeze {what} {length} ms, {hz} Hz: back at {:.1} s, goodput after {:.2}, p95 after {:.0} ms, resent {}",
                    full_at(&o, end, earlier, 0.9), goodput(&o, 0, end + SEC, end + 10 * SEC), p95(&o, &idle, end + 2 * SEC, end + 15 * SEC), o.resent[0]
                );
            }
        }
    }
}

pub fn steps() {
    for (name, a, b) in [("20-2", 20, 2), ("50-5", 50, 5), ("5-50", 5, 50)] {
        let mut case = plain();
        let steps: Vec<String> = (0..8).map(|k| format!("[{}, {}]", k * 5000, if k % 2 == 0 { a } else { b })).collect();
        case.down = spec(&format!(r#"{{"rate": {{"steps": [{}]}}, "queue_bytes": 2000000, "delay_ms": 25}}"#, steps.join(",")));
        let idle = idle(&case);
        for who in [Who::Smart, Who::Cubic, Who::Bbr { proxy: true }] {
            case.flows = vec![FlowSpec::bulk(who)];
            let o = run(&case);
            let up: Vec<f64> = (0..8).filter(|k| if k % 2 == 0 { a > b } else { b > a }).filter(|&k| k > 0).map(|k| full_at(&o, k * 5 * SEC, f64::from(a.max(b)) * 0.965, 0.9)).collect();
            println!("steps {name} {who:?}: goodput {:.2}, p50 {:.0} p95 {:.0} p99 {:.0}; full after the step up {up:?}",
                goodput(&o, 0, SEC, 40 * SEC), percentile(&excess(&o, &idle), 50.0) / MS, p95(&o, &idle, 0, 40 * SEC), percentile(&excess(&o, &idle), 99.0) / MS);
        }
    }
}

pub fn losses() {
    let mut cases: Vec<(String, Case)> = Vec::new();
    for loss in [0.0, 0.01, 0.03] {
        let mut case = plain();
        (case.down.loss, case.up.loss) = (loss, loss);
        cases.push((format!("{loss} random loss"), case));
    }
    let mut case = plain();
    case.down = spec(r#"{"policer": {"mbps": 5, "bucket_bytes": 30000}, "delay_ms": 25}"#);
    cases.push(("policer 5 Mbit/s, 30 kB".into(), case));
    for (mbps, queue) in [(100, 64_000), (20, 64_000), (20, 30_000), (5, 64_000)] {
        let mut case = plain();
        case.down = spec(&format!(r#"{{"rate": {{"mbps": {mbps}}}, "queue_bytes": {queue}, "delay_ms": 25}}"#));
        cases.push((format!("{} kB before {mbps} Mbit/s", queue / 1000), case));
    }
    let mut case = plain();
    case.down = spec(r#"{"rate": {"steps": [[0,100],[5000,10],[10000,100],[15000,10],[20000,100],[25000,10],[30000,100],[35000,10]]}, "queue_bytes": 64000, "delay_ms": 25}"#);
    cases.push(("64 kB, 100 to 10 Mbit/s every 5 s".into(), case));
    for (name, case) in cases {
        let idle = idle(&case);
        for who in [Who::Smart, Who::Cubic] {
            let mut c = case.clone();
            c.flows = vec![FlowSpec::bulk(who)];
            let o = run(&c);
            println!("{name:<36} {who:?}: goodput {:>6.2}, dropped {:.4}, resent {}, p95 {:.0}", goodput(&o, 0, 2 * SEC, 40 * SEC), o.dropped_packets as f64 / o.offered_packets.max(1) as f64, o.resent[0], p95(&o, &idle, 0, 40 * SEC));
        }
    }
}

pub fn longer() {
    for hz in [1000, 0] {
        for ms in [30, 100, 300] {
            let mut case = plain();
            case.clock.hz = hz;
            case.length = 60 * SEC;
            case.longer = Some((10 * SEC, ms * MS));
            let idle = idle(&case);
            case.flows = vec![FlowSpec::bulk(Who::Smart)];
            let o = run(&case);
            println!("way {ms} ms longer from 10 s on, {hz} Hz: goodput 11-20 s {:.2}, 20-60 s {:.2}, p95 {:.0}", goodput(&o, 0, 11 * SEC, 20 * SEC), goodput(&o, 0, 20 * SEC, 60 * SEC), p95(&o, &idle, 25 * SEC, 60 * SEC));
        }
    }
}
