//! Model TCP endpoints: they share no code with the engine, not even the packet library, so that a misconception of the
//! engine's has nobody to agree with. An endpoint runs a script of its application, checks every byte that it receives
//! against the peer's content generator, and tells how its connection ended.

mod bbr;
mod cc;
mod config;
mod content;
mod handshake;
mod output;
mod receive;
mod send;

pub use config::{CcKind, Step, TcpConfig};
pub use content::fill;
pub use send::SendTotals;

use crate::codec::{Path, Tcp, ACK, CWR, ECE, FIN, RST, SYN};
use crate::rng::Rng;
use receive::Receiver;
use send::{AckIn, Sender};

/// How a connection stands, or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for a SYN.
    Listen,
    /// Sent a SYN.
    SynSent,
    /// Answered a SYN.
    SynRcvd,
    /// The handshake is done; each direction may be closed already.
    Established,
    /// Both directions were closed, and the peer knows.
    Closed,
    /// The peer reset it.
    Reset,
    /// The script reset it.
    Aborted,
    /// The peer never answered.
    TimedOut,
}

/// One end of one connection.
#[derive(Debug)]
pub struct Endpoint {
    cfg: TcpConfig,
    path: Path,
    state: State,
    irs: u32,
    opts: Negotiated,
    send: Sender,
    recv: Receiver,
    script: Vec<Step>,
    at_step: usize,
    step_since: u64,
    step_done: Vec<u64>,
    content: [u64; 2],
    wrong: Option<String>,
    active: bool,
    syn_at: u64,
    syn_tries: u32,
    syn_timer: Option<u64>,
    closed_first: bool,
    heard_at: u64,
    keepalives: u32,
    first_byte_at: Option<u64>,
    ident: u16,
    rng: Rng,
}

#[derive(Clone, Copy, Debug, Default)]
struct Negotiated {
    ts: bool,
    sack: bool,
    /// Shifts of the peer's window fields and of ours.
    peer_shift: u8,
    our_shift: u8,
    ws: bool,
    ecn: bool,
}

/// What is known of an endpoint at the end.
#[derive(Clone, Debug)]
pub struct Summary {
    /// State.
    pub state: State,
    /// Payload bytes read or readable, in order.
    pub received: u64,
    /// Payload bytes that the application wrote.
    pub written: u64,
    /// Of these, acknowledged.
    pub acked: u64,
    /// The peer's FIN was reached.
    pub eof: bool,
    /// When each step of the script was done, ns.
    pub steps: Vec<u64>,
    /// All steps are done.
    pub finished: bool,
    /// When the first payload byte came.
    pub first_byte_at: Option<u64>,
    /// Counters of the sending half.
    pub sent: SendTotals,
    /// Data segments that the timestamp test threw away.
    pub paws: u64,
    /// Payload bytes that came more than once.
    pub repeated: u64,
    /// Round trips measured by the sending half, µs.
    pub rtt_us: Vec<u32>,
}

const MOST_TRIES: u32 = 15;

impl Endpoint {
    /// An endpoint on `path` (from here to the peer) that sends content `content[0]` and expects `content[1]`. It
    /// listens until [`Endpoint::connect`].
    pub fn new(cfg: TcpConfig, path: Path, script: Vec<Step>, content: [u64; 2]) -> Endpoint {
        let rng = Rng::stream(content[0], 0xe9d);
        Endpoint {
            send: Sender::new(&cfg, u64::from(cfg.mss), false, content[0]),
            recv: Receiver::new(&cfg, 0),
            state: State::Listen,
            irs: 0,
            opts: Negotiated::default(),
            script,
            at_step: 0,
            step_since: 0,
            step_done: Vec::new(),
            content,
            wrong: None,
            active: false,
            syn_at: 0,
            syn_tries: 0,
            syn_timer: None,
            closed_first: false,
            heard_at: 0,
            keepalives: 0,
            first_byte_at: None,
            ident: rng.clone().bits() as u16,
            rng,
            cfg,
            path,
        }
    }

    /// Where its frames go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// State.
    pub fn state(&self) -> State {
        self.state
    }

    /// The first byte that was not as it was sent, in words.
    pub fn wrong(&self) -> Option<&str> {
        self.wrong.as_deref()
    }

    /// All that is known of it.
    pub fn summary(&self) -> Summary {
        Summary {
            state: self.state,
            received: self.recv.nxt - 1 - u64::from(self.recv.eof),
            written: self.send.written - 1,
            acked: (self.send.una - 1).min(self.send.written - 1),
            eof: self.recv.eof,
            steps: self.step_done.clone(),
            finished: self.at_step >= self.script.len(),
            first_byte_at: self.first_byte_at,
            sent: self.send.totals,
            paws: self.recv.paws,
            repeated: self.recv.repeated,
            rtt_us: self.send.rtt_samples().to_vec(),
        }
    }

    /// Payload bytes received in order so far.
    pub fn received(&self) -> u64 {
        self.recv.nxt - 1 - u64::from(self.recv.eof)
    }

    /// Active open.
    pub fn connect(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        self.state = State::SynSent;
        self.active = true;
        self.step_since = now;
        self.send_syn(now, out);
    }

    fn ts(&self, now: u64) -> u32 {
        self.cfg.ts_at_zero.wrapping_add((now / 1_000_000) as u32)
    }

    /// Room for options in every data segment (RFC 6691).
    fn option_bytes(&self) -> u64 {
        let ts = if self.opts.ts { 12 } else { 0 };
        let sack = if self.opts.sack && self.cfg.sack_on_data { 28 } else { 0 };
        ts + sack
    }

    fn alive(&self) -> bool {
        matches!(self.state, State::SynRcvd | State::Established)
    }

    // ---- input ----

    /// A segment for this connection arrives. Damaged ones are dropped, as a kernel does.
    pub fn on_segment(&mut self, now: u64, t: &Tcp<'_>, out: &mut Vec<Vec<u8>>) {
        if !t.sum_ok {
            return;
        }
        match self.state {
            State::Listen | State::SynSent => self.on_handshake(now, t, out),
            State::SynRcvd | State::Established => self.on_data(now, t, out),
            State::Closed if self.closed_first => {
                // TIME-WAIT: only a FIN sent again, or what is out of order, is answered.
                if !t.seg.has(RST) && t.seg.span() + t.payload.len() as u32 > 0 {
                    self.send_ack(now, out);
                }
            }
            _ if !t.seg.has(RST) && t.seg.has(ACK) => self.send_rst(t.seg.ack, out),
            _ => {}
        }
    }

    fn offset(&self, seq: u32) -> u64 {
        near(self.irs, self.recv.nxt, seq)
    }

    fn on_data(&mut self, now: u64, t: &Tcp<'_>, out: &mut Vec<Vec<u8>>) {
        let start = self.offset(t.seg.seq);
        if t.seg.has(RST) {
            return self.on_rst(now, start, out);
        }
        if t.seg.has(SYN) {
            return self.on_stray_syn(now, t, out);
        }
        let end = start + t.payload.len() as u64;
        if self.opts.ts {
            // RFC 7323 section 3.2: a segment without the option is dropped.
            let Some((val, _)) = t.seg.opts.ts else { return };
            if !self.recv.paws_ok(val, !t.payload.is_empty()) {
                return self.send_ack(now, out);
            }
            if self.recv.acceptable(start, end + u64::from(t.seg.has(FIN))) {
                self.recv.note_timestamp(val, start);
            }
        }
        self.heard_at = now;
        self.keepalives = 0;
        if !t.seg.has(ACK) {
            return;
        }
        let carries = end > start || t.seg.has(FIN);
        if !self.recv.acceptable(start, end + u64::from(t.seg.has(FIN))) {
            self.recv.take(now, start, end, t.seg.has(FIN));
            return self.progress(now, out);
        }
        if !self.on_ack(now, t, start, carries) {
            return self.send_ack(now, out);
        }
        if !self.alive() {
            return;
        }
        if carries {
            self.on_payload(now, t, start, end);
        }
        self.progress(now, out);
    }

    fn on_payload(&mut self, now: u64, t: &Tcp<'_>, start: u64, end: u64) {
        if t.seg.ecn == 3 && self.opts.ecn {
            self.recv.ece = true;
        }
        if t.seg.has(CWR) {
            self.recv.ece = false;
        }
        if end > start {
            if let Some(at) = content::first_wrong(self.content[1], start.wrapping_sub(1), t.payload) {
                self.wrong.get_or_insert_with(|| {
                    format!("the byte at offset {at} is not the one that was sent (segment {start}..{end})")
                });
            }
            self.first_byte_at.get_or_insert(now);
        }
        if self.rng.chance(self.cfg.renege) {
            self.recv.renege();
        }
        self.recv.take(now, start, end, t.seg.has(FIN));
    }

    fn on_rst(&mut self, now: u64, start: u64, out: &mut Vec<Vec<u8>>) {
        // RFC 5961 section 3.2: exact or nothing; in the window, a challenge.
        if start == self.recv.nxt && self.state == State::SynRcvd && !self.active {
            // Back to listening (RFC 9293 3.10.7.4).
            self.state = State::Listen;
            self.syn_timer = None;
            self.syn_tries = 0;
        } else if start == self.recv.nxt {
            self.end(State::Reset);
        } else if self.recv.acceptable(start, start) {
            self.send_ack(now, out);
        }
    }

    fn on_stray_syn(&mut self, now: u64, t: &Tcp<'_>, out: &mut Vec<Vec<u8>>) {
        if self.state == State::SynRcvd && !t.seg.has(ACK) && t.seg.seq == self.irs {
            self.send_syn(now, out);
        } else {
            // RFC 5961 section 4.2. A SYN-ACK sent again is answered the same way.
            self.send_ack(now, out);
        }
    }

    fn on_ack(&mut self, now: u64, t: &Tcp<'_>, start: u64, carries: bool) -> bool {
        if self.state == State::SynRcvd {
            if t.seg.ack != self.cfg.isn.wrapping_add(1) {
                return false;
            }
            let rtt = (self.syn_tries == 1).then(|| now - self.syn_at);
            self.establish(now, rtt, u64::from(t.seg.window) << self.opts.peer_shift);
        }
        let unwrap = |seq| near(self.cfg.isn, self.send.una, seq);
        let age = t.seg.opts.ts.filter(|ts| ts.1 != 0).map(|ts| u64::from(self.ts(now).wrapping_sub(ts.1)) * 1_000_000);
        let ack = AckIn {
            seq: start,
            ack: unwrap(t.seg.ack),
            window: u64::from(t.seg.window) << self.opts.peer_shift,
            echo_age: if self.opts.ts { age } else { None },
            blocks: t.seg.opts.blocks().iter().map(|b| (unwrap(b.0), unwrap(b.1))).collect(),
            ece: self.opts.ecn && t.seg.has(ECE),
            carries,
        };
        self.send.on_ack(now, &ack)
    }

    /// ICMP says that packets to the peer must not exceed `mtu` bytes.
    pub fn on_too_big(&mut self, now: u64, mtu: u32, out: &mut Vec<Vec<u8>>) {
        let header = if self.path.src.to_ipv4_mapped().is_some() { 40 } else { 60 };
        self.send.shrink_mss(u64::from(mtu.saturating_sub(header)).saturating_sub(self.option_bytes()).max(48));
        self.progress(now, out);
    }

    // ---- time ----

    /// When [`Endpoint::on_time`] must be called.
    pub fn deadline(&self) -> Option<u64> {
        let step = match self.script.get(self.at_step) {
            Some(Step::Wait(ns)) if self.alive() => Some(self.step_since + ns),
            Some(Step::Until(at)) if self.alive() => Some(*at),
            _ => None,
        };
        let timers = if self.alive() { [self.send.deadline(), self.recv.delack_at()] } else { [None; 2] };
        let keepalive = self.cfg.keepalive_ns.filter(|_| self.state == State::Established);
        let keepalive = keepalive.map(|ns| self.heard_at + ns * u64::from(1 + self.keepalives));
        [self.syn_timer, step, timers[0], timers[1], keepalive].into_iter().flatten().min()
    }

    /// Whatever is due.
    pub fn on_time(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        if self.syn_timer.is_some_and(|at| at <= now) {
            if self.syn_tries > 7 {
                return self.end(State::TimedOut);
            }
            self.send_syn(now, out);
        }
        if !self.alive() {
            return;
        }
        if self.recv.delack_at().is_some_and(|at| at <= now) {
            self.recv.ack_now = true;
        }
        let mut emits = Vec::new();
        if self.send.on_timer(now, &mut emits) {
            self.send_probe(now, out);
        }
        if self.send.tries() > MOST_TRIES {
            self.send_rst(self.cfg.isn.wrapping_add(self.send.nxt as u32), out);
            return self.end(State::TimedOut);
        }
        self.send_segments(now, &emits, out);
        self.keep_alive(now, out);
        self.progress(now, out);
    }

    fn keep_alive(&mut self, now: u64, out: &mut Vec<Vec<u8>>) {
        let Some(every) = self.cfg.keepalive_ns.filter(|_| self.state == State::Established) else { return };
        if now < self.heard_at + every * u64::from(1 + self.keepalives) {
            return;
        }
        self.keepalives += 1;
        if self.keepalives > 9 {
            self.send_rst(self.cfg.isn.wrapping_add(self.send.nxt as u32), out);
            return self.end(State::TimedOut);
        }
        self.send_probe(now, out);
    }
}

/// The offset nearest to `near` whose sequence number is `seq`, where offset 0 is `isn`.
fn near(isn: u32, near: u64, seq: u32) -> u64 {
    let delta = seq.wrapping_sub(isn.wrapping_add(near as u32)) as i32;
    near.wrapping_add_signed(i64::from(delta))
}

