//! Packet scripts: what the two ends of a connection send, and exactly what each of them receives from the wire between
//! them, in virtual time. docs/packet-scripts.md describes the dialect for those who write it; tests/tcp holds the scripts.
//!
//! ```text
//! # A segment of the server's is acknowledged to it at once and goes on to the client as it is.
//! # why: ...
//! handshake
//! +.010  server > P. 1:1001(1000) ack 1
//! +0     client < P. 1:1001(1000) ack 1
//! +0     server < .  1:1(0) ack 1001
//! ```
//!
//! `>` is sent by that end into the wire, `<` is received by it. Whatever an end receives and no line says is a failure.
//!
//! ```text
//!   parse     text to steps: `macros` the handshake, `marks` and `options` parts of a line; every error names its line and
//!             says what to write instead
//!   variant   the circumstances in which each script runs: address family, numbers that wrap, roles, tunnels
//!   frame     segments to frames; seen: frames to what a line can say
//!   run       one script in one variant: the engine, its frames, the checkers at both taps
//!   record    a capture as a script
//!   judge     what was expected against what came; show: the two time lines
//! ```

mod frame;
mod judge;
mod macros;
mod marks;
mod model;
mod options;
mod parse;
mod record;
mod report;
mod run;
mod seen;
mod show;
mod variant;

pub use model::Script;
pub use parse::{parse, Wrong};
pub use record::from_capture;
pub use report::{run_text, Choice, Report};
pub use variant::{Variant, VARIANTS};
