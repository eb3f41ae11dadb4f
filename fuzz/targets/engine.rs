//! Any bytes as what happens to an engine. Says how many packets that were, now and then.
#![no_main]

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

static PACKETS: AtomicU64 = AtomicU64::new(0);
const SAY: u64 = 1_000_000;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let count = smartwire_sim::feed::engine(data);
    let before = PACKETS.fetch_add(count, Relaxed);
    if before / SAY != (before + count) / SAY {
        eprintln!("{} million packets", (before + count) / SAY);
    }
});
