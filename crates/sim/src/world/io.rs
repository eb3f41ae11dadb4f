//! The engine's driver in virtual time: frames are vectors, and every rule of [`smartwire_engine::Io`] is asserted.

use smartwire_engine::{CustodyMark, FlowKey, FrameId, Io, Port};

/// Bytes of a frame buffer, as on the real ports.
const CHUNK: usize = 2048;

#[derive(Debug, Default)]
struct Frame {
    data: Vec<u8>,
    /// The engine holds its reference.
    owned: bool,
    held: bool,
    in_flight: u32,
}

/// Frames, transmissions and the custody book of one engine.
#[derive(Debug)]
pub struct SimIo {
    frames: Vec<Frame>,
    free: Vec<u32>,
    /// Frames that may be held, and those that are.
    budget: u32,
    held: u32,
    /// Frames that somebody else has.
    taken: u32,
    /// What was sent in the present batch: port, frame.
    pub(super) sent: Vec<(Port, Vec<u8>)>,
    in_flight: Vec<u32>,
    /// Received, and handed out by `alloc`, in the present batch.
    fresh: Vec<u32>,
    allocated: Vec<u32>,
    book: Vec<Option<(FlowKey, CustodyMark)>>,
    book_free: Vec<u32>,
    /// Places in the custody book.
    book_size: usize,
}

impl SimIo {
    /// Room for `frames` frames, of which `budget` may be held.
    pub fn new(frames: u32, budget: u32) -> SimIo {
        SimIo {
            frames: (0..frames).map(|_| Frame::default()).collect(),
            free: (0..frames).rev().collect(),
            budget,
            held: 0,
            taken: 0,
            sent: Vec::new(),
            in_flight: Vec::new(),
            fresh: Vec::new(),
            allocated: Vec::new(),
            book: Vec::new(),
            book_free: Vec::new(),
            book_size: 1 << 20,
        }
    }

    /// Lets the custody book have only so many places.
    pub fn limit_book(&mut self, places: usize) {
        self.book_size = places;
    }

    /// Takes so many frames away from the engine that this share of all is free, percent.
    pub fn leave_free(&mut self, percent: u32) {
        self.taken = self.budget.saturating_sub(self.held).saturating_sub(self.budget * percent / 100);
    }

    /// A received frame, which is the engine's from now on; `None` if all buffers are taken: it is lost.
    pub(crate) fn receive(&mut self, bytes: &[u8]) -> Option<FrameId> {
        if bytes.len() > CHUNK {
            return None;
        }
        let id = self.free.pop()?;
        let frame = &mut self.frames[id as usize];
        frame.data.clear();
        frame.data.extend_from_slice(bytes);
        frame.data.resize(CHUNK, 0);
        (frame.owned, frame.held) = (true, false);
        self.fresh.push(id);
        Some(FrameId(id))
    }

    /// The batch is over: what was sent has left, and nothing received may have stayed unasked.
    pub(crate) fn end_batch(&mut self) -> Vec<(Port, Vec<u8>)> {
        for id in std::mem::take(&mut self.in_flight) {
            let frame = &mut self.frames[id as usize];
            frame.in_flight -= 1;
            self.recycle(id);
        }
        for id in std::mem::take(&mut self.fresh) {
            let frame = &self.frames[id as usize];
            // A frame that was given back and handed out again within the batch is another one by now.
            let kept = frame.owned && !frame.held && !self.allocated.contains(&id);
            assert!(!kept, "the engine kept received frame {id} without asking to hold it");
        }
        self.allocated.clear();
        std::mem::take(&mut self.sent)
    }

    fn recycle(&mut self, id: u32) {
        let frame = &mut self.frames[id as usize];
        if !frame.owned && frame.in_flight == 0 {
            self.free.push(id);
        }
    }

    fn owned(&self, frame: FrameId, what: &str) -> &Frame {
        let f = &self.frames[frame.0 as usize];
        assert!(f.owned, "the engine used frame {} ({what}) which is not its own", frame.0);
        f
    }

    /// Frames that the engine has not given back.
    pub fn owned_frames(&self) -> usize {
        self.frames.iter().filter(|f| f.owned).count()
    }

    /// Entries of the custody book that are taken.
    pub fn book(&self) -> impl Iterator<Item = &(FlowKey, CustodyMark)> {
        self.book.iter().flatten()
    }
}

impl Io for SimIo {
    fn bytes(&self, frame: FrameId) -> &[u8] {
        &self.owned(frame, "read").data
    }

    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        self.owned(frame, "write");
        let f = &mut self.frames[frame.0 as usize];
        (f.in_flight == 0).then_some(&mut f.data[..])
    }

    fn alloc(&mut self) -> Option<FrameId> {
        let id = self.free.pop()?;
        let frame = &mut self.frames[id as usize];
        // Whatever an earlier packet left there must not leak out.
        frame.data.clear();
        frame.data.resize(CHUNK, 0xa5);
        (frame.owned, frame.held) = (true, false);
        self.allocated.push(id);
        Some(FrameId(id))
    }

    fn hold(&mut self, frame: FrameId) -> bool {
        self.owned(frame, "hold");
        let f = &mut self.frames[frame.0 as usize];
        assert!(!f.held, "frame {} is held twice", frame.0);
        if self.held + self.taken >= self.budget {
            return false;
        }
        f.held = true;
        self.held += 1;
        true
    }

    fn release(&mut self, frame: FrameId) {
        self.owned(frame, "release");
        let f = &mut self.frames[frame.0 as usize];
        f.owned = false;
        if std::mem::take(&mut f.held) {
            self.held -= 1;
        }
        self.recycle(frame.0);
    }

    fn frames(&self) -> (u32, u32) {
        (self.budget.saturating_sub(self.held + self.taken), self.budget)
    }

    fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16) {
        let f = self.owned(frame, "send");
        let (off, end) = (usize::from(off), usize::from(off) + usize::from(len));
        assert!(end <= CHUNK && len >= 14, "frame {}: {off}..{end} is no frame", frame.0);
        assert!(self.sent.len() < 200_000, "the engine sends without end");
        let bytes = f.data[off..end].to_vec();
        self.sent.push((port, bytes));
        self.frames[frame.0 as usize].in_flight += 1;
        self.in_flight.push(frame.0);
    }

    fn custody_claim(&mut self, key: &FlowKey) -> Option<u32> {
        let entry = Some((*key, CustodyMark::default()));
        if let Some(free) = self.book_free.pop() {
            self.book[free as usize] = entry;
            return Some(free);
        }
        if self.book.len() >= self.book_size {
            return None;
        }
        self.book.push(entry);
        Some(self.book.len() as u32 - 1)
    }

    fn custody_write(&mut self, entry: u32, mark: &CustodyMark) {
        match self.book.get_mut(entry as usize) {
            Some(Some(place)) => place.1 = *mark,
            _ => panic!("the engine wrote entry {entry} of the custody book, which it has not claimed"),
        }
    }

    fn custody_release(&mut self, entry: u32) {
        let place = self.book.get_mut(entry as usize).and_then(Option::take);
        assert!(place.is_some(), "the engine released entry {entry} of the custody book, which it has not claimed");
        self.book_free.push(entry);
    }
}
