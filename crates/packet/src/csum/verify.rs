//! Whole checksums of a parsed frame.

use super::{add_wide, fold, never_zero, wide};
use crate::bytes::{array, be16, be8, put16, range};
use crate::layers::{proto, IpVersion, Layers, Tunnel, TunnelKind};

/// Sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1) of the IP header at `l3`, as [`wide`] sums.
#[inline]
fn pseudo_wide(frame: &[u8], ip: IpVersion, l3: usize, proto: u8, length: u16) -> u64 {
    let addrs = match ip {
        IpVersion::V4 => wide(range(frame, l3 + 12, l3 + 20)),
        IpVersion::V6 => wide(range(frame, l3 + 8, l3 + 40)),
    };
    add_wide(addrs, u64::from(u16::from(proto).to_be()) + u64::from(length.to_be()))
}

/// As [`pseudo_wide`], folded.
pub(crate) fn pseudo_sum(frame: &[u8], ip: IpVersion, l3: usize, proto: u8, length: u16) -> u16 {
    u16::from_be(fold(pseudo_wide(frame, ip, l3, proto, length)))
}

/// Offset of the checksum in a transport header, and whether there is a pseudo-header.
fn field(layers: &Layers) -> Option<(usize, bool)> {
    let (offset, pseudo) = match layers.proto {
        proto::TCP => (16, true),
        proto::UDP => (6, true),
        proto::ICMP if layers.ip == IpVersion::V4 => (2, false),
        proto::ICMPV6 if layers.ip == IpVersion::V6 => (2, true),
        _ => return None,
    };
    let at = usize::from(layers.l4) + offset;
    let covered = !layers.frag && !layers.routed && at + 2 <= usize::from(layers.end);
    covered.then_some((at, pseudo))
}

/// Length of what the transport checksum covers. UDP says it itself, and may be followed by options (RFC 9868).
#[inline]
fn l4_len(frame: &[u8], layers: &Layers) -> u16 {
    let length = layers.end.saturating_sub(layers.l4);
    match layers.proto {
        proto::UDP => length.min(be16(frame, usize::from(layers.l4) + 4)),
        _ => length,
    }
}

/// Sum over pseudo-header and transport packet, its checksum field included.
#[inline]
fn l4_sum(frame: &[u8], layers: &Layers, pseudo: bool) -> u16 {
    let length = l4_len(frame, layers);
    let mut acc = wide(range(frame, usize::from(layers.l4), usize::from(layers.l4) + usize::from(length)));
    if pseudo {
        acc = add_wide(acc, pseudo_wide(frame, layers.ip, usize::from(layers.l3), layers.proto, length));
    }
    u16::from_be(fold(acc))
}

/// Is the transport checksum of the innermost packet right? For TCP, UDP (absent counts as right over IPv4), ICMP and
/// ICMPv6. False for other protocols, fragments, and IPv6 with routing segments left.
#[inline]
pub fn verify_l4(frame: &[u8], layers: &Layers) -> bool {
    let Some((at, pseudo)) = field(layers) else { return false };
    if layers.proto == proto::UDP && be16(frame, at) == 0 {
        return layers.ip == IpVersion::V4;
    }
    l4_sum(frame, layers, pseudo) == 0xffff
}

/// Are the IPv4 header checksums right, of the innermost header and of all outer ones? True if there is none.
#[inline]
pub fn verify_ip(frame: &[u8], layers: &Layers) -> bool {
    let inner = layers.ip == IpVersion::V6 || verify_header(frame, usize::from(layers.l3));
    inner && layers.tunnels().iter().all(|t| t.v6 || verify_header(frame, usize::from(t.ip)))
}

/// Are the outer UDP checksums right? One that is absent counts as right, over IPv6 too (RFC 6935), and so does one
/// whose pseudo-header can't be known.
pub fn verify_outer_udp(frame: &[u8], layers: &Layers) -> bool {
    layers.tunnels().iter().filter(|t| t.kind == TunnelKind::Gtpu && !t.routed).all(|t| {
        be16(frame, usize::from(t.l4) + 6) == 0 || outer_udp_sum(frame, t) == 0xffff
    })
}

/// Sum over pseudo-header and outer UDP datagram, its checksum field included.
pub(crate) fn outer_udp_sum(frame: &[u8], tunnel: &Tunnel) -> u16 {
    let l4 = usize::from(tunnel.l4);
    let length = be16(frame, l4 + 4);
    let version = if tunnel.v6 { IpVersion::V6 } else { IpVersion::V4 };
    let pseudo = pseudo_wide(frame, version, usize::from(tunnel.ip), proto::UDP, length);
    u16::from_be(fold(add_wide(pseudo, wide(range(frame, l4, l4 + usize::from(length))))))
}

/// [`verify_ip`], [`verify_l4`] and [`verify_outer_udp`]: will everything on the way take this packet, as far as
/// checksums go? What is acknowledged on the endpoint's behalf must pass this: a segment with a damaged IP header would
/// be sent again and again and never arrive.
#[inline]
pub fn verify(frame: &[u8], layers: &Layers) -> bool {
    verify_ip(frame, layers)
        && verify_l4(frame, layers)
        && (layers.tunnel_count == 0 || verify_outer_udp(frame, layers))
}

#[inline]
fn verify_header(frame: &[u8], at: usize) -> bool {
    let length = usize::from(be8(frame, at) & 0x0f) * 4;
    if let (20, Some(header)) = (length, array::<20>(frame, at)) {
        // Without options: five words, added at once.
        let words = header.chunks_exact(4).map(|w| u64::from(u32::from_ne_bytes([w[0], w[1], w[2], w[3]])));
        return fold(words.sum()) == 0xffff;
    }
    super::sum_portable(range(frame, at, at + length)) == 0xffff
}

/// Computes the transport checksum of the innermost packet afresh and writes it; false where [`verify_l4`] has no
/// checksum to look at. Outer UDP checksums are left alone. For tests and for ports whose frames arrive with partial
/// checksums: on any other path it would hide corruption.
pub fn fill_l4(frame: &mut [u8], layers: &Layers) -> bool {
    let Some((at, pseudo)) = field(layers) else { return false };
    if !put16(frame, at, 0) {
        return false;
    }
    let mut checksum = !l4_sum(frame, layers, pseudo);
    if layers.proto == proto::UDP {
        checksum = never_zero(checksum);
    }
    put16(frame, at, checksum)
}
