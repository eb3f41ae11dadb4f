//! What the subscriber's budget does: utilisation and queueing delay over links, round trips and queues, beside an
//! unlimited CUBIC sender and a BBR-like one. `cargo run --release -p smartwire-sim --example budget -- [table] [links]`

mod bbr;
mod case;
mod delay;
mod event;
mod flow;
mod phone;
mod scenes;
mod whole;
mod world;

use delay::{excess, excess_down, link, percentile};
use world::{run, Case, FlowSpec, Outcome, Who, MS};

struct Row {
    util: f64,
    p: [f64; 3],
    selfq95: f64,
    again: u64,
    drops: f64,
}

fn measure(case: &Case, idle: &Outcome) -> Row {
    let o = run(case);
    let ex = excess(&o, idle);
    let ms = |ns: u64| ns as f64 / 1e6;
    let bytes: u64 = o.bytes.iter().sum();
    Row {
        util: bytes as f64 * 1500.0 / 1448.0 / o.capacity.unwrap_or(1) as f64,
        p: [ms(percentile(&ex, 50.0)), ms(percentile(&ex, 95.0)), ms(percentile(&ex, 99.0))],
        selfq95: ms(percentile(&excess_down(&o, idle), 95.0)),
        again: o.again,
        drops: o.dropped_packets as f64 / o.offered_packets.max(1) as f64,
    }
}

fn table(links: &[&str], seeds: u64, radios: &[Option<f64>], queues: &[Option<u64>], flows: usize, all: bool) {
    println!("{:<12} {:>4} {:>5} {:>6} | {:>6} {:>5} {:>5} {:>5} {:>6} | {:>6} {:>5} {:>5} {:>5} | {:>6} {:>5} | {:>6} {:>5} | u/cubic cub/p95", "link", "seed", "radio", "queue", "smart", "p50", "p95", "p99", "down95", "cubic", "p50", "p95", "p99", "bbr", "p95", "bbrprx", "p95");
    let mut sum = [0.0f64; 5];
    for name in links {
        let mut acc = [0.0f64; 4];
        let mut p95s = Vec::new();
        let mut n = 0.0;
        for &radio in radios {
            for &queue in queues {
                for seed in 1..=seeds {
                    let Some((down, up, grant)) = link(name, seed, queue, radio) else { continue };
                    let mut case = Case::new(down, up);
                    case.grant = grant;
                    case.seed = 0;
                    let idle = run(&case);
                    let with = |who| {
                        let mut c = case.clone();
                        c.flows = vec![FlowSpec::bulk(who); flows];
                        measure(&c, &idle)
                    };
                    let s = with(Who::Smart);
                    let none = || Row { util: 0.0, p: [0.0; 3], selfq95: 0.0, again: 0, drops: 0.0 };
                    let (c, b, p) = if all { (with(Who::Cubic), with(Who::Bbr { proxy: false }), with(Who::Bbr { proxy: true })) } else { (none(), none(), none()) };
                    if seeds <= 3 || all {
                        println!(
                            "{:<12} {:>4} {:>5} {:>6} | {:>6.3} {:>5.0} {:>5.0} {:>5.0} {:>6.0} | {:>6.3} {:>5.0} {:>5.0} {:>5.0} | {:>6.3} {:>5.0} | {:>6.3} {:>5.0} | {:>6.3} {:>5.1} drops {:.4} again {}",
                            name, seed, radio.unwrap_or(0.0), queue.unwrap_or(0) / 1000, s.util, s.p[0], s.p[1], s.p[2], s.selfq95, c.util, c.p[0], c.p[1], c.p[2],
                            b.util, b.p[1], p.util, p.p[1], s.util / c.util, c.p[1] / s.p[1], s.drops, s.again
                        );
                    }
                    acc[0] += s.util;
                    acc[1] += s.p[1];
                    acc[2] += s.p[0];
                    acc[3] += s.p[2];
                    p95s.push(s.p[1]);
                    n += 1.0;
                }
            }
        }
        if n > 0.0 {
            p95s.sort_by(f64::total_cmp);
            println!("{name:<12} mean: util {:.4} p50 {:.0} p95 {:.0} p99 {:.0} median p95 {:.0}", acc[0] / n, acc[2] / n, acc[1] / n, acc[3] / n, p95s[p95s.len() / 2]);
            for (s, a) in sum.iter_mut().zip(acc) {
                *s += a / n;
            }
            sum[4] += 1.0;
        }
    }
    println!("all          mean: util {:.4} p50 {:.0} p95 {:.0} p99 {:.0}", sum[0] / sum[4], sum[2] / sum[4], sum[1] / sum[4], sum[3] / sum[4]);
}

fn plot(name: &str, seed: u64, radio: Option<f64>, queue: Option<u64>, flows: usize) {
    let (down, up, grant) = link(name, seed, queue, radio).expect("a link");
    let mut case = Case::new(down, up);
    case.grant = grant;
    case.flows = vec![FlowSpec::bulk(Who::Smart); flows];
    scenes::watch(&case);
}

/// Where capacity goes unused, per 100 ms.
fn bins(name: &str, seed: u64, radio: Option<f64>, queue: Option<u64>, flows: usize, who: Who) {
    let (down, up, grant) = link(name, seed, queue, radio).expect("a link");
    let plan = smartwire_sim::link::LinkPlan::new(&down).expect("valid");
    let mut case = Case::new(down, up);
    case.grant = grant;
    case.seed = 0;
    case.flows = vec![FlowSpec::bulk(who); flows];
    let o = run(&case);
    let idle = { let mut c = case.clone(); c.flows.clear(); run(&c) };
    let mut total = 0;
    for bin in 0..400u64 {
        let cap = plan.capacity_bytes(0, bin * 100 * MS, (bin + 1) * 100 * MS).unwrap_or(0);
        let got: u64 = o.bins.iter().map(|b| b.get(bin as usize).copied().unwrap_or(0)).sum::<u64>() * 1500 / 1448;
        let lost = cap as i64 - got as i64;
        total += lost;
        let ex: Vec<u64> = (bin * 5..bin * 5 + 5).filter_map(|k| Some(o.echo.get(k as usize)?.as_ref()?.saturating_sub((*idle.echo.get(k as usize)?)?) / MS)).collect();
        println!("{:>5.1} cap {:>7} got {:>7} lost {:>7} sum {:>8} excess {:?}", bin as f64 / 10.0, cap, got, lost, total, ex);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let get = |key: &str| args.iter().position(|a| a == key).and_then(|i| args.get(i + 1)).cloned();
    let seeds = get("--seeds").map_or(1, |s| s.parse().expect("a number"));
    let flows = get("--flows").map_or(2, |s| s.parse().expect("a number"));
    let radios: Vec<Option<f64>> = get("--radio").map_or(vec![None], |s| s.split(',').map(|r| Some(r.parse().expect("ms"))).collect());
    let queues: Vec<Option<u64>> = get("--queue").map_or(vec![None], |s| s.split(',').map(|r| Some(r.parse().expect("bytes"))).collect());
    let names = get("--links").unwrap_or("lte-still,lte-driving,umts,5g,geo,leo,wifi-lossy,verizon,att,tmo,const20".into());
    let links: Vec<&str> = if names == "held-out" { delay::HELD_OUT.to_vec() } else { names.split(',').collect() };
    match args.first().map(String::as_str) {
        Some("watch") => scenes::watch(&match get("--case").as_deref() {
            Some("upload") => scenes::upload(get("--hz").map_or(1000, |h| h.parse().expect("Hz")), queues[0].unwrap_or(312_000)),
            Some("path") => scenes::path(radios[0].unwrap_or(100.0) as u64),
            Some("udp") => scenes::udp(radios[0].unwrap_or(25.0), if args.iter().any(|a| a == "--told") { 100 * MS } else { 0 }),
            _ => scenes::foreign_tcp(flows, 5, if args.iter().any(|a| a == "--told") { 100 * MS } else { 0 }),
        }),
        Some("whole") => whole::table(&links, seeds, radios[0], queues[0], flows, args.iter().any(|a| a == "--engine")),
        Some("lost") => whole::lost(links[0], seeds, radios[0], queues[0], flows),
        Some("beside") => whole::beside(),
        Some("starving") => scenes::starving(),
        Some("start") => scenes::start(),
        Some("freezes") => scenes::freezes(),
        Some("steps") => scenes::steps(),
        Some("losses") => scenes::losses(),
        Some("longer") => scenes::longer(),
        Some("bins") => bins(links[0], seeds, radios[0], queues[0], flows, if args.iter().any(|a| a == "--cubic") { Who::Cubic } else if args.iter().any(|a| a == "--bbr") { Who::Bbr { proxy: true } } else { Who::Smart }),
        Some("plot") => plot(links[0], seeds, radios[0], queues[0], flows),
        _ => table(&links, seeds, &radios, &queues, flows, args.iter().any(|a| a == "--all")),
    }
}
