//! AF_XDP, AF_PACKET, steering, the frame ledger.
//!
//! The home of `unsafe`: each module that needs it says so here, and each block says why it is sound. Everything that
//! leaves this crate is safe to call.
//!
//! ```text
//!   ports, offload      what an interface must be before it can be a port, mended and put back
//!   steer               BPF: which frames come here, and the copper wire that carries all else
//!   xsk, packet         sockets: frames in and out        } port: one interface over both
//!   sender, train       many frames per call, and runs of a stream's segments as one
//!   region, frames      the memory of the frames, and the ledger of who has which
//!   huge                memory for large tables
//!   stand               ledger, custody book and way out: what an engine runs on (engine::Io)
//!   driver              a stand over the ports of one thread
//!   shared              files of counters that other processes read as they are written
//!   spsc                a queue from one thread to another
//!   raw                 a plain Ethernet socket, for the lab and for tests
//! ```

pub mod backlog;
pub mod driver;
pub mod error;
#[allow(unsafe_code)]
pub mod frames;
#[allow(unsafe_code)]
pub mod huge;
#[allow(unsafe_code)]
pub mod link;
#[allow(unsafe_code)]
pub mod netlink;
pub mod offload;
#[allow(unsafe_code)]
pub mod packet;
pub mod partial;
pub mod port;
pub mod ports;
#[allow(unsafe_code)]
pub mod raw;
#[allow(unsafe_code)]
pub mod region;
#[allow(unsafe_code)]
mod sender;
#[allow(unsafe_code)]
pub mod shared;
#[allow(unsafe_code)]
pub mod spsc;
pub mod stand;
#[allow(unsafe_code)]
pub mod steer;
#[allow(unsafe_code)]
pub mod sys;
mod train;
#[allow(unsafe_code)]
pub mod xsk;

pub use error::IoError;
