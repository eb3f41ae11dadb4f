//! Which side of the wire a captured frame came in at.

use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;

use serde::Serialize;
use smartwire_engine::Side;

use super::Packet;
use crate::codec::{self, ACK, SYN};

/// How a capture's frames are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Several interfaces and each frame's direction, as `smartwire capture` writes them: even interfaces are access
    /// ports, odd ones core ports; what they sent is left out.
    Ports,
    /// Two interfaces without directions: a frame's second appearance is its copy on the way out. The interface that
    /// the first SYN came in at is the access side.
    Interfaces,
    /// One interface: whoever sends a connection's first SYN is on the access side; without a SYN, the higher port.
    OnePoint,
}

/// A frame that came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sided<'a> {
    pub(crate) at_ns: u64,
    pub(crate) side: Side,
    pub(crate) frame: &'a [u8],
    pub(crate) length: usize,
}

/// Tells which frames came in, and where, in the order of time.
pub(crate) fn assign<'a>(packets: &[Packet<'a>]) -> (Layout, Vec<Sided<'a>>) {
    let several = packets.iter().any(|p| p.interface != packets[0].interface);
    let directed = packets.iter().any(|p| p.direction != 0);
    let mut ordered: Vec<&Packet<'a>> = packets.iter().collect();
    ordered.sort_by_key(|p| p.at_ns);
    let layout = match (several, directed) {
        (true, true) => Layout::Ports,
        (true, false) => Layout::Interfaces,
        _ => Layout::OnePoint,
    };
    let sided = match layout {
        Layout::Ports => ordered.iter().filter(|p| p.direction == 1).map(|p| sided(p, parity(p.interface))).collect(),
        Layout::Interfaces => by_interface(&ordered),
        Layout::OnePoint => by_flow(&ordered),
    };
    (layout, sided)
}

fn sided<'a>(p: &Packet<'a>, side: Side) -> Sided<'a> {
    Sided { at_ns: p.at_ns, side, frame: p.frame, length: p.length }
}

fn parity(interface: u32) -> Side {
    if interface % 2 == 0 {
        Side::Access
    } else {
        Side::Core
    }
}

fn is_syn(frame: &[u8]) -> bool {
    codec::tcp(frame, false).is_some_and(|t| t.seg.has(SYN) && !t.seg.has(ACK))
}

fn by_interface<'a>(ordered: &[&Packet<'a>]) -> Vec<Sided<'a>> {
    const LONGEST_PASSAGE_NS: u64 = 2_000_000_000;
    let access = ordered.iter().find(|p| is_syn(p.frame)).map_or(0, |p| p.interface);
    let mut seen: HashMap<&[u8], (u64, u32)> = HashMap::new();
    let mut out = Vec::new();
    for p in ordered {
        // A bridge changes nothing behind the Ethernet header.
        let body = &p.frame[p.frame.len().min(12)..];
        if let Some((at, interface)) = seen.remove(body) {
            if interface != p.interface && p.at_ns - at < LONGEST_PASSAGE_NS {
                continue;
            }
        }
        seen.insert(body, (p.at_ns, p.interface));
        out.push(sided(p, if p.interface == access { Side::Access } else { Side::Core }));
    }
    out
}

fn by_flow<'a>(ordered: &[&Packet<'a>]) -> Vec<Sided<'a>> {
    type End = (Ipv6Addr, u16);
    let mut access: HashSet<(End, End)> = HashSet::new();
    let mut out = Vec::new();
    for p in ordered {
        let Some(t) = codec::tcp(p.frame, false) else { continue };
        let (from, to) = ((t.ip.src, t.sport), (t.ip.dst, t.dport));
        if !access.contains(&(from, to)) && !access.contains(&(to, from)) {
            let opens = is_syn(p.frame) || !t.seg.has(SYN) && t.sport > t.dport;
            access.insert(if opens { (from, to) } else { (to, from) });
        }
        out.push(sided(p, if access.contains(&(from, to)) { Side::Access } else { Side::Core }));
    }
    out
}
