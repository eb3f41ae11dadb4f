//! Which direction a delay is in, told by the phone's own timestamp clock (RFC 7323).
//!
//! An acknowledgement carries the time at the phone. Against our clock it grows with the delay of the way back, and
//! what it took to get there shrinks it; the two clocks' offset is unknown but constant. So each direction's delay is
//! known up to a constant, and its excess over the least that was seen is known outright.

use crate::api::Now;

/// What one acknowledgement says of the two directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Delay of the way to the phone above the least seen, ns. A lower bound: the least seen may have held a queue too.
    pub down_ns: u64,
    /// Delay of the way back above the least seen, ns. A lower bound likewise.
    pub up_ns: u64,
}

/// The clock of one flow's phone.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneWay {}

impl OneWay {
    /// An acknowledgement that arrived at `now` with timestamp value `tsval`, of a segment sent at `sent`. `None` while
    /// the phone's clock is not understood.
    pub fn sample(&mut self, now: Now, tsval: u32, sent: Now) -> Option<Split> {
        let _ = (now, tsval, sent);
        None
    }
}
