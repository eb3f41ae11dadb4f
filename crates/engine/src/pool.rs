//! Places that are taken and given back without their contents being moved, cleared or dropped.
//!
//! All memory is reserved at once and touched only as far as it was ever used. Free places are in a list of their own, so
//! that taking one does not read it: it is long out of the caches, and only written then. The one given back last is the
//! next one taken.

/// A value that few users of a place write: who takes the place over puts back what was written, and where nothing was
/// does not even ask for its memory. Put it behind what is needed often: the mark comes first.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Seldom<T> {
    written: bool,
    value: T,
}

impl<T: Default> Seldom<T> {
    /// As it is where nothing was ever written.
    pub fn renew(&mut self) {
        if self.written {
            *self = Seldom::default();
        }
    }
}

impl<T> std::ops::Deref for Seldom<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> std::ops::DerefMut for Seldom<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.written = true;
        &mut self.value
    }
}

/// Places for values of one type, by number.
#[derive(Debug)]
pub struct Pool<T> {
    places: Vec<T>,
    /// Free places below `places.len()`.
    free: Vec<u32>,
    capacity: u32,
}

impl<T: Default> Pool<T> {
    /// At most `capacity` places.
    pub fn new(capacity: u32) -> Pool<T> {
        let (places, free) = (Vec::with_capacity(capacity as usize), Vec::with_capacity(capacity as usize));
        Pool { places, free, capacity }
    }

    /// Takes a place, which holds what was left in it; `None` where all are taken.
    pub fn take(&mut self) -> Option<u32> {
        if let Some(id) = self.free.pop() {
            return Some(id);
        }
        let id = self.places.len() as u32;
        if id >= self.capacity {
            return None;
        }
        self.places.push(T::default());
        Some(id)
    }

    /// Gives a place back that was taken.
    pub fn give(&mut self, id: u32) {
        debug_assert!(self.free() < self.capacity, "given back once only");
        self.free.push(id);
    }

    /// The place with this number, if it was ever taken.
    pub fn get(&self, id: u32) -> Option<&T> {
        self.places.get(id as usize)
    }

    /// The same, for writing.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.places.get_mut(id as usize)
    }

    /// The place that [`Pool::take`] gives after so many others, unless some are given back meanwhile.
    pub fn upcoming(&self, after: usize) -> Option<u32> {
        match self.free.len().checked_sub(after + 1) {
            Some(at) => Some(self.free[at]),
            None => Some((self.places.len() + after - self.free.len()) as u32).filter(|id| *id < self.capacity),
        }
    }

    /// Asks for a place to be brought into the caches.
    pub fn prefetch(&self, id: u32) {
        smartwire_packet::csum::prefetch_slice(&self.places, id as usize);
    }

    /// Places that can still be taken.
    pub fn free(&self) -> u32 {
        self.capacity - self.taken()
    }

    /// Places that are taken.
    pub fn taken(&self) -> u32 {
        (self.places.len() - self.free.len()) as u32
    }

    /// One more than the highest number ever given out.
    pub fn end(&self) -> u32 {
        self.places.len() as u32
    }

    /// The same for the first `bytes` of a place.
    pub fn prefetch_front(&self, id: u32, bytes: usize) {
        if let Some(place) = self.places.get(id as usize) {
            smartwire_packet::csum::prefetch_front(place, bytes);
        }
    }

    /// Places in all.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }
}

/// Panics on a number that was never given out.
impl<T> std::ops::Index<u32> for Pool<T> {
    type Output = T;
    fn index(&self, id: u32) -> &T {
        &self.places[id as usize]
    }
}

impl<T> std::ops::IndexMut<u32> for Pool<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.places[id as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_pool_gives_nothing_until_a_place_comes_back_with_what_was_in_it() {
        let mut pool: Pool<u8> = Pool::new(2);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert_eq!((pool.take(), pool.free(), pool.taken()), (None, 0, 2));
        pool[a] = 7;
        pool.give(a);
        assert_ne!(a, b);
        assert_eq!(pool.take(), Some(a));
        assert_eq!(pool[a], 7);
    }

    #[test]
    fn what_is_seldom_written_is_put_back_once_it_was() {
        let mut place: Seldom<[u8; 2]> = Seldom::default();
        assert_eq!((place[1], place.written), (0, false));
        place[1] = 7;
        assert_eq!((place[1], place.written), (7, true));
        place.renew();
        assert_eq!((place[1], place.written), (0, false));
    }

    #[test]
    fn a_pool_for_ten_million_touches_no_memory_before_it_is_used() {
        let pool: Pool<[u64; 24]> = Pool::new(10_000_000);
        assert_eq!((pool.places.len(), pool.free(), pool.get(0)), (0, 10_000_000, None));
    }
}
