//! Any bytes as a frame.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    smartwire_sim::feed::packet(data);
});
