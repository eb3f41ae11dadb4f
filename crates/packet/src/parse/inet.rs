//! IP headers and tunnels, down to the innermost packet.

use super::link::{version_at, Link};
use crate::bytes::{be16, be8};
use crate::layers::{proto, Encap, IpVersion, Layers, Tunnel, TunnelKind, MAX_TUNNELS};
use crate::refusal::Refusal;

/// More IPv6 extension headers than this are refused.
const MAX_EXTENSIONS: usize = 8;
/// More GTP-U extension headers than this are refused.
const MAX_GTP_EXTENSIONS: usize = 8;
/// UDP port of GTP-U (TS 29.281 section 4.4.2).
const GTPU_PORT: u16 = 2152;

/// One IP header with its options or extension headers.
struct Ip {
    l4: usize,
    end: usize,
    proto: u8,
    frag: bool,
    first_frag: bool,
    options: bool,
    routed: bool,
}

/// What follows one IP header.
enum Next {
    /// Another IP packet.
    Tunnel { kind: TunnelKind, ip_at: usize, end: usize, version: IpVersion },
    /// No IP packet that could be looked into; the payload of its transport header begins at `data`.
    Innermost { data: usize },
}

/// Walks IP headers from the one that the link headers lead to.
pub(super) fn walk(frame: &[u8], link: &Link) -> Result<Layers, Refusal> {
    let (mut l3, mut end, mut version) = (link.ip_at, link.end, link.version);
    let mut encap = link.encap;
    let mut tunnel = [Tunnel::default(); MAX_TUNNELS];
    let mut count = 0;
    loop {
        let ip = match version {
            IpVersion::V4 => ipv4(frame, l3, end)?,
            IpVersion::V6 => ipv6(frame, l3, end)?,
        };
        match next(frame, &ip)? {
            Next::Tunnel { kind, ip_at, end: inner_end, version: inner } => {
                let slot = tunnel.get_mut(count).ok_or(Refusal::TooManyTunnels)?;
                let v6 = version == IpVersion::V6;
                *slot = Tunnel { ip: l3 as u16, l4: ip.l4 as u16, end: ip.end as u16, kind, v6, routed: ip.routed };
                count += 1;
                encap |= encap_of(kind, version, inner);
                (l3, end, version) = (ip_at, inner_end, inner);
            }
            Next::Innermost { data } => {
                return Ok(Layers {
                    l3: l3 as u16,
                    l4: ip.l4 as u16,
                    data: data as u16,
                    end: ip.end as u16,
                    ip: version,
                    proto: ip.proto,
                    frag: ip.frag,
                    first_frag: ip.first_frag,
                    ip_options: ip.options,
                    routed: ip.routed,
                    encap,
                    pppoe: link.pppoe as u16,
                    tunnel_count: count as u8,
                    tunnel,
                });
            }
        }
    }
}

/// The bit of [`Encap`] for one level of tunnel.
fn encap_of(kind: TunnelKind, outer: IpVersion, inner: IpVersion) -> Encap {
    match (kind, outer, inner) {
        (TunnelKind::Gtpu, _, _) => Encap::GTPU,
        (TunnelKind::Ip, IpVersion::V4, IpVersion::V4) => Encap::V4_IN_V4,
        (TunnelKind::Ip, IpVersion::V4, IpVersion::V6) => Encap::V6_IN_V4,
        (TunnelKind::Ip, IpVersion::V6, IpVersion::V4) => Encap::V4_IN_V6,
        (TunnelKind::Ip, IpVersion::V6, IpVersion::V6) => Encap::V6_IN_V6,
    }
}

/// An IPv4 header (RFC 791 section 3.1) at `at`, in a space that ends at `end`.
fn ipv4(frame: &[u8], at: usize, end: usize) -> Result<Ip, Refusal> {
    if at + 20 > end {
        return Err(Refusal::Ipv4Header);
    }
    let first = be8(frame, at);
    if first >> 4 != 4 {
        return Err(Refusal::IpVersion);
    }
    let header = usize::from(first & 0x0f) * 4;
    if header < 20 || at + header > end {
        return Err(Refusal::Ipv4Header);
    }
    let total = usize::from(be16(frame, at + 2));
    if total < header || at + total > end {
        return Err(Refusal::Ipv4Length);
    }
    let fragment = be16(frame, at + 6);
    Ok(Ip {
        l4: at + header,
        end: at + total,
        proto: be8(frame, at + 9),
        frag: fragment & 0x3fff != 0,
        first_frag: fragment & 0x3fff == 0x2000,
        options: header > 20,
        routed: false,
    })
}

/// An IPv6 header (RFC 8200 section 3) and its extension headers at `at`, in a space that ends at `end`.
fn ipv6(frame: &[u8], at: usize, end: usize) -> Result<Ip, Refusal> {
    if at + 40 > end {
        return Err(Refusal::Ipv6Header);
    }
    if be8(frame, at) >> 4 != 6 {
        return Err(Refusal::IpVersion);
    }
    let payload = usize::from(be16(frame, at + 4));
    if at + 40 + payload > end {
        return Err(Refusal::Ipv6Length);
    }
    let mut ip = Ip {
        l4: at + 40,
        end: at + 40 + payload,
        proto: be8(frame, at + 6),
        frag: false,
        first_frag: false,
        options: false,
        routed: false,
    };
    // A jumbogram (RFC 2675) has length 0 and says the truth in a hop-by-hop option.
    if payload == 0 && ip.proto == proto::HOP_BY_HOP {
        return Err(Refusal::Ipv6Length);
    }
    for _ in 0..=MAX_EXTENSIONS {
        if !extension(frame, &mut ip)? {
            return Ok(ip);
        }
    }
    Err(Refusal::TooManyExtensions)
}

/// Steps over one IPv6 extension header; false if there is none, or nothing that can be read behind it.
fn extension(frame: &[u8], ip: &mut Ip) -> Result<bool, Refusal> {
    let known = matches!(ip.proto, proto::HOP_BY_HOP | proto::ROUTING | proto::FRAGMENT | proto::DESTINATION);
    if !known || (ip.frag && !ip.first_frag) {
        return Ok(false);
    }
    ip.options = true;
    if ip.l4 + 8 > ip.end {
        return Err(Refusal::Ipv6Extension);
    }
    let length = match ip.proto {
        proto::FRAGMENT => 8,
        _ => 8 + usize::from(be8(frame, ip.l4 + 1)) * 8,
    };
    if ip.l4 + length > ip.end {
        // The rest of the chain may be in another fragment, against RFC 7112.
        return if ip.frag { Ok(false) } else { Err(Refusal::Ipv6Extension) };
    }
    match ip.proto {
        proto::FRAGMENT => {
            // Offset in the upper 13 bits, M in the lowest; both zero is a whole packet (RFC 6946). A second fragment
            // header makes no fragment whole again.
            let field = be16(frame, ip.l4 + 2);
            ip.frag |= field & 0xfff9 != 0;
            ip.first_frag = ip.frag && field & 0xfff8 == 0;
        }
        proto::ROUTING => ip.routed |= be8(frame, ip.l4 + 3) != 0,
        _ => {}
    }
    ip.proto = be8(frame, ip.l4);
    ip.l4 += length;
    Ok(true)
}

/// Looks behind one IP header.
fn next(frame: &[u8], ip: &Ip) -> Result<Next, Refusal> {
    if ip.frag {
        return Ok(Next::Innermost { data: ip.l4 });
    }
    match ip.proto {
        proto::IPV4 => Ok(nested(ip, IpVersion::V4)),
        proto::IPV6 => Ok(nested(ip, IpVersion::V6)),
        proto::UDP => udp(frame, ip),
        proto::TCP => tcp(frame, ip),
        _ => Ok(Next::Innermost { data: ip.l4 }),
    }
}

/// IP directly within IP.
fn nested(ip: &Ip, version: IpVersion) -> Next {
    Next::Tunnel { kind: TunnelKind::Ip, ip_at: ip.l4, end: ip.end, version }
}

/// A TCP header must be whole.
fn tcp(frame: &[u8], ip: &Ip) -> Result<Next, Refusal> {
    let header = usize::from(be8(frame, ip.l4 + 12) >> 4) * 4;
    if ip.l4 + 20 > ip.end || header < 20 || ip.l4 + header > ip.end {
        return Err(Refusal::TcpHeader);
    }
    Ok(Next::Innermost { data: ip.l4 + header })
}

/// UDP, and GTP-U within it if it is a G-PDU of version 1 (TS 29.281 section 5.1); any other message on that port is
/// UDP.
fn udp(frame: &[u8], ip: &Ip) -> Result<Next, Refusal> {
    if ip.l4 + 8 > ip.end {
        return Err(Refusal::UdpHeader);
    }
    let gtp = ip.l4 + 8;
    let flags = be8(frame, gtp);
    let is_gpdu = gtp + 8 <= ip.end
        && be16(frame, ip.l4 + 2) == GTPU_PORT
        && flags & 0xf0 == 0x30
        && be8(frame, gtp + 1) == 255;
    if !is_gpdu {
        return Ok(Next::Innermost { data: gtp });
    }
    let udp_end = ip.l4 + usize::from(be16(frame, ip.l4 + 4));
    // The length counts from behind the mandatory eight bytes: optional fields and extensions are in it.
    let end = gtp + 8 + usize::from(be16(frame, gtp + 2));
    if udp_end != ip.end || end > udp_end {
        return Err(Refusal::GtpHeader);
    }
    let mut at = gtp + 8;
    if flags & 0x07 != 0 {
        at += 4;
        if at > end {
            return Err(Refusal::GtpHeader);
        }
        if flags & 0x04 != 0 {
            at = gtp_extensions(frame, at, end)?;
        }
    }
    if at >= end {
        return Err(Refusal::GtpPayload);
    }
    let version = version_at(frame, at).ok_or(Refusal::GtpPayload)?;
    Ok(Next::Tunnel { kind: TunnelKind::Gtpu, ip_at: at, end, version })
}

/// Steps over chained extension headers (TS 29.281 section 5.2.1): each begins with its length in units of four bytes
/// and ends with the type of the next, 0 for none. `at` is behind a byte that holds such a type.
fn gtp_extensions(frame: &[u8], mut at: usize, end: usize) -> Result<usize, Refusal> {
    for _ in 0..=MAX_GTP_EXTENSIONS {
        if be8(frame, at - 1) == 0 {
            return Ok(at);
        }
        let length = usize::from(be8(frame, at)) * 4;
        if at >= end || length == 0 || at + length > end {
            return Err(Refusal::GtpExtension);
        }
        at += length;
    }
    Err(Refusal::GtpExtension)
}
