//! Whose address space a packet is in.

use crate::bytes::be16;
use crate::layers::{addr_at, Encap, IpVersion, Layers, Tunnel};
use crate::parse::ethertype;

/// Set in a scope that is a keyed hash; one or two VLAN ids are written out instead, so that the copper wire's BPF
/// programs, which don't know the seed, find the same scope (`sw_add_tag` in bpf/classify.h).
pub const SCOPE_HASHED: u64 = 1 << 63;

/// The id of a frame's outer VLAN tag; 0 without one.
pub fn outer_vlan(frame: &[u8]) -> u16 {
    match be16(frame, 12) {
        ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => be16(frame, 14) & 0x0fff,
        _ => 0,
    }
}

impl Layers {
    /// The direction-independent part of the encapsulation: VLAN ids in order (not PCP, DEI or TPID), the PPPoE session,
    /// whether there are MPLS labels, and each tunnel's kind and unordered pair of endpoints. Not the GTP-U TEID nor the
    /// MPLS labels: these differ by direction.
    ///
    /// 0 for plain Ethernet and never otherwise: one or two VLAN ids as `0x1000 | id` each, or else a keyed hash with
    /// [`SCOPE_HASHED`] set.
    #[inline]
    pub fn scope(&self, frame: &[u8], seed: u64) -> u64 {
        if self.encap.is_plain() {
            0
        } else {
            scope_of(self, frame, seed)
        }
    }
}

#[inline(never)]
fn scope_of(layers: &Layers, frame: &[u8], seed: u64) -> u64 {
    let mut h = mix(seed, u64::from(layers.encap.0));
    let mut at = 12;
    let mut written_out = 0;
    while matches!(be16(frame, at), ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD)
        && at + 4 < usize::from(layers.l3)
    {
        let id = u64::from(be16(frame, at + 2) & 0x0fff);
        h = mix(h, id | 1 << 16);
        written_out = written_out << 16 | 0x1000 | id;
        at += 4;
    }
    if at <= 12 + 2 * 4 && (Encap::VLAN | Encap::QINQ).contains(layers.encap) {
        return written_out;
    }
    if layers.pppoe != 0 {
        h = mix(h, u64::from(be16(frame, usize::from(layers.pppoe) + 2)) | 2 << 16);
    }
    for tunnel in layers.tunnels() {
        h = mix_tunnel(h, frame, tunnel);
    }
    h | SCOPE_HASHED
}

fn mix_tunnel(h: u64, frame: &[u8], tunnel: &Tunnel) -> u64 {
    let version = if tunnel.v6 { IpVersion::V6 } else { IpVersion::V4 };
    let at = usize::from(tunnel.ip);
    let a = u128::from(addr_at(frame, version, at, false));
    let b = u128::from(addr_at(frame, version, at, true));
    let (a, b) = if a <= b { (a, b) } else { (b, a) };
    let mut h = mix(h, u64::from(tunnel.kind as u8) | 3 << 16);
    for word in [a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64] {
        h = mix(h, word);
    }
    h
}

/// One step of a multiply-and-fold hash: the 128-bit product's halves, folded. Both factors depend on the state, so no
/// input makes the product forget the key.
#[inline]
fn mix(h: u64, word: u64) -> u64 {
    // Odd constants with about half of their bits set; the second keeps a zero state from absorbing.
    let a = h ^ word ^ 0x9e6c_63d0_76cc_4197;
    let b = h.rotate_left(32) ^ 0xd1b5_4a32_d192_ed03;
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(17)
}
