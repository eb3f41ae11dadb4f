//! A slab that never allocates after it was made: values behind `u32` handles, insert and remove in constant time.
//!
//! Memory is reserved at once and touched only as far as it was ever used, so a slab made for ten million flows costs
//! nothing until the flows come. Freed places are used again in last-in, first-out order, which keeps them in cache.

/// Values of one type behind `u32` handles.
#[derive(Debug)]
pub struct Slab<T> {
    /// Places used so far; `None` is a free one. Types with a niche (an enum, a `bool`) pay nothing for the `Option`.
    places: Vec<Option<T>>,
    /// Free places below `places.len()`.
    free: Vec<u32>,
    /// One count per place, of values that lived there before: tells a stale handle from a live one.
    generations: Vec<u8>,
    capacity: u32,
}

impl<T> Slab<T> {
    /// A slab for at most `capacity` values.
    pub fn new(capacity: u32) -> Slab<T> {
        Slab {
            places: Vec::with_capacity(capacity as usize),
            free: Vec::with_capacity(capacity as usize),
            generations: Vec::with_capacity(capacity as usize),
            capacity,
        }
    }

    /// Stores a value; gives it back where the slab is full.
    pub fn insert(&mut self, value: T) -> Result<u32, T> {
        if let Some(handle) = self.free.pop() {
            self.places[handle as usize] = Some(value);
            return Ok(handle);
        }
        let handle = self.places.len() as u32;
        if handle >= self.capacity {
            return Err(value);
        }
        self.places.push(Some(value));
        self.generations.push(0);
        Ok(handle)
    }

    /// Takes a value out; `None` where there is none.
    pub fn remove(&mut self, handle: u32) -> Option<T> {
        let value = self.places.get_mut(handle as usize)?.take()?;
        let generation = &mut self.generations[handle as usize];
        *generation = generation.wrapping_add(1);
        self.free.push(handle);
        Some(value)
    }

    /// As [`Slab::remove`] without moving the value, for large ones.
    pub fn discard(&mut self, handle: u32) {
        let Some(place) = self.places.get_mut(handle as usize).filter(|place| place.is_some()) else { return };
        *place = None;
        let generation = &mut self.generations[handle as usize];
        *generation = generation.wrapping_add(1);
        self.free.push(handle);
    }

    /// The value behind a handle.
    pub fn get(&self, handle: u32) -> Option<&T> {
        self.places.get(handle as usize)?.as_ref()
    }

    /// The value behind a handle, for writing.
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut T> {
        self.places.get_mut(handle as usize)?.as_mut()
    }

    /// Asks for the place of a handle to be brought into the caches.
    pub fn prefetch(&self, handle: u32) {
        smartwire_packet::csum::prefetch_slice(&self.places, handle as usize);
    }

    /// How many values lived in this place before, modulo 256. Who keeps a handle over time keeps this beside it and
    /// compares: equal means that it is still the same value (but for 256 generations).
    pub fn generation(&self, handle: u32) -> u8 {
        self.generations.get(handle as usize).copied().unwrap_or(0)
    }

    /// Values stored.
    pub fn len(&self) -> u32 {
        (self.places.len() - self.free.len()) as u32
    }

    /// True where nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True where the next [`Slab::insert`] would be refused.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity
    }

    /// Values that may be stored.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// One more than the highest handle ever given out: the bound of a sweep that visits a few places at a time.
    pub fn end(&self) -> u32 {
        self.places.len() as u32
    }

    /// All values with their handles, by handle.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.places.iter().enumerate().filter_map(|(i, p)| p.as_ref().map(|v| (i as u32, v)))
    }
}

/// Panics on a free place: for handles that the owner knows to be live.
impl<T> std::ops::Index<u32> for Slab<T> {
    type Output = T;
    fn index(&self, handle: u32) -> &T {
        self.get(handle).expect("a live handle")
    }
}

impl<T> std::ops::IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, handle: u32) -> &mut T {
        self.get_mut(handle).expect("a live handle")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_slab_gives_the_value_back_and_takes_one_again_after_a_removal() {
        let mut slab = Slab::new(2);
        let a = slab.insert("a").unwrap();
        let b = slab.insert("b").unwrap();
        assert_eq!(slab.insert("c"), Err("c"));
        assert!(slab.is_full());
        assert_eq!(slab.remove(a), Some("a"));
        assert_eq!(slab.insert("c"), Ok(a));
        assert_eq!((slab[a], slab[b], slab.len()), ("c", "b", 2));
    }

    #[test]
    fn removing_twice_frees_once() {
        let mut slab = Slab::new(4);
        let a = slab.insert(1).unwrap();
        assert_eq!(slab.remove(a), Some(1));
        assert_eq!(slab.remove(a), None);
        assert_eq!(slab.remove(99), None);
        let b = slab.insert(1).unwrap();
        slab.discard(b);
        slab.discard(b);
        slab.discard(99);
        assert_ne!(slab.insert(2).unwrap(), slab.insert(3).unwrap());
    }

    #[test]
    fn the_generation_tells_a_stale_handle_from_a_live_one() {
        let mut slab = Slab::new(1);
        let a = slab.insert(1).unwrap();
        let before = slab.generation(a);
        slab.remove(a);
        assert_eq!(slab.insert(2), Ok(a));
        assert_ne!(slab.generation(a), before);
    }

    #[test]
    fn a_slab_for_ten_million_touches_no_memory_before_it_is_used() {
        let slab: Slab<[u64; 24]> = Slab::new(10_000_000);
        assert_eq!((slab.end(), slab.len()), (0, 0));
        assert!(slab.places.capacity() >= 10_000_000);
    }
}
