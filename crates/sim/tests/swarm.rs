//! Worlds at random, a subset of faults each. A failure prints its seed; `SEED=n cargo test -p smartwire-sim --test swarm`
//! runs that one alone, `SEEDS=n` as many as asked.

use std::panic::{catch_unwind, AssertUnwindSafe};

use smartwire_sim::faults;
use smartwire_sim::world::WireSpec;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|n| n.parse().ok())
}

/// Runs `count` seeds from `from`; each failure is printed, and the seeds that failed are returned.
fn swarm(from: u64, count: u64, change: impl Fn(&mut smartwire_sim::world::WorldSpec)) -> Vec<u64> {
    let (from, count) = number("SEED").map_or((from, number("SEEDS").unwrap_or(count)), |seed| (seed, 1));
    let mut failed = Vec::new();
    for seed in from..from + count {
        println!("{seed}");
        let mut spec = faults::world(seed);
        change(&mut spec);
        match catch_unwind(AssertUnwindSafe(|| faults::run(spec))) {
            Ok(Ok(_)) => {}
            Ok(Err(what)) => {
                println!("{what}\n");
                failed.push(seed);
            }
            Err(_) => {
                println!("seed {seed} panicked\n");
                failed.push(seed);
            }
        }
    }
    failed
}

#[test]
fn whatever_fails_every_byte_arrives_and_every_connection_ends() {
    let failed = swarm(1, 60, |_| {});
    assert!(failed.is_empty(), "seeds {failed:?}");
}

/// What the engine is held to is held to by TCP itself: over a plain wire the same worlds end well too.
#[test]
fn the_same_worlds_end_well_over_a_plain_wire() {
    let failed = swarm(1, 60, |spec| spec.wire = WireSpec::Copper);
    assert!(failed.is_empty(), "seeds {failed:?}");
}
