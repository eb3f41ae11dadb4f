//! What a script says, read and not yet run.

use smartwire_engine::policy::Description;
use smartwire_engine::{RefuseReason, StopReason};

/// An endpoint of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// Who sends the SYN.
    Client = 0,
    /// Who answers it.
    Server = 1,
}

impl End {
    /// The other one.
    pub fn other(self) -> End {
        match self {
            End::Client => End::Server,
            End::Server => End::Client,
        }
    }
}

/// An endpoint of one of the script's connections, which count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Who {
    pub end: End,
    pub conn: usize,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.end == End::Client { "client" } else { "server" })?;
        if self.conn > 1 {
            write!(f, "/{}", self.conn)?;
        }
        Ok(())
    }
}

/// A time that must be met exactly, or one that the specification leaves free within limits; ns since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub from: u64,
    pub to: u64,
}

/// A number as it must be, or limits that the specification gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: i64,
    pub to: i64,
}

impl Range {
    pub fn holds(self, n: i64) -> bool {
        (self.from..=self.to).contains(&n)
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.from, self.to) {
            (a, b) if a == b => write!(f, "{a}"),
            (a, i64::MAX) => write!(f, "{a}.."),
            (a, b) => write!(f, "{a}..{b}"),
        }
    }
}

/// One TCP option as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opt {
    Nop,
    Eol,
    Mss(u16),
    SackOk,
    Wscale(u8),
    /// Relative to the endpoint's clock at the script's start; `None`: whatever the endpoint's clock says.
    Ts(Option<(i64, i64)>),
    /// This segment goes without timestamps though the connection has them.
    NoTs,
    Sack(Vec<(i64, i64)>),
    /// Kind, and the bytes behind the length.
    Raw(u8, Vec<u8>),
}

/// What is written in brackets: everything about a packet that is not TCP's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// The IP header's ECN bits.
    pub ecn: Option<u8>,
    /// Expected: byte for byte a frame that the other end sent.
    pub raw: bool,
    pub bad_checksum: bool,
    pub other_bytes: bool,
    /// An IP fragment: offset in bytes, whether more follow.
    pub fragment: Option<(u16, bool)>,
    pub ip_options: bool,
    pub ttl: Option<u8>,
    pub dscp: Option<u8>,
    pub label: Option<u32>,
    /// Last byte of another MAC address.
    pub mac: Option<u8>,
    /// The pair of ports, 0 by default.
    pub pair: Option<u8>,
    /// It comes in on the other endpoint's side.
    pub wrong_side: bool,
    /// A TCP header length, in words, that is a lie.
    pub header_words: Option<u8>,
    /// An ICMP error quotes this segment of the other end's: sequence number, length.
    pub quote: Option<(i64, u32)>,
}

/// A TCP segment, numbers relative to the initial sequence numbers: the SYN is 0, the first byte 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Bits of the flags byte; 0x100 is AE.
    pub flags: u16,
    pub seq: i64,
    pub len: u32,
    pub ack: Option<i64>,
    /// The window field.
    pub win: Option<Range>,
    /// The window's right edge.
    pub right: Option<Range>,
    pub urg: Option<u16>,
    pub opts: Vec<Opt>,
    /// `<...>`: any options.
    pub any_opts: bool,
}

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    Tcp(Segment),
    /// "Too big", with this MTU.
    TooBig(u32),
    /// Another ICMP error: host unreachable.
    Unreachable,
    /// A datagram with so many bytes.
    Udp(u32),
}

/// A packet with its marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub marks: Marks,
    pub body: Body,
}

/// What an operator orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Drain,
    Bypass,
    Resume,
}

/// What an order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Wire,
    Subscriber(usize),
    Flow(usize),
}

/// What the engine says of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Optimizing,
    Refused(RefuseReason),
    Draining(StopReason),
    HandedBack(StopReason),
    Reset(StopReason),
    Closed,
}

/// One thing that happens, or is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `joined`: in the same batch as the line before.
    Send { from: Who, packet: Packet, joined: bool },
    Expect { to: Who, packet: Packet },
    /// So many packets that bring nothing new: probes, at times and of kinds that are the engine's to choose.
    Probes { to: Who, count: Range },
    /// So many pure acknowledgements, step by step up to a number: how far each goes is the engine's to choose.
    Acks { to: Who, count: Range, upto: i64 },
    /// Time passes.
    Nothing,
    Order { order: Order, about: About, limit: u64 },
    /// Other policies are put in force.
    Policies(Description),
    /// Share of frames that are free, percent.
    Memory(u32),
    /// A counter's or gauge's name, and what it must be.
    Counter(String, Range),
    Event { conn: usize, said: Said },
    /// Bytes in custody towards an endpoint: acknowledged to the other one and not by it.
    Custody { to: Who, bytes: Range },
}

/// A step with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub line: usize,
    pub at: Span,
    pub what: What,
}

/// A connection beyond the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conn {
    /// Whose it is, from 1.
    pub subscriber: usize,
    /// It uses the ports of this one again.
    pub again: Option<usize>,
}

/// A whole script.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The behaviour, in one sentence: the first comment.
    pub title: String,
    /// The rest of the heading.
    pub heading: Vec<String>,
    /// Identifiers of the rules that it holds (tests/tcp/RULES).
    pub rules: Vec<String>,
    /// Why the engine fails it today.
    pub xfail: Option<String>,
    /// Only this family of addresses.
    pub family: Option<bool>,
    /// Client and server are not swapped.
    pub fixed_roles: bool,
    /// Not through tunnels.
    pub plain: bool,
    /// What comes in makes no sense: the checkers at the taps would mistake it for the engine's doing.
    pub unchecked: bool,
    /// Names and values of the engine's configuration.
    pub config: Vec<(usize, String, u64)>,
    /// Connections beyond the first.
    pub conns: Vec<Conn>,
    /// What happens, and what is to happen, in order.
    pub steps: Vec<Step>,
}
