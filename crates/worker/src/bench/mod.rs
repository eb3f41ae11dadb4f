//! How fast the engine is on this machine: RX to TX without I/O, on one core, with many flows resident.
//!
//! ```text
//!   host     frame ledger (the real one), transmissions and a custody book, as a driver would give the engine
//!   flows    both ends of every connection: what they sent, got and were told
//!   traffic  which segment of which flow comes next, written into a frame of the ledger
//!   report   what came out
//! ```
//!
//! Only the calls of the engine are measured. Writing packets, playing the endpoints and checking every frame that
//! leaves happen between the measured stretches and are measured apart.

mod flows;
mod host;
mod report;
mod traffic;

use smartwire_engine::{Config, Engine, Now, Rx};
use smartwire_io::sys::thread_cpu_ns;
use smartwire_io::IoError;

use flows::Flows;
use host::Host;
pub use report::{Class, Report};
use traffic::Traffic;

/// Packets that the engine gets at once.
const BATCH: usize = 64;
/// Virtual time from packet to packet at a million flows, ns: 4 million packets per second. With fewer flows it is
/// longer, so that no link is asked for more than it can carry.
const GAP_NS: u64 = 250;
const GAP_LONGEST_NS: u64 = 10_000;
/// Flows that have something outstanding at a time: what comes in during a round trip.
const MOST_BUSY: u32 = 20_000;
/// Handshakes begun before the first of them is answered.
const ROUND: u32 = 4096;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Flows to be resident; half of them IPv6.
    pub flows: u32,
    /// Packets to measure in mixed batches; about as many again are measured by class.
    pub packets: u64,
    /// Of everything random.
    pub seed: u64,
}

/// Reads what is measured: nanoseconds, or whatever a test wants to know about the engine's calls.
pub type Meter = fn() -> u64;

/// A meter of nanoseconds of this thread's processor time: what else the machine does counts as little as can be.
pub fn nanoseconds() -> u64 {
    thread_cpu_ns()
}

/// Builds up the flows, uses each of them, and measures.
///
/// # Errors
/// One sentence: no memory, an engine that refuses the configuration, or flows that did not behave.
pub fn run(plan: &Plan, meter: Meter) -> Result<Report, IoError> {
    let bytes_per_flow = memory(plan, meter)?;
    let mut bench = Bench::new(plan, plan.flows / 2, meter)?;
    bench.report.bytes_per_flow = bytes_per_flow;
    bench.establish()?;
    bench.use_each()?;
    bench.mixed(plan.packets / 8);
    let warm = bench.spent;
    bench.mixed(plan.packets);
    bench.report.mixed(bench.spent.since(&warm));
    bench.by_class(plan.packets);
    bench.settle()?;
    bench.finish()
}

/// Growth of resident memory over as many established IPv6 flows, per flow; then each of them is used.
fn memory(plan: &Plan, meter: Meter) -> Result<f64, IoError> {
    let mut bench = Bench::new(plan, plan.flows, meter)?;
    let before = report::resident_bytes();
    bench.establish()?;
    let grown = report::resident_bytes().saturating_sub(before);
    bench.use_each()?;
    Ok(grown as f64 / f64::from(plan.flows))
}

/// Sums of what the meter said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    packets: u64,
    rx: u64,
    timers: u64,
    generator: u64,
}

impl Spent {
    fn since(&self, before: &Spent) -> Spent {
        Spent {
            packets: self.packets - before.packets,
            rx: self.rx - before.rx,
            timers: self.timers - before.timers,
            generator: self.generator - before.generator,
        }
    }
}

struct Bench {
    meter: Meter,
    engine: Engine,
    host: Host,
    flows: Flows,
    traffic: Traffic,
    now: u64,
    gap: u64,
    spent: Spent,
    report: Report,
}

impl Bench {
    /// With the first `v6` flows IPv6.
    fn new(plan: &Plan, v6: u32, meter: Meter) -> Result<Bench, IoError> {
        if plan.flows < 2 {
            return Err(IoError::new("A measurement needs at least 2 flows: give --flows 2 or more."));
        }
        // Room for what the windows of all flows promise that are busy at a time, or the engine would leave some alone.
        let frames = (plan.flows.min(MOST_BUSY) * 24).next_power_of_two().max(1 << 14);
        let cfg = Config {
            max_flows: plan.flows,
            max_active: plan.flows.min(1 << 17),
            max_subscribers: plan.flows / flows::PER_SUBSCRIBER + 2,
            max_segments: frames,
            stream_bytes: 16 << 10,
            mtu: 1600,
            ..Config::default()
        };
        // The generator's memory first, so that what grows afterwards is the engine's.
        let flows = Flows::new(plan.flows, v6, plan.seed);
        let host = Host::new(frames, plan.flows)?;
        let engine = Engine::new(cfg, plan.seed).map_err(|e| IoError::new(e.to_string()))?;
        Ok(Bench {
            meter,
            engine,
            host,
            traffic: Traffic::new(plan.seed),
            flows,
            now: 1_000_000_000,
            gap: (GAP_NS * 1_000_000 / u64::from(plan.flows)).clamp(GAP_NS, GAP_LONGEST_NS),
            spent: Spent::default(),
            report: Report { flows: plan.flows, ..Report::default() },
        })
    }

    /// Hands a batch to the engine, measures, and lets the endpoints have what comes out.
    fn batch(&mut self, rx: &[Rx]) -> u64 {
        let start = (self.meter)();
        self.take(rx);
        let middle = (self.meter)();
        self.time();
        let end = (self.meter)();
        self.spent.packets += rx.len() as u64;
        self.spent.rx += middle - start;
        self.spent.timers += end - middle;
        self.traffic.deliver(self.now, &mut self.host, &mut self.flows, &mut self.report);
        self.spent.generator += (self.meter)() - end;
        self.now += rx.len().max(1) as u64 * self.gap;
        middle - start
    }

    /// The two calls that are measured; functions of their own, so that a profiler can be told to look at nothing else.
    #[inline(never)]
    fn take(&mut self, rx: &[Rx]) {
        self.engine.on_rx(Now(self.now), rx, &mut self.host);
    }

    #[inline(never)]
    fn time(&mut self) {
        self.engine.on_time(Now(self.now), &mut self.host);
    }

    /// Opens every connection.
    fn establish(&mut self) -> Result<(), IoError> {
        let all = self.flows.count();
        self.handshakes(0, all);
        self.report.handshakes(self.spent, all);
        let optimized = self.engine.stats().optimized;
        if optimized != u64::from(all) {
            let refused = self.engine.stats().refused;
            return Err(IoError::new(format!(
                "Only {optimized} of {all} connections are optimized (refused, by code: {refused:?})."
            )));
        }
        Ok(())
    }

    /// SYN, SYN-ACK after the internet's round trip, ACK after the radio's, of the flows `from..to`.
    fn handshakes(&mut self, from: u32, to: u32) {
        let mut first = from;
        while first < to {
            let last = to.min(first + ROUND);
            let begun = self.now;
            for (step, wait) in [(traffic::Step::Syn, 0), (traffic::Step::SynAck, 30), (traffic::Step::Ack, 40)] {
                self.now = self.now.max(begun + wait * 1_000_000);
                let mut flow = first;
                while flow < last {
                    let began = (self.meter)();
                    let rx: Vec<Rx> = (flow..last.min(flow + BATCH as u32))
                        .map(|f| self.traffic.handshake(step, f, self.now, &mut self.host, &mut self.flows))
                        .collect();
                    self.spent.generator += (self.meter)() - began;
                    flow += BATCH as u32;
                    self.batch(&rx);
                }
            }
            first = last;
        }
    }

    /// One data segment on every connection, acknowledged by both.
    fn use_each(&mut self) -> Result<(), IoError> {
        self.traffic.eager = true;
        let mut rx = Vec::with_capacity(BATCH);
        for flow in 0..self.flows.count() {
            // Acknowledgements that are due come first.
            while rx.len() < BATCH && self.traffic.ack_is_due(self.now) {
                rx.extend(self.traffic.ack(self.now, &mut self.host, &mut self.flows));
            }
            if rx.len() >= BATCH {
                self.batch(&rx);
                rx.clear();
            }
            rx.extend(self.traffic.data(flow, self.now, &mut self.host, &mut self.flows));
        }
        self.batch(&rx);
        self.settle()?;
        self.traffic.eager = false;
        self.report.used = self.flows.acknowledged_early();
        if self.report.used != self.flows.count() {
            return Err(IoError::new(format!(
                "Only {} of {} connections had their data acknowledged by the engine.",
                self.report.used,
                self.flows.count()
            )));
        }
        Ok(())
    }

    /// Two thirds data, one third acknowledgements, as they come.
    fn mixed(&mut self, packets: u64) {
        let goal = self.spent.packets + packets;
        let mut rx = Vec::with_capacity(BATCH);
        while self.spent.packets < goal {
            let began = (self.meter)();
            while rx.len() < BATCH {
                rx.extend(self.traffic.next(self.now, &mut self.host, &mut self.flows).map(|(_, rx)| rx));
            }
            self.spent.generator += (self.meter)() - began;
            self.batch(&rx);
            rx.clear();
        }
    }

    /// The same packets in batches of one class each.
    fn by_class(&mut self, packets: u64) {
        let goal = self.spent.packets + packets;
        let before = self.spent;
        let mut bins: [Vec<Rx>; Class::COUNT] = std::array::from_fn(|_| Vec::with_capacity(BATCH));
        while self.spent.packets < goal {
            let Some((class, rx)) = self.traffic.next(self.now, &mut self.host, &mut self.flows) else { continue };
            bins[class as usize].push(rx);
            if bins[class as usize].len() == BATCH {
                let rx = std::mem::take(&mut bins[class as usize]);
                let spent = self.batch(&rx);
                self.report.class(class, BATCH as u64, spent);
                bins[class as usize] = rx;
                bins[class as usize].clear();
            }
        }
        self.report.timers(self.spent.since(&before));
        for bin in bins {
            self.batch(&bin);
        }
    }

    /// Lets virtual time pass until everything sent has arrived.
    fn settle(&mut self) -> Result<(), IoError> {
        let limit = self.now + 60_000_000_000;
        while self.now < limit {
            let mut rx = Vec::with_capacity(BATCH);
            while rx.len() < BATCH && self.traffic.is_due(self.now) {
                rx.extend(self.traffic.next(self.now, &mut self.host, &mut self.flows).map(|(_, rx)| rx));
            }
            let idle = rx.is_empty();
            self.batch(&rx);
            if idle {
                if self.traffic.quiet() && self.host.kept() == 0 {
                    return Ok(());
                }
                self.now += 1_000_000;
            }
        }
        Err(IoError::new(format!(
            "The engine still holds {} frames a minute after the last packet.",
            self.host.kept()
        )))
    }

    fn finish(mut self) -> Result<Report, IoError> {
        let behind = self.flows.not_delivered();
        if behind > 0 {
            return Err(IoError::new(format!("{behind} connections did not get all of their data.")));
        }
        let stats = self.engine.stats();
        self.report.most_late = self.traffic.most_late;
        self.report.retransmitted = stats.retransmitted;
        self.report.probes = stats.probes;
        self.report.generator(self.spent);
        Ok(self.report)
    }
}
