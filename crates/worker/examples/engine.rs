//! The engine's benchmark alone, without Python around it: for profilers.
//!
//! ```text
//! cargo build --release -p smartwire-worker --example engine
//! valgrind --tool=callgrind --toggle-collect='*Bench*take*' --toggle-collect='*Bench*time*' \
//!     target/release/examples/engine 10000 60000
//! ```

use smartwire_worker::bench::{nanoseconds, run, Class, Plan};

#[global_allocator]
static MEMORY: smartwire_io::huge::Large = smartwire_io::huge::Large;

fn main() {
    let number = |n: usize, otherwise: u64| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(otherwise);
    let plan = Plan { flows: number(1, 10_000) as u32, packets: number(2, 1_000_000), seed: 1 };
    match run(&plan, nanoseconds) {
        Ok(report) => {
            println!("{:.0} ns per packet, timers {:.0}", report.ns_per_packet, report.ns_timers);
            println!("handshake {:.0}, bytes per flow {:.1}", report.ns_handshake, report.bytes_per_flow);
            println!("digest {:016x}, early {:.3}", report.digest, report.early as f64 / report.acknowledged.max(1) as f64);
            for (class, name) in Class::NAMES.iter().enumerate() {
                println!("{name} {:.0}", report.ns_of(class));
            }
        }
        Err(why) => println!("{why}"),
    }
}
