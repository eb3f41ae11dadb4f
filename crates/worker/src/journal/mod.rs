//! The journal: everything that went into an engine, so that the same engine in virtual time does the same again.
//!
//! An engine's output is a function of its calls and of what its [`Io`] answered. Each record holds one call, the
//! questions that were answered "no" (no frame, no place in the custody book, still being sent), and the digest of all
//! that was sent so far. Frames that can be kept are a matter of counting, which a replay does itself.
//!
//! ```text
//!   file    magic, u32 length of the header, header ("key value" lines), records
//!   record  u8 kind, u64 now, the call (see `codec`), u16 count of noes, (u8 question, u32 which one) each, u64 digest
//! ```
//! All numbers are little-endian.

mod codec;
mod replay;

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::mpsc::{sync_channel, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use smartwire_engine::{Config, Io, Now, Port};
use smartwire_io::IoError;

pub(crate) use codec::Call;
pub use replay::{replay_journal, Replayed};

const MAGIC: &[u8; 8] = b"SWJRNL01";
/// Bytes handed to the writer at a time.
const CHUNK: usize = 1 << 20;
/// Chunks that may wait for the disk.
const CHUNKS: usize = 64;

/// Questions that can be answered with no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Question {
    /// [`Io::alloc`].
    Frame,
    /// [`Io::bytes_mut`].
    Write,
    /// [`Io::custody_claim`].
    Claim,
}
const QUESTIONS: usize = 3;

/// A digest of everything sent: port, length and bytes of each frame, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Digest(u64);

impl Digest {
    const START: Digest = Digest(0x5357_4a52_4e4c_3031);

    fn add(&mut self, port: Port, bytes: &[u8]) {
        self.word(u64::from(port.0) << 32 | bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
    }

    fn word(&mut self, word: u64) {
        // The finalizer of SplitMix64: every bit of the input moves half of the output's.
        let mut x = (self.0 ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = x ^ x >> 31;
    }
}

/// A journal that is being written.
pub(crate) struct Journal {
    buffer: Vec<u8>,
    chunks: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
    digest: Digest,
    asked: [u32; QUESTIONS],
    noes: Vec<(Question, u32)>,
    name: String,
    news: Arc<Mutex<Vec<String>>>,
}

impl Journal {
    /// Begins one for an engine made with `config` and `seed` over buffers of `chunk` bytes, of which `keepable` can be
    /// kept. Says in `news` when the disk is too slow or full: the journal ends there.
    pub(crate) fn create(
        path: &Path,
        config: &Config,
        seed: u64,
        chunk: usize,
        keepable: u32,
        news: Arc<Mutex<Vec<String>>>,
    ) -> Result<Journal, IoError> {
        let mut file = File::create(path).map_err(|e| IoError::os(format!("write {}", path.display()), e))?;
        let header = codec::header(config, seed, chunk, keepable);
        let mut buffer = Vec::with_capacity(CHUNK + (CHUNK >> 2));
        buffer.extend_from_slice(MAGIC);
        buffer.extend_from_slice(&(header.len() as u32).to_le_bytes());
        buffer.extend_from_slice(header.as_bytes());
        let (chunks, from_worker) = sync_channel::<Vec<u8>>(CHUNKS);
        let (name, told) = (path.display().to_string(), news.clone());
        let thread = std::thread::Builder::new()
            .name("journal".into())
            .spawn(move || {
                for chunk in from_worker {
                    if let Err(e) = file.write_all(&chunk) {
                        tell(&told, format!("the journal ends here: {e}"));
                        return;
                    }
                }
            })
            .map_err(|e| IoError::os("start a thread", e))?;
        Ok(Journal {
            buffer,
            chunks: Some(chunks),
            thread: Some(thread),
            digest: Digest::START,
            asked: [0; QUESTIONS],
            noes: Vec::with_capacity(64),
            name,
            news,
        })
    }

    /// Notes a call before it is made. `frames` are its frames' bytes, read now.
    pub(crate) fn begin<I: Io>(&mut self, now: Now, call: &Call<'_>, io: &I) {
        self.asked = [0; QUESTIONS];
        self.noes.clear();
        codec::write_call(&mut self.buffer, now, call, io);
    }

    /// Notes a frame that is sent.
    pub(crate) fn sent(&mut self, port: Port, bytes: &[u8]) {
        self.digest.add(port, bytes);
    }

    /// Completes the record of the call that was just made.
    pub(crate) fn end(&mut self) {
        let noes = self.noes.len().min(usize::from(u16::MAX));
        self.buffer.extend_from_slice(&(noes as u16).to_le_bytes());
        for (question, which) in &self.noes[..noes] {
            self.buffer.push(*question as u8);
            self.buffer.extend_from_slice(&which.to_le_bytes());
        }
        self.buffer.extend_from_slice(&self.digest.0.to_le_bytes());
        if self.buffer.len() >= CHUNK {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let Some(chunks) = &self.chunks else {
            self.buffer.clear();
            return;
        };
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + (CHUNK >> 2)));
        if let Err(e) = chunks.try_send(full) {
            let why = if matches!(e, TrySendError::Full(_)) { "the disk is too slow" } else { "it cannot be written" };
            tell(&self.news, format!("the journal {} ends here: {why}", self.name));
            self.chunks = None;
        }
    }

    /// Notes an answer.
    pub(crate) fn asked(&mut self, question: Question, yes: bool) {
        let which = &mut self.asked[question as usize];
        if !yes {
            self.noes.push((question, *which));
        }
        *which += 1;
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.hand_over();
        self.chunks = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tell(news: &Mutex<Vec<String>>, text: String) {
    news.lock().unwrap_or_else(PoisonError::into_inner).push(text);
}
