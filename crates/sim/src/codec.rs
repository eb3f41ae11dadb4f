//! Frames of the model world, written and read by code of its own, so that a mistake in the engine's packet library
//! can't hide in the endpoints that judge it. Ethernet with any number of VLAN tags, IPv4 or IPv6, TCP or UDP.

use std::net::Ipv6Addr;

/// FIN.
pub const FIN: u8 = 0x01;
/// SYN.
pub const SYN: u8 = 0x02;
/// RST.
pub const RST: u8 = 0x04;
/// PSH.
pub const PSH: u8 = 0x08;
/// ACK.
pub const ACK: u8 = 0x10;
/// URG.
pub const URG: u8 = 0x20;
/// ECE.
pub const ECE: u8 = 0x40;
/// CWR.
pub const CWR: u8 = 0x80;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// Next header of ICMPv6.
pub const ICMP6: u8 = 58;

/// TCP options, those that the models speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opts {
    /// Maximum segment size.
    pub mss: Option<u16>,
    /// Window scale shift.
    pub ws: Option<u8>,
    /// SACK permitted.
    pub sack_ok: bool,
    /// Timestamps: value, echo reply.
    pub ts: Option<(u32, u32)>,
    /// SACK blocks, left and right edges; the first `sacks` count.
    pub sack: [(u32, u32); 4],
    /// How many SACK blocks.
    pub sacks: u8,
    /// Bytes written behind the other options, whatever they mean; never read back.
    pub raw: &'static [u8],
}

impl Opts {
    /// The SACK blocks.
    pub fn blocks(&self) -> &[(u32, u32)] {
        &self.sack[..usize::from(self.sacks)]
    }

    fn write(&self, out: &mut Vec<u8>) {
        if let Some(mss) = self.mss {
            out.extend([2, 4]);
            out.extend(mss.to_be_bytes());
        }
        if self.sack_ok && self.ts.is_none() {
            out.extend([1, 1, 4, 2]);
        } else if self.sack_ok {
            out.extend([4, 2]);
        } else if self.ts.is_some() {
            out.extend([1, 1]);
        }
        if let Some((val, ecr)) = self.ts {
            out.extend([8, 10]);
            out.extend(val.to_be_bytes());
            out.extend(ecr.to_be_bytes());
        }
        if let Some(ws) = self.ws {
            out.extend([1, 3, 3, ws]);
        }
        if self.sacks > 0 {
            out.extend([1, 1, 5, 2 + 8 * self.sacks]);
            for (left, right) in self.blocks() {
                out.extend(left.to_be_bytes());
                out.extend(right.to_be_bytes());
            }
        }
        out.extend(self.raw);
    }

    /// Reads options; `None` if they are not well formed.
    fn read(mut b: &[u8]) -> Option<Opts> {
        let mut opts = Opts::default();
        let be = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
        while let Some(&kind) = b.first() {
            match kind {
                0 => break,
                1 => b = &b[1..],
                _ => {
                    let len = usize::from(*b.get(1)?);
                    let body = b.get(2..len)?;
                    match (kind, body.len()) {
                        (2, 2) => opts.mss = Some(u16::from_be_bytes([body[0], body[1]])),
                        (3, 1) => opts.ws = Some(body[0]),
                        (4, 0) => opts.sack_ok = true,
                        (8, 8) => opts.ts = Some((be(body), be(&body[4..]))),
                        (5, n) if n % 8 == 0 && n <= 32 => {
                            opts.sacks = (n / 8) as u8;
                            for (block, pair) in opts.sack.iter_mut().zip(body.chunks_exact(8)) {
                                *block = (be(pair), be(&pair[4..]));
                            }
                        }
                        _ => {}
                    }
                    b = &b[len..];
                }
            }
        }
        Some(opts)
    }
}

/// A TCP segment in structured form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seg {
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags.
    pub flags: u8,
    /// Window field as on the wire.
    pub window: u16,
    /// Options.
    pub opts: Opts,
    /// The AE flag (RFC 9768), which stands beside the data offset.
    pub ae: bool,
    /// The IP header's ECN bits: 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE.
    pub ecn: u8,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Seg {
    /// True if all of `flags` are set.
    pub fn has(&self, flags: u8) -> bool {
        self.flags & flags == flags
    }

    /// Sequence space that it takes: payload, SYN and FIN.
    pub fn span(&self) -> u32 {
        self.payload.len() as u32 + u32::from(self.has(SYN)) + u32::from(self.has(FIN))
    }
}

/// Where a frame goes and how it looks below TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Ethernet source.
    pub src_mac: [u8; 6],
    /// Ethernet destination.
    pub dst_mac: [u8; 6],
    /// VLAN tags, outermost first, each TPID and TCI.
    pub tags: Vec<[u8; 4]>,
    /// IP source; IPv4 as IPv4-mapped.
    pub src: Ipv6Addr,
    /// IP destination; IPv4 as IPv4-mapped.
    pub dst: Ipv6Addr,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP.
    pub dscp: u8,
    /// IPv6 flow label.
    pub label: u32,
}

impl Path {
    fn ip_header(&self, proto: u8, ident: u16, ecn: u8, l4: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(14 + 40 + l4 + 8);
        out.extend(self.dst_mac);
        out.extend(self.src_mac);
        for tag in &self.tags {
            out.extend(tag);
        }
        let traffic_class = self.dscp << 2 | ecn;
        if let (Some(src), Some(dst)) = (self.src.to_ipv4_mapped(), self.dst.to_ipv4_mapped()) {
            out.extend([0x08, 0x00]);
            let at = out.len();
            out.extend([0x45, traffic_class]);
            out.extend((20 + l4 as u16).to_be_bytes());
            out.extend(ident.to_be_bytes());
            out.extend([0x40, 0, self.ttl, proto, 0, 0]); // DF
            out.extend(src.octets());
            out.extend(dst.octets());
            let sum = !fold(sum16(&out[at..], 0));
            out[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
        } else {
            out.extend([0x86, 0xdd]);
            let word = 6 << 28 | u32::from(traffic_class) << 20 | (self.label & 0xf_ffff);
            out.extend(word.to_be_bytes());
            out.extend((l4 as u16).to_be_bytes());
            out.extend([proto, self.ttl]);
            out.extend(self.src.octets());
            out.extend(self.dst.octets());
        }
        out
    }

    /// The frame of a TCP segment; `ident` is the IPv4 identification.
    pub fn tcp(&self, seg: &Seg, ident: u16) -> Vec<u8> {
        let mut opts = Vec::with_capacity(40);
        seg.opts.write(&mut opts);
        while opts.len() % 4 != 0 {
            opts.push(1);
        }
        let header = 20 + opts.len();
        let mut out = self.ip_header(TCP, ident, seg.ecn, header + seg.payload.len());
        let at = out.len();
        out.extend(self.sport.to_be_bytes());
        out.extend(self.dport.to_be_bytes());
        out.extend(seg.seq.to_be_bytes());
        out.extend(seg.ack.to_be_bytes());
        out.extend([(header as u8 / 4) << 4 | u8::from(seg.ae), seg.flags]);
        out.extend(seg.window.to_be_bytes());
        out.extend([0, 0, 0, 0]);
        out.extend(opts);
        out.extend(&seg.payload);
        self.fill_sum(&mut out, at, at + 16, TCP);
        out
    }

    /// The frame of a UDP datagram.
    pub fn udp(&self, payload: &[u8], ident: u16) -> Vec<u8> {
        let mut out = self.ip_header(UDP, ident, 0, 8 + payload.len());
        let at = out.len();
        out.extend(self.sport.to_be_bytes());
        out.extend(self.dport.to_be_bytes());
        out.extend((8 + payload.len() as u16).to_be_bytes());
        out.extend([0, 0]);
        out.extend(payload);
        self.fill_sum(&mut out, at, at + 6, UDP);
        out
    }

    /// The frame of an ICMP error that says that `about`, a frame of the other direction, exceeds `mtu` (RFC 1191,
    /// RFC 8201).
    pub fn too_big(&self, about: &[u8], mtu: u32) -> Vec<u8> {
        let v4 = self.src.to_ipv4_mapped().is_some();
        let packet = &about[14.min(about.len())..];
        let mut body = if v4 { vec![3, 4, 0, 0, 0, 0] } else { vec![2, 0, 0, 0] };
        if v4 {
            body.extend((mtu as u16).to_be_bytes());
        } else {
            body.extend(mtu.to_be_bytes());
        }
        body.extend(&packet[..packet.len().min(if v4 { 48 } else { 200 })]);
        let proto = if v4 { ICMP } else { ICMP6 };
        let mut out = self.ip_header(proto, 1, 0, body.len());
        let at = out.len();
        out.extend(body);
        let start = if v4 { 0 } else { pseudo(self.src, self.dst, proto, out.len() - at) };
        let sum = !fold(sum16(&out[at..], start));
        out[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
        out
    }

    fn fill_sum(&self, out: &mut [u8], l4: usize, field: usize, proto: u8) {
        let sum = !fold(sum16(&out[l4..], pseudo(self.src, self.dst, proto, out.len() - l4)));
        let sum = if proto == UDP && sum == 0 { 0xffff } else { sum };
        out[field..field + 2].copy_from_slice(&sum.to_be_bytes());
    }

    /// The way back.
    pub fn reversed(&self) -> Path {
        Path {
            src_mac: self.dst_mac,
            dst_mac: self.src_mac,
            src: self.dst,
            dst: self.src,
            sport: self.dport,
            dport: self.sport,
            ..self.clone()
        }
    }
}

/// An IP packet read from a frame.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    /// Source; IPv4 as IPv4-mapped.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Protocol.
    pub proto: u8,
    /// ECN bits.
    pub ecn: u8,
    /// TTL or hop limit.
    pub ttl: u8,
    /// IP header and all, bytes.
    pub bytes: u32,
    /// The transport header and its payload, without Ethernet padding.
    pub l4: &'a [u8],
    /// Where `l4` begins in the frame.
    pub l4_at: usize,
}

/// Reads the IP packet of a frame; `None` for anything else, fragments and extension headers among it.
pub fn ip(frame: &[u8]) -> Option<Ip<'_>> {
    let mut at = 12;
    let mut kind = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
    while matches!(kind, 0x8100 | 0x88a8) {
        at += 4;
        kind = u16::from_be_bytes([*frame.get(at)?, *frame.get(at + 1)?]);
    }
    let b = frame.get(at + 2..)?;
    let start = at + 2;
    if kind == 0x0800 && b.len() >= 20 && b[0] >> 4 == 4 {
        let header = usize::from(b[0] & 15) * 4;
        let total = usize::from(u16::from_be_bytes([b[2], b[3]]));
        let fragment = u16::from_be_bytes([b[6], b[7]]) & 0x3fff != 0;
        if header < 20 || fragment || fold(sum16(b.get(..header)?, 0)) != 0xffff {
            return None;
        }
        let address = |k: usize| std::net::Ipv4Addr::new(b[k], b[k + 1], b[k + 2], b[k + 3]).to_ipv6_mapped();
        return Some(Ip {
            src: address(12),
            dst: address(16),
            proto: b[9],
            ecn: b[1] & 3,
            ttl: b[8],
            bytes: total as u32,
            l4: b.get(header..total)?,
            l4_at: start + header,
        });
    }
    if kind == 0x86dd && b.len() >= 40 && b[0] >> 4 == 6 {
        let total = 40 + usize::from(u16::from_be_bytes([b[4], b[5]]));
        let address = |k: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&b[k..k + 16]).unwrap_or([0; 16]));
        return Some(Ip {
            src: address(8),
            dst: address(24),
            proto: b[6],
            ecn: (b[1] >> 4) & 3,
            ttl: b[7],
            bytes: total as u32,
            l4: b.get(40..total)?,
            l4_at: start + 40,
        });
    }
    None
}

/// Sets the congestion mark of a packet of an ECN-capable transport (RFC 3168 section 5); others stay as they are.
pub fn mark_ce(frame: &mut [u8]) {
    let Some((ecn, at)) = ip(frame).map(|ip| (ip.ecn, ip.l4_at)) else { return };
    if !matches!(ecn, 1 | 2) {
        return;
    }
    if frame[at - 20] == 0x45 {
        let header = &mut frame[at - 20..at];
        header[1] |= 3;
        header[10..12].fill(0);
        let sum = !fold(sum16(header, 0));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[at - 39] |= 0x30;
    }
}

/// A TCP segment read from a frame.
#[derive(Clone, Debug)]
pub struct Tcp<'a> {
    /// Its IP packet.
    pub ip: Ip<'a>,
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Everything of the header but the payload (whose `payload` is empty: see [`Tcp::payload`]).
    pub seg: Seg,
    /// Payload.
    pub payload: &'a [u8],
    /// Whether the checksum is right.
    pub sum_ok: bool,
}

/// Reads the TCP segment of a frame; `None` if it holds none that is well formed. `verify` checks the checksum.
pub fn tcp(frame: &[u8], verify: bool) -> Option<Tcp<'_>> {
    let ip = ip(frame)?;
    let b = ip.l4;
    if ip.proto != TCP || b.len() < 20 {
        return None;
    }
    let header = usize::from(b[12] >> 4) * 4;
    if header < 20 {
        return None;
    }
    let opts = Opts::read(b.get(20..header)?)?;
    let be16 = |k: usize| u16::from_be_bytes([b[k], b[k + 1]]);
    let be32 = |k: usize| u32::from_be_bytes([b[k], b[k + 1], b[k + 2], b[k + 3]]);
    let seg = Seg {
        seq: be32(4),
        ack: be32(8),
        flags: b[13],
        ae: b[12] & 1 != 0,
        window: be16(14),
        opts,
        ecn: ip.ecn,
        payload: Vec::new(),
    };
    let sum_ok = !verify || fold(sum16(b, pseudo(ip.src, ip.dst, TCP, b.len()))) == 0xffff;
    Some(Tcp { ip, sport: be16(0), dport: be16(2), seg, payload: &b[header..], sum_ok })
}

/// What an ICMP "too big" says: MTU, and addresses and ports of the packet that was (source, destination).
pub type TooBig = (u32, (Ipv6Addr, u16), (Ipv6Addr, u16));

/// Reads an ICMP error of [`Path::too_big`]'s kind about a TCP segment.
pub fn too_big(frame: &[u8]) -> Option<TooBig> {
    let ip = ip(frame)?;
    let b = ip.l4;
    let be16 = |b: &[u8]| u16::from_be_bytes([b[0], b[1]]);
    let (mtu, quote) = match (ip.proto, b.get(..8)?) {
        (ICMP, [3, 4, ..]) => (u32::from(be16(&b[6..])), &b[8..]),
        (ICMP6, [2, ..]) => (u32::from_be_bytes([b[4], b[5], b[6], b[7]]), &b[8..]),
        _ => return None,
    };
    let (src, dst, l4) = if ip.proto == ICMP {
        let q = quote.get(..20)?;
        let address = |k: usize| std::net::Ipv4Addr::new(q[k], q[k + 1], q[k + 2], q[k + 3]).to_ipv6_mapped();
        (address(12), address(16), quote.get(20..24)?)
    } else {
        let q = quote.get(..40)?;
        let address = |k: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&q[k..k + 16]).unwrap_or([0; 16]));
        (address(8), address(24), quote.get(40..44)?)
    };
    Some((mtu, (src, be16(l4)), (dst, be16(&l4[2..]))))
}

/// Whose queue a frame stands in: IPv4 address, or IPv6 /64.
pub fn subscriber(addr: Ipv6Addr) -> Ipv6Addr {
    if addr.to_ipv4_mapped().is_some() {
        return addr;
    }
    Ipv6Addr::from(u128::from(addr) >> 64 << 64)
}

/// The sum of 16-bit words that all checksums begin with.
pub fn sum16(bytes: &[u8], start: u64) -> u64 {
    let mut words = bytes.chunks_exact(8);
    let mut sum = start;
    for w in &mut words {
        let w = u64::from_be_bytes([w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]]);
        sum += (w >> 32) + (w & 0xffff_ffff);
    }
    let mut rest = [0u8; 8];
    rest[..words.remainder().len()].copy_from_slice(words.remainder());
    let w = u64::from_be_bytes(rest);
    sum + (w >> 32) + (w & 0xffff_ffff)
}

/// A sum folded to 16 bits.
pub fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// The pseudo-header's sum (RFC 9293 3.1, RFC 8200 8.1).
pub fn pseudo(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: usize) -> u64 {
    let tail = u64::from(proto) + len as u64;
    match (src.to_ipv4_mapped(), dst.to_ipv4_mapped()) {
        (Some(s), Some(d)) => sum16(&d.octets(), sum16(&s.octets(), tail)),
        _ => sum16(&dst.octets(), sum16(&src.octets(), tail)),
    }
}

#[cfg(test)]
mod tests;
