//! What an engine runs on, whichever thread it is in: a ledger of frames, the custody book, and a way out for what it sends.

use smartwire_engine::{CustodyMark, FlowKey, FrameId, Io, Port};

use crate::backlog::Tx;
use crate::frames::Frames;
use crate::steer::CustodyBook;

/// A way out: the ports themselves, or a queue to the thread that owns them.
pub trait Outlet {
    /// Queues a transmission that the ledger has counted. `false`: it is not going to be sent.
    fn queue(&mut self, port: Port, tx: Tx) -> bool;
}

/// Ledger, book and way out of one engine.
pub struct Stand<O> {
    /// The ledger.
    pub frames: Frames,
    /// Where what is sent goes.
    pub out: O,
    book: Option<CustodyBook>,
    /// Sends that made no sense (beyond the frame): a bug if ever above 0.
    bad_sends: u64,
}

impl<O> Stand<O> {
    /// Without a `book` (no copper wire under it, as in tests) custody is never refused and is written nowhere.
    pub fn new(frames: Frames, out: O, book: Option<CustodyBook>) -> Stand<O> {
        Stand { frames, out, book, bad_sends: 0 }
    }

    /// Sends that made no sense.
    pub fn bad_sends(&self) -> u64 {
        self.bad_sends
    }
}

impl<O: Outlet> Io for Stand<O> {
    fn bytes(&self, frame: FrameId) -> &[u8] {
        self.frames.bytes(frame)
    }

    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        self.frames.bytes_mut(frame)
    }

    fn alloc(&mut self) -> Option<FrameId> {
        self.frames.alloc()
    }

    fn hold(&mut self, frame: FrameId) -> bool {
        self.frames.hold(frame)
    }

    fn release(&mut self, frame: FrameId) {
        self.frames.release(frame);
    }

    fn frames(&self) -> (u32, u32) {
        self.frames.budget()
    }

    fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16) {
        if usize::from(off) + usize::from(len) > self.frames.chunk() || len < 14 {
            self.bad_sends += 1;
            return;
        }
        if !self.frames.sent(frame) {
            return;
        }
        let checked = self.frames.is_kept(frame);
        if !self.out.queue(port, Tx { frame, off, len, checked }) {
            self.frames.completed(frame);
        }
    }

    fn custody_claim(&mut self, key: &FlowKey) -> Option<u32> {
        match &self.book {
            Some(book) => book.claim(key),
            None => Some(0),
        }
    }

    fn custody_write(&mut self, entry: u32, mark: &CustodyMark) {
        if let Some(book) = &self.book {
            book.write(entry, mark);
        }
    }

    fn custody_ahead(&self, entry: u32) {
        if let Some(book) = &self.book {
            book.ahead(entry);
        }
    }

    fn custody_release(&mut self, entry: u32) {
        if let Some(book) = &self.book {
            book.release(entry);
        }
    }
}
