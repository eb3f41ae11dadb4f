//! Connections that an endpoint has reset: what the other end still had under way for it must not fill the radio.
//!
//! The reset has overtaken those segments here. The phone would answer each with another RST, after they have used its
//! radio; dropped, they say as much. A sender that has not heard the reset repeats itself until the memory of it fades,
//! and then the endpoint answers.

use crate::api::Now;

/// Connections that one bucket remembers; a newer one takes the place of the oldest.
const WAYS: usize = 4;
/// How long what comes for a connection that was reset is dropped, ms: some round trips of a slow radio.
const FADE_MS: u32 = 3_000;

/// Fingerprints by hash, with the time when each fades.
#[derive(Debug)]
pub(crate) struct Dead {
    /// Mark (0: empty), time in ms.
    buckets: Vec<[(u32, u32); WAYS]>,
}

impl Dead {
    /// Memory for `capacity` connections, rounded up to a power of two.
    pub(crate) fn new(capacity: u32) -> Dead {
        Dead { buckets: vec![[(0, 0); WAYS]; (capacity as usize).div_ceil(WAYS).next_power_of_two()] }
    }

    fn bucket(&self, hash: u64) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    /// An endpoint reset this connection.
    pub(crate) fn add(&mut self, now: Now, hash: u64) {
        self.forget(hash);
        let bucket = self.bucket(hash);
        self.buckets[bucket].rotate_right(1);
        self.buckets[bucket][0] = (mark(hash), ms(now).wrapping_add(FADE_MS));
    }

    /// True where it was reset a moment ago.
    pub(crate) fn knows(&self, now: Now, hash: u64) -> bool {
        let alive = |until: u32| (1..=FADE_MS).contains(&until.wrapping_sub(ms(now)));
        self.buckets[self.bucket(hash)].iter().any(|there| there.0 == mark(hash) && alive(there.1))
    }

    /// Its ports begin a new connection.
    pub(crate) fn forget(&mut self, hash: u64) {
        let bucket = self.bucket(hash);
        self.buckets[bucket].iter_mut().filter(|there| there.0 == mark(hash)).for_each(|there| *there = (0, 0));
    }
}

fn ms(now: Now) -> u32 {
    (now.0 / 1_000_000) as u32
}

/// Never zero, which is an empty place.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
