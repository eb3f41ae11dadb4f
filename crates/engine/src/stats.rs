//! Counters and gauges of one engine: plain numbers with names, copied out whole by whoever publishes them.

use crate::reason::{Finding, RefuseReason, StopReason};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Everything an engine counts. Counters only grow; gauges say so in their text.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Flows never optimized, by [`RefuseReason`] code.
            pub refused: [u64; RefuseReason::ALL.len()],
            /// Flows that stopped being optimized, by [`StopReason`] code.
            pub stopped: [u64; StopReason::ALL.len()],
            /// What was wrong with neighbours of optimized flows, by [`Finding`] code.
            pub found: [u64; Finding::ALL.len()],
        }

        impl Stats {
            /// Names of the scalar fields, in the order of [`Stats::values`].
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name),)*];

            /// Values of the scalar fields, in the order of [`Stats::NAMES`].
            pub fn values(&self) -> [u64; Self::NAMES.len()] {
                [$(self.$name,)*]
            }
        }
    };
}

counters! {
    /// Frames received.
    frames_in,
    /// Bytes received.
    bytes_in,
    /// Frames sent, forwarded ones included.
    frames_out,
    /// Bytes sent.
    bytes_out,
    /// Frames forwarded untouched.
    forwarded,
    /// Frames that are not TCP to the engine's eyes.
    not_tcp,
    /// TCP frames whose header could not be parsed.
    malformed,
    /// TCP frames of flows that are not optimized.
    not_optimized,
    /// TCP payload bytes of flows that are not optimized.
    not_optimized_bytes,
    /// SYN segments seen.
    syns,
    /// Flows that began to be optimized.
    optimized,
    /// Flows closed by both ends while optimized.
    closed,
    /// Flows handed back to their endpoints.
    handed_back,
    /// Flows reset by the engine, both ways.
    resets,
    /// Resets sent by the engine (packets).
    rst_out,
    /// Half-open handshakes forgotten because the table was full.
    half_open_evicted,
    /// Frames of optimized flows whose TCP checksum was wrong; passed on untouched or dropped, never acknowledged.
    bad_checksum,
    /// Payload bytes accepted from senders under custody (acknowledged by the engine or to be).
    accepted_bytes,
    /// Payload bytes acknowledged by receivers.
    delivered_bytes,
    /// Segments of an endpoint dropped because it had sent the same bytes before.
    duplicate_segments,
    /// Segments that carried other content for bytes already held.
    overlaps,
    /// Segments kept out of order.
    out_of_order,
    /// Segments dropped because they failed the timestamp test (PAWS).
    paws_dropped,
    /// Segments dropped because they lay outside the window.
    unacceptable,
    /// Segments dropped because no frame could be held.
    no_frame,
    /// Pure ACKs consumed.
    acks_consumed,
    /// Pure ACKs made by the engine.
    acks_made,
    /// Data segments sent for the first time.
    sent,
    /// Payload bytes sent for the first time.
    sent_bytes,
    /// Data segments sent again because they were found lost.
    retransmitted,
    /// Payload bytes sent again.
    retransmitted_bytes,
    /// Probes (tail, zero length, zero window).
    probes,
    /// Congestion windows cut.
    cuts,
    /// Cuts undone because the loss was not one.
    undone,
    /// Challenge ACKs sent (RFC 5961).
    challenges,
    /// Segments cut because the path's MTU shrank.
    resegmented,
    /// ICMP errors that quoted a flow of ours.
    icmp,
    /// Datagrams that waited for their subscriber's rate.
    datagrams_waited,
    /// Datagrams dropped because what waited for that rate filled its queue.
    datagrams_dropped,
    /// Events dropped because nobody read them.
    events_lost,
    /// Times the copper wire opened behind the engine's back.
    wire_opened,
    /// Gauge: flows resident.
    flows,
    /// Gauge: flows with active state.
    active,
    /// Gauge: half-open handshakes remembered.
    half_open,
    /// Gauge: flows draining.
    draining,
    /// Gauge: subscribers known.
    subscribers,
    /// Gauge: segments held.
    segments,
    /// Gauge: payload bytes acknowledged to their sender and not yet by their receiver.
    custody_bytes,
    /// Gauge: bytes of window promised beyond what is held.
    promised_bytes,
}
