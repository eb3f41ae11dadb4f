//! Flows that are forwarded untouched, remembered just well enough to count each of them once.

/// Fingerprints by hash, direct-mapped: a newer flow takes the place of an older one, which may then be counted again.
#[derive(Debug)]
pub(crate) struct Refused {
    places: Vec<u32>,
}

impl Refused {
    /// Memory for `capacity` flows, rounded up to a power of two.
    pub(crate) fn new(capacity: u32) -> Refused {
        Refused { places: vec![0; capacity.next_power_of_two() as usize] }
    }

    fn place(&self, hash: u64) -> usize {
        hash as usize & (self.places.len() - 1)
    }

    /// True where this flow is remembered.
    pub(crate) fn knows(&self, hash: u64) -> bool {
        self.places[self.place(hash)] == mark(hash)
    }

    /// Remembers a flow; false if it was remembered already.
    pub(crate) fn add(&mut self, hash: u64) -> bool {
        let place = self.place(hash);
        std::mem::replace(&mut self.places[place], mark(hash)) != mark(hash)
    }

    /// Forgets a flow: its ports begin a new connection.
    pub(crate) fn forget(&mut self, hash: u64) {
        let place = self.place(hash);
        if self.places[place] == mark(hash) {
            self.places[place] = 0;
        }
    }
}

/// Never zero, which is an empty place.
fn mark(hash: u64) -> u32 {
    (hash >> 32) as u32 | 1
}
