//! A network path and a receiver in virtual time: a rate, a queue, a delay, faults; and a Y that acknowledges as RFC 2018
//! and 2883 say. Shares no code with the engine's own receiver.

use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// What happens to a transmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Pass,
    Lose,
    /// Arrives later by so many ns.
    Late(u64),
}

/// What becomes of each transmission at a time, ms.
type Rule = Box<dyn FnMut(u64, &Xmit) -> Fate>;

/// An acknowledgement on its way: the number, SACK blocks, DSACK, echoed timestamp.
type Answer = (Off, Vec<(Off, Off)>, Option<(Off, Off)>, u32);

pub(crate) struct Path {
    pub b: Bed,
    /// One way, ns.
    pub delay: u64,
    /// Bytes per second towards Y; 0: no limit.
    pub rate: u64,
    /// Longest queue, ns of waiting; beyond it the tail is dropped.
    pub queue_ns: u64,
    busy: u64,
    /// Data on its way to Y: arrival → (start, end, ts).
    data: BTreeMap<(u64, u64), (Off, Off, u32)>,
    /// ACKs on their way back.
    acks: BTreeMap<(u64, u64), Answer>,
    serial: u64,
    /// Received out of order.
    got: BTreeSet<(Off, Off)>,
    newest: Vec<(Off, Off)>,
    pub rcv_nxt: Off,
    pub ts_recent: u32,
    pub fate: Rule,
    pub ack_fate: Box<dyn FnMut(u64) -> Fate>,
    /// Nothing arrives at either end from, until, ms; it arrives afterwards (radio buffers).
    pub frozen: (u64, u64),
    pub window: u64,
    /// The subscriber's budget, bytes in flight.
    pub budget: u32,
    pub refill: bool,
    pub cuts: u32,
    pub lost: u64,
    pub undone: u32,
    pub dropped: u64,
}

impl Path {
    /// `rtt_ms` round trip, `mbit` Mbit/s with a queue of `queue_ms`; the sender always has data.
    pub fn new(params: SenderParams, rtt_ms: u64, mbit: u64, queue_ms: u64) -> Path {
        let mut b = Bed::with(params);
        b.now = Now(1_000_000 * MS);
        b.right = 1 + (1 << 20);
        b.s.right = b.right;
        b.s.seed_rtt(b.now, rtt_ms * MS);
        // A prime, so that it meets every kind of step.
        b.every = 97;
        Path {
            b,
            delay: rtt_ms * MS / 2,
            rate: mbit * 125_000,
            queue_ns: queue_ms * MS,
            busy: 0,
            data: BTreeMap::new(),
            acks: BTreeMap::new(),
            serial: 0,
            got: BTreeSet::new(),
            newest: Vec::new(),
            rcv_nxt: 1,
            ts_recent: 0,
            fate: Box::new(|_, _| Fate::Pass),
            ack_fate: Box::new(|_| Fate::Pass),
            frozen: (0, 0),
            window: 1 << 20,
            budget: 250_000,
            refill: true,
            cuts: 0,
            lost: 0,
            undone: 0,
            dropped: 0,
        }
    }

    fn thaw(&self, at: u64) -> u64 {
        let origin = 1_000_000 * MS;
        let (from, until) = (origin + self.frozen.0 * MS, origin + self.frozen.1 * MS);
        if (from..until).contains(&at) {
            until
        } else {
            at
        }
    }

    fn carry(&mut self, x: &Xmit) {
        let now = self.b.now.0;
        let (start, end) = (x.start, x.start + u64::from(x.seq_len()));
        let fate = (self.fate)(self.b.ms(), x);
        let bytes = end - start + 60;
        let begins = now.max(self.busy);
        if fate == Fate::Lose || (self.rate > 0 && begins - now > self.queue_ns) {
            self.dropped += u64::from(x.id.is_some());
            return;
        }
        let through = (bytes * 1_000_000_000).checked_div(self.rate).unwrap_or(0);
        self.busy = begins + through;
        let late = if let Fate::Late(ns) = fate { ns } else { 0 };
        let at = self.thaw(self.busy + self.delay + late);
        self.serial += 1;
        self.data.insert((at, self.serial), (start, end, self.b.ts));
    }

    fn arrives(&mut self, at: u64, start: Off, end: Off, ts: u32) {
        let mut dsack = None;
        let whole = start < end;
        let held = self.got.iter().any(|b| b.0 <= start && end <= b.1);
        if whole && (end <= self.rcv_nxt || held) {
            dsack = Some((start, end));
        }
        if start <= self.rcv_nxt && whole {
            self.ts_recent = self.ts_recent.max(ts);
        }
        if whole && end > self.rcv_nxt && !held {
            let mut run = (start.max(self.rcv_nxt), end);
            let touching: Vec<_> = self.got.iter().filter(|b| b.0 <= run.1 && b.1 >= run.0).copied().collect();
            for t in touching {
                self.got.remove(&t);
                self.newest.retain(|n| *n != t);
                run = (run.0.min(t.0), run.1.max(t.1));
            }
            if run.0 <= self.rcv_nxt {
                self.rcv_nxt = run.1;
            } else {
                self.got.insert(run);
                self.newest.insert(0, run);
            }
        }
        let room = if dsack.is_some() { 2 } else { 3 };
        let blocks: Vec<_> = self.newest.iter().take(room).copied().collect();
        let late = match (self.ack_fate)(at / MS - 1_000_000) {
            Fate::Lose => return,
            Fate::Late(ns) => ns,
            Fate::Pass => 0,
        };
        let back = self.thaw(at + self.delay + late);
        self.serial += 1;
        self.acks.insert((back, self.serial), (self.rcv_nxt, blocks, dsack, self.ts_recent));
    }

    /// Runs until `ms` since the start.
    pub fn run_to(&mut self, ms: u64) {
        let end = Now((1_000_000 + ms) * MS);
        loop {
            if self.refill {
                let unsent = self.b.s.backlog() / MSS;
                if unsent < 100 && self.b.pool.free() > 200 {
                    self.b.queue(100);
                }
            }
            while let Some(x) = {
                let left = self.budget.saturating_sub(self.b.s.in_flight());
                self.b.s.next(&self.b.pool, self.b.now, left)
            } {
                self.b.log.push((self.b.ms(), x.kind, x.start));
                self.b.s.sent(&mut self.b.pool, self.b.now, &x, self.b.ts);
                self.carry(&x);
            }
            self.b.audit();
            let next = |m: Option<u64>| m.unwrap_or(u64::MAX);
            let d = next(self.data.first_key_value().map(|(k, _)| k.0));
            let a = next(self.acks.first_key_value().map(|(k, _)| k.0));
            let t = next(self.b.s.deadline().map(|d| d.0.max(self.b.now.0)));
            let at = d.min(a).min(t);
            if at > end.0 {
                self.b.now = end;
                self.b.ts = self.b.ms() as u32 + 1;
                return;
            }
            self.b.now = Now(at);
            self.b.ts = self.b.ms() as u32 + 1;
            if at == d {
                let (_, (start, end, ts)) = self.data.pop_first().unwrap();
                self.arrives(at, start, end, ts);
            } else if at == a {
                let (_, (ack, blocks, dsack, ecr)) = self.acks.pop_first().unwrap();
                self.hears(ack, &blocks, dsack, ecr);
            } else {
                let full = self.b.link_full;
                let out = self.b.s.on_timer(&mut self.b.pool, self.b.now, full);
                self.note(&out);
            }
        }
    }

    fn hears(&mut self, ack: Off, blocks: &[(Off, Off)], dsack: Option<(Off, Off)>, ecr: u32) {
        let sacks = self.b.s.params.sack;
        self.b.right = self.b.right.max(ack + self.window);
        let input = AckIn {
            sack: if sacks { blocks } else { &[] },
            dsack: dsack.filter(|_| sacks),
            ts_ecr: Some(ecr),
            ..self.b.plain(ack)
        };
        let out = self.b.on(input);
        assert!(!out.refused);
        self.note(&out);
    }

    fn note(&mut self, out: &AckOut) {
        self.cuts += u32::from(out.cut);
        self.undone += u32::from(out.undone);
        self.lost += u64::from(out.lost);
    }

    /// Bytes in order at Y.
    pub fn received(&self) -> u64 {
        self.rcv_nxt - 1
    }

    pub fn resent(&self) -> usize {
        self.b.log.iter().filter(|(_, k, _)| *k == XmitKind::Retransmit).count()
    }
}
