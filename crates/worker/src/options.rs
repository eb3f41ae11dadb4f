//! What may be chosen when a wire is opened.

use std::path::PathBuf;

use smartwire_engine::Config;

use crate::policies::Ruling;

/// How frames come in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// The best that works on all ports.
    #[default]
    Auto,
    /// AF_XDP, whichever way the driver has it.
    Xdp,
    /// AF_PACKET.
    Packet,
}

/// What may be chosen when a wire is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// (access, core) interfaces by name; several pairs form one wire.
    pub pairs: Vec<(String, String)>,
    /// How frames come in.
    pub io: IoChoice,
    /// Engines, each with a thread of its own; with one, everything runs to completion in one thread.
    pub workers: usize,
    /// Switch off offloads that are in the way, instead of refusing.
    pub mend: bool,
    /// Complete partial checksums of what arrives, on all ports; otherwise only where nobody can look whether there are
    /// any.
    pub fill_checksums: bool,
    /// Frame buffers; `None`: [`default_frames`].
    pub frames: Option<u32>,
    /// Record all input of the engine to this file.
    pub journal: Option<PathBuf>,
    /// Seed of the engines' randomness; `None`: a fresh one.
    pub seed: Option<u64>,
    /// Where the stats page is to be.
    pub stats: PathBuf,
    /// Where the event ring is to be.
    pub events: PathBuf,
    /// The policies that the wire begins with.
    pub policies: Option<Ruling>,
    /// The engines' limits; frames and MTU are filled in.
    pub engine: Config,
}

impl Options {
    /// The usual choices for one pair of interfaces.
    pub fn new(access: &str, core: &str, stats: PathBuf, events: PathBuf) -> Options {
        Options {
            pairs: vec![(access.to_owned(), core.to_owned())],
            io: IoChoice::Auto,
            workers: 1,
            mend: false,
            fill_checksums: false,
            frames: None,
            journal: None,
            seed: None,
            stats,
            events,
            policies: None,
            engine: Config { max_flows: 1 << 18, ..Config::default() },
        }
    }
}

/// Frame buffers for a machine with this much memory free: a sixteenth of it in frames of 2 KiB, within 2^12 and 2^17.
pub fn default_frames(free_bytes: u64) -> u32 {
    (free_bytes / 16 / 2048).clamp(1 << 12, 1 << 17) as u32
}
