//! An engine's frames when another thread owns the ports: a ledger of its own over the same memory, and two queues.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;

use smartwire_engine::{FrameId, Port, Rx};
use smartwire_io::backlog::Tx;
use smartwire_io::frames::{Frames, Given};
use smartwire_io::spsc::{Receiver, Sender};
use smartwire_io::stand::{Outlet, Stand};
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

/// The way out: what the ports' thread is to do.
pub(crate) struct Outbox {
    queue: Sender<FromHand>,
    /// Sends for which the queue had no room: bounded, as a port's backlog is.
    dropped: Arc<AtomicU64>,
    /// Something was put into it since the last [`Hand::has_sent`].
    used: bool,
}

impl Outlet for Outbox {
    fn queue(&mut self, port: Port, tx: Tx) -> bool {
        self.used = true;
        let sent = self.queue.push(FromHand::Send(port, tx)).is_ok();
        self.dropped.fetch_add(u64::from(!sent), Ordering::Relaxed);
        sent
    }
}

/// What one engine runs on.
pub(crate) struct Hand {
    pub stand: Stand<Outbox>,
    inbox: Receiver<ToHand>,
    /// Free frames asked for that have not come.
    wanted: usize,
}

impl Hand {
    pub(crate) fn new(
        frames: Frames,
        inbox: Receiver<ToHand>,
        queue: Sender<FromHand>,
        book: CustodyBook,
        dropped: Arc<AtomicU64>,
    ) -> Hand {
        let stand = Stand::new(frames, Outbox { queue, dropped, used: false }, Some(book));
        Hand { stand, inbox, wanted: 0 }
    }

    /// Takes what has come: up to `max` frames to `rx`. False if there was nothing.
    pub(crate) fn receive(&mut self, rx: &mut Vec<Rx>, max: usize) -> bool {
        let frames = &mut self.stand.frames;
        let mut any = false;
        while rx.len() < max {
            match self.inbox.pop() {
                Some(ToHand::Frame(given, frame)) => {
                    frames.take(given);
                    rx.push(frame);
                }
                Some(ToHand::Spare(given)) => {
                    let frame = frames.take(given);
                    frames.release(frame);
                    self.wanted = self.wanted.saturating_sub(1);
                }
                Some(ToHand::Done(frame)) => frames.completed(frame),
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
        let Stand { frames, out, .. } = &mut self.stand;
        let has = frames.census().free as usize + self.wanted;
        if has < SPARES / 2 && out.queue.push(FromHand::Want(SPARES - has)).is_ok() {
            self.wanted += SPARES - has;
            out.used = true;
        }
        while out.queue.room() > 0 {
            let Some(frame) = frames.surplus(SPARES) else { return };
            let given = frames.give(frame, 0);
            // There is room, as just seen, and nobody else sends.
            let _ = out.queue.push(FromHand::Back(given));
            out.used = true;
        }
    }

    /// Whether the ports' thread has something to do for it, since the last call.
    pub(crate) fn has_sent(&mut self) -> bool {
        std::mem::take(&mut self.stand.out.used)
    }
}
