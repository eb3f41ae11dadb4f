//! A forwarder without an engine: what getting frames from the kernel and giving them back costs, beside which the lab
//! holds the wire.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use smartwire_engine::{Io, Port};
use smartwire_io::sys::{self, Interest, PollSet};
use smartwire_io::IoError;

use crate::open;
use crate::options::Options;
use crate::single::BATCH;

/// Longest sleep: the heartbeat must go on.
const NAP: Duration = Duration::from_millis(2);

/// Forwards every claimed frame to the other port of its pair until `stop`; calls `ready` when frames flow.
///
/// # Errors
/// One sentence with the fix; the interfaces are a copper wire then.
pub fn forward(options: &Options, stop: &AtomicBool, ready: impl FnOnce()) -> Result<(), IoError> {
    sys::be_punctual();
    let opened = open::open(options)?;
    let (mut driver, steer) = (opened.driver, opened.steer);
    steer.heartbeat().claim().map_err(open::steer_error)?;
    ready();
    let interests: Vec<Interest> = driver.out.ports.iter().flat_map(|p| p.fds()).map(Interest::readable).collect();
    let (mut set, mut rx) = (PollSet::new(&interests), Vec::with_capacity(BATCH));
    while !stop.load(Ordering::Acquire) {
        steer.heartbeat().beat();
        rx.clear();
        if driver.recv(&mut rx, BATCH)? == 0 {
            set.wait(Some(NAP))?;
        }
        for frame in &rx {
            // As of a frame that the engine has verified: so it may travel with others in one call.
            driver.hold(frame.frame);
            driver.send(Port(frame.port.0 ^ 1), frame.frame, frame.off, frame.len);
            driver.release(frame.frame);
        }
        driver.flush()?;
    }
    steer.heartbeat().release();
    steer.detach_xdp().map_err(open::steer_error)
}
