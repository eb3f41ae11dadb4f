//! The fixed table of half-open handshakes: buckets of eight, random eviction, expiry.

use super::agree::Record;
use super::EXPIRE_NS;
use crate::api::{FlowKey, Now};

const WAYS: usize = 8;
/// Places looked at per call for records that have expired.
const SWEEP: usize = 2;

#[derive(Debug)]
pub(super) struct Buckets {
    places: Vec<Option<Record>>,
    len: u32,
    evicted: u64,
    random: u64,
    /// Next place to look at for expiry.
    hand: usize,
}

impl Buckets {
    pub fn new(capacity: u32, seed: u64) -> Buckets {
        let buckets = (capacity as usize).div_ceil(WAYS).max(1);
        Buckets { places: vec![None; buckets * WAYS], len: 0, evicted: 0, random: seed | 1, hand: 0 }
    }

    pub fn len(&self) -> u32 {
        self.len
    }
    pub fn capacity(&self) -> u32 {
        self.places.len() as u32
    }
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn bucket(&mut self, hash: u64) -> &mut [Option<Record>] {
        let buckets = (self.places.len() / WAYS) as u64;
        // Multiplication maps the hash's upper half evenly onto any number of buckets.
        let b = (((hash >> 32) * buckets) >> 32) as usize;
        &mut self.places[b * WAYS..][..WAYS]
    }

    pub fn find(&mut self, now: Now, hash: u64, key: &FlowKey) -> Option<&mut Record> {
        self.bucket(hash).iter_mut().flatten().find(|r| r.key == *key && !expired(now, r))
    }

    /// Stores a record, over an older one of the same flow, in a free place or a random one.
    pub fn insert(&mut self, now: Now, hash: u64, record: Record) {
        let chance = self.next_random() as usize % WAYS;
        let bucket = self.bucket(hash);
        let same = bucket.iter().position(|p| p.as_ref().is_some_and(|r| r.key == record.key));
        let free = || bucket.iter().position(|p| p.as_ref().is_none_or(|r| expired(now, r)));
        let place = same.or_else(free);
        let old = bucket[place.unwrap_or(chance)].replace(record);
        self.len += u32::from(old.is_none());
        self.evicted += u64::from(place.is_none());
    }

    pub fn remove(&mut self, hash: u64, key: &FlowKey) {
        let bucket = self.bucket(hash);
        if let Some(place) = bucket.iter_mut().find(|p| p.as_ref().is_some_and(|r| r.key == *key)) {
            *place = None;
            self.len -= 1;
        }
    }

    /// Clears a few places whose records have expired; all of them are visited in turn.
    pub fn sweep(&mut self, now: Now) {
        for _ in 0..SWEEP {
            self.hand = (self.hand + 1) % self.places.len();
            let place = &mut self.places[self.hand];
            if place.as_ref().is_some_and(|r| expired(now, r)) {
                *place = None;
                self.len -= 1;
            }
        }
    }

    /// xorshift64 (Marsaglia).
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random >> 32
    }
}

fn expired(now: Now, record: &Record) -> bool {
    now.since(record.begun) > EXPIRE_NS
}
