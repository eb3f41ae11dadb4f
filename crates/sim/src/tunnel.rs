//! What a frame travels in: written around it, and taken off again with every byte of it checked.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::codec::{fold, sum16};

/// Kinds of encapsulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// None.
    #[default]
    Plain,
    /// One 802.1Q tag.
    Vlan,
    /// An 802.1ad tag and an 802.1Q tag.
    QinQ,
    /// Two labels, which differ by direction.
    Mpls,
    /// A PPPoE session.
    Pppoe,
    /// GTP-U, whose TEIDs differ by direction.
    Gtpu,
    /// GTP-U with sequence number, N-PDU number and an extension header with a QFI.
    GtpuLong,
    /// GTP-U within a VLAN.
    GtpuVlan,
    /// GTP-U behind an MPLS label.
    GtpuMpls,
    /// Within IPv4.
    InIpv4,
    /// Within IPv6.
    InIpv6,
}

/// One encapsulation; those of the same kind with other numbers are other VLANs, sessions, tunnel ends, and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    /// What it is.
    pub kind: Kind,
    /// Which of them, from 0.
    pub number: u8,
}

/// Length of an Ethernet header without tags.
const ETHERNET: usize = 14;
/// GTP-U's flags: version 1, GTP; extension header, sequence number and N-PDU number follow (3GPP TS 29.281 section 5.1).
const GTP: u8 = 0x30;
const GTP_LONG: u8 = GTP | 0x07;

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 11] = [
        Kind::Plain,
        Kind::Vlan,
        Kind::QinQ,
        Kind::Mpls,
        Kind::Pppoe,
        Kind::Gtpu,
        Kind::GtpuLong,
        Kind::GtpuVlan,
        Kind::GtpuMpls,
        Kind::InIpv4,
        Kind::InIpv6,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Plain => "plain",
            Kind::Vlan => "vlan",
            Kind::QinQ => "qinq",
            Kind::Mpls => "mpls",
            Kind::Pppoe => "pppoe",
            Kind::Gtpu => "gtpu",
            Kind::GtpuLong => "gtpu-long",
            Kind::GtpuVlan => "gtpu-vlan",
            Kind::GtpuMpls => "gtpu-mpls",
            Kind::InIpv4 => "in-ipv4",
            Kind::InIpv6 => "in-ipv6",
        }
    }

    /// Do the same addresses in two of them belong to different hosts? MPLS labels differ by direction, so nobody can
    /// tell from them.
    pub const fn apart(self) -> bool {
        !matches!(self, Kind::Plain | Kind::Mpls)
    }

    /// Bytes in front of the outer IP header, if there is one.
    fn outer_ip(self) -> Option<usize> {
        match self {
            Kind::Gtpu | Kind::GtpuLong | Kind::InIpv4 | Kind::InIpv6 => Some(ETHERNET),
            Kind::GtpuVlan | Kind::GtpuMpls => Some(ETHERNET + 4),
            _ => None,
        }
    }

    /// Bytes between the Ethernet header and the IP header inside.
    fn overhead(self) -> usize {
        match self {
            Kind::Plain => 0,
            Kind::Vlan => 4,
            Kind::QinQ | Kind::Mpls | Kind::Pppoe => 8,
            Kind::Gtpu => 36,
            Kind::GtpuLong => 44,
            Kind::GtpuVlan | Kind::GtpuMpls => 40,
            Kind::InIpv4 => 20,
            Kind::InIpv6 => 40,
        }
    }
}

impl Tunnel {
    /// The first of a kind.
    pub const fn of(kind: Kind) -> Tunnel {
        Tunnel { kind, number: 0 }
    }

    /// `frame`, which goes in a direction (0 or 1), in its tunnel. What differs by direction in the field differs here:
    /// MPLS labels and TEIDs.
    pub fn wrap(self, frame: &[u8], direction: u8) -> Vec<u8> {
        if self.kind == Kind::Plain {
            return frame.to_vec();
        }
        let (macs, rest) = frame.split_at(12);
        let (kind, packet) = rest.split_at(2);
        let v6 = kind == [0x86, 0xdd];
        let n = self.number;
        // Ends of tunnels of different kinds are different hosts.
        let ends = n + 8 * self.kind as u8;
        let mut out = macs.to_vec();
        match self.kind {
            Kind::Plain => {}
            Kind::Vlan => out.extend([&[0x81, 0x00, 0x00, 77 + n], kind].concat()),
            Kind::QinQ => out.extend([&[0x88, 0xa8, 0x00, 5, 0x81, 0x00, 0x20, 6 + n], kind].concat()),
            Kind::Mpls => {
                out.extend([0x88, 0x47, 0, 1 + n, 0x10 + (direction << 5), 64, 0, 2, 0x11 + (direction << 5), 64]);
            }
            Kind::Pppoe => {
                let length = (packet.len() as u16 + 2).to_be_bytes();
                out.extend([0x88, 0x64, 0x11, 0, 0x12, 0x34 + n, length[0], length[1], 0, if v6 { 0x57 } else { 0x21 }]);
            }
            Kind::Gtpu | Kind::GtpuLong => out.extend([0x08, 0x00]),
            Kind::GtpuVlan => out.extend([0x81, 0x00, 0x00, 9, 0x08, 0x00]),
            Kind::GtpuMpls => out.extend([0x88, 0x47, 0, 3, 0x11 + (direction << 5), 64]),
            Kind::InIpv4 => out.extend([&[0x08, 0x00], &ipv4(packet.len(), if v6 { 41 } else { 4 }, direction, ends)[..]].concat()),
            Kind::InIpv6 => out.extend([&[0x86, 0xdd], &ipv6(packet.len(), if v6 { 41 } else { 4 }, direction, ends)[..]].concat()),
        }
        match self.kind {
            Kind::Gtpu | Kind::GtpuVlan | Kind::GtpuMpls => out.extend(gtpu(packet, direction, ends, GTP)),
            Kind::GtpuLong => out.extend(gtpu(packet, direction, ends, GTP_LONG)),
            _ => out.extend(packet),
        }
        out
    }

    /// The frame inside, or what is wrong with what is around it.
    ///
    /// # Errors
    /// Which byte is not as the endpoint of that direction writes it.
    pub fn unwrap(self, frame: &[u8], direction: u8) -> Result<Vec<u8>, String> {
        if self.kind == Kind::Plain {
            return Ok(frame.to_vec());
        }
        let broken = || format!("a frame left without its {} headers", self.kind.name());
        let packet = frame.get(ETHERNET + self.kind.overhead()..).ok_or_else(broken)?;
        let kind = if packet.first().ok_or_else(broken)? >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let inner = [&frame[..12], &kind[..], packet].concat();
        let mut again = self.wrap(&inner, direction);
        // The identification of an outer IPv4 header is whoever's who wrote it; its checksum must be right. So is the
        // sequence number of GTP-U (TS 29.281 section 5.1: receivers need not look at it).
        if let Some(ip) = self.kind.outer_ip().filter(|_| self.kind != Kind::InIpv6) {
            again[ip + 4..ip + 6].copy_from_slice(&frame[ip + 4..ip + 6]);
            again[ip + 10..ip + 12].copy_from_slice(&frame[ip + 10..ip + 12]);
            if fold(sum16(&frame[ip..ip + 20], 0)) != 0xffff {
                return Err(format!("the checksum of the outer IPv4 header of a {} frame is wrong", self.kind.name()));
            }
            if self.kind == Kind::GtpuLong {
                again[ip + 36..ip + 38].copy_from_slice(&frame[ip + 36..ip + 38]);
            }
        }
        if again == frame {
            return Ok(inner);
        }
        let at = again.iter().zip(frame).position(|(a, b)| a != b).unwrap_or(again.len().min(frame.len()));
        Err(format!("a frame left with other {} headers than its endpoint's: byte {at}", self.kind.name()))
    }
}

/// Addresses of the tunnel's two ends.
fn ipv4(payload: usize, proto: u8, direction: u8, number: u8) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend((20 + payload as u16).to_be_bytes());
    out.extend([0, 7, 0x40, 0, 60, proto, 0, 0]);
    let (a, b) = ([172, 16, number, 1], [172, 16, number, 2]);
    let (src, dst) = if direction == 0 { (a, b) } else { (b, a) };
    out.extend(src);
    out.extend(dst);
    let sum = !fold(sum16(&out, 0));
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out
}

fn ipv6(payload: usize, proto: u8, direction: u8, number: u8) -> Vec<u8> {
    let node = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xee, u16::from(number), 0, 0, 0, n).octets();
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((payload as u16).to_be_bytes());
    out.extend([proto, 60]);
    out.extend(node(1 + u16::from(direction)));
    out.extend(node(2 - u16::from(direction)));
    out
}

/// IPv4, UDP without a checksum, GTP-U (TS 29.281 section 5.1) and the packet.
fn gtpu(packet: &[u8], direction: u8, number: u8, flags: u8) -> Vec<u8> {
    // Sequence number, N-PDU number, then a PDU session container (TS 38.415): its length in words, type and QFI, no more.
    let optional: &[u8] = if flags == GTP_LONG { &[0, 7, 0, 0x85, 1, direction << 4, 9, 0] } else { &[] };
    let length = optional.len() + packet.len();
    let mut out = ipv4(8 + 8 + length, 17, direction, number);
    out.extend([0x08, 0x68, 0x08, 0x68]);
    out.extend((16 + length as u16).to_be_bytes());
    out.extend([0, 0, flags, 0xff]);
    out.extend((length as u16).to_be_bytes());
    out.extend([0, number, 0x11, direction]);
    out.extend(optional);
    out.extend(packet);
    out
}
