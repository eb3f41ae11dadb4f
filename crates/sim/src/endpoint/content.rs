//! What applications send: bytes that depend on a seed and on their place, so that whoever knows the seed can check any
//! byte at any time.

use crate::rng::mix;

fn word(seed: u64, index: u64) -> [u8; 8] {
    mix(seed ^ index.wrapping_mul(0xd6e8_feb8_6659_fd93)).to_le_bytes()
}

/// Writes the bytes of stream `seed` from offset `at` on.
pub fn fill(seed: u64, at: u64, out: &mut [u8]) {
    let mut offset = at;
    let mut rest = out;
    while !rest.is_empty() {
        let skip = (offset % 8) as usize;
        let n = rest.len().min(8 - skip);
        let (now, later) = rest.split_at_mut(n);
        now.copy_from_slice(&word(seed, offset / 8)[skip..skip + n]);
        offset += n as u64;
        rest = later;
    }
}

/// The first of `bytes`, which stand at offset `at`, that is not as it was sent.
pub fn first_wrong(seed: u64, at: u64, bytes: &[u8]) -> Option<u64> {
    let mut expected = [0; 2048];
    let mut offset = at;
    for part in bytes.chunks(expected.len()) {
        let expected = &mut expected[..part.len()];
        fill(seed, offset, expected);
        if expected != part {
            let k = expected.iter().zip(part).position(|(a, b)| a != b).unwrap_or(0);
            return Some(offset + k as u64);
        }
        offset += part.len() as u64;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_the_content_is_the_same_as_in_the_whole() {
        let mut whole = [0; 100];
        fill(7, 1000, &mut whole);
        let mut part = [0; 31];
        fill(7, 1013, &mut part);
        assert_eq!(part, whole[13..44]);
        assert_eq!(first_wrong(7, 1013, &part), None);
        part[4] ^= 1;
        assert_eq!(first_wrong(7, 1013, &part), Some(1017));
    }
}
