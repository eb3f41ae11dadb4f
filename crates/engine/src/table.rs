//! From a key to an index: the flow table's and the subscriber table's front.
//!
//! A slot is 8 bytes, a 32-bit tag and a 32-bit index; eight slots are one cache line, and a key may lie in either of
//! two of these. The records themselves live elsewhere ([`crate::slab`]), and the caller compares the key in the record.
//! The table has its full size from the start, so there is never a rehash; its pages are touched as they are used.
//! Where both buckets of a key are full, one of the sixteen residents moves to its other bucket; where even that fails
//! (well above the load that the table is sized for) a short overflow list takes the slot.
//!
//! The hash is keyed: NH (Black et al., UMAC, CRYPTO'99) over the 64-bit words of the key, almost universal with 2^-64,
//! then one more keyed multiplication. Who doesn't know the seed can't choose keys that meet.

use crate::api::{FlowKey, SubscriberKey};

/// Slots per bucket; a bucket is one 64-byte cache line.
const WAYS: usize = 8;
/// The table is sized so that its rated capacity fills this many of 100 slots.
const LOAD_PERCENT: usize = 90;
/// Slots that found no place in their buckets; looked at only while there are any.
const OVERFLOW: usize = 64;

/// Makes the keyed hashes that [`Table`] takes.
#[derive(Clone, Debug)]
pub struct Hasher {
    keys: [u64; 8],
}

impl Hasher {
    /// Keys drawn from a seed.
    pub fn new(seed: u64) -> Hasher {
        let mut state = seed;
        let mut keys = [0; 8];
        for key in &mut keys {
            *key = splitmix64(&mut state);
        }
        Hasher { keys }
    }

    /// The hash of a flow's key.
    #[inline]
    pub fn flow(&self, key: &FlowKey) -> u64 {
        let (a, c) = (key.access_addr.to_bits(), key.core_addr.to_bits());
        let ports = u64::from(key.access_port) << 16 | u64::from(key.core_port);
        self.words([a as u64, (a >> 64) as u64, c as u64, (c >> 64) as u64, ports, key.scope])
    }

    /// The hash of a subscriber's key.
    #[inline]
    pub fn subscriber(&self, key: &SubscriberKey) -> u64 {
        let a = key.addr.to_bits();
        self.words([a as u64, (a >> 64) as u64, key.scope, 0, 0, 0])
    }

    #[inline]
    fn words(&self, w: [u64; 6]) -> u64 {
        let k = &self.keys;
        let product = |i: usize| u128::from(w[i].wrapping_add(k[i])) * u128::from(w[i + 1].wrapping_add(k[i + 1]));
        let sum = product(0).wrapping_add(product(2)).wrapping_add(product(4));
        let folded = u128::from(sum as u64 ^ k[6]) * u128::from((sum >> 64) as u64 ^ k[7]);
        // The multiplication leaves its mixing in the middle: bring it to both halves (murmur3's finalizer step).
        let mut h = folded as u64 ^ (folded >> 64) as u64;
        h ^= h >> 33;
        h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
        h ^ h >> 33
    }
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// No room: the table is far above its rated capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// An index of `u32` values by hash; the caller keeps the keys.
#[derive(Debug)]
pub struct Table {
    /// Slots: tag in the upper half, index + 1 in the lower, 0 is empty. Bucket `b` begins at `first + 8 b`.
    words: Vec<u64>,
    /// Words to skip so that buckets are cache lines.
    first: usize,
    buckets: u32,
    len: u32,
    /// (bucket, slot) pairs.
    overflow: Vec<(u32, u64)>,
}

impl Table {
    /// A table for `capacity` entries.
    pub fn new(capacity: u32) -> Table {
        let buckets = (capacity as usize * 100).div_ceil(LOAD_PERCENT * WAYS).max(2);
        let words = vec![0u64; buckets * WAYS + WAYS - 1];
        let first = (words.as_ptr() as usize).wrapping_neg() % 64 / 8;
        Table { words, first, buckets: buckets as u32, len: 0, overflow: Vec::with_capacity(OVERFLOW) }
    }

    /// Entries stored.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True where nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Asks for the two cache lines that [`Table::find`] will read. Call it for a whole batch before the first find.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        let (home, other) = self.pair(hash);
        for b in [home, other] {
            smartwire_packet::csum::prefetch_slice(&self.words, self.first + b as usize * WAYS);
        }
    }

    /// The first index whose hash may be `hash` and of which `same` says that it is the one.
    #[inline]
    pub fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let (home, other) = self.pair(hash);
        for b in [home, other] {
            for &slot in self.bucket(b) {
                if slot >> 32 == tag && slot as u32 != 0 && same(slot as u32 - 1) {
                    return Some(slot as u32 - 1);
                }
            }
        }
        if self.overflow.is_empty() {
            return None;
        }
        let hit = |&&(b, slot): &&(u32, u64)| (b == home || b == other) && slot >> 32 == tag && same(slot as u32 - 1);
        self.overflow.iter().find(hit).map(|&(_, slot)| slot as u32 - 1)
    }

    /// Adds an index (below `u32::MAX`) under a hash. The caller has made sure that its key is not there yet.
    pub fn insert(&mut self, hash: u64, index: u32) -> Result<(), Full> {
        debug_assert!(index < u32::MAX);
        let slot = tag(hash) << 32 | u64::from(index + 1);
        let (home, other) = self.pair(hash);
        let (free_home, free_other) = (self.free_in(home), self.free_in(other));
        // The emptier of the two: this alone keeps nearly all buckets from filling up.
        let b = if free_home >= free_other { home } else { other };
        if free_home.max(free_other) > 0 || self.make_room(home) {
            let b = if self.free_in(b) > 0 { b } else { home };
            self.put(b, slot);
        } else if self.make_room(other) {
            self.put(other, slot);
        } else if self.overflow.len() < OVERFLOW {
            self.overflow.push((home, slot));
        } else {
            return Err(Full);
        }
        self.len += 1;
        Ok(())
    }

    /// Takes an index out; `false` where it was not there under this hash.
    pub fn remove(&mut self, hash: u64, index: u32) -> bool {
        let slot = tag(hash) << 32 | u64::from(index + 1);
        let (home, other) = self.pair(hash);
        for b in [home, other] {
            let at = self.first + b as usize * WAYS;
            if let Some(word) = self.words[at..at + WAYS].iter_mut().find(|word| **word == slot) {
                *word = 0;
                self.len -= 1;
                return true;
            }
        }
        match self.overflow.iter().position(|&(b, s)| s == slot && (b == home || b == other)) {
            Some(i) => {
                self.overflow.swap_remove(i);
                self.len -= 1;
                true
            }
            None => false,
        }
    }

    /// The two buckets of a hash.
    #[inline]
    fn pair(&self, hash: u64) -> (u32, u32) {
        let home = ((u64::from(hash as u32) * u64::from(self.buckets)) >> 32) as u32;
        (home, self.mirror(tag(hash), home))
    }

    /// The other bucket of a slot, from its tag and the bucket where it is: b and g(tag) - b, whichever way round.
    #[inline]
    fn mirror(&self, tag: u64, b: u32) -> u32 {
        // The tag's own bits choose the sum; multiplied first so that neighbouring tags part.
        let g = ((tag.wrapping_mul(0x9e37_79b9) & 0xffff_ffff) * u64::from(self.buckets)) >> 32;
        let d = g + u64::from(self.buckets) - u64::from(b);
        (if d >= u64::from(self.buckets) { d - u64::from(self.buckets) } else { d }) as u32
    }

    #[inline]
    fn bucket(&self, b: u32) -> &[u64] {
        let at = self.first + b as usize * WAYS;
        &self.words[at..at + WAYS]
    }

    fn free_in(&self, b: u32) -> usize {
        self.bucket(b).iter().filter(|&&slot| slot == 0).count()
    }

    fn put(&mut self, b: u32, slot: u64) {
        let at = self.first + b as usize * WAYS;
        let word = self.words[at..at + WAYS].iter_mut().find(|word| **word == 0).expect("a free slot");
        *word = slot;
    }

    /// Frees a slot of a full bucket by moving a resident to its other bucket, and if all those are full too, by first
    /// moving one of theirs. At most 8 + 64 buckets are read.
    fn make_room(&mut self, b: u32) -> bool {
        if self.move_one_out(b) {
            return true;
        }
        for way in 0..WAYS {
            let slot = self.bucket(b)[way];
            let elsewhere = self.mirror(slot >> 32, b);
            if elsewhere != b && self.move_one_out(elsewhere) {
                return self.move_one_out(b);
            }
        }
        false
    }

    fn move_one_out(&mut self, b: u32) -> bool {
        for way in 0..WAYS {
            let slot = self.bucket(b)[way];
            let elsewhere = self.mirror(slot >> 32, b);
            if elsewhere != b && self.free_in(elsewhere) > 0 {
                self.put(elsewhere, slot);
                self.words[self.first + b as usize * WAYS + way] = 0;
                return true;
            }
        }
        false
    }
}

#[inline]
fn tag(hash: u64) -> u64 {
    hash >> 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::net::Ipv6Addr;

    fn key(i: u64) -> FlowKey {
        FlowKey {
            access_addr: Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(i)),
            core_addr: Ipv6Addr::from_bits(0xffff << 32 | 0x0a00_0001),
            access_port: (i % 50_000) as u16,
            core_port: 443,
            scope: 0,
        }
    }

    /// Fills a table rated for `capacity` until an insertion fails; the share of slots then in use.
    fn load_at_failure(capacity: u32, seed: u64) -> f64 {
        let (hasher, mut table) = (Hasher::new(seed), Table::new(capacity));
        let slots = table.buckets as usize * WAYS;
        for i in 0..slots as u64 {
            if table.insert(hasher.flow(&key(i)), i as u32).is_err() {
                break;
            }
        }
        f64::from(table.len()) / slots as f64
    }

    #[test]
    fn the_rated_capacity_always_fits_and_much_more_before_an_insertion_fails() {
        for seed in 0..8 {
            let load = load_at_failure(100_000, seed);
            assert!(load > 0.95, "seed {seed}: failed at load {load}");
        }
    }

    #[test]
    fn the_table_answers_as_a_map_does_under_random_use() {
        let hasher = Hasher::new(7);
        let mut table = Table::new(2_000);
        let mut model: HashMap<u64, u32> = HashMap::new();
        let mut state = 11;
        for step in 0..200_000u64 {
            let k = splitmix64(&mut state) % 2_100;
            let hash = hasher.flow(&key(k));
            match model.get(&k).copied() {
                Some(index) if step % 3 == 0 => {
                    assert!(table.remove(hash, index));
                    assert!(!table.remove(hash, index));
                    model.remove(&k);
                }
                Some(index) => assert_eq!(table.find(hash, |i| i == index), Some(index)),
                None => {
                    assert_eq!(table.find(hash, |i| u64::from(i) == k), None);
                    table.insert(hash, k as u32).unwrap();
                    model.insert(k, k as u32);
                }
            }
            assert_eq!(table.len() as usize, model.len());
        }
    }

    #[test]
    fn equal_hashes_are_told_apart_by_the_caller() {
        let mut table = Table::new(100);
        for i in 0..12 {
            table.insert(0x1234_5678_9abc_def0, i).unwrap();
        }
        for i in 0..12 {
            assert_eq!(table.find(0x1234_5678_9abc_def0, |x| x == i), Some(i));
        }
    }

    #[test]
    fn chosen_keys_spread_whatever_the_pattern_and_differently_for_each_seed() {
        // Sequential addresses, sequential ports, one bit set: patterns that defeat weak hashes.
        let patterns: [fn(u64) -> FlowKey; 3] = [
            key,
            |i| FlowKey { access_port: i as u16, core_port: (i >> 16) as u16, ..key(0) },
            |i| FlowKey { scope: 1 << (i % 64), core_addr: Ipv6Addr::from_bits(1 << (i / 64 % 128)), ..key(0) },
        ];
        for (n, pattern) in patterns.iter().enumerate() {
            let hasher = Hasher::new(3);
            let mut buckets = vec![0u32; 1024];
            for i in 0..8192 {
                buckets[(hasher.flow(&pattern(i)) as u32 >> 22) as usize] += 1;
            }
            // 8 expected; Poisson gives more than 30 with probability below 1e-9 per bucket.
            assert!(buckets.iter().all(|&b| b < 30), "pattern {n}");
        }
        assert_ne!(Hasher::new(1).flow(&key(1)), Hasher::new(2).flow(&key(1)));
    }

    #[test]
    fn buckets_are_cache_lines() {
        for capacity in [1, 10, 1_000, 1_000_000] {
            let table = Table::new(capacity);
            assert_eq!(table.bucket(0).as_ptr() as usize % 64, 0);
            assert_eq!(table.bucket(table.buckets - 1).len(), WAYS);
        }
    }

    #[test]
    fn an_entry_costs_less_than_ten_bytes_at_the_rated_capacity() {
        let table = Table::new(1_000_000);
        assert!(table.words.len() * 8 < 10_000_000, "{}", table.words.len() * 8);
    }

    #[test]
    #[ignore = "timing"]
    fn hash_cost_ns() {
        let hasher = Hasher::new(3);
        let (mut sum, start) = (0u64, std::time::Instant::now());
        for i in 0..20_000_000u64 {
            sum ^= hasher.flow(std::hint::black_box(&key(i)));
        }
        println!("{:.2} ns per hash ({sum:x})", start.elapsed().as_nanos() as f64 / 2e7);
    }
}
