//! Changes to a TCP header in place. The checksum follows incrementally (RFC 1624) and is never computed afresh, so
//! that damage to the payload stays detectable.

use super::{Flags, Options};
use crate::bytes::{be16, be32, be8, put, put16, put32};
use crate::csum::{add, apply, difference, difference32};
use crate::layers::Layers;

/// A TCP header, to be changed in place.
///
/// The checksum field is brought up to date once, when the value is dropped. Outer UDP checksums (GTP-U) need no
/// change: the ones-complement sum of a segment, checksum included, stays what it was.
#[derive(Debug)]
pub struct TcpMut<'a> {
    /// Header with options, at least 20 bytes.
    head: &'a mut [u8],
    delta: u16,
}

impl<'a> TcpMut<'a> {
    /// The innermost packet's TCP header; `None` unless [`Layers::is_tcp`].
    #[inline]
    pub fn new(frame: &'a mut [u8], layers: &Layers) -> Option<TcpMut<'a>> {
        if !layers.is_tcp() {
            return None;
        }
        TcpMut::at(frame, usize::from(layers.l4)..usize::from(layers.data))
    }

    /// The TCP header that is known to be at `head` of a frame, options included.
    #[inline]
    pub fn at(frame: &'a mut [u8], head: std::ops::Range<usize>) -> Option<TcpMut<'a>> {
        let head = frame.get_mut(head)?;
        (head.len() >= 20).then_some(TcpMut { head, delta: 0 })
    }

    /// Its options.
    #[inline]
    pub fn options(&self) -> Options {
        Options::scan(self.head.get(20..).unwrap_or(&[]))
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_seq(&mut self, seq: u32) {
        self.replace32(4, seq);
    }

    /// Sets the acknowledgement number.
    #[inline]
    pub fn set_ack(&mut self, ack: u32) {
        self.replace32(8, ack);
    }

    /// Sets the window field (not scaled).
    #[inline]
    pub fn set_window(&mut self, window: u16) {
        self.replace16(14, window);
    }

    /// Sets the urgent pointer.
    #[inline]
    pub fn set_urgent(&mut self, urgent: u16) {
        self.replace16(18, urgent);
    }

    /// Sets those flags that are in `mask` to what they are in `to`.
    #[inline]
    pub fn set_flags(&mut self, mask: Flags, to: Flags) {
        let old = be16(self.head, 12);
        let mask = mask.0 & Flags::ALL.0;
        self.replace16(12, (old & !mask) | (to.0 & mask));
    }

    /// Sets TSval and TSecr of the timestamps option whose kind byte is `at` bytes into the header
    /// ([`super::Timestamps::at`]). False, and nothing is changed, if there is none.
    #[inline]
    pub fn set_timestamps(&mut self, at: u8, val: u32, ecr: u32) -> bool {
        let at = usize::from(at);
        if be16(self.head, at) != 0x080a || at + 10 > self.head.len() || at < 20 {
            return false;
        }
        self.replace32(at + 2, val);
        self.replace32(at + 6, ecr);
        true
    }

    /// Replaces the SACK option whose kind byte is `at` bytes into the header ([`super::Sack::at`]) by one with as many
    /// of `blocks` as its place holds, and NOPs in what is left of it: the header keeps its length. With no blocks it
    /// is NOPs only. False, and nothing is changed, if there is no such option.
    pub fn set_sack(&mut self, at: u8, blocks: &[(u32, u32)]) -> bool {
        let at = usize::from(at);
        let room = usize::from(be8(self.head, at + 1));
        if be8(self.head, at) != 5 || at < 20 || room < 2 || at + room > self.head.len() {
            return false;
        }
        let count = blocks.len().min((room - 2) / 8);
        let mut bytes = [1_u8; 256];
        if count > 0 {
            put(&mut bytes, 0, &[5, (2 + 8 * count) as u8]);
        }
        for (i, (left, right)) in blocks.iter().take(count).enumerate() {
            put32(&mut bytes, 2 + 8 * i, *left);
            put32(&mut bytes, 6 + 8 * i, *right);
        }
        self.replace_bytes(at, bytes.get(..room).unwrap_or(&[]))
    }

    /// Sets the value of the maximum segment size option. False, and nothing is changed, if there is none.
    pub fn set_mss(&mut self, mss: u16) -> bool {
        match self.options().mss_at {
            0 => false,
            at => self.replace_bytes(usize::from(at) + 2, &mss.to_be_bytes()),
        }
    }

    /// Replaces bytes of the options, `at` bytes into the header, by as many others. False, and nothing is changed, if
    /// they are not all within the options.
    pub fn replace_bytes(&mut self, at: usize, bytes: &[u8]) -> bool {
        if at < 20 || at + bytes.len() > self.head.len() {
            return false;
        }
        for (i, new) in bytes.iter().enumerate() {
            let word = (at + i) & !1;
            let old = be16(self.head, word);
            let changed = if (at + i) % 2 == 0 {
                (old & 0x00ff) | (u16::from(*new) << 8)
            } else {
                (old & 0xff00) | u16::from(*new)
            };
            self.replace16(word, changed);
        }
        true
    }

    /// Writes the checksum field itself. Changes made before and after are applied to what is written here.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        put16(self.head, 16, checksum);
    }

    #[inline(always)]
    fn replace16(&mut self, at: usize, new: u16) {
        let old = be16(self.head, at);
        // An unchanged word adds 0xffff, which is zero, but would turn a checksum of 0xffff into 0x0000.
        if old != new && put16(self.head, at, new) {
            self.delta = add(self.delta, difference(old, new));
        }
    }

    #[inline(always)]
    fn replace32(&mut self, at: usize, new: u32) {
        let old = be32(self.head, at);
        if old == new || !put32(self.head, at, new) {
            return;
        }
        let delta = difference32(old, new);
        // At an odd offset each byte has the other's place in its word (RFC 1071 section 2.B).
        self.delta = add(self.delta, if at % 2 == 0 { delta } else { delta.swap_bytes() });
    }
}

impl Drop for TcpMut<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.delta != 0 {
            let checksum = be16(self.head, 16);
            put16(self.head, 16, apply(checksum, self.delta));
        }
    }
}
