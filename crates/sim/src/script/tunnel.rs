//! What a frame travels in: written around it, and taken off again with every byte of it checked.

use std::net::Ipv6Addr;

use super::model::End;
use crate::codec::{fold, pseudo, sum16};

/// A kind of encapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tunnel {
    None,
    Vlan,
    QinQ,
    Mpls,
    Pppoe,
    Gtpu,
    GtpuVlan,
    InIpv4,
    InIpv6,
}

/// Length of an Ethernet header without tags.
const ETHERNET: usize = 14;

impl Tunnel {
    pub const fn name(self) -> &'static str {
        match self {
            Tunnel::None => "plain",
            Tunnel::Vlan => "vlan",
            Tunnel::QinQ => "qinq",
            Tunnel::Mpls => "mpls",
            Tunnel::Pppoe => "pppoe",
            Tunnel::Gtpu => "gtpu",
            Tunnel::GtpuVlan => "gtpu-vlan",
            Tunnel::InIpv4 => "in-ipv4",
            Tunnel::InIpv6 => "in-ipv6",
        }
    }

    /// Bytes between the Ethernet addresses and the IP header inside.
    fn overhead(self) -> usize {
        match self {
            Tunnel::None => 0,
            Tunnel::Vlan => 4,
            Tunnel::QinQ | Tunnel::Mpls | Tunnel::Pppoe => 8,
            Tunnel::Gtpu => 36,
            Tunnel::GtpuVlan => 40,
            Tunnel::InIpv4 => 20,
            Tunnel::InIpv6 => 40,
        }
    }

    /// `frame`, from `from`, in its tunnel. What differs by direction in the field differs here: MPLS labels and TEIDs.
    pub fn wrap(self, frame: &[u8], from: End) -> Vec<u8> {
        let (macs, rest) = frame.split_at(12);
        let (kind, packet) = rest.split_at(2);
        let v6 = kind == [0x86, 0xdd];
        let direction = from as u8;
        let mut out = macs.to_vec();
        match self {
            Tunnel::None => return frame.to_vec(),
            Tunnel::Vlan => {
                out.extend([0x81, 0x00, 0x00, 77]);
                out.extend(kind);
            }
            Tunnel::QinQ => {
                out.extend([0x88, 0xa8, 0x00, 5, 0x81, 0x00, 0x20, 6]);
                out.extend(kind);
            }
            Tunnel::Mpls => out.extend([0x88, 0x47, 0, 1, 0x10 + (direction << 5), 64, 0, 2, 0x11 + (direction << 5), 64]),
            Tunnel::Pppoe => {
                let length = (packet.len() as u16 + 2).to_be_bytes();
                out.extend([0x88, 0x64, 0x11, 0, 0x12, 0x34, length[0], length[1], 0, if v6 { 0x57 } else { 0x21 }]);
            }
            Tunnel::Gtpu => {
                out.extend([0x08, 0x00]);
                out.extend(gtpu(packet, direction));
                return out;
            }
            Tunnel::GtpuVlan => {
                out.extend([0x81, 0x00, 0x00, 9, 0x08, 0x00]);
                out.extend(gtpu(packet, direction));
                return out;
            }
            Tunnel::InIpv4 => {
                out.extend([0x08, 0x00]);
                out.extend(ipv4(packet.len(), if v6 { 41 } else { 4 }, direction));
            }
            Tunnel::InIpv6 => {
                out.extend([0x86, 0xdd]);
                out.extend(ipv6(packet.len(), if v6 { 41 } else { 4 }, direction));
            }
        }
        out.extend(packet);
        out
    }

    /// The frame inside, or what is wrong with what is around it.
    pub fn unwrap(self, frame: &[u8], from: End) -> Result<Vec<u8>, String> {
        if self == Tunnel::None {
            return Ok(frame.to_vec());
        }
        let broken = || format!("a frame left without its {} headers", self.name());
        let packet = frame.get(ETHERNET + self.overhead()..).ok_or_else(broken)?;
        let kind = if packet.first().ok_or_else(broken)? >> 4 == 6 { [0x86, 0xdd] } else { [0x08, 0x00] };
        let inner = [&frame[..12], &kind[..], packet].concat();
        let mut again = self.wrap(&inner, from);
        // The identification of an outer IPv4 header is whoever's who wrote it; its checksum must be right.
        let ip = ETHERNET + if self == Tunnel::GtpuVlan { 4 } else { 0 };
        if matches!(self, Tunnel::Gtpu | Tunnel::GtpuVlan | Tunnel::InIpv4) {
            again[ip + 4..ip + 6].copy_from_slice(&frame[ip + 4..ip + 6]);
            again[ip + 10..ip + 12].copy_from_slice(&frame[ip + 10..ip + 12]);
            if fold(sum16(&frame[ip..ip + 20], 0)) != 0xffff {
                return Err(format!("the checksum of the outer IPv4 header of a {} frame is wrong", self.name()));
            }
        }
        if again == frame {
            return Ok(inner);
        }
        let at = again.iter().zip(frame).position(|(a, b)| a != b).unwrap_or(again.len().min(frame.len()));
        Err(format!("a frame left with other {} headers than its endpoint's: byte {at}", self.name()))
    }
}

fn ipv4(payload: usize, proto: u8, direction: u8) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend((20 + payload as u16).to_be_bytes());
    out.extend([0, 7, 0x40, 0, 60, proto, 0, 0]);
    let (a, b) = ([172, 16, 0, 1], [172, 16, 0, 2]);
    let (src, dst) = if direction == 0 { (a, b) } else { (b, a) };
    out.extend(src);
    out.extend(dst);
    let sum = !fold(sum16(&out, 0));
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out
}

fn ipv6(payload: usize, proto: u8, direction: u8) -> Vec<u8> {
    let node = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, 0xee, 0, 0, 0, 0, n).octets();
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((payload as u16).to_be_bytes());
    out.extend([proto, 60]);
    out.extend(node(1 + u16::from(direction)));
    out.extend(node(2 - u16::from(direction)));
    out
}

/// IPv4, UDP without a checksum, GTP-U (3GPP TS 29.281 section 5.1) and the packet.
fn gtpu(packet: &[u8], direction: u8) -> Vec<u8> {
    let mut out = ipv4(8 + 8 + packet.len(), 17, direction);
    out.extend([0x08, 0x68, 0x08, 0x68]);
    out.extend((16 + packet.len() as u16).to_be_bytes());
    out.extend([0, 0, 0x30, 0xff]);
    out.extend((packet.len() as u16).to_be_bytes());
    out.extend([0, 0, 0x11, direction]);
    out.extend(packet);
    out
}

/// Sets the checksum of a transport header.
pub(super) fn fill_sum(out: &mut [u8], l4: usize, field: usize, (src, dst): (Ipv6Addr, Ipv6Addr), proto: u8) {
    out[field..field + 2].fill(0);
    let sum = !fold(sum16(&out[l4..], pseudo(src, dst, proto, out.len() - l4)));
    out[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}
