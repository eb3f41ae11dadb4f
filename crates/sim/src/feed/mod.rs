//! What a coverage-guided fuzzer feeds: bytes that mean frames, and sequences of frames. `fuzz/` has the fuzzer and the
//! corpus that it found, `tests/corpus.rs` feeds that corpus again. What is wrong panics.
//!
//! ```text
//!   packet   any bytes are a frame: parsed, written again, cut, edited
//!   engine   bytes are what happens to an engine: segments of two ends, damage, time, orders
//! ```

mod engine;
mod packet;

pub use engine::engine;
pub use packet::packet;
