//! Reads and writes of network-order integers that cannot panic: outside the slice a read yields zero and a write is
//! not made. Callers check lengths where it matters; this is what makes the rest of the crate total.

/// The byte at `at`, or zero.
#[inline(always)]
pub(crate) fn be8(b: &[u8], at: usize) -> u8 {
    b.get(at).copied().unwrap_or(0)
}

/// The two bytes at `at` as a big-endian integer, or zero.
#[inline(always)]
pub(crate) fn be16(b: &[u8], at: usize) -> u16 {
    match array::<2>(b, at) {
        Some(a) => u16::from_be_bytes(*a),
        None => 0,
    }
}

/// The four bytes at `at` as a big-endian integer, or zero.
#[inline(always)]
pub(crate) fn be32(b: &[u8], at: usize) -> u32 {
    match array::<4>(b, at) {
        Some(a) => u32::from_be_bytes(*a),
        None => 0,
    }
}

/// The `N` bytes at `at`.
#[inline(always)]
pub(crate) fn array<const N: usize>(b: &[u8], at: usize) -> Option<&[u8; N]> {
    b.get(at..)?.first_chunk::<N>()
}

/// Writes `v` at `at` in network order; false if that is outside.
#[inline(always)]
pub(crate) fn put16(b: &mut [u8], at: usize, v: u16) -> bool {
    put(b, at, &v.to_be_bytes())
}

/// Writes `v` at `at` in network order; false if that is outside.
#[inline(always)]
pub(crate) fn put32(b: &mut [u8], at: usize, v: u32) -> bool {
    put(b, at, &v.to_be_bytes())
}

/// Writes `src` at `at`; false if that is outside.
#[inline(always)]
pub(crate) fn put(b: &mut [u8], at: usize, src: &[u8]) -> bool {
    let Some(slot) = b.get_mut(at..).and_then(|rest| rest.get_mut(..src.len())) else {
        return false;
    };
    slot.copy_from_slice(src);
    true
}

/// `b[from..to]`, empty if that is no range of `b`.
#[inline(always)]
pub(crate) fn range(b: &[u8], from: usize, to: usize) -> &[u8] {
    b.get(from..to).unwrap_or(&[])
}
