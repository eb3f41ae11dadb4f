//! One script in one variant: the real engine between two scripted ends, in virtual time.

use std::collections::VecDeque;
use std::sync::Arc;

use smartwire_engine::api::{EventKind, Target};
use smartwire_engine::policy::{Policies, Table};
use smartwire_engine::{Command, Config, Csum, Engine, FlowKey, Now, Port, Rx, Side, Stats};

use super::frame::Session;
use super::model::{About, Body, Conn, End, Opt, Order, Packet, Said, Script, What, Who};
use super::seen;
use super::variant::Variant;
use crate::check::Checker;
use crate::settings;
use crate::world::SimIo;

/// When a script begins, ns: not at zero, so that nothing hides in a time that was never set.
const START: u64 = 1_000_000_000;
/// Frames that may be held, unless the script says otherwise.
const FRAMES: u32 = 4096;
/// More frames than any script needs: the engine does not stop.
const ENDLESS: usize = 20_000;

/// A packet that entered the wire or left it.
pub(super) struct Crossing {
    /// ns since the script began.
    pub at: u64,
    /// Who sent it, or who receives it.
    pub who: Who,
    pub sent: bool,
    pub frame: Vec<u8>,
    pub packet: Option<Packet>,
    /// What is wrong with it whatever anybody expects.
    pub problem: Option<String>,
}

/// What is wrong, and at which line of the script.
pub(super) struct Problem {
    pub line: usize,
    pub what: String,
}

/// What happened.
#[derive(Default)]
pub(super) struct Ran {
    pub crossings: Vec<Crossing>,
    /// What the engine said: after how many crossings, of which connection, what.
    pub said: Vec<(usize, usize, Said)>,
    pub problem: Option<Problem>,
}

struct Runner<'a> {
    v: &'a Variant,
    engine: Engine,
    io: SimIo,
    checker: Checker,
    checked: bool,
    sessions: Vec<Session>,
    now: u64,
    line: usize,
    said: VecDeque<(usize, Said)>,
    ran: Ran,
}

/// Runs a script; the error is about its settings.
pub(super) fn run(script: &Script, v: &Variant) -> Result<Ran, Problem> {
    let mut cfg = Config {
        max_flows: 256,
        max_active: 128,
        max_half_open: 64,
        max_subscribers: 64,
        max_segments: 2048,
        ..Config::default()
    };
    let (mut frames, mut book) = (FRAMES, 1 << 10);
    for (line, name, value) in &script.config {
        set(&mut cfg, &mut frames, &mut book, name, *value).map_err(|what| Problem { line: *line, what })?;
    }
    let engine = Engine::new(cfg, 7).map_err(|e| Problem { line: 1, what: e.to_string() })?;
    let mut io = SimIo::new(frames + 512, frames);
    io.limit_book(book);
    let first = Conn { subscriber: 1, again: None };
    let conns = std::iter::once(&first).chain(&script.conns).enumerate();
    let mut runner = Runner {
        v,
        engine,
        io,
        checker: Checker::default(),
        checked: !script.unchecked,
        sessions: conns.map(|(i, conn)| Session::new(v, i + 1, conn)).collect(),
        now: START,
        line: 0,
        said: VecDeque::new(),
        ran: Ran::default(),
    };
    runner.steps(script);
    runner.audit();
    Ok(runner.ran)
}

fn set(cfg: &mut Config, frames: &mut u32, book: &mut usize, name: &str, value: u64) -> Result<(), String> {
    match name {
        "frames" => *frames = value as u32,
        "book" => *book = value as usize,
        _ => settings::set(cfg, name, value)?,
    }
    Ok(())
}

impl Runner<'_> {
    fn side(&self, end: End) -> Side {
        match (end, self.v.swap) {
            (End::Client, false) | (End::Server, true) => Side::Access,
            _ => Side::Core,
        }
    }

    fn end(&self, side: Side) -> End {
        if self.side(End::Client) == side { End::Client } else { End::Server }
    }

    /// Notes what is wrong; the first such counts.
    fn wrong(&mut self, what: String) {
        let line = self.line;
        self.ran.problem.get_or_insert(Problem { line, what });
    }

    fn steps(&mut self, script: &Script) {
        let mut steps = script.steps.iter().peekable();
        while let Some(step) = steps.next() {
            self.line = step.line;
            match &step.what {
                What::Send { from, packet, .. } => {
                    self.pass(START + step.at.from);
                    let mut batch = vec![self.frame(*from, packet)];
                    // What comes with it comes in one batch.
                    while let Some(next) = steps.next_if(|s| matches!(s.what, What::Send { joined: true, .. })) {
                        if let What::Send { from, packet, .. } = &next.what {
                            batch.push(self.frame(*from, packet));
                        }
                    }
                    self.receive(batch);
                }
                What::Expect { .. } | What::Probes { .. } | What::Acks { .. } | What::Nothing => self.pass(START + step.at.to),
                other => {
                    self.pass(START + step.at.to);
                    self.other(other);
                }
            }
        }
        if let Some((conn, said)) = self.said.pop_front() {
            self.wrong(format!("the engine said `{}` and no line says so", event(conn, said)));
        }
    }

    fn other(&mut self, what: &What) {
        match what {
            What::Order { order, about, limit } => self.order(*order, *about, *limit),
            What::Policies(description) => {
                // It was built once when it was read.
                if let Ok(table) = Table::build(description) {
                    self.checker.allow(table.shapes(), table.clamps());
                    let mut policies = Policies::new(Arc::new(table));
                    self.engine.set_policies(Now(self.now), &mut policies, &mut self.io);
                    self.due();
                }
            }
            What::Memory(percent) => {
                self.io.leave_free(*percent);
                self.engine.on_time(Now(self.now), &mut self.io);
                self.collect();
            }
            What::Counter(name, expected) => match counter(self.engine.stats(), name) {
                None => self.wrong(format!("there is no counter `{name}`; see crates/engine/src/stats.rs")),
                Some(is) if !expected.holds(is as i64) => self.wrong(format!("counter {name} is {is}, not {expected}")),
                Some(_) => {}
            },
            What::Event { conn, said } => match self.said.pop_front() {
                Some(is) if is == (*conn, *said) => {}
                Some((c, s)) => self.wrong(format!("the engine said `{}`, not `{}`", event(c, s), event(*conn, *said))),
                None => self.wrong(format!("the engine never said `{}`", event(*conn, *said))),
            },
            What::Custody { to, bytes } => {
                let from = self.side(to.end.other()) as usize;
                let flow = self.engine.flows().find(|f| self.conn_of(&f.key) == Some(to.conn));
                let is = flow.map_or(0, |f| f.custody[from]) as i64;
                if !bytes.holds(is) {
                    self.wrong(format!("custody for the {to} is {is} bytes, not {bytes}"));
                }
            }
            What::Send { .. } | What::Expect { .. } | What::Probes { .. } | What::Acks { .. } | What::Nothing => {}
        }
    }

    fn order(&mut self, order: Order, about: About, limit: u64) {
        let conn = match about {
            About::Wire => 1,
            About::Subscriber(conn) | About::Flow(conn) => conn,
        };
        let scope = self.engine.flows().find(|f| self.conn_of(&f.key) == Some(conn)).map_or(0, |f| f.key.scope);
        let Some(session) = self.sessions.get(conn - 1) else {
            return self.wrong(format!("there is no connection {conn}"));
        };
        let target = match about {
            About::Wire => Target::Wire,
            About::Subscriber(_) => Target::Subscriber(session.subscriber(self.v.swap, scope)),
            About::Flow(_) => Target::Flow(session.key(self.v.swap, scope)),
        };
        let deadline = Now(self.now + limit);
        let command = match order {
            Order::Drain => Command::Drain { target, deadline },
            Order::Bypass => Command::Bypass { target, deadline },
            Order::Resume => Command::Resume { target },
        };
        self.engine.command(Now(self.now), command, &mut self.io);
        self.due();
    }

    fn conn_of(&self, key: &FlowKey) -> Option<usize> {
        // In a hairpin the engine takes either side for the client's.
        let of = |s: &Session| s.started() && [true, false].iter().any(|swap| s.key(*swap, key.scope) == *key);
        self.sessions.iter().rposition(of).map(|i| i + 1)
    }

    /// Builds a frame and notes that it was sent; its side and port pair.
    fn frame(&mut self, from: Who, packet: &Packet) -> (Side, u8, Vec<u8>) {
        let at = self.now - START;
        let frame = self.sessions[from.conn - 1].frame((at / 1_000_000) as u32, from, packet);
        let mut side = self.side(from.end);
        if packet.marks.wrong_side {
            side = side.other();
        }
        let crossing =
            Crossing { at, who: from, sent: true, frame: frame.clone(), packet: Some(packet.clone()), problem: None };
        self.ran.crossings.push(crossing);
        (side, packet.marks.pair.unwrap_or(0), frame)
    }

    fn receive(&mut self, batch: Vec<(Side, u8, Vec<u8>)>) {
        let mut rx = Vec::new();
        for (side, pair, frame) in batch {
            let outer = self.v.tunnel.wrap(&frame, self.end(side) as u8);
            let Some(id) = self.io.receive(&outer) else {
                return self.wrong("the script has used up all frames of the box; `config frames 8000`".into());
            };
            self.checker.on_in(self.now, side, &frame);
            let len = outer.len() as u16;
            rx.push(Rx { frame: id, off: 0, len, port: Port(2 * pair + side as u8), csum: Csum::Unverified });
        }
        self.engine.on_rx(Now(self.now), &rx, &mut self.io);
        self.due();
    }

    /// Time passes; what is due happens.
    fn pass(&mut self, until: u64) {
        while let Some(at) = self.engine.next_deadline().filter(|at| at.0 <= until) {
            self.now = self.now.max(at.0);
            self.engine.on_time(Now(self.now), &mut self.io);
            self.collect();
            if self.ran.crossings.len() > ENDLESS {
                return self.wrong("the engine sends without end".into());
            }
        }
        self.now = until;
    }

    /// What is due at this instant.
    fn due(&mut self) {
        self.engine.on_time(Now(self.now), &mut self.io);
        self.collect();
        self.pass(self.now);
    }

    /// What the engine said and sent.
    fn collect(&mut self) {
        while let Some(event) = self.engine.poll_event() {
            self.checker.on_event(&event);
            let said = match event.kind {
                EventKind::Optimizing => Said::Optimizing,
                EventKind::Refused(why) => Said::Refused(why),
                EventKind::Draining(why) => Said::Draining(why),
                EventKind::HandedBack(why) => Said::HandedBack(why),
                EventKind::Reset(why) => Said::Reset(why),
                EventKind::Closed => Said::Closed,
                // Scripts look at the counter.
                EventKind::Found(_) => continue,
            };
            let conn = self.conn_of(&event.key).unwrap_or(0);
            self.said.push_back((conn, said));
            self.ran.said.push((self.ran.crossings.len(), conn, said));
        }
        for (port, outer) in self.io.end_batch() {
            self.left(port, &outer);
        }
        let verdict = self.checker.end_batch(self.io.book());
        self.verdict(verdict);
    }

    fn verdict(&mut self, verdict: Result<(), String>) {
        if let (true, Err(broken)) = (self.checked, verdict) {
            self.wrong(broken.lines().next().unwrap_or_default().to_string());
        }
    }

    /// A frame left on a port.
    fn left(&mut self, port: Port, outer: &[u8]) {
        let (side, at) = (port.side(), self.now - START);
        let end = self.end(side);
        let frame = match self.v.tunnel.unwrap(outer, end.other() as u8) {
            Ok(frame) => frame,
            Err(broken) => return self.wrong(broken),
        };
        let verdict = self.checker.on_out(self.now, side, &frame);
        self.verdict(verdict);
        let mut seen = seen::read(&frame, end, &self.sessions);
        // What came in so is not the engine's doing, whatever it is.
        if let Some(came) = self.ran.crossings.iter().rev().find(|c| c.sent && c.frame == frame) {
            seen.problem = None;
            seen.to.conn = came.who.conn;
            // IPv6 can't be read here where IPv4 can: fragments, extension headers.
            let odd = |p: &&Packet| p.marks.fragment.is_some() || p.marks.ip_options;
            seen.packet = came.packet.as_ref().filter(odd).cloned().or(seen.packet).or_else(|| came.packet.clone());
            seen.packet.iter_mut().for_each(|p| p.marks.raw = true);
        }
        if let Some(Packet { marks, .. }) = &mut seen.packet {
            marks.pair = Some(port.0 / 2).filter(|p| *p > 0);
        }
        if let Some(Packet { body: Body::Tcp(seg), .. }) = &seen.packet {
            let val = seg.opts.iter().find_map(|o| if let Opt::Ts(Some((val, _))) = o { Some(*val) } else { None });
            if let Some(val) = val {
                let session = &mut self.sessions[seen.to.conn - 1];
                let clock = session.clock[end.other() as usize];
                session.received(end, seg.seq, clock.wrapping_add(val as u32));
            }
        }
        let (packet, problem) = (seen.packet, seen.problem);
        self.ran.crossings.push(Crossing { at, who: seen.to, sent: false, frame, packet, problem });
    }

    /// Frames that the engine has, and those that it can name.
    fn audit(&mut self) {
        let (owned, named) = (self.io.owned_frames() as u64, self.engine.stats().segments);
        if owned != named {
            self.wrong(format!("the engine owns {owned} frames and holds {named} segments: a frame leaked"));
        }
    }
}

/// A counter or gauge by its name; refusals, stops and findings as `refused.mptcp`, `stopped.idle`,
/// `found.mss-reversed`.
fn counter(stats: &Stats, name: &str) -> Option<u64> {
    use smartwire_engine::{Finding, RefuseReason, StopReason};
    if let Some(reason) = name.strip_prefix("refused.") {
        return RefuseReason::ALL.iter().position(|r| r.name() == reason).map(|i| stats.refused[i]);
    }
    if let Some(reason) = name.strip_prefix("stopped.") {
        return StopReason::ALL.iter().position(|r| r.name() == reason).map(|i| stats.stopped[i]);
    }
    if let Some(what) = name.strip_prefix("found.") {
        return Finding::ALL.iter().position(|f| f.name() == what).map(|i| stats.found[i]);
    }
    Stats::NAMES.iter().position(|n| *n == name).map(|i| stats.values()[i])
}

/// An event as a script writes it.
pub(super) fn event(conn: usize, said: Said) -> String {
    let what = match said {
        Said::Optimizing => "optimizing".into(),
        Said::Refused(why) => format!("refused {}", why.name()),
        Said::Draining(why) => format!("draining {}", why.name()),
        Said::HandedBack(why) => format!("handed-back {}", why.name()),
        Said::Reset(why) => format!("reset {}", why.name()),
        Said::Closed => "closed".into(),
    };
    if conn == 1 { format!("event {what}") } else { format!("event/{conn} {what}") }
}
