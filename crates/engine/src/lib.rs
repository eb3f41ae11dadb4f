//! The TCP optimizer, sans-IO.
//!
//! Nothing here reads a clock, opens a socket, starts a thread or allocates after [`Engine::new`]. `now` is an argument,
//! randomness comes from the seed, output is a function of input: the same engine runs in virtual-time tests, in the
//! replay of a capture and in a worker, and the same journal gives byte-identical output in each.
//!
//! A connection is two streams. For stream X→Y the engine is the receiver towards X ([`recv`]) and the sender towards Y
//! ([`send`]). Between the two stands *custody*: the bytes that X believes delivered and that Y has not acknowledged.
#![forbid(unsafe_code)]

pub mod admit;
pub mod api;
pub mod broken;
pub mod config;
pub mod engine;
mod events;
mod flow;
pub mod policy;
pub mod pool;
pub mod reason;
pub mod recv;
pub mod send;
pub mod seq;
pub mod slab;
pub mod stats;
pub mod subscriber;
pub mod table;
pub mod wheel;

pub use api::{Command, Csum, CustodyMark, Event, FlowKey, FrameId, Io, Now, Port, Rx, Side, SubscriberKey};
pub use config::{Config, ConfigError};
pub use engine::{Engine, FlowInfo, Mode, SubscriberInfo};
pub use reason::{Finding, RefuseReason, StopReason};
pub use stats::Stats;
