//! The engine's limits and choices. Every limit has a gauge and a defined behaviour when reached: optimize less.

/// Configuration; fixed for the life of an engine.
#[derive(Clone, Debug)]
pub struct Config {
    /// Flows that may be resident (half-open records apart).
    pub max_flows: u32,
    /// Flows that may hold state beyond an idle record at once (data in custody, in flight, out of order).
    pub max_active: u32,
    /// Half-open handshakes remembered; beyond it random ones are forgotten, which only leaves them unoptimized.
    pub max_half_open: u32,
    /// Subscribers known at once.
    pub max_subscribers: u32,
    /// Segments held over all flows; each costs a frame of the driver's.
    pub max_segments: u32,
    /// Bytes of frame memory that one stream may hold (counted as buffers, not as payload).
    pub stream_bytes: u32,
    /// IPv6 prefix length of a subscriber, 32 to 128.
    pub subscriber_v6_prefix: u8,
    /// Watch only: follow handshakes and count, never touch a packet.
    pub observe: bool,
    /// Target of queueing delay at the radio, ns.
    pub queue_target_ns: u64,
    /// Most bytes that one flow may send in a millisecond, beside 1.25 times its delivery rate.
    pub burst_bytes_per_ms: u32,
    /// An optimized flow with nothing outstanding is handed back after this, ns.
    pub idle_ns: u64,
    /// Custody that makes no progress for this long is given up with a reset both ways, ns.
    pub delivery_limit_ns: u64,
    /// MTU assumed for packets of the engine's own and for segments that must be cut.
    pub mtu: u16,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_flows: 1 << 20,
            max_active: 1 << 16,
            max_half_open: 1 << 16,
            max_subscribers: 1 << 18,
            max_segments: 1 << 17,
            stream_bytes: 4 << 20,
            subscriber_v6_prefix: 64,
            observe: false,
            queue_target_ns: 50_000_000,
            burst_bytes_per_ms: 20_000,
            idle_ns: 120_000_000_000,
            delivery_limit_ns: 300_000_000_000,
            mtu: 1500,
        }
    }
}
