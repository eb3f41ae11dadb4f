//! One worker: everything runs to completion in one thread.
//!
//! ```text
//!   reap, refill, receive ─► engine: batch, timers ─► send ─► chores ─► sleep until frames, a deadline or an order
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use smartwire_engine::{Now, Rx};
use smartwire_io::driver::Driver;
use smartwire_io::steer::{Beat, Steer};
use smartwire_io::sys::{self, Interest, PollSet, Wake};
use smartwire_io::IoError;

use crate::house::House;
use crate::passing::Passing;
use crate::pulse::{Promise, Pulse};
use crate::seat::Seat;

/// Frames per turn.
pub(crate) const BATCH: usize = 128;
/// Longest sleep.
pub(crate) const NAP_NS: u64 = 50_000_000;
/// Longest sleep while the kernel has no room for what waits to be sent.
const RETRY_NS: u64 = 200_000;
/// How long leaving waits for frames that are still on their way in or out.
const LEAVE_NS: u64 = 200_000_000;
/// Silence after which nothing is on its way in.
const QUIET_NS: u64 = 10_000_000;

/// Why a wire gives up its ports.
pub(crate) const LOST: &str = "Another process has taken over these interfaces; this one leaves them to it.";

/// The wire's one thread.
pub(crate) struct Single {
    pub driver: Driver,
    pub seat: Seat,
    pub house: House,
    pub pulse: Pulse,
    pub promise: Promise,
    pub steer: Arc<Steer>,
    pub wake: Arc<Wake>,
    pub stop: Arc<AtomicBool>,
    pub passing: Passing,
}

impl Single {
    /// Works until told to stop; then opens the wire, delivers what is on its way, and closes the ports.
    ///
    /// # Errors
    /// The wire can't go on; the sentence says why. It is open then.
    pub(crate) fn run(mut self) -> Result<(), IoError> {
        sys::be_punctual();
        let mut sleeper = Sleeper::new(&self.driver, &self.wake);
        let mut rx = Vec::with_capacity(BATCH);
        while !self.stop.load(Ordering::Acquire) {
            let now = self.turn(&mut rx)?;
            if rx.is_empty() {
                let deadline = self.seat.next_deadline().unwrap_or(now.after_ns(NAP_NS)).min(self.house.next());
                sleeper.sleep(now, deadline, &self.driver, &self.promise)?;
            }
        }
        self.leave(&mut rx)
    }

    /// One turn; `rx` holds its frames afterwards.
    fn turn(&mut self, rx: &mut Vec<Rx>) -> Result<Now, IoError> {
        rx.clear();
        self.driver.recv(rx, BATCH)?;
        self.driver.overhear(&self.steer, rx, BATCH);
        let now = Now(sys::clock_ns());
        self.promise.back_in(now.0, 0);
        match self.pulse.check(now.0) {
            Beat::Alive => {}
            Beat::Opened { for_ns, late } => {
                self.house.opened(for_ns, &self.pulse.why());
                self.seat.opened(now, late, &mut self.driver);
            }
            Beat::Lost => return Err(IoError::new(LOST)),
        }
        self.seat.step(now, rx, &mut self.driver);
        self.driver.flush()?;
        self.passing.turn(now.0, self.house.nothing_to_optimize(), !rx.is_empty() || self.driver.unsent())?;
        self.house.keep(now, &mut self.driver)?;
        Ok(now)
    }

    /// The copper wire takes over; what was claimed before is still forwarded.
    fn leave(mut self, rx: &mut Vec<Rx>) -> Result<(), IoError> {
        self.pulse.release();
        let mut leaving = Leaving::begin(sys::clock_ns());
        loop {
            rx.clear();
            self.driver.recv(rx, BATCH)?;
            let now = Now(sys::clock_ns());
            self.seat.step(now, rx, &mut self.driver);
            self.driver.flush()?;
            if leaving.over(now.0, !rx.is_empty() || self.driver.unsent()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.steer.detach_xdp().map_err(crate::open::steer_error)?;
        self.house.write(Now(sys::clock_ns()), &mut self.driver);
        Ok(())
    }
}

/// How long to go on after the wire was opened.
pub(crate) struct Leaving {
    end: u64,
    quiet_at: u64,
}

impl Leaving {
    pub(crate) fn begin(now_ns: u64) -> Leaving {
        Leaving { end: now_ns + LEAVE_NS, quiet_at: now_ns + QUIET_NS }
    }

    /// True once nothing has moved for a while, or it has taken too long. `busy`: something moves.
    pub(crate) fn over(&mut self, now_ns: u64, busy: bool) -> bool {
        if busy {
            self.quiet_at = now_ns + QUIET_NS;
        }
        now_ns >= self.end.min(self.quiet_at)
    }
}

/// Sleeps until there is something to do.
pub(crate) struct Sleeper {
    set: PollSet,
    wake: Arc<Wake>,
    wake_index: usize,
}

impl Sleeper {
    pub(crate) fn new(driver: &Driver, wake: &Arc<Wake>) -> Sleeper {
        let mut set = PollSet::default();
        for fd in driver.out.ports.iter().flat_map(|p| p.fds()) {
            set.push(Interest::readable(fd));
        }
        let wake_index = set.push(Interest::readable(wake.fd()));
        Sleeper { set, wake: wake.clone(), wake_index }
    }

    /// Until frames come, somebody wakes it, or `deadline`; promising to be back then.
    pub(crate) fn sleep(&mut self, now: Now, deadline: Now, driver: &Driver, promise: &Promise) -> Result<(), IoError> {
        let longest = if driver.unsent() { RETRY_NS } else { NAP_NS };
        let ns = deadline.since(now).min(longest);
        if ns == 0 {
            return Ok(());
        }
        promise.back_in(now.0, ns);
        if driver.out.ports.iter().all(|p| p.can_receive()) {
            self.set.wait(Some(Duration::from_nanos(ns)))?;
        } else {
            // No buffer to receive into: waiting for frames would only spin.
            std::thread::sleep(Duration::from_nanos(ns.min(RETRY_NS)));
        }
        if self.set.readable(self.wake_index) {
            self.wake.clear();
        }
        Ok(())
    }
}
