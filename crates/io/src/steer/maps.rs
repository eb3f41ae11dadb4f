//! The maps of one wire: made when it is first attached, found by id from its programs ever after.

use std::collections::HashMap;
use std::fmt;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::bpf::{self, MapKind, Mapped, ProgInfo};
use super::glimpse::Glimpses;
use super::layout::{Bucket, Flow, Foreign, PortConfig, SubscriberWords, WirePage, ABI, COUNTERS, MAX_QUEUES, SLOTS};
use super::shared::Shared;
use super::{AttachOptions, Counters, SteerError};

/// Handshakes of which the engine, while it listens, has not got all yet.
const SYNS: u32 = 1 << 14;

/// What the programs of all ports share, and which engine this process is to them.
pub(super) struct Wire {
    page: Mapped<WirePage>,
    book: Mapped<Bucket>,
    foreign: Mapped<Foreign>,
    pub(super) subscribers: OwnedFd,
    pub(super) counters: OwnedFd,
    syns: OwnedFd,
    pub(super) glimpses: Glimpses,
    pub(super) shared: Shared,
    /// The generation with which this process has claimed the wire; 0: it has not.
    pub(super) mine: AtomicU32,
    /// The `open_beat` that this process has been told of.
    pub(super) told_open: AtomicU64,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("buckets", &self.book().len()).finish_non_exhaustive()
    }
}

impl Wire {
    /// Makes the maps of a new wire.
    pub(super) fn create(opts: &AttachOptions) -> Result<Wire, SteerError> {
        if !opts.custody_entries.is_power_of_two() || !(SLOTS as u32 * 2..=1 << 26).contains(&opts.custody_entries) {
            return Err(SteerError::Refused(format!(
                "A custody book of {} entries is not possible; give a power of two from 16 to 67108864.",
                opts.custody_entries
            )));
        }
        let buckets = opts.custody_entries / SLOTS as u32;
        let array = |name, value, entries| bpf::map_create(MapKind::Array, name, (4, value), entries, true);
        let subscribers = opts.foreign_entries.max(1);
        let wire = Wire {
            page: Mapped::new(array("sw_wire", size_of::<WirePage>(), 1)?)?,
            book: Mapped::new(array("sw_book", size_of::<Bucket>(), buckets)?)?,
            foreign: Mapped::new(array("sw_foreign", size_of::<Foreign>(), subscribers)?)?,
            subscribers: bpf::map_create(
                MapKind::Hash,
                "sw_subscribers",
                (size_of::<SubscriberWords>(), 4),
                subscribers,
                false,
            )?,
            counters: bpf::map_create(MapKind::PerCpuArray, "sw_counters", (4, COUNTERS * 8), 1, false)?,
            syns: bpf::map_create(MapKind::LruHash, "sw_syns", (size_of::<Flow>(), 4), SYNS, false)?,
            glimpses: Glimpses::create("sw_glimpses")?,
            shared: Shared::create()?,
            mine: AtomicU32::new(0),
            told_open: AtomicU64::new(0),
        };
        for (word, random) in wire.page().key.iter().zip(random()?) {
            word.store(random, Relaxed);
        }
        wire.page().bucket_mask.store(buckets - 1, Relaxed);
        wire.page().abi.store(ABI, Relaxed);
        Ok(wire)
    }

    /// Finds the maps of the wire that a program belongs to.
    pub(super) fn of_program(info: &ProgInfo) -> Result<Wire, SteerError> {
        let mut maps = by_name(info)?;
        let mut take = |name: &str| maps.remove(name).ok_or_else(other_version);
        let page = Mapped::<WirePage>::new(take("sw_wire")?).map_err(|_| other_version())?;
        if page.all()[0].abi.load(Relaxed) != ABI {
            return Err(other_version());
        }
        Ok(Wire {
            page,
            book: Mapped::new(take("sw_book")?)?,
            foreign: Mapped::new(take("sw_foreign")?)?,
            subscribers: take("sw_subscribers")?,
            counters: take("sw_counters")?,
            syns: take("sw_syns")?,
            glimpses: Glimpses::over(take("sw_glimpses")?)?,
            shared: Shared::find(take)?,
            mine: AtomicU32::new(0),
            told_open: AtomicU64::new(0),
        })
    }

    /// The heartbeat and what else there is one of.
    pub(super) fn page(&self) -> &WirePage {
        &self.page.all()[0]
    }

    /// The custody book.
    pub(super) fn book(&self) -> &[Bucket] {
        self.book.all()
    }

    /// The bytes of subscribers, by slot.
    pub(super) fn foreign(&self) -> &[Foreign] {
        self.foreign.all()
    }

    /// Tells wires apart.
    pub(super) fn id(&self) -> Result<u32, SteerError> {
        Ok(bpf::map_info(self.page.fd()).map_err(|e| SteerError::kernel("ask about a BPF map", e))?.id)
    }

    /// A map by the name that programs give it.
    pub(super) fn map(&self, symbol: &str) -> Option<BorrowedFd<'_>> {
        Some(borrow(match symbol {
            "sw_wire_map" => self.page.fd(),
            "sw_book_map" => self.book.fd(),
            "sw_foreign_map" => self.foreign.fd(),
            "sw_subscribers_map" => &self.subscribers,
            "sw_counters_map" => &self.counters,
            "sw_syns_map" => &self.syns,
            "sw_glimpses_map" => self.glimpses.fd(),
            _ => self.shared.get(symbol)?,
        }))
    }

    /// Its descriptor.
    pub(super) fn fd_of(&self, symbol: &str) -> Option<i32> {
        self.map(symbol).map(|fd| fd.as_raw_fd())
    }

    /// Has an engine claimed the wire, and beaten within the timeout? As `sw_live` of the programs.
    pub(super) fn live(&self, now_ns: u64) -> bool {
        let page = self.page();
        let silent = now_ns.saturating_sub(page.beat_ns.load(Relaxed));
        page.owner_pid.load(Relaxed) != 0 && silent < page.timeout_ns.load(Relaxed)
    }
}

/// The maps of one port.
pub(super) fn port_map(config: &PortConfig) -> Result<OwnedFd, SteerError> {
    let fd = bpf::map_create(MapKind::Array, "sw_port", (4, size_of::<PortConfig>()), 1, false)?;
    bpf::map_update(&fd, &0u32, config).map_err(|e| SteerError::kernel("write the BPF map sw_port", e))?;
    Ok(fd)
}

/// Sockets by receive queue.
pub(super) fn xsk_map() -> Result<OwnedFd, SteerError> {
    bpf::map_create(MapKind::Xsk, "sw_xsk", (4, 4), MAX_QUEUES, false)
}

/// What a program was told about its port.
pub(super) fn port_config(info: &ProgInfo) -> Result<PortConfig, SteerError> {
    let fd = by_name(info)?.remove("sw_port").ok_or_else(other_version)?;
    let mut config = PortConfig::default();
    bpf::map_lookup(&fd, &0u32, &mut config).map_err(|e| SteerError::kernel("read the BPF map sw_port", e))?;
    Ok(config)
}

/// The sum of all CPUs' counters.
pub(super) fn counters(wire: &Wire) -> Counters {
    let mut words = vec![0u64; COUNTERS * possible_cpus()];
    if bpf::map_lookup(&wire.counters, &0u32, words.as_mut_slice()).is_err() {
        return Counters::default();
    }
    let sum = |i: usize| words.iter().skip(i).step_by(COUNTERS).fold(0u64, |a, b| a.wrapping_add(*b));
    Counters {
        copper_frames: [sum(0), sum(1)],
        copper_bytes: [sum(2), sum(3)],
        claimed_frames: sum(4),
        claimed_bytes: sum(5),
        resets: sum(6),
        oversize_frames: sum(7),
        no_socket_frames: sum(8),
        held_back_frames: sum(9),
    }
}

/// CPUs that the kernel keeps per-CPU values for.
pub(super) fn possible_cpus() -> usize {
    let list = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = list.trim().rsplit([',', '-']).next().and_then(|n| n.parse::<usize>().ok());
    last.map_or(1024, |n| n + 1)
}

fn by_name(info: &ProgInfo) -> Result<HashMap<String, OwnedFd>, SteerError> {
    let os = |e| SteerError::kernel("open a BPF map of the copper wire", e);
    let mut maps = HashMap::new();
    for &id in &info.map_ids {
        let fd = bpf::map_by_id(id).map_err(os)?;
        maps.insert(bpf::map_info(&fd).map_err(os)?.name, fd);
    }
    Ok(maps)
}

fn other_version() -> SteerError {
    SteerError::Refused(
        "The copper wire on this interface is of another version of smartwire; take it off with `smartwire unwire ACCESS CORE` first."
            .to_owned(),
    )
}

fn random() -> Result<[u64; 2], SteerError> {
    let mut key = [0u64; 2];
    // SAFETY: `key` is 16 writable bytes.
    let got = unsafe { libc::getrandom(key.as_mut_ptr().cast(), 16, 0) };
    if got != 16 {
        return Err(SteerError::kernel("get random numbers", std::io::Error::last_os_error()));
    }
    Ok(key)
}

/// For [`BorrowedFd`]s out of owned ones.
pub(super) fn borrow(fd: &OwnedFd) -> BorrowedFd<'_> {
    use std::os::fd::AsFd;
    fd.as_fd()
}
