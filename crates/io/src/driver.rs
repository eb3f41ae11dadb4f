//! The ports of one thread, and all that is received from them and sent through them.

use smartwire_engine::{Csum, Port, Rx};

use crate::backlog::Tx;
use crate::error::IoError;
use crate::frames::Frames;
use crate::port::PortIo;
use crate::stand::{Outlet, Stand};
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

/// The ports of one thread.
pub struct Ports {
    /// Entry `i` is `Port(i)`.
    pub ports: Vec<PortIo>,
    turn: usize,
}

/// What an engine runs on whose thread owns the ports, or that thread alone.
pub type Driver = Stand<Ports>;

impl Outlet for Ports {
    fn queue(&mut self, port: Port, tx: Tx) -> bool {
        self.ports.get_mut(usize::from(port.0)).is_some_and(|p| p.queue(tx))
    }
}

impl Driver {
    /// A driver over open ports.
    pub fn over(frames: Frames, ports: Vec<PortIo>, book: Option<CustodyBook>) -> Driver {
        Stand::new(frames, Ports { ports, turn: 0 }, book)
    }

    /// Takes up to `max` received frames, round robin over the ports, after taking back what was sent.
    pub fn recv(&mut self, out: &mut Vec<Rx>, max: usize) -> Result<usize, IoError> {
        for port in &mut self.out.ports {
            port.reap_and_refill(&mut self.frames);
        }
        let (before, n) = (out.len(), self.out.ports.len());
        // Each port gets its share first, then whoever has more gets what is left.
        for share in [max / n.max(1), max] {
            for i in 0..n {
                let room = share.min(max - (out.len() - before));
                if room > 0 {
                    self.out.ports[(self.out.turn + i) % n].recv(&mut self.frames, out, room)?;
                }
            }
        }
        self.out.turn = (self.out.turn + 1) % n.max(1);
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
        for port in &mut self.out.ports {
            port.flush(&mut self.frames)?;
        }
        Ok(())
    }

    /// True while something waits to be sent.
    pub fn unsent(&self) -> bool {
        self.out.ports.iter().any(PortIo::unsent)
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
