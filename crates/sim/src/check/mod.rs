//! Checkers at both taps of the wire. They see frames in and frames out and the engine's public events, nothing of its
//! structures, and hold the invariants of tcp.md 2.2 against every packet:
//!
//! - I1 nothing is acknowledged that did not reach the wire, I4 intact; custody stands in the custody book;
//! - I2 acknowledgement and window edge never go back;
//! - I3 what leaves towards Y at s came from X at s (its content is checked by the endpoints);
//! - I5 timestamps are values really sent by whom they claim to be from, and never go back;
//! - I6, I7 acknowledgements towards Y are never ahead of what Y may know, and a FIN's only follows its receiver's;
//! - I8 a flow that is not optimized leaves byte for byte as it came, in order;
//! - nothing leaves beyond its receiver's window, nor what its receiver has acknowledged; an ACK stands where its stream has
//!   got to; SACK blocks below the acknowledgement report what came twice;
//! - in any millisecond at most 20 kB of a stream leaves, or 1.25 times what its receiver takes;
//! - what comes beyond a hole is reported with SACK; a congestion mark does not pass; a keepalive goes on to the real peer
//!   where nothing is in custody; a flow that is handed back after a drain leaves both ends with the other's own last word;
//! - a reset carries exactly the sequence number that its receiver accepts; checksums verify; nothing without timestamps
//!   where they were agreed.

mod burst;
mod stream;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::Ipv6Addr;

use smartwire_engine::api::EventKind;
use smartwire_engine::{CustodyMark, Event, FlowKey, Side, StopReason};

use crate::codec::{self, Tcp, ACK, FIN, RST, SYN};
use crate::rng::mix;
use burst::Burst;
use stream::Stream;

/// Access address and port, core address and port.
type Key = (Ipv6Addr, u16, Ipv6Addr, u16);

/// What the checker holds a flow to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Frames pass as they are.
    Raw,
    /// The engine stands in for both ends.
    Optimized,
    /// Ended, or replaced by a new connection of the same name: only what always holds is checked.
    Over,
}

/// One line of the packet log.
#[derive(Clone, Copy, Debug)]
struct Line {
    now: u64,
    out: bool,
    side: Side,
    flags: u8,
    seq: i64,
    len: u32,
    ack: i64,
    window: u16,
    ts: Option<(u32, u32)>,
    sacks: u8,
}

#[derive(Debug)]
struct Flow {
    mode: Mode,
    /// The mode changed in the present batch: either rule is accepted for its frames.
    turned: bool,
    /// It is being drained.
    draining: bool,
    /// It was handed back after a drain in the present batch.
    drained: bool,
    /// By the side that they come from.
    streams: [Stream; 2],
    /// By the side that they come from.
    bursts: [Burst; 2],
    expected: VecDeque<(Side, u64)>,
    recent: VecDeque<u64>,
    log: VecDeque<Line>,
    /// A SYN of another connection between the same ports, which nobody has answered yet.
    next_syn: Option<(Side, Vec<u8>)>,
}

impl Flow {
    fn new(mode: Mode) -> Flow {
        Flow {
            mode,
            turned: false,
            draining: false,
            drained: false,
            streams: Default::default(),
            bursts: Default::default(),
            expected: VecDeque::new(),
            recent: VecDeque::new(),
            log: VecDeque::new(),
            next_syn: None,
        }
    }

    fn note(&mut self, line: Line) {
        const LINES: usize = 60;
        if self.log.len() >= LINES {
            self.log.pop_front();
        }
        self.log.push_back(line);
    }
}

/// Payload that crossed the wire, by how it was treated. Bytes, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Of flows that were optimized at the time.
    pub under_custody: u64,
    /// Of all others.
    pub beside: u64,
}

/// The checkers of one wire.
#[derive(Debug, Default)]
pub struct Checker {
    flows: HashMap<Key, Flow>,
    /// Frames that are no TCP, which must leave as they came.
    other: VecDeque<(Side, u64)>,
    /// They may wait for a rate, and be dropped for it.
    shaped: bool,
    /// Handshakes may be told to announce smaller segments.
    clamped: bool,
    touched: Vec<Key>,
    share: Share,
    /// Memory may be short: what can't be stored need not be reported.
    short: bool,
    now: u64,
}

fn hash(frame: &[u8]) -> u64 {
    let mut h = frame.len() as u64;
    for word in frame.chunks(8) {
        let mut bytes = [0; 8];
        bytes[..word.len()].copy_from_slice(word);
        h = (h ^ u64::from_le_bytes(bytes)).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
    }
    mix(h)
}

/// What a frame is known by; of a handshake's, where segment sizes may be clamped, all but the one that it announces and
/// the checksum, which must still be right.
fn mark(frame: &[u8], t: &Tcp<'_>, clamped: bool) -> u64 {
    if !clamped || !t.seg.has(SYN) || !t.sum_ok {
        return hash(frame);
    }
    let mut blind = frame.to_vec();
    let l4 = t.ip.l4.as_ptr() as usize - frame.as_ptr() as usize;
    let mut at = l4 + 20;
    while let [kind, length] = *blind.get(at..at + 2).unwrap_or(&[]) {
        match (kind, length) {
            (2, 4) => {
                blind[at + 2..at + 4].fill(0);
                break;
            }
            (1, _) => at += 1,
            (0, _) | (_, 0..=1) => break,
            _ => at += usize::from(length),
        }
    }
    blind[l4 + 16..l4 + 18].fill(0);
    hash(&blind)
}

fn key(side_of_src: Side, t: &Tcp<'_>) -> Key {
    match side_of_src {
        Side::Access => (t.ip.src, t.sport, t.ip.dst, t.dport),
        Side::Core => (t.ip.dst, t.dport, t.ip.src, t.sport),
    }
}

impl Checker {
    /// Payload by treatment.
    pub fn share(&self) -> Share {
        self.share
    }

    /// Policies have rates, or clamp segment sizes: what may then happen to frames that otherwise leave as they came.
    pub fn allow(&mut self, shaped: bool, clamped: bool) {
        self.shaped |= shaped;
        self.clamped |= clamped;
    }

    /// Memory may be short in this world.
    pub fn expect_short_memory(&mut self) {
        self.short = true;
    }

    /// A frame comes in from `side`.
    pub fn on_in(&mut self, now: u64, side: Side, frame: &[u8]) {
        self.now = now;
        let Some(t) = codec::tcp(frame, true) else {
            return self.other.push_back((side.other(), hash(frame)));
        };
        let key = key(side, &t);
        self.touched.push(key);
        let mark = mark(frame, &t, self.clamped);
        let flow = self.flows.entry(key).or_insert_with(|| Flow::new(Mode::Raw));
        let other_syn = t.sum_ok && t.seg.has(SYN) && flow.other_connection(side, &t, frame);
        if flow.mode == Mode::Raw {
            flow.expected.push_back((side.other(), mark));
        }
        if flow.recent.len() >= 4096 {
            flow.recent.pop_front();
        }
        flow.recent.push_back(mark);
        if !t.sum_ok || other_syn {
            return;
        }
        if flow.mode == Mode::Optimized && !flow.turned && flow.custody() == 0 {
            flow.streams[side as usize].note_keepalive(&t);
        }
        let new = flow.streams[side as usize].on_in(&t);
        if self.short {
            flow.streams[side as usize].nothing_owed();
        }
        if flow.mode == Mode::Optimized {
            self.share.under_custody += new;
        } else {
            self.share.beside += new;
        }
        let [a, c] = &mut flow.streams;
        let (own, other) = if side == Side::Access { (a, c) } else { (c, a) };
        if t.seg.has(ACK) {
            own.note_ack(&t, other);
            let blocks = t.seg.opts.blocks().iter().map(|&(left, right)| other.range(left, right, own.acked));
            flow.bursts[side.other() as usize].acknowledged(now, own.acked, blocks);
        }
        let line = line(now, false, side, &t, flow);
        flow.note(line);
    }

    /// Something that the engine says of a flow.
    pub fn on_event(&mut self, event: &Event) {
        let k = &event.key;
        let key = (k.access_addr, k.access_port, k.core_addr, k.core_port);
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let mode = match event.kind {
            EventKind::Optimizing => Mode::Optimized,
            EventKind::Found(_) => return,
            EventKind::Draining(_) => {
                flow.draining = true;
                return;
            }
            EventKind::HandedBack(_) => Mode::Raw,
            // A refusal says so about a flow that passes as it is; a place that it had is given up.
            EventKind::Refused(_) => Mode::Raw,
            EventKind::Reset(_) | EventKind::Closed => Mode::Over,
        };
        if mode != flow.mode {
            flow.drained = std::mem::take(&mut flow.draining) && event.kind == EventKind::HandedBack(StopReason::Operator);
            flow.mode = mode;
            flow.turned = true;
            flow.expected.clear();
            for stream in &mut flow.streams {
                stream.turned();
            }
        }
        self.touched.push(key);
    }

    /// A frame leaves towards `side`. The error says which invariant it breaks, with the flow's packet log.
    pub fn on_out(&mut self, now: u64, side: Side, frame: &[u8]) -> Result<(), String> {
        self.now = now;
        let Some(t) = codec::tcp(frame, true) else {
            let left = (side, hash(frame));
            let found = if self.shaped { self.other.iter().position(|o| *o == left) } else { Some(0) };
            return match found.and_then(|at| self.other.remove(at)) {
                Some(expected) if expected == left => Ok(()),
                _ => Err("I8: a frame that is no TCP did not leave as it came".into()),
            };
        };
        let key = key(side.other(), &t);
        let Some(flow) = self.flows.get_mut(&key) else {
            return Err(format!("a frame of a flow that never came in left towards {side:?}"));
        };
        let line = line(now, true, side, &t, flow);
        flow.note(line);
        let verdict = judge(flow, now, side, mark(frame, &t, self.clamped), &t);
        verdict.map_err(|broken| {
            let log: Vec<String> = flow.log.iter().map(Line::to_string).collect();
            format!("{broken}\n{}", log.join("\n"))
        })
    }

    /// The batch is over: what passes untouched must have passed, and custody must stand in the book.
    pub fn end_batch<'a>(&mut self, book: impl Iterator<Item = &'a (FlowKey, CustodyMark)>) -> Result<(), String> {
        let touched: HashSet<Key> = self.touched.drain(..).collect();
        let mut custody: Vec<Key> = Vec::new();
        for key in touched {
            let Some(flow) = self.flows.get_mut(&key) else { continue };
            let turned = std::mem::take(&mut flow.turned);
            let broken = flow.silence(turned);
            flow.streams.iter_mut().for_each(Stream::settle);
            flow.bursts.iter_mut().for_each(Burst::settle);
            if let Some(broken) = broken {
                let log: Vec<String> = flow.log.iter().map(Line::to_string).collect();
                return Err(format!("{broken}\n{}", log.join("\n")));
            }
            if flow.mode == Mode::Raw && !turned && !flow.expected.is_empty() {
                let log: Vec<String> = flow.log.iter().map(Line::to_string).collect();
                return Err(format!("I8: a frame of a flow that is not optimized did not pass\n{}", log.join("\n")));
            }
            if flow.mode == Mode::Optimized && flow.custody() > 0 {
                custody.push(key);
            }
        }
        if !self.other.is_empty() && !self.shaped {
            return Err("I8: a frame that is no TCP did not pass".into());
        }
        if custody.is_empty() {
            return Ok(());
        }
        let marked: HashSet<Key> = book
            .filter(|(_, mark)| mark.custody)
            .map(|(k, _)| (k.access_addr, k.access_port, k.core_addr, k.core_port))
            .collect();
        match custody.iter().find(|k| !marked.contains(k)) {
            Some(key) => Err(format!("I1: the custody of {key:?} is not in the custody book")),
            None => Ok(()),
        }
    }
}

impl Flow {
    /// A SYN that is not this connection's: whether it begins another is known once it is answered. True for one that
    /// says nothing about this connection.
    fn other_connection(&mut self, side: Side, t: &Tcp<'_>, frame: &[u8]) -> bool {
        if !t.seg.has(ACK) && self.streams[side as usize].is_other_syn(t.seg.seq) {
            if self.mode == Mode::Optimized {
                self.next_syn = Some((side, frame.to_vec()));
                return true;
            }
            *self = Flow::new(Mode::Raw);
        }
        let answered = self.next_syn.take_if(|(from, syn)| {
            let syn = codec::tcp(syn, false);
            *from != side && syn.is_some_and(|syn| t.seg.has(SYN | ACK) && t.seg.ack == syn.seg.seq.wrapping_add(1))
        });
        if let Some((from, syn)) = answered {
            let mode = if self.mode == Mode::Raw { Mode::Raw } else { Mode::Over };
            *self = Flow::new(mode);
            if let Some(syn) = codec::tcp(&syn, false) {
                self.streams[from as usize].on_in(&syn);
            }
        }
        false
    }

    /// What was left unsaid in a batch.
    fn silence(&mut self, turned: bool) -> Option<&'static str> {
        let [a, c] = &self.streams;
        let drained = std::mem::take(&mut self.drained);
        if drained && !(a.heard_the_last_word(c) && c.heard_the_last_word(a)) {
            return Some("a flow was handed back, and not both ends were told what the other last said");
        }
        if a.hides_a_hole(c) || c.hides_a_hole(a) {
            return Some("what came beyond a hole is not reported");
        }
        let asking = a.asking.is_some() || c.asking.is_some();
        if asking && !turned && self.mode == Mode::Optimized && self.custody() == 0 {
            return Some("a keepalive did not go on to the peer, though nothing is in custody");
        }
        None
    }

    /// Bytes acknowledged to a sender by the engine and not by the receiver, over both streams.
    fn custody(&self) -> u64 {
        let has = |x: usize| self.streams[x].acked.max(self.streams[x].elsewhere).max(1);
        let of = |x: usize| self.streams[x].told_ack.saturating_sub(has(1 - x));
        of(0) + of(1)
    }
}

/// Everything that holds for a TCP frame that leaves towards `side`.
fn judge(flow: &mut Flow, now: u64, side: Side, mark: u64, t: &Tcp<'_>) -> Result<(), String> {
    flow.streams[side.other() as usize].note_left(t);
    let recent = &flow.recent;
    let as_it_came = || recent.contains(&mark);
    if flow.mode == Mode::Raw && !flow.turned {
        if flow.expected.pop_front() != Some((side, mark)) {
            return Err("I8: a frame of a flow that is not optimized did not leave as it came".into());
        }
        return Ok(());
    }
    if (flow.turned || flow.mode == Mode::Over) && as_it_came() {
        let [a, c] = &mut flow.streams;
        let (from, to) = if side == Side::Core { (a, c) } else { (c, a) };
        if t.sum_ok && t.seg.has(ACK) {
            to.note_told(from, t);
        }
        return Ok(());
    }
    if !t.sum_ok {
        return if as_it_came() { Ok(()) } else { Err("the checksum of a frame that left is wrong".into()) };
    }
    let [a, c] = &mut flow.streams;
    // `from` is the stream of the endpoint that the frame claims to come from, `to` that of the one it goes to.
    let (from, to) = if side == Side::Core { (a, c) } else { (c, a) };
    if t.seg.has(SYN) {
        return if as_it_came() { Ok(()) } else { Err("the handshake was changed".into()) };
    }
    if t.seg.has(RST) {
        return if as_it_came() { Ok(()) } else { from.check_reset(to, t) };
    }
    from.check_data(t)?;
    let optimized = flow.mode == Mode::Optimized && !flow.turned;
    if optimized && t.ip.ecn == 3 && !t.payload.is_empty() && from.ecn_agreed(to) {
        return Err("a congestion mark passed, though the engine acknowledged what bore it".into());
    }
    if optimized && !as_it_came() {
        let end = from.check_place(to, t)?;
        flow.bursts[side.other() as usize].leaves(now, t.payload.len() as u64, end)?;
    }
    if flow.mode == Mode::Over {
        return Ok(());
    }
    if t.seg.has(ACK) {
        to.check_ack(from, t, optimized, &as_it_came)?;
    }
    from.check_times(to, t, &as_it_came, optimized)
}

fn line(now: u64, out: bool, side: Side, t: &Tcp<'_>, flow: &Flow) -> Line {
    let from = if out { side.other() } else { side };
    let relative = |isn: Option<u32>, seq: u32| isn.map_or(i64::from(seq), |isn| i64::from(seq.wrapping_sub(isn)));
    Line {
        now,
        out,
        side,
        flags: t.seg.flags,
        seq: relative(flow.streams[from as usize].isn, t.seg.seq),
        len: t.payload.len() as u32,
        ack: relative(flow.streams[from.other() as usize].isn, t.seg.ack),
        window: t.seg.window,
        ts: t.seg.opts.ts,
        sacks: t.seg.opts.sacks,
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = match (self.out, self.side) {
            (false, Side::Access) => "phone >      ",
            (false, Side::Core) => "      < server",
            (true, Side::Access) => "phone <      ",
            (true, Side::Core) => "      > server",
        };
        let mut flags = String::new();
        for (bit, c) in [(SYN, 'S'), (FIN, 'F'), (RST, 'R'), (codec::PSH, 'P'), (ACK, '.'), (codec::ECE, 'E')] {
            if self.flags & bit != 0 {
                flags.push(c);
            }
        }
        let Line { seq, len, ack, window, .. } = self;
        write!(f, "{:>14.6} {who} {flags:<3} {seq}:{}({len}) ack {ack} win {window}", self.now as f64 / 1e9, seq + i64::from(*len))?;
        if let Some((val, ecr)) = self.ts {
            write!(f, " ts {val} {ecr}")?;
        }
        if self.sacks > 0 {
            write!(f, " sacks {}", self.sacks)?;
        }
        Ok(())
    }
}
