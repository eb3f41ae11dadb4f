//! Whole checksums of a parsed frame.

use super::{add, fold, never_zero, sum};
use crate::bytes::{be16, be8, put16, range};
use crate::layers::{proto, IpVersion, Layers};

/// Sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1) of the IP header at `l3`.
pub(crate) fn pseudo_sum(frame: &[u8], ip: IpVersion, l3: usize, proto: u8, length: u16) -> u16 {
    let addrs = match ip {
        IpVersion::V4 => range(frame, l3 + 12, l3 + 20),
        IpVersion::V6 => range(frame, l3 + 8, l3 + 40),
    };
    let mut acc = u64::from(proto) + u64::from(length);
    for w in addrs.chunks_exact(4) {
        let mut a = [0; 4];
        a.copy_from_slice(w);
        acc += u64::from(u32::from_be_bytes(a));
    }
    fold(acc)
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

/// Sum over pseudo-header and transport packet, its checksum field included.
#[inline]
fn l4_sum(frame: &[u8], layers: &Layers, pseudo: bool) -> u16 {
    let packet = range(frame, usize::from(layers.l4), usize::from(layers.end));
    let body = sum(packet);
    if !pseudo {
        return body;
    }
    let length = layers.end.saturating_sub(layers.l4);
    add(body, pseudo_sum(frame, layers.ip, usize::from(layers.l3), layers.proto, length))
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

/// Both [`verify_ip`] and [`verify_l4`]: will the endpoint's kernel take this packet, as far as checksums of the
/// innermost packet and of outer IPv4 headers go? What may be acknowledged on the endpoint's behalf must pass this: a
/// segment whose IP header is damaged would be retransmitted for ever, and never arrive.
#[inline]
pub fn verify(frame: &[u8], layers: &Layers) -> bool {
    verify_ip(frame, layers) && verify_l4(frame, layers)
}

fn verify_header(frame: &[u8], at: usize) -> bool {
    let length = usize::from(be8(frame, at) & 0x0f) * 4;
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
