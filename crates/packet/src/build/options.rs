//! TCP options, written.

/// The options of one TCP header, at most 40 bytes, padded to a multiple of four.
///
/// Each option is put so that its 32-bit values are aligned, with NOPs in front, as common stacks do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionBytes {
    bytes: [u8; 40],
    len: u8,
}

impl Default for OptionBytes {
    fn default() -> Self {
        OptionBytes::new()
    }
}

impl OptionBytes {
    /// No options.
    #[inline]
    pub fn new() -> OptionBytes {
        OptionBytes { bytes: [1; 40], len: 0 }
    }

    /// Maximum segment size in bytes.
    pub fn mss(self, mss: u16) -> OptionBytes {
        let [a, b] = mss.to_be_bytes();
        self.raw(&[2, 4, a, b])
    }

    /// NOP, window scale.
    pub fn wscale(self, shift: u8) -> OptionBytes {
        self.raw(&[1, 3, 3, shift])
    }

    /// NOP, NOP, SACK permitted.
    pub fn sack_perm(self) -> OptionBytes {
        self.raw(&[1, 1, 4, 2])
    }

    /// NOP, NOP, timestamps.
    #[inline]
    pub fn timestamps(self, val: u32, ecr: u32) -> OptionBytes {
        let [a, b, c, d] = val.to_be_bytes();
        let [e, f, g, h] = ecr.to_be_bytes();
        self.raw(&[1, 1, 8, 10, a, b, c, d, e, f, g, h])
    }

    /// NOP, NOP, SACK with as many of `blocks` as still fit; nothing if none does.
    pub fn sack(self, blocks: &[(u32, u32)]) -> OptionBytes {
        let room = (40_usize.saturating_sub(usize::from(self.len) + 4)) / 8;
        let count = blocks.len().min(room);
        if count == 0 {
            return self;
        }
        let mut out = self.raw(&[1, 1, 5, (2 + 8 * count) as u8]);
        for (left, right) in blocks.iter().take(count) {
            out = out.raw(&left.to_be_bytes()).raw(&right.to_be_bytes());
        }
        out
    }

    /// Any bytes; all of them are left out if they don't fit.
    #[inline]
    pub fn raw(mut self, bytes: &[u8]) -> OptionBytes {
        let at = usize::from(self.len);
        if let Some(slot) = self.bytes.get_mut(at..at + bytes.len()) {
            slot.copy_from_slice(bytes);
            self.len += bytes.len() as u8;
        }
        self
    }

    /// The bytes, padded with NOPs to a multiple of four.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..(usize::from(self.len) + 3) & !3).unwrap_or(&[])
    }
}
