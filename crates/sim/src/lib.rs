//! Virtual time: links, radio model, model endpoints, scenarios.
//!
//! The link model ([`link`]) is sans-IO and serves virtual time and the lab's real-time emulator alike.
#![forbid(unsafe_code)]

pub mod check;
pub mod codec;
pub mod crossings;
pub mod emulator;
pub mod endpoint;
pub mod faults;
pub mod feed;
pub mod fuzz;
pub mod link;
pub mod measure;
pub mod pcapng;
pub mod profiles;
pub mod replay;
pub mod rng;
pub mod script;
pub mod settings;
pub mod trace;
pub mod tunnel;
pub mod world;
