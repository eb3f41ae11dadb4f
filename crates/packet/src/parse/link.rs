//! Link headers: Ethernet, VLAN tags, MPLS labels, PPPoE sessions.

use super::ethertype;
use crate::bytes::{be16, be8};
use crate::layers::{Encap, IpVersion};
use crate::refusal::Refusal;

/// More VLAN tags than this are refused.
const MAX_TAGS: usize = 8;
/// More MPLS labels than this are refused.
const MAX_LABELS: usize = 16;

/// What the link headers lead to.
pub(super) struct Link {
    /// Offset of the outermost IP header.
    pub ip_at: usize,
    /// First byte beyond what may belong to it.
    pub end: usize,
    /// Its version, as announced from below.
    pub version: IpVersion,
    /// Kinds seen.
    pub encap: Encap,
    /// Offset of the PPPoE header, 0 if none.
    pub pppoe: usize,
}

/// Walks the link headers of a frame.
pub(super) fn walk(frame: &[u8]) -> Result<Link, Refusal> {
    let mut link = Link { ip_at: 14, end: frame.len(), version: IpVersion::V4, encap: Encap::PLAIN, pppoe: 0 };
    if frame.len() < 14 {
        return Err(Refusal::LinkTruncated);
    }
    let mut kind = be16(frame, 12);
    let mut tags = 0;
    while matches!(kind, ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD) {
        tags += 1;
        if tags > MAX_TAGS {
            return Err(Refusal::TooManyTags);
        }
        if frame.len() < link.ip_at + 4 {
            return Err(Refusal::LinkTruncated);
        }
        kind = be16(frame, link.ip_at + 2);
        link.ip_at += 4;
        link.encap |= if tags == 1 { Encap::VLAN } else { Encap::QINQ };
    }
    match kind {
        ethertype::IPV4 => link.version = IpVersion::V4,
        ethertype::IPV6 => link.version = IpVersion::V6,
        ethertype::MPLS | ethertype::MPLS_MULTICAST => mpls(frame, &mut link)?,
        ethertype::PPPOE_SESSION => pppoe(frame, &mut link)?,
        _ => return Err(Refusal::NotIp),
    }
    Ok(link)
}

/// A label stack (RFC 3032). Nothing names its payload, so the first nibble is taken as an IP version, as routers do
/// (RFC 4928 section 3).
fn mpls(frame: &[u8], link: &mut Link) -> Result<(), Refusal> {
    link.encap |= Encap::MPLS;
    for _ in 0..MAX_LABELS {
        if frame.len() < link.ip_at + 4 {
            return Err(Refusal::LinkTruncated);
        }
        let bottom = be8(frame, link.ip_at + 2) & 1 == 1;
        link.ip_at += 4;
        if bottom {
            link.version = version_at(frame, link.ip_at).ok_or(Refusal::MplsPayload)?;
            return Ok(());
        }
    }
    Err(Refusal::TooManyLabels)
}

/// A PPPoE session header and the PPP protocol behind it (RFC 2516 section 4).
fn pppoe(frame: &[u8], link: &mut Link) -> Result<(), Refusal> {
    let at = link.ip_at;
    if frame.len() < at + 8 {
        return Err(Refusal::LinkTruncated);
    }
    let end = at + 6 + usize::from(be16(frame, at + 4));
    // Version 1, type 1, code 0; the length counts from the PPP protocol on.
    if be16(frame, at) != 0x1100 || end < at + 8 || end > frame.len() {
        return Err(Refusal::PppoeHeader);
    }
    link.version = match be16(frame, at + 6) {
        0x0021 => IpVersion::V4,
        0x0057 => IpVersion::V6,
        _ => return Err(Refusal::PppProtocol),
    };
    link.encap |= Encap::PPPOE;
    link.pppoe = at;
    link.ip_at = at + 8;
    link.end = end;
    Ok(())
}

/// The IP version that the nibble at `at` says, if any.
pub(super) fn version_at(frame: &[u8], at: usize) -> Option<IpVersion> {
    match be8(frame, at) >> 4 {
        4 => Some(IpVersion::V4),
        6 => Some(IpVersion::V6),
        _ => None,
    }
}
