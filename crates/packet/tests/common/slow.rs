//! A second opinion: checksums and lengths of a whole frame, computed the slow way, layer by layer from the outside.

use std::fmt::Debug;

use smartwire_packet::{IpVersion, Layers, TunnelKind};

use super::reference_sum;

fn word(b: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([b[at], b[at + 1]])
}

/// Sum of pseudo-header and transport bytes of the IP header at `ip`.
fn with_pseudo(frame: &[u8], ip: usize, v6: bool, proto: u8, from: usize, to: usize) -> u16 {
    let mut covered = frame[from..to].to_vec();
    if covered.len() % 2 == 1 {
        covered.push(0);
    }
    covered.extend(if v6 { &frame[ip + 8..ip + 40] } else { &frame[ip + 12..ip + 20] });
    covered.extend(((to - from) as u32).to_be_bytes());
    covered.extend([0, 0, 0, proto]);
    reference_sum(&covered)
}

/// One IP header: its own checksum, and that its length says `end`.
fn check_ip(frame: &[u8], at: usize, v6: bool, end: usize) -> Result<(), String> {
    if v6 {
        return same("IPv6 length", usize::from(word(frame, at + 4)), end - at - 40);
    }
    let header = usize::from(frame[at] & 15) * 4;
    same("IPv4 checksum", reference_sum(&frame[at..at + header]), 0xffff)?;
    same("IPv4 length", usize::from(word(frame, at + 2)), end - at)
}

fn same<T: PartialEq + Debug>(what: &str, is: T, should: T) -> Result<(), String> {
    if is == should {
        Ok(())
    } else {
        Err(format!("{what} is {is:?} and should be {should:?}"))
    }
}

/// Is every length and checksum of this TCP segment right, outer headers included? Nothing may lie between the ends of
/// the nested packets.
pub fn check(frame: &[u8], l: &Layers) -> Result<(), String> {
    let end = usize::from(l.end);
    if l.pppoe != 0 {
        let at = usize::from(l.pppoe);
        same("PPPoE length", usize::from(word(frame, at + 4)), end - at - 6)?;
    }
    for t in l.tunnels() {
        let (ip, l4) = (usize::from(t.ip), usize::from(t.l4));
        same("tunnel end", usize::from(t.end), end)?;
        check_ip(frame, ip, t.v6, end)?;
        if t.kind == TunnelKind::Gtpu {
            same("UDP length", usize::from(word(frame, l4 + 4)), end - l4)?;
            same("GTP-U length", usize::from(word(frame, l4 + 10)), end - l4 - 16)?;
            if word(frame, l4 + 6) != 0 {
                same("outer UDP checksum", with_pseudo(frame, ip, t.v6, 17, l4, end), 0xffff)?;
            }
        }
    }
    let (l3, l4) = (usize::from(l.l3), usize::from(l.l4));
    check_ip(frame, l3, l.ip == IpVersion::V6, end)?;
    same("TCP checksum", with_pseudo(frame, l3, l.ip == IpVersion::V6, 6, l4, end), 0xffff)
}
