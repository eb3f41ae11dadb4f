//! Fields of the innermost IP header.

use crate::bytes::{be16, be32, be8, put, put16};
use crate::csum;
use crate::layers::{IpVersion, Layers, TunnelKind};

/// ECN codepoint of an IP header (RFC 3168 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ecn {
    /// Not ECN-capable.
    NotEct = 0,
    /// ECN-capable, ECT(1).
    Ect1 = 1,
    /// ECN-capable, ECT(0).
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

impl Ecn {
    /// From the lower two bits of a traffic class.
    #[inline]
    pub fn from_bits(bits: u8) -> Ecn {
        match bits & 3 {
            0 => Ecn::NotEct,
            1 => Ecn::Ect1,
            2 => Ecn::Ect0,
            _ => Ecn::Ce,
        }
    }
}

impl Layers {
    /// The innermost TTL or hop limit.
    #[inline]
    pub fn ttl(&self, frame: &[u8]) -> u8 {
        let l3 = usize::from(self.l3);
        match self.ip {
            IpVersion::V4 => be8(frame, l3 + 8),
            IpVersion::V6 => be8(frame, l3 + 7),
        }
    }

    /// The innermost traffic class: DSCP in the upper six bits, ECN in the lower two.
    #[inline]
    pub fn traffic_class(&self, frame: &[u8]) -> u8 {
        let l3 = usize::from(self.l3);
        match self.ip {
            IpVersion::V4 => be8(frame, l3 + 1),
            IpVersion::V6 => (be16(frame, l3) >> 4) as u8,
        }
    }

    /// The innermost DSCP, 0 to 63.
    #[inline]
    pub fn dscp(&self, frame: &[u8]) -> u8 {
        self.traffic_class(frame) >> 2
    }

    /// The innermost ECN codepoint.
    #[inline]
    pub fn ecn(&self, frame: &[u8]) -> Ecn {
        Ecn::from_bits(self.traffic_class(frame))
    }

    /// The IPv6 flow label, 0 for IPv4.
    #[inline]
    pub fn flow_label(&self, frame: &[u8]) -> u32 {
        match self.ip {
            IpVersion::V4 => 0,
            IpVersion::V6 => be32(frame, usize::from(self.l3)) & 0x000f_ffff,
        }
    }

    /// The IPv4 identification; `None` for IPv6.
    #[inline]
    pub fn ip_id(&self, frame: &[u8]) -> Option<u16> {
        match self.ip {
            IpVersion::V4 => Some(be16(frame, usize::from(self.l3) + 4)),
            IpVersion::V6 => None,
        }
    }

    /// Is the IPv4 don't-fragment bit set? Always true for IPv6.
    #[inline]
    pub fn dont_fragment(&self, frame: &[u8]) -> bool {
        match self.ip {
            IpVersion::V4 => be8(frame, usize::from(self.l3) + 6) & 0x40 != 0,
            IpVersion::V6 => true,
        }
    }

    /// Sets the innermost ECN codepoint; header and outer checksums follow incrementally.
    #[inline]
    pub fn set_ecn(&self, frame: &mut [u8], ecn: Ecn) {
        let class = self.traffic_class(frame);
        self.set_traffic_class(frame, (class & !3) | ecn as u8);
    }

    /// Sets the innermost DSCP (lower six bits of `dscp`); header and outer checksums follow incrementally.
    #[inline]
    pub fn set_dscp(&self, frame: &mut [u8], dscp: u8) {
        let class = self.traffic_class(frame);
        self.set_traffic_class(frame, (class & 3) | (dscp << 2));
    }

    /// Sets the innermost TTL or hop limit; header and outer checksums follow incrementally.
    pub fn set_ttl(&self, frame: &mut [u8], ttl: u8) {
        let at = usize::from(self.l3) + if self.ip == IpVersion::V4 { 8 } else { 6 };
        let old = be16(frame, at);
        let new = match self.ip {
            IpVersion::V4 => (old & 0x00ff) | (u16::from(ttl) << 8),
            IpVersion::V6 => (old & 0xff00) | u16::from(ttl),
        };
        self.replace_word(frame, at, old, new);
    }

    /// Sets the innermost traffic class; header and outer checksums follow incrementally.
    fn set_traffic_class(&self, frame: &mut [u8], class: u8) {
        let at = usize::from(self.l3);
        let old = be16(frame, at);
        let new = match self.ip {
            IpVersion::V4 => (old & 0xff00) | u16::from(class),
            IpVersion::V6 => (old & 0xf00f) | (u16::from(class) << 4),
        };
        self.replace_word(frame, at, old, new);
    }

    /// Replaces a word of the innermost IP header that no pseudo-header contains.
    #[inline]
    fn replace_word(&self, frame: &mut [u8], at: usize, old: u16, new: u16) {
        if old == new || !put16(frame, at, new) {
            return;
        }
        match self.ip {
            IpVersion::V4 => {
                // The header's own sum stays what it was, so no outer checksum sees a change.
                let csum_at = usize::from(self.l3) + 10;
                let csum = csum::update16(be16(frame, csum_at), old, new);
                put(frame, csum_at, &csum.to_be_bytes());
            }
            IpVersion::V6 => self.update_outer_udp(frame, csum::difference(old, new)),
        }
    }

    /// Tells the outer UDP checksum that the ones-complement sum of what it covers grew by `delta`. A checksum that is
    /// updated hides the change from the levels further out; one that is absent (zero) doesn't.
    pub(crate) fn update_outer_udp(&self, frame: &mut [u8], delta: u16) {
        for tunnel in self.tunnels().iter().rev().filter(|t| t.kind == TunnelKind::Gtpu) {
            let at = usize::from(tunnel.l4) + 6;
            let old = be16(frame, at);
            if old != 0 {
                put16(frame, at, csum::never_zero(csum::apply(old, delta)));
                return;
            }
        }
    }
}
