//! From a frame to [`Layers`].

mod inet;
mod link;

use crate::bytes::{array, be16};
use crate::layers::{proto, Encap, IpVersion, Layers, Tunnel, MAX_TUNNELS};
use crate::refusal::Refusal;

/// EtherTypes that lead to IP.
pub(crate) mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const IPV6: u16 = 0x86dd;
    pub const VLAN: u16 = 0x8100;
    pub const QINQ: u16 = 0x88a8;
    pub const QINQ_OLD: u16 = 0x9100;
    pub const MPLS: u16 = 0x8847;
    pub const MPLS_MULTICAST: u16 = 0x8848;
    pub const PPPOE_SESSION: u16 = 0x8864;
}

/// Finds the innermost IP packet of a frame that begins at the Ethernet destination address and has no FCS.
///
/// TCP and UDP headers are checked for completeness unless the packet is a fragment; checksums are not looked at.
///
/// # Errors
/// A [`Refusal`] that names what the frame is instead, or where it is malformed. Never panics.
#[inline]
pub fn parse(frame: &[u8]) -> Result<Layers, Refusal> {
    match common(frame) {
        Some(layers) => Ok(layers),
        None => any(frame),
    }
}

/// Ethernet, at most one VLAN tag, IPv4 without options or IPv6 without extension headers, whole TCP: what nearly every
/// frame of interest is. `None` says nothing about the frame.
#[inline(always)]
fn common(frame: &[u8]) -> Option<Layers> {
    let mut kind = be16(frame, 12);
    let (mut l3, mut encap) = (14_usize, Encap::PLAIN);
    if kind == ethertype::VLAN {
        kind = be16(frame, 16);
        (l3, encap) = (18, Encap::VLAN);
    }
    // 20 bytes of IPv4 and of TCP; a whole IPv6 header and no TCP, checked again below.
    let h = array::<40>(frame, l3)?;
    let (ip, l4, end) = match kind {
        // MF and the offset must be zero; reserved bit and DF may be anything.
        ethertype::IPV4 if h[0] == 0x45 && h[9] == proto::TCP && u16::from_be_bytes([h[6], h[7]]) & 0x3fff == 0 => {
            (IpVersion::V4, l3 + 20, l3 + usize::from(u16::from_be_bytes([h[2], h[3]])))
        }
        ethertype::IPV6 if h[0] >> 4 == 6 && h[6] == proto::TCP => {
            (IpVersion::V6, l3 + 40, l3 + 40 + usize::from(u16::from_be_bytes([h[4], h[5]])))
        }
        _ => return None,
    };
    if end > frame.len() || frame.len() > usize::from(u16::MAX) || l4 + 20 > end {
        return None;
    }
    let data_offset = usize::from(frame.get(l4 + 12)? >> 4) * 4;
    let data = l4 + data_offset;
    if data_offset < 20 || data > end {
        return None;
    }
    Some(Layers {
        l3: l3 as u16,
        l4: l4 as u16,
        data: data as u16,
        end: end as u16,
        ip,
        proto: proto::TCP,
        frag: false,
        first_frag: false,
        ip_options: false,
        routed: false,
        encap,
        pppoe: 0,
        tunnel_count: 0,
        tunnel: [Tunnel::default(); MAX_TUNNELS],
    })
}

/// Everything else, and the exact refusal of what `common` declined.
#[inline(never)]
fn any(frame: &[u8]) -> Result<Layers, Refusal> {
    if frame.len() > usize::from(u16::MAX) {
        return Err(Refusal::TooLong);
    }
    let link = link::walk(frame)?;
    inet::walk(frame, &link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Packet;

    #[test]
    fn the_quick_way_says_what_the_general_way_says_or_nothing() {
        let (a, b) = ("10.0.0.1".parse().unwrap(), "192.0.2.9".parse().unwrap());
        let (c, d) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let mut quick = 0;
        for link in [Packet::new(), Packet::new().vlan(7), Packet::new().service_vlan(7), Packet::new().vlan(7).vlan(8)] {
            for ip in [link.clone().ipv4(a, b), link.clone().ipv6(c, d)] {
                let tcp = ip.clone().tcp(1, 2);
                let packets = [tcp.clone().payload(b"some bytes").options(&[1; 12]), tcp.padding(9), ip.udp(1, 2)];
                for frame in packets.map(|p| p.build()) {
                    // Every value of every header byte, and every length.
                    for at in 0..frame.len().min(80) {
                        for value in 0..=255 {
                            let mut frame = frame.clone();
                            frame[at] = value;
                            if let Some(layers) = common(&frame) {
                                assert_eq!(any(&frame), Ok(layers), "byte {at} = {value}");
                                quick += 1;
                            }
                        }
                    }
                    for cut in 0..frame.len() {
                        if let Some(layers) = common(&frame[..cut]) {
                            assert_eq!(any(&frame[..cut]), Ok(layers), "cut at {cut}");
                        }
                    }
                }
            }
        }
        assert!(quick > 50_000, "{quick}");
    }

    #[test]
    fn ordinary_segments_take_the_quick_way() {
        let (c, d) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        for link in [Packet::new(), Packet::new().vlan(7)] {
            assert!(common(&link.ipv6(c, d).tcp(1, 2).build()).is_some());
        }
    }
}
