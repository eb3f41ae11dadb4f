//! Tests of the sender. [`Bed`] plays the flow around it by hand; [`path::Path`] is a network and a receiver in virtual
//! time. Both check the sender's lists and accounts, rebuilt from nothing, after every step.

mod accounts;
mod blame;
mod loss;
mod path;
mod probe;
mod reno;
mod window;

use super::queue::{FIN, LOST, OWNS, SACKED, SENT};
use super::*;

pub(super) const MSS: u32 = 1000;
pub(super) const MS: u64 = 1_000_000;

pub(super) fn params() -> SenderParams {
    SenderParams { mss: MSS as u16, sack: true, ts: true, ecn: false }
}

/// A sender, its clock and what it did. The stream begins at offset 1.
pub(super) struct Bed {
    pub s: Sender,
    pub pool: SegPool,
    pub now: Now,
    pub right: Off,
    pub link_full: bool,
    pub freed: Vec<FrameId>,
    /// Time, ms, what, and first byte of every transmission.
    pub log: Vec<(u64, XmitKind, Off)>,
    frames: u32,
    pub ts: u32,
    /// Audit every so many steps, and steps until the next.
    pub every: u32,
    steps: std::cell::Cell<u32>,
}

impl Bed {
    pub fn new() -> Bed {
        Bed::with(params())
    }

    pub fn with(params: SenderParams) -> Bed {
        let right = 1 + (1 << 24);
        Bed {
            s: Sender::new(&params, 1, right),
            pool: SegPool::new(4096),
            now: Now(1_000_000 * MS),
            right,
            link_full: false,
            freed: Vec::new(),
            log: Vec::new(),
            frames: 0,
            ts: 1,
            every: 1,
            steps: std::cell::Cell::new(0),
        }
    }

    /// A round trip of 100 ms is known and 10 segments are in flight since now.
    pub fn flying() -> Bed {
        Bed::flying_with(params())
    }

    pub fn flying_with(params: SenderParams) -> Bed {
        let mut b = Bed::with(params);
        b.s.seed_rtt(b.now, 100 * MS);
        // One round trip, so that what follows is no first flight.
        b.queue(1);
        b.pump();
        b.wait(100);
        b.ack(b.s.nxt());
        b.queue(10);
        b.pump();
        b.log.clear();
        b
    }

    pub fn seg(&mut self, len: u16, fin: bool) -> Seg {
        self.frames += 1;
        Seg {
            start: self.s.end(),
            frame: FrameId(self.frames),
            off: 0,
            frame_len: len + 54,
            l4: 34,
            payload_off: 54,
            len,
            held: 2048,
            fin,
            whole: true,
        }
    }

    pub fn queue(&mut self, segments: u32) {
        for _ in 0..segments {
            let seg = self.seg(MSS as u16, false);
            self.s.enqueue(&mut self.pool, &seg).unwrap();
        }
        self.audit();
    }

    /// Sends all that may be sent; returns how many.
    pub fn pump(&mut self) -> usize {
        let before = self.log.len();
        while let Some(x) = self.s.next(&self.pool, self.now, u32::MAX) {
            self.log.push((self.ms(), x.kind, x.start));
            self.s.sent(&mut self.pool, self.now, &x, self.ts);
            self.audit();
        }
        self.log.len() - before
    }

    pub fn ms(&self) -> u64 {
        self.now.0 / MS - 1_000_000
    }

    pub fn wait(&mut self, ms: u64) {
        self.now = self.now.after_ns(ms * MS);
    }

    /// Lets time pass, timers and what they make the sender do included; returns bytes found lost.
    pub fn run(&mut self, ms: u64) -> u32 {
        let end = self.now.after_ns(ms * MS);
        let mut lost = 0;
        while let Some(at) = self.s.deadline().filter(|d| *d <= end) {
            assert!(at >= self.now || self.s.deadline() != Some(self.now), "a timer that does not move on");
            self.now = self.now.max(at);
            lost += self.s.on_timer(&mut self.pool, self.now, self.link_full).lost;
            self.audit();
            self.pump();
            assert!(self.s.deadline().is_none_or(|d| d > self.now), "a timer that does not move on");
        }
        self.now = end;
        lost
    }

    pub fn on(&mut self, ack: AckIn<'_>) -> AckOut {
        let freed = &mut self.freed;
        let out = self.s.on_ack(&mut self.pool, self.now, &ack, |f| freed.push(f));
        self.audit();
        out
    }

    pub fn plain<'a>(&self, ack: Off) -> AckIn<'a> {
        AckIn {
            ack,
            right: self.right,
            sack: &[],
            dsack: None,
            ts_ecr: None,
            ece: false,
            pure: true,
            link_full: self.link_full,
        }
    }

    pub fn ack(&mut self, ack: Off) -> AckOut {
        let a = self.plain(ack);
        self.on(a)
    }

    /// SACK of whole segments, numbered from the first after una.
    pub fn sack(&mut self, ack: Off, sack: &[(Off, Off)]) -> AckOut {
        let a = AckIn { sack, ..self.plain(ack) };
        self.on(a)
    }

    /// What was sent since the last call, as (kind, segment number counted from offset `from`).
    pub fn sent_since(&mut self, from: Off) -> Vec<(XmitKind, u64)> {
        let base = from;
        self.log.drain(..).map(|(_, kind, start)| (kind, start.wrapping_sub(base) / u64::from(MSS))).collect()
    }

    pub fn audit(&self) {
        self.steps.set(self.steps.get() + 1);
        if self.steps.get() >= self.every {
            self.steps.set(0);
            audit(&self.s, &self.pool);
        }
    }
}

/// What the segments themselves say of the accounts.
#[derive(Default)]
struct Books {
    flight: u32,
    lost: u32,
    sacked: u32,
    held: u32,
    sacked_segs: u32,
    flying: Vec<u32>,
    losing: Vec<u32>,
    last_sacked: u32,
}

/// Rebuilds every list and account from the segments themselves.
pub(super) fn audit(s: &Sender, pool: &SegPool) {
    let books = walk(s, pool);
    let q = &s.q;
    assert_eq!((q.flight, q.lost, q.sacked, q.held), (books.flight, books.lost, books.sacked, books.held), "accounts");
    assert_eq!((q.flight_segs as usize, q.sacked_segs), (books.flying.len(), books.sacked_segs));
    assert_eq!(q.sacked_last, books.last_sacked);
    assert_eq!(u64::from(books.flight + books.lost + books.sacked), s.nxt - s.una);
    let mut in_flight = listed(pool, q.flight_head);
    let in_order = in_flight.windows(2).all(|w| pool.at(w[0]).xmit <= pool.at(w[1]).xmit);
    assert!(in_order, "the flight list is in order of transmission");
    let mut flying = books.flying;
    in_flight.sort_unstable();
    flying.sort_unstable();
    assert_eq!(in_flight, flying, "the flight list");
    assert_eq!(listed(pool, q.lost_head), books.losing, "the lost list, in order of sequence");
}

/// The list that begins with this segment.
fn listed(pool: &SegPool, mut id: u32) -> Vec<u32> {
    let mut out = Vec::new();
    while id != NONE {
        out.push(id);
        id = pool.at(id).xnext;
    }
    out
}

/// Goes through all segments in order of sequence.
fn walk(s: &Sender, pool: &SegPool) -> Books {
    let (mut at, mut id, mut prev, mut count) = (s.una, s.q.head, NONE, 0);
    let mut run_first = NONE;
    let mut books = Books { last_sacked: NONE, ..Books::default() };
    while id != NONE {
        let n = pool.at(id);
        assert_eq!((n.start, n.prev), (at, prev), "the sequence list has a gap");
        assert!(n.seq_len() > 0);
        assert_eq!(n.is(SENT), n.start < s.nxt);
        assert!(!n.is(SENT) || n.end() <= s.nxt);
        assert!(!(n.is(SACKED) && n.is(LOST)));
        match n.flags & (SENT | SACKED | LOST) {
            0 => {}
            f if f == SENT => {
                books.flight += n.seq_len();
                books.flying.push(id);
            }
            f if f == SENT | LOST => {
                books.lost += n.seq_len();
                books.losing.push(id);
            }
            f if f == SENT | SACKED => {
                books.sacked += n.seq_len();
                books.sacked_segs += 1;
                run_first = if run_first == NONE { id } else { run_first };
                if n.next == NONE || !pool.at(n.next).is(SACKED) {
                    assert_eq!((pool.at(run_first).xnext, n.xprev), (id, run_first), "the ends of a run");
                    run_first = NONE;
                }
                books.last_sacked = id;
            }
            f => panic!("flags {f}"),
        }
        books.held += if n.is(OWNS) { u32::from(n.seg().held) } else { 0 };
        assert!(n.len > 0 || n.is(FIN));
        count += 1;
        (at, prev, id) = (n.end(), id, n.next);
    }
    assert_eq!((at, prev), (s.end, s.q.tail));
    assert_eq!(count, pool.capacity() - pool.free(), "places in use");
    books
}

/// A generator for tests that print their seed (xorshift64).
pub(super) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % n
    }
    pub fn per_mille(&mut self, p: u64) -> bool {
        self.below(1000) < p
    }
}
