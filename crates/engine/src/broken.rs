//! Engines that are broken on purpose, to test the tests (feature `broken`, for tests only).
//!
//! Each of these mistakes is easily made and costs a connection, or a byte. crates/sim/tests/broken.rs makes them one by
//! one and requires that a packet script and the random worlds notice. Without the feature [`breaks`] is a constant
//! `false`: the compiler takes away what it guards, and nothing of this is in a release.

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A FIN is acknowledged before its receiver has done so (I7).
    FinAckedEarly,
    /// Queued and repeated data leaves with the timestamp with which it came (tcp.md 2.4).
    NoRatchet,
    /// A drain hands flows back with what is in custody (tcp.md 2.6 (1)).
    CustodyDroppedAtStop,
    /// A reset stands where its sender is, not where its receiver is (RFC 5961 section 3.2).
    ResetAtSendersEdge,
    /// The window's edge may go back (I2).
    EdgeRetracted,
    /// Checksums are not verified (I4).
    ChecksumNotVerified,
    /// SACK blocks on data pass as they came (tcp.md 2.3).
    SackNotRenewed,
    /// The acknowledgement on data passes as it came (I6).
    RawAckPassed,
    /// Old timestamps are acceptable (RFC 7323 section 5.3).
    PawsSkipped,
    /// Timestamps are learned from segments that are not acceptable (tcp.md 2.4).
    ForgedTimestampLearned,
    /// Data goes beyond the receiver's window (RFC 9293 section 3.8.6).
    BeyondTheWindow,
    /// What a sender repeats is passed on (tcp.md 2.8).
    DuplicatesForwarded,
    /// A congestion mark passes to the receiver (RFC 3168 section 6.1.3).
    MarkPassedOn,
    /// A reset anywhere in the window is believed (RFC 5961 section 3.2).
    ResetBelievedInWindow,
    /// Keepalives are answered here though nothing is in custody (tcp.md 2.8).
    KeepaliveAnsweredHere,
    /// Custody does not stand in the custody book.
    BookNotWritten,
    /// What could not be stored is acknowledged (I1).
    AckedWithoutRoom,
    /// A hand-back without the last ACK each way (tcp.md 2.6 (5)).
    NoLastWord,
    /// ACKs stand behind data that waits here (tcp.md 2.4).
    AckAheadOfData,
    /// Silence is not probed (RFC 8985 section 7).
    NoProbes,
    /// Frames that were held out of order are not given back.
    FrameLeaked,
    /// What is held beyond a hole is not reported (RFC 2018 section 3).
    HoleNotReported,
    /// Custody that can't be delivered is forgotten in silence (tcp.md 2.6).
    SilentGiveUp,
}

#[cfg(feature = "broken")]
std::thread_local! {
    static WHICH: std::cell::Cell<Option<Broken>> = const { std::cell::Cell::new(None) };
}

/// From now on the engines of this thread make this mistake.
#[cfg(feature = "broken")]
pub fn set(which: Option<Broken>) {
    WHICH.set(which);
}

/// Whether this mistake is to be made.
#[cfg(feature = "broken")]
pub(crate) fn breaks(which: Broken) -> bool {
    WHICH.get() == Some(which)
}

/// Whether this mistake is to be made: never.
#[cfg(not(feature = "broken"))]
pub(crate) const fn breaks(_: Broken) -> bool {
    false
}
