//! Per packet the engine allocates nothing and copies no payload: counted, not claimed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use smartwire_worker::bench::{run, Plan};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that is ending has no counter any more, and nothing to measure.
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise is ours.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is ours.
        unsafe { System.dealloc(at, layout) }
    }
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise is ours.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn the_engine_allocates_nothing_per_packet_from_the_first_syn_on() {
    let plan = Plan { flows: 3_000, packets: 60_000, seed: 1 };
    let report = run(&plan, allocations).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((report.ns_handshake, report.ns_per_packet, report.ns_timers), (0.0, 0.0, 0.0));
    assert!((0..4).all(|class| report.ns_of(class) == 0.0));
    // The meter counts: between the engine's calls the generator does allocate.
    assert!(report.ns_generator > 0.0);
}

#[test]
fn payload_leaves_in_the_frame_that_it_came_in() {
    let report = run(&Plan { flows: 3_000, packets: 60_000, seed: 2 }, allocations).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(report.payload_copies, 0);
    assert_eq!((report.damaged, report.resets), (0, 0));
    assert!(report.data_out > 60_000 && report.lost > 200 && report.retransmitted + report.probes >= report.lost / 2);
    // All of it under custody: an acknowledgement of ours waits for a second full segment (RFC 5681 section 4.2), so of
    // what a client acknowledges its server has been told before, but for one segment at most that waited alone.
    assert!(report.most_late <= 1448, "{} bytes told late", report.most_late);
    assert!(report.early * 20 >= report.acknowledged * 19, "{} of {}", report.early, report.acknowledged);
}
