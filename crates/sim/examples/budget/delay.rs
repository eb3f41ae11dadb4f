//! Links by name, and the delay that a load adds to them.

use smartwire_sim::link::spec::Rate;
use smartwire_sim::link::LinkSpec;
use smartwire_sim::profiles;
use smartwire_sim::rng::Rng;
use smartwire_sim::trace::recorded;

use crate::world::{self, Outcome, MS};

/// The value that so many percent are not above.
pub fn percentile(sorted: &[u64], p: f64) -> u64 {
    if sorted.is_empty() {
        return 0;
    }
    sorted[((sorted.len() - 1) as f64 * p / 100.0).round() as usize]
}

/// Loaded less idle round trip of each probe that came back in both runs, sorted, ns.
pub fn excess(loaded: &Outcome, idle: &Outcome) -> Vec<u64> {
    let mut all: Vec<u64> = loaded
        .echo
        .iter()
        .zip(&idle.echo)
        .filter_map(|(l, i)| Some(l.as_ref()?.saturating_sub(*i.as_ref()?)))
        .collect();
    all.sort_unstable();
    all
}

/// Of the probes sent in `[from, to)` only.
pub fn excess_between(loaded: &Outcome, idle: &Outcome, from: u64, to: u64) -> Vec<u64> {
    let range = |o: &Outcome| {
        let index = |t: u64| ((t / world::ECHO_EVERY) as usize).min(o.echo.len());
        Outcome { echo: o.echo[index(from)..index(to)].to_vec(), ..Outcome::default() }
    };
    excess(&range(loaded), &range(idle))
}

/// The same for the way to the phone only.
pub fn excess_down(loaded: &Outcome, idle: &Outcome) -> Vec<u64> {
    let down = |o: &Outcome| Outcome { echo: o.echo_down.clone(), ..Outcome::default() };
    excess(&down(loaded), &down(idle))
}

/// Links that nothing was tuned on: other instances and later parts are had by other seeds; these have other statistics.
pub const HELD_OUT: [&str; 9] = ["jumps", "ragged", "fast-swings", "steep", "far", "long-outages", "verizon-back", "att-back", "tmo-back"];

/// A trace's directions; `back`: the phone's uplink serves as its downlink.
fn trace_link(name: &str, back: bool, offset_ms: f64, queue: u64, one_way_ms: f64) -> Option<(LinkSpec, LinkSpec)> {
    let spec = |way: &str, queue| {
        let file = recorded(&format!("{name}.{way}"));
        file.exists().then(|| {
            let file = file.display();
            let json = format!(r#"{{"rate": {{"trace": {{"file": "{file}", "offset_ms": {offset_ms}}}}}, "queue_bytes": {queue}, "delay_ms": {one_way_ms}}}"#);
            LinkSpec::from_json(&json).expect("valid")
        })
    };
    let (down, up) = if back { ("up", "down") } else { ("down", "up") };
    Some((spec(down, queue)?, spec(up, 1_000_000)?))
}

/// A random rate with other statistics than the profiles have; and its radio round trip, ms.
fn held_out(name: &str, seed: u64, queue: u64, radio: Option<f64>) -> Option<(LinkSpec, LinkSpec, u64)> {
    let (mean, sigma, memory, round_trip, outages) = match name {
        "fast-swings" => (12.0, 0.6, 300, 50.0, ""),
        "steep" => (6.0, 0.9, 1500, 50.0, ""),
        "far" => (6.0, 0.8, 800, 150.0, ""),
        "long-outages" => (3.0, 1.0, 3000, 70.0, r#", "outage_every_ms": 20000, "outage_ms": 1500"#),
        _ => return None,
    };
    let way = radio.unwrap_or(round_trip) / 2.0;
    let spec = |mean: f64, queue: u64, seed: u64| {
        let (least, most) = (mean / 40.0, mean * 8.0);
        let rate = format!(r#"{{"mean_mbps": {mean}, "sigma": {sigma}, "memory_ms": {memory}, "min_mbps": {least}, "max_mbps": {most}, "bunch_ms": 2{outages}}}"#);
        let json = format!(r#"{{"rate": {{"model": {rate}}}, "queue_bytes": {queue}, "delay_ms": {way}, "jitter_ms": 4, "seed": {seed}}}"#);
        LinkSpec::from_json(&json).expect("valid")
    };
    Some((spec(mean, queue, seed), spec(mean / 2.0, 1_000_000, seed ^ 0xA7), 0))
}

/// A rate that jumps between levels at random (a Markov chain): each level from 1/8 to 3 times `mean`, kept for 120 ms on
/// average. With `outages` nothing passes now and then, for 0.1 to 6 s (a Pareto tail), one time in three
/// each on the way there, the way back and both.
fn markov(seed: u64, mean: f64, queue: u64, radio: f64, outages: bool) -> (LinkSpec, LinkSpec, u64) {
    let mut rng = Rng::new(seed);
    let mut steps = |mean: f64| {
        let (mut all, mut at) = (Vec::new(), 0.0);
        while at < 45_000.0 {
            all.push((at, mean * (24f64.powf(rng.unit()) / 8.0)));
            at += 20.0 + rng.exponential(100.0);
        }
        Rate::Steps(all)
    };
    let spec = |rate, queue| LinkSpec { rate, queue_bytes: Some(queue), delay_ms: radio / 2.0, jitter_ms: 4.0, seed, ..LinkSpec::default() };
    let (mut down, mut up) = (spec(steps(mean), queue), spec(steps(mean / 2.0), 1_000_000));
    let mut at = rng.exponential(6_000.0);
    while outages && at < 45_000.0 {
        let length = (100.0 / (1.0 - rng.unit()).powf(1.0 / 1.2)).min(6_000.0);
        let which = rng.below(3);
        if which != 1 {
            down.freezes.push((at, length));
        }
        if which != 0 {
            up.freezes.push((at, length));
        }
        at += length + 500.0 + rng.exponential(6_000.0);
    }
    (down, up, 0)
}

/// A link by name: a profile, a trace (each seed begins 17 s later in it), a held-out one, or `constN` for N Mbit/s. `radio`: its round trip instead of the usual one, ms.
pub fn link(name: &str, seed: u64, queue: Option<u64>, radio: Option<f64>) -> Option<(LinkSpec, LinkSpec, u64)> {
    let q = queue.unwrap_or(2_000_000);
    if let Some(mbps) = name.strip_prefix("const") {
        let way = radio.unwrap_or(50.0) / 2.0;
        let spec = |mbps: &str, q| LinkSpec::from_json(&format!(r#"{{"rate": {{"mbps": {mbps}}}, "queue_bytes": {q}, "delay_ms": {way}}}"#)).expect("valid");
        return Some((spec(mbps, q), spec("10", 1_000_000), 5 * MS));
    }
    if let Ok(p) = profiles::profile(name, seed) {
        let (mut down, mut up) = (p.down, p.up);
        if let Some(q) = queue {
            down.queue_bytes = Some(q);
        }
        if let Some(r) = radio {
            (down.delay_ms, up.delay_ms) = (r / 2.0, r / 2.0);
        }
        return Some((down, up, 0));
    }
    if let Some(found) = held_out(name, seed, q, radio) {
        return Some(found);
    }
    if name == "jumps" || name == "ragged" {
        return Some(markov(seed, 6.0, q, radio.unwrap_or(50.0), name == "ragged"));
    }
    let (short, back) = name.strip_suffix("-back").map_or((name, false), |short| (short, true));
    let full = match short {
        "verizon" => "Verizon-LTE-short",
        "att" => "ATT-LTE-driving-2016",
        "tmo" => "TMobile-UMTS-driving-180s",
        _ => return None,
    };
    let offset = seed.saturating_sub(1) as f64 * 17_000.0;
    let (d, u) = trace_link(full, back, offset, q, radio.unwrap_or(50.0) / 2.0)?;
    Some((d, u, 0))
}
