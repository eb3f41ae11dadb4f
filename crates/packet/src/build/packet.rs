//! A comfortable builder of frames for tests and scripts; it allocates.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::csum::{never_zero, sum_portable};
use crate::ip::Ecn;
use crate::layers::proto;
use crate::parse::ethertype;
use crate::tcp::Flags;

/// A frame in the making, from the outside in: `Packet::new().vlan(7).ipv4(a, b).gtpu(1).ipv6(c, d).tcp(80, 5000)`.
///
/// What follows decides types, protocols, lengths and checksums. Methods that set a field (`ttl`, `seq`, ...) apply to
/// the last header of that kind and do nothing if there is none. Payload comes last.
#[derive(Clone, Debug)]
pub struct Packet {
    macs: [u8; 12],
    parts: Vec<Part>,
    payload: Vec<u8>,
    padding: usize,
}

#[derive(Clone, Debug)]
enum Part {
    Tag { tpid: u16, tci: u16 },
    Label { label: u32 },
    Pppoe { session: u16 },
    V4(V4),
    V6(V6),
    Gtpu { teid: u32, seq: Option<u16>, extensions: Vec<(u8, Vec<u8>)>, checksum: bool },
    Tcp(TcpPart),
    Udp { src: u16, dst: u16 },
    Raw { proto: u8, checksum_at: Option<usize> },
}

#[derive(Clone, Debug)]
struct V4 {
    src: Ipv4Addr,
    dst: Ipv4Addr,
    class: u8,
    ttl: u8,
    id: u16,
    /// Flags and fragment offset.
    fragment: u16,
    options: Vec<u8>,
}

#[derive(Clone, Debug)]
struct V6 {
    src: Ipv6Addr,
    dst: Ipv6Addr,
    class: u8,
    ttl: u8,
    label: u32,
    extensions: Vec<(u8, Vec<u8>)>,
}

#[derive(Clone, Debug)]
struct TcpPart {
    src: u16,
    dst: u16,
    seq: u32,
    ack: u32,
    flags: Flags,
    window: u16,
    urgent: u16,
    options: Vec<u8>,
}

impl Default for Packet {
    fn default() -> Self {
        Packet::new()
    }
}

impl Packet {
    /// An Ethernet header from 02:00:00:00:00:02 to 02:00:00:00:00:01.
    pub fn new() -> Packet {
        Packet { macs: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], parts: Vec::new(), payload: Vec::new(), padding: 0 }
    }

    /// Ethernet destination, then source.
    pub fn macs(mut self, macs: [u8; 12]) -> Packet {
        self.macs = macs;
        self
    }

    /// An 802.1Q tag with this VLAN id.
    pub fn vlan(self, id: u16) -> Packet {
        self.tag(ethertype::VLAN, id)
    }

    /// An 802.1ad service tag (0x88a8) with this VLAN id; follow it with [`Packet::vlan`].
    pub fn service_vlan(self, id: u16) -> Packet {
        self.tag(ethertype::QINQ, id)
    }

    /// Any tag: TPID, and PCP, DEI and VLAN id in one word.
    pub fn tag(self, tpid: u16, tci: u16) -> Packet {
        self.part(Part::Tag { tpid, tci })
    }

    /// One MPLS label; its bottom-of-stack bit depends on what follows.
    pub fn mpls(self, label: u32) -> Packet {
        self.part(Part::Label { label })
    }

    /// A PPPoE session header.
    pub fn pppoe(self, session: u16) -> Packet {
        self.part(Part::Pppoe { session })
    }

    /// An IP header: IPv4 if both addresses are, IPv6 otherwise (IPv4 addresses mapped).
    pub fn ip(self, src: IpAddr, dst: IpAddr) -> Packet {
        let v6 = |a: IpAddr| match a {
            IpAddr::V4(a) => a.to_ipv6_mapped(),
            IpAddr::V6(a) => a,
        };
        match (src, dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => self.ipv4(src, dst),
            _ => self.ipv6(v6(src), v6(dst)),
        }
    }

    /// An IPv4 header: TTL 64, don't fragment, identification 0.
    pub fn ipv4(self, src: Ipv4Addr, dst: Ipv4Addr) -> Packet {
        self.part(Part::V4(V4 { src, dst, class: 0, ttl: 64, id: 0, fragment: 0x4000, options: Vec::new() }))
    }

    /// An IPv6 header: hop limit 64, flow label 0.
    pub fn ipv6(self, src: Ipv6Addr, dst: Ipv6Addr) -> Packet {
        self.part(Part::V6(V6 { src, dst, class: 0, ttl: 64, label: 0, extensions: Vec::new() }))
    }

    /// TTL or hop limit of the last IP header.
    pub fn ttl(self, ttl: u8) -> Packet {
        self.edit_ip(|v4| v4.ttl = ttl, |v6| v6.ttl = ttl)
    }

    /// Traffic class of the last IP header: DSCP and ECN.
    pub fn class(self, class: u8) -> Packet {
        self.edit_ip(|v4| v4.class = class, |v6| v6.class = class)
    }

    /// ECN codepoint of the last IP header.
    pub fn ecn(self, ecn: Ecn) -> Packet {
        let set = |class: u8| class & !3 | ecn as u8;
        self.edit_ip(|v4| v4.class = set(v4.class), |v6| v6.class = set(v6.class))
    }

    /// Identification of the last header if it is IPv4.
    pub fn id(self, id: u16) -> Packet {
        self.edit_ip(|v4| v4.id = id, |_| ())
    }

    /// Flow label of the last header if it is IPv6.
    pub fn flow_label(self, label: u32) -> Packet {
        self.edit_ip(|_| (), |v6| v6.label = label & 0x000f_ffff)
    }

    /// Clears or sets don't-fragment of the last header if it is IPv4.
    pub fn dont_fragment(self, on: bool) -> Packet {
        self.edit_ip(|v4| v4.fragment = v4.fragment & !0x4000 | if on { 0x4000 } else { 0 }, |_| ())
    }

    /// Makes the last IP header that of a fragment: offset in units of eight bytes, and whether more follow. For IPv6
    /// this adds a fragment header.
    pub fn fragment(self, offset: u16, more: bool) -> Packet {
        let more = u16::from(more);
        let [hi, lo] = (offset << 3 | more).to_be_bytes();
        self.edit_ip(
            |v4| v4.fragment = more << 13 | offset & 0x1fff,
            |v6| v6.extensions.push((proto::FRAGMENT, vec![0, 0, hi, lo, 0, 0, 0, 9])),
        )
    }

    /// Options of the last header if it is IPv4, padded with zeros to a multiple of four bytes.
    pub fn ip_options(self, options: &[u8]) -> Packet {
        let mut padded = options.to_vec();
        padded.resize(options.len().next_multiple_of(4), 0);
        self.edit_ip(|v4| v4.options = padded, |_| ())
    }

    /// An extension header of the last header if it is IPv6: `body` without its first two bytes, padded with zeros.
    pub fn extension(self, kind: u8, body: &[u8]) -> Packet {
        let mut bytes = vec![0, 0];
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        self.edit_ip(|_| (), |v6| v6.extensions.push((kind, bytes)))
    }

    /// A UDP and a GTP-U header without optional fields and without UDP checksum over IPv4, with one over IPv6.
    pub fn gtpu(self, teid: u32) -> Packet {
        let v6 = matches!(self.parts.last(), Some(Part::V6(_)));
        self.part(Part::Gtpu { teid, seq: None, extensions: Vec::new(), checksum: v6 })
    }

    /// Sequence number of the last GTP-U header.
    pub fn gtp_seq(mut self, number: u16) -> Packet {
        if let Some(Part::Gtpu { seq, .. }) = self.parts.last_mut() {
            *seq = Some(number);
        }
        self
    }

    /// Adds an extension header to the last GTP-U header: its type and its content, padded with zeros to a multiple of
    /// four with length and next type.
    pub fn gtp_extension(mut self, kind: u8, content: &[u8]) -> Packet {
        if let Some(Part::Gtpu { extensions, .. }) = self.parts.last_mut() {
            extensions.push((kind, content.to_vec()));
        }
        self
    }

    /// Whether the UDP header of the last GTP-U header has a checksum.
    pub fn udp_checksum(mut self, on: bool) -> Packet {
        if let Some(Part::Gtpu { checksum, .. }) = self.parts.last_mut() {
            *checksum = on;
        }
        self
    }

    /// A TCP header with only ACK set, window 65535.
    pub fn tcp(self, src: u16, dst: u16) -> Packet {
        let options = Vec::new();
        let (flags, window) = (Flags::ACK, 65535);
        self.part(Part::Tcp(TcpPart { src, dst, seq: 0, ack: 0, flags, window, urgent: 0, options }))
    }

    /// Sequence number.
    pub fn seq(self, seq: u32) -> Packet {
        self.edit_tcp(|t| t.seq = seq)
    }

    /// Acknowledgement number.
    pub fn ack(self, ack: u32) -> Packet {
        self.edit_tcp(|t| t.ack = ack)
    }

    /// TCP flags, all of them.
    pub fn flags(self, flags: Flags) -> Packet {
        self.edit_tcp(|t| t.flags = flags)
    }

    /// Window field.
    pub fn window(self, window: u16) -> Packet {
        self.edit_tcp(|t| t.window = window)
    }

    /// Urgent pointer.
    pub fn urgent(self, urgent: u16) -> Packet {
        self.edit_tcp(|t| t.urgent = urgent)
    }

    /// TCP options, padded with end-of-list to a multiple of four; more than 40 bytes are cut off.
    pub fn options(self, options: &[u8]) -> Packet {
        let mut padded = options.to_vec();
        padded.resize(options.len().next_multiple_of(4), 0);
        padded.truncate(40);
        self.edit_tcp(|t| t.options = padded)
    }

    /// A UDP header.
    pub fn udp(self, src: u16, dst: u16) -> Packet {
        self.part(Part::Udp { src, dst })
    }

    /// ICMP or ICMPv6, as the last IP header says: the payload is the whole message and its checksum is filled in.
    pub fn icmp(self) -> Packet {
        let v6 = matches!(self.parts.last(), Some(Part::V6(_)));
        let proto = if v6 { proto::ICMPV6 } else { proto::ICMP };
        self.part(Part::Raw { proto, checksum_at: Some(2) })
    }

    /// Any other protocol: the payload is what follows the IP header.
    pub fn raw(self, proto: u8) -> Packet {
        self.part(Part::Raw { proto, checksum_at: None })
    }

    /// The payload.
    pub fn payload(mut self, bytes: &[u8]) -> Packet {
        self.payload = bytes.to_vec();
        self
    }

    /// That many bytes of Ethernet padding behind the packet.
    pub fn padding(mut self, bytes: usize) -> Packet {
        self.padding = bytes;
        self
    }

    fn part(mut self, part: Part) -> Packet {
        self.parts.push(part);
        self
    }

    fn edit_ip(mut self, v4: impl FnOnce(&mut V4), v6: impl FnOnce(&mut V6)) -> Packet {
        match self.parts.iter_mut().rev().find(|p| matches!(p, Part::V4(_) | Part::V6(_))) {
            Some(Part::V4(part)) => v4(part),
            Some(Part::V6(part)) => v6(part),
            _ => {}
        }
        self
    }

    fn edit_tcp(mut self, edit: impl FnOnce(&mut TcpPart)) -> Packet {
        if let Some(Part::Tcp(part)) = self.parts.iter_mut().rev().find(|p| matches!(p, Part::Tcp(_))) {
            edit(part);
        }
        self
    }

    /// The frame, without FCS.
    pub fn build(&self) -> Vec<u8> {
        let mut body = self.payload.clone();
        let mut next: Option<&Part> = None;
        for part in self.parts.iter().rev() {
            body = part.wrap(next, body);
            next = Some(part);
        }
        let mut frame = self.macs.to_vec();
        frame.extend(next.map_or(0xffff, Part::ethertype).to_be_bytes());
        frame.extend(body);
        frame.resize(frame.len() + self.padding, 0);
        frame
    }
}

impl Part {
    fn ethertype(&self) -> u16 {
        match self {
            Part::Tag { tpid, .. } => *tpid,
            Part::Label { .. } => ethertype::MPLS,
            Part::Pppoe { .. } => ethertype::PPPOE_SESSION,
            Part::V4(_) => ethertype::IPV4,
            Part::V6(_) => ethertype::IPV6,
            _ => 0xffff,
        }
    }

    fn protocol(&self) -> u8 {
        match self {
            Part::V4(_) => proto::IPV4,
            Part::V6(_) => proto::IPV6,
            Part::Tcp(_) => proto::TCP,
            Part::Udp { .. } | Part::Gtpu { .. } => proto::UDP,
            Part::Raw { proto, .. } => *proto,
            _ => 255,
        }
    }

    /// Offset of the checksum that the IP header in front must fill in, and whether it has a pseudo-header.
    fn checksum(&self) -> Option<(usize, bool)> {
        match self {
            Part::Tcp(_) => Some((16, true)),
            Part::Udp { .. } | Part::Gtpu { checksum: true, .. } => Some((6, true)),
            Part::Raw { proto, checksum_at: Some(at) } => Some((*at, *proto == proto::ICMPV6)),
            _ => None,
        }
    }

    /// This header, then `body`, which begins with the header `next`.
    fn wrap(&self, next: Option<&Part>, body: Vec<u8>) -> Vec<u8> {
        let mut out = match self {
            Part::Tag { tci, .. } => {
                [tci.to_be_bytes(), next.map_or(0xffff, Part::ethertype).to_be_bytes()].concat()
            }
            Part::Label { label } => {
                let bottom = u32::from(!matches!(next, Some(Part::Label { .. })));
                (label << 12 | bottom << 8 | 64).to_be_bytes().to_vec()
            }
            Part::Pppoe { session } => {
                let ppp: u16 = if matches!(next, Some(Part::V6(_))) { 0x0057 } else { 0x0021 };
                let length = (body.len() + 2) as u16;
                [[0x11, 0], session.to_be_bytes(), length.to_be_bytes(), ppp.to_be_bytes()].concat()
            }
            Part::V4(v4) => return v4.wrap(next, body),
            Part::V6(v6) => return v6.wrap(next, body),
            Part::Gtpu { teid, seq, extensions, .. } => gtpu(*teid, *seq, extensions, body.len()),
            Part::Tcp(tcp) => tcp.header(),
            Part::Udp { src, dst } => {
                [src.to_be_bytes(), dst.to_be_bytes(), ((body.len() + 8) as u16).to_be_bytes(), [0, 0]].concat()
            }
            Part::Raw { .. } => Vec::new(),
        };
        out.extend(body);
        out
    }
}

impl V4 {
    fn wrap(&self, next: Option<&Part>, mut body: Vec<u8>) -> Vec<u8> {
        let proto = next.map_or(255, Part::protocol);
        // Only the first fragment begins with a transport header.
        if self.fragment & 0x1fff == 0 {
            fill(next, &[self.src.octets(), self.dst.octets()].concat(), proto, &mut body);
        }
        let header = 20 + self.options.len();
        let mut out = vec![0x40 | (header / 4) as u8, self.class];
        out.extend(((header + body.len()) as u16).to_be_bytes());
        out.extend(self.id.to_be_bytes());
        out.extend(self.fragment.to_be_bytes());
        out.extend([self.ttl, proto, 0, 0]);
        out.extend(self.src.octets());
        out.extend(self.dst.octets());
        out.extend(&self.options);
        let checksum = !sum_portable(&out);
        set16(&mut out, 10, checksum);
        out.extend(body);
        out
    }
}

impl V6 {
    fn wrap(&self, next: Option<&Part>, mut body: Vec<u8>) -> Vec<u8> {
        let mut proto = next.map_or(255, Part::protocol);
        let later = |(kind, b): &(u8, Vec<u8>)| *kind == proto::FRAGMENT && b.get(2..4).is_some_and(|f| f > &[0, 7][..]);
        if !self.extensions.iter().any(later) {
            fill(next, &[self.src.octets(), self.dst.octets()].concat(), proto, &mut body);
        }
        for (kind, bytes) in self.extensions.iter().rev() {
            let mut extension = bytes.clone();
            let units = if *kind == proto::FRAGMENT { 0 } else { (bytes.len() / 8).saturating_sub(1) as u8 };
            set16(&mut extension, 0, u16::from_be_bytes([proto, units]));
            extension.extend(body);
            (body, proto) = (extension, *kind);
        }
        let mut out = (6 << 28 | u32::from(self.class) << 20 | self.label).to_be_bytes().to_vec();
        out.extend((body.len() as u16).to_be_bytes());
        out.extend([proto, self.ttl]);
        out.extend(self.src.octets());
        out.extend(self.dst.octets());
        out.extend(body);
        out
    }
}

impl TcpPart {
    fn header(&self) -> Vec<u8> {
        let data_offset = ((20 + self.options.len()) / 4) as u16;
        let mut out = [self.src.to_be_bytes(), self.dst.to_be_bytes()].concat();
        out.extend(self.seq.to_be_bytes());
        out.extend(self.ack.to_be_bytes());
        out.extend((data_offset << 12 | self.flags.0).to_be_bytes());
        out.extend(self.window.to_be_bytes());
        out.extend([0, 0]);
        out.extend(self.urgent.to_be_bytes());
        out.extend(&self.options);
        out
    }
}

/// UDP and GTP-U headers in front of `length` bytes.
fn gtpu(teid: u32, seq: Option<u16>, extensions: &[(u8, Vec<u8>)], length: usize) -> Vec<u8> {
    let mut optional = Vec::new();
    if seq.is_some() || !extensions.is_empty() {
        optional.extend(seq.unwrap_or(0).to_be_bytes());
        optional.push(0);
        let kinds = extensions.iter().map(|(kind, _)| *kind).chain([0]);
        let mut contents = extensions.iter().map(|(_, content)| content);
        for kind in kinds {
            optional.push(kind);
            if let Some(content) = contents.next() {
                let units = (content.len() + 2).div_ceil(4);
                let end = optional.len() + units * 4 - 1;
                optional.push(units as u8);
                optional.extend(content);
                optional.resize(end, 0);
            }
        }
    }
    let flags = 0x30 | if extensions.is_empty() { 0 } else { 4 } | if seq.is_some() { 2 } else { 0 };
    let inner = (optional.len() + length) as u16;
    let mut out = [2152_u16, 2152, inner.wrapping_add(16), 0].map(u16::to_be_bytes).concat();
    out.extend([flags, 255]);
    out.extend(inner.to_be_bytes());
    out.extend(teid.to_be_bytes());
    out.extend(optional);
    out
}

/// Fills in the checksum of the transport header that `body` begins with.
fn fill(next: Option<&Part>, addrs: &[u8], proto: u8, body: &mut [u8]) {
    let Some((at, pseudo)) = next.and_then(Part::checksum) else { return };
    let mut covered = body.to_vec();
    if covered.len() % 2 == 1 {
        covered.push(0);
    }
    if pseudo {
        covered.extend(addrs);
        covered.extend((body.len() as u32).to_be_bytes());
        covered.extend([0, 0, 0, proto]);
    }
    let checksum = !sum_portable(&covered);
    set16(body, at, if proto == proto::UDP { never_zero(checksum) } else { checksum });
}

fn set16(bytes: &mut [u8], at: usize, v: u16) {
    crate::bytes::put16(bytes, at, v);
}
