//! Why a flow is not optimized, and why one stopped: codes that an operator can read and count.

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum $name { $(#[doc = $text] $variant = $code,)* }

        impl $name {
            /// Every reason, in the order of its code.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];
            /// The name as it stands in counters and JSON: kebab case.
            pub fn name(self) -> String {
                let mut out = String::new();
                for (i, c) in format!("{self:?}").chars().enumerate() {
                    if c.is_ascii_uppercase() && i > 0 { out.push('-'); }
                    out.push(c.to_ascii_lowercase());
                }
                out
            }
            /// One sentence in operator's words.
            pub fn text(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }
    };
}

reasons! {
    /// Why a flow was never optimized (tcp.md 2.5). It is forwarded untouched.
    RefuseReason {
        MidStream = 0, "Its handshake was not seen, so its window scale is unknown.";
        OneWay = 1, "Only one direction crosses this wire (asymmetric routing).";
        Hairpin = 2, "The same SYN came in on both sides (loopback route).";
        SimultaneousOpen = 3, "Both ends sent a SYN.";
        SynData = 4, "The SYN carried data.";
        FastOpen = 5, "TCP Fast Open was requested.";
        Mptcp = 6, "Multipath TCP was requested.";
        Md5OrAo = 7, "Segments are signed (TCP-MD5 or TCP-AO).";
        AccEcn = 8, "Accurate ECN was requested.";
        UnknownOption = 9, "The handshake carried an unknown TCP option.";
        HandshakeChanged = 10, "A repeated SYN or SYN-ACK differed from the first.";
        HandshakeMismatch = 11, "The third ACK or the SYN-ACK did not match the handshake.";
        Malformed = 12, "The TCP header is not TCP.";
        Fragment = 13, "The flow uses IP fragments.";
        IpOptions = 14, "The flow uses IP options or unknown extension headers.";
        TableFull = 15, "The flow table is full.";
        LowMemory = 16, "Too few free frames to take custody.";
        CustodyBookFull = 17, "No free place in the custody book for this flow.";
        Bypassed = 18, "An operator bypassed the wire, the subscriber or the flow.";
        Observing = 19, "The wire runs in observe mode.";
        Encapsulation = 20, "The encapsulation is not one that the engine can rebuild.";
        WrongMss = 21, "The advertised segment size is absurd (below 64 bytes).";
        Policy = 22, "A policy leaves it to the proxy engine, or to none.";
    }
}

reasons! {
    /// What is wrong with a neighbour of an optimized flow.
    Finding {
        SmallInitialWindow = 0, "A sender began with two segments: let it begin with ten (RFC 6928).";
        NoWindowScaling = 1, "Window scaling is off at one end, so no more than 64 kB can be under way: turn it on (RFC 7323).";
        SegmentsTooLarge = 2, "Full segments do not pass the path: clamp the MSS to what does.";
        MssReversed = 3, "The MSS is clamped the wrong way round: full segments do not pass in one direction, and the limit is on the other.";
        RepeatsInBulk = 4, "A sender repeated ten segments or more at once: let it repeat one per timeout (RFC 6298). They went no further.";
    }
}

reasons! {
    /// Why an optimized flow stopped being optimized.
    StopReason {
        Operator = 0, "An operator drained or bypassed it.";
        Idle = 1, "It was idle for longer than the idle timeout.";
        LowMemory = 2, "Frames ran low.";
        Overlap = 3, "A retransmission carried different data for the same bytes.";
        Urgent = 4, "It carried urgent data.";
        Fragment = 5, "It began to use IP fragments.";
        UnseenAck = 6, "An ACK covered bytes that never crossed this wire (path change).";
        UnknownOption = 7, "A segment carried an unknown TCP option.";
        SynInFlow = 8, "A new SYN reused the ports.";
        DrainLimit = 9, "Custody could not be delivered before the drain limit.";
        DeliveryLimit = 10, "The receiver acknowledged nothing for longer than the delivery limit.";
        PeerReset = 11, "An endpoint reset the connection.";
        WireOpened = 12, "The copper wire opened while the engine was not looking.";
    }
}
