//! Sequence numbers as 64-bit offsets: wraparound is dealt with here, at the edge, and nowhere else.

/// A position in a stream: the SYN is 0, the first byte of data 1, a FIN one past the last byte.
pub type Off = u64;

/// Half the sequence space: how far from a reference a 32-bit number can be told to lie.
const HALF: u32 = 1 << 31;

/// The offset of wire sequence number `seq` in the stream that began at `isn`, taken as the one nearest to `near`.
/// `None` if it would lie before the stream's first number.
pub fn unwrap(isn: u32, seq: u32, near: Off) -> Option<Off> {
    let delta = seq.wrapping_sub(wrap(isn, near));
    if delta < HALF {
        Some(near + u64::from(delta))
    } else {
        near.checked_sub(u64::from(delta.wrapping_neg()))
    }
}

/// The wire sequence number of offset `off` in the stream that began at `isn`.
pub fn wrap(isn: u32, off: Off) -> u32 {
    isn.wrapping_add(off as u32)
}

/// A position, or a time in ns, or none, in eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maybe(u64);

impl Maybe {
    pub const NONE: Maybe = Maybe(u64::MAX);

    pub fn get(self) -> Option<u64> {
        (self != Maybe::NONE).then_some(self.0)
    }
}

impl Default for Maybe {
    fn default() -> Maybe {
        Maybe::NONE
    }
}

impl From<u64> for Maybe {
    fn from(value: u64) -> Maybe {
        Maybe(value)
    }
}

impl From<Option<u64>> for Maybe {
    fn from(value: Option<u64>) -> Maybe {
        value.map_or(Maybe::NONE, Maybe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_survive_the_wrap_of_the_sequence_space() {
        let isn = u32::MAX - 100;
        assert_eq!(unwrap(isn, 50, 90), Some(151));
        assert_eq!(wrap(isn, 151), 50);
        let far = 7 * (1u64 << 32) + 5;
        assert_eq!(unwrap(isn, wrap(isn, far - 9), far), Some(far - 9));
    }

    #[test]
    fn a_number_before_the_stream_began_is_none() {
        assert_eq!(unwrap(1000, 990, 3), None);
    }
}
