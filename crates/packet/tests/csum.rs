//! Sums and incremental updates against the slow way.

mod common;

use common::{canonical, encapsulations, reference_sum, segment, segment_in, v4_pair, v6_pair, Rng};
use smartwire_packet::build::Packet;
use smartwire_packet::{csum, parse, Layers};

fn layers(frame: &[u8]) -> Layers {
    parse(frame).unwrap()
}

#[test]
fn every_length_and_alignment_sums_as_the_slow_way_does_with_and_without_vectors() {
    let mut rng = Rng::seeded("lengths_and_alignments");
    let bytes = rng.bytes(2048 + 64);
    for length in (0..700).chain(1400..1600).chain([2047, 2048]) {
        for offset in [0, 1, 2, 3, 7, 8, 15, 31, 33] {
            let b = &bytes[offset..offset + length];
            let slow = canonical(reference_sum(b));
            assert_eq!(canonical(csum::sum_portable(b)), slow, "portable, {length} bytes at {offset}");
            assert_eq!(canonical(csum::sum(b)), slow, "{length} bytes at {offset}");
            if let Some(wide) = csum::avx2::sum(b) {
                assert_eq!(canonical(wide), slow, "avx2, {length} bytes at {offset}");
            }
        }
    }
}

#[test]
fn extreme_words_neither_overflow_nor_lose_a_carry() {
    for byte in [0x00, 0x01, 0x7f, 0x80, 0xff] {
        for length in [1, 2, 127, 128, 129, 255, 256, 9_000, 65_535, 128 * 16_384 + 128 * 3 + 5] {
            let b = vec![byte; length];
            let slow = canonical(reference_sum(&b));
            assert_eq!(canonical(csum::sum_portable(&b)), slow, "portable, {length} of {byte:#x}");
            assert_eq!(canonical(csum::sum(&b)), slow, "{length} of {byte:#x}");
        }
    }
}

#[test]
fn only_zeros_sum_to_zero() {
    for length in [2, 64, 200] {
        let mut b = vec![0; length];
        assert_eq!((csum::sum(&b), csum::sum_portable(&b)), (0, 0));
        b[0] = 0xff;
        b[1] = 0xff;
        assert_eq!((csum::sum(&b), csum::sum_portable(&b)), (0xffff, 0xffff));
    }
}

#[test]
fn the_example_of_rfc_1624_section_4_gives_zero_and_not_minus_zero() {
    // HC = DD2F, m = 5555, m' = 3285: the right answer is 0000, equation 2 gives FFFF.
    assert_eq!(csum::update16(0xdd2f, 0x5555, 0x3285), 0x0000);
}

#[test]
fn updates_give_what_a_recomputation_gives() {
    let mut rng = Rng::seeded("updates");
    for _ in 0..20_000 {
        let mut b = rng.bytes(20);
        // No header is all zeros, and only then have the two forms of zero a meaning.
        b[0] |= 1;
        let before = !reference_sum(&b);
        let at = 2 + rng.below(9) * 2;
        let old = u16::from_be_bytes([b[at], b[at + 1]]);
        let new = if rng.one_in(4) { [0, 0xffff, !old, old][rng.below(4)] } else { rng.u16() };
        b[at..at + 2].copy_from_slice(&new.to_be_bytes());
        assert_eq!(canonical(csum::update16(before, old, new)), canonical(!reference_sum(&b)));

        let before = !reference_sum(&b);
        let at = 4 + rng.below(7) * 2;
        let old = u32::from_be_bytes(b[at..at + 4].try_into().unwrap());
        let new = if rng.one_in(4) { [0, u32::MAX, !old, old][rng.below(4)] } else { rng.u32() };
        b[at..at + 4].copy_from_slice(&new.to_be_bytes());
        assert_eq!(canonical(csum::update32(before, old, new)), canonical(!reference_sum(&b)));
    }
}

#[test]
fn addition_and_difference_are_those_of_ones_complement() {
    let mut rng = Rng::seeded("ones_complement");
    for _ in 0..20_000 {
        let (a, b) = (rng.u16(), rng.u16());
        assert_eq!(csum::add(a, b), reference_sum(&[a.to_be_bytes(), b.to_be_bytes()].concat()));
        assert_eq!(canonical(csum::add(a, csum::difference(a, b))), canonical(b));
        let wide = rng.u64();
        assert_eq!(csum::fold(wide), reference_sum(&wide.to_be_bytes()));
    }
    assert_eq!((csum::never_zero(0), csum::never_zero(7)), (0xffff, 7));
}

#[test]
fn a_changed_bit_anywhere_under_a_checksum_is_found() {
    let mut rng = Rng::seeded("changed_bit");
    for (name, packet) in encapsulations() {
        let frame = segment_in(&mut rng, packet, 60);
        let l = layers(&frame);
        for _ in 0..100 {
            let mut bad = frame.clone();
            let at = rng.below(usize::from(l.end) - usize::from(l.l4)) + usize::from(l.l4);
            bad[at] ^= 1 << rng.below(8);
            assert!(!csum::verify_l4(&bad, &l), "{name}: byte {at}");
            assert!(!csum::verify(&bad, &l), "{name}: byte {at}");
        }
    }
}

#[test]
fn damage_to_any_ip_header_is_found() {
    let (a, b) = v4_pair();
    let frame = Packet::new().ipv4(a, b).gtpu(1).ipv4(b, a).tcp(1, 2).build();
    let l = layers(&frame);
    assert!(csum::verify_ip(&frame, &l));
    for at in (14..34).chain(50..70) {
        let mut bad = frame.clone();
        bad[at] ^= 0x10;
        assert!(!csum::verify_ip(&bad, &l), "byte {at}");
        assert!(!csum::verify(&bad, &l), "byte {at}");
    }
}

#[test]
fn damage_under_an_outer_udp_checksum_is_found_where_there_is_one() {
    let (a, b) = v4_pair();
    for used in [false, true] {
        let frame = Packet::new().ipv4(a, b).gtpu(1).udp_checksum(used).ipv4(b, a).tcp(1, 2).build();
        let l = layers(&frame);
        assert!(csum::verify(&frame, &l));
        let mut bad = frame.clone();
        bad[46] ^= 1; // the TEID, under no other checksum
        assert_eq!(csum::verify_outer_udp(&bad, &l), !used);
        assert_eq!(csum::verify(&bad, &l), !used);
    }
}

#[test]
fn udp_without_checksum_is_right_over_ipv4_only() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    for (packet, right) in [(Packet::new().ipv4(a, b), true), (Packet::new().ipv6(c, d), false)] {
        let mut frame = packet.udp(1, 2).payload(b"xyz").build();
        let l = layers(&frame);
        assert!(csum::verify_l4(&frame, &l));
        let at = usize::from(l.l4) + 6;
        frame[at..at + 2].copy_from_slice(&[0, 0]);
        assert_eq!(csum::verify_l4(&frame, &l), right);
    }
}

#[test]
fn what_follows_a_udp_datagram_within_its_packet_is_not_under_its_checksum() {
    let (a, b) = v4_pair();
    let mut frame = Packet::new().ipv4(a, b).udp(1, 2).payload(b"12345678").build();
    frame[39] -= 4; // the last four bytes become surplus (RFC 9868)
    let l = layers(&frame);
    assert!(csum::fill_l4(&mut frame, &l));
    let at = frame.len() - 1;
    frame[at] ^= 0x55;
    assert!(csum::verify_l4(&frame, &l));
    frame[at - 4] ^= 0x55;
    assert!(!csum::verify_l4(&frame, &l));
}

#[test]
fn a_udp_checksum_of_zero_is_written_as_ffff() {
    let (a, b) = v4_pair();
    let mut frame = Packet::new().ipv4(a, b).udp(1, 2).payload(&[0, 0]).build();
    let l = layers(&frame);
    // The payload word that makes the sum 0xffff: what the checksum field says now.
    let (field, data) = (usize::from(l.l4) + 6, usize::from(l.data));
    let checksum = [frame[field], frame[field + 1]];
    frame[data..data + 2].copy_from_slice(&checksum);
    assert!(csum::fill_l4(&mut frame, &l));
    assert_eq!(frame[field..field + 2], [0xff, 0xff]);
    assert!(csum::verify_l4(&frame, &l));
}

#[test]
fn icmp_checksums_are_verified_with_the_pseudo_header_of_ipv6_only() {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    for packet in [Packet::new().ipv4(a, b), Packet::new().ipv6(c, d)] {
        let mut frame = packet.icmp().payload(&[128, 0, 0, 0, 0, 1, 0, 1, 9]).build();
        let l = layers(&frame);
        assert!(csum::verify_l4(&frame, &l));
        let at = usize::from(l.l4) + 5;
        frame[at] ^= 1;
        assert!(!csum::verify_l4(&frame, &l));
    }
}

#[test]
fn filling_repairs_any_damage_and_nothing_else_changes() {
    let mut rng = Rng::seeded("filling");
    for _ in 0..2_000 {
        let frame = segment(&mut rng, 80);
        let l = layers(&frame);
        let mut filled = frame.clone();
        let at = usize::from(l.l4) + 16;
        filled[at] ^= 0x5a;
        assert!(csum::fill_l4(&mut filled, &l));
        assert_eq!(filled, frame);
    }
}

#[test]
fn there_is_no_checksum_to_look_at_in_fragments_and_unknown_protocols() {
    let (a, b) = v4_pair();
    for packet in [Packet::new().ipv4(a, b).fragment(0, true).tcp(1, 2), Packet::new().ipv4(a, b).raw(47)] {
        let mut frame = packet.payload(&[1; 30]).build();
        let (before, l) = (frame.clone(), layers(&frame));
        assert!(!csum::verify_l4(&frame, &l));
        assert!(!csum::fill_l4(&mut frame, &l));
        assert_eq!(frame, before);
    }
}
