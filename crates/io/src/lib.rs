//! AF_XDP, AF_PACKET, steering, the frame ledger.
//!
//! The home of `unsafe`: each module that needs it says so here, and each block says why it is sound. Everything that
//! leaves this crate is safe to call.

pub mod error;
#[allow(unsafe_code)]
pub mod raw;
#[allow(unsafe_code)]
pub mod steer;
#[allow(unsafe_code)]
pub mod sys;

pub use error::IoError;
