//! Packets that nobody sent: headers learned from a real frame of the same direction, under a new TCP segment.

use std::fmt;
use std::net::Ipv6Addr;

use crate::bytes::{be16, be8, put, put16, put32, range};
use crate::csum::{fold, never_zero, outer_udp_sum, sum, sum_portable};
use crate::ip::Ecn;
use crate::layers::{proto, IpVersion, Layers, Tunnel, TunnelKind};
use crate::parse::ethertype;
use crate::scope::outer_vlan;
use crate::tcp::Flags;

/// Room for link, encapsulation and innermost IP headers.
pub const MAX_PREFIX: usize = 160;

/// All headers of one direction of a flow up to TCP. What differs from packet to packet (lengths, identification, ECN,
/// checksums, GTP-U sequence number) is zero, so that two frames of one direction give equal templates. MAC addresses,
/// tags, labels, TEID, GTP-U extension headers, TTL, DSCP, don't-fragment and flow label are as the endpoint's.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Template {
    bytes: [u8; MAX_PREFIX],
    /// Layers of a frame that ends where its TCP header would begin.
    layers: Layers,
}

/// What a template knows of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ends {
    /// Source address; IPv4-mapped if and only if the template is for IPv4.
    pub src: Ipv6Addr,
    /// Destination address, likewise.
    pub dst: Ipv6Addr,
    /// IPv6 flow label, 20 bits; 0 for IPv4.
    pub flow_label: u32,
}

/// A TCP header to be written, and those IP fields that differ from packet to packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFields {
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: Flags,
    /// Window field, scaled already.
    pub window: u16,
    /// IPv4 identification, of outer IPv4 headers too.
    pub ip_id: u16,
    /// ECN codepoint, of the outer headers too (RFC 6040 section 4.1).
    pub ecn: Ecn,
}

/// Why a packet was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// The buffer is too short.
    NoRoom,
    /// Options longer than 40 bytes or no multiple of four.
    BadOptions,
    /// Longer than IP can say.
    TooLong,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WriteError::NoRoom => "the buffer is too short for the packet",
            WriteError::BadOptions => "TCP options must be at most 40 bytes and a multiple of four",
            WriteError::TooLong => "the packet is longer than 65535 bytes",
        })
    }
}

impl std::error::Error for WriteError {}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({:02x?})", range(&self.bytes, 0, self.prefix_len()))
    }
}

impl Template {
    /// Learns from a TCP segment. `None` if it is no whole segment, has IP options or extension headers of its own, has
    /// headers longer than [`MAX_PREFIX`], or is in a tunnel whose UDP checksum can't be computed.
    pub fn learn(frame: &[u8], layers: &Layers) -> Option<Template> {
        let l4 = usize::from(layers.l4);
        if !layers.is_tcp() || layers.ip_options || l4 > MAX_PREFIX {
            return None;
        }
        let mut bytes = [0; MAX_PREFIX];
        bytes.get_mut(..l4)?.copy_from_slice(frame.get(..l4)?);
        let mut layers = *layers;
        layers.data = layers.l4;
        layers.end = layers.l4;
        for tunnel in layers.tunnel.iter_mut().take(usize::from(layers.tunnel_count)) {
            tunnel.end = layers.l4;
            clear_ip(&mut bytes, tunnel.v6, usize::from(tunnel.ip));
            if tunnel.kind == TunnelKind::Gtpu && !clear_gtp(&mut bytes, tunnel) {
                return None;
            }
        }
        clear_ip(&mut bytes, layers.ip == IpVersion::V6, usize::from(layers.l3));
        if layers.pppoe != 0 {
            put16(&mut bytes, usize::from(layers.pppoe) + 4, 0);
        }
        Some(Template { bytes, layers })
    }

    /// The id of its outer VLAN tag; 0 without one.
    pub fn outer_vlan(&self) -> u16 {
        outer_vlan(&self.bytes)
    }

    /// Length in bytes of all headers in front of TCP.
    #[inline]
    pub fn prefix_len(&self) -> usize {
        usize::from(self.layers.l4)
    }

    /// IP version of the innermost packet.
    #[inline]
    pub fn ip(&self) -> IpVersion {
        self.layers.ip
    }

    /// Ethernet destination and source address.
    pub fn macs(&self) -> [u8; 12] {
        let mut macs = [0; 12];
        for (to, from) in macs.iter_mut().zip(&self.bytes) {
            *to = *from;
        }
        macs
    }

    /// The EtherTypes of the first two VLAN tags, 0 for one that is not there.
    pub fn tpids(&self) -> [u16; 2] {
        let is_tag = |tpid| matches!(tpid, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD);
        match (be16(&self.bytes, 12), be16(&self.bytes, 16)) {
            (first, second) if is_tag(first) => [first, if is_tag(second) { second } else { 0 }],
            _ => [0; 2],
        }
    }

    /// Are these the Ethernet addresses of this frame?
    #[inline]
    pub fn has_macs_of(&self, frame: &[u8]) -> bool {
        frame.first_chunk::<12>() == self.bytes.first_chunk::<12>()
    }

    /// The endpoints that it was learned from or given.
    pub fn ends(&self) -> Ends {
        Ends {
            src: self.layers.src(&self.bytes),
            dst: self.layers.dst(&self.bytes),
            flow_label: self.layers.flow_label(&self.bytes),
        }
    }

    /// The same template for other endpoints of the same IP version; addresses of the other version become zero.
    pub fn with_ends(mut self, ends: &Ends) -> Template {
        let class = self.layers.traffic_class(&self.bytes);
        put_ends(&mut self.bytes, &self.layers, class, ends);
        self
    }

    /// The template without its endpoints: one value for all flows of a subscriber that take the same path, to be
    /// stored once and completed with [`Template::with_ends`].
    pub fn path(self) -> Template {
        self.with_ends(&Ends { src: Ipv6Addr::UNSPECIFIED, dst: Ipv6Addr::UNSPECIFIED, flow_label: 0 })
    }
}

/// Writes the endpoints into the innermost IP header, which has this traffic class.
#[inline]
fn put_ends(bytes: &mut [u8], layers: &Layers, class: u8, ends: &Ends) {
    let l3 = usize::from(layers.l3);
    match layers.ip {
        IpVersion::V4 => {
            let v4 = |a: Ipv6Addr| a.to_ipv4_mapped().map_or([0; 4], |a| a.octets());
            put(bytes, l3 + 12, &v4(ends.src));
            put(bytes, l3 + 16, &v4(ends.dst));
        }
        IpVersion::V6 => {
            put32(bytes, l3, 6 << 28 | u32::from(class) << 20 | (ends.flow_label & 0x000f_ffff));
            put(bytes, l3 + 8, &ends.src.octets());
            put(bytes, l3 + 24, &ends.dst.octets());
        }
    }
}

/// Zeroes what differs between packets in an IP header.
fn clear_ip(bytes: &mut [u8], v6: bool, at: usize) {
    if v6 {
        put16(bytes, at, be16(bytes, at) & !0x0030);
        put16(bytes, at + 4, 0);
    } else {
        put16(bytes, at, be16(bytes, at) & !0x0003);
        put32(bytes, at + 2, 0);
        put16(bytes, at + 10, 0);
    }
}

/// The same for UDP and GTP-U; a checksum that is in use becomes 0xffff, which says just that. False if it is in use
/// and can't be computed.
fn clear_gtp(bytes: &mut [u8], tunnel: &Tunnel) -> bool {
    let l4 = usize::from(tunnel.l4);
    put16(bytes, l4 + 4, 0);
    let in_use = be16(bytes, l4 + 6) != 0;
    put16(bytes, l4 + 6, if in_use { 0xffff } else { 0 });
    put16(bytes, l4 + 10, 0);
    if be8(bytes, l4 + 8) & 0x02 != 0 {
        put16(bytes, l4 + 16, 0);
    }
    !(in_use && tunnel.routed)
}

/// Writes a whole frame to the start of `out` and returns its length in bytes: the template's headers, a TCP header with
/// `options` (a multiple of four bytes, see [`super::OptionBytes`]) and `payload`. Every length and checksum is set;
/// outer UDP checksums are computed where the template's source used them.
///
/// # Errors
/// See [`WriteError`]; `out` is unchanged then.
pub fn write_tcp(
    out: &mut [u8],
    template: &Template,
    fields: &TcpFields,
    options: &[u8],
    payload: &[u8],
) -> Result<usize, WriteError> {
    write(out, template, &template.ends(), fields, options, payload)
}

/// As [`write_tcp`] without payload, between `ends` instead of the template's own.
///
/// # Errors
/// See [`WriteError`]; `out` is unchanged then.
pub fn write_bare(
    out: &mut [u8],
    path: &Template,
    ends: &Ends,
    fields: &TcpFields,
    options: &[u8],
) -> Result<usize, WriteError> {
    write(out, path, ends, fields, options, &[])
}

#[inline(always)]
fn write(
    out: &mut [u8],
    template: &Template,
    ends: &Ends,
    fields: &TcpFields,
    options: &[u8],
    payload: &[u8],
) -> Result<usize, WriteError> {
    let l4 = template.prefix_len();
    let data = l4 + 20 + options.len();
    let end = data + payload.len();
    if options.len() > 40 || options.len() % 4 != 0 {
        return Err(WriteError::BadOptions);
    }
    if end > usize::from(u16::MAX) {
        return Err(WriteError::TooLong);
    }
    let frame = out.get_mut(..end).ok_or(WriteError::NoRoom)?;
    // Made and summed here, and only written there: the buffer is long out of the caches.
    let layers = &template.layers;
    let l3 = usize::from(layers.l3);
    let mut prefix = template.bytes;
    put_ends(&mut prefix, layers, layers.traffic_class(&template.bytes), ends);
    finish_ip(&mut prefix, end, layers.ip == IpVersion::V6, l3, fields);
    put(frame, 0, range(&prefix, 0, l4));
    put(frame, l4 + 20, options);
    if !payload.is_empty() {
        put(frame, data, payload);
    }
    let pseudo = ends_sum(layers.ip, ends) + u64::from(proto::TCP) + (end - l4) as u64;
    let header = put_header(frame, l4, fields, options.len());
    let rest = u64::from(sum_portable(options)) + u64::from(sum(payload));
    put16(frame, l4 + 16, !fold(pseudo + header + rest));
    for tunnel in layers.tunnels().iter().rev() {
        if tunnel.kind == TunnelKind::Gtpu {
            finish_gtp(frame, tunnel);
        }
        finish_ip(frame, end, tunnel.v6, usize::from(tunnel.ip), fields);
    }
    if layers.pppoe != 0 {
        let at = usize::from(layers.pppoe);
        put16(frame, at + 4, end.saturating_sub(at + 6) as u16);
    }
    Ok(end)
}

/// Both addresses, summed, as [`put_ends`] writes them.
#[inline]
fn ends_sum(ip: IpVersion, ends: &Ends) -> u64 {
    let sum_of = |a: Ipv6Addr| match ip {
        IpVersion::V4 => a.to_ipv4_mapped().map_or(0, |a| u64::from(a.to_bits())),
        IpVersion::V6 => (0..4).map(|i| u64::from((a.to_bits() >> (32 * i)) as u32)).sum(),
    };
    sum_of(ends.src) + sum_of(ends.dst)
}

/// The first 20 bytes of a TCP header, checksum and urgent pointer zero; their sum.
#[inline]
fn put_header(frame: &mut [u8], at: usize, fields: &TcpFields, options: usize) -> u64 {
    let data_offset = ((20 + options) / 4) as u16;
    let flags = data_offset << 12 | (fields.flags.0 & Flags::ALL.0);
    let words = [
        u32::from(fields.src_port) << 16 | u32::from(fields.dst_port),
        fields.seq,
        fields.ack,
        u32::from(flags) << 16 | u32::from(fields.window),
        0,
    ];
    let mut bytes = [0; 20];
    for (to, word) in bytes.chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    put(frame, at, &bytes);
    words.iter().map(|word| u64::from(*word)).sum()
}

/// Length, identification, ECN and checksum of an IP header whose packet ends at `end`.
fn finish_ip(frame: &mut [u8], end: usize, v6: bool, at: usize, fields: &TcpFields) {
    let length = end.saturating_sub(at) as u16;
    let ecn = fields.ecn as u16;
    if v6 {
        put16(frame, at, be16(frame, at) | ecn << 4);
        put16(frame, at + 4, length.wrapping_sub(40));
        return;
    }
    put16(frame, at, be16(frame, at) | ecn);
    put16(frame, at + 2, length);
    put16(frame, at + 4, fields.ip_id);
    let header = usize::from(be8(frame, at) & 0x0f) * 4;
    let checksum = !sum_portable(range(frame, at, at + header));
    put16(frame, at + 10, checksum);
}

/// Lengths of UDP and GTP-U whose packet ends with `frame`, and the UDP checksum if it is in use.
fn finish_gtp(frame: &mut [u8], tunnel: &Tunnel) {
    let l4 = usize::from(tunnel.l4);
    let length = frame.len().saturating_sub(l4) as u16;
    put16(frame, l4 + 4, length);
    put16(frame, l4 + 10, length.wrapping_sub(16));
    if be16(frame, l4 + 6) != 0 {
        put16(frame, l4 + 6, 0);
        let checksum = never_zero(!outer_udp_sum(frame, tunnel));
        put16(frame, l4 + 6, checksum);
    }
}
