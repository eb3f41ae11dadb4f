//! Shorter segments from longer ones: trimming bytes that were delivered before, and splitting for a smaller path MTU.
//!
//! Payload that stays is never summed afresh: its sum is what the old checksum claims, less what is cut away, so damage
//! to it stays detectable at the endpoint.

use crate::bytes::{array, be16, be32, put, put16, put32, range};
use crate::csum::{add, apply, difference, never_zero, pseudo_sum, sum};
use crate::layers::{proto, IpVersion, Layers, TunnelKind, MAX_TUNNELS};
use crate::tcp::{Flags, Tcp};

/// Where a shortened segment lies in its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimmed {
    /// Offset of the new Ethernet header from the old one.
    pub start: u16,
    /// Length of the new frame in bytes, without Ethernet padding.
    pub len: u16,
    /// The new frame's layers, relative to its own start.
    pub layers: Layers,
}

/// Shortens the TCP segment of a frame in place to `keep` payload bytes from the `front`th on. The headers move forward
/// onto the bytes cut from the front, so the new frame begins `front` bytes into `frame`. Sequence number, IP and
/// encapsulation lengths and all checksums follow; FIN is cleared if anything is cut from the back.
///
/// `None`, and nothing is changed, if it is no whole TCP segment, carries SYN or URG, or has no such bytes.
pub fn trim(frame: &mut [u8], layers: &Layers, front: u16, keep: u16) -> Option<Trimmed> {
    let plan = Plan::new(frame, layers, front, keep)?;
    frame.copy_within(..usize::from(layers.data), usize::from(front));
    let moved = frame.get_mut(usize::from(front)..)?;
    let layers = plan.write_headers(moved, layers);
    Some(Trimmed { start: front, len: layers.end, layers })
}

/// As [`trim`], but writes the shorter segment to the start of `out` and leaves `frame` as it is. Also `None` if `out`
/// is too short.
pub fn extract(frame: &[u8], layers: &Layers, front: u16, keep: u16, out: &mut [u8]) -> Option<Trimmed> {
    let plan = Plan::new(frame, layers, front, keep)?;
    let data = usize::from(layers.data);
    let from = data + usize::from(front);
    let payload = range(frame, from, from + usize::from(keep));
    if out.len() < data + payload.len() {
        return None;
    }
    put(out, 0, range(frame, 0, data));
    put(out, data, payload);
    let layers = plan.write_headers(out, layers);
    Some(Trimmed { start: 0, len: layers.end, layers })
}

/// What must be known of the old frame before its bytes move.
struct Plan {
    front: u16,
    keep: u16,
    cut_back: bool,
    /// Sum of the whole payload, by the old checksum.
    old_payload: u16,
    /// Sum of the payload that stays, by the old checksum.
    new_payload: u16,
    /// Per tunnel, the sum of what followed the packet within it, as its UDP checksum sees it.
    trailing: [u16; MAX_TUNNELS],
}

impl Plan {
    fn new(frame: &[u8], layers: &Layers, front: u16, keep: u16) -> Option<Plan> {
        let tcp = Tcp::new(frame, layers)?;
        let total = u16::try_from(tcp.payload().len()).ok()?;
        let (l4, data) = (usize::from(layers.l4), usize::from(layers.data));
        if tcp.flags().intersects(Flags::SYN | Flags::URG)
            || layers.routed
            || front.checked_add(keep)? > total
            || data > frame.len()
        {
            return None;
        }
        let claimed = !tcp.checksum();
        let length = layers.end.checked_sub(layers.l4)?;
        let head = add(header_sum(frame, l4, data), !be16(frame, l4 + 16));
        let pseudo = pseudo_sum(frame, layers.ip, usize::from(layers.l3), proto::TCP, length);
        let old_payload = add(claimed, !add(head, pseudo));
        let (front_bytes, rest) = tcp.payload().split_at_checked(usize::from(front))?;
        let back_bytes = rest.get(usize::from(keep)..)?;
        let after_front = add(old_payload, !sum(front_bytes));
        // Behind an odd number of bytes each byte has the other's place in its word.
        let after_front = if front % 2 == 0 { after_front } else { after_front.swap_bytes() };
        let back = if keep % 2 == 0 { sum(back_bytes) } else { sum(back_bytes).swap_bytes() };
        Some(Plan {
            front,
            keep,
            cut_back: !back_bytes.is_empty(),
            old_payload,
            new_payload: add(after_front, !back),
            trailing: trailing_sums(frame, layers),
        })
    }

    /// Brings all headers up to date in a frame whose headers are still the old ones; returns the new layers.
    fn write_headers(&self, frame: &mut [u8], layers: &Layers) -> Layers {
        let mut new = *layers;
        new.end = layers.data.wrapping_add(self.keep);
        let (l3, l4, data) = (usize::from(layers.l3), usize::from(layers.l4), usize::from(layers.data));
        let before = add(header_sum(frame, l3, data), self.old_payload);

        set_ip_length(frame, layers.ip, l3, new.end);
        put32(frame, l4 + 4, be32(frame, l4 + 4).wrapping_add(u32::from(self.front)));
        if self.cut_back {
            put16(frame, l4 + 12, be16(frame, l4 + 12) & !Flags::FIN.0);
        }
        put16(frame, l4 + 16, 0);
        let head = header_sum(frame, l4, data);
        let pseudo = pseudo_sum(frame, layers.ip, l3, proto::TCP, new.end.wrapping_sub(layers.l4));
        put16(frame, l4 + 16, !add(add(head, pseudo), self.new_payload));

        let after = add(header_sum(frame, l3, data), self.new_payload);
        self.write_outer(frame, layers, &mut new, add(after, !before));
        if layers.pppoe != 0 {
            put16(frame, usize::from(layers.pppoe) + 4, new.end.wrapping_sub(layers.pppoe).wrapping_sub(6));
        }
        new
    }

    /// Outer headers, from the inside out; `delta` is by how much the sum of the inner packet grew.
    fn write_outer(&self, frame: &mut [u8], layers: &Layers, new: &mut Layers, mut delta: u16) {
        let tunnels = layers.tunnels().iter().zip(&mut new.tunnel).zip(self.trailing);
        for ((old, new_tunnel), trailing) in tunnels.rev() {
            let (ip, l4) = (usize::from(old.ip), usize::from(old.l4));
            new_tunnel.end = new.end;
            delta = add(delta, !trailing);
            if old.kind == TunnelKind::Gtpu {
                delta = add(delta, set16(frame, l4 + 10, new.end.wrapping_sub(old.l4).wrapping_sub(16)));
                let length = set16(frame, l4 + 4, new.end.wrapping_sub(old.l4));
                delta = add(delta, length);
                let checksum = be16(frame, l4 + 6);
                if checksum != 0 {
                    // The length is in the pseudo-header too.
                    let changed = never_zero(apply(checksum, add(delta, length)));
                    delta = add(delta, set16(frame, l4 + 6, changed));
                }
            }
            let version = if old.v6 { IpVersion::V6 } else { IpVersion::V4 };
            delta = add(delta, set_ip_length(frame, version, ip, new.end));
        }
    }
}

/// Sum of headers, which are few bytes.
fn header_sum(frame: &[u8], from: usize, to: usize) -> u16 {
    crate::csum::sum_portable(range(frame, from, to))
}

/// Per tunnel, the sum of the bytes between the end of the packet within and its own end, seen from its transport
/// header (zero for nearly every frame).
fn trailing_sums(frame: &[u8], layers: &Layers) -> [u16; MAX_TUNNELS] {
    let mut sums = [0; MAX_TUNNELS];
    let mut inner_end = layers.end;
    for (tunnel, slot) in layers.tunnels().iter().zip(&mut sums).rev() {
        let s = sum(range(frame, usize::from(inner_end), usize::from(tunnel.end)));
        *slot = if inner_end.wrapping_sub(tunnel.l4) % 2 == 0 { s } else { s.swap_bytes() };
        inner_end = tunnel.end;
    }
    sums
}

/// Writes a word and returns by how much the sum grew.
fn set16(frame: &mut [u8], at: usize, new: u16) -> u16 {
    let old = be16(frame, at);
    put16(frame, at, new);
    difference(old, new)
}

/// Sets the length of the IP header at `at` so that its packet ends at `end`, with the IPv4 header checksum; returns by
/// how much the header's sum grew.
fn set_ip_length(frame: &mut [u8], version: IpVersion, at: usize, end: u16) -> u16 {
    let start = at as u16;
    match version {
        IpVersion::V4 => {
            let length = set16(frame, at + 2, end.wrapping_sub(start));
            let Some([hi, lo]) = array::<2>(frame, at + 10).copied() else { return length };
            add(length, set16(frame, at + 10, apply(u16::from_be_bytes([hi, lo]), length)))
        }
        IpVersion::V6 => set16(frame, at + 4, end.wrapping_sub(start).wrapping_sub(40)),
    }
}
