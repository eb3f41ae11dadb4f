//! Worlds at random, a subset of faults each. A failure prints its seed and the smallest world that fails in the same way;
//! `FROM=n SEEDS=n JOBS=n cargo test --release -p smartwire-sim --test swarm` runs others, as `smartwire sim fuzz` does.

use smartwire_sim::fuzz::{self, file, Plan};
use smartwire_sim::world::WireSpec;
use smartwire_sim::faults;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

#[test]
fn whatever_fails_every_byte_arrives_and_every_connection_ends() {
    let plan = Plan {
        from: number("FROM").unwrap_or(1),
        seeds: number("SEEDS").unwrap_or(60),
        jobs: number("JOBS").unwrap_or(2) as usize,
        limit: None,
        shrink_runs: number("SHRINK").unwrap_or(300) as u32,
    };
    let outcome = fuzz::run(&plan, &mut |ran, failed| {
        if ran % 1000 == 0 {
            println!("{ran} worlds, {failed} failed");
        }
        true
    });
    for f in &outcome.failures {
        println!("seed {}: {}", f.seed, f.what);
        if let Some(world) = &f.world {
            println!("{}", file::write(f.seed, &f.what, world));
        }
    }
    println!("{} worlds, {:.1} h of virtual time", outcome.ran, outcome.virtual_ns as f64 / 3.6e12);
    let failed: Vec<u64> = outcome.failures.iter().map(|f| f.seed).collect();
    assert!(failed.is_empty(), "seeds {failed:?}");
}

/// What the engine is held to is held to by TCP itself: over a plain wire the same worlds end well too.
#[test]
fn the_same_worlds_end_well_over_a_plain_wire() {
    let from = number("FROM").unwrap_or(1);
    for seed in from..from + number("COPPER").unwrap_or(60) {
        let spec = smartwire_sim::world::WorldSpec { wire: WireSpec::Copper, ..faults::world(seed) };
        fuzz::verdict(&spec).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

/// Worlds that found something wrong once, with the engine, a model, a checker or the generator of worlds.
const FOUND: [u64; 18] = [
    2188, 2191, 2254, 2307, 3962, 5768, 5960, 7637, 10538, 10637, 11775, 12347, 12358, 12938, 14138, 15404, 15700, 19220,
];

#[test]
fn worlds_that_once_failed_end_well() {
    for seed in FOUND {
        fuzz::verdict(&faults::world(seed)).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}
