//! An engine's calls, seen by a journal or a capture where there is one.

use smartwire_engine::{CustodyMark, Engine, FlowKey, FrameId, Io, Now, Port};

use crate::journal::{Call, Journal, Question};
use crate::tap::Tap;

/// Who watches an engine.
#[derive(Default)]
pub(crate) struct Watch {
    pub journal: Option<Journal>,
    pub tap: Option<Tap>,
}

impl Watch {
    /// Nobody watches.
    pub(crate) fn is_idle(&self) -> bool {
        self.journal.is_none() && self.tap.is_none()
    }

    /// Makes a call; returns how many flows it concerned (a command's answer, otherwise 0).
    pub(crate) fn call<I: Io>(&mut self, engine: &mut Engine, now: Now, call: Call<'_>, io: &mut I) -> u32 {
        if self.journal.is_none() && self.tap.is_none() {
            return make(engine, now, call, io);
        }
        if let (Some(tap), Call::Rx(frames)) = (&mut self.tap, &call) {
            tap.received(now, frames, io);
        }
        if let Some(journal) = &mut self.journal {
            journal.begin(now, &call, io);
        }
        let answer = make(engine, now, call, &mut Watched { io, watch: self, now });
        if let Some(journal) = &mut self.journal {
            journal.end();
        }
        answer
    }
}

fn make<I: Io>(engine: &mut Engine, now: Now, call: Call<'_>, io: &mut I) -> u32 {
    match call {
        Call::Rx(frames) => engine.on_rx(now, frames, io),
        Call::Time => engine.on_time(now, io),
        Call::Command(command) => return engine.command(now, command, io),
        Call::Foreign(who, down, up) => engine.foreign_traffic(now, who, down, up),
        Call::Policies(_, policies) => engine.set_policies(now, policies, io),
        Call::Opened(late) => engine.wire_opened(now, late, io),
    }
    0
}

/// An [`Io`] whose answers and sends are seen.
struct Watched<'a, I> {
    io: &'a mut I,
    watch: &'a mut Watch,
    now: Now,
}

impl<I> Watched<'_, I> {
    fn asked(&mut self, question: Question, yes: bool) {
        if let Some(journal) = &mut self.watch.journal {
            journal.asked(question, yes);
        }
    }
}

impl<I: Io> Io for Watched<'_, I> {
    fn bytes(&self, frame: FrameId) -> &[u8] {
        self.io.bytes(frame)
    }
    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        let bytes = self.io.bytes_mut(frame);
        if let Some(journal) = &mut self.watch.journal {
            journal.asked(Question::Write, bytes.is_some());
        }
        bytes
    }
    fn alloc(&mut self) -> Option<FrameId> {
        let frame = self.io.alloc();
        self.asked(Question::Frame, frame.is_some());
        frame
    }
    fn hold(&mut self, frame: FrameId) -> bool {
        self.io.hold(frame)
    }
    fn release(&mut self, frame: FrameId) {
        self.io.release(frame);
    }
    fn frames(&self) -> (u32, u32) {
        self.io.frames()
    }
    fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16) {
        if let Some(bytes) = self.io.bytes(frame).get(usize::from(off)..usize::from(off) + usize::from(len)) {
            if let Some(journal) = &mut self.watch.journal {
                journal.sent(port, bytes);
            }
            if let Some(tap) = &mut self.watch.tap {
                tap.sent(self.now, port, bytes);
            }
        }
        self.io.send(port, frame, off, len);
    }
    fn custody_claim(&mut self, key: &FlowKey) -> Option<u32> {
        let entry = self.io.custody_claim(key);
        self.asked(Question::Claim, entry.is_some());
        entry
    }
    fn custody_write(&mut self, entry: u32, mark: &CustodyMark) {
        self.io.custody_write(entry, mark);
    }
    fn custody_ahead(&self, entry: u32) {
        self.io.custody_ahead(entry);
    }
    fn custody_release(&mut self, entry: u32) {
        self.io.custody_release(entry);
    }
}
