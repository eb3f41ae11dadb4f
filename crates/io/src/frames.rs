//! The frame ledger: who has which frame, and that they add up.
//!
//! ```text
//!            take_fill              received              release, nothing in flight
//!   Free ──────────────► Fill(port) ─────────► Held ─────────────────────────────► Free
//!     │                                       ▲  │ release while in flight
//!     └───────────────── alloc ───────────────┘  └───────────► Sending ── last completion ──► Free
//! ```
//! A frame is Free only at no reference *and* nothing in flight: a frame sent twice completes twice. With several
//! threads each has a ledger of its own over the same memory, and a frame that one gives to another is Away until it
//! comes back.
//!
//! Held frames may never eat what the rings need (`reserve`): running out of frames costs speed, never data, and held
//! data can always leave.

use std::sync::Arc;

use smartwire_engine::FrameId;
use smartwire_packet::csum::prefetch_slice;

use crate::error::IoError;
use crate::region::Region;

/// Where a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// With another thread's ledger.
    Away,
    /// In the free list.
    Free,
    /// In a port's fill ring or receive slots: the kernel may write to it at any time.
    Fill,
    /// The engine has its reference.
    Held,
    /// The engine gave its reference back; transmissions are still in flight.
    Sending,
}

#[derive(Clone, Copy)]
struct Meta {
    state: State,
    /// Transmissions whose completion has not been seen.
    inflight: u8,
    /// Fill: the port. Away: the thread that has it.
    whose: u8,
    /// The engine asked to keep it beyond its batch.
    kept: bool,
    /// A copy of what the copper wire forwards: never to be sent.
    copy: bool,
}

impl Meta {
    fn new(state: State, whose: u8) -> Meta {
        Meta { state, inflight: 0, whose, kept: false, copy: false }
    }
}

/// How many frames are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// In the free list.
    pub free: u32,
    /// In fill rings.
    pub filled: u32,
    /// The engine's, sent or not.
    pub held: u32,
    /// Only in flight.
    pub sending: u32,
    /// With other threads.
    pub away: u32,
    /// Of those held: kept beyond their batch, counted against the budget.
    pub kept: u32,
}

/// A frame on its way from one thread's ledger to another's. It cannot be copied, so no frame is ever in two ledgers.
#[derive(Debug)]
pub struct Given {
    frame: FrameId,
    region: usize,
    copy: bool,
}

impl Given {
    /// Which frame.
    pub fn frame(&self) -> FrameId {
        self.frame
    }
}

/// The ledger of one thread.
pub struct Frames {
    region: Arc<Region>,
    meta: Vec<Meta>,
    free: Vec<u32>,
    census: Census,
    away_done: Vec<(u8, FrameId)>,
    /// Most frames that may be kept.
    keep_max: u32,
    /// Reports of the kernel's about frames that were not where it said: always 0, or something is badly wrong.
    faults: u64,
}

impl Frames {
    /// The ledger that begins with every frame of `region` free. `reserve` frames can never be kept.
    ///
    /// # Errors
    /// The reserve leaves nothing to keep.
    pub fn new(region: Arc<Region>, reserve: u32) -> Result<Frames, IoError> {
        let count = region.count();
        if reserve >= count {
            return Err(IoError::new(format!(
                "{count} frames are too few: the rings alone need {reserve}; give at least {} with --frames.",
                reserve * 2
            )));
        }
        let mut f = Frames::empty(region, count - reserve);
        // Highest first, so that the list pops ascending addresses.
        f.free.extend((0..count).rev());
        f.meta.fill(Meta::new(State::Free, 0));
        f.census = Census { free: count, ..Census::default() };
        Ok(f)
    }

    /// A ledger over the same memory that begins with every frame away: another thread's.
    pub fn empty(region: Arc<Region>, keep_max: u32) -> Frames {
        let count = region.count();
        Frames {
            meta: vec![Meta::new(State::Away, 0); count as usize],
            free: Vec::with_capacity(count as usize),
            census: Census { away: count, ..Census::default() },
            region,
            away_done: Vec::with_capacity(1024),
            keep_max,
            faults: 0,
        }
    }

    /// The memory.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Bytes per frame.
    pub fn chunk(&self) -> usize {
        self.region.chunk()
    }

    /// How many frames are where.
    pub fn census(&self) -> Census {
        self.census
    }

    /// Reports about frames that were not where the kernel said.
    pub fn faults(&self) -> u64 {
        self.faults
    }

    /// (free for keeping, most that may be kept).
    pub fn budget(&self) -> (u32, u32) {
        (self.keep_max - self.census.kept, self.keep_max)
    }

    /// Where a frame is, and how often it is in flight.
    pub fn state(&self, frame: FrameId) -> (State, u8) {
        let m = self.meta[frame.0 as usize];
        (m.state, m.inflight)
    }

    /// Free → Fill: a frame for the kernel to receive into.
    pub(crate) fn take_fill(&mut self, port: u8) -> Option<FrameId> {
        let id = self.free.pop()?;
        self.census.free -= 1;
        self.census.filled += 1;
        self.meta[id as usize] = Meta::new(State::Fill, port);
        Some(FrameId(id))
    }

    /// Fill → Held: the kernel put a packet into it. `false`, and nothing changes, if it never had that frame.
    pub(crate) fn received(&mut self, frame: FrameId) -> bool {
        let Some(m) = self.meta.get_mut(frame.0 as usize) else {
            self.faults += 1;
            return false;
        };
        if m.state != State::Fill {
            self.faults += 1;
            return false;
        }
        m.state = State::Held;
        self.census.filled -= 1;
        self.census.held += 1;
        true
    }

    /// Fill → Free: the port is closed and the kernel has let go of all its frames. Returns how many.
    pub(crate) fn drain_fill(&mut self, port: u8) -> u32 {
        let mut n = 0;
        for id in 0..self.meta.len() {
            let m = &mut self.meta[id];
            if m.state == State::Fill && m.whose == port {
                m.state = State::Free;
                self.free.push(id as u32);
                n += 1;
            }
        }
        self.census.filled -= n;
        self.census.free += n;
        n
    }

    /// Free → Held: a frame for a packet of our own.
    #[inline]
    pub fn alloc(&mut self) -> Option<FrameId> {
        let id = self.free.pop()?;
        self.census.free -= 1;
        self.census.held += 1;
        self.meta[id as usize] = Meta::new(State::Held, 0);
        if let Some(next) = self.free.last() {
            // Written soon, and perhaps long out of the caches: its first lines, where an ACK lies, are asked for.
            // SAFETY: a free frame is in nobody's hands.
            let bytes = unsafe { self.region.slice(FrameId(*next)) };
            prefetch_slice(bytes, 0);
            prefetch_slice(bytes, 64);
        }
        Some(FrameId(id))
    }

    /// Free → Held: a frame for a copy of what the copper wire forwards. Sending it does nothing.
    pub(crate) fn alloc_copy(&mut self) -> Option<FrameId> {
        let id = self.alloc()?;
        self.meta[id.0 as usize].copy = true;
        Some(id)
    }

    /// Asks to keep a held frame beyond its batch; `false` when the budget is spent.
    #[inline]
    pub fn hold(&mut self, frame: FrameId) -> bool {
        let m = &mut self.meta[frame.0 as usize];
        assert_eq!(m.state, State::Held, "hold of frame {} that is not held", frame.0);
        if m.kept {
            return true;
        }
        if self.census.kept >= self.keep_max {
            return false;
        }
        m.kept = true;
        self.census.kept += 1;
        true
    }

    /// It was asked for with [`Frames::hold`].
    pub fn is_kept(&self, frame: FrameId) -> bool {
        self.meta[frame.0 as usize].kept
    }

    /// The engine gives its reference back.
    #[inline]
    pub fn release(&mut self, frame: FrameId) {
        let m = &mut self.meta[frame.0 as usize];
        assert_eq!(m.state, State::Held, "release of frame {} that is not held", frame.0);
        if m.kept {
            m.kept = false;
            self.census.kept -= 1;
        }
        self.census.held -= 1;
        if m.inflight == 0 {
            m.state = State::Free;
            self.free.push(frame.0);
            self.census.free += 1;
        } else {
            m.state = State::Sending;
            self.census.sending += 1;
        }
    }

    /// One more transmission of a held frame. `false`: leave it out, as it is a copy or 255 are in flight already.
    pub fn sent(&mut self, frame: FrameId) -> bool {
        let m = &mut self.meta[frame.0 as usize];
        assert_eq!(m.state, State::Held, "send of frame {} that is not held", frame.0);
        if m.copy || m.inflight == u8::MAX {
            return false;
        }
        m.inflight += 1;
        true
    }

    /// One transmission is over. If the frame is another thread's, that one must be told: see
    /// [`Frames::completed_away`].
    pub fn completed(&mut self, frame: FrameId) {
        let Some(m) = self.meta.get_mut(frame.0 as usize) else {
            self.faults += 1;
            return;
        };
        if m.state == State::Away {
            self.away_done.push((m.whose, frame));
            return;
        }
        if m.inflight == 0 || !matches!(m.state, State::Held | State::Sending) {
            self.faults += 1;
            return;
        }
        m.inflight -= 1;
        if m.state == State::Sending && m.inflight == 0 {
            m.state = State::Free;
            self.free.push(frame.0);
            self.census.sending -= 1;
            self.census.free += 1;
        }
    }

    /// Completions of other threads' frames since the last call: (thread, frame).
    pub fn completed_away(&mut self) -> std::vec::Drain<'_, (u8, FrameId)> {
        self.away_done.drain(..)
    }

    /// Held → Away: another thread's from now on, once that thread's ledger takes the token.
    pub fn give(&mut self, frame: FrameId, thread: u8) -> Given {
        let m = &mut self.meta[frame.0 as usize];
        assert!(m.state == State::Held && m.inflight == 0 && !m.kept, "frame {} cannot be given away", frame.0);
        let copy = m.copy;
        *m = Meta::new(State::Away, thread);
        self.census.held -= 1;
        self.census.away += 1;
        Given { frame, region: Arc::as_ptr(&self.region) as usize, copy }
    }

    /// Away → Held: it came from another thread.
    pub fn take(&mut self, given: Given) -> FrameId {
        assert_eq!(given.region, Arc::as_ptr(&self.region) as usize, "a frame of another region");
        let frame = given.frame;
        let m = &mut self.meta[frame.0 as usize];
        assert_eq!(m.state, State::Away, "frame {} was here all the time", frame.0);
        *m = Meta { copy: given.copy, ..Meta::new(State::Held, 0) };
        self.census.away -= 1;
        self.census.held += 1;
        frame
    }

    /// Frees beyond `keep` leave a thread's cache: pops one as held, ready to [`Frames::give`].
    pub fn surplus(&mut self, keep: usize) -> Option<FrameId> {
        if self.free.len() <= keep {
            return None;
        }
        self.alloc()
    }

    /// The whole frame. Only for frames that are held or sending here.
    #[inline]
    pub fn bytes(&self, frame: FrameId) -> &[u8] {
        let m = self.meta[frame.0 as usize];
        assert!(matches!(m.state, State::Held | State::Sending), "read of frame {} that is {:?}", frame.0, m.state);
        // SAFETY: the frame is this ledger's and in no fill ring, so neither the kernel nor another thread writes to it;
        // our own writes need `&mut self`.
        unsafe { self.region.slice(frame) }
    }

    /// The whole frame for writing; `None` while the kernel may be reading it for a transmission.
    #[inline]
    pub fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        let m = self.meta[frame.0 as usize];
        assert_eq!(m.state, State::Held, "write to frame {} that is not held", frame.0);
        if m.inflight > 0 {
            return None;
        }
        // SAFETY: the frame is this ledger's, in no fill ring, and no transmission reads it; `&mut self` keeps out
        // every other slice that this ledger lends.
        Some(unsafe { self.region.slice_mut(frame) })
    }

    /// Where the kernel is to write a packet, for a frame in a receive slot: address of its first byte.
    pub(crate) fn fill_ptr(&self, frame: FrameId) -> *mut u8 {
        assert_eq!(self.meta[frame.0 as usize].state, State::Fill);
        // SAFETY: the offset lies within the mapping because `meta` has one entry per chunk.
        unsafe { self.region.base().add(frame.0 as usize * self.region.chunk()) }
    }

    /// The bytes of a transmission in flight, whoever's the frame is: nobody writes to it before it is over.
    pub(crate) fn sending(&self, frame: FrameId, off: u16, len: u16) -> &[u8] {
        // SAFETY: inside the mapping, as `send_ptr` checks; a frame in flight is in no fill ring and not writable.
        unsafe { std::slice::from_raw_parts(self.send_ptr(frame, off, len), usize::from(len)) }
    }

    /// Where a transmission starts in memory, its end checked.
    pub(crate) fn send_ptr(&self, frame: FrameId, off: u16, len: u16) -> *const u8 {
        assert!(usize::from(off) + usize::from(len) <= self.region.chunk() && frame.0 < self.region.count());
        // SAFETY: the chunk and the offset in it lie within the mapping, as just asserted.
        unsafe { self.region.base().add(frame.0 as usize * self.region.chunk() + usize::from(off)) }
    }

    /// Counts every frame again and compares with the running figures.
    ///
    /// # Errors
    /// The sentence says which figure is off.
    pub fn audit(&self) -> Result<Census, IoError> {
        let mut c = Census::default();
        for m in &self.meta {
            match m.state {
                State::Away => c.away += 1,
                State::Free => c.free += 1,
                State::Fill => c.filled += 1,
                State::Held => c.held += 1,
                State::Sending => c.sending += 1,
            }
            c.kept += u32::from(m.kept);
        }
        let total = c.free + c.filled + c.held + c.sending + c.away;
        if c != self.census || total != self.region.count() || self.free.len() != c.free as usize || self.faults != 0 {
            return Err(IoError::new(format!(
                "The frame ledger does not add up (counted {c:?}, running {:?}, free list {}, faults {}): this is a bug, please report it with this line.",
                self.census,
                self.free.len(),
                self.faults
            )));
        }
        Ok(c)
    }
}

#[cfg(test)]
mod tests;
