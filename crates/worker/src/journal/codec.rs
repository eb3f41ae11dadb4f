//! How calls and the header stand in a journal.

use std::net::Ipv6Addr;

use smartwire_engine::api::{Command, Target};
use smartwire_engine::policy::Policies;
use smartwire_engine::{Config, Csum, FlowKey, FrameId, Io, Now, Port, Rx, SubscriberKey};

/// One call of an engine.
#[derive(Debug)]
pub(crate) enum Call<'a> {
    /// `on_rx`.
    Rx(&'a [Rx]),
    /// `on_time`.
    Time,
    /// `command`.
    Command(Command),
    /// `foreign_traffic`.
    Foreign(SubscriberKey, u64, u64),
    /// `wire_opened`.
    Opened(bool),
    /// `set_policies`, as they were written down.
    Policies(&'a str, &'a mut Policies),
}

/// A call read back; the frames of an `Rx` call stand in it one after the other.
pub(super) enum ReadCall {
    Rx(Vec<(Rx, Vec<u8>)>),
    Time,
    Command(Command),
    Foreign(SubscriberKey, u64, u64),
    Opened(bool),
    Policies(String),
}

const RX: u8 = 0;
const TIME: u8 = 1;
const DRAIN: u8 = 2;
const BYPASS: u8 = 3;
const RESUME: u8 = 4;
const FOREIGN: u8 = 5;
const OPENED: u8 = 6;
const POLICIES: u8 = 7;

pub(super) fn write_call<I: Io>(out: &mut Vec<u8>, now: Now, call: &Call<'_>, io: &I) {
    let kind = match call {
        Call::Rx(_) => RX,
        Call::Time => TIME,
        Call::Command(Command::Drain { .. }) => DRAIN,
        Call::Command(Command::Bypass { .. }) => BYPASS,
        Call::Command(Command::Resume { .. }) => RESUME,
        Call::Foreign(..) => FOREIGN,
        Call::Opened(_) => OPENED,
        Call::Policies(..) => POLICIES,
    };
    out.push(kind);
    out.extend_from_slice(&now.0.to_le_bytes());
    match call {
        Call::Rx(frames) => write_frames(out, frames, io),
        Call::Time => {}
        Call::Opened(late) => out.push(u8::from(*late)),
        Call::Policies(text, _) => {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        Call::Command(Command::Drain { target, deadline } | Command::Bypass { target, deadline }) => {
            out.extend_from_slice(&deadline.0.to_le_bytes());
            write_target(out, target);
        }
        Call::Command(Command::Resume { target }) => write_target(out, target),
        Call::Foreign(who, down, up) => {
            write_subscriber(out, who);
            out.extend_from_slice(&down.to_le_bytes());
            out.extend_from_slice(&up.to_le_bytes());
        }
    }
}

fn write_frames<I: Io>(out: &mut Vec<u8>, frames: &[Rx], io: &I) {
    out.extend_from_slice(&(frames.len() as u16).to_le_bytes());
    for rx in frames {
        out.extend_from_slice(&[rx.port.0, u8::from(rx.csum == Csum::Verified)]);
        out.extend_from_slice(&rx.off.to_le_bytes());
        out.extend_from_slice(&rx.len.to_le_bytes());
        let from = usize::from(rx.off);
        out.extend_from_slice(&io.bytes(rx.frame)[from..from + usize::from(rx.len)]);
    }
}

fn write_target(out: &mut Vec<u8>, target: &Target) {
    match target {
        Target::Wire => out.push(0),
        Target::Subscriber(who) => {
            out.push(1);
            write_subscriber(out, who);
        }
        Target::Flow(key) => {
            out.push(2);
            out.extend_from_slice(&key.access_addr.octets());
            out.extend_from_slice(&key.core_addr.octets());
            out.extend_from_slice(&key.access_port.to_le_bytes());
            out.extend_from_slice(&key.core_port.to_le_bytes());
            out.extend_from_slice(&key.scope.to_le_bytes());
        }
    }
}

fn write_subscriber(out: &mut Vec<u8>, who: &SubscriberKey) {
    out.extend_from_slice(&who.addr.octets());
    out.extend_from_slice(&who.scope.to_le_bytes());
}

/// Reads on from a position; `None` at the end, or where the file was cut off.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0 }
    }

    /// Bytes read.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(taken)
    }
    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|b| b[0])
    }
    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|b| u16::from_le_bytes([b[0], b[1]]))
    }
    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }
    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }
    fn addr(&mut self) -> Option<Ipv6Addr> {
        let octets: [u8; 16] = self.take(16)?.try_into().ok()?;
        Some(octets.into())
    }
    fn subscriber(&mut self) -> Option<SubscriberKey> {
        Some(SubscriberKey { addr: self.addr()?, scope: self.u64()? })
    }

    fn target(&mut self) -> Option<Target> {
        match self.u8()? {
            0 => Some(Target::Wire),
            1 => Some(Target::Subscriber(self.subscriber()?)),
            2 => Some(Target::Flow(FlowKey {
                access_addr: self.addr()?,
                core_addr: self.addr()?,
                access_port: self.u16()?,
                core_port: self.u16()?,
                scope: self.u64()?,
            })),
            _ => None,
        }
    }

    pub(super) fn call(&mut self) -> Option<(Now, ReadCall)> {
        let kind = self.u8()?;
        let now = Now(self.u64()?);
        let call = match kind {
            RX => ReadCall::Rx(self.frames()?),
            TIME => ReadCall::Time,
            DRAIN => {
                let deadline = Now(self.u64()?);
                ReadCall::Command(Command::Drain { target: self.target()?, deadline })
            }
            BYPASS => {
                let deadline = Now(self.u64()?);
                ReadCall::Command(Command::Bypass { target: self.target()?, deadline })
            }
            RESUME => ReadCall::Command(Command::Resume { target: self.target()? }),
            FOREIGN => ReadCall::Foreign(self.subscriber()?, self.u64()?, self.u64()?),
            OPENED => ReadCall::Opened(self.u8()? != 0),
            POLICIES => {
                let length = self.u32()? as usize;
                ReadCall::Policies(String::from_utf8(self.take(length)?.to_vec()).ok()?)
            }
            _ => return None,
        };
        Some((now, call))
    }

    fn frames(&mut self) -> Option<Vec<(Rx, Vec<u8>)>> {
        (0..self.u16()?)
            .map(|_| {
                let (port, verified) = (Port(self.u8()?), self.u8()? != 0);
                let (off, len) = (self.u16()?, self.u16()?);
                let csum = if verified { Csum::Verified } else { Csum::Unverified };
                let rx = Rx { frame: FrameId(u32::MAX), off, len, port, csum };
                Some((rx, self.take(usize::from(len))?.to_vec()))
            })
            .collect()
    }
}

/// What a replay must know before the first record.
pub(super) struct Header {
    pub config: Config,
    pub seed: u64,
    pub chunk: usize,
    pub keepable: u32,
}

macro_rules! settings {
    ($($name:ident),*) => {
        fn config_lines(config: &Config) -> String {
            let mut lines = String::new();
            $(lines += &format!("{} {}\n", stringify!($name), config.$name);)*
            lines
        }
        fn set(config: &mut Config, key: &str, value: &str) {
            match key {
                $(stringify!($name) => if let Ok(v) = value.parse() { config.$name = v },)*
                _ => {}
            }
        }
    };
}
settings!(
    max_flows,
    max_active,
    max_half_open,
    max_subscribers,
    max_segments,
    stream_bytes,
    subscriber_v6_prefix,
    subscriber_by_vlan,
    observe,
    queue_target_ns,
    burst_bytes_per_ms,
    idle_ns,
    delivery_limit_ns,
    mtu
);

pub(super) fn header(config: &Config, seed: u64, chunk: usize, keepable: u32) -> String {
    format!(
        "version {}\nseed {seed}\nchunk {chunk}\nkeepable {keepable}\n{}config {config:?}\n",
        env!("CARGO_PKG_VERSION"),
        config_lines(config)
    )
}

/// Reads a header; the error says why this build can't replay it.
pub(super) fn read_header(text: &str) -> Result<Header, String> {
    let mut h = Header { config: Config::default(), seed: 0, chunk: 2048, keepable: 0 };
    let mut config = "";
    for (key, value) in text.lines().filter_map(|l| l.split_once(' ')) {
        match key {
            "seed" => h.seed = value.parse().unwrap_or(0),
            "chunk" => h.chunk = value.parse().unwrap_or(0),
            "keepable" => h.keepable = value.parse().unwrap_or(0),
            "config" => config = value,
            _ => set(&mut h.config, key, value),
        }
    }
    if format!("{:?}", h.config) != config {
        return Err("it was recorded by another version of Smartwire, whose settings this one does not know".into());
    }
    Ok(h)
}
