//! What a world is made of. All of it can be written down as JSON and read again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smartwire_engine::policy::Description;
use smartwire_engine::{Config, Side};

use crate::endpoint::{Step, TcpConfig};
use crate::link::LinkSpec;
use crate::settings;
use crate::tunnel::Tunnel;

/// Phones, a wire, the internet, servers, and the connections between them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorldSpec {
    /// Seed of everything random; each link and each endpoint draws from a stream of its own.
    pub seed: u64,
    /// The radio of each phone: down and up.
    pub phones: Vec<(LinkSpec, LinkSpec)>,
    /// The internet, shared by all: towards the wire and from it.
    pub internet: (LinkSpec, LinkSpec),
    /// What stands between radio and internet.
    pub wire: WireSpec,
    /// Connections, in any order.
    pub flows: Vec<FlowSpec>,
    /// An open-loop UDP echo from the first phone every so many ns.
    pub probe_every_ns: Option<u64>,
    /// Links that find a packet too big say so with ICMP.
    pub icmp: bool,
    /// What happens when.
    pub actions: Vec<(u64, Action)>,
}

/// What stands between radio and internet.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WireSpec {
    /// A plain wire.
    #[default]
    Copper,
    /// The engine.
    Engine(Box<EngineSpec>),
}

/// An engine and its frames.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "EngineText", try_from = "EngineText")]
pub struct EngineSpec {
    /// Its configuration.
    pub config: Config,
    /// Frames, and how many of them may be held.
    pub frames: (u32, u32),
    /// Places in the custody book.
    pub book: usize,
    /// Policies; not written down.
    pub policies: Description,
}

impl Default for EngineSpec {
    fn default() -> EngineSpec {
        let config = Config { max_flows: 4096, max_active: 4096, max_half_open: 1 << 14, ..Config::default() };
        let config = Config { max_subscribers: 1024, max_segments: 1 << 16, ..config };
        EngineSpec { config, frames: (1 << 16, 60_000), book: 4096, policies: Description::default() }
    }
}

/// [`EngineSpec`] as it is written down: only the settings that are not the usual ones.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EngineText {
    settings: BTreeMap<String, u64>,
    frames: (u32, u32),
    book: usize,
}

impl From<EngineSpec> for EngineText {
    fn from(spec: EngineSpec) -> EngineText {
        let settings = settings::changed(&spec.config, &EngineSpec::default().config);
        EngineText { settings, frames: spec.frames, book: spec.book }
    }
}

impl TryFrom<EngineText> for EngineSpec {
    type Error = String;

    fn try_from(text: EngineText) -> Result<EngineSpec, String> {
        let mut spec = EngineSpec { frames: text.frames, book: text.book, ..EngineSpec::default() };
        text.settings.iter().try_for_each(|(name, value)| settings::set(&mut spec.config, name, *value))?;
        Ok(spec)
    }
}

/// [`Side`] as it is written down.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Side", rename_all = "snake_case")]
enum SideText {
    Access,
    Core,
}

/// One connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowSpec {
    /// Whose.
    pub phone: usize,
    /// Over IPv6, or IPv4.
    pub v6: bool,
    /// When it opens, ns.
    pub start_ns: u64,
    /// Which end opens it.
    #[serde(with = "SideText")]
    pub opens: Side,
    /// TCP port at the phone, and at the server.
    pub ports: (u16, u16),
    /// What it travels in at the wire.
    #[serde(default)]
    pub tunnel: Tunnel,
    /// The phone's end.
    pub phone_tcp: TcpConfig,
    /// The server's end.
    pub server_tcp: TcpConfig,
    /// The phone's application.
    pub phone_app: Vec<Step>,
    /// The server's application.
    pub server_app: Vec<Step>,
}

impl FlowSpec {
    /// A connection that does nothing yet, from port `port` of phone 0.
    pub fn new(v6: bool, port: u16) -> FlowSpec {
        let phone_tcp = TcpConfig { isn: 77_000, rcv_buf: 6 << 20, ..TcpConfig::default() };
        let server_tcp = TcpConfig { isn: 4_000_000_000, ts_at_zero: 900_000, ..TcpConfig::default() };
        // Both ends fill a packet of 1,500 bytes.
        let mss = if v6 { 1440 } else { 1460 };
        FlowSpec {
            phone: 0,
            v6,
            start_ns: 0,
            opens: Side::Access,
            ports: (port, 443),
            tunnel: Tunnel::default(),
            phone_tcp: TcpConfig { mss, ..phone_tcp },
            server_tcp: TcpConfig { mss, ..server_tcp },
            phone_app: Vec::new(),
            server_app: Vec::new(),
        }
    }

    /// The phone asks with 200 bytes, the server answers with `bytes`, both close.
    pub fn download(v6: bool, port: u16, bytes: u64) -> FlowSpec {
        FlowSpec {
            phone_app: vec![Step::Send(200), Step::Expect(bytes), Step::Eof, Step::Fin],
            server_app: vec![Step::Expect(200), Step::Send(bytes), Step::Fin],
            ..FlowSpec::new(v6, port)
        }
    }

    /// The phone sends `bytes`, the server confirms with 100 bytes, both close.
    pub fn upload(v6: bool, port: u16, bytes: u64) -> FlowSpec {
        FlowSpec {
            phone_app: vec![Step::Send(bytes), Step::Expect(100), Step::Fin],
            server_app: vec![Step::Expect(bytes), Step::Send(100), Step::Eof, Step::Fin],
            ..FlowSpec::new(v6, port)
        }
    }

    /// The same with both ends changed.
    pub fn both(mut self, change: impl Fn(&mut TcpConfig)) -> FlowSpec {
        change(&mut self.phone_tcp);
        change(&mut self.server_tcp);
        self
    }
}

/// Which link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkId {
    /// The internet towards the wire.
    InternetDown,
    /// The internet from the wire.
    InternetUp,
    /// The radio of a phone, towards it.
    RadioDown(usize),
    /// The radio of a phone, from it.
    RadioUp(usize),
}

impl LinkId {
    pub(super) fn index(self) -> usize {
        match self {
            LinkId::InternetDown => 0,
            LinkId::InternetUp => 1,
            LinkId::RadioDown(k) => 2 + 2 * k,
            LinkId::RadioUp(k) => 3 + 2 * k,
        }
    }
}

/// Something that happens at a given instant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// An order to the engine, about whom, and how many ns it has to carry it out.
    Order(Order, Whose, u64),
    /// Other policies are put in force. Random worlds have none, so they are not written down.
    #[serde(skip)]
    Policies(Description),
    /// A link serves nothing for so many ns.
    Freeze(LinkId, u64),
    /// All links lose, damage, copy and reorder nothing from now on.
    Heal,
    /// From now on, the engine is replaced by a plain wire at the instant that it says it is drained.
    RemoveWhenDrained,
    /// A frame from nowhere comes in at a side of the wire.
    Inject(#[serde(with = "SideText")] Side, Vec<u8>),
    /// Somebody in the path of a side sends a packet of his own into the wire.
    Forge(#[serde(with = "SideText")] Side, Forgery),
    /// A link takes no packet above this size any more.
    Mtu(LinkId, u32),
    /// Packets of one direction (towards this side) pass beside the wire for so many ns.
    Detour(#[serde(with = "SideText")] Side, u64),
    /// Somebody else takes frames until this share of them is free, percent.
    Memory(u32),
    /// The engine does not run for so many ns: the copper wire opens, and holds back what belongs to flows in the custody
    /// book.
    Sleep(u64),
}

/// What the engine is ordered to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// To hand back what it has.
    Drain,
    /// That, and to leave new connections alone.
    Bypass,
    /// To optimize new connections again.
    Resume,
}

/// What an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Whose {
    /// All connections.
    Wire,
    /// Those of the subscriber that this one is of.
    Subscriber(usize),
    /// This connection.
    Flow(usize),
}

/// A forged packet. But for the blind one it is the last segment that came in from that side, changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forgery {
    /// Of somebody who knows addresses and ports of a connection and no more.
    Blind {
        /// Which connection.
        flow: usize,
        /// Flags.
        flags: u8,
        /// Sequence number.
        seq: u32,
        /// Acknowledgement number.
        ack: u32,
        /// Payload bytes.
        bytes: u16,
    },
    /// A reset in the window that is not exact (RFC 5961 section 3.2).
    NearReset,
    /// An old duplicate, with other bytes, in place of what comes next (RFC 7323 section 5.1).
    OldDuplicate,
    /// A timestamp from the future, on a segment far below the window.
    FutureStamp,
    /// An ACK so many bytes ahead of the real one: of what was never sent.
    OptimisticAck(u32),
    /// The same ACK so many times.
    DuplicateAcks(u16),
}
