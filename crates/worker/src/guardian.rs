//! The guardian: a process beside the wire's that resets connections which would hang without it.
//!
//! When the wire's process is gone, the copper wire answers whoever still sends for a connection that had custody. But
//! where both ends wait for each other nobody sends. So this process sleeps beside it, and when the wire's one has died,
//! or has been stopped or hung for [`HUNG`], sends both ends of every marked connection a reset, some times over.
//!
//! An engine that beats again, or a new one, ends this at once: their flows are theirs. The one that beats again is told
//! that it was silent too long, gives up the connections with custody itself, and goes on with the others; a second
//! reset of a connection finds nobody.

use std::os::fd::RawFd;
use std::time::Duration;

use smartwire_engine::Side;
use smartwire_io::raw::{RawOptions, RawSocket};
use smartwire_io::steer::{Sign, Survivor, Vigil};
use smartwire_io::sys::{self, Interest, PollSet};
use smartwire_io::IoError;

use crate::open::steer_error;
use crate::resets::reset_towards;

/// How often it looks for a sign of life.
const LOOK: Duration = Duration::from_millis(200);
/// A process that has shown none for so many looks hangs. Looks, not time: when the whole machine sleeps so does this.
const HUNG: u32 = 5;
/// Resets are repeated, for one may be lost.
const ROUNDS: u32 = 5;
const ROUND: Duration = Duration::from_secs(1);
/// Connections reset between two looks at whether it is still needed.
const AT_ONCE: usize = 64;

/// Watches over the wire that `port` belongs to for as long as the other end of the pipe `lifeline` is open and the
/// engine beats; returns when there is nothing left to watch over.
///
/// # Errors
/// It is no wire, or its ports can't be opened.
pub fn guard(port: &str, lifeline: RawFd) -> Result<(), IoError> {
    let vigil = Vigil::of(sys::if_index(port)?).map_err(steer_error)?;
    let name = |index| RawSocket::open_with(&sys::if_name(index)?, RawOptions::SEND_ONLY);
    let ports = vigil.ports().into_iter().map(name).collect::<Result<_, _>>()?;
    sys::be_harmless();
    Guardian { vigil, ports }.watch(lifeline)
}

struct Guardian {
    vigil: Vigil,
    ports: Vec<RawSocket>,
}

impl Guardian {
    fn watch(mut self, lifeline: RawFd) -> Result<(), IoError> {
        let mut set = PollSet::new(&[Interest::readable(lifeline)]);
        let (mut last, mut still) = (self.vigil.sign(), 0);
        let mine = last.generation;
        loop {
            set.wait(Some(LOOK))?;
            let gone = set.readable(0) || set.failed(0);
            if gone {
                // Until the programs take it for dead they keep to themselves what the ends say to a reset.
                std::thread::sleep(self.vigil.patience());
            }
            let sign = self.vigil.sign();
            if sign.generation != mine || sign.owner_pid == 0 {
                return Ok(());
            }
            still = if sign == last { still + 1 } else { 0 };
            last = sign;
            if gone || still == HUNG {
                self.reset(sign);
            }
            if gone {
                return Ok(());
            }
        }
    }

    /// Resets all connections that are marked now, for as long as the engine keeps silent.
    fn reset(&mut self, sign: Sign) {
        self.vigil.open(sign);
        let mut silent = self.vigil.marked();
        for round in 0..ROUNDS {
            if round > 0 {
                std::thread::sleep(ROUND);
                silent.retain(|s| self.vigil.is_marked(s));
            }
            for some in silent.chunks(AT_ONCE) {
                if self.vigil.sign() != sign {
                    return;
                }
                self.send(some);
                if round == 0 {
                    self.vigil.count(some.len() as u64);
                }
            }
        }
    }

    /// One reset to either end of each. A port that is down, or full, is not waited for: the next round is soon.
    fn send(&mut self, some: &[Survivor]) {
        let frames = some.iter().flat_map(|s| [Side::Access, Side::Core].map(|side| reset_towards(s, side)));
        let frames: Vec<(u8, Vec<u8>)> = frames.collect();
        for (number, port) in self.ports.iter_mut().enumerate() {
            let mine = frames.iter().filter(|(to, _)| usize::from(*to) == number);
            let _ = port.send(&mine.map(|(_, frame)| frame.as_slice()).collect::<Vec<_>>());
        }
    }
}
