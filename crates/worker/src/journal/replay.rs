//! A journal through an engine in virtual time.

use std::path::Path;

use smartwire_engine::{CustodyMark, Engine, FlowKey, FrameId, Io, Port, Rx, Stats};
use smartwire_io::IoError;

use crate::policies::Ruling;
use super::codec::{self, ReadCall, Reader};
use super::{Digest, Question, MAGIC, QUESTIONS};

/// What came of a replay.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Calls made.
    pub calls: u64,
    /// Frames in.
    pub frames_in: u64,
    /// Frames out.
    pub frames_out: u64,
    /// Bytes out.
    pub bytes_out: u64,
    /// Digest of all frames that went out.
    pub digest: u64,
    /// Number of the first call after which the output was not what was recorded, and its time, ns.
    pub first_difference: Option<(u64, u64)>,
    /// Time covered, ns.
    pub duration_ns: u64,
    /// The last record was cut off (the process was killed).
    pub cut_off: bool,
    /// The engine's counters at the end.
    pub stats: Stats,
}

/// Replays a journal and compares the output, frame by frame, with what was recorded.
///
/// # Errors
/// The file is no journal, or one of another version.
pub fn replay_journal(path: &Path) -> Result<Replayed, IoError> {
    let bytes = std::fs::read(path).map_err(|e| IoError::os(format!("read {}", path.display()), e))?;
    let wrong = |why: &str| IoError::new(format!("{} cannot be replayed: {why}.", path.display()));
    let mut reader = Reader::new(&bytes);
    if reader.take(8) != Some(MAGIC) {
        return Err(wrong("it is no journal (`smartwire run ... --journal FILE` writes one)"));
    }
    let header = reader.u32().and_then(|n| reader.take(n as usize)).and_then(|t| std::str::from_utf8(t).ok());
    let header = codec::read_header(header.ok_or_else(|| wrong("it is cut off in its header"))?).map_err(|e| wrong(&e))?;
    let engine = Engine::new(header.config, header.seed).map_err(|e| wrong(&e.to_string()))?;
    let mut run = Run { engine, io: Memory::new(header.chunk, header.keepable) };
    Ok(run.all(&mut reader, bytes.len()))
}

struct Run {
    engine: Engine,
    io: Memory,
}

impl Run {
    fn all(&mut self, reader: &mut Reader<'_>, length: usize) -> Replayed {
        let mut r = Replayed {
            calls: 0,
            frames_in: 0,
            frames_out: 0,
            bytes_out: 0,
            digest: 0,
            first_difference: None,
            duration_ns: 0,
            cut_off: false,
            stats: Stats::default(),
        };
        let mut start = None;
        loop {
            let before = reader.position();
            let Some((now, call, noes, digest)) = record(reader) else {
                r.cut_off = before < length;
                break;
            };
            self.io.noes = noes;
            self.io.asked = [0; QUESTIONS];
            r.frames_in += self.make(now, call);
            r.duration_ns = now.0 - *start.get_or_insert(now.0);
            if self.io.digest.0 != digest && r.first_difference.is_none() {
                r.first_difference = Some((r.calls, now.0));
            }
            r.calls += 1;
        }
        (r.frames_out, r.bytes_out, r.digest) = (self.io.frames_out, self.io.bytes_out, self.io.digest.0);
        r.stats = self.engine.stats().clone();
        r
    }

    fn make(&mut self, now: smartwire_engine::Now, call: ReadCall) -> u64 {
        let (engine, io) = (&mut self.engine, &mut self.io);
        match call {
            ReadCall::Rx(frames) => {
                let rx: Vec<Rx> = frames.iter().map(|(rx, bytes)| Rx { frame: io.put(rx.off, bytes), ..*rx }).collect();
                engine.on_rx(now, &rx, io);
                return rx.len() as u64;
            }
            ReadCall::Time => engine.on_time(now, io),
            ReadCall::Command(command) => {
                engine.command(now, command, io);
            }
            ReadCall::Foreign(who, down, up) => engine.foreign_traffic(now, who, down, up),
            ReadCall::Policies(text) => {
                let ruling = Ruling::read(&text).unwrap_or_else(|_| Ruling::none());
                engine.set_policies(now, &mut ruling.fresh(), io);
            }
            ReadCall::Opened(late) => engine.wire_opened(now, late, io),
        }
        while engine.poll_event().is_some() {}
        0
    }
}

type Noes = Vec<(u8, u32)>;

fn record(reader: &mut Reader<'_>) -> Option<(smartwire_engine::Now, ReadCall, Noes, u64)> {
    let (now, call) = reader.call()?;
    let noes = (0..reader.u16()?).map(|_| Some((reader.u8()?, reader.u32()?))).collect::<Option<Noes>>()?;
    Some((now, call, noes, reader.u64()?))
}

/// Frames in ordinary memory: as many as it takes, of which so many can be kept as could be then.
struct Memory {
    chunk: usize,
    bytes: Vec<Vec<u8>>,
    kept: Vec<bool>,
    free: Vec<u32>,
    keepable: u32,
    kept_count: u32,
    noes: Noes,
    asked: [u32; QUESTIONS],
    digest: Digest,
    frames_out: u64,
    bytes_out: u64,
}

impl Memory {
    fn new(chunk: usize, keepable: u32) -> Memory {
        Memory {
            chunk,
            bytes: Vec::new(),
            kept: Vec::new(),
            free: Vec::new(),
            keepable,
            kept_count: 0,
            noes: Vec::new(),
            asked: [0; QUESTIONS],
            digest: Digest::START,
            frames_out: 0,
            bytes_out: 0,
        }
    }

    fn fresh(&mut self) -> FrameId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.bytes.push(vec![0; self.chunk]);
            self.kept.push(false);
            self.bytes.len() as u32 - 1
        });
        FrameId(id)
    }

    fn put(&mut self, off: u16, bytes: &[u8]) -> FrameId {
        let frame = self.fresh();
        let off = usize::from(off);
        if let Some(to) = self.bytes[frame.0 as usize].get_mut(off..off + bytes.len()) {
            to.copy_from_slice(bytes);
        }
        frame
    }

    fn yes(&mut self, question: Question) -> bool {
        let which = &mut self.asked[question as usize];
        let no = self.noes.contains(&(question as u8, *which));
        *which += 1;
        !no
    }
}

impl Io for Memory {
    fn bytes(&self, frame: FrameId) -> &[u8] {
        &self.bytes[frame.0 as usize]
    }
    fn bytes_mut(&mut self, frame: FrameId) -> Option<&mut [u8]> {
        self.yes(Question::Write).then(|| self.bytes[frame.0 as usize].as_mut_slice())
    }
    fn alloc(&mut self) -> Option<FrameId> {
        self.yes(Question::Frame).then(|| self.fresh())
    }
    fn hold(&mut self, frame: FrameId) -> bool {
        let kept = &mut self.kept[frame.0 as usize];
        if !*kept && self.kept_count >= self.keepable {
            return false;
        }
        self.kept_count += u32::from(!*kept);
        *kept = true;
        true
    }
    fn release(&mut self, frame: FrameId) {
        let kept = std::mem::take(&mut self.kept[frame.0 as usize]);
        self.kept_count -= u32::from(kept);
        self.free.push(frame.0);
    }
    fn frames(&self) -> (u32, u32) {
        (self.keepable - self.kept_count, self.keepable)
    }
    fn send(&mut self, port: Port, frame: FrameId, off: u16, len: u16) {
        let Some(bytes) = self.bytes[frame.0 as usize].get(usize::from(off)..usize::from(off) + usize::from(len)) else {
            return;
        };
        self.digest.add(port, bytes);
        self.frames_out += 1;
        self.bytes_out += u64::from(len);
    }
    fn custody_claim(&mut self, _key: &FlowKey) -> Option<u32> {
        self.yes(Question::Claim).then_some(0)
    }
    fn custody_write(&mut self, _entry: u32, _mark: &CustodyMark) {}
    fn custody_release(&mut self, _entry: u32) {}
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
