//! Connections that an earlier engine left with custody: the next one resets them.

use smartwire_engine::{Io, Now, Port, Side};
use smartwire_io::driver::Driver;
use smartwire_io::steer::{CustodyBook, Survivor};

use crate::resets::reset_towards;

/// Resets are repeated, for one may be lost.
const ROUNDS: u32 = 4;
const ROUND_NS: u64 = 1_000_000_000;
/// The copper wire, and then the engine, answer what still comes until the book forgets.
const FORGET_NS: u64 = 10_000_000_000;
/// Connections reset per turn of the housekeeping, so that none of them makes frames scarce.
const PER_TURN: usize = 64;

/// Whom to reset, how often yet.
pub(crate) struct Survivors {
    book: CustodyBook,
    all: Vec<Survivor>,
    next: usize,
    round: u32,
    wait_until: Now,
    sent: u64,
}

impl Survivors {
    /// Reads the book.
    pub(crate) fn find(book: &CustodyBook) -> Survivors {
        let all = book.survivors().collect();
        Survivors { book: book.clone(), all, next: 0, round: 0, wait_until: Now(0), sent: 0 }
    }

    /// Connections reset.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Resets the next few, and in the end forgets them.
    pub(crate) fn reset(&mut self, now: Now, driver: &mut Driver) {
        if self.all.is_empty() || now < self.wait_until {
            return;
        }
        if self.round == ROUNDS {
            self.all.drain(..).for_each(|s| self.book.forget(s.entry));
            return;
        }
        let end = (self.next + PER_TURN).min(self.all.len());
        for s in &self.all[self.next..end] {
            for side in [Side::Access, Side::Core] {
                let (port, frame) = reset_towards(s, side);
                send(driver, Port(port), &frame);
            }
            self.sent += u64::from(self.round == 0);
        }
        self.next = end;
        if end == self.all.len() {
            self.next = 0;
            self.round += 1;
            self.wait_until = now.after_ns(if self.round == ROUNDS { FORGET_NS } else { ROUND_NS });
        }
    }
}

fn send(driver: &mut Driver, port: Port, bytes: &[u8]) {
    let Some(frame) = driver.alloc() else { return };
    if let Some(buffer) = driver.bytes_mut(frame) {
        buffer[..bytes.len()].copy_from_slice(bytes);
        driver.send(port, frame, 0, bytes.len() as u16);
    }
    driver.release(frame);
}
