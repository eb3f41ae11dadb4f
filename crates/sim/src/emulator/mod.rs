//! The lab's link emulator: two interfaces, a link in each direction, a queue per subscriber. Its core is sans-IO and
//! runs the same [`Link`] as virtual time; [`run`] (feature `realtime`) drives it over packet sockets.

pub mod record;
#[cfg(feature = "realtime")]
pub mod run;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::crossings::Crossings;
use crate::link::{Class, Fate, Link, LinkPlan, LinkSpec, Sample};
use crate::rng::mix;
use record::Record;

/// What the emulator joins and how. Down is from the `core` interface to the `access` one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmulatorSpec {
    /// Towards the phones.
    pub down: LinkSpec,
    /// From the phones.
    pub up: LinkSpec,
    /// One queue and one rate for all, as a link in the internet has; otherwise each subscriber has its own.
    pub shared: bool,
    /// Addresses of one subscriber each, for phones with several (IPv4 and IPv6): a queue for each group.
    pub groups: Vec<Vec<IpAddr>>,
    /// Seed of everything random, beside the seeds of the links.
    pub seed: u64,
    /// Where the log goes ([`record`] has its format); absent: no log.
    pub log: Option<PathBuf>,
}

impl EmulatorSpec {
    /// Reads a description; the error is one sentence.
    pub fn from_json(text: &str) -> Result<EmulatorSpec, String> {
        serde_json::from_str(text).map_err(|e| format!("the emulator description is not valid: {e}"))
    }
}

/// Orders to a running emulator, as JSON objects with one key.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Control {
    /// Serve nothing for `ms` from now, in the directions named.
    Freeze {
        /// How long.
        ms: f64,
        /// Towards the phones.
        #[serde(default)]
        down: bool,
        /// From the phones.
        #[serde(default)]
        up: bool,
    },
    /// End all faults (loss, freezes, damage); rate, queue and delay stay.
    Heal {},
    /// Start all links anew, at time 0 of their traces and schedules. What is queued is lost.
    Restart {},
}

/// Towards the phones or from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the core interface to the access interface.
    Down = 0,
    /// From the access interface to the core interface.
    Up = 1,
}

#[derive(Debug)]
struct Subscriber {
    links: [Link<Vec<u8>>; 2],
    next: [Option<u64>; 2],
}

/// The sans-IO core: frames and instants in, frames out. Times are ns of any monotonic clock.
#[derive(Debug)]
pub struct Emulator {
    plans: [LinkPlan; 2],
    spec: EmulatorSpec,
    origin_ns: u64,
    subscribers: Vec<Subscriber>,
    by_address: HashMap<Ipv6Addr, usize>,
    crossings: [Crossings; 2],
    records: Vec<Record>,
}

fn mapped(addr: IpAddr) -> Ipv6Addr {
    match addr {
        IpAddr::V4(a) => a.to_ipv6_mapped(),
        IpAddr::V6(a) => codec::subscriber(a),
    }
}

impl Emulator {
    /// Checks the description, reads its traces, and starts the clock at `now`.
    pub fn new(spec: &EmulatorSpec, now: u64) -> Result<Emulator, String> {
        let plan = |link: &LinkSpec, name: &str| LinkPlan::new(link).map_err(|e| format!("{name}: {e}"));
        Ok(Emulator {
            plans: [plan(&spec.down, "down")?, plan(&spec.up, "up")?],
            spec: spec.clone(),
            origin_ns: now,
            subscribers: Vec::new(),
            by_address: HashMap::new(),
            crossings: Default::default(),
            records: Vec::new(),
        })
    }

    fn subscriber(&mut self, addr: Ipv6Addr) -> usize {
        let mut addr = if self.spec.shared { Ipv6Addr::UNSPECIFIED } else { codec::subscriber(addr) };
        if let Some(&index) = self.by_address.get(&addr) {
            return index;
        }
        let alias = addr;
        if let Some(group) = self.spec.groups.iter().find(|g| g.iter().any(|a| mapped(*a) == addr)) {
            addr = mapped(group[0]);
        }
        if let Some(&index) = self.by_address.get(&addr) {
            self.by_address.insert(alias, index);
            return index;
        }
        let index = self.subscribers.len();
        let bits = u128::from(addr);
        // The same phone has the same radio in every run, whenever its first packet comes.
        let seed = self.spec.seed ^ mix(bits as u64 ^ mix((bits >> 64) as u64));
        let links = [0, 1].map(|d| {
            let mut link = Link::new(&self.plans[d], seed);
            if self.spec.log.is_some() {
                link.record();
            }
            link
        });
        self.subscribers.push(Subscriber { links, next: [None; 2] });
        self.by_address.insert(addr, index);
        self.by_address.insert(alias, index);
        index
    }

    /// A frame comes in at `now`. What is not IP (ARP, LLDP) is handed straight to `out`.
    pub fn on_frame(&mut self, now: u64, direction: Direction, frame: &[u8], out: &mut dyn FnMut(Direction, &[u8])) {
        let Some(ip) = codec::ip(frame) else { return out(direction, frame) };
        let (phone, far) = match direction {
            Direction::Down => (ip.dst, ip.src),
            Direction::Up => (ip.src, ip.dst),
        };
        let bytes = ip.bytes;
        let class = classify(frame, &ip, phone, far);
        let index = self.subscriber(phone);
        let at = now.saturating_sub(self.origin_ns);
        let subscriber = &mut self.subscribers[index];
        let d = direction as usize;
        let link = &mut subscriber.links[d];
        link.enqueue(at, frame.to_vec(), bytes, class);
        subscriber.next[d] = link.next_event();
        self.take_records(index, d);
    }

    /// When [`Emulator::pop_due`] has something to do next.
    pub fn next_event(&self) -> Option<u64> {
        self.subscribers.iter().flat_map(|s| s.next).flatten().min().map(|at| at + self.origin_ns)
    }

    /// Hands every frame that is due by `now` to `out`, per link in order.
    pub fn pop_due(&mut self, now: u64, out: &mut dyn FnMut(Direction, &[u8])) {
        let at = now.saturating_sub(self.origin_ns);
        for index in 0..self.subscribers.len() {
            for (d, direction) in [Direction::Down, Direction::Up].into_iter().enumerate() {
                let subscriber = &mut self.subscribers[index];
                if subscriber.next[d].is_none_or(|next| next > at) {
                    continue;
                }
                let link = &mut subscriber.links[d];
                while let Some((_, frame)) = link.pop_due(at) {
                    out(direction, &frame);
                }
                subscriber.next[d] = link.next_event();
                self.take_records(index, d);
            }
        }
    }

    /// Carries out an order.
    pub fn control(&mut self, now: u64, order: Control) {
        if order == (Control::Restart {}) {
            self.origin_ns = now;
            self.subscribers.clear();
            self.by_address.clear();
            return;
        }
        let at = now.saturating_sub(self.origin_ns);
        for subscriber in &mut self.subscribers {
            for (d, link) in subscriber.links.iter_mut().enumerate() {
                match order {
                    Control::Freeze { ms, down, up } if [down, up][d] => link.freeze(at, (ms * 1e6) as u64),
                    Control::Heal {} => link.heal(at),
                    _ => {}
                }
                subscriber.next[d] = link.next_event();
            }
        }
    }

    fn take_records(&mut self, index: usize, d: usize) {
        let origin = self.origin_ns;
        for s in self.subscribers[index].links[d].take_samples() {
            let again = crossed_again(&mut self.crossings[d], &s);
            self.records.push(Record::new(&s, origin, index as u32, d as u8, again));
        }
    }

    /// Hands out the log's records since the last call.
    pub fn drain_records(&mut self) -> impl Iterator<Item = Record> + '_ {
        self.records.drain(..)
    }

    /// Packets that met each fate so far, down and up, in the order of [`Fate::ALL`].
    pub fn fates(&self) -> [[u64; 7]; 2] {
        let mut out = [[0; 7]; 2];
        for subscriber in &self.subscribers {
            for (sums, link) in out.iter_mut().zip(&subscriber.links) {
                for (sum, fate) in sums.iter_mut().zip(Fate::ALL) {
                    *sum += link.totals().packets(fate);
                }
            }
        }
        out
    }
}

/// Payload bytes of a crossing that crossed before; only TCP has any.
fn crossed_again(crossings: &mut Crossings, s: &Sample) -> u32 {
    const SYN_TAG: u64 = 1 << 32;
    const TCP_TAG: u64 = 1 << 33;
    if s.fate != Fate::Crossed || s.class.tag & TCP_TAG == 0 {
        return 0;
    }
    crossings.crossed(s.class.flow, s.class.tag as u32, s.class.payload, s.class.tag & SYN_TAG != 0)
}

/// A frame's class: flow by addresses and ports (the same for both directions), TCP payload, sequence number as tag.
pub fn classify(frame: &[u8], ip: &codec::Ip<'_>, phone: Ipv6Addr, far: Ipv6Addr) -> Class {
    let hash = |a: Ipv6Addr| {
        let b = u128::from(a);
        mix(b as u64 ^ mix((b >> 64) as u64))
    };
    let b = ip.l4;
    let ports = match ip.proto {
        codec::TCP | codec::UDP if b.len() >= 4 => {
            let (s, d) = (u16::from_be_bytes([b[0], b[1]]), u16::from_be_bytes([b[2], b[3]]));
            let (phone_port, far_port) = if ip.src == phone { (s, d) } else { (d, s) };
            u64::from(phone_port) << 16 | u64::from(far_port)
        }
        _ => 0,
    };
    let flow = mix(hash(phone) ^ hash(far).rotate_left(1) ^ ports ^ u64::from(ip.proto) << 40);
    if ip.proto == codec::TCP {
        if let Some(t) = codec::tcp(frame, false) {
            let syn = u64::from(t.seg.has(codec::SYN)) << 32;
            return Class { flow, payload: t.payload.len() as u32, tag: 1 << 33 | syn | u64::from(t.seg.seq) };
        }
    }
    Class { flow, payload: (ip.l4.len() as u32).saturating_sub(8), tag: 0 }
}

#[cfg(test)]
mod tests;
