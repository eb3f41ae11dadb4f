//! Frames in memory, with the ownership rules of `Io` asserted.

use std::collections::BTreeMap;

use smartwire_engine::{CustodyMark, FlowKey, FrameId, Io, Port};

pub const BUFFER: usize = 2048;

#[derive(Clone)]
struct Slot {
    bytes: Vec<u8>,
    engine: bool,
    in_flight: u32,
}

/// A driver without a world: what is sent is copied out at once.
pub struct MemIo {
    slots: Vec<Slot>,
    free: Vec<u32>,
    total: u32,
    /// Frames that holding may not touch.
    pub reserve: u32,
    /// Transmissions stay in flight until [`MemIo::complete`]: frames can't be written meanwhile.
    pub slow: bool,
    pub out: Vec<(Port, Vec<u8>)>,
    pub book: BTreeMap<u32, CustodyMark>,
    pub book_size: u32,
    pub marks_written: u64,
}

impl MemIo {
    pub fn new(total: u32) -> MemIo {
        let slot = Slot { bytes: vec![0; BUFFER], engine: false, in_flight: 0 };
        MemIo {
            slots: vec![slot; total as usize],
            free: (0..total).rev().collect(),
            total,
            reserve: total / 10,
            slow: false,
            out: Vec::new(),
            book: BTreeMap::new(),
            book_size: 1 << 16,
            marks_written: 0,
        }
    }

    /// A received frame; `None`: the rings are empty and it is lost.
    pub fn receive(&mut self, bytes: &[u8]) -> Option<FrameId> {
        let id = self.free.pop()?;
        let slot = &mut self.slots[id as usize];
        slot.bytes[..bytes.len()].copy_from_slice(bytes);
        slot.engine = true;
        Some(FrameId(id))
    }

    /// All transmissions are over.
    pub fn complete(&mut self) {
        for id in 0..self.slots.len() {
            if self.slots[id].in_flight > 0 {
                self.slots[id].in_flight = 0;
                self.free_if_unused(id as u32);
            }
        }
    }

    /// Frames that the engine owns.
    pub fn owned(&self) -> u32 {
        self.slots.iter().filter(|slot| slot.engine).count() as u32
    }

    fn free_if_unused(&mut self, id: u32) {
        let slot = &self.slots[id as usize];
        if !slot.engine && slot.in_flight == 0 {
            self.free.push(id);
        }
    }
}

impl Io for MemIo {
    fn bytes(&self, frame: FrameId) -> &[u8] {
        assert!(self.slots[frame.0 as usize].engine, "read of a frame that the engine gave back");
        &self.slots[frame.0 as usize].bytes
    }
    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        let slot = &mut self.slots[frame.0 as usize];
        assert!(slot.engine, "write to a frame that the engine gave back");
        (slot.in_flight == 0).then_some(&mut slot.bytes[..])
    }
    fn alloc(&mut self) -> Option<FrameId> {
        let id = self.free.pop()?;
        self.slots[id as usize].engine = true;
        Some(FrameId(id))
    }
    fn hold(&mut self, frame: FrameId) -> bool {
        assert!(self.slots[frame.0 as usize].engine, "hold of a frame that the engine gave back");
        self.free.len() as u32 > self.reserve
    }
    fn release(&mut self, frame: FrameId) {
        let slot = &mut self.slots[frame.0 as usize];
        assert!(slot.engine, "frame released twice");
        slot.engine = false;
        self.free_if_unused(frame.0);
    }
    fn frames(&self) -> (u32, u32) {
        ((self.free.len() as u32).saturating_sub(self.reserve), self.total.saturating_sub(self.reserve))
    }
    fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16) {
        let slot = &mut self.slots[frame.0 as usize];
        assert!(slot.engine, "send of a frame that the engine gave back");
        if self.slow {
            slot.in_flight += 1;
        }
        let (off, len) = (usize::from(off), usize::from(len));
        self.out.push((port, slot.bytes[off..off + len].to_vec()));
    }
    fn custody_claim(&mut self, _key: &FlowKey) -> Option<u32> {
        let entry = (0..self.book_size).find(|entry| !self.book.contains_key(entry))?;
        self.book.insert(entry, CustodyMark::default());
        Some(entry)
    }
    fn custody_write(&mut self, entry: u32, mark: &CustodyMark) {
        self.marks_written += 1;
        *self.book.get_mut(&entry).expect("a claimed entry") = *mark;
    }
    fn custody_release(&mut self, entry: u32) {
        self.book.remove(&entry).expect("a claimed entry");
    }
}
