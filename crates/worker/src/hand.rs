//! An engine's frames when another thread owns the ports: a ledger of its own over the same memory, and two queues.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use smartwire_engine::{CustodyMark, FlowKey, FrameId, Io, Port, Rx};
use smartwire_io::backlog::Tx;
use smartwire_io::frames::{Frames, Given};
use smartwire_io::spsc::{Receiver, Sender};
use smartwire_io::steer::CustodyBook;

/// Free frames that an engine keeps for packets of its own; it asks for more at half of that.
pub(crate) const SPARES: usize = 128;

/// What goes to an engine.
pub(crate) enum ToHand {
    /// A received frame.
    Frame(Given, Rx),
    /// A free frame for packets of its own.
    Spare(Given),
    /// A transmission of this frame is over.
    Done(FrameId),
}

/// What comes from an engine.
pub(crate) enum FromHand {
    /// Send this; the engine keeps the frame until it hears that it is done.
    Send(Port, Tx),
    /// A free frame that it does not need.
    Back(Given),
    /// It is short of free frames by so many.
    Want(usize),
}

/// What one engine runs on.
pub(crate) struct Hand {
    pub frames: Frames,
    inbox: Receiver<ToHand>,
    outbox: Sender<FromHand>,
    book: CustodyBook,
    /// Free frames asked for that have not come.
    wanted: usize,
    /// Sends for which the queue had no room: bounded, as a port's backlog is.
    dropped: Arc<AtomicU64>,
    /// Something was put into the outbox since the last [`Hand::has_sent`].
    sent: bool,
}

impl Hand {
    pub(crate) fn new(
        frames: Frames,
        inbox: Receiver<ToHand>,
        outbox: Sender<FromHand>,
        book: CustodyBook,
        dropped: Arc<AtomicU64>,
    ) -> Hand {
        Hand { frames, inbox, outbox, book, wanted: 0, dropped, sent: false }
    }

    /// Takes what has come: up to `max` frames to `rx`. False if there was nothing.
    pub(crate) fn receive(&mut self, rx: &mut Vec<Rx>, max: usize) -> bool {
        let mut any = false;
        while rx.len() < max {
            match self.inbox.pop() {
                Some(ToHand::Frame(given, frame)) => {
                    self.frames.take(given);
                    rx.push(frame);
                }
                Some(ToHand::Spare(given)) => {
                    let frame = self.frames.take(given);
                    self.frames.release(frame);
                    self.wanted = self.wanted.saturating_sub(1);
                }
                Some(ToHand::Done(frame)) => self.frames.completed(frame),
                None => break,
            }
            any = true;
        }
        any
    }

    /// Nothing has come.
    pub(crate) fn idle(&mut self) -> bool {
        self.inbox.is_empty()
    }

    /// Gives free frames beyond its own need back, and asks for what it lacks.
    pub(crate) fn balance(&mut self) {
        let has = self.frames.census().free as usize + self.wanted;
        if has < SPARES / 2 && self.outbox.push(FromHand::Want(SPARES - has)).is_ok() {
            self.wanted += SPARES - has;
            self.sent = true;
        }
        while self.outbox.room() > 0 {
            let Some(frame) = self.frames.surplus(SPARES) else { return };
            let given = self.frames.give(frame, 0);
            // There is room, as just seen, and nobody else sends.
            let _ = self.outbox.push(FromHand::Back(given));
            self.sent = true;
        }
    }

    /// Whether the ports' thread has something to do for it, since the last call.
    pub(crate) fn has_sent(&mut self) -> bool {
        std::mem::take(&mut self.sent)
    }
}

impl Io for Hand {
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
        if !self.frames.sent(frame) {
            return;
        }
        self.sent = true;
        let checked = self.frames.is_kept(frame);
        if self.outbox.push(FromHand::Send(port, Tx { frame, off, len, checked })).is_err() {
            self.frames.completed(frame);
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
    fn custody_claim(&mut self, key: &FlowKey) -> Option<u32> {
        self.book.claim(key)
    }
    fn custody_write(&mut self, entry: u32, mark: &CustodyMark) {
        self.book.write(entry, mark);
    }
    fn custody_ahead(&self, entry: u32) {
        self.book.ahead(entry);
    }
    fn custody_release(&mut self, entry: u32) {
        self.book.release(entry);
    }
}
