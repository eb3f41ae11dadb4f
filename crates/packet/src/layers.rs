//! Where things are in a frame.

use std::net::Ipv6Addr;
use std::ops::{BitOr, BitOrAssign};

use crate::bytes::{array, be16};

/// IP protocol numbers that this crate looks at.
pub mod proto {
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// ICMP for IPv4.
    pub const ICMP: u8 = 1;
    /// IPv4 within IP (RFC 2003).
    pub const IPV4: u8 = 4;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// DCCP.
    pub const DCCP: u8 = 33;
    /// IPv6 within IP (RFC 4213, RFC 2473).
    pub const IPV6: u8 = 41;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
    /// SCTP.
    pub const SCTP: u8 = 132;
    /// UDP-Lite.
    pub const UDPLITE: u8 = 136;
}

/// Version of an IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum IpVersion {
    /// IPv4.
    V4 = 4,
    /// IPv6.
    V6 = 6,
}

/// Set of the kinds of encapsulation seen; empty for plain Ethernet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Encap(pub u16);

impl Encap {
    /// Nothing but an Ethernet header in front of the IP header.
    pub const PLAIN: Encap = Encap(0);
    /// At least one VLAN tag (0x8100, 0x88a8 or 0x9100).
    pub const VLAN: Encap = Encap(1);
    /// At least two VLAN tags.
    pub const QINQ: Encap = Encap(2);
    /// At least one MPLS label.
    pub const MPLS: Encap = Encap(4);
    /// PPPoE session.
    pub const PPPOE: Encap = Encap(8);
    /// IPv4 in IPv4.
    pub const V4_IN_V4: Encap = Encap(16);
    /// IPv6 in IPv4.
    pub const V6_IN_V4: Encap = Encap(32);
    /// IPv4 in IPv6.
    pub const V4_IN_V6: Encap = Encap(64);
    /// IPv6 in IPv6.
    pub const V6_IN_V6: Encap = Encap(128);
    /// GTP-U over either.
    pub const GTPU: Encap = Encap(256);

    /// Are all of `other` in this set?
    #[inline]
    pub fn contains(self, other: Encap) -> bool {
        self.0 & other.0 == other.0
    }
    /// Is it plain Ethernet?
    #[inline]
    pub fn is_plain(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for Encap {
    type Output = Encap;
    fn bitor(self, other: Encap) -> Encap {
        Encap(self.0 | other.0)
    }
}

impl BitOrAssign for Encap {
    fn bitor_assign(&mut self, other: Encap) {
        self.0 |= other.0;
    }
}

/// What an outer IP header carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TunnelKind {
    /// Another IP header directly.
    #[default]
    Ip = 0,
    /// UDP, a GTP-U header and another IP header.
    Gtpu = 1,
}

/// One level of tunnel: an IP packet that carries the next IP header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// Offset of the outer IP header.
    pub ip: u16,
    /// Offset of what follows the outer IP header and its extensions: the UDP header of GTP-U (the GTP-U header is 8
    /// bytes on), or the next IP header.
    pub l4: u16,
    /// Offset of the first byte after the outer IP packet.
    pub end: u16,
    /// What the outer header carries.
    pub kind: TunnelKind,
    /// Is the outer header IPv6?
    pub v6: bool,
    /// Does the outer IPv6 header have a routing header with segments left? Its UDP pseudo-header can't be known then.
    pub routed: bool,
}

/// More nested tunnels than this are refused.
pub const MAX_TUNNELS: usize = 3;

/// Where things are in a frame. All offsets are in bytes from the Ethernet destination address; `l3`, `l4`, `end`, `ip`
/// and `proto` are those of the innermost IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Layers {
    /// Innermost IP header; also the length of the link and encapsulation headers in front of it.
    pub l3: u16,
    /// First byte after the innermost IP header and its options or extension headers.
    pub l4: u16,
    /// Payload of the TCP or UDP header; `l4` for other protocols and for fragments.
    pub data: u16,
    /// First byte after the innermost IP packet. Ethernet padding lies beyond.
    pub end: u16,
    /// Version of the innermost IP header.
    pub ip: IpVersion,
    /// Protocol of the innermost IP packet, after IPv6 extension headers.
    pub proto: u8,
    /// Is it a fragment? (An IPv6 packet with a fragment header but whole, RFC 6946, is none.)
    pub frag: bool,
    /// Is it a fragment that begins at offset 0?
    pub first_frag: bool,
    /// Has it IPv4 options or IPv6 extension headers?
    pub ip_options: bool,
    /// Has it an IPv6 routing header with segments left? The pseudo-header's destination is not the header's then, so
    /// its transport checksum can't be verified here.
    pub routed: bool,
    /// Kinds of encapsulation seen.
    pub encap: Encap,
    /// Offset of the PPPoE header, 0 if there is none.
    pub pppoe: u16,
    /// How many of `tunnels` are in use.
    pub tunnel_count: u8,
    /// The tunnels, outermost first; see [`Layers::tunnels`].
    pub tunnel: [Tunnel; MAX_TUNNELS],
}

impl Layers {
    /// The tunnels that the innermost packet is in, outermost first.
    #[inline]
    pub fn tunnels(&self) -> &[Tunnel] {
        self.tunnel.get(..usize::from(self.tunnel_count)).unwrap_or(&[])
    }

    /// Is it a whole TCP segment, with a complete header? Then [`crate::tcp::Tcp::new`] gives a view.
    #[inline]
    pub fn is_tcp(&self) -> bool {
        self.proto == proto::TCP && !self.frag
    }

    /// Length in bytes of the TCP or UDP payload (of all that follows the IP headers, for other protocols).
    #[inline]
    pub fn data_len(&self) -> u16 {
        self.end.saturating_sub(self.data)
    }

    /// Source address of the innermost packet, IPv4 as IPv4-mapped.
    #[inline]
    pub fn src(&self, frame: &[u8]) -> Ipv6Addr {
        addr_at(frame, self.ip, usize::from(self.l3), false)
    }

    /// Destination address of the innermost packet, IPv4 as IPv4-mapped.
    #[inline]
    pub fn dst(&self, frame: &[u8]) -> Ipv6Addr {
        addr_at(frame, self.ip, usize::from(self.l3), true)
    }

    /// Source and destination port, where the protocol has ports and this packet carries them (any but a fragment that
    /// is not the first).
    #[inline]
    pub fn ports(&self, frame: &[u8]) -> Option<(u16, u16)> {
        let has_ports =
            matches!(self.proto, proto::TCP | proto::UDP | proto::SCTP | proto::DCCP | proto::UDPLITE);
        let at = usize::from(self.l4);
        if !has_ports || (self.frag && !self.first_frag) || at + 4 > usize::from(self.end) {
            return None;
        }
        Some((be16(frame, at), be16(frame, at + 2)))
    }
}

/// The source or destination address of the IP header at `l3`, IPv4 as IPv4-mapped.
#[inline]
pub(crate) fn addr_at(frame: &[u8], ip: IpVersion, l3: usize, dst: bool) -> Ipv6Addr {
    match ip {
        IpVersion::V4 => {
            let a = array::<4>(frame, l3 + if dst { 16 } else { 12 }).copied().unwrap_or_default();
            mapped(a)
        }
        IpVersion::V6 => {
            let a = array::<16>(frame, l3 + if dst { 24 } else { 8 }).copied().unwrap_or_default();
            Ipv6Addr::from(a)
        }
    }
}

/// The IPv4-mapped form of an IPv4 address.
#[inline]
pub(crate) fn mapped(a: [u8; 4]) -> Ipv6Addr {
    Ipv6Addr::from((0xffff_u128 << 32) | u128::from(u32::from_be_bytes(a)))
}
