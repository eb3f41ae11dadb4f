//! Segments that came before their turn: one pool of places that all streams share, one ordered list per stream.

use crate::api::FrameId;
use crate::pool::Pool;
use crate::send::Seg;
use crate::seq::Off;

/// No segment.
pub(super) const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    seg: Seg,
    next: u32,
    prev: u32,
}

const EMPTY: Seg = Seg {
    start: 0,
    frame: FrameId(0),
    off: 0,
    frame_len: 0,
    l4: 0,
    payload_off: 0,
    len: 0,
    held: 0,
    fin: false,
    whole: false,
};

impl Default for Node {
    fn default() -> Node {
        Node { seg: EMPTY, next: NONE, prev: NONE }
    }
}

/// Places for the out-of-order segments of all streams, allocated once.
#[derive(Debug)]
pub struct OooPool(Pool<Node>);

impl OooPool {
    /// A pool of `capacity` segments.
    pub fn new(capacity: u32) -> OooPool {
        OooPool(Pool::new(capacity))
    }
    /// Segments that can still be taken.
    pub fn free(&self) -> u32 {
        self.0.free()
    }
    /// Segments in all.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }
    fn at(&self, id: u32) -> &Node {
        &self.0[id]
    }
    fn at_mut(&mut self, id: u32) -> &mut Node {
        &mut self.0[id]
    }
}

/// The out-of-order segments of one stream, by offset; none overlaps another.
#[derive(Clone, Debug)]
pub(super) struct Held {
    head: u32,
    tail: u32,
    /// Frame memory, bytes.
    pub bytes: u32,
    pub count: u32,
}

impl Default for Held {
    fn default() -> Held {
        Held::new()
    }
}

impl Held {
    pub fn new() -> Held {
        Held { head: NONE, tail: NONE, bytes: 0, count: 0 }
    }

    pub fn first(&self, pool: &OooPool) -> Option<Seg> {
        (self.head != NONE).then(|| pool.at(self.head).seg)
    }
    pub fn last(&self, pool: &OooPool) -> Option<Seg> {
        (self.tail != NONE).then(|| pool.at(self.tail).seg)
    }

    /// The last segment that begins at or before `off`, [`NONE`] if all begin after it. The walk starts at the nearer end.
    fn at_or_before(&self, pool: &OooPool, off: Off) -> u32 {
        let (Some(first), Some(last)) = (self.first(pool), self.last(pool)) else { return NONE };
        if off >= last.start {
            return self.tail;
        }
        if off < first.start {
            return NONE;
        }
        let mut id;
        if off - first.start < last.start - off {
            id = self.head;
            while pool.at(pool.at(id).next).seg.start <= off {
                id = pool.at(id).next;
            }
        } else {
            id = pool.at(self.tail).prev;
            while pool.at(id).seg.start > off {
                id = pool.at(id).prev;
            }
        }
        id
    }

    /// The first stretch of `[start, end)` that no held segment covers; empty (at `end`) if all of it is covered.
    pub fn first_gap(&self, pool: &OooPool, start: Off, end: Off) -> (Off, Off) {
        let mut from = start;
        let before = self.at_or_before(pool, start);
        let mut id = if before == NONE { self.head } else { before };
        while id != NONE && from < end {
            let seg = pool.at(id).seg;
            if seg.start > from {
                return (from, end.min(seg.start));
            }
            from = from.max(seg.end());
            id = pool.at(id).next;
        }
        (from.min(end), end)
    }

    /// The held segments that share a byte with `[start, end)`.
    pub fn overlapping<'a>(&self, pool: &'a OooPool, start: Off, end: Off) -> impl Iterator<Item = Seg> + 'a {
        let before = self.at_or_before(pool, start);
        let mut id = if before == NONE { self.head } else { before };
        std::iter::from_fn(move || {
            let node = pool.0.get(id)?;
            id = node.next;
            Some(node.seg)
        })
        .take_while(move |seg| seg.start < end)
        .filter(move |seg| seg.end() > start)
    }

    /// Adds a segment that overlaps none; false if the pool has no place.
    pub fn insert(&mut self, pool: &mut OooPool, seg: &Seg) -> bool {
        let prev = self.at_or_before(pool, seg.start);
        let Some(id) = pool.0.take() else { return false };
        let next = if prev == NONE { self.head } else { pool.at(prev).next };
        *pool.at_mut(id) = Node { seg: *seg, next, prev };
        if prev == NONE {
            self.head = id;
        } else {
            pool.at_mut(prev).next = id;
        }
        if next == NONE {
            self.tail = id;
        } else {
            pool.at_mut(next).prev = id;
        }
        self.bytes += u32::from(seg.held);
        self.count += 1;
        true
    }

    pub fn pop_first(&mut self, pool: &mut OooPool) -> Option<Seg> {
        let id = self.head;
        let seg = self.first(pool)?;
        self.head = pool.at(id).next;
        if self.head == NONE {
            self.tail = NONE;
        } else {
            pool.at_mut(self.head).prev = NONE;
        }
        self.gone(pool, id, &seg);
        Some(seg)
    }

    pub fn pop_last(&mut self, pool: &mut OooPool) -> Option<Seg> {
        let id = self.tail;
        let seg = self.last(pool)?;
        self.tail = pool.at(id).prev;
        if self.tail == NONE {
            self.head = NONE;
        } else {
            pool.at_mut(self.tail).next = NONE;
        }
        self.gone(pool, id, &seg);
        Some(seg)
    }

    fn gone(&mut self, pool: &mut OooPool, id: u32, seg: &Seg) {
        pool.0.give(id);
        self.bytes -= u32::from(seg.held);
        self.count -= 1;
    }
}
