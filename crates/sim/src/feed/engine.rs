//! Bytes as what happens to an engine: what two ends send each other, in any order and with any numbers, damage, time, orders.
//! The engine may refuse, drop and reset; it must not panic (assertions are on, I1 and I2 among them), lose a frame or stand
//! still. As long as the ends send what ends send, the checkers at both taps hold it to all invariants; from the first thing
//! on that no end would send they only look on, since they tell forged bytes from real ones no better than the engine.

use smartwire_engine::api::Target;
use smartwire_engine::{Command, Config, Now, Side};

use crate::codec::{self, Opts, Path, Seg, ACK, CWR, ECE, FIN, PSH, RST, SYN, URG};
use crate::world::{phone_addr, server_addr, EngineSpec, Optimizer};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
/// Everything must be over so long after the last of what was fed, ns.
const END: u64 = 60 * S;

/// The bytes, read from the front.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Zero where there are no more.
    fn or_zero(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// A number, small ones more often: to the fourth power, with a sign.
    fn signed(&mut self) -> i64 {
        let byte = i64::from(self.or_zero() as i8);
        byte.signum() * byte.abs().pow(4) / 16
    }
}

/// One end of a connection, and what it has seen.
struct End {
    path: Path,
    isn: u32,
    /// Offset of what it sends next, and of what it expects.
    next: i64,
    expects: i64,
    stamp: u32,
    heard: u32,
}

impl End {
    fn new(path: Path, isn: u32) -> End {
        End { path, isn, next: 0, expects: 0, stamp: isn ^ 0x55, heard: 0 }
    }
}

struct Feed {
    wire: Optimizer,
    now: u64,
    ends: [End; 2],
    /// What the handshake agreed on.
    sack: bool,
    ts: bool,
    ecn: bool,
    shift: Option<u8>,
    ident: u16,
}

/// Feeds a sequence. Returns how many frames came in.
///
/// # Panics
/// Anything is wrong.
pub fn engine(data: &[u8]) -> u64 {
    let mut bytes = Bytes(data);
    let (what, how) = (bytes.or_zero(), bytes.or_zero());
    let mut feed = Feed::new(what, how);
    if what & 1 == 0 {
        feed.handshake();
    }
    while let Some(op) = bytes.next() {
        feed.step(op, &mut bytes);
    }
    feed.end()
}

impl Feed {
    fn new(what: u8, how: u8) -> Feed {
        let small = how & 1 != 0;
        let config = Config {
            max_flows: 4,
            max_active: if small { 1 } else { 4 },
            max_half_open: 8,
            max_subscribers: 4,
            max_segments: if small { 24 } else { 200 },
            stream_bytes: if small { 40_000 } else { 400_000 },
            delivery_limit_ns: 20 * S,
            idle_ns: if how & 2 != 0 { 5 * S } else { 120 * S },
            ..Config::default()
        };
        let frames = if small { (64, 40) } else { (300, 250) };
        let spec = EngineSpec { config, frames, book: if how & 4 != 0 { 0 } else { 4 }, ..EngineSpec::default() };
        let v6 = what & 2 != 0;
        let path = Path {
            src_mac: [2, 0, 0, 0, 1, 1],
            dst_mac: [2, 0, 0, 0, 2, 2],
            tags: Vec::new(),
            src: phone_addr(0, v6),
            dst: server_addr(v6),
            sport: 1000,
            dport: 443,
            ttl: 64,
            dscp: 0,
            label: 5,
        };
        let wraps = how & 8 != 0;
        let back = path.reversed();
        Feed {
            wire: Optimizer::new(&spec, 1).expect("an engine"),
            now: S,
            ends: [End::new(path, if wraps { u32::MAX - 3000 } else { 1000 }), End::new(back, if wraps { u32::MAX - 9 } else { 70_000 })],
            sack: what & 4 == 0,
            ts: what & 8 == 0,
            ecn: what & 16 != 0,
            shift: (what & 32 == 0).then_some(what >> 6 << 2),
            ident: 0,
        }
    }

    /// A segment of a side, by offsets.
    fn seg(&self, side: usize, seq: i64, ack: i64, flags: u8, len: usize) -> Seg {
        let (own, other) = (&self.ends[side], &self.ends[1 - side]);
        let syn = flags & SYN != 0;
        let opts = Opts {
            mss: syn.then_some(1400),
            ws: self.shift.filter(|_| syn),
            sack_ok: syn && self.sack,
            ts: self.ts.then_some((own.stamp, own.heard)),
            ..Opts::default()
        };
        let number = |isn: u32, offset: i64| isn.wrapping_add(offset as u32);
        // What stands at a place is always the same.
        let payload = (0..len as i64).map(|k| ((seq + k) * 31 >> 2) as u8).collect();
        let ecn = if self.ecn && len > 0 { 2 } else { 0 };
        Seg { seq: number(own.isn, seq), ack: number(other.isn, ack), flags, window: 4000, opts, payload, ecn, ..Seg::default() }
    }

    fn handshake(&mut self) {
        let ecn = if self.ecn { [ECE | CWR, ECE] } else { [0, 0] };
        for (side, seq, ack, flags) in [(0, 0, 0, SYN | ecn[0]), (1, 0, 1, SYN | ACK | ecn[1]), (0, 1, 1, ACK)] {
            let seg = self.seg(side, seq, ack, flags, 0);
            self.now += 10 * MS;
            self.enter(side, &seg, false);
            self.ends[side].next = 1;
            self.ends[1 - side].expects = 1;
            self.ends[1 - side].heard = self.ends[side].stamp;
        }
    }

    fn step(&mut self, op: u8, bytes: &mut Bytes<'_>) {
        let side = usize::from(op >> 3 & 1);
        if matches!(op & 7, 3 | 7) {
            self.wire.trust();
        }
        match op & 7 {
            0 | 1 => self.plain(side, op, bytes),
            2 => self.acknowledge(side, bytes),
            3 => self.odd(side, bytes),
            4 | 5 => {
                // 30 us to 8 s.
                let at = self.now + ((30_000 + 1_000 * u64::from(op >> 4)) << (bytes.or_zero() % 19));
                self.pass(at);
            }
            6 => self.order(op >> 3),
            _ => self.other(side, bytes),
        }
    }

    /// The next data of a side.
    fn plain(&mut self, side: usize, op: u8, bytes: &mut Bytes<'_>) {
        let len = [1400, 1, 100, usize::from(bytes.or_zero()) * 5][usize::from(op >> 6)];
        let fin = op & 0x30 == 0x30;
        if fin {
            // Data may follow it.
            self.wire.trust();
        }
        let flags = ACK | PSH | if fin { FIN } else { 0 };
        let (seq, ack) = (self.ends[side].next, self.ends[side].expects);
        let seg = self.seg(side, seq, ack, flags, len);
        self.ends[side].next += len as i64 + i64::from(fin);
        self.enter(side, &seg, false);
    }

    /// An acknowledgement, of all that was heard or of something else; one in four with SACK.
    fn acknowledge(&mut self, side: usize, bytes: &mut Bytes<'_>) {
        let (shape, off) = (bytes.or_zero(), bytes.signed());
        if shape & 1 != 0 || shape & 0x30 == 0x30 {
            self.wire.trust();
        }
        let ack = self.ends[side].expects + if shape & 1 == 0 { 0 } else { off };
        let mut seg = self.seg(side, self.ends[side].next, ack, ACK, 0);
        if shape & 2 != 0 {
            seg.window = [0, 1, 40, 65_535][usize::from(shape >> 2 & 3)];
        }
        if shape & 0x30 == 0x30 {
            let isn = self.ends[1 - side].isn;
            for k in 0..usize::from(shape >> 6).clamp(1, 3) {
                let from = ack + bytes.signed();
                seg.opts.sack[k] = (isn.wrapping_add(from as u32), isn.wrapping_add((from + bytes.signed()) as u32));
                seg.opts.sacks = k as u8 + 1;
            }
        }
        self.enter(side, &seg, false);
    }

    /// Any numbers, flags, lengths and timestamps; damage.
    fn odd(&mut self, side: usize, bytes: &mut Bytes<'_>) {
        let (shape, flags, len) = (bytes.or_zero(), bytes.or_zero(), usize::from(bytes.or_zero()) * 6);
        let seq = self.ends[side].next + if shape & 1 == 0 { 0 } else { bytes.signed() };
        let ack = self.ends[side].expects + if shape & 2 == 0 { 0 } else { bytes.signed() };
        let flags = if shape & 4 == 0 { ACK } else { flags & (SYN | ACK | FIN | RST | PSH | URG | ECE | CWR) };
        let mut seg = self.seg(side, seq, ack, flags, len.min(1400));
        if shape & 8 != 0 {
            seg.opts.ts = seg.opts.ts.map(|(val, ecr)| (val.wrapping_add(bytes.signed() as u32), ecr));
        }
        if shape & 16 != 0 {
            seg.payload.iter_mut().for_each(|b| *b ^= 0x5a);
        }
        if shape & 32 != 0 {
            seg.ecn = 3;
        }
        if shape & 64 != 0 {
            seg.opts.ts = None;
        }
        self.enter(side, &seg, shape & 128 != 0);
    }

    /// Frames that are no segment of the connection.
    fn other(&mut self, side: usize, bytes: &mut Bytes<'_>) {
        let path = self.ends[side].path.clone();
        let about = self.seg(1 - side, self.ends[side].expects, 0, ACK, 100);
        let frame = match bytes.or_zero() {
            0..=80 => path.udp(&[1, 2, 3], self.ident),
            81..=160 => path.too_big(&self.ends[1 - side].path.tcp(&about, 1), 600 + u32::from(bytes.or_zero()) * 4),
            161..=200 => Path { sport: 1001, ..path }.tcp(&self.seg(side, 0, 0, SYN, 0), 1),
            _ => bytes.0.iter().take(200).copied().chain([0; 14]).collect(),
        };
        self.frames(side, frame);
    }

    fn order(&mut self, which: u8) {
        let (target, deadline) = (Target::Wire, Now(self.now + S * u64::from(which >> 2)));
        let out = match which & 3 {
            0 => self.wire.order(self.now, Command::Drain { target, deadline }),
            1 => self.wire.order(self.now, Command::Bypass { target, deadline }),
            2 => self.wire.order(self.now, Command::Resume { target }),
            _ => {
                self.wire.leave_free(u32::from(which >> 2) * 15);
                self.wire.time(self.now)
            }
        };
        self.left(out);
    }

    /// A segment comes in, damaged perhaps.
    fn enter(&mut self, side: usize, seg: &Seg, damaged: bool) {
        self.ident = self.ident.wrapping_add(1);
        let mut frame = self.ends[side].path.tcp(seg, self.ident);
        if damaged {
            let at = 14 + usize::from(self.ident) % (frame.len() - 14);
            frame[at] ^= 1 << (self.ident % 8);
        }
        self.frames(side, frame);
    }

    fn frames(&mut self, side: usize, frame: Vec<u8>) {
        let from = if side == 0 { Side::Access } else { Side::Core };
        let out = self.wire.frames(self.now, from, &[frame]);
        self.left(out);
    }

    /// Time passes, from one thing that is due to the next; where that would be too many, the rest is late.
    fn pass(&mut self, until: u64) {
        let clock = until.saturating_sub(self.now) / MS;
        for round in 0..=300 {
            match self.wire.engine.next_deadline() {
                Some(at) if at.0 <= until => self.now = if round < 300 { self.now.max(at.0) } else { until },
                _ => break,
            }
            let out = self.wire.time(self.now);
            self.left(out);
        }
        self.now = self.now.max(until);
        self.ends.iter_mut().for_each(|end| end.stamp = end.stamp.wrapping_add(1 + clock as u32));
    }

    /// What leaves is heard by the ends, which go on from there.
    fn left(&mut self, out: Result<Vec<(Side, Vec<u8>)>, String>) {
        for (side, frame) in out.unwrap_or_else(|broken| panic!("at {} ns: {broken}", self.now)) {
            let Some(t) = codec::tcp(&frame, true).filter(|t| t.sum_ok && t.sport != 1001) else { continue };
            let (end, isn) = (side as usize, self.ends[side.other() as usize].isn);
            let start = i64::from(t.seg.seq.wrapping_sub(isn) as i32);
            let end = &mut self.ends[end];
            if start <= end.expects && t.seg.flags & RST == 0 {
                end.expects = end.expects.max(start + i64::from(t.seg.span()));
                end.heard = t.seg.opts.ts.map_or(end.heard, |ts| ts.0);
            }
        }
    }

    /// All is drained: nothing may be left, and no frame may be missing.
    fn end(&mut self) -> u64 {
        let (now, target) = (self.now, Target::Wire);
        let out = self.wire.order(now, Command::Drain { target, deadline: Now(now + 10 * S) });
        self.left(out);
        self.pass(now + END);
        let stats = self.wire.engine.stats();
        assert!(self.wire.engine.drained(), "after {END} ns: {stats:?}");
        assert_eq!((self.wire.io.owned_frames(), stats.segments, stats.custody_bytes), (0, 0, 0), "what is left");
        assert_eq!(self.wire.io.book().count(), 0, "places in the custody book");
        stats.frames_in
    }
}
