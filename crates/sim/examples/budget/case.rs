//! What is run: links, flows, and everything that may compete.

use smartwire_sim::link::LinkSpec;

use crate::phone::Clock;

pub const MS: u64 = 1_000_000;
pub const SEC: u64 = 1_000 * MS;
pub const MSS: u32 = 1448;
pub const HEADERS: u32 = 52;
/// Interval of the echo probes, ns.
pub const ECHO_EVERY: u64 = 20 * MS;

/// Who limits a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    /// The subscriber's budget; the sender stands at the wire.
    Smart,
    /// Nothing but CUBIC and losses; the sender stands at the server.
    Cubic,
    /// BBR at the server, or at the wire where `proxy`.
    Bbr { proxy: bool },
}

#[derive(Clone, Copy, Debug)]
pub struct FlowSpec {
    pub who: Who,
    pub up: bool,
    pub start: u64,
    pub stop: u64,
    /// Bytes to transfer; `u64::MAX`: endless.
    pub size: u64,
}

impl FlowSpec {
    pub fn bulk(who: Who) -> FlowSpec {
        FlowSpec { who, up: false, start: 0, stop: u64::MAX, size: u64::MAX }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Udp {
    pub mbps: f64,
    pub from: u64,
    pub to: u64,
}

#[derive(Clone, Debug)]
pub struct Case {
    pub down: LinkSpec,
    pub up: LinkSpec,
    pub seed: u64,
    /// Round trip between wire and server, ns.
    pub inet: u64,
    /// The phone may send at multiples of this only (uplink grants), ns; 0: at any time.
    pub grant: u64,
    pub length: u64,
    pub flows: Vec<FlowSpec>,
    pub udp: Option<Udp>,
    pub clock: Clock,
    /// The engine is told of traffic that passes beside it, this often, ns; 0: never.
    pub foreign_every: u64,
    /// From when on the way to the phone is longer, and by how much, ns.
    pub longer: Option<(u64, u64)>,
    /// CUBIC leaves slow start when the round trip grows, as Linux' does.
    pub hystart: bool,
    pub echo: bool,
    pub trace: bool,
}

impl Case {
    pub fn new(down: LinkSpec, up: LinkSpec) -> Case {
        Case {
            down,
            up,
            seed: 1,
            inet: 30 * MS,
            grant: 0,
            length: 40 * SEC,
            flows: Vec::new(),
            udp: None,
            clock: Clock { hz: 1000, offset: 77, skew_ppm: 20 },
            foreign_every: 100 * MS,
            longer: None,
            hystart: true,
            echo: true,
            trace: false,
        }
    }
}
