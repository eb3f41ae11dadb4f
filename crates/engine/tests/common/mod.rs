//! Two scripted endpoints with the engine between them, and a checker of every packet that it lets out.
//!
//! Sequence and acknowledgement numbers in scripts are offsets: the SYN is 0, the first byte of data 1.
#![allow(dead_code)]

pub mod check;
pub mod io;

use std::net::IpAddr;

use check::Checker;
use io::MemIo;
use smartwire_engine::api::EventKind;
use smartwire_engine::{Config, Csum, Engine, Event, Now, Port, Rx, Side};
use smartwire_packet::build::{OptionBytes, Packet};
use smartwire_packet::tcp::{Flags, Tcp};
use smartwire_packet::{csum, parse, Ecn};

pub const MS: u64 = 1_000_000;
pub const MSS: u64 = 1400;
pub const A: Side = Side::Access;
pub const C: Side = Side::Core;
pub const SYN: Flags = Flags::SYN;
pub const ACK: Flags = Flags::ACK;
pub const FIN: Flags = Flags(0x11);
pub const RST: Flags = Flags(0x14);

/// One run of a test: address family, and where sequence numbers and timestamps begin.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub v6: bool,
    pub isn: [u32; 2],
    pub ts: [u32; 2],
}

/// IPv4 and IPv6, each with numbers in the middle of their range and just below its end.
pub const VARIANTS: [Variant; 4] = [
    Variant { v6: false, isn: [0x1000, 0x2000_0000], ts: [5000, 900_000] },
    Variant { v6: true, isn: [0x1000, 0x2000_0000], ts: [5000, 900_000] },
    Variant { v6: false, isn: [u32::MAX - 1500, u32::MAX - 700], ts: [u32::MAX - 20, u32::MAX - 60] },
    Variant { v6: true, isn: [u32::MAX - 1500, u32::MAX - 700], ts: [u32::MAX - 20, u32::MAX - 60] },
];

/// What the two endpoints announce.
#[derive(Clone, Copy, Debug)]
pub struct Opts {
    pub sack: bool,
    pub ts: bool,
    pub shift: Option<u8>,
    pub ecn: bool,
}

pub const PLAIN: Opts = Opts { sack: true, ts: true, shift: Some(7), ecn: false };

/// A packet of an endpoint's, or as seen by one.
#[derive(Clone, Debug)]
pub struct Pkt {
    pub at: Now,
    /// The endpoint that it came from, or (in what the engine let out) the one that it is for.
    pub side: Side,
    pub port: Port,
    pub seq: u64,
    pub ack: u64,
    pub len: u64,
    pub flags: Flags,
    /// Bytes, scaled.
    pub window: u64,
    pub ts: Option<(u32, u32)>,
    pub sack: Vec<(u64, u64)>,
    pub ecn: Ecn,
    pub raw: Vec<u8>,
}

impl Pkt {
    pub fn end(&self) -> u64 {
        self.seq + self.len + u64::from(self.flags.intersects(Flags::SYN | Flags::FIN))
    }
    pub fn right(&self) -> u64 {
        self.ack + self.window
    }
    pub fn is(&self, flags: Flags) -> bool {
        self.flags.contains(flags)
    }
}

/// The byte at an offset of the stream from a side.
pub fn byte(side: Side, off: u64) -> u8 {
    (off.wrapping_mul(0x9e37_79b9) >> 7) as u8 ^ (side as u8).wrapping_mul(0x55)
}

pub struct Pair {
    pub v: Variant,
    pub opts: Opts,
    pub engine: Engine,
    pub io: MemIo,
    pub now: Now,
    pub check: Checker,
    /// Next offset that each endpoint expects: what it acknowledges unless told otherwise.
    pub rcv: [u64; 2],
    /// Bytes received beyond `rcv`.
    ahead: [Vec<(u64, u64)>; 2],
    /// Window that each endpoint announces, bytes.
    pub window: [u64; 2],
    /// Window of the SYN and the SYN-ACK.
    pub syn_window: u64,
    ts_recent: [u32; 2],
    pub events: Vec<Event>,
    /// Ports of the pair in use, and where the phone and server are.
    pub ports: [Port; 2],
    pub addrs: [IpAddr; 2],
    pub tcp_ports: [u16; 2],
    /// VLAN tag, then GTP-U tunnel (one TEID per direction) around everything.
    pub vlan: Option<u16>,
    pub gtpu: Option<[u32; 2]>,
}

/// Runs a test in every variant.
pub fn each(test: impl Fn(&mut Pair)) {
    each_with(PLAIN, test);
}

/// Runs a test in every variant, with other options.
pub fn each_with(opts: Opts, test: impl Fn(&mut Pair)) {
    for v in VARIANTS {
        let mut pair = Pair::new(v, opts, config());
        test(&mut pair);
        pair.audit();
    }
}

pub fn config() -> Config {
    Config {
        max_flows: 1000,
        max_active: 100,
        max_half_open: 100,
        max_subscribers: 100,
        max_segments: 4000,
        ..Config::default()
    }
}

impl Pair {
    pub fn new(v: Variant, opts: Opts, cfg: Config) -> Pair {
        let addrs: [IpAddr; 2] = if v.v6 {
            ["2001:db8:1::7".parse().unwrap(), "2001:db8:ffff::80".parse().unwrap()]
        } else {
            ["10.0.0.7".parse().unwrap(), "192.0.2.80".parse().unwrap()]
        };
        Pair {
            v,
            opts,
            engine: Engine::new(cfg, 7).unwrap(),
            io: MemIo::new(4000),
            now: Now(1_000_000_000),
            check: Checker::new(v.isn, [opts.shift.unwrap_or(0); 2]),
            rcv: [0; 2],
            ahead: [Vec::new(), Vec::new()],
            window: [1 << 20; 2],
            syn_window: 64_000,
            ts_recent: [0; 2],
            events: Vec::new(),
            ports: [Port(0), Port(1)],
            addrs,
            tcp_ports: [40_000, 443],
            vlan: None,
            gtpu: None,
        }
    }

    /// The timestamp clock of an endpoint, one tick per millisecond.
    pub fn clock(&self, side: Side) -> u32 {
        self.v.ts[side as usize].wrapping_add((self.now.0 / MS) as u32).wrapping_sub(1000)
    }

    /// A packet as an endpoint would send it now.
    pub fn pkt(&self, side: Side, seq: u64, len: u64, flags: Flags) -> Pkt {
        let i = side as usize;
        Pkt {
            at: self.now,
            side,
            port: self.ports[i],
            seq,
            ack: self.rcv[i],
            len,
            flags,
            window: self.window[i],
            ts: self.opts.ts.then(|| (self.clock(side), self.ts_recent[i])),
            sack: if self.opts.sack { self.ahead[i].iter().rev().take(3).copied().collect() } else { Vec::new() },
            ecn: Ecn::NotEct,
            raw: Vec::new(),
        }
    }

    /// The frame of a packet.
    pub fn frame(&self, p: &Pkt) -> Vec<u8> {
        let (i, o) = (p.side as usize, p.side.other() as usize);
        let payload: Vec<u8> = (0..p.len).map(|n| byte(p.side, p.seq + n)).collect();
        self.frame_with(p, &payload, i, o)
    }

    fn frame_with(&self, p: &Pkt, payload: &[u8], i: usize, o: usize) -> Vec<u8> {
        let syn = p.flags.contains(SYN);
        let mut options = OptionBytes::new();
        if syn {
            options = options.mss(MSS as u16 + 12);
            if self.opts.sack {
                options = options.sack_perm();
            }
        }
        if let Some((val, ecr)) = p.ts {
            options = options.timestamps(val, ecr);
        }
        if let (true, Some(shift)) = (syn, self.opts.shift) {
            options = options.wscale(shift);
        }
        if !syn && !p.sack.is_empty() {
            let wire = |off: u64| self.v.isn[o].wrapping_add(off as u32);
            let blocks: Vec<(u32, u32)> = p.sack.iter().map(|&(l, r)| (wire(l), wire(r))).collect();
            options = options.sack(&blocks);
        }
        let shift = if syn { 0 } else { self.opts.shift.unwrap_or(0) };
        let macs = [[2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa], [2, 0, 0, 0, 0, 0xa, 2, 0, 0, 0, 0, 0xb]];
        let mut packet = Packet::new().macs(macs[i]);
        if let Some(id) = self.vlan {
            packet = packet.vlan(id);
        }
        if let Some(teid) = self.gtpu {
            let nodes: [IpAddr; 2] = ["172.16.0.1".parse().unwrap(), "172.16.0.2".parse().unwrap()];
            packet = packet.ip(nodes[i], nodes[o]).gtpu(teid[i]);
        }
        packet = packet.ip(self.addrs[i], self.addrs[o]).ttl(60 + i as u8).ecn(p.ecn);
        if self.v.v6 {
            packet = packet.flow_label(0x12340 + i as u32);
        }
        let ack = if p.flags.contains(ACK) { self.v.isn[o].wrapping_add(p.ack as u32) } else { 0 };
        packet
            .tcp(self.tcp_ports[i], self.tcp_ports[o])
            .seq(self.v.isn[i].wrapping_add(p.seq as u32))
            .ack(ack)
            .flags(p.flags)
            .window((p.window >> shift).min(65_535) as u16)
            .options(options.bytes())
            .payload(payload)
            .build()
    }

    /// Sends a packet into the engine; what comes out of it at once.
    pub fn send(&mut self, p: &Pkt) -> Vec<Pkt> {
        let frame = self.frame(p);
        self.check.entered(self.now, p);
        self.send_raw(p.port, &frame)
    }

    /// Sends any bytes.
    pub fn send_raw(&mut self, port: Port, frame: &[u8]) -> Vec<Pkt> {
        let Some(id) = self.io.receive(frame) else { return Vec::new() };
        let rx = Rx { frame: id, off: 0, len: frame.len() as u16, port, csum: Csum::Unverified };
        self.engine.on_rx(self.now, &[rx], &mut self.io);
        self.engine.on_time(self.now, &mut self.io);
        self.collect()
    }

    /// Data from an endpoint.
    pub fn data(&mut self, side: Side, seq: u64, len: u64) -> Vec<Pkt> {
        let p = self.pkt(side, seq, len, ACK);
        self.send(&p)
    }

    /// A pure ACK of all that the endpoint has received; its own stream stands at `seq`.
    pub fn ack(&mut self, side: Side, seq: u64) -> Vec<Pkt> {
        self.data(side, seq, 0)
    }

    /// Lets time pass; all that comes out meanwhile.
    pub fn wait(&mut self, ns: u64) -> Vec<Pkt> {
        let until = Now(self.now.0 + ns);
        let mut out = Vec::new();
        let mut rounds = 0;
        while let Some(at) = self.engine.next_deadline().filter(|&at| at <= until) {
            self.now = Now(self.now.0.max(at.0));
            self.engine.on_time(self.now, &mut self.io);
            out.extend(self.collect());
            rounds += 1;
            assert!(rounds < 1_000_000, "time does not pass: deadline {at:?} at {:?}", self.now);
        }
        self.now = until;
        out
    }

    /// What the engine let out since the last call, checked.
    pub fn collect(&mut self) -> Vec<Pkt> {
        while let Some(event) = self.engine.poll_event() {
            if matches!(event.kind, EventKind::HandedBack(_) | EventKind::Refused(_) | EventKind::Reset(_)) {
                self.check.wire = true;
            }
            if matches!(event.kind, EventKind::Optimizing) {
                self.check.wire = false;
            }
            self.events.push(event);
        }
        let out = std::mem::take(&mut self.io.out);
        out.into_iter().filter_map(|(port, raw)| self.seen(port, raw)).collect()
    }

    fn seen(&mut self, port: Port, raw: Vec<u8>) -> Option<Pkt> {
        let layers = parse(&raw).ok()?;
        let tcp = Tcp::new(&raw, &layers)?;
        assert!(csum::verify(&raw, &layers), "a wrong checksum left the engine");
        let to = port.side();
        let (i, from) = (to as usize, to.other());
        let options = tcp.options();
        let isn = self.v.isn;
        let near = |isn: u32, seq: u32, near: u64| smartwire_engine::seq::unwrap(isn, seq, near).unwrap_or(u64::MAX);
        let shift = if tcp.flags().contains(SYN) { 0 } else { self.opts.shift.unwrap_or(0) };
        let far = self.check.far(from);
        let p = Pkt {
            at: self.now,
            side: to,
            port,
            seq: near(isn[from as usize], tcp.seq(), self.rcv[i]),
            ack: if tcp.flags().contains(ACK) { near(isn[i], tcp.ack(), self.check.far(to)) } else { 0 },
            len: tcp.payload().len() as u64,
            flags: tcp.flags(),
            window: u64::from(tcp.window()) << shift,
            ts: options.ts.map(|ts| (ts.val, ts.ecr)),
            sack: options.sack.blocks().iter().map(|&(l, r)| (near(isn[i], l, far), near(isn[i], r, far))).collect(),
            ecn: layers.ecn(&raw),
            raw: raw.clone(),
        };
        self.check.left(&p, tcp.payload());
        self.receive(&p);
        Some(p)
    }

    /// What a real endpoint would do with a packet: note what arrived.
    fn receive(&mut self, p: &Pkt) {
        let i = p.side as usize;
        if let Some((val, _)) = p.ts {
            if p.seq <= self.rcv[i] {
                self.ts_recent[i] = val;
            }
        }
        let ahead = &mut self.ahead[i];
        if p.end() > p.seq && !p.flags.contains(Flags::RST) {
            ahead.push((p.seq, p.end()));
        }
        ahead.retain(|&(l, r)| {
            if l <= self.rcv[i] {
                self.rcv[i] = self.rcv[i].max(r);
            }
            r > self.rcv[i]
        });
    }

    /// The handshake, client on the access side; both ends stand at 1 afterwards.
    pub fn handshake(&mut self) {
        self.handshake_from(A);
    }

    /// The handshake, client on either side.
    pub fn handshake_from(&mut self, client: Side) {
        let server = client.other();
        let ecn = if self.opts.ecn { Flags::ECE | Flags::CWR } else { Flags::NONE };
        let mut syn = self.pkt(client, 0, 0, SYN | ecn);
        syn.window = self.syn_window;
        let frame = self.frame(&syn);
        let out = self.send(&syn);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].raw, frame, "the SYN was touched");
        self.wait(10 * MS);
        let mut syn_ack = self.pkt(server, 0, 0, SYN | ACK | if self.opts.ecn { Flags::ECE } else { Flags::NONE });
        syn_ack.window = self.syn_window;
        let frame = self.frame(&syn_ack);
        let out = self.send(&syn_ack);
        assert_eq!(out.len(), 1);
        assert_eq!(out[0].raw, frame, "the SYN-ACK was touched");
        self.wait(40 * MS);
        let ack = self.pkt(client, 1, 0, ACK);
        let out = self.send(&ack);
        assert_eq!(out.len(), 1, "the third ACK passes");
        assert_eq!((out[0].seq, out[0].ack), (1, 1));
        assert!(self.events.iter().any(|e| e.kind == EventKind::Optimizing), "not optimized: {:?}", self.events);
    }

    /// Nothing leaks: run after each test.
    pub fn audit(&mut self) {
        let stats = self.engine.stats();
        assert_eq!(u64::from(self.io.owned()), stats.segments, "frames owned and segments held");
    }

    pub fn mode_is_gone(&self) -> bool {
        self.engine.flows().next().is_none()
    }
}
