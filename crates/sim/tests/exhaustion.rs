//! Small scope, exhausted: every order of a few segments, with one of them dropped on either side of the wire or duplicated, or
//! none, and a drain ordered before each of them, or never. The ends are so simple that they can't be wrong in the same way as anything else: the
//! server repeats what is not acknowledged, the phone acknowledges what it has.

use smartwire_engine::api::Target;
use smartwire_engine::broken::{self, Broken};
use smartwire_engine::{Command, Config, Now, Side};
use smartwire_sim::codec::{self, Opts, Path, Seg, ACK, SYN};
use smartwire_sim::world::{phone_addr, server_addr, EngineSpec, Optimizer};

const MS: u64 = 1_000_000;
const SEGMENT: u32 = 100;
const ISN: [u32; 2] = [1000, u32::MAX - 150];

/// One of the small worlds.
struct Case {
    v6: bool,
    /// Which segment comes when; a drop is missing, a duplicate there twice.
    arrivals: Vec<u32>,
    segments: u32,
    /// Which one is lost between the wire and the phone, when it leaves first.
    lost: Option<u32>,
    /// Before which arrival a drain is ordered.
    stop: Option<usize>,
}

struct Run {
    wire: Optimizer,
    now: u64,
    path: Path,
    /// What the phone has of each segment, and what the server knows to be acknowledged.
    phone: Vec<bool>,
    acked: u32,
    lost: Option<u32>,
    /// When the phone acknowledges.
    ack_at: Option<u64>,
}

/// How long the phone takes: more than there is between two arrivals.
const ACK_AFTER: u64 = 3 * MS;

fn byte(offset: u32) -> u8 {
    (offset.wrapping_mul(151) >> 3) as u8
}

impl Run {
    fn new(case: &Case) -> Run {
        let config = Config { max_flows: 4, max_active: 4, max_half_open: 4, max_subscribers: 4, max_segments: 2048, ..Config::default() };
        let spec = EngineSpec { config, frames: (2048, 2000), book: 8, ..EngineSpec::default() };
        let path = Path {
            src_mac: [2, 0, 0, 0, 1, 0],
            dst_mac: [2, 0, 0, 0, 2, 0],
            tags: Vec::new(),
            src: phone_addr(0, case.v6),
            dst: server_addr(case.v6),
            sport: 1000,
            dport: 443,
            ttl: 64,
            dscp: 0,
            label: 5,
        };
        let wire = Optimizer::new(&spec, 1).unwrap();
        Run { wire, now: 1000 * MS, path, phone: vec![false; case.segments as usize], acked: 0, lost: case.lost, ack_at: None }
    }

    fn send(&mut self, side: Side, seg: &Seg) {
        let path = if side == Side::Access { self.path.clone() } else { self.path.reversed() };
        let out = self.wire.frames(self.now, side, &[path.tcp(seg, 7)]);
        self.arrive(out);
    }

    fn arrive(&mut self, out: Result<Vec<(Side, Vec<u8>)>, String>) {
        for (side, frame) in out.unwrap_or_else(|broken| panic!("{broken}")) {
            let t = codec::tcp(&frame, true).expect("a TCP segment");
            assert!(t.sum_ok && !t.seg.has(codec::RST), "damaged or reset");
            if t.seg.has(SYN) {
                continue;
            }
            if side == Side::Core {
                self.acked = self.acked.max(t.seg.ack.wrapping_sub(ISN[1].wrapping_add(1)));
            } else {
                self.phone_takes(&t);
            }
        }
    }

    fn phone_takes(&mut self, t: &codec::Tcp<'_>) {
        let start = t.seg.seq.wrapping_sub(ISN[1].wrapping_add(1));
        for (k, b) in t.payload.iter().enumerate() {
            assert_eq!(*b, byte(start + k as u32), "another byte than was sent");
        }
        if t.payload.len() as u32 == SEGMENT {
            if self.lost.take_if(|lost| *lost == start / SEGMENT).is_some() {
                return;
            }
            self.phone[(start / SEGMENT) as usize] = true;
        }
        if !t.payload.is_empty() || start != self.has() {
            self.ack_at.get_or_insert(self.now + ACK_AFTER);
        }
    }

    fn acknowledge(&mut self) {
        let ack = ISN[1].wrapping_add(1 + self.has());
        self.send(Side::Access, &Seg { seq: ISN[0].wrapping_add(1), ack, flags: ACK, window: 60_000, ..Seg::default() });
    }

    fn has(&self) -> u32 {
        self.phone.iter().take_while(|there| **there).count() as u32 * SEGMENT
    }

    fn handshake(&mut self) {
        let opts = Opts { mss: Some(1400), sack_ok: true, ..Opts::default() };
        let syn = Seg { seq: ISN[0], flags: SYN, window: 60_000, opts, ..Seg::default() };
        self.send(Side::Access, &syn);
        self.send(Side::Core, &Seg { seq: ISN[1], ack: ISN[0] + 1, flags: SYN | ACK, ..syn.clone() });
        let ack = ISN[1].wrapping_add(1);
        self.send(Side::Access, &Seg { seq: ISN[0] + 1, ack, flags: ACK, window: 60_000, ..Seg::default() });
    }

    fn segment(&mut self, k: u32) {
        let payload = (k * SEGMENT..(k + 1) * SEGMENT).map(byte).collect();
        let seq = ISN[1].wrapping_add(1 + k * SEGMENT);
        self.send(Side::Core, &Seg { seq, ack: ISN[0] + 1, flags: ACK, window: 60_000, payload, ..Seg::default() });
    }

    /// Time passes, with whatever is due.
    fn pass(&mut self, length: u64) {
        let until = self.now + length;
        loop {
            let due = self.wire.engine.next_deadline().map(|at| at.0);
            let Some(at) = due.into_iter().chain(self.ack_at).min().filter(|at| *at <= until) else { break };
            self.now = self.now.max(at);
            if self.ack_at.take_if(|at| *at <= self.now).is_some() {
                self.acknowledge();
            } else {
                let out = self.wire.time(self.now);
                self.arrive(out);
            }
        }
        self.now = until;
    }
}

fn run(case: &Case) {
    let mut run = Run::new(case);
    run.handshake();
    assert_eq!(run.wire.engine.stats().optimized, 1, "{:?}", run.wire.engine.stats().refused);
    for (i, k) in case.arrivals.iter().enumerate() {
        if case.stop == Some(i) {
            let command = Command::Drain { target: Target::Wire, deadline: Now(run.now + 100_000 * MS) };
            let out = run.wire.order(run.now, command);
            run.arrive(out);
        }
        run.segment(*k);
        run.pass(2 * MS);
    }
    let all = case.segments * SEGMENT;
    for _ in 0..40 {
        run.pass(300 * MS);
        if run.acked < all {
            run.segment(run.acked / SEGMENT);
        }
    }
    run.pass(10_000 * MS);
    assert!(run.phone.iter().all(|there| *there), "the phone has {:?}", run.phone);
    assert_eq!(run.acked, all, "the server was told of {} bytes of {all}", run.acked);
    assert_eq!(run.wire.engine.stats().custody_bytes, 0);
    assert_eq!(run.wire.io.owned_frames(), 0, "frames that nobody gave back");
    if case.stop.is_some() {
        assert!(run.wire.engine.drained(), "the drain never ended");
    }
}

/// Every order of 0..n.
fn orders(n: u32) -> Vec<Vec<u32>> {
    if n == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(n - 1);
    let insert = |order: &Vec<u32>, at: usize| [&order[..at], &[n - 1], &order[at..]].concat();
    shorter.iter().flat_map(|order| (0..n as usize).map(move |at| insert(order, at))).collect()
}

/// The order as it is, without each of its members, and with each of them twice: at once, and again at the end.
fn losses_and_copies(order: &[u32]) -> Vec<Vec<u32>> {
    let mut all = vec![order.to_vec()];
    for i in 0..order.len() {
        all.push([&order[..i], &order[i + 1..]].concat());
        all.push([&order[..=i], &order[i..]].concat());
        all.push([order, &order[i..=i]].concat());
    }
    all
}

/// Runs all small worlds with up to so many segments; returns how many they were.
fn exhaust(most: u32) -> u64 {
    let mut count = 0;
    for segments in 1..=most {
        for arrivals in orders(segments).iter().flat_map(|order| losses_and_copies(order)) {
            for stop in std::iter::once(None).chain((0..arrivals.len()).map(Some)) {
                // A drop on both sides of the wire at once is left out.
                let whole = arrivals.len() == segments as usize;
                for lost in std::iter::once(None).chain((0..segments).filter(|_| whole).map(Some)) {
                    let case = Case { v6: count % 2 == 1, arrivals: arrivals.clone(), segments, lost, stop };
                    let well = std::panic::catch_unwind(|| run(&case)).is_ok();
                    assert!(well, "segments arrive as {arrivals:?}, {lost:?} is lost, stop before {stop:?}, IPv6 {}", case.v6);
                    count += 1;
                }
            }
        }
    }
    count
}

#[test]
fn up_to_four_segments_in_every_order_with_every_loss_copy_and_stop() {
    println!("{} small worlds", exhaust(4));
}

#[test]
fn broken_engines_are_noticed() {
    for which in [Broken::CustodyDroppedAtStop, Broken::NoProbes, Broken::BookNotWritten] {
        broken::set(Some(which));
        let well = std::panic::catch_unwind(|| exhaust(3)).is_ok();
        broken::set(None);
        assert!(!well, "{which:?} is not noticed");
    }
}

/// `cargo test --release -p smartwire-sim --test exhaustion -- --ignored --nocapture`
#[test]
#[ignore = "a minute: a hundred thousand small worlds"]
fn up_to_six_segments_in_every_order_with_every_loss_copy_and_stop() {
    println!("{} small worlds", exhaust(6));
}
