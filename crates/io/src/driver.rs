//! The ports, frames and custody book of one thread, as the engine sees them.

use smartwire_engine::{Csum, CustodyMark, FlowKey, FrameId, Io, Port, Rx};

use crate::backlog::Tx;
use crate::error::IoError;
use crate::frames::Frames;
use crate::port::PortIo;
use crate::steer::{CustodyBook, Steer};

/// How many entries rings have, and how many frames they may take altogether.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    /// Entries per ring, a power of two.
    pub ring: u32,
    /// Frames that holding may not touch.
    pub reserve: u32,
    /// Transmissions that may wait per port.
    pub backlog: usize,
}

impl Sizing {
    /// The largest rings (64 to `most` entries, a power of two) that leave about half of `frames` for holding, with `ports` ports and
    /// `queues` receive queues over all of them: a fill ring per queue, and per port a transmit ring and a round of the
    /// engine's own packets.
    ///
    /// # Errors
    /// Too few frames for the smallest rings.
    pub fn of(frames: u32, ports: u32, queues: u32, most: u32) -> Result<Sizing, IoError> {
        let shares = queues + 2 * ports;
        let mut ring = most;
        while ring > 64 && ring * shares > frames / 16 * 10 {
            ring /= 2;
        }
        let reserve = ring * shares;
        if reserve >= frames {
            return Err(IoError::new(format!(
                "{frames} frames are too few for {ports} ports with {queues} queues; give at least {} with --frames.",
                reserve * 2
            )));
        }
        Ok(Sizing { ring, reserve, backlog: 4 * ring as usize })
    }
}

/// What an engine runs on.
pub struct Driver {
    /// The ledger.
    pub frames: Frames,
    /// The ports; entry `i` is `Port(i)`.
    pub ports: Vec<PortIo>,
    book: Option<CustodyBook>,
    /// Sends that made no sense (no such port, beyond the frame): a bug if ever above 0.
    bad_sends: u64,
    turn: usize,
}

impl Driver {
    /// A driver over open ports. Without a `book` (no copper wire under it, as in tests) custody is never refused and
    /// is written nowhere.
    pub fn new(frames: Frames, ports: Vec<PortIo>, book: Option<CustodyBook>) -> Driver {
        Driver { frames, ports, book, bad_sends: 0, turn: 0 }
    }

    /// Takes up to `max` received frames, round robin over the ports, after taking back what was sent.
    pub fn recv(&mut self, out: &mut Vec<Rx>, max: usize) -> Result<usize, IoError> {
        for port in &mut self.ports {
            port.reap_and_refill(&mut self.frames);
        }
        let (before, n) = (out.len(), self.ports.len());
        // Each port gets its share first, then whoever has more gets what is left.
        for share in [max / n.max(1), max] {
            for i in 0..n {
                let room = share.min(max - (out.len() - before));
                if room > 0 {
                    self.ports[(self.turn + i) % n].recv(&mut self.frames, out, room)?;
                }
            }
        }
        self.turn = (self.turn + 1) % n.max(1);
        Ok(out.len() - before)
    }

    /// Takes up to `max` copies of handshake segments that the copper wire forwards. They are never sent.
    pub fn overhear(&mut self, steer: &Steer, out: &mut Vec<Rx>, max: usize) {
        steer.glimpses(max, |ifindex, bytes| {
            let Some(port) = steer.port_of(ifindex) else { return };
            let Some(frame) = self.frames.alloc_copy() else { return };
            if let Some(buffer) = self.frames.bytes_mut(frame) {
                buffer[..bytes.len()].copy_from_slice(bytes);
            }
            // Whether it is damaged is its receiver's business; a checksum may be left to a card that comes later.
            out.push(Rx { frame, off: 0, len: bytes.len() as u16, port: Port(port), csum: Csum::Verified });
        });
    }

    /// Hands everything queued to the kernel, as far as it takes it.
    pub fn flush(&mut self) -> Result<(), IoError> {
        for port in &mut self.ports {
            port.flush(&mut self.frames)?;
        }
        Ok(())
    }

    /// True while something waits to be sent.
    pub fn unsent(&self) -> bool {
        self.ports.iter().any(PortIo::unsent)
    }

    /// Sends that made no sense.
    pub fn bad_sends(&self) -> u64 {
        self.bad_sends
    }

    /// Queues a transmission of a frame that is another thread's, or whose reference is already counted. `false`: the
    /// backlog is full.
    pub fn queue(&mut self, port: Port, tx: Tx) -> bool {
        self.ports.get_mut(usize::from(port.0)).is_some_and(|p| p.queue(tx))
    }
}

impl Io for Driver {
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
        let fits = usize::from(off) + usize::from(len) <= self.frames.chunk() && len >= 14;
        if !fits || usize::from(port.0) >= self.ports.len() {
            self.bad_sends += 1;
            return;
        }
        if !self.frames.sent(frame) {
            return;
        }
        let checked = self.frames.is_kept(frame);
        if !self.queue(port, Tx { frame, off, len, checked }) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_box_of_2000_frames_has_rings_and_room_to_hold() {
        let s = Sizing::of(2000, 2, 2, 2048).unwrap();
        assert_eq!(s.ring, 128);
        assert!(2000 - s.reserve >= 1000);
    }

    #[test]
    fn a_large_box_has_the_largest_rings() {
        assert_eq!(Sizing::of(1 << 17, 2, 2, 2048).unwrap().ring, 2048);
    }

    #[test]
    fn too_few_frames_are_refused_with_a_number() {
        let err = Sizing::of(300, 2, 2, 2048).unwrap_err().to_string();
        assert!(err.contains("at least 768"), "{err}");
    }
}
