//! The maps that the BPF programs and this process share: bpf/wire.h in Rust.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// As `SW_ABI`.
pub(super) const ABI: u32 = 8;
/// Entries per bucket of the custody book.
pub(super) const SLOTS: usize = 8;
/// Ports of one wire.
pub(super) const MAX_PORTS: usize = 32;
/// Receive queues per port.
pub(super) const MAX_QUEUES: u32 = 128;
/// Bit of a subscriber's slot number: its UDP comes to the engine.
pub(super) const SHAPED: u32 = 1 << 31;

/// `struct sw_wire`.
#[repr(C)]
pub(super) struct WirePage {
    pub abi: AtomicU32,
    pub generation: AtomicU32,
    pub owner_pid: AtomicU32,
    pub survivors: AtomicU32,
    pub beat_ns: AtomicU64,
    pub timeout_ns: AtomicU64,
    pub opened: AtomicU64,
    pub key: [AtomicU64; 2],
    pub bucket_mask: AtomicU32,
    pub max_frame: AtomicU32,
    pub prefix_v6: AtomicU32,
    pub subscribers: AtomicU32,
    pub shaped: AtomicU32,
    pub mode: AtomicU32,
    pub heard_beat: AtomicU64,
    pub heard_ns: AtomicU64,
    pub silence_ns: AtomicU64,
    pub open_beat: AtomicU64,
    /// Connections that a guardian has reset.
    pub guarded: AtomicU64,
    pub syn_ns: AtomicU64,
    pub ifindex: [AtomicU32; MAX_PORTS],
}

/// `struct sw_port`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PortConfig {
    pub peer_ifindex: u32,
    pub side: u32,
    pub packet_mode: u32,
    pub generic_xdp: u32,
}

/// `struct sw_flow`, as words of memory.
#[repr(C)]
pub(super) struct Flow {
    pub words: [AtomicU64; 6],
}

/// `struct sw_entry`.
#[repr(C)]
pub(super) struct Entry {
    pub flow: Flow,
    pub rcv_nxt: [AtomicU32; 2],
    pub snd_nxt: [AtomicU32; 2],
    /// Two times destination and source address, as words of memory.
    pub macs: [AtomicU32; 6],
    /// Port towards the access side, port towards the core (a byte each), EtherTypes of two VLAN tags (two bytes each,
    /// in host order), two bytes unused.
    pub port: [AtomicU32; 2],
    pub resets: [AtomicU32; 2],
}

/// `struct sw_bucket`.
#[repr(C)]
pub(super) struct Bucket {
    pub tag: [AtomicU32; SLOTS],
    pub state: [AtomicU32; SLOTS],
    pub entry: [Entry; SLOTS],
}

/// `struct sw_subscriber`: address, scope.
pub(super) type SubscriberWords = [u64; 3];

/// `struct sw_foreign`.
#[repr(C)]
pub(super) struct Foreign {
    pub down: AtomicU64,
    pub up: AtomicU64,
}

/// Bytes of a `struct sw_glimpse`: interface and length, 4 each, then the frame.
pub(super) const GLIMPSE: usize = 256;

/// `struct sw_counters`.
pub(super) const COUNTERS: usize = 10;

/// Bytes of `struct px_control`, `px_key`, `px_flow`, `px_chunk`, `px_set` (bpf/proxy.h, bpf/proxy_rules.h).
pub(super) const PX_CONTROL: usize = 48;
pub(super) const PX_KEY: usize = 40;
pub(super) const PX_FLOW: usize = 152;
pub(super) const PX_CHUNK: usize = 20 * 1024;
pub(super) const PX_SET: usize = 64;

// The programs hold these numbers.
const _: () = {
    assert!(size_of::<WirePage>() == 256);
    assert!(size_of::<PortConfig>() == 16);
    assert!(size_of::<Entry>() == 104);
    assert!(size_of::<Bucket>() == 896);
    assert!(size_of::<Foreign>() == 16);
};
