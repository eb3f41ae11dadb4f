//! Sets of policies and classes as bits, each different one kept once.

use std::collections::HashMap;

/// All sets of a table. Set 0 is the empty one.
#[derive(Debug)]
pub(super) struct Sets {
    words: usize,
    bits: Vec<u64>,
}

impl Sets {
    /// A set by its number.
    #[inline]
    pub fn get(&self, set: u32) -> &[u64] {
        let at = set as usize * self.words;
        &self.bits[at..at + self.words]
    }
}

/// Sets while a table is built.
pub(super) struct Maker {
    sets: Sets,
    known: HashMap<Box<[u64]>, u32>,
    unions: HashMap<(u32, u32), u32>,
}

impl Maker {
    /// For members below `members`.
    pub fn new(members: usize) -> Maker {
        let words = members.div_ceil(64).max(1);
        let mut maker = Maker { sets: Sets { words, bits: Vec::new() }, known: HashMap::new(), unions: HashMap::new() };
        maker.number(vec![0; words]);
        maker
    }

    /// The set of these members.
    pub fn of(&mut self, members: impl IntoIterator<Item = usize>) -> u32 {
        let mut bits = vec![0; self.sets.words];
        for member in members {
            bits[member / 64] |= 1u64 << (member % 64);
        }
        self.number(bits)
    }

    /// What is in one of two sets.
    pub fn union(&mut self, a: u32, b: u32) -> u32 {
        if let Some(set) = self.unions.get(&(a, b)) {
            return *set;
        }
        let bits = self.sets.get(a).iter().zip(self.sets.get(b)).map(|(a, b)| a | b).collect();
        let set = self.number(bits);
        self.unions.insert((a, b), set);
        set
    }

    /// All that were made.
    pub fn finish(self) -> Sets {
        self.sets
    }

    fn number(&mut self, bits: Vec<u64>) -> u32 {
        let next = self.known.len() as u32;
        let bits = bits.into_boxed_slice();
        if let Some(set) = self.known.get(&bits) {
            return *set;
        }
        self.sets.bits.extend_from_slice(&bits);
        self.known.insert(bits, next);
        next
    }
}
