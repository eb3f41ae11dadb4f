//! Flows that are forwarded untouched, remembered just well enough to count each of them once.

/// Places that a flow may have.
const WAYS: usize = 4;

/// Fingerprints by hash, in buckets of four: a newer flow takes the place of the oldest, which may then be counted again.
#[derive(Debug)]
pub(crate) struct Refused {
    buckets: Vec<[u32; WAYS]>,
}

impl Refused {
    /// Memory for `capacity` flows, rounded up to a power of two.
    pub(crate) fn new(capacity: u32) -> Refused {
        Refused { buckets: vec![[0; WAYS]; (capacity as usize).div_ceil(WAYS).next_power_of_two()] }
    }

    fn bucket(&mut self, hash: u64) -> &mut [u32; WAYS] {
        let place = hash as usize & (self.buckets.len() - 1);
        &mut self.buckets[place]
    }

    /// True where this flow is remembered.
    pub(crate) fn knows(&self, hash: u64) -> bool {
        self.buckets[hash as usize & (self.buckets.len() - 1)].contains(&mark(hash))
    }

    /// Remembers a flow; false if it was remembered already.
    pub(crate) fn add(&mut self, hash: u64) -> bool {
        if self.knows(hash) {
            return false;
        }
        let bucket = self.bucket(hash);
        bucket.rotate_right(1);
        bucket[0] = mark(hash);
        true
    }

    /// Forgets a flow: its ports begin a new connection.
    pub(crate) fn forget(&mut self, hash: u64) {
        for there in self.bucket(hash).iter_mut().filter(|there| **there == mark(hash)) {
            *there = 0;
        }
    }
}

/// Never zero, which is an empty place.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
