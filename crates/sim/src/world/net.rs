//! How frames get from one place to the next, and what the ends do with them.

use std::net::{Ipv4Addr, Ipv6Addr};

use smartwire_engine::api::{SubscriberKey, Target};
use smartwire_engine::policy::Description;
use smartwire_engine::{Command, FlowKey, Now, Side};

use super::optimizer::TUNNEL_BYTE;
use super::spec::{Action, FlowSpec, Order, Whose};
use super::{Captured, Echo, Event, Optimizer, World};
use crate::codec::{self, Path};
use crate::emulator::classify;
use crate::endpoint::{Endpoint, State};
use crate::link::Fate;
use crate::rng::mix;
use crate::tunnel::Tunnel;

const ECHO_PORT: u16 = 7;
/// Payload of an echo.
pub const ECHO_BYTES: usize = 72;
const PHONE_MAC: [u8; 6] = [2, 0, 0, 0, 1, 0];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 2, 0];

/// Address of phone `k`; IPv4 as IPv4-mapped.
pub fn phone_addr(k: usize, v6: bool) -> Ipv6Addr {
    if v6 {
        return Ipv6Addr::new(0x2001, 0xdb8, 0x100, k as u16, 0, 0, 0, 2);
    }
    let [_, _, hi, lo] = (k as u32 + 2).to_be_bytes();
    Ipv4Addr::new(10, 64, hi, lo).to_ipv6_mapped()
}

/// Address of the server; IPv4 as IPv4-mapped.
pub fn server_addr(v6: bool) -> Ipv6Addr {
    if v6 {
        return Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 80);
    }
    Ipv4Addr::new(192, 0, 2, 80).to_ipv6_mapped()
}

fn path_of(f: &FlowSpec) -> Path {
    let mut src_mac = PHONE_MAC;
    src_mac[5] = f.phone as u8;
    Path {
        src_mac,
        dst_mac: GATEWAY_MAC,
        tags: Vec::new(),
        src: phone_addr(f.phone, f.v6),
        dst: server_addr(f.v6),
        sport: f.ports.0,
        dport: f.ports.1,
        ttl: 64,
        dscp: 0,
        label: u32::from(f.ports.0),
    }
}

/// The tunnels of a world, none first.
pub(super) fn tunnels(flows: &[FlowSpec]) -> Vec<Tunnel> {
    let mut tunnels = vec![Tunnel::default()];
    for f in flows {
        if !tunnels.contains(&f.tunnel) {
            tunnels.push(f.tunnel);
        }
    }
    tunnels
}

/// The two ends of flow `i`, whose tunnel has this place.
pub(super) fn endpoints(f: &FlowSpec, i: usize, seed: u64, tunnel: u8) -> (Endpoint, Endpoint) {
    let content = [0, 1].map(|end| mix(seed ^ mix(2 * i as u64 + end)));
    let mut path = path_of(f);
    (path.src_mac[TUNNEL_BYTE], path.dst_mac[TUNNEL_BYTE]) = (tunnel, tunnel);
    let back = Path { ttl: 57, dscp: 8, ..path.reversed() };
    (
        Endpoint::new(f.phone_tcp.clone(), path, f.phone_app.clone(), content),
        Endpoint::new(f.server_tcp.clone(), back, f.server_app.clone(), [content[1], content[0]]),
    )
}

impl World {
    pub(super) fn open(&mut self, flow: usize) {
        for i in [2 * flow, 2 * flow + 1] {
            let p = self.endpoints[i].path();
            self.sockets.insert((p.src, p.sport, p.dst, p.dport, p.src_mac[TUNNEL_BYTE]), i);
        }
        let opener = 2 * flow + usize::from(self.spec.flows[flow].opens == Side::Core);
        self.with_endpoint(opener, |e, now, out| e.connect(now, out));
    }

    /// Lets an endpoint do something, then sends what it wants sent.
    pub(super) fn with_endpoint(&mut self, i: usize, act: impl FnOnce(&mut Endpoint, u64, &mut Vec<Vec<u8>>)) {
        let mut out = Vec::new();
        let now = self.now;
        act(&mut self.endpoints[i], now, &mut out);
        let endpoint = &self.endpoints[i];
        if let Some(wrong) = endpoint.wrong() {
            self.broken(&format!("flow {}: {wrong}", i / 2));
        }
        if let Some(progress) = &mut self.deliveries[i] {
            let bytes = endpoint.received();
            if progress.last().is_none_or(|last| last.1 != bytes) {
                progress.push((now, bytes));
            }
        }
        self.plan_endpoint(i);
        let is_phone = i % 2 == 0;
        let link = if is_phone { 3 + 2 * self.spec.flows[i / 2].phone } else { 0 };
        for frame in out {
            self.push(link, frame);
        }
    }

    fn plan_endpoint(&mut self, i: usize) {
        let Some(at) = self.endpoints[i].deadline() else { return };
        let at = at.max(self.now);
        if self.endpoint_at[i].is_none_or(|planned| planned > at || planned < self.now) {
            self.endpoint_at[i] = Some(at);
            self.plan(at, Event::Endpoint(i));
        }
    }

    pub(super) fn plan_link(&mut self, i: usize) {
        let Some(at) = self.links[i].next_event() else { return };
        let at = at.max(self.now);
        if self.link_at[i].is_none_or(|planned| planned > at || planned < self.now) {
            self.link_at[i] = Some(at);
            self.plan(at, Event::Link(i));
        }
    }

    /// A frame enters a link.
    fn push(&mut self, link: usize, frame: Vec<u8>) {
        let down = link % 2 == 0;
        let (bytes, class) = match codec::ip(&frame) {
            Some(ip) => {
                let (phone, far) = if down { (ip.dst, ip.src) } else { (ip.src, ip.dst) };
                (ip.bytes, classify(&frame, &ip, phone, far))
            }
            None => (frame.len().saturating_sub(14) as u32, Default::default()),
        };
        let copy = self.spec.icmp.then(|| frame.clone());
        let fate = self.links[link].enqueue(self.now, frame, bytes, class);
        self.plan_link(link);
        if let (Fate::TooBig, Some(frame)) = (fate, copy) {
            self.say_too_big(link, &frame);
        }
    }

    /// The router in front of a link answers a packet that is too big.
    fn say_too_big(&mut self, link: usize, frame: &[u8]) {
        let (Some(t), Some(mtu)) = (codec::tcp(frame, false), self.links[link].spec().mtu) else { return };
        let router = match t.ip.src.to_ipv4_mapped() {
            Some(_) => Ipv4Addr::new(198, 51, 100, 1).to_ipv6_mapped(),
            None => Ipv6Addr::new(0x2001, 0xdb8, 0xaaaa, 0, 0, 0, 0, 1),
        };
        let down = link % 2 == 0;
        let (mut src_mac, mut dst_mac) = if down { (PHONE_MAC, GATEWAY_MAC) } else { (GATEWAY_MAC, PHONE_MAC) };
        (src_mac[TUNNEL_BYTE], dst_mac[TUNNEL_BYTE]) = (frame[TUNNEL_BYTE], frame[TUNNEL_BYTE]);
        let path = Path { src_mac, dst_mac, tags: Vec::new(), src: router, dst: t.ip.src, sport: 0, dport: 0, ttl: 64, dscp: 0, label: 0 };
        let error = path.too_big(frame, mtu);
        match link {
            0 => self.deliver(error),
            1 => self.wire_in(Side::Core, vec![error]),
            _ if down => self.wire_in(Side::Access, vec![error]),
            _ => self.deliver(error),
        }
    }

    /// What has crossed a link arrives.
    pub(super) fn serve_link(&mut self, i: usize) {
        let mut arrived = Vec::new();
        while let Some((_, frame)) = self.links[i].pop_due(self.now) {
            arrived.push(frame);
        }
        self.plan_link(i);
        if arrived.is_empty() {
            return;
        }
        match i {
            0 => self.wire_in(Side::Core, arrived),
            1 => arrived.into_iter().for_each(|f| self.deliver(f)),
            _ if i % 2 == 0 => arrived.into_iter().for_each(|f| self.deliver(f)),
            _ => self.wire_in(Side::Access, arrived),
        }
    }

    // ---- the wire ----

    /// Frames come to the wire from a side.
    pub(super) fn wire_in(&mut self, side: Side, mut frames: Vec<Vec<u8>>) {
        // Whoever puts packets into tunnels looks at their IP headers.
        frames.retain(|f| f[TUNNEL_BYTE] == 0 || codec::ip(f).is_some());
        let beside = self.detour_until[side.other() as usize] > self.now;
        self.tap(side, false, &frames);
        if let Some(frame) = frames.last().filter(|f| codec::tcp(f, true).is_some_and(|t| t.sum_ok && t.seg.flags & (codec::SYN | codec::RST) == 0)) {
            self.last[side as usize] = Some(frame.clone());
        }
        if self.wire.is_none() || beside {
            return self.pass_by(side, frames);
        }
        if self.asleep_until.is_some() {
            let (_, others) = frames.into_iter().partition(|f| self.is_marked(side, f));
            return self.pass_by(side, others);
        }
        // As the worker does: at most 64 frames per batch.
        for batch in frames.chunks(64) {
            let now = self.now;
            let Some(wire) = &mut self.wire else { return };
            let out = wire.frames(now, side, batch);
            self.wire_out(out);
        }
    }

    /// What the copper wire does with frames.
    fn pass_by(&mut self, side: Side, frames: Vec<Vec<u8>>) {
        self.tap(side.other(), true, &frames);
        frames.into_iter().for_each(|f| self.leave(side.other(), f));
    }

    /// Does a frame that comes in from a side belong to a flow in the custody book?
    fn is_marked(&self, side: Side, frame: &[u8]) -> bool {
        let Some((wire, t)) = self.wire.as_ref().zip(codec::tcp(frame, false)) else { return false };
        let ends = [(t.ip.src, t.sport), (t.ip.dst, t.dport)];
        let (access, core) = (ends[side as usize], ends[side.other() as usize]);
        let of = |k: &FlowKey| (k.access_addr, k.access_port) == access && (k.core_addr, k.core_port) == core;
        wire.io.book().any(|(key, mark)| mark.custody && of(key))
    }

    pub(super) fn wire_time(&mut self) {
        let now = self.now;
        if self.wire_at == Some(now) {
            self.wire_at = None;
        }
        let woken = self.asleep_until.take_if(|until| *until <= now).is_some();
        if self.asleep_until.is_some() {
            return;
        }
        let Some(wire) = &mut self.wire else { return };
        let out = if woken { wire.wake(now) } else { wire.time(now) };
        self.wire_out(out);
    }

    pub(super) fn order_engine(&mut self, order: Order, whose: Whose, limit: u64) {
        let now = self.now;
        if let Some(until) = self.asleep_until {
            // Whoever orders waits for an answer.
            self.spec.actions.push((until, Action::Order(order, whose, limit)));
            return self.plan(until, Event::Action(self.spec.actions.len() - 1));
        }
        let Some(target) = self.target(whose) else { return };
        let Some(wire) = &mut self.wire else { return };
        let deadline = Now(now + limit);
        let command = match order {
            Order::Drain => Command::Drain { target, deadline },
            Order::Bypass => Command::Bypass { target, deadline },
            Order::Resume => Command::Resume { target },
        };
        let out = wire.order(now, command);
        self.wire_out(out);
    }

    pub(super) fn tell_policies(&mut self, description: &Description) {
        let now = self.now;
        let Some(wire) = &mut self.wire else { return };
        let out = wire.policies(now, description);
        self.wire_out(out);
    }

    /// What the engine calls a connection or its subscriber; nothing if it knows of none.
    fn target(&self, whose: Whose) -> Option<Target> {
        let (Whose::Flow(i) | Whose::Subscriber(i)) = whose else { return Some(Target::Wire) };
        let p = self.endpoints.get(2 * i)?.path();
        let named = |k: &FlowKey| (k.access_addr, k.access_port, k.core_addr, k.core_port) == (p.src, p.sport, p.dst, p.dport);
        let key = self.wire.as_ref()?.engine.flows().find(|f| named(&f.key))?.key;
        Some(match whose {
            Whose::Flow(_) => Target::Flow(key),
            _ => Target::Subscriber(SubscriberKey { addr: codec::subscriber(p.src), scope: key.scope }),
        })
    }

    fn wire_out(&mut self, out: Result<Vec<(Side, Vec<u8>)>, String>) {
        let out = out.unwrap_or_else(|broken| self.broken(&broken));
        for (side, frame) in out {
            self.tap(side, true, std::slice::from_ref(&frame));
            self.leave(side, frame);
        }
        self.remove_if_drained();
        let Some(at) = self.wire.as_ref().and_then(|w| w.engine.next_deadline()) else { return };
        let at = at.0.max(self.now);
        if self.wire_at.is_none_or(|planned| planned > at || planned < self.now) {
            self.wire_at = Some(at);
            self.plan(at, Event::Wire);
        }
    }

    pub(super) fn remove_if_drained(&mut self) {
        let over = |w: &&Box<Optimizer>| self.remove_when_drained && self.asleep_until.is_none() && w.engine.drained();
        let Some(wire) = self.wire.as_ref().filter(over) else { return };
        let kept = wire.io.owned_frames();
        if kept > 0 {
            self.broken(&format!("the engine says that it is drained and has {kept} frames"));
        }
        self.wire = None;
        self.removed_at = Some(self.now);
    }

    fn tap(&mut self, side: Side, out: bool, frames: &[Vec<u8>]) {
        let now = self.now;
        if let Some(capture) = &mut self.capture {
            capture.extend(frames.iter().map(|f| Captured { now, side, out, frame: f.clone() }));
        }
    }

    /// A frame leaves the wire towards a side.
    fn leave(&mut self, side: Side, frame: Vec<u8>) {
        if side == Side::Core {
            return self.push(1, frame);
        }
        let phone = codec::ip(&frame).and_then(|ip| self.phones.get(&codec::subscriber(ip.dst)).copied());
        // What is for nobody is carried by nobody: a damaged address, say.
        if let Some(k) = phone {
            self.push(2 + 2 * k, frame);
        }
    }

    // ---- the ends ----

    fn deliver(&mut self, frame: Vec<u8>) {
        let Some(ip) = codec::ip(&frame) else { return };
        if ip.proto == codec::UDP {
            return self.on_echo(&frame);
        }
        if let Some((mtu, src, dst)) = codec::too_big(&frame) {
            if let Some(&i) = self.sockets.get(&(src.0, src.1, dst.0, dst.1, frame[TUNNEL_BYTE])) {
                self.with_endpoint(i, |e, now, out| e.on_too_big(now, mtu, out));
            }
            return;
        }
        let Some(t) = codec::tcp(&frame, true) else { return };
        let socket = (t.ip.dst, t.dport, t.ip.src, t.sport, frame[TUNNEL_BYTE]);
        let Some(&i) = self.sockets.get(&socket) else { return };
        self.with_endpoint(i, |e, now, out| e.on_segment(now, &t, out));
    }

    pub(super) fn probe(&mut self) {
        let Some(every) = self.spec.probe_every_ns else { return };
        let path = self.echo_path();
        let mut payload = vec![0; ECHO_BYTES];
        payload[..8].copy_from_slice(&(self.echoes.len() as u64).to_be_bytes());
        self.echoes.push(Echo { sent_ns: self.now, rtt_ns: None });
        self.push(3, path.udp(&payload, 0));
        self.plan(self.now + every, Event::Probe);
    }

    fn echo_path(&self) -> Path {
        let flow = FlowSpec { ports: (9, ECHO_PORT), ..FlowSpec::new(false, 9) };
        path_of(&flow)
    }

    fn on_echo(&mut self, frame: &[u8]) {
        let Some(ip) = codec::ip(frame) else { return };
        let Some(payload) = ip.l4.get(8..16) else { return };
        if ip.dst == server_addr(false) {
            let mut body = ip.l4[8..].to_vec();
            body.truncate(ECHO_BYTES);
            let back = self.echo_path().reversed();
            return self.push(0, back.udp(&body, 0));
        }
        let number = u64::from_be_bytes(payload.try_into().unwrap_or_default()) as usize;
        let now = self.now;
        if let Some(echo) = self.echoes.get_mut(number).filter(|e| e.rtt_ns.is_none()) {
            echo.rtt_ns = Some(now - echo.sent_ns);
        }
    }

    /// Flows whose two ends have not ended yet.
    pub fn unfinished(&self) -> Vec<usize> {
        let over = |i: usize| {
            let state = self.endpoints[i].state();
            !matches!(state, State::Listen | State::SynSent | State::SynRcvd | State::Established)
        };
        (0..self.spec.flows.len()).filter(|&f| !over(2 * f) || !over(2 * f + 1)).collect()
    }
}
