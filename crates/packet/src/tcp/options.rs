//! TCP options, scanned once.

use crate::bytes::{array, be16, be32, be8};

/// A segment has room for at most four SACK blocks (RFC 2018 section 3).
pub const MAX_SACK_BLOCKS: usize = 4;

/// Set of the option kinds seen in one header, and of what is wrong with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Kinds(pub u32);

impl Kinds {
    /// End of option list (0).
    pub const EOL: Kinds = Kinds(1);
    /// No operation (1).
    pub const NOP: Kinds = Kinds(1 << 1);
    /// Maximum segment size (2).
    pub const MSS: Kinds = Kinds(1 << 2);
    /// Window scale (3).
    pub const WSCALE: Kinds = Kinds(1 << 3);
    /// SACK permitted (4).
    pub const SACK_PERM: Kinds = Kinds(1 << 4);
    /// SACK (5).
    pub const SACK: Kinds = Kinds(1 << 5);
    /// Timestamps (8).
    pub const TS: Kinds = Kinds(1 << 6);
    /// MD5 signature (19).
    pub const MD5: Kinds = Kinds(1 << 7);
    /// TCP-AO (29).
    pub const AO: Kinds = Kinds(1 << 8);
    /// Multipath TCP (30).
    pub const MPTCP: Kinds = Kinds(1 << 9);
    /// Fast open (34, or 253 and 254 with the experiment's identifier 0xF989).
    pub const TFO: Kinds = Kinds(1 << 10);
    /// Accurate ECN (172, 174, or 253 and 254 with an identifier that drafts used).
    pub const ACCECN: Kinds = Kinds(1 << 11);
    /// Any other kind.
    pub const UNKNOWN: Kinds = Kinds(1 << 12);
    /// A length that doesn't fit the kind or the header. Scanning stops at a length that doesn't fit the header.
    pub const MALFORMED: Kinds = Kinds(1 << 13);
    /// A kind other than NOP and EOL seen twice; the first one counts.
    pub const DUPLICATE: Kinds = Kinds(1 << 14);
    /// What an optimized connection may carry.
    pub const ORDINARY: Kinds = Kinds(0x7f);

    /// Are all of `other` in this set?
    #[inline]
    pub fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }
    /// Is everything in this set also in `other`?
    #[inline]
    pub fn is_subset(self, other: Kinds) -> bool {
        self.0 & !other.0 == 0
    }
    #[inline]
    fn insert(&mut self, other: Kinds) {
        self.0 |= other.0;
    }
}

/// A timestamps option (RFC 7323 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timestamps {
    /// TSval.
    pub val: u32,
    /// TSecr.
    pub ecr: u32,
    /// Offset of the option's kind byte from the start of the TCP header, for [`super::TcpMut::set_timestamps`].
    pub at: u8,
}

/// A SACK option (RFC 2018).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sack {
    blocks: [(u32, u32); MAX_SACK_BLOCKS],
    count: u8,
    /// Offset of the option's kind byte from the start of the TCP header, 0 if there is no option; for
    /// [`super::TcpMut::set_sack`].
    pub at: u8,
}

impl Sack {
    /// The blocks in their order: left edge, right edge (exclusive). The first may be a D-SACK (RFC 2883).
    #[inline]
    pub fn blocks(&self) -> &[(u32, u32)] {
        self.blocks.get(..usize::from(self.count)).unwrap_or(&[])
    }
}

/// The options of one header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// All kinds seen.
    pub kinds: Kinds,
    /// Maximum segment size in bytes.
    pub mss: Option<u16>,
    /// Offset of that option's kind byte from the start of the TCP header, 0 if there is no option; for
    /// [`super::TcpMut::set_mss`].
    pub mss_at: u8,
    /// Window shift as announced; above 14 means 14 (RFC 7323 section 2.3).
    pub wscale: Option<u8>,
    /// Timestamps.
    pub ts: Option<Timestamps>,
    /// SACK blocks.
    pub sack: Sack,
}

impl Options {
    /// Scans option bytes: all that follows the first 20 bytes of the header, and no more than the 40 that fit there.
    #[inline]
    pub fn scan(options: &[u8]) -> Options {
        // NOP, NOP, timestamps and nothing else: every data segment of an ordinary connection.
        if let Ok(&[1, 1, 8, 10, v0, v1, v2, v3, e0, e1, e2, e3]) = <&[u8; 12]>::try_from(options) {
            let ts = Timestamps {
                val: u32::from_be_bytes([v0, v1, v2, v3]),
                ecr: u32::from_be_bytes([e0, e1, e2, e3]),
                at: 22,
            };
            let kinds = Kinds(Kinds::NOP.0 | Kinds::TS.0);
            return Options { kinds, ts: Some(ts), ..Options::default() };
        }
        scan_any(options.get(..40).unwrap_or(options))
    }

    /// Is SACK permitted here?
    #[inline]
    pub fn sack_perm(&self) -> bool {
        self.kinds.contains(Kinds::SACK_PERM)
    }

    /// Is something wrong with a length?
    #[inline]
    pub fn malformed(&self) -> bool {
        self.kinds.contains(Kinds::MALFORMED)
    }
}

fn scan_any(options: &[u8]) -> Options {
    let mut seen = Options::default();
    let mut at = 0;
    while let Some(&kind) = options.get(at) {
        match kind {
            0 => {
                seen.kinds.insert(Kinds::EOL);
                break;
            }
            1 => {
                seen.kinds.insert(Kinds::NOP);
                at += 1;
            }
            _ => {
                let length = usize::from(be8(options, at + 1));
                let Some(option) = options.get(at..at + length).filter(|o| o.len() >= 2) else {
                    seen.kinds.insert(Kinds::MALFORMED);
                    break;
                };
                seen.take(kind, option, 20 + at as u8);
                at += length;
            }
        }
    }
    seen
}

impl Options {
    /// Takes in one option; `at` is its offset from the start of the TCP header.
    fn take(&mut self, kind: u8, option: &[u8], at: u8) {
        let length = option.len();
        let (bit, fits) = match kind {
            2 => (Kinds::MSS, length == 4),
            3 => (Kinds::WSCALE, length == 3),
            4 => (Kinds::SACK_PERM, length == 2),
            5 => (Kinds::SACK, length >= 10 && length % 8 == 2),
            8 => (Kinds::TS, length == 10),
            19 => (Kinds::MD5, length == 18),
            29 => (Kinds::AO, length >= 4),
            30 => (Kinds::MPTCP, length >= 3),
            34 => (Kinds::TFO, true),
            172 | 174 => (Kinds::ACCECN, matches!(length, 2 | 5 | 8 | 11)),
            253 | 254 => (experiment(option), true),
            _ => (Kinds::UNKNOWN, true),
        };
        if !fits {
            self.kinds.insert(Kinds(bit.0 | Kinds::MALFORMED.0));
            return;
        }
        if self.kinds.contains(bit) {
            self.kinds.insert(Kinds::DUPLICATE);
            return;
        }
        self.kinds.insert(bit);
        match kind {
            2 => (self.mss, self.mss_at) = (Some(be16(option, 2)), at),
            3 => self.wscale = Some(be8(option, 2)),
            5 => self.sack = sack(option, at),
            8 => self.ts = Some(Timestamps { val: be32(option, 2), ecr: be32(option, 6), at }),
            _ => {}
        }
    }
}

/// What an experimental option is, by its identifier (RFC 6994).
fn experiment(option: &[u8]) -> Kinds {
    match array::<2>(option, 2) {
        // RFC 7413 appendix A.
        Some([0xf9, 0x89]) => Kinds::TFO,
        // AccECN before it had kinds of its own.
        Some([0xac, 0xce | 0xc0 | 0xc1]) => Kinds::ACCECN,
        _ => Kinds::UNKNOWN,
    }
}

fn sack(option: &[u8], at: u8) -> Sack {
    let mut sack = Sack { at, ..Sack::default() };
    for (slot, block) in sack.blocks.iter_mut().zip(option.get(2..).unwrap_or(&[]).chunks_exact(8)) {
        *slot = (be32(block, 0), be32(block, 4));
        sack.count += 1;
    }
    sack
}
