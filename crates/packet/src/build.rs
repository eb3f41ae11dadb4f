//! Composing frames: [`Template`] and [`write_tcp`] for packets that the engine makes, [`Packet`] for tests and
//! scripts, [`OptionBytes`] for TCP options.

mod options;
mod packet;
mod template;

pub use options::OptionBytes;
pub use packet::Packet;
pub use template::{write_bare, write_tcp, Ends, TcpFields, Template, WriteError, MAX_PREFIX};
