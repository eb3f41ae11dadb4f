//! The segments of a stream, [una, end), in blocks of one pool that all streams share.
//!
//! Three intrusive lists run through the blocks. The *sequence list* holds every segment. The *flight list* holds those
//! sent and neither SACKed nor lost, in the order of their transmission (as RACK walks them). The *lost list* holds those
//! found lost and not sent again, in sequence order. A SACKed segment is in neither of the last two: its links join the
//! two ends of its run of SACKed segments, so that a walk in sequence order steps over a run at once.

use super::types::{Full, Seg, SegId};
use crate::api::{FrameId, Now};
use crate::pool::Pool;
use crate::seq::Off;

/// No segment.
pub(super) const NONE: u32 = u32::MAX;

pub(super) const FIN: u16 = 1;
/// The frame is released with this segment (false for all but the last piece of a cut frame).
pub(super) const OWNS: u16 = 2;
/// Exactly as X sent it.
pub(super) const WHOLE: u16 = 4;
pub(super) const SENT: u16 = 8;
pub(super) const SACKED: u16 = 16;
pub(super) const LOST: u16 = 32;
/// Sent more than once.
pub(super) const RETX: u16 = 64;
/// Sent while the application (X) had nothing more: a rate sample from it is a lower bound.
pub(super) const APP_LIMITED: u16 = 128;
/// Part of the first flight after the start or after idleness.
pub(super) const FIRST_FLIGHT: u16 = 256;

/// One segment: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Node {
    pub start: Off,
    /// Last transmission.
    pub xmit: Now,
    pub next: u32,
    pub prev: u32,
    /// Flight or lost list; in a run of SACKed segments the first's `xnext` is the last, the last's `xprev` the first.
    pub xnext: u32,
    pub xprev: u32,
    frame: FrameId,
    /// Bytes delivered on this stream when it was last sent (wrapping), and when that count was reached (µs, wrapping).
    pub delivered: u32,
    pub delivered_us: u32,
    /// When the first segment of the flight that was being measured was sent (µs, wrapping).
    pub first_us: u32,
    pub len: u16,
    off: u16,
    frame_len: u16,
    l4: u16,
    payload_off: u16,
    held: u16,
    pub flags: u16,
    pub retx: u8,
}

impl Node {
    pub fn is(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
    pub fn seq_len(&self) -> u32 {
        u32::from(self.len) + u32::from(self.flags & FIN)
    }
    pub fn end(&self) -> Off {
        self.start + u64::from(self.seq_len())
    }
    /// The frame that goes with this segment: none for the first pieces of one that was cut.
    pub fn frame_to_free(&self) -> Option<FrameId> {
        self.is(OWNS).then_some(self.frame)
    }
    pub fn seg(&self) -> Seg {
        Seg {
            start: self.start,
            frame: self.frame,
            off: self.off,
            frame_len: self.frame_len,
            l4: self.l4,
            payload_off: self.payload_off,
            len: self.len,
            held: self.held,
            fin: self.is(FIN),
            whole: self.is(WHOLE),
        }
    }
}

const _: () = assert!(std::mem::size_of::<Node>() == 64);

const EMPTY: Node = Node {
    start: 0,
    xmit: Now(0),
    next: NONE,
    prev: NONE,
    xnext: NONE,
    xprev: NONE,
    frame: FrameId(0),
    delivered: 0,
    delivered_us: 0,
    first_us: 0,
    len: 0,
    off: 0,
    frame_len: 0,
    l4: 0,
    payload_off: 0,
    held: 0,
    flags: 0,
    retx: 0,
};

impl Default for Node {
    fn default() -> Node {
        EMPTY
    }
}

/// Blocks for the segments of all streams, allocated once.
#[derive(Debug)]
pub struct SegPool(Pool<Node>);

impl SegPool {
    /// A pool of `capacity` segments.
    pub fn new(capacity: u32) -> SegPool {
        SegPool(Pool::new(capacity))
    }
    /// Segments that can still be taken.
    pub fn free(&self) -> u32 {
        self.0.free()
    }
    /// Segments in all.
    pub fn capacity(&self) -> u32 {
        self.0.capacity()
    }
    /// The segment behind a handle that is still valid.
    pub fn seg(&self, id: SegId) -> Seg {
        self.at(id.0).seg()
    }
    pub(super) fn prefetch(&self, id: u32) {
        self.0.prefetch(id);
    }
    /// Asks for the place of the segment that is queued after so many others.
    pub(crate) fn prefetch_upcoming(&self, after: usize) {
        self.0.upcoming(after).into_iter().for_each(|id| self.0.prefetch(id));
    }
    pub(super) fn at(&self, id: u32) -> &Node {
        &self.0[id]
    }
    pub(super) fn at_mut(&mut self, id: u32) -> &mut Node {
        &mut self.0[id]
    }
}

/// The segments of one stream.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    pub head: u32,
    pub tail: u32,
    /// First segment not sent yet.
    pub unsent: u32,
    pub flight_head: u32,
    pub flight_tail: u32,
    pub lost_head: u32,
    lost_tail: u32,
    /// Last segment of the highest run of SACKed ones.
    pub sacked_last: u32,
    /// Bytes sent and neither SACKed nor lost: RFC 6675's pipe, exactly.
    pub flight: u32,
    pub lost: u32,
    pub sacked: u32,
    /// Segments SACKed.
    pub sacked_segs: u32,
    /// Segments in the flight list.
    pub flight_segs: u32,
    /// Frame memory held, bytes.
    pub held: u32,
}

impl Default for Queue {
    fn default() -> Queue {
        Queue {
            head: NONE,
            tail: NONE,
            unsent: NONE,
            flight_head: NONE,
            flight_tail: NONE,
            lost_head: NONE,
            lost_tail: NONE,
            sacked_last: NONE,
            flight: 0,
            lost: 0,
            sacked: 0,
            sacked_segs: 0,
            flight_segs: 0,
            held: 0,
        }
    }
}

impl Queue {
    /// Appends a segment, unsent.
    pub fn push(&mut self, pool: &mut SegPool, seg: &Seg) -> Result<(), Full> {
        let id = pool.0.take().ok_or(Full)?;
        let mut flags = OWNS;
        if seg.fin {
            flags |= FIN;
        }
        if seg.whole {
            flags |= WHOLE;
        }
        *pool.at_mut(id) = Node {
            start: seg.start,
            prev: self.tail,
            frame: seg.frame,
            len: seg.len,
            off: seg.off,
            frame_len: seg.frame_len,
            l4: seg.l4,
            payload_off: seg.payload_off,
            held: seg.held,
            flags,
            ..EMPTY
        };
        if self.tail == NONE {
            self.head = id;
        } else {
            pool.at_mut(self.tail).next = id;
        }
        self.tail = id;
        if self.unsent == NONE {
            self.unsent = id;
        }
        self.held += u32::from(seg.held);
        Ok(())
    }

    /// Takes the first segment off; its frame may have to be released: [`Node::frame_to_free`].
    pub fn pop(&mut self, pool: &mut SegPool) -> Node {
        let id = self.head;
        self.unlink(pool, id);
        let n = *pool.at(id);
        if n.is(SACKED) {
            self.shorten_run(pool, id, &n);
        }
        if self.unsent == id {
            self.unsent = n.next;
        }
        self.head = n.next;
        if n.next == NONE {
            self.tail = NONE;
        } else {
            pool.at_mut(n.next).prev = NONE;
        }
        pool.0.give(id);
        if n.is(OWNS) {
            self.held -= u32::from(n.held);
        }
        n
    }

    /// The first segment of a run of SACKed ones goes: the second is the first now.
    fn shorten_run(&mut self, pool: &mut SegPool, id: u32, n: &Node) {
        self.sacked -= n.seq_len();
        self.sacked_segs -= 1;
        if n.xnext == id {
            if self.sacked_last == id {
                self.sacked_last = NONE;
            }
        } else {
            pool.at_mut(n.next).xnext = n.xnext;
            pool.at_mut(n.xnext).xprev = n.next;
        }
    }

    /// Takes a segment out of the flight or lost list, if it is in one, and out of its account.
    pub fn unlink(&mut self, pool: &mut SegPool, id: u32) {
        let n = *pool.at(id);
        if !n.is(SENT) || n.is(SACKED) {
            return;
        }
        let (head, tail) = if n.is(LOST) {
            self.lost -= n.seq_len();
            (&mut self.lost_head, &mut self.lost_tail)
        } else {
            self.flight -= n.seq_len();
            self.flight_segs -= 1;
            (&mut self.flight_head, &mut self.flight_tail)
        };
        if n.xprev == NONE {
            *head = n.xnext;
        } else {
            pool.at_mut(n.xprev).xnext = n.xnext;
        }
        if n.xnext == NONE {
            *tail = n.xprev;
        } else {
            pool.at_mut(n.xnext).xprev = n.xprev;
        }
    }

    /// Puts a segment that is in no list at the end of the flight list.
    pub fn fly(&mut self, pool: &mut SegPool, id: u32) {
        let tail = self.flight_tail;
        let n = pool.at_mut(id);
        n.flags = (n.flags | SENT) & !LOST;
        n.xprev = tail;
        n.xnext = NONE;
        self.flight += n.seq_len();
        self.flight_segs += 1;
        if tail == NONE {
            self.flight_head = id;
        } else {
            pool.at_mut(tail).xnext = id;
        }
        self.flight_tail = id;
    }

    /// Moves a segment from the flight list to the lost list, which is kept in sequence order.
    pub fn lose(&mut self, pool: &mut SegPool, id: u32) {
        self.unlink(pool, id);
        let (start, seq_len) = (pool.at(id).start, pool.at(id).seq_len());
        // Losses are found nearly in sequence order: the place is nearly always the end.
        let mut after = self.lost_tail;
        while after != NONE && pool.at(after).start > start {
            after = pool.at(after).xprev;
        }
        let before = if after == NONE { self.lost_head } else { pool.at(after).xnext };
        let n = pool.at_mut(id);
        n.flags |= LOST;
        n.xprev = after;
        n.xnext = before;
        if after == NONE {
            self.lost_head = id;
        } else {
            pool.at_mut(after).xnext = id;
        }
        if before == NONE {
            self.lost_tail = id;
        } else {
            pool.at_mut(before).xprev = id;
        }
        self.lost += seq_len;
    }

    /// Marks a sent segment as SACKed and joins it to the runs beside it.
    pub fn sack(&mut self, pool: &mut SegPool, id: u32) {
        self.unlink(pool, id);
        let n = pool.at_mut(id);
        n.flags = (n.flags | SACKED) & !LOST;
        let (prev, next, seq_len) = (n.prev, n.next, n.seq_len());
        self.sacked += seq_len;
        self.sacked_segs += 1;
        let first = if prev != NONE && pool.at(prev).is(SACKED) { pool.at(prev).xprev } else { id };
        let last = if next != NONE && pool.at(next).is(SACKED) { pool.at(next).xnext } else { id };
        pool.at_mut(first).xnext = last;
        pool.at_mut(last).xprev = first;
        if self.sacked_last == NONE || pool.at(self.sacked_last).start < pool.at(last).start {
            self.sacked_last = last;
        }
    }

    /// A segment at or before offset `left` to begin a walk at, the nearest of the two that are known: the first of all,
    /// and the first of the highest run of SACKed ones.
    pub fn seek(&self, pool: &SegPool, left: Off) -> u32 {
        if self.sacked_last != NONE {
            let first = pool.at(self.sacked_last).xprev;
            if pool.at(first).start <= left {
                return first;
            }
        }
        self.head
    }

    /// Y dropped what it had SACKed: all of it is lost.
    pub fn unsack_all(&mut self, pool: &mut SegPool) {
        let mut id = self.head;
        while id != NONE && id != self.unsent {
            if pool.at(id).is(SACKED) {
                pool.at_mut(id).flags &= !SACKED;
                self.fly(pool, id);
                self.lose(pool, id);
            }
            id = pool.at(id).next;
        }
        self.sacked = 0;
        self.sacked_segs = 0;
        self.sacked_last = NONE;
    }

    /// The highest segment sent.
    pub fn last_sent(&self, pool: &SegPool) -> u32 {
        if self.unsent == NONE {
            self.tail
        } else {
            pool.at(self.unsent).prev
        }
    }

    /// Forgets the first `by` bytes of the first segment, which Y has acknowledged.
    pub fn trim_head(&mut self, pool: &mut SegPool, by: u32) {
        let n = pool.at_mut(self.head);
        debug_assert!(by < n.seq_len() && by <= u32::from(n.len));
        n.start += u64::from(by);
        n.len -= by as u16;
        n.payload_off += by as u16;
        n.flags &= !WHOLE;
        if !n.is(SENT) {
            return;
        }
        let account = match n.flags & (SACKED | LOST) {
            0 => &mut self.flight,
            f if f & SACKED != 0 => &mut self.sacked,
            _ => &mut self.lost,
        };
        *account -= by;
    }

    /// Cuts a segment that is not SACKed in two, the first of `at` payload bytes; all of them, to leave a FIN alone. Both
    /// keep the state and the place in every list; the frame is released with the second.
    pub fn cut(&mut self, pool: &mut SegPool, id: u32, at: u16) -> Result<(), Full> {
        let new = pool.0.take().ok_or(Full)?;
        let n = pool.at_mut(id);
        debug_assert!(at > 0 && u32::from(at) < n.seq_len() && !n.is(SACKED));
        let mut second = *n;
        second.start += u64::from(at);
        second.len -= at;
        second.payload_off += at;
        second.flags &= !WHOLE;
        second.prev = id;
        n.len = at;
        n.flags &= !(WHOLE | OWNS | FIN);
        n.next = new;
        if n.is(SENT) {
            let lost = n.is(LOST);
            second.xprev = id;
            n.xnext = new;
            if second.xnext != NONE {
                pool.at_mut(second.xnext).xprev = new;
            } else if lost {
                self.lost_tail = new;
            } else {
                self.flight_tail = new;
            }
            self.flight_segs += u32::from(!lost);
        }
        if second.next == NONE {
            self.tail = new;
        } else {
            pool.at_mut(second.next).prev = new;
        }
        *pool.at_mut(new) = second;
        Ok(())
    }
}
