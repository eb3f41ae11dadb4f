//! Zero-copy packet views and incremental checksums.
//!
//! [`parse`] turns a frame into [`Layers`]: a small `Copy` value of offsets, good for any later look at the same bytes.
//! Everything else takes the frame and its `Layers`: [`tcp::Tcp`] and [`tcp::TcpMut`] view a TCP segment, [`csum`]
//! verifies and fills checksums, [`icmp`] reads ICMP errors and what they quote, [`build`] composes frames and [`cut`]
//! shortens them.
//!
//! The library is total: any byte string parses to `Layers` or to a named [`Refusal`], and no function panics, whatever
//! the frame and whatever `Layers` it is given (a read outside the frame yields zero, a write outside is not made).

#![deny(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

pub mod build;
mod bytes;
pub mod csum;
pub mod cut;
pub mod icmp;
mod ip;
mod layers;
mod parse;
mod refusal;
mod scope;
pub mod tcp;

pub use ip::Ecn;
pub use layers::{proto, Encap, IpVersion, Layers, Tunnel, TunnelKind, MAX_TUNNELS};
pub use parse::parse;
pub use refusal::Refusal;
pub use scope::{outer_vlan, SCOPE_HASHED};
