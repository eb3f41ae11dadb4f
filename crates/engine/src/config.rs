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
    /// A subscriber is what is in one outer VLAN, whatever its addresses; without a tag it is an address as ever.
    pub subscriber_by_vlan: bool,
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
            stream_bytes: 16 << 20,
            subscriber_v6_prefix: 64,
            subscriber_by_vlan: false,
            observe: false,
            queue_target_ns: 50_000_000,
            burst_bytes_per_ms: 20_000,
            idle_ns: 120_000_000_000,
            delivery_limit_ns: 300_000_000_000,
            mtu: 1500,
        }
    }
}

/// A configuration that can't work, in one sentence that says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Refuses what can't work.
    ///
    /// # Errors
    /// The first setting that is out of range, with the range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let range = |name: &str, value: u64, low: u64, high: u64| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError(format!("{name} is {value}; set it between {low} and {high}.")))
            }
        };
        range("max_flows", self.max_flows.into(), 1, 1 << 28)?;
        range("max_active", self.max_active.into(), 1, self.max_flows.into())?;
        range("max_half_open", self.max_half_open.into(), 1, 1 << 28)?;
        range("max_subscribers", self.max_subscribers.into(), 1, 1 << 28)?;
        range("max_segments", self.max_segments.into(), 16, 1 << 28)?;
        // Buffers stay below 2^30 so that offsets near a reference can be told apart (RFC 7323 section 2.3).
        range("stream_bytes", self.stream_bytes.into(), 16 << 10, 1 << 29)?;
        range("subscriber_v6_prefix", self.subscriber_v6_prefix.into(), 32, 128)?;
        range("mtu", self.mtu.into(), 576, 9216)?;
        range("queue_target_ns", self.queue_target_ns, 1_000_000, 10_000_000_000)
    }
}
