//! Issue 3, "Radio": every trace and every built-in profile over radio and internet legs, queues and numbers of flows;
//! beside CUBIC and BBR servers without the engine; what holds in each cell, and in how many of all.
//!
//! `cargo run --release -p smartwire-sim --example sweep -- [--every N] [--from K] [--seconds S] [--links a,b] [--far]`
//!
//! `--every N` takes every N-th cell only; `--far` takes radio legs of 80 and 150 ms beside an ideal controller instead.

mod ideal;

use smartwire_sim::measure::{self, Plan, Report};
use smartwire_sim::profiles;
use smartwire_sim::trace::recorded;

const TRACES: [&str; 3] = ["Verizon-LTE-short", "ATT-LTE-driving-2016", "TMobile-UMTS-driving-180s"];
const MS: u64 = 1_000_000;

/// One cell: where it runs.
#[derive(Clone)]
struct Cell {
    link: String,
    radio_ms: f64,
    internet_ms: f64,
    queue_bytes: u64,
    flows: usize,
}

/// What must hold in a cell, by name.
const HOLDS: [&str; 6] = ["utilisation", "p95", "cubic/5", "bbr p95", "bbr goodput", "overflow"];

impl Cell {
    fn plan(&self, seconds: f64, cc: &str, optimize: bool) -> Plan {
        let file = recorded(&format!("{}.down", self.link));
        Plan {
            down: if profiles::NAMES.contains(&self.link.as_str()) { self.link.clone() } else { file.display().to_string() },
            radio_ms: Some(self.radio_ms),
            rtt_ms: Some(self.radio_ms + self.internet_ms),
            queue_bytes: Some(self.queue_bytes),
            flows: self.flows,
            seconds,
            cc: cc.into(),
            optimize,
            ..Plan::default()
        }
    }

    fn run(&self, seconds: f64, cc: &str, optimize: bool) -> Report {
        measure::run(&self.plan(seconds, cc, optimize), &mut |_| true).unwrap_or_else(|e| panic!("{}: {e}", self.name()))
    }

    fn name(&self) -> String {
        let Cell { link, radio_ms, internet_ms, queue_bytes, flows } = self;
        format!("{link:<26} {radio_ms:>3} {internet_ms:>4} {:>5} {flows:>3}", queue_bytes / 1000)
    }
}

/// Utilisation, and p50 and p95 of the self-inflicted delay, ms.
fn figures(r: &Report) -> (f64, f64, f64) {
    (r.utilisation.unwrap_or(0.0), r.self_inflicted_ms.p50, r.self_inflicted_ms.p95)
}

/// Whether each of [`HOLDS`] does; what does not apply, does.
fn judge(engine: &Report, cubic: &Report, bbr: &Report) -> [bool; 6] {
    let ((used, _, p95), (most, _, cubic95), (_, _, bbr95)) = (figures(engine), figures(cubic), figures(bbr));
    [
        most < 0.99 || used >= 0.90,
        p95 <= 200.0,
        p95 <= cubic95 / 5.0,
        p95 <= bbr95,
        engine.goodput_mbps >= 0.98 * bbr.goodput_mbps,
        engine.overflow <= 0.005,
    ]
}

fn links(only: Option<String>) -> Vec<String> {
    if let Some(names) = only {
        return names.split(',').map(String::from).collect();
    }
    let traces = TRACES.iter().filter(|t| recorded(&format!("{t}.down")).exists());
    profiles::NAMES.iter().chain(traces).map(|name| name.to_string()).collect()
}

fn cells(links: &[String], radios: &[f64]) -> Vec<Cell> {
    let mut all = Vec::new();
    for link in links {
        for &radio_ms in radios {
            for internet_ms in [0.0, 30.0, 100.0] {
                for queue_bytes in [250_000, 2_000_000, 8_000_000] {
                    for flows in [1, 4, 16] {
                        all.push(Cell { link: link.clone(), radio_ms, internet_ms, queue_bytes, flows });
                    }
                }
            }
        }
    }
    all
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn sweep(cells: &[&Cell], seconds: f64) {
    println!("{:<26} rad  int queue fl | engine: used p50 p95 overflow | cubic: used p95 | bbr: used p95 | misses", "link, ms, ms, kB");
    let (mut held, mut full, mut rows) = ([0; 6], Vec::new(), Vec::new());
    let mut all = 0;
    for cell in cells {
        let [engine, cubic, bbr] = [("cubic", true), ("cubic", false), ("bbr", false)].map(|(cc, wire)| cell.run(seconds, cc, wire));
        let holds = judge(&engine, &cubic, &bbr);
        let (e, c, b) = (figures(&engine), figures(&cubic), figures(&bbr));
        let missed: Vec<&str> = HOLDS.iter().zip(holds).filter(|h| !h.1).map(|h| *h.0).collect();
        println!(
            "{} | {:.3} {:>4.0} {:>5.0} {:.4} | {:.3} {:>6.0} | {:.3} {:>5.0} | {}",
            cell.name(), e.0, e.1, e.2, engine.overflow, c.0, c.2, b.0, b.2, missed.join(", ")
        );
        for (count, hold) in held.iter_mut().zip(holds) {
            *count += usize::from(hold);
        }
        all += usize::from(missed.is_empty());
        if c.0 >= 0.99 {
            full.push(e.0);
        }
        rows.push(e);
    }
    let n = cells.len().max(1) as f64;
    println!("\n{} cells of {seconds} s; all of these hold in {:.0} %:", cells.len(), 100.0 * f64::from(all as u32) / n);
    for (name, count) in HOLDS.iter().zip(held) {
        println!("  {name:<12} {:>5.1} %", 100.0 * f64::from(count as u32) / n);
    }
    let mean = full.iter().sum::<f64>() / full.len().max(1) as f64;
    println!("  mean utilisation where an endless CUBIC reaches 99 % ({} cells): {mean:.3} (0.97 wanted)", full.len());
    let worst = rows.iter().map(|r| r.2).fold(0.0, f64::max);
    println!("  p95: median {:.0} (130), worst {worst:.0} (200); median of p50: {:.0} (60)", median(rows.iter().map(|r| r.2).collect()), median(rows.iter().map(|r| r.1).collect()));
}

/// Long radio legs, beside the ideal controller.
fn far(cells: &[&Cell], seconds: f64) {
    println!("{:<26} rad  int queue fl | engine: used p95 | ideal: used p95 | no worse", "link, ms, ms, kB");
    let mut held = 0;
    for cell in cells {
        let engine = cell.run(seconds, "cubic", true);
        let capacity = measure::capacity(&cell.plan(seconds, "cubic", true), MS).expect("a plan that has just run");
        let best = ideal::run(&capacity, cell.radio_ms as usize);
        let (used, _, p95) = figures(&engine);
        let holds = used >= best.used && p95 <= best.p95_ms;
        held += usize::from(holds);
        println!("{} | {used:.3} {p95:>5.0} | {:.3} {:>5.0} | {holds}", cell.name(), best.used, best.p95_ms);
    }
    println!("\nno worse in {held} of {} cells", cells.len());
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let get = |key: &str| args.iter().position(|a| a == key).and_then(|i| args.get(i + 1)).cloned();
    let number = |key: &str, default: f64| get(key).map_or(default, |s| s.parse().expect("a number"));
    let is_far = args.iter().any(|a| a == "--far");
    let all = cells(&links(get("--links")), if is_far { &[80.0, 150.0] } else { &[40.0, 50.0] });
    let (every, from) = (number("--every", 1.0) as usize, number("--from", 0.0) as usize);
    let chosen: Vec<&Cell> = all.iter().skip(from).step_by(every.max(1)).collect();
    let seconds = number("--seconds", 30.0);
    if is_far {
        far(&chosen, seconds);
    } else {
        sweep(&chosen, seconds);
    }
}
