//! The world in virtual time: phones - radio - wire - internet - servers. A heap of (time, order) and nothing else
//! decides what happens next; a run is a function of its description.

mod forge;
mod io;
mod net;
mod optimizer;
mod spec;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::Ipv6Addr;

use smartwire_engine::{Engine, Side};

pub use crate::check::Share;
use crate::codec;
use crate::endpoint::{Endpoint, Summary};
use crate::link::{Link, LinkPlan, Sample};
use crate::rng::mix;
pub use io::SimIo;
pub use net::{phone_addr, server_addr, ECHO_BYTES};
pub use optimizer::Optimizer;
pub use spec::{Action, EngineSpec, FlowSpec, Forgery, LinkId, Order, Whose, WireSpec, WorldSpec};

#[derive(Clone, Copy, Debug)]
enum Event {
    Link(usize),
    Wire,
    Endpoint(usize),
    Open(usize),
    Probe,
    Action(usize),
}

/// The next event of something: its time, and the order in which it was planned.
type Planned = Reverse<(u64, u64, usize)>;

/// Local address and port, remote address and port, place of the tunnel.
type Socket = (Ipv6Addr, u16, Ipv6Addr, u16, u8);

/// A UDP echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Echo {
    /// When it was sent, ns.
    pub sent_ns: u64,
    /// How long it took, ns; `None`: lost, or still under way.
    pub rtt_ns: Option<u64>,
}

/// The world. Broken invariants and wrong bytes panic with the seed and the packet log.
#[derive(Debug)]
pub struct World {
    spec: WorldSpec,
    now: u64,
    heap: BinaryHeap<Planned>,
    events: Vec<Event>,
    free_events: Vec<usize>,
    order: u64,
    links: Vec<Link<Vec<u8>>>,
    plans: Vec<LinkPlan>,
    /// The last segment of a connection that came to the wire, by side.
    last: [Option<Vec<u8>>; 2],
    link_at: Vec<Option<u64>>,
    /// The engine; `None`: copper.
    wire: Option<Box<Optimizer>>,
    wire_at: Option<u64>,
    remove_when_drained: bool,
    /// When the engine was replaced by copper.
    removed_at: Option<u64>,
    detour_until: [u64; 2],
    /// The engine does not run until then.
    asleep_until: Option<u64>,
    endpoints: Vec<Endpoint>,
    endpoint_at: Vec<Option<u64>>,
    sockets: HashMap<Socket, usize>,
    phones: HashMap<Ipv6Addr, usize>,
    echoes: Vec<Echo>,
    /// Frames seen at the wire, in and out, if they are kept: time, side, out, frame.
    capture: Option<Vec<Captured>>,
    deliveries: Vec<Option<Vec<(u64, u64)>>>,
}

/// A frame seen at the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Captured {
    /// When, ns.
    pub now: u64,
    /// At which side.
    pub side: Side,
    /// It left; otherwise it came in.
    pub out: bool,
    /// The frame.
    pub frame: Vec<u8>,
}

impl World {
    /// A world at time 0. The error is one sentence about the description.
    pub fn new(spec: WorldSpec) -> Result<World, String> {
        let mut plans = vec![plan(&spec.internet.0, "internet down")?, plan(&spec.internet.1, "internet up")?];
        for (down, up) in &spec.phones {
            plans.push(plan(down, "down")?);
            plans.push(plan(up, "up")?);
        }
        let links = plans.iter().enumerate().map(|(i, p)| Link::new(p, link_seed(spec.seed, i))).collect();
        let wire = match &spec.wire {
            WireSpec::Copper => None,
            WireSpec::Engine(e) => Some(Box::new(Optimizer::within(e, spec.seed, net::tunnels(&spec.flows))?)),
        };
        let mut world = World {
            now: 0,
            heap: BinaryHeap::new(),
            events: Vec::new(),
            free_events: Vec::new(),
            order: 0,
            links,
            link_at: vec![None; plans.len()],
            plans,
            last: [None, None],
            wire,
            wire_at: None,
            remove_when_drained: false,
            removed_at: None,
            detour_until: [0; 2],
            asleep_until: None,
            endpoints: Vec::new(),
            endpoint_at: Vec::new(),
            sockets: HashMap::new(),
            phones: HashMap::new(),
            echoes: Vec::new(),
            capture: None,
            deliveries: Vec::new(),
            spec,
        };
        world.populate();
        Ok(world)
    }

    fn populate(&mut self) {
        for k in 0..self.spec.phones.len() {
            for v6 in [false, true] {
                self.phones.insert(codec::subscriber(phone_addr(k, v6)), k);
            }
        }
        let tunnels = net::tunnels(&self.spec.flows);
        for i in 0..self.spec.flows.len() {
            let flow = &self.spec.flows[i];
            let tunnel = tunnels.iter().position(|t| *t == flow.tunnel).unwrap_or(0);
            let (phone, server) = net::endpoints(flow, i, self.spec.seed, tunnel as u8);
            self.endpoints.extend([phone, server]);
            self.plan(self.spec.flows[i].start_ns, Event::Open(i));
        }
        self.endpoint_at = vec![None; self.endpoints.len()];
        self.deliveries = vec![None; self.endpoints.len()];
        if let Some(every) = self.spec.probe_every_ns {
            self.plan(every, Event::Probe);
        }
        for i in 0..self.spec.actions.len() {
            self.plan(self.spec.actions[i].0, Event::Action(i));
        }
    }

    /// Keeps a [`Sample`] of every packet of this link.
    pub fn record(&mut self, link: LinkId) {
        self.links[link.index()].record();
    }

    /// Keeps every frame seen at the wire.
    pub fn record_frames(&mut self) {
        self.capture.get_or_insert_with(Vec::new);
    }

    /// Keeps the progress of what flow `i` delivers to its phone: (time, bytes in order).
    pub fn record_delivery(&mut self, flow: usize) {
        self.deliveries[2 * flow].get_or_insert_with(Vec::new);
    }

    /// Progress of a flow towards its phone, if it is recorded.
    pub fn delivery(&self, flow: usize) -> &[(u64, u64)] {
        self.deliveries[2 * flow].as_deref().unwrap_or(&[])
    }

    fn plan(&mut self, at: u64, event: Event) {
        let slot = self.free_events.pop().unwrap_or_else(|| {
            self.events.push(event);
            self.events.len() - 1
        });
        self.events[slot] = event;
        self.heap.push(Reverse((at.max(self.now), self.order, slot)));
        self.order += 1;
    }

    /// Runs up to and including `until` ns. Returns early, with `false`, when nothing will ever happen again.
    pub fn run_until(&mut self, until: u64) -> bool {
        let mut at_once = 0u32;
        while let Some(&Reverse((at, _, slot))) = self.heap.peek() {
            if at > until {
                self.now = until;
                return true;
            }
            self.heap.pop();
            at_once = if at == self.now { at_once + 1 } else { 0 };
            assert!(at_once < 1_000_000, "seed {}: no progress at {} ns", self.spec.seed, self.now);
            self.now = at;
            self.free_events.push(slot);
            self.happen(self.events[slot]);
        }
        self.now = self.now.max(until);
        false
    }

    /// Runs until every connection has ended or `limit` ns have passed; returns whether all have.
    pub fn run_to_end(&mut self, limit: u64) -> bool {
        const STEP: u64 = 100_000_000;
        while self.now < limit {
            if self.spec.flows.iter().all(|f| f.start_ns < self.now) && self.all_ended() {
                return true;
            }
            self.run_until((self.now + STEP).min(limit));
        }
        self.all_ended()
    }

    fn all_ended(&self) -> bool {
        use crate::endpoint::State;
        let over = |e: &Endpoint| !matches!(e.state(), State::Listen | State::SynSent | State::SynRcvd | State::Established);
        self.endpoints.iter().all(over)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Link(i) => {
                if self.link_at[i] == Some(self.now) {
                    self.link_at[i] = None;
                    self.serve_link(i);
                }
            }
            Event::Wire => self.wire_time(),
            Event::Endpoint(i) => {
                if self.endpoint_at[i] == Some(self.now) {
                    self.endpoint_at[i] = None;
                    self.with_endpoint(i, |e, now, out| e.on_time(now, out));
                }
            }
            Event::Open(flow) => self.open(flow),
            Event::Probe => self.probe(),
            Event::Action(i) => self.act(i),
        }
    }

    fn act(&mut self, i: usize) {
        match self.spec.actions[i].1.clone() {
            Action::Policies(description) => self.tell_policies(&description),
            Action::Order(order, whose, limit) => self.order_engine(order, whose, limit),
            Action::Freeze(link, length) => {
                self.links[link.index()].freeze(self.now, length);
                self.plan_link(link.index());
            }
            Action::Heal => {
                for i in 0..self.links.len() {
                    self.links[i].heal(self.now);
                    self.plan_link(i);
                }
            }
            Action::RemoveWhenDrained => {
                self.remove_when_drained = true;
                self.remove_if_drained();
            }
            Action::Inject(side, frame) => self.wire_in(side, vec![frame]),
            Action::Forge(side, how) => self.forge(side, &how),
            Action::Mtu(link, mtu) => self.links[link.index()].set_mtu(mtu),
            Action::Detour(side, length) => self.detour_until[side as usize] = self.now + length,
            Action::Memory(percent) => {
                if let Some(wire) = &mut self.wire {
                    wire.leave_free(percent);
                }
                self.wire_time();
            }
            Action::Sleep(length) => {
                self.asleep_until = Some(self.now + length);
                self.plan(self.now + length, Event::Wire);
            }
        }
    }

    /// Panics with everything that is needed to find and repeat it.
    fn broken(&self, what: &str) -> ! {
        panic!("seed {} at {:.6} s: {what}", self.spec.seed, self.now as f64 / 1e9)
    }

    // ---- looking ----

    /// Now, ns.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// How many connections there are.
    pub fn flow_count(&self) -> usize {
        self.spec.flows.len()
    }

    /// The phone's end and the server's of a connection.
    pub fn flow(&self, i: usize) -> (Summary, Summary) {
        (self.endpoints[2 * i].summary(), self.endpoints[2 * i + 1].summary())
    }

    /// Bytes received in order by the phone's end and the server's.
    pub fn received(&self, i: usize) -> (u64, u64) {
        (self.endpoints[2 * i].received(), self.endpoints[2 * i + 1].received())
    }

    /// The link.
    pub fn link(&self, link: LinkId) -> &Link<Vec<u8>> {
        &self.links[link.index()]
    }

    /// Samples of a recorded link since the last call.
    pub fn take_samples(&mut self, link: LinkId) -> Vec<Sample> {
        self.links[link.index()].take_samples()
    }

    /// Frames recorded since the last call.
    pub fn take_frames(&mut self) -> Vec<Captured> {
        self.capture.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Bytes that a link could have carried in `(from, to]`; `None`: unlimited.
    pub fn capacity_bytes(&self, link: LinkId, from: u64, to: u64) -> Option<u64> {
        self.plans[link.index()].capacity_bytes(link_seed(self.spec.seed, link.index()), from, to)
    }

    /// The engine, unless the wire is copper.
    pub fn engine(&self) -> Option<&Engine> {
        self.wire.as_ref().map(|w| &w.engine)
    }

    /// The engine's frames and custody book.
    pub fn io(&self) -> Option<&SimIo> {
        self.wire.as_ref().map(|w| &w.io)
    }

    /// Events of the engine since the last call.
    pub fn take_events(&mut self) -> Vec<smartwire_engine::Event> {
        self.wire.as_mut().map(|w| std::mem::take(&mut w.events)).unwrap_or_default()
    }

    /// Payload that crossed the engine, by treatment.
    pub fn share(&self) -> Share {
        self.wire.as_ref().map(|w| w.share()).unwrap_or_default()
    }

    /// May the engine give up custody, by its limits or those of orders?
    pub fn may_give_up(&self) -> bool {
        matches!(&self.spec.wire, WireSpec::Engine(e) if e.config.delivery_limit_ns < EngineSpec::default().config.delivery_limit_ns)
    }

    /// When the engine was replaced by copper, ns.
    pub fn removed_at(&self) -> Option<u64> {
        self.removed_at
    }

    /// The echoes sent so far.
    pub fn echoes(&self) -> &[Echo] {
        &self.echoes
    }
}

fn plan(spec: &crate::link::LinkSpec, name: &str) -> Result<LinkPlan, String> {
    LinkPlan::new(spec).map_err(|e| format!("{name}: {e}"))
}

/// Links draw from streams of their own: one more phone changes nothing for the others.
fn link_seed(seed: u64, index: usize) -> u64 {
    mix(seed ^ mix(0x11c4 + index as u64))
}
