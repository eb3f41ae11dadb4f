//! Which segment comes next, and what the endpoints make of what arrives.
//!
//! A server sends two segments on a connection, far enough apart that the second finds no cache warm; the client
//! acknowledges both with one segment a radio round trip later. Connections are drawn uniformly. One data segment in 200
//! is lost on the radio.

use std::collections::VecDeque;

use smartwire_engine::{Csum, FrameId, Port, Rx};
use smartwire_packet::build::{write_tcp, Ends, OptionBytes, Packet, TcpFields, Template};
use smartwire_packet::tcp::{Flags, Tcp};
use smartwire_packet::{csum, parse, Ecn, Layers};

use super::flows::{Flow, Flows, HOLES, SHIFT};
use super::host::{Host, Sent};
use super::report::{Class, Report};

const ACCESS: Port = Port(0);
const CORE: Port = Port(1);
/// Payload of a data segment.
pub(super) const PAYLOAD: usize = 1448;
/// First byte of a frame in its buffer: what XDP keeps free in front.
const HEADROOM: usize = 256;
/// Window that both ends keep open, bytes: enough for a pair; what busy flows promise must fit the memory.
pub(super) const WINDOW: u16 = 8192;
/// From the first to the second segment of a pair.
const SECOND_NS: u64 = 2_000_000;
/// From a segment's leaving to its acknowledgement's coming.
const RADIO_RTT_NS: u64 = 10_000_000;
/// One in so many data segments is lost on the radio.
const LOSS: u64 = 200;

/// Part of a handshake.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Syn,
    SynAck,
    Ack,
}

/// An acknowledgement on its way through the radio.
struct Ack {
    due: u64,
    flow: u32,
    ack: u32,
    beyond: [(u32, u32); HOLES],
    ts: (u32, u32),
}

pub(super) struct Traffic {
    rng: u64,
    acks: VecDeque<Ack>,
    seconds: VecDeque<(u64, u32)>,
    /// Headers of a frame: IPv4, IPv6.
    templates: [Template; 2],
    payload: [u8; PAYLOAD],
    seed: u64,
    /// Clients acknowledge every segment, not every second one.
    pub eager: bool,
    /// The most that a client acknowledged and its server had not been told of, bytes.
    pub most_late: u32,
}

impl Traffic {
    pub fn new(seed: u64) -> Traffic {
        let learn = |packet: Packet| {
            let frame = packet.tcp(1, 2).build();
            let layers = parse(&frame).expect("our own packet");
            Template::learn(&frame, &layers).expect("our own packet")
        };
        let v4 = Packet::new().ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let v6 = Packet::new().ipv6([0; 16].into(), [0; 16].into());
        Traffic {
            rng: seed,
            acks: VecDeque::with_capacity(1 << 20),
            seconds: VecDeque::with_capacity(1 << 20),
            templates: [learn(v4), learn(v6)],
            payload: std::array::from_fn(|i| (i * 31 + 7) as u8),
            seed,
            eager: false,
            most_late: 0,
        }
    }

    /// splitmix64.
    fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.rng ^ self.rng >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Nothing is on its way.
    pub fn quiet(&self) -> bool {
        self.acks.is_empty() && self.seconds.is_empty()
    }

    /// An acknowledgement or the second segment of a pair is due.
    pub fn is_due(&self, now: u64) -> bool {
        self.ack_is_due(now) || self.seconds.front().is_some_and(|s| s.0 <= now)
    }

    pub fn ack_is_due(&self, now: u64) -> bool {
        self.acks.front().is_some_and(|a| a.due <= now)
    }

    /// The next packet of the mix; `None` where the connection drawn has no window left.
    pub fn next(&mut self, now: u64, host: &mut Host, flows: &mut Flows) -> Option<(Class, Rx)> {
        if self.ack_is_due(now) {
            let v6 = flows.is_v6(self.acks.front()?.flow);
            return self.ack(now, host, flows).map(|rx| (if v6 { Class::AckV6 } else { Class::AckV4 }, rx));
        }
        let flow = match self.seconds.front() {
            Some(&(due, flow)) if due <= now => {
                self.seconds.pop_front();
                flow
            }
            _ => {
                let flow = (self.random() % u64::from(flows.count())) as u32;
                self.seconds.push_back((now + SECOND_NS, flow));
                flow
            }
        };
        let class = if flows.is_v6(flow) { Class::DataV6 } else { Class::DataV4 };
        self.data(flow, now, host, flows).map(|rx| (class, rx))
    }

    /// The next data segment of a connection, if the window has room for it.
    pub fn data(&mut self, flow: u32, now: u64, host: &mut Host, flows: &mut Flows) -> Option<Rx> {
        let f = flows.at(flow);
        if (f.right.wrapping_sub(f.nxt) as i32) < PAYLOAD as i32 {
            return None;
        }
        let (seq, ts) = (f.nxt, (ms(now), f.client_ts));
        f.nxt = f.nxt.wrapping_add(PAYLOAD as u32);
        let options = OptionBytes::new().timestamps(ts.0, ts.1);
        let fields = fields(seq, 1001, Flags::ACK);
        let payload = self.payload;
        Some(self.write(flow, CORE, &fields, options, &payload, host, flows))
    }

    /// The acknowledgement that is due.
    pub fn ack(&mut self, _now: u64, host: &mut Host, flows: &mut Flows) -> Option<Rx> {
        let a = self.acks.pop_front()?;
        let f = flows.at(a.flow);
        if before(f.acked, a.ack) {
            f.acked = a.ack;
            if before(f.una, a.ack) {
                self.most_late = self.most_late.max(a.ack.wrapping_sub(f.una));
            }
        }
        let mut options = OptionBytes::new().timestamps(a.ts.0, a.ts.1);
        let ranges = a.beyond.iter().take_while(|r| **r != (0, 0)).count();
        if ranges > 0 {
            options = options.sack(&a.beyond[..ranges]);
        }
        let fields = fields(1001, a.ack, Flags::ACK);
        Some(self.write(a.flow, ACCESS, &fields, options, &[], host, flows))
    }

    /// One segment of a handshake.
    pub fn handshake(&mut self, step: Step, flow: u32, now: u64, host: &mut Host, flows: &mut Flows) -> Rx {
        let isn = super::flows::server_isn(flow, self.seed);
        let syn = |ecr| OptionBytes::new().mss(1460).sack_perm().timestamps(ms(now), ecr).wscale(SHIFT);
        let f = flows.at(flow);
        let (port, fields, options) = match step {
            Step::Syn => {
                f.client_ts = ms(now);
                (ACCESS, fields(1000, 0, Flags::SYN), syn(0))
            }
            Step::SynAck => {
                f.server_ts = ms(now);
                (CORE, fields(isn, 1001, Flags::SYN | Flags::ACK), syn(f.client_ts))
            }
            Step::Ack => {
                f.client_ts = ms(now);
                (ACCESS, fields(1001, isn.wrapping_add(1), Flags::ACK), OptionBytes::new().timestamps(ms(now), f.server_ts))
            }
        };
        self.write(flow, port, &fields, options, &[], host, flows)
    }

    #[allow(clippy::too_many_arguments)]
    fn write(
        &self,
        flow: u32,
        port: Port,
        fields: &TcpFields,
        options: OptionBytes,
        payload: &[u8],
        host: &mut Host,
        flows: &Flows,
    ) -> Rx {
        let (ends, client_port) = flows.ends(flow);
        let mut fields = *fields;
        let ends = if port == ACCESS {
            (fields.src_port, fields.dst_port) = (client_port, 443);
            ends
        } else {
            (fields.src_port, fields.dst_port) = (443, client_port);
            Ends { src: ends.dst, dst: ends.src, ..ends }
        };
        let template = self.templates[usize::from(flows.is_v6(flow))].with_ends(&ends);
        let frame = host.receive().expect("the engine keeps its frame budget");
        let buffer = host.frames.bytes_mut(frame).expect("a fresh frame is in nobody's hands");
        let len = write_tcp(&mut buffer[HEADROOM..], &template, &fields, options.bytes(), payload).expect("it fits");
        Rx { frame, off: HEADROOM as u16, len: len as u16, port, csum: Csum::Unverified }
    }

    /// Takes everything that the engine sent to its endpoint, checks it, and completes the transmission.
    pub fn deliver(&mut self, now: u64, host: &mut Host, flows: &mut Flows, report: &mut Report) {
        for n in 0..host.sent.len() {
            let Sent { port, frame, off, len } = host.sent[n];
            report.frames_out += 1;
            self.arrive(now, port, frame, off, len, host, flows, report);
            host.frames.completed(frame);
        }
        host.sent.clear();
    }

    #[allow(clippy::too_many_arguments)]
    fn arrive(
        &mut self,
        now: u64,
        port: Port,
        frame: FrameId,
        off: u16,
        len: u16,
        host: &Host,
        flows: &mut Flows,
        report: &mut Report,
    ) {
        let bytes = &host.frames.bytes(frame)[usize::from(off)..][..usize::from(len)];
        report.digest(now, port.0, bytes);
        let parsed = parse(bytes).ok().filter(|l| csum::verify(bytes, l));
        let Some((layers, tcp)) = parsed.and_then(|l| Some((l, Tcp::new(bytes, &l)?))) else {
            report.damaged += 1;
            return;
        };
        if tcp.flags().contains(Flags::SYN) {
            return;
        }
        if tcp.flags().contains(Flags::RST) {
            report.resets += 1;
            return;
        }
        if port == ACCESS {
            if !tcp.payload().is_empty() && host.is_own(frame) {
                report.payload_copies += 1;
            }
            let flow = flows.index(&layers, layers.dst(bytes), tcp.dst_port());
            self.to_client(now, flow, &tcp, flows, report);
        } else {
            to_server(&layers, bytes, &tcp, flows, report);
        }
    }

    /// A client takes a segment, unless the radio loses it.
    fn to_client(&mut self, now: u64, flow: u32, tcp: &Tcp<'_>, flows: &mut Flows, report: &mut Report) {
        let length = tcp.payload().len() as u32;
        if length == 0 {
            return;
        }
        report.data_out += 1;
        if self.random() % LOSS == 0 {
            report.lost += 1;
            return;
        }
        let f = flows.at(flow);
        let holes = f.beyond[0] != (0, 0);
        let in_order = receive(f, tcp.seq(), length);
        if let Some(ts) = tcp.options().ts.filter(|_| in_order) {
            f.server_ts = ts.val;
        }
        f.owed += 1;
        if f.owed >= 2 || self.eager || !in_order || holes || length < PAYLOAD as u32 {
            f.owed = 0;
            let ts = (ms(now), f.server_ts);
            self.acks.push_back(Ack { due: now + RADIO_RTT_NS, flow, ack: f.expected, beyond: f.beyond, ts });
        }
    }
}

/// Client: takes `length` bytes at `seq`; true if they were the next ones. What lies beyond more holes than it can
/// remember counts as lost.
fn receive(f: &mut Flow, seq: u32, length: u32) -> bool {
    let mut got = (seq, seq.wrapping_add(length));
    if !before(f.expected, seq) {
        let next = seq == f.expected;
        f.expected = later(f.expected, got.1);
        let mut kept = [(0, 0); HOLES];
        let mut count = 0;
        // At most one range begins where the hole ended: ranges never touch.
        for range in f.beyond.into_iter().filter(|r| *r != (0, 0)) {
            if before(f.expected, range.0) {
                kept[count] = range;
                count += 1;
            } else {
                f.expected = later(f.expected, range.1);
            }
        }
        f.beyond = kept;
        return next;
    }
    // Ranges that touch the new one become part of it; the newest range is the first (RFC 2018 section 4).
    let mut kept = [(0, 0); HOLES];
    let mut count = 1;
    for &(left, right) in f.beyond.iter().filter(|r| **r != (0, 0)) {
        if before(got.1, left) || before(right, got.0) {
            if count < HOLES {
                kept[count] = (left, right);
                count += 1;
            }
        } else {
            got = (if before(left, got.0) { left } else { got.0 }, later(got.1, right));
        }
    }
    kept[0] = got;
    f.beyond = kept;
    false
}

/// A server takes an acknowledgement.
fn to_server(layers: &Layers, bytes: &[u8], tcp: &Tcp<'_>, flows: &mut Flows, report: &mut Report) {
    let f = flows.index(layers, layers.src(bytes), tcp.src_port());
    let f = flows.at(f);
    let ack = tcp.ack();
    if let Some(ts) = tcp.options().ts {
        f.client_ts = ts.val;
    }
    if before(f.una, ack) {
        report.acknowledged += u64::from(ack.wrapping_sub(f.una));
        let told = if before(f.acked, f.una) { f.una } else { f.acked };
        if before(told, ack) {
            report.early += u64::from(ack.wrapping_sub(told));
            f.early = true;
        }
        f.una = ack;
    }
    if !before(ack, f.una) {
        f.right = ack.wrapping_add(u32::from(tcp.window()) << SHIFT);
    }
}

fn fields(seq: u32, ack: u32, flags: Flags) -> TcpFields {
    // The window of a SYN is not scaled.
    let window = if flags.contains(Flags::SYN) { WINDOW } else { WINDOW >> SHIFT };
    TcpFields { src_port: 0, dst_port: 0, seq, ack, flags, window, ip_id: seq as u16, ecn: Ecn::NotEct }
}

/// Is `a` before `b` in sequence space?
fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// The one further on in sequence space.
fn later(a: u32, b: u32) -> u32 {
    if before(a, b) {
        b
    } else {
        a
    }
}

/// The endpoints' timestamp clock.
fn ms(now: u64) -> u32 {
    (now / 1_000_000) as u32
}
