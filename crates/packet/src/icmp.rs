//! ICMP errors and the packet that they quote.

use std::net::Ipv6Addr;

use crate::bytes::{be16, be32, be8, range};
use crate::layers::{addr_at, proto, IpVersion, Layers};

/// Kinds of ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Fragmentation needed (RFC 1191) or packet too big (RFC 8201).
    TooBig {
        /// Next-hop MTU in bytes; 0 from IPv4 routers older than RFC 1191.
        mtu: u32,
    },
    /// Destination unreachable, for another reason.
    Unreachable {
        /// ICMP code.
        code: u8,
    },
    /// TTL or reassembly time exceeded.
    TimeExceeded {
        /// ICMP code.
        code: u8,
    },
    /// A header field was not understood.
    ParameterProblem {
        /// ICMP code.
        code: u8,
    },
    /// Source quench (deprecated, RFC 6633) or redirect.
    Other {
        /// ICMP type.
        kind: u8,
        /// ICMP code.
        code: u8,
    },
}

/// What an ICMP error quotes of the packet that it is about; written from the point of view of that packet's sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// Version of the quoted IP header.
    pub ip: IpVersion,
    /// Its source address, IPv4 as IPv4-mapped.
    pub src: Ipv6Addr,
    /// Its destination address, IPv4 as IPv4-mapped.
    pub dst: Ipv6Addr,
    /// Its protocol, after IPv6 extension headers.
    pub proto: u8,
    /// Length of the whole packet as its header said, in bytes from the IP header.
    pub length: u16,
    /// Source and destination port of TCP or UDP, if quoted.
    pub ports: Option<(u16, u16)>,
    /// TCP sequence number, if quoted.
    pub seq: Option<u32>,
}

/// An ICMP error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: Kind,
    /// With which packet.
    pub quoted: Quoted,
}

/// Reads the innermost packet as an ICMP error; `None` if it is none, is a fragment, or quotes too little to name the
/// two addresses. The checksum is not looked at: see [`crate::csum::verify_l4`].
pub fn error(frame: &[u8], layers: &Layers) -> Option<Error> {
    if layers.frag {
        return None;
    }
    let (at, end) = (usize::from(layers.l4), usize::from(layers.end));
    // Type, code, checksum, four bytes that depend on the type; then the quote (RFC 792, RFC 4443 section 3).
    if at + 8 > end {
        return None;
    }
    let (kind, code) = (be8(frame, at), be8(frame, at + 1));
    let kind = match (layers.ip, layers.proto) {
        (IpVersion::V4, proto::ICMP) => kind_v4(kind, code, be16(frame, at + 6))?,
        (IpVersion::V6, proto::ICMPV6) => kind_v6(kind, code, be32(frame, at + 4))?,
        _ => return None,
    };
    let quoted = quote(range(frame, at + 8, end), layers.ip)?;
    Some(Error { kind, quoted })
}

fn kind_v4(kind: u8, code: u8, mtu: u16) -> Option<Kind> {
    match (kind, code) {
        (3, 4) => Some(Kind::TooBig { mtu: u32::from(mtu) }),
        (3, _) => Some(Kind::Unreachable { code }),
        (11, _) => Some(Kind::TimeExceeded { code }),
        (12, _) => Some(Kind::ParameterProblem { code }),
        (4 | 5, _) => Some(Kind::Other { kind, code }),
        _ => None,
    }
}

fn kind_v6(kind: u8, code: u8, mtu: u32) -> Option<Kind> {
    match kind {
        1 => Some(Kind::Unreachable { code }),
        2 => Some(Kind::TooBig { mtu }),
        3 => Some(Kind::TimeExceeded { code }),
        4 => Some(Kind::ParameterProblem { code }),
        // Below 128 is an error by definition (RFC 4443 section 2.1). Redirects (137) have another layout.
        0 | 5..=127 => Some(Kind::Other { kind, code }),
        _ => None,
    }
}

/// Reads a quote, which may end anywhere.
fn quote(bytes: &[u8], ip: IpVersion) -> Option<Quoted> {
    if be8(bytes, 0) >> 4 != ip as u8 {
        return None;
    }
    let (proto, l4, length) = match ip {
        IpVersion::V4 => quoted_v4(bytes)?,
        IpVersion::V6 => quoted_v6(bytes)?,
    };
    let transport = l4.and_then(|at| bytes.get(at..)).unwrap_or(&[]);
    let has_ports = matches!(proto, proto::TCP | proto::UDP | proto::SCTP | proto::DCCP | proto::UDPLITE);
    Some(Quoted {
        ip,
        src: addr_at(bytes, ip, 0, false),
        dst: addr_at(bytes, ip, 0, true),
        proto,
        length,
        ports: (has_ports && transport.len() >= 4).then(|| (be16(transport, 0), be16(transport, 2))),
        seq: (proto == proto::TCP && transport.len() >= 8).then(|| be32(transport, 4)),
    })
}

/// (protocol, offset of the transport header unless it is in another fragment, total length).
fn quoted_v4(bytes: &[u8]) -> Option<(u8, Option<usize>, u16)> {
    let header = usize::from(be8(bytes, 0) & 0x0f) * 4;
    if bytes.len() < 20 || header < 20 {
        return None;
    }
    let first = be16(bytes, 6) & 0x1fff == 0;
    Some((be8(bytes, 9), first.then_some(header), be16(bytes, 2)))
}

/// As [`quoted_v4`]; extension headers are followed as far as they are quoted.
fn quoted_v6(bytes: &[u8]) -> Option<(u8, Option<usize>, u16)> {
    if bytes.len() < 40 {
        return None;
    }
    let length = be16(bytes, 4).saturating_add(40);
    let (mut next, mut at) = (be8(bytes, 6), 40);
    while matches!(next, proto::HOP_BY_HOP | proto::ROUTING | proto::FRAGMENT | proto::DESTINATION) {
        if at + 8 > bytes.len() {
            return Some((next, None, length));
        }
        if next == proto::FRAGMENT && be16(bytes, at + 2) & 0xfff8 != 0 {
            return Some((be8(bytes, at), None, length));
        }
        let step = if next == proto::FRAGMENT { 8 } else { 8 + usize::from(be8(bytes, at + 1)) * 8 };
        next = be8(bytes, at);
        at += step;
    }
    Some((next, Some(at), length))
}
