//! Vector code and prefetch hints: the one file of this crate with unsafe code. All that it offers is safe.
#![allow(unsafe_code)]

/// As [`super::sum`] with AVX2; `None` where the processor has none.
pub fn sum(bytes: &[u8]) -> Option<u16> {
    wide(bytes).map(|wide| u16::from_be(super::fold(wide)))
}

/// As `super::wide` with AVX2; `None` where the processor has none.
#[inline]
pub(crate) fn wide(bytes: &[u8]) -> Option<u64> {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2, the only requirement of `x86::wide`.
        return Some(unsafe { x86::wide(bytes) });
    }
    let _ = bytes;
    None
}

/// Asks the processor to load `t` into its caches. Only a hint: nothing is read.
#[inline(always)]
pub fn prefetch_read<T>(t: &T) {
    prefetch_front(t, size_of::<T>());
}

/// The same for the first `bytes` of `t`.
#[inline(always)]
pub fn prefetch_front<T>(t: &T, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        let at = std::ptr::from_ref(t).cast::<i8>();
        for offset in (0..bytes.min(size_of::<T>())).step_by(64) {
            // SAFETY: a prefetch never faults, whatever the address, and SSE is part of x86_64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.wrapping_add(offset)) }
        }
    }
    let _ = (t, bytes);
}

/// Asks the processor to load `slice[index]` into its caches; nothing if there is no such element.
#[inline(always)]
pub fn prefetch_slice<T>(slice: &[T], index: usize) {
    if let Some(t) = slice.get(index) {
        prefetch_read(t);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// Blocks of 128 bytes per round, 64 KiB: the sums of a round fit 32-bit lanes, four of them together too. Each lane
    /// takes four pairs of biased words per block, each at most 2 * 32768 in magnitude.
    const BLOCKS: usize = 512;

    /// Ones-complement sum of machine-order words.
    #[target_feature(enable = "avx2")]
    pub fn wide(bytes: &[u8]) -> u64 {
        let mut acc = 0_u64;
        let (body, tail) = bytes.split_at(bytes.len() & !31);
        for round in body.chunks(BLOCKS * 128) {
            acc += blocks(round);
        }
        super::super::add_wide(acc, super::super::wide_portable(tail))
    }

    /// Plain sum of the machine-order 16-bit words of a multiple of 32 bytes, at most `BLOCKS` blocks.
    ///
    /// `vpmaddwd` adds pairs of *signed* words into 32-bit lanes; flipping the top bit makes an unsigned word `w` the
    /// signed `w - 32768`, and the bias is added back at the end.
    #[target_feature(enable = "avx2")]
    fn blocks(bytes: &[u8]) -> u64 {
        // SAFETY: loads are unaligned ones and within the 128 or 32 bytes of each chunk; AVX2 is enabled for this
        // function.
        unsafe {
            let flip = _mm256_set1_epi16(i16::MIN);
            let ones = _mm256_set1_epi16(1);
            let mut acc = [_mm256_setzero_si256(); 4];
            let mut chunks = bytes.chunks_exact(128);
            for chunk in &mut chunks {
                let at = chunk.as_ptr().cast::<__m256i>();
                for (i, a) in acc.iter_mut().enumerate() {
                    let words = _mm256_xor_si256(_mm256_loadu_si256(at.add(i)), flip);
                    *a = _mm256_add_epi32(*a, _mm256_madd_epi16(words, ones));
                }
            }
            let [mut a, b, c, d] = acc;
            for chunk in chunks.remainder().chunks_exact(32) {
                let words = _mm256_xor_si256(_mm256_loadu_si256(chunk.as_ptr().cast::<__m256i>()), flip);
                a = _mm256_add_epi32(a, _mm256_madd_epi16(words, ones));
            }
            let all = _mm256_add_epi32(_mm256_add_epi32(a, b), _mm256_add_epi32(c, d));
            let four = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
            let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let signed = i64::from(_mm_cvtsi128_si32(two)) + i64::from(_mm_extract_epi32::<1>(two));
            (signed + (bytes.len() as i64 / 2) * 32_768) as u64
        }
    }
}
