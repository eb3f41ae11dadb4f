//! The emulator in real time: one thread, two packet sockets, asleep until a frame comes or one is due.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::Duration;

use smartwire_io::raw::RawSocket;
use smartwire_io::sys::{clock_ns, Interest, PollSet};

use crate::emulator::record::Record;
use crate::emulator::{Control, Direction, Emulator, EmulatorSpec};
use crate::link::Fate;

/// Where frames come from and go to.
pub trait PacketPort {
    /// Hands waiting frames to `each`, without blocking; returns how many, 0 when none waits.
    fn recv_batch(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<usize, String>;
    /// Sends frames in order; returns how many were taken.
    fn send_batch(&mut self, frames: &[&[u8]]) -> Result<usize, String>;
    /// A descriptor that is readable while frames wait.
    fn fd(&self) -> RawFd;
}

impl PacketPort for RawSocket {
    fn recv_batch(&mut self, each: &mut dyn FnMut(&[u8])) -> Result<usize, String> {
        self.recv(|frame| each(frame.bytes)).map_err(|e| e.to_string())
    }

    fn send_batch(&mut self, frames: &[&[u8]]) -> Result<usize, String> {
        self.send(frames).map_err(|e| e.to_string())
    }

    fn fd(&self) -> RawFd {
        RawSocket::fd(self)
    }
}

/// What others may tell a running emulator.
#[derive(Debug, Default)]
pub struct Handle {
    /// Set it to end the run.
    pub stop: AtomicBool,
    /// Orders, carried out within 10 ms.
    pub orders: Mutex<Vec<Control>>,
}

/// Longest sleep: how late an order or a stop may be seen.
const NAP_NS: u64 = 10_000_000;
/// Batches taken from one port before the other has its turn.
const TURNS: usize = 4;

/// Frames on their way out of one port, in one buffer.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    refused: u64,
}

impl Outbox {
    fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    /// Sends everything; what the kernel does not take is dropped and counted: a link does not push back.
    fn flush(&mut self, port: &mut dyn PacketPort) {
        if self.ends.is_empty() {
            return;
        }
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let frames: Vec<&[u8]> = starts.zip(&self.ends).map(|(a, &b)| &self.bytes[a..b]).collect();
        let mut at = 0;
        let mut stuck = 0;
        while at < frames.len() {
            match port.send_batch(&frames[at..]) {
                Ok(0) => {
                    stuck += 1;
                    if stuck > 1000 {
                        self.refused += (frames.len() - at) as u64;
                        break;
                    }
                    std::thread::yield_now();
                }
                Ok(n) => (at, stuck) = (at + n, 0),
                // The first frame is refused for good: skip it.
                Err(_) => (at, self.refused) = (at + 1, self.refused + 1),
            }
        }
        self.bytes.clear();
        self.ends.clear();
    }
}

/// Runs an emulator between two ports until `handle.stop`. Returns a summary as JSON: packets per fate and direction,
/// frames that an interface refused, the lateness of departures.
pub fn run_between(
    spec: &EmulatorSpec,
    access: &mut dyn PacketPort,
    core: &mut dyn PacketPort,
    handle: &Handle,
) -> Result<String, String> {
    let mut emulator = Emulator::new(spec, clock_ns())?;
    let mut log = spec.log.as_ref().map(open_log).transpose()?;
    let mut poll = PollSet::new(&[Interest::readable(access.fd()), Interest::readable(core.fd())]);
    let mut outboxes: [Outbox; 2] = Default::default();
    let mut worst_late_ns = 0;
    while !handle.stop.load(Ordering::Relaxed) {
        if let Ok(mut orders) = handle.orders.lock() {
            for order in orders.drain(..) {
                emulator.control(clock_ns(), order);
            }
        }
        for _ in 0..TURNS {
            let taken = take(&mut emulator, access, Direction::Up, &mut outboxes)?
                + take(&mut emulator, core, Direction::Down, &mut outboxes)?;
            if taken == 0 {
                break;
            }
        }
        let now = clock_ns();
        if let Some(due) = emulator.next_event() {
            worst_late_ns = worst_late_ns.max(now.saturating_sub(due));
        }
        emulator.pop_due(now, &mut |d, frame| outboxes[d as usize].push(frame));
        outboxes[0].flush(access);
        outboxes[1].flush(core);
        if let Some(log) = &mut log {
            for record in emulator.drain_records() {
                log.write_all(&record.to_bytes()).map_err(|e| format!("cannot write the emulator's log: {e}"))?;
            }
        }
        let now = clock_ns();
        let sleep = emulator.next_event().map_or(NAP_NS, |at| at.saturating_sub(now)).min(NAP_NS);
        if sleep > 0 {
            poll.wait(Some(Duration::from_nanos(sleep))).map_err(|e| e.to_string())?;
        }
    }
    if let Some(log) = &mut log {
        log.flush().map_err(|e| format!("cannot write the emulator's log: {e}"))?;
    }
    Ok(summary(&emulator, &outboxes, worst_late_ns))
}

/// As [`run_between`], on two interfaces of the calling thread's network namespace, from a JSON [`EmulatorSpec`].
pub fn run(spec_json: &str, access: &str, core: &str, handle: &Handle) -> Result<String, String> {
    let spec = EmulatorSpec::from_json(spec_json)?;
    if access == core {
        return Err(format!("the emulator joins two interfaces, and both are {access}: name two different ones"));
    }
    let mut access = RawSocket::open(access).map_err(|e| e.to_string())?;
    let mut core = RawSocket::open(core).map_err(|e| e.to_string())?;
    run_between(&spec, &mut access, &mut core, handle)
}

fn open_log(path: &std::path::PathBuf) -> Result<BufWriter<File>, String> {
    let file = File::create(path).map_err(|e| format!("cannot create the log {}: {e}", path.display()))?;
    let mut log = BufWriter::with_capacity(1 << 18, file);
    log.write_all(&Record::header()).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    Ok(log)
}

fn take(
    emulator: &mut Emulator,
    port: &mut dyn PacketPort,
    direction: Direction,
    outboxes: &mut [Outbox; 2],
) -> Result<usize, String> {
    let now = clock_ns();
    port.recv_batch(&mut |frame| {
        emulator.on_frame(now, direction, frame, &mut |d, f| outboxes[d as usize].push(f));
    })
}

fn summary(emulator: &Emulator, outboxes: &[Outbox; 2], worst_late_ns: u64) -> String {
    let fates = emulator.fates();
    let direction = |d: usize| {
        let mut out = serde_json::Map::new();
        for (fate, packets) in Fate::ALL.iter().zip(fates[d]) {
            out.insert(fate.name().into(), packets.into());
        }
        out.insert("refused_by_interface".into(), outboxes[d].refused.into());
        serde_json::Value::Object(out)
    };
    serde_json::json!({
        "down_packets": direction(0),
        "up_packets": direction(1),
        "worst_lateness_ms": worst_late_ns as f64 / 1e6,
    })
    .to_string()
}
