//! Views of a TCP segment (RFC 9293 section 3.1).

mod edit;
mod options;

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

use crate::bytes::{array, range};
use crate::layers::Layers;

pub use edit::TcpMut;
pub use options::{Kinds, Options, Sack, Timestamps, MAX_SACK_BLOCKS};

/// The nine flag bits of a TCP header.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// No more data from the sender.
    pub const FIN: Flags = Flags(0x001);
    /// Synchronize sequence numbers.
    pub const SYN: Flags = Flags(0x002);
    /// Reset the connection.
    pub const RST: Flags = Flags(0x004);
    /// Push.
    pub const PSH: Flags = Flags(0x008);
    /// The acknowledgement field is significant.
    pub const ACK: Flags = Flags(0x010);
    /// The urgent pointer is significant.
    pub const URG: Flags = Flags(0x020);
    /// ECN echo (RFC 3168).
    pub const ECE: Flags = Flags(0x040);
    /// Congestion window reduced (RFC 3168).
    pub const CWR: Flags = Flags(0x080);
    /// Accurate ECN (RFC 9768), formerly NS.
    pub const AE: Flags = Flags(0x100);
    /// None.
    pub const NONE: Flags = Flags(0);
    /// All nine.
    pub const ALL: Flags = Flags(0x1ff);

    /// Are all of `other` set?
    #[inline]
    pub fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
    /// Is any of `other` set?
    #[inline]
    pub fn intersects(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Flags;
    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl BitAnd for Flags {
    type Output = Flags;
    #[inline]
    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl Not for Flags {
    type Output = Flags;
    #[inline]
    fn not(self) -> Flags {
        Flags(!self.0 & Flags::ALL.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "AE"];
        let mut first = true;
        for (bit, name) in names.iter().enumerate() {
            if self.0 >> bit & 1 == 1 {
                write!(f, "{}{name}", if first { "" } else { "|" })?;
                first = false;
            }
        }
        if first {
            f.write_str("NONE")?;
        }
        Ok(())
    }
}

/// A TCP segment, read in place.
#[derive(Clone, Copy, Debug)]
pub struct Tcp<'a> {
    head: &'a [u8; 20],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Tcp<'a> {
    /// The innermost packet's segment; `None` unless [`Layers::is_tcp`].
    #[inline]
    pub fn new(frame: &'a [u8], layers: &Layers) -> Option<Tcp<'a>> {
        if !layers.is_tcp() {
            return None;
        }
        let (l4, data) = (usize::from(layers.l4), usize::from(layers.data));
        Some(Tcp {
            head: array(frame, l4)?,
            options: range(frame, l4 + 20, data),
            payload: range(frame, data, usize::from(layers.end)),
        })
    }

    /// Source port.
    #[inline]
    pub fn src_port(&self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }
    /// Destination port.
    #[inline]
    pub fn dst_port(&self) -> u16 {
        u16::from_be_bytes([self.head[2], self.head[3]])
    }
    /// Sequence number of the first payload byte, or of the SYN.
    #[inline]
    pub fn seq(&self) -> u32 {
        u32::from_be_bytes([self.head[4], self.head[5], self.head[6], self.head[7]])
    }
    /// Acknowledgement number, meaningful with [`Flags::ACK`].
    #[inline]
    pub fn ack(&self) -> u32 {
        u32::from_be_bytes([self.head[8], self.head[9], self.head[10], self.head[11]])
    }
    /// Header length in bytes, 20 to 60.
    #[inline]
    pub fn header_len(&self) -> u16 {
        20 + self.options.len() as u16
    }
    /// The nine flags.
    #[inline]
    pub fn flags(&self) -> Flags {
        Flags(u16::from_be_bytes([self.head[12], self.head[13]]) & 0x1ff)
    }
    /// The three reserved bits, 0 from every known sender.
    #[inline]
    pub fn reserved(&self) -> u8 {
        (self.head[12] >> 1) & 7
    }
    /// Window field, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        u16::from_be_bytes([self.head[14], self.head[15]])
    }
    /// Checksum field.
    #[inline]
    pub fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.head[16], self.head[17]])
    }
    /// Urgent pointer.
    #[inline]
    pub fn urgent(&self) -> u16 {
        u16::from_be_bytes([self.head[18], self.head[19]])
    }
    /// The bytes of the options, padding included.
    #[inline]
    pub fn option_bytes(&self) -> &'a [u8] {
        self.options
    }
    /// The options, scanned.
    #[inline]
    pub fn options(&self) -> Options {
        Options::scan(self.options)
    }
    /// The payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }
    /// Sequence space that the segment takes: payload plus one for SYN and one for FIN.
    #[inline]
    pub fn seq_len(&self) -> u32 {
        let flags = self.flags();
        self.payload.len() as u32
            + u32::from(flags.contains(Flags::SYN))
            + u32::from(flags.contains(Flags::FIN))
    }
}
