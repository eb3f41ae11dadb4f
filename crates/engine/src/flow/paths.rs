//! The headers in front of TCP, one copy for all flows that share them: MAC addresses, tags, tunnels, TTL, DSCP.
//!
//! A flow keeps two handles, one per direction, and its own addresses and flow labels; together they make the packets
//! that nobody sent.

use std::hash::{Hash, Hasher as _};

use smartwire_packet::build::Template;

use crate::slab::Slab;
use crate::table::Table;

#[derive(Debug)]
struct Entry {
    /// Without addresses and flow label: [`Template::path`].
    path: Template,
    users: u32,
}

/// All paths in use.
#[derive(Debug)]
pub(crate) struct Paths {
    entries: Slab<Entry>,
    index: Table,
}

impl Paths {
    /// Room for `capacity` different paths.
    pub(crate) fn new(capacity: u32) -> Paths {
        Paths { entries: Slab::new(capacity), index: Table::new(capacity) }
    }

    /// The handle of a path, counted once more; `None` where there is no room for another.
    pub(crate) fn take(&mut self, template: &Template) -> Option<u32> {
        let path = template.path();
        let hash = fingerprint(&path);
        let id = match self.index.find(hash, |id| self.entries[id].path == path) {
            Some(id) => id,
            None => {
                let id = self.entries.insert(Entry { path, users: 0 }).ok()?;
                if self.index.insert(hash, id).is_err() {
                    self.entries.remove(id);
                    return None;
                }
                id
            }
        };
        self.entries[id].users += 1;
        Some(id)
    }

    /// One flow uses it no more.
    pub(crate) fn give(&mut self, id: u32) {
        let entry = &mut self.entries[id];
        entry.users -= 1;
        if entry.users == 0 {
            let hash = fingerprint(&entry.path);
            self.index.remove(hash, id);
            self.entries.remove(id);
        }
    }

    /// The path behind a handle.
    pub(crate) fn get(&self, id: u32) -> &Template {
        &self.entries[id].path
    }
}

/// Multiply and fold, as FNV-1a does with bytes: paths are no secret and not chosen by anyone who could gain by a collision.
fn fingerprint(path: &Template) -> u64 {
    struct Fold(u64);
    impl std::hash::Hasher for Fold {
        fn finish(&self) -> u64 {
            let h = (self.0 ^ self.0 >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            h ^ h >> 29
        }
        fn write(&mut self, bytes: &[u8]) {
            // Eight bytes at a time, the last ones padded with zeros.
            for word in bytes.chunks(8) {
                let mut padded = [0; 8];
                padded[..word.len()].copy_from_slice(word);
                let h = (self.0 ^ u64::from_le_bytes(padded)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                self.0 = h ^ h >> 32;
            }
        }
    }
    let mut fold = Fold(0xcbf2_9ce4_8422_2325);
    path.hash(&mut fold);
    fold.finish()
}

/// Places that one handshake may be in: none is overwritten before they are all taken, which needs many more handshakes
/// than the capacity's half.
const WAYS: usize = 8;

/// Paths of the SYN-ACKs of handshakes that are not complete: they are needed with the third segment, which comes from
/// the other side. Set-associative by the flow's hash; one that is overwritten leaves its flow unoptimized.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Mark of the flow (0: empty), path, flow label.
    places: Vec<(u32, u32, u32)>,
}

impl Answers {
    /// Room for `capacity` handshakes, rounded up to a power of two.
    pub(crate) fn new(capacity: u32) -> Answers {
        Answers { places: vec![(0, 0, 0); (capacity as usize).next_power_of_two().max(WAYS)] }
    }

    /// Remembers the path of a SYN-ACK.
    pub(crate) fn put(&mut self, paths: &mut Paths, hash: u64, template: &Template, label: u32) {
        self.take(hash).into_iter().for_each(|(path, _)| paths.give(path));
        let set = self.set(hash);
        // Where none is empty, the hash chooses which one goes.
        let victim = (hash >> 28) as usize % WAYS;
        let place = set.iter().position(|place| place.0 == 0).unwrap_or(victim);
        if set[place].0 != 0 {
            paths.give(set[place].1);
        }
        set[place] = paths.take(template).map_or((0, 0, 0), |path| (mark(hash), path, label));
    }

    /// Takes the path and the flow label out; the path stays counted.
    pub(crate) fn take(&mut self, hash: u64) -> Option<(u32, u32)> {
        let place = self.set(hash).iter_mut().find(|place| place.0 == mark(hash))?;
        let (_, path, label) = std::mem::take(place);
        Some((path, label))
    }

    fn set(&mut self, hash: u64) -> &mut [(u32, u32, u32)] {
        let first = hash as usize & (self.places.len() - 1) & !(WAYS - 1);
        &mut self.places[first..first + WAYS]
    }
}

/// What tells a flow from others in its set; never 0.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
