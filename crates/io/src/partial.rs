//! Checksums that a sender left to hardware that was never there (CHECKSUM_PARTIAL): virtual links pass them on.

use smartwire_packet::{csum, parse, proto, Layers};

/// Computes a checksum in full over `frame[start..]` and writes it at `start + offset`, where the sender left the sum
/// of the pseudo-header: the virtio_net_hdr contract. False, and nothing changed, if that lies outside the frame.
pub fn complete(frame: &mut [u8], start: usize, offset: usize) -> bool {
    let at = start + offset;
    if at + 2 > frame.len() {
        return false;
    }
    let sum = !csum::sum(&frame[start..]);
    // Zero means "no checksum" in UDP (RFC 768); in TCP both zeroes are the same number.
    frame[at..at + 2].copy_from_slice(&csum::never_zero(sum).to_be_bytes());
    true
}

/// For ports where nothing says which checksums are partial: if the frame's TCP or UDP checksum is exactly the sum of
/// its pseudo-header and not right, computes it in full. True if it did. Only for ports whose user asked for it: on a
/// real link this could bless a damaged frame.
pub fn complete_if_partial(frame: &mut [u8]) -> bool {
    let Ok(layers) = parse(frame) else { return false };
    let Some(at) = checksum_at(&layers) else { return false };
    let Some(field) = frame.get(at..at + 2) else { return false };
    let field = u16::from_be_bytes([field[0], field[1]]);
    if field != pseudo_sum(frame, &layers) || csum::verify_l4(frame, &layers) {
        return false;
    }
    csum::fill_l4(frame, &layers)
}

fn checksum_at(layers: &Layers) -> Option<usize> {
    match layers.proto {
        proto::TCP if !layers.frag => Some(usize::from(layers.l4) + 16),
        proto::UDP if !layers.frag => Some(usize::from(layers.l4) + 6),
        _ => None,
    }
}

fn pseudo_sum(frame: &[u8], layers: &Layers) -> u16 {
    let mut acc = u64::from(layers.proto) + u64::from(layers.end.saturating_sub(layers.l4));
    for addr in [layers.src(frame), layers.dst(frame)] {
        let words = match addr.to_ipv4_mapped() {
            Some(v4) => csum::sum(&v4.octets()),
            None => csum::sum(&addr.octets()),
        };
        acc += u64::from(words);
    }
    csum::fold(acc)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A TCP segment of 60 bytes in IPv4, checksum as a Linux sender leaves it to hardware.
    fn partial() -> Vec<u8> {
        let mut f = vec![0u8; 14 + 20 + 20 + 6];
        f[12..14].copy_from_slice(&[8, 0]);
        let ip = &mut f[14..34];
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&46u16.to_be_bytes());
        ip[8] = 64;
        ip[9] = 6;
        ip[12..16].copy_from_slice(&[10, 0, 0, 1]);
        ip[16..20].copy_from_slice(&[10, 0, 0, 2]);
        f[34..38].copy_from_slice(&[0x12, 0x34, 0, 80]);
        f[46] = 5 << 4;
        f[54..60].copy_from_slice(b"hello!");
        let layers = parse(&f).unwrap();
        let sum = pseudo_sum(&f, &layers);
        f[50..52].copy_from_slice(&sum.to_be_bytes());
        f
    }

    #[test]
    fn a_partial_checksum_is_completed_and_verifies() {
        let mut f = partial();
        let layers = parse(&f).unwrap();
        assert!(!csum::verify_l4(&f, &layers));
        assert!(complete_if_partial(&mut f));
        assert!(csum::verify_l4(&f, &layers));
        assert!(!complete_if_partial(&mut f), "a right checksum is left alone");
    }

    #[test]
    fn a_checksum_described_by_start_and_offset_is_completed() {
        let mut f = partial();
        assert!(complete(&mut f, 34, 16));
        assert!(csum::verify_l4(&f, &parse(&f).unwrap()));
        assert!(!complete(&mut f, 50, 16));
    }

    #[test]
    fn a_damaged_frame_is_not_taken_for_a_partial_one() {
        let mut f = partial();
        complete_if_partial(&mut f);
        f[55] ^= 1;
        let before = f.clone();
        assert!(!complete_if_partial(&mut f));
        assert_eq!(f, before);
    }
}
