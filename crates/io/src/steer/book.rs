//! The custody book: bpf/book.h is the other half.
//!
//! Two buckets of eight entries per flow, chosen by a keyed hash. An entry's state is 0 when free, else the generation
//! of the engine that claimed it and whether the flow is marked. With no live engine the programs answer marked flows;
//! while one lives they leave its own entries alone and answer those of earlier generations.

use std::net::Ipv6Addr;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::sync::atomic::AtomicU32;
use std::sync::Arc;

use smartwire_engine::api::{CustodyMark, FlowKey};
use smartwire_packet::SCOPE_HASHED;

use super::layout::{Bucket, Entry, SLOTS};
use super::maps::Wire;
use super::Survivor;

/// The custody book. Cheap to clone, any thread may write its own entries; implements what `engine::Io::custody_*` need.
///
/// Entries can be claimed between [`super::Heartbeat::claim`] and [`super::Heartbeat::release`].
#[derive(Clone, Debug)]
pub struct CustodyBook {
    pub(super) wire: Arc<Wire>,
}

impl CustodyBook {
    /// Reserves an entry; `None` when its buckets are full or the wire could not answer for such a flow: in tunnels,
    /// MPLS or PPPoE, behind more than two VLAN tags.
    pub fn claim(&self, key: &FlowKey) -> Option<u32> {
        let mine = self.wire.mine.load(Relaxed);
        if mine == 0 || key.scope & SCOPE_HASHED != 0 {
            return None;
        }
        let flow = words(key);
        let hash = hash(&self.key(), &flow);
        let (first, second) = self.buckets(hash);
        let used = |i: usize| self.wire.book()[i].state.iter().filter(|s| s.load(Relaxed) != 0).count();
        let order = if used(second) < used(first) { [second, first] } else { [first, second] };
        let (index, slot) = order.into_iter().find_map(|i| Some((i, self.take_slot(i, mine)?)))?;
        let bucket = &self.wire.book()[index];
        let entry = &bucket.entry[slot];
        for (to, word) in entry.flow.words.iter().zip(flow) {
            to.store(word, Relaxed);
        }
        entry.resets.iter().for_each(|r| r.store(0, Relaxed));
        bucket.tag[slot].store(tag(hash), Release);
        Some((index * SLOTS + slot) as u32)
    }

    /// Rewrites an entry. The mark is there before this returns, and so before a packet that is sent next.
    pub fn write(&self, entry: u32, mark: &CustodyMark) {
        let mine = self.wire.mine.load(Relaxed);
        let Some((state, e)) = self.place(entry) else { return };
        if mine == 0 || state.load(Relaxed) >> 1 != mine {
            return;
        }
        if !mark.custody {
            state.store(mine << 1, Release);
        }
        for side in 0..2 {
            e.rcv_nxt[side].store(mark.rcv_nxt[side], Relaxed);
            e.snd_nxt[side].store(mark.snd_nxt[side], Relaxed);
            for (i, word) in mark.macs[side].chunks_exact(4).enumerate() {
                e.macs[side * 3 + i].store(u32::from_ne_bytes([word[0], word[1], word[2], word[3]]), Relaxed);
            }
        }
        let ([access, core], [outer, inner]) = (mark.port, mark.tpid.map(u16::to_ne_bytes));
        e.port[0].store(u32::from_ne_bytes([access, core, outer[0], outer[1]]), Relaxed);
        e.port[1].store(u32::from_ne_bytes([inner[0], inner[1], 0, 0]), Relaxed);
        if mark.custody {
            state.store(mine << 1 | 1, Release);
        }
    }

    /// Asks for an entry to be brought into the caches; nothing where there is none.
    pub fn ahead(&self, entry: u32) {
        if let Some((_, entry)) = self.place(entry) {
            smartwire_packet::csum::prefetch_read(entry);
        }
    }

    /// Gives an entry back.
    pub fn release(&self, entry: u32) {
        let mine = self.wire.mine.load(Relaxed);
        if let Some((state, _)) = self.place(entry) {
            if mine != 0 && state.load(Relaxed) >> 1 == mine {
                self.clear(entry);
            }
        }
    }

    /// Marked flows of earlier engines. Send their resets, then [`CustodyBook::forget`] each some seconds later: until
    /// then the copper wire goes on answering their segments.
    pub fn survivors(&self) -> impl Iterator<Item = Survivor> + '_ {
        let mine = self.wire.mine.load(Relaxed);
        let places = self.wire.book().iter().enumerate().flat_map(|(i, b)| (0..SLOTS).map(move |s| (i, s, b)));
        places.filter_map(move |(index, slot, bucket)| {
            let state = bucket.state[slot].load(Acquire);
            let survives = state & 1 == 1 && (mine == 0 || state >> 1 != mine);
            survives.then(|| survivor((index * SLOTS + slot) as u32, &bucket.entry[slot]))
        })
    }

    /// True if the entry is marked and still that flow's.
    pub(super) fn is_marked(&self, entry: u32, key: &FlowKey) -> bool {
        let Some((state, e)) = self.place(entry) else { return false };
        let same = e.flow.words.iter().zip(words(key)).all(|(is, was)| is.load(Relaxed) == was);
        same && state.load(Acquire) & 1 == 1
    }

    /// Forgets a survivor.
    pub fn forget(&self, entry: u32) {
        let mine = self.wire.mine.load(Relaxed);
        let Some((state, _)) = self.place(entry) else { return };
        let was = state.load(Acquire);
        if was != 0 && (mine == 0 || was >> 1 != mine) {
            self.clear(entry);
            one_survivor_less(&self.wire);
        }
    }

    /// A free slot of bucket `index`, now `mine`: one that nobody has, or one of an earlier engine whose flow is not
    /// marked (any more: a program takes the mark away when the two ends begin anew).
    fn take_slot(&self, index: usize, mine: u32) -> Option<usize> {
        let bucket = &self.wire.book()[index];
        (0..SLOTS).find(|&slot| {
            let state = &bucket.state[slot];
            let was = state.load(Relaxed);
            let free = was == 0 || (was & 1 == 0 && was >> 1 != mine);
            let taken = free && state.compare_exchange(was, mine << 1, AcqRel, Relaxed).is_ok();
            if taken && was != 0 {
                one_survivor_less(&self.wire);
            }
            taken
        })
    }

    fn clear(&self, entry: u32) {
        let bucket = &self.wire.book()[entry as usize / SLOTS];
        bucket.tag[entry as usize % SLOTS].store(0, Relaxed);
        bucket.state[entry as usize % SLOTS].store(0, Release);
    }

    fn place(&self, entry: u32) -> Option<(&AtomicU32, &Entry)> {
        let bucket = self.wire.book().get(entry as usize / SLOTS)?;
        Some((&bucket.state[entry as usize % SLOTS], &bucket.entry[entry as usize % SLOTS]))
    }

    fn key(&self) -> [u64; 2] {
        [0, 1].map(|i| self.wire.page().key[i].load(Relaxed))
    }

    fn buckets(&self, hash: u64) -> (usize, usize) {
        let mask = self.wire.book().len() - 1;
        (hash as u32 as usize & mask, (hash >> 32) as usize & mask)
    }
}

fn one_survivor_less(wire: &Wire) {
    let _ = wire.page().survivors.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
}

/// Frees what earlier engines left without a mark, and counts what they left with one.
pub(super) fn sweep(wire: &Wire, mine: u32) -> u32 {
    let mut marked = 0;
    for bucket in wire.book() {
        sweep_bucket(bucket, mine, &mut marked);
    }
    marked
}

fn sweep_bucket(bucket: &Bucket, mine: u32, marked: &mut u32) {
    for (tag, state) in bucket.tag.iter().zip(&bucket.state) {
        let was = state.load(Relaxed);
        if was == 0 || was >> 1 == mine {
            continue;
        }
        if was & 1 == 1 {
            *marked += 1;
        } else {
            tag.store(0, Relaxed);
            state.store(0, Release);
        }
    }
}

fn survivor(entry: u32, e: &Entry) -> Survivor {
    let word = |i: usize| e.flow.words[i].load(Relaxed);
    let addr = |i: usize| {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&word(i).to_ne_bytes());
        bytes[8..].copy_from_slice(&word(i + 1).to_ne_bytes());
        Ipv6Addr::from(bytes)
    };
    let both = |a: &[AtomicU32; 2]| [0, 1].map(|i| a[i].load(Relaxed));
    let mut mark = CustodyMark { custody: true, rcv_nxt: both(&e.rcv_nxt), snd_nxt: both(&e.snd_nxt), ..Default::default() };
    for (i, w) in e.macs.iter().enumerate() {
        mark.macs[i / 3][i % 3 * 4..i % 3 * 4 + 4].copy_from_slice(&w.load(Relaxed).to_ne_bytes());
    }
    let [access, core, outer @ ..] = e.port[0].load(Relaxed).to_ne_bytes();
    let [i, n, ..] = e.port[1].load(Relaxed).to_ne_bytes();
    mark.port = [access, core];
    mark.tpid = [outer, [i, n]].map(u16::from_ne_bytes);
    let ports = word(4);
    let key = FlowKey {
        access_addr: addr(0),
        core_addr: addr(2),
        access_port: (ports >> 16) as u16,
        core_port: ports as u16,
        scope: word(5),
    };
    Survivor { entry, key, mark, resets: both(&e.resets) }
}

/// `struct sw_flow`: addresses as they are in memory, so that the programs copy them from packets.
fn words(key: &FlowKey) -> [u64; 6] {
    let half = |a: Ipv6Addr, i: usize| u64::from_ne_bytes(a.octets()[i * 8..i * 8 + 8].try_into().unwrap_or_default());
    let ports = u64::from(key.access_port) << 16 | u64::from(key.core_port);
    let (a, c) = (key.access_addr, key.core_addr);
    [half(a, 0), half(a, 1), half(c, 0), half(c, 1), ports, key.scope]
}

/// What a search compares first.
fn tag(hash: u64) -> u32 {
    (hash >> 20) as u32 | 1
}

/// SipHash-1-3 of six words, as `sw_hash`.
fn hash(key: &[u64; 2], flow: &[u64; 6]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    for word in flow.iter().chain([&(48 << 56)]) {
        v[3] ^= word;
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| round(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].wrapping_add(v[3]);
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].wrapping_add(v[1]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn the_hash_is_siphash_1_3() {
        // The standard library's SipHasher13 is not public, but its DefaultHasher is one with key 0, 0.
        use std::hash::Hasher;
        let flow = [1u64, 2, 3, 4, 5, 0x1005];
        let mut h = std::collections::hash_map::DefaultHasher::new();
        h.write(&flow.iter().flat_map(|w| w.to_le_bytes()).collect::<Vec<_>>());
        assert_eq!(hash(&[0, 0], &flow), h.finish());
    }

    #[test]
    fn an_entry_is_as_large_as_the_words_it_is_read_as() {
        assert_eq!(size_of::<[AtomicU64; 6]>() + 8 + 8 + 24 + 8 + 8, size_of::<Entry>());
    }
}
