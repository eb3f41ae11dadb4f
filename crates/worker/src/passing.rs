//! A bypassed wire with nothing left to deliver, or one that only observes, leaves all traffic to the copper wire.
//!
//! ```text
//!   claiming ── nothing to optimize ──► emptying ── nothing came for a while ──► listening
//!      ▲                                   │                                        │
//!      └──────────────────────────── something to optimize ◄───────────────────────┘
//! ```
//! Emptying: nothing is claimed any more, and what was claimed before is still forwarded, as on leaving. Listening: XDP
//! is off where it costs something, and the engine gets copies of handshakes, so that it counts on.

use std::sync::Arc;

use smartwire_io::steer::{Steer, Wanted};
use smartwire_io::IoError;

use crate::open::steer_error;
use crate::single::Leaving;

enum State {
    Claiming,
    Emptying(Leaving),
    Listening,
}

/// What the ports' thread wants of the traffic.
pub(crate) struct Passing {
    steer: Arc<Steer>,
    state: State,
}

impl Passing {
    /// A wire that claims, or listens, from its first beat on.
    pub(crate) fn new(steer: Arc<Steer>, listening: bool) -> Passing {
        let (state, wanted) = match listening {
            true => (State::Listening, Wanted::Handshakes),
            false => (State::Claiming, Wanted::Claimed),
        };
        steer.want(wanted);
        Passing { steer, state }
    }

    /// Once per turn. `pass`: there is nothing to optimize. `busy`: frames came, or wait to be sent.
    ///
    /// # Errors
    /// XDP could not be switched.
    pub(crate) fn turn(&mut self, now_ns: u64, pass: bool, busy: bool) -> Result<(), IoError> {
        match &mut self.state {
            State::Claiming if pass => {
                self.steer.want(Wanted::Nothing);
                self.state = State::Emptying(Leaving::begin(now_ns));
            }
            State::Emptying(_) if !pass => self.claim(),
            State::Emptying(leaving) => {
                if leaving.over(now_ns, busy) {
                    self.steer.rest_xdp().map_err(steer_error)?;
                    self.steer.want(Wanted::Handshakes);
                    self.state = State::Listening;
                }
            }
            State::Listening if !pass => {
                self.steer.wake_xdp().map_err(steer_error)?;
                self.claim();
            }
            State::Claiming | State::Listening => {}
        }
        Ok(())
    }

    fn claim(&mut self) {
        self.steer.want(Wanted::Claimed);
        self.state = State::Claiming;
    }
}
