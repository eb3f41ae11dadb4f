//! What a driver gives the engine, without rings behind it.

use std::sync::Arc;

use smartwire_engine::{CustodyMark, FlowKey, FrameId, Io, Port};
use smartwire_io::frames::Frames;
use smartwire_io::region::Region;
use smartwire_io::IoError;

/// A transmission that the engine asked for.
#[derive(Clone, Copy)]
pub(super) struct Sent {
    pub port: Port,
    pub frame: FrameId,
    pub off: u16,
    pub len: u16,
}

/// The real frame ledger, a list of transmissions, and a custody book in memory.
pub(super) struct Host {
    pub frames: Frames,
    /// In the order of the engine's calls; room for more than a batch can bring.
    pub sent: Vec<Sent>,
    marks: Vec<CustodyMark>,
    free_marks: Vec<u32>,
    /// Per frame: did the engine take it for a packet of its own?
    own: Vec<bool>,
}

impl Host {
    pub fn new(frames: u32, marks: u32) -> Result<Host, IoError> {
        let region = Arc::new(Region::new(frames, 2048)?);
        let mut ledger = Frames::new(region, frames / 16)?;
        // Touched now, so that no page fault is measured.
        let all: Vec<FrameId> = std::iter::from_fn(|| ledger.alloc()).collect();
        for frame in &all {
            if let Some(bytes) = ledger.bytes_mut(*frame) {
                bytes.fill(0);
            }
        }
        for frame in all.into_iter().rev() {
            ledger.release(frame);
        }
        let touched = CustodyMark { custody: true, ..CustodyMark::default() };
        Ok(Host {
            frames: ledger,
            sent: Vec::with_capacity(1 << 17),
            marks: vec![touched; marks as usize],
            free_marks: (0..marks).rev().collect(),
            own: vec![false; frames as usize],
        })
    }

    /// A frame for the generator to write into, as if from a fill ring.
    pub fn receive(&mut self) -> Option<FrameId> {
        let frame = self.frames.alloc()?;
        self.own[frame.0 as usize] = false;
        Some(frame)
    }

    /// Was this frame made by the engine, rather than received?
    pub fn is_own(&self, frame: FrameId) -> bool {
        self.own[frame.0 as usize]
    }

    /// Frames that the engine holds on to.
    pub fn kept(&self) -> u32 {
        self.frames.census().kept
    }
}

impl Io for Host {
    fn bytes(&self, frame: FrameId) -> &[u8] {
        self.frames.bytes(frame)
    }

    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        self.frames.bytes_mut(frame)
    }

    fn alloc(&mut self) -> Option<FrameId> {
        let frame = self.frames.alloc()?;
        self.own[frame.0 as usize] = true;
        Some(frame)
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
        if self.frames.sent(frame) {
            self.sent.push(Sent { port, frame, off, len });
        }
    }

    fn custody_claim(&mut self, _key: &FlowKey) -> Option<u32> {
        self.free_marks.pop()
    }

    fn custody_write(&mut self, entry: u32, mark: &CustodyMark) {
        self.marks[entry as usize] = *mark;
    }

    fn custody_ahead(&self, entry: u32) {
        smartwire_packet::csum::prefetch_slice(&self.marks, entry as usize);
    }

    fn custody_release(&mut self, entry: u32) {
        self.marks[entry as usize].custody = false;
        self.free_marks.push(entry);
    }
}
