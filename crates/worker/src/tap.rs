//! Capturing a running wire: frames as they came in and as they went out, on each port, into a pcapng file.
//!
//! A port of a wire shows tcpdump nothing, because AF_XDP takes frames before it and AF_PACKET sends past it; so the
//! engine's own calls are tapped. Workers format blocks into buffers; a thread writes them. Buffers that the disk does
//! not take in time are dropped and counted: a capture never slows a wire.

use std::fs::File;
use std::io::Write;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use smartwire_engine::{Io, Now, Port, Rx, Side};
use smartwire_io::{sys, IoError};
use smartwire_packet::parse;

/// Bytes handed to the writer at a time.
const CHUNK: usize = 256 << 10;
/// Chunks that may wait for the disk.
const CHUNKS: usize = 128;
const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const ENHANCED: u32 = 6;
const INBOUND: u32 = 1;
const OUTBOUND: u32 = 2;

/// What to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Select {
    /// Every frame that the engine sees.
    All,
    /// Those of a subscriber: an address, and how many of its leading bits count.
    Subscriber(Ipv6Addr, u32),
    /// Those of one connection: (address, port) on the access and on the core side.
    Flow([(Ipv6Addr, u16); 2]),
}

impl Select {
    fn takes(&self, frame: &[u8], towards: Side) -> bool {
        if *self == Select::All {
            return true;
        }
        let Ok(layers) = parse(frame) else { return false };
        let (src, dst) = (layers.src(frame), layers.dst(frame));
        let (access, core) = if towards == Side::Access { (dst, src) } else { (src, dst) };
        match *self {
            Select::All => true,
            Select::Subscriber(addr, bits) => {
                let mask = u128::MAX.checked_shl(128 - bits.min(128)).unwrap_or(0);
                (access.to_bits() ^ addr.to_bits()) & mask == 0
            }
            Select::Flow([(a, ap), (c, cp)]) => {
                let Some((sport, dport)) = layers.ports(frame) else { return false };
                let (access_port, core_port) = if towards == Side::Access { (dport, sport) } else { (sport, dport) };
                (access, access_port, core, core_port) == (a, ap, c, cp)
            }
        }
    }
}

/// What a capture has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured {
    /// Frames in the file, or on their way there.
    pub packets: u64,
    /// Frames that the disk was too slow for.
    pub dropped: u64,
    /// As many as were wanted, or the file can't be written any more.
    pub done: bool,
}

#[derive(Default)]
struct Shared {
    packets: AtomicU64,
    dropped: AtomicU64,
    done: AtomicBool,
}

/// A capture that is running; dropping it ends it, once its taps are gone.
pub(crate) struct Capture {
    shared: Arc<Shared>,
    chunks: Option<SyncSender<Vec<u8>>>,
    writer: Option<JoinHandle<()>>,
    select: Select,
    snap: usize,
    most: u64,
}

impl Capture {
    /// Makes the file, with an interface for each of `ports`. At most `snap` bytes of each frame and `most` frames.
    pub(crate) fn create(path: &Path, ports: &[String], select: Select, snap: usize, most: u64) -> Result<Capture, IoError> {
        let path: PathBuf = path.to_owned();
        let failed = |e| IoError::os(format!("write {}", path.display()), e);
        let mut file = File::create(&path).map_err(failed)?;
        file.write_all(&head(ports, snap)).map_err(failed)?;
        let (chunks, from_taps) = sync_channel::<Vec<u8>>(CHUNKS);
        let shared = Arc::new(Shared::default());
        let told = shared.clone();
        let writer = std::thread::Builder::new()
            .name("capture".into())
            .spawn(move || {
                for chunk in from_taps {
                    if file.write_all(&chunk).is_err() {
                        // The reader of a pipe has left, or the disk is full.
                        told.done.store(true, Ordering::Release);
                        return;
                    }
                }
            })
            .map_err(|e| IoError::os("start a thread", e))?;
        Ok(Capture { shared, chunks: Some(chunks), writer: Some(writer), select, snap, most })
    }

    /// A tap for one engine.
    pub(crate) fn tap(&self) -> Option<Tap> {
        let real = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
        Some(Tap {
            select: self.select,
            snap: self.snap,
            most: self.most,
            unix_offset: real.wrapping_sub(sys::clock_ns()),
            buffer: Vec::with_capacity(CHUNK + (CHUNK >> 2)),
            waiting: 0,
            chunks: self.chunks.clone()?,
            shared: self.shared.clone(),
        })
    }

    /// How far it is.
    pub(crate) fn captured(&self) -> Captured {
        Captured {
            packets: self.shared.packets.load(Ordering::Relaxed),
            dropped: self.shared.dropped.load(Ordering::Relaxed),
            done: self.shared.done.load(Ordering::Acquire),
        }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.chunks = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

/// One engine's tap.
pub(crate) struct Tap {
    select: Select,
    snap: usize,
    most: u64,
    /// Added to CLOCK_MONOTONIC gives the time since 1970.
    unix_offset: u64,
    buffer: Vec<u8>,
    /// Frames in `buffer`.
    waiting: u64,
    chunks: SyncSender<Vec<u8>>,
    shared: Arc<Shared>,
}

impl Tap {
    /// Frames that came in.
    pub(crate) fn received<I: Io>(&mut self, now: Now, frames: &[Rx], io: &I) {
        for rx in frames {
            let range = usize::from(rx.off)..usize::from(rx.off) + usize::from(rx.len);
            if let Some(bytes) = io.bytes(rx.frame).get(range) {
                self.take(now, rx.port, INBOUND, rx.port.side().other(), bytes);
            }
        }
    }

    /// A frame that goes out.
    pub(crate) fn sent(&mut self, now: Now, port: Port, bytes: &[u8]) {
        self.take(now, port, OUTBOUND, port.side(), bytes);
    }

    fn take(&mut self, now: Now, port: Port, direction: u32, towards: Side, bytes: &[u8]) {
        if self.shared.done.load(Ordering::Relaxed) || !self.select.takes(bytes, towards) {
            return;
        }
        let number = self.shared.packets.fetch_add(1, Ordering::Relaxed);
        if number + 1 >= self.most {
            self.shared.done.store(true, Ordering::Release);
        }
        if number >= self.most {
            self.shared.packets.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let kept = &bytes[..bytes.len().min(self.snap)];
        packet(&mut self.buffer, port, self.unix_offset.wrapping_add(now.0), direction, kept, bytes.len());
        self.waiting += 1;
        if self.buffer.len() >= CHUNK {
            self.flush();
        }
    }

    /// Hands what has gathered to the writer.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let full = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK + (CHUNK >> 2)));
        if self.chunks.try_send(full).is_err() {
            self.shared.packets.fetch_sub(self.waiting, Ordering::Relaxed);
            self.shared.dropped.fetch_add(self.waiting, Ordering::Relaxed);
        }
        self.waiting = 0;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.flush();
    }
}

/// The blocks in front of the first packet.
fn head(ports: &[String], snap: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut section = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
    section.extend_from_slice(&[1, 0, 0, 0]);
    section.extend_from_slice(&u64::MAX.to_le_bytes());
    block(&mut out, SECTION, &section);
    for name in ports {
        let mut body = vec![1, 0, 0, 0];
        body.extend_from_slice(&(snap.min(1 << 18) as u32).to_le_bytes());
        option(&mut body, 2, name.as_bytes());
        // if_tsresol: nanoseconds
        option(&mut body, 9, &[9]);
        option(&mut body, 0, &[]);
        block(&mut out, INTERFACE, &body);
    }
    out
}

/// An enhanced packet block with its direction (epb_flags).
fn packet(out: &mut Vec<u8>, port: Port, unix_ns: u64, direction: u32, kept: &[u8], length: usize) {
    let words = [u32::from(port.0), (unix_ns >> 32) as u32, unix_ns as u32, kept.len() as u32, length as u32];
    let total = 12 + 20 + kept.len().next_multiple_of(4) + 12;
    out.extend_from_slice(&ENHANCED.to_le_bytes());
    out.extend_from_slice(&(total as u32).to_le_bytes());
    words.iter().for_each(|w| out.extend_from_slice(&w.to_le_bytes()));
    out.extend_from_slice(kept);
    out.resize(out.len().next_multiple_of(4), 0);
    option(out, 2, &direction.to_le_bytes());
    option(out, 0, &[]);
    out.extend_from_slice(&(total as u32).to_le_bytes());
}

fn block(out: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let total = (body.len() + 12) as u32;
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&total.to_le_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(&total.to_le_bytes());
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    out.extend_from_slice(&code.to_le_bytes());
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
    out.resize(out.len() + value.len().next_multiple_of(4) - value.len(), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use smartwire_packet::build::Packet;

    fn frame(src: [u8; 4], sport: u16, dst: [u8; 4], dport: u16) -> Vec<u8> {
        Packet::new().ipv4(src.into(), dst.into()).tcp(sport, dport).payload(b"x").build()
    }

    #[test]
    fn a_connection_is_selected_in_both_directions_and_no_other() {
        let (a, c) = ([10, 0, 0, 7], [192, 0, 2, 1]);
        let v6 = |v4: [u8; 4]| std::net::Ipv4Addr::from(v4).to_ipv6_mapped();
        let select = Select::Flow([(v6(a), 40000), (v6(c), 443)]);
        assert!(select.takes(&frame(a, 40000, c, 443), Side::Core));
        assert!(select.takes(&frame(c, 443, a, 40000), Side::Access));
        assert!(!select.takes(&frame(c, 443, a, 40001), Side::Access));
        assert!(!select.takes(&frame(a, 40000, c, 443), Side::Access));
        assert!(Select::Subscriber(v6(a), 128).takes(&frame(c, 1, a, 2), Side::Access));
        assert!(!Select::Subscriber(v6(c), 128).takes(&frame(c, 1, a, 2), Side::Access));
    }

    #[test]
    fn a_capture_ends_after_as_many_frames_as_were_wanted() {
        let path = std::env::temp_dir().join(format!("sw-tap-{}.pcapng", std::process::id()));
        let capture = Capture::create(&path, &["acc".into(), "cor".into()], Select::All, 64, 3).unwrap();
        let mut tap = capture.tap().unwrap();
        for _ in 0..5 {
            tap.sent(Now(1), Port(1), &[7; 100]);
        }
        drop(tap);
        assert_eq!(capture.captured(), Captured { packets: 3, dropped: 0, done: true });
        drop(capture);
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let head = head(&["acc".into(), "cor".into()], 64).len();
        assert_eq!(file.len(), head + 3 * (12 + 20 + 64 + 12));
        assert_eq!(file[head + 8..head + 12], 1u32.to_le_bytes());
        assert_eq!(file[head + 20..head + 28], [64, 0, 0, 0, 100, 0, 0, 0]);
    }
}
