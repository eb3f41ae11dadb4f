//! The internet checksum (RFC 1071): sums, verification, filling, and incremental updates (RFC 1624).
//!
//! Sums here are 16-bit ones-complement sums of big-endian words, not yet complemented. Zero has two forms, 0x0000 and
//! 0xffff; they mean the same. Adding is [`add`], subtracting is adding the complement.

pub mod avx2;
mod verify;

pub use avx2::{prefetch_front, prefetch_read, prefetch_slice};
pub(crate) use verify::{outer_udp_sum, pseudo_sum};
pub use verify::{fill_l4, verify, verify_ip, verify_l4, verify_outer_udp};

/// Ones-complement sum of big-endian 16-bit words, a last odd byte padded with zero on the right.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    u16::from_be(fold(wide(bytes)))
}

/// As [`sum`], without vector instructions of its own.
#[inline]
pub fn sum_portable(bytes: &[u8]) -> u16 {
    u16::from_be(fold(wide_portable(bytes)))
}

/// As [`sum`], of words as the machine loads them, and not folded: ones-complement addition is indifferent to byte order
/// and to the width of its words (RFC 1071 section 2), so the result of several is folded and swapped once.
#[inline]
pub(crate) fn wide(bytes: &[u8]) -> u64 {
    // Below this a call and its set-up cost more than they save.
    if bytes.len() >= 128 {
        if let Some(sum) = avx2::wide(bytes) {
            return sum;
        }
    }
    wide_portable(bytes)
}

#[inline]
fn wide_portable(bytes: &[u8]) -> u64 {
    let mut acc = 0;
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        acc = add_wide(acc, u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    }
    let mut rest = words.remainder();
    if let Some((word, after)) = rest.split_first_chunk::<4>() {
        acc = add_wide(acc, u64::from(u32::from_ne_bytes(*word)));
        rest = after;
    }
    if let Some((word, after)) = rest.split_first_chunk::<2>() {
        acc = add_wide(acc, u64::from(u16::from_ne_bytes(*word)));
        rest = after;
    }
    match rest {
        [last] => add_wide(acc, u64::from(u16::from_ne_bytes([*last, 0]))),
        _ => acc,
    }
}

/// Ones-complement addition of 64-bit words.
#[inline(always)]
pub(crate) fn add_wide(a: u64, b: u64) -> u64 {
    let (s, carry) = a.overflowing_add(b);
    s.wrapping_add(u64::from(carry))
}

/// Folds a sum of words to 16 bits with end-around carries.
#[inline(always)]
pub fn fold(wide: u64) -> u16 {
    let v = (wide & 0xffff_ffff) + (wide >> 32);
    let v = (v & 0xffff) + (v >> 16);
    let v = (v & 0xffff) + (v >> 16);
    let v = (v & 0xffff) + (v >> 16);
    v as u16
}

/// Ones-complement addition.
#[inline(always)]
pub fn add(a: u16, b: u16) -> u16 {
    let (s, carry) = a.overflowing_add(b);
    s.wrapping_add(u16::from(carry))
}

/// What must be added to a sum when a word changes from `old` to `new`.
#[inline(always)]
pub fn difference(old: u16, new: u16) -> u16 {
    add(!old, new)
}

/// A checksum field after the sum that it covers grew by `delta`: equation 3 of RFC 1624, HC' = ~(~HC + ~m + m').
#[inline(always)]
pub fn apply(checksum: u16, delta: u16) -> u16 {
    !add(!checksum, delta)
}

/// A checksum field after one word that it covers changed.
#[inline(always)]
pub fn update16(checksum: u16, old: u16, new: u16) -> u16 {
    apply(checksum, difference(old, new))
}

/// A checksum field after an aligned 32-bit word that it covers changed.
#[inline(always)]
pub fn update32(checksum: u16, old: u32, new: u32) -> u16 {
    apply(checksum, difference32(old, new))
}

/// As [`difference`] for a 32-bit word at an even offset.
#[inline(always)]
pub fn difference32(old: u32, new: u32) -> u16 {
    fold(u64::from(!old) + u64::from(new))
}

/// UDP's checksum field is never zero, which would mean that there is none (RFC 768).
#[inline(always)]
pub fn never_zero(checksum: u16) -> u16 {
    if checksum == 0 {
        0xffff
    } else {
        checksum
    }
}
