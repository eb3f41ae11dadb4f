//! An idealised but honest loop in virtual time: the engine's own senders and subscribers, the real link model both
//! ways, model phones, echo probes, and everything that may compete.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use smartwire_engine::send::{AckIn, SegPool, XmitKind};
use smartwire_engine::subscriber::{Delivered, Gauges, Next, Subscribers};
use smartwire_engine::{Config, Now, SubscriberKey};
use smartwire_sim::link::{Fate, Link, LinkPlan, LinkSpec};

pub use crate::case::{Case, FlowSpec, Udp, Who, ECHO_EVERY, MS, SEC};
use crate::case::{HEADERS, MSS};
use crate::event::{size, Act, Kind, Pkt, Timed};
use crate::flow::{Flow, WINDOW};
use crate::phone::Ack;

/// What one run gave.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Per flow: bytes that arrived for the first time.
    pub bytes: Vec<u64>,
    /// Per flow: bytes per 100 ms at the receiver.
    pub bins: Vec<Vec<u64>>,
    pub done: Vec<Option<u64>>,
    /// Round trip of each echo probe, ns; `None`: lost.
    pub echo: Vec<Option<u64>>,
    /// The part of it up to the phone.
    pub echo_down: Vec<Option<u64>>,
    /// Bytes that crossed twice.
    pub again: u64,
    pub udp_bytes: u64,
    pub dropped_packets: u64,
    pub offered_packets: u64,
    /// Queueing delay and its self-inflicted part, of each packet of the down link, ns.
    pub queue: Vec<u64>,
    pub selfq: Vec<u64>,
    pub resent: Vec<u64>,
    pub capacity: Option<u64>,
    /// (time, gauges, queue bytes) every 20 ms, if asked for.
    pub trace: Vec<(u64, Gauges, u64)>,
}

pub struct World {
    case: Case,
    now: u64,
    down: Link<Pkt>,
    up: Link<Pkt>,
    heap: BinaryHeap<Reverse<Timed>>,
    order: u64,
    pool: SegPool,
    flows: Vec<Flow>,
    subs: Subscribers,
    sub: u32,
    key: SubscriberKey,
    smart_wake: Option<u64>,
    foreign: [u64; 2],
    out: Outcome,
    next_trace: u64,
}

pub fn run(case: &Case) -> Outcome {
    World::new(case).run()
}

impl World {
    pub fn new(case: &Case) -> World {
        let plan = |spec: &LinkSpec| LinkPlan::new(spec).expect("a valid link");
        let (down_plan, up_plan) = (plan(&case.down), plan(&case.up));
        let cfg = Config { max_active: 64, max_subscribers: 16, max_flows: 64, ..Config::default() };
        let mut subs = Subscribers::new(&cfg, 1);
        let key = SubscriberKey { addr: std::net::Ipv6Addr::LOCALHOST, scope: 0 };
        let sub = subs.open(key).expect("room for a subscriber");
        let mut down = Link::new(&down_plan, case.seed);
        down.record();
        let flows = case.flows.iter().map(|spec| Flow::new(*spec)).collect();
        let mut w = World {
            now: 0,
            down,
            up: Link::new(&up_plan, case.seed),
            heap: BinaryHeap::new(),
            order: 0,
            pool: SegPool::new(200_000),
            flows,
            subs,
            sub,
            key,
            smart_wake: None,
            foreign: [0; 2],
            out: Outcome { capacity: down_plan.capacity_bytes(case.seed, 0, case.length), ..Outcome::default() },
            next_trace: 0,
            case: case.clone(),
        };
        for i in 0..case.flows.len() {
            w.at(case.flows[i].start, Act::Start(i));
            if case.flows[i].stop < case.length {
                w.at(case.flows[i].stop, Act::Stop(i));
            }
        }
        if case.echo {
            w.at(0, Act::Echo(0));
        }
        if let Some(udp) = case.udp {
            w.at(udp.from, Act::Udp);
        }
        if case.foreign_every > 0 {
            w.at(case.foreign_every, Act::Foreign);
        }
        w
    }

    fn at(&mut self, when: u64, act: Act) {
        self.order += 1;
        self.heap.push(Reverse(Timed(when, self.order, act)));
    }

    pub fn run(mut self) -> Outcome {
        loop {
            let next = self.next_time();
            if next > self.case.length {
                break;
            }
            self.now = next;
            self.step();
        }
        let mut out = self.out;
        for s in self.down.take_samples() {
            if s.fate != Fate::QueueFull && s.fate != Fate::Policed {
                out.queue.push(s.queue_ns());
                out.selfq.push(s.self_inflicted_ns());
            }
        }
        let totals = self.down.totals();
        out.dropped_packets = totals.packets(Fate::QueueFull) + totals.packets(Fate::Policed);
        out.offered_packets = totals.by_fate.iter().map(|f| f.0).sum();
        for f in self.flows {
            out.bytes.push(f.rx.bytes);
            out.again += f.rx.again;
            out.done.push(f.done);
            out.resent.push(f.sender.resent_segments());
            out.bins.push(f.bins);
        }
        out
    }

    fn next_time(&mut self) -> u64 {
        let mut t = u64::MAX;
        let mut take = |x: Option<u64>| t = t.min(x.unwrap_or(u64::MAX));
        take(self.heap.peek().map(|h| h.0 .0));
        take(self.down.next_event());
        take(self.up.next_event());
        take(self.smart_wake);
        for f in &self.flows {
            if f.running {
                take(f.sender.deadline().map(|d| d.0));
                take(f.wake);
            }
            take(f.rx.due);
        }
        if self.case.trace {
            take(Some(self.next_trace));
        }
        t.max(self.now)
    }

    fn step(&mut self) {
        let now = self.now;
        while self.heap.peek().is_some_and(|h| h.0 .0 <= now) {
            let Reverse(Timed(_, _, act)) = self.heap.pop().expect("peeked");
            self.act(act);
        }
        while let Some((_, pkt)) = self.down.pop_due(now) {
            self.at_phone(pkt);
        }
        while let Some((_, pkt)) = self.up.pop_due(now) {
            self.up_exit(pkt);
        }
        for i in 0..self.flows.len() {
            if self.flows[i].rx.due.is_some_and(|d| d <= now) {
                let ack = self.flows[i].rx.timer();
                self.send_ack(i, ack);
            }
            if self.flows[i].running && self.flows[i].sender.deadline().is_some_and(|d| d.0 <= now) {
                self.on_timer(i);
            }
            if self.flows[i].wake.is_some_and(|w| w <= now) {
                self.flows[i].wake = None;
                self.pump(i);
            }
        }
        if self.smart_wake.is_some_and(|w| w <= now) {
            self.smart_wake = None;
            self.pump_smart();
        }
        if self.case.trace && now >= self.next_trace {
            self.next_trace = now + 20 * MS;
            if let Some(g) = self.subs.gauges(self.sub) {
                let backlog = self.down.backlog().0;
                self.out.trace.push((now, g, backlog));
            }
        }
    }

    fn act(&mut self, act: Act) {
        let now = self.now;
        match act {
            Act::Down(pkt) => self.enter_down(pkt),
            Act::Up(pkt) => {
                let (bytes, class) = size(&pkt);
                self.up.enqueue(now, pkt, bytes, class);
            }
            Act::Core(pkt) => self.at_core(pkt),
            Act::Start(i) => {
                self.flows[i].running = true;
                self.pump(i);
            }
            Act::Stop(i) => {
                // The application has no more: what is under way still arrives.
                self.flows[i].spec.size = 0;
            }
            Act::Echo(k) => {
                self.out.echo.push(None);
                self.out.echo_down.push(None);
                self.enter_down(Pkt { kind: Kind::Echo(now), flow: k as usize });
                self.at(now + ECHO_EVERY, Act::Echo(k + 1));
            }
            Act::Udp => {
                let udp = self.case.udp.expect("planned");
                self.foreign[0] += 1400;
                self.enter_down(Pkt { kind: Kind::Udp, flow: usize::MAX });
                let next = now + (1400.0 * 8e3 / udp.mbps) as u64;
                if next < udp.to {
                    self.at(next, Act::Udp);
                }
            }
            Act::Foreign => {
                let [down, up] = std::mem::take(&mut self.foreign);
                if down + up > 0 {
                    self.subs.on_foreign(Now(now), &self.key, down, up);
                }
                self.at(now + self.case.foreign_every, Act::Foreign);
            }
        }
    }

    fn enter_down(&mut self, pkt: Pkt) {
        let (bytes, class) = size(&pkt);
        self.down.enqueue(self.now, pkt, bytes, class);
    }

    /// Into the up link, at the next grant.
    fn enter_up(&mut self, pkt: Pkt) {
        let at = match self.case.grant {
            0 => self.now,
            g => self.now.div_ceil(g) * g,
        };
        self.at(at, Act::Up(pkt));
    }

    fn at_phone(&mut self, pkt: Pkt) {
        match pkt.kind {
            Kind::Echo(at) => {
                self.out.echo_down[pkt.flow] = Some(self.now - at);
                self.enter_up(pkt);
            }
            Kind::Udp => self.out.udp_bytes += 1400,
            Kind::Data { start, len } => self.receive(pkt.flow, start, len),
            Kind::Ack(ack) => self.on_ack(pkt.flow, &ack),
        }
    }

    fn up_exit(&mut self, pkt: Pkt) {
        if let Kind::Echo(at) = pkt.kind {
            self.out.echo[pkt.flow] = Some(self.now - at);
            return;
        }
        match self.far(pkt.flow) {
            0 => self.at_core(pkt),
            far => self.at(self.now + far, Act::Core(pkt)),
        }
    }

    /// One way between the wire and the flow's core end, ns.
    fn far(&self, flow: usize) -> u64 {
        match self.flows[flow].spec.who {
            Who::Smart | Who::Bbr { proxy: true } => 0,
            Who::Cubic | Who::Bbr { proxy: false } => self.case.inet / 2,
        }
    }

    fn at_core(&mut self, pkt: Pkt) {
        match pkt.kind {
            Kind::Data { start, len } => self.receive(pkt.flow, start, len),
            Kind::Ack(ack) => self.on_ack(pkt.flow, &ack),
            _ => {}
        }
    }

    fn receive(&mut self, i: usize, start: u64, len: u32) {
        let now = self.now;
        let f = &mut self.flows[i];
        let before = f.rx.bytes;
        let ack = f.rx.segment(now, start, u64::from(len));
        let bin = (now / (100 * MS)) as usize;
        if f.bins.len() <= bin {
            f.bins.resize(bin + 1, 0);
        }
        f.bins[bin] += f.rx.bytes - before;
        if f.rx.bytes >= f.spec.size && f.spec.size > 0 && f.done.is_none() {
            f.done = Some(now - f.spec.start);
        }
        if let Some(ack) = ack {
            self.send_ack(i, ack);
        }
    }

    fn send_ack(&mut self, i: usize, mut ack: Ack) {
        let pkt = |ack| Pkt { kind: Kind::Ack(ack), flow: i };
        if self.flows[i].spec.up {
            match self.far(i) {
                0 => self.enter_down(pkt(ack)),
                far => self.at(self.now + far, Act::Down(pkt(ack))),
            }
        } else {
            ack.tsval = self.case.clock.read(self.now);
            self.enter_up(pkt(ack));
        }
    }

    fn on_ack(&mut self, i: usize, ack: &Ack) {
        let now = Now(self.now);
        let smart = self.flows[i].spec.who == Who::Smart && !self.flows[i].spec.up;
        let link_full = if smart { self.subs.link_full(self.sub) } else { self.flows[i].bbr.is_none() };
        let f = &mut self.flows[i];
        let input = AckIn {
            ack: ack.ack,
            right: ack.ack + WINDOW,
            sack: &ack.sack[..ack.sacks],
            dsack: ack.dsack,
            ts_ecr: None,
            ece: false,
            pure: true,
            link_full,
        };
        let out = f.sender.on_ack(&mut self.pool, now, &input, |_| {});
        if self.case.hystart {
            f.hystart.on_ack(self.now, &f.sender, out.rtt_ns);
        }
        if let Some(bbr) = &mut f.bbr {
            bbr.on_ack(self.now, &f.sender, out.delivered(), out.rtt_ns);
        }
        if smart {
            let split = match (ack.tsval, out.rtt_ns) {
                (Some(tsval), Some(rtt)) => f.oneway.sample(now, tsval, Now(self.now - rtt)),
                _ => None,
            };
            let in_flight = f.sender.in_flight();
            let delivered = Delivered { bytes: out.delivered(), rtt_ns: out.rtt_ns, split };
            if delivered.bytes > 0 || delivered.rtt_ns.is_some() {
                self.subs.on_delivered(now, self.sub, &delivered);
            }
            if out.lost > 0 {
                self.subs.on_lost(now, self.sub, out.lost);
            }
            self.subs.in_flight(now, self.sub, i as u32, in_flight);
        }
        self.pump(i);
    }

    fn on_timer(&mut self, i: usize) {
        let now = Now(self.now);
        let smart = self.flows[i].spec.who == Who::Smart && !self.flows[i].spec.up;
        let link_full = if smart { self.subs.link_full(self.sub) } else { self.flows[i].bbr.is_none() };
        let f = &mut self.flows[i];
        let out = f.sender.on_timer(&mut self.pool, now, link_full);
        if smart {
            if out.lost > 0 {
                self.subs.on_lost(now, self.sub, out.lost);
            }
            let in_flight = f.sender.in_flight();
            self.subs.in_flight(now, self.sub, i as u32, in_flight);
        }
        // A probe goes whatever the budget says.
        if let Some(x) = self.flows[i].sender.next(&self.pool, now, 0) {
            if matches!(x.kind, XmitKind::Probe(_)) {
                self.transmit(i, &x);
            }
        }
        self.pump(i);
    }

    fn pump(&mut self, i: usize) {
        if !self.flows[i].running {
            return;
        }
        self.flows[i].fill(&mut self.pool);
        if self.flows[i].spec.who == Who::Smart && !self.flows[i].spec.up {
            return self.pump_smart();
        }
        let now = Now(self.now);
        loop {
            let f = &mut self.flows[i];
            let budget = match &mut f.bbr {
                None => f.hystart.allowance(self.now, &f.sender),
                Some(bbr) => match bbr.allowance(self.now, &f.sender) {
                    Ok(bytes) => bytes,
                    Err(at) => {
                        f.wake = at.map(|a| a.0);
                        return;
                    }
                },
            };
            let Some(x) = f.sender.next(&self.pool, now, budget) else { return };
            self.transmit(i, &x);
            self.flows[i].fill(&mut self.pool);
        }
    }

    fn pump_smart(&mut self) {
        let now = Now(self.now);
        for i in 0..self.flows.len() {
            let f = &mut self.flows[i];
            if f.running && f.spec.who == Who::Smart && !f.spec.up && f.sender.wants_to_send(&self.pool) {
                self.subs.ready(now, self.sub, i as u32);
            }
        }
        loop {
            match self.subs.next(now, self.sub) {
                Next::Send { flow, bytes } => {
                    let i = flow as usize;
                    self.flows[i].fill(&mut self.pool);
                    match self.flows[i].sender.next(&self.pool, now, bytes.max(MSS)) {
                        Some(x) => self.transmit(i, &x),
                        None => self.subs.unready(self.sub, flow),
                    }
                }
                Next::At(t) => {
                    self.smart_wake = Some(t.0.max(self.now + 1));
                    return;
                }
                Next::Blocked | Next::Idle => {
                    self.smart_wake = None;
                    return;
                }
            }
        }
    }

    fn transmit(&mut self, i: usize, x: &smartwire_engine::send::Xmit) {
        let now = Now(self.now);
        let len = x.seq_len();
        self.flows[i].sender.sent(&mut self.pool, now, x, 0);
        let f = &mut self.flows[i];
        f.sent_bytes += u64::from(len);
        if let Some(bbr) = &mut f.bbr {
            bbr.sent(self.now, &f.sender, len + HEADERS);
        }
        let pkt = Pkt { kind: Kind::Data { start: x.start, len }, flow: i };
        let (up, who, in_flight) = (f.spec.up, f.spec.who, f.sender.in_flight());
        if up {
            match who {
                Who::Smart => self.subs.on_uplink(now, self.sub, len),
                _ => self.foreign[1] += u64::from(len + HEADERS),
            }
            return self.enter_up(pkt);
        }
        match who {
            Who::Smart => {
                self.subs.on_sent(now, self.sub, i as u32, len);
                self.subs.in_flight(now, self.sub, i as u32, in_flight);
            }
            _ => self.foreign[0] += u64::from(len + HEADERS),
        }
        let longer = self.case.longer.filter(|l| self.now >= l.0).map_or(0, |l| l.1);
        match self.far(i) + longer {
            0 => self.enter_down(pkt),
            far => self.at(self.now + far, Act::Down(pkt)),
        }
    }
}
