//! The bpf(2) system call, as far as it is needed, made safe.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use super::SteerError;

const MAP_CREATE: i32 = 0;
const MAP_LOOKUP: i32 = 1;
const MAP_UPDATE: i32 = 2;
const MAP_DELETE: i32 = 3;
const MAP_NEXT_KEY: i32 = 4;
const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const PROG_FD_BY_ID: i32 = 13;
const MAP_FD_BY_ID: i32 = 14;
const INFO_BY_FD: i32 = 15;
const PROG_QUERY: i32 = 16;
const PROG_TEST_RUN: i32 = 10;
const MAP_LOOKUP_BATCH: i32 = 24;
const LINK_CREATE: i32 = 28;
const PROG_BIND_MAP: i32 = 35;

const SK_LOOKUP: u32 = 36;
const INNER_MAP: u32 = 1 << 12;
const NO_PREALLOC: u32 = 1;

const TCX_INGRESS: u32 = 46;
/// Times that a program is loaded again after EAGAIN.
const LOADS: usize = 9;
const MMAPABLE: u32 = 1 << 10;
const XDP_HAS_FRAGS: u32 = 1 << 5;
const NAME: usize = 16;

/// Kinds of map.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum MapKind {
    Hash = 1,
    Array = 2,
    PerCpuArray = 6,
    LruHash = 9,
    LpmTrie = 11,
    ArrayOfMaps = 12,
    Sockmap = 15,
    Xsk = 17,
    RingBuffer = 27,
}

/// Kinds of program.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum ProgKind {
    SocketFilter = 1,
    Tc = 3,
    Xdp = 6,
    SkLookup = 30,
}

/// The kernel's argument: whatever the command wants, zeros behind.
type Attr = [u64; 20];

/// Puts words at byte offsets of an argument.
fn attr(words: &[(usize, u64)], halves: &[(usize, u32)]) -> Attr {
    let mut a: Attr = [0; 20];
    for &(at, v) in words {
        a[at / 8] = v;
    }
    for &(at, v) in halves {
        a[at / 8] |= u64::from(v) << (at % 8 * 8);
    }
    a
}

/// # Safety
/// Every address in `a` must be valid for what `cmd` does with it, for the duration of the call.
unsafe fn call(cmd: i32, a: &mut Attr) -> io::Result<i32> {
    // SAFETY: `a` is readable and writable for the length given; the caller vouches for what it points to.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, cmd, a.as_mut_ptr(), std::mem::size_of::<Attr>()) };
    if rc < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(rc as i32)
}

fn new_fd(cmd: i32, a: &mut Attr) -> io::Result<OwnedFd> {
    // SAFETY: passed on from the callers below, each of which points only to what it borrows.
    let fd = unsafe { call(cmd, a)? };
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn ptr<T: ?Sized>(v: &T) -> u64 {
    (v as *const T).cast::<c_void>() as u64
}

fn name_words(name: &str) -> [u64; 2] {
    let mut bytes = [0u8; NAME];
    let len = name.len().min(NAME - 1);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    [0, 8].map(|i| u64::from_ne_bytes(bytes[i..i + 8].try_into().unwrap_or_default()))
}

/// Makes a map.
pub(super) fn map_create(
    kind: MapKind,
    name: &str,
    (key, value): (usize, usize),
    entries: u32,
    mmap: bool,
) -> Result<OwnedFd, SteerError> {
    let flags = match kind {
        MapKind::LpmTrie => NO_PREALLOC,
        _ if mmap => MMAPABLE,
        _ => 0,
    };
    create(kind, name, (key, value), (entries, flags), None)
}

/// Makes an array of maps that are like `inner`.
pub(super) fn map_of_maps(name: &str, entries: u32, inner: &impl AsFd) -> Result<OwnedFd, SteerError> {
    create(MapKind::ArrayOfMaps, name, (4, 4), (entries, 0), Some(inner.as_fd().as_raw_fd()))
}

/// Makes an array for a map of maps in which arrays may differ in length.
pub(super) fn inner_array(name: &str, value: usize, entries: u32) -> Result<OwnedFd, SteerError> {
    create(MapKind::Array, name, (4, value), (entries, INNER_MAP), None)
}

fn create(
    kind: MapKind,
    name: &str,
    (key, value): (usize, usize),
    (entries, flags): (u32, u32),
    inner: Option<i32>,
) -> Result<OwnedFd, SteerError> {
    let [n0, n1] = name_words(name);
    // Offsets of union bpf_attr for BPF_MAP_CREATE; the inner map's descriptor is at 20, the name at 28.
    let mut a = attr(
        &[],
        &[
            (0, kind as u32),
            (4, key as u32),
            (8, value as u32),
            (12, entries),
            (16, flags),
            (20, inner.unwrap_or(0) as u32),
        ],
    );
    let words = [n0 as u32, (n0 >> 32) as u32, n1 as u32, (n1 >> 32) as u32];
    for (i, w) in words.into_iter().enumerate() {
        a[(28 + i * 4) / 8] |= u64::from(w) << ((28 + i * 4) % 8 * 8);
    }
    new_fd(MAP_CREATE, &mut a).map_err(|e| SteerError::kernel(format!("make the BPF map {name}"), e))
}

/// Loads a program.
pub(super) fn prog_load(kind: ProgKind, name: &str, code: &[u8]) -> Result<OwnedFd, SteerError> {
    let license = c"Apache-2.0";
    let flags = if matches!(kind, ProgKind::Xdp) { XDP_HAS_FRAGS } else { 0 };
    let expected = if matches!(kind, ProgKind::SkLookup) { SK_LOOKUP } else { 0 };
    let [n0, n1] = name_words(name);
    let request = |log: &mut [u8]| {
        let mut a = attr(
            &[(8, ptr(code)), (16, license.as_ptr() as u64), (48, n0), (56, n1)],
            &[(0, kind as u32), (4, (code.len() / 8) as u32), (44, flags), (68, expected)],
        );
        if !log.is_empty() {
            a[3] = 1 | (log.len() as u64) << 32;
            a[4] = log.as_mut_ptr() as u64;
        }
        new_fd(PROG_LOAD, &mut a)
    };
    // The verifier gives up when a signal is pending, and then wants to be asked again (libbpf does so, too).
    let again = |e: &io::Error| e.raw_os_error() == Some(libc::EAGAIN);
    let mut answer = request(&mut []);
    for _ in 0..LOADS {
        if !answer.as_ref().is_err_and(again) {
            break;
        }
        answer = request(&mut []);
    }
    let first = match answer {
        Ok(fd) => return Ok(fd),
        Err(e) => e,
    };
    let mut log = vec![0u8; 1 << 22];
    let _ = request(&mut log);
    let text = String::from_utf8_lossy(&log[..log.iter().position(|&b| b == 0).unwrap_or(0)]).into_owned();
    if std::env::var_os("SMARTWIRE_VERIFIER_LOG").is_some() {
        eprintln!("{text}");
    }
    // The verifier's reason is its last line but the statistics.
    let detail = text.lines().rev().find(|l| !l.is_empty() && !l.starts_with("processed ")).unwrap_or("").to_owned();
    Err(SteerError::Kernel { step: format!("load the BPF program {name}"), source: first, detail })
}

/// The program with this id.
pub(super) fn prog_by_id(id: u32) -> io::Result<OwnedFd> {
    new_fd(PROG_FD_BY_ID, &mut attr(&[], &[(0, id)]))
}

/// The map with this id.
pub(super) fn map_by_id(id: u32) -> io::Result<OwnedFd> {
    new_fd(MAP_FD_BY_ID, &mut attr(&[], &[(0, id)]))
}

/// What the kernel knows about a program.
#[derive(Debug, Default)]
pub(super) struct ProgInfo {
    pub id: u32,
    pub name: String,
    pub map_ids: Vec<u32>,
}

/// What the kernel knows about a map.
#[derive(Debug, Default)]
pub(super) struct MapInfo {
    pub id: u32,
    pub key: u32,
    pub value: u32,
    pub entries: u32,
    pub name: String,
}

fn info(fd: &impl AsFd, out: &mut [u64]) -> io::Result<()> {
    let len = std::mem::size_of_val(out) as u32;
    let mut a = attr(&[(8, out.as_mut_ptr() as u64)], &[(0, fd.as_fd().as_raw_fd() as u32), (4, len)]);
    // SAFETY: the kernel writes at most `len` bytes to `out`, and reads addresses that the callers put there.
    unsafe { call(INFO_BY_FD, &mut a) }.map(|_| ())
}

fn half(words: &[u64], at: usize) -> u32 {
    (words[at / 8] >> (at % 8 * 8)) as u32
}

fn name_at(words: &[u64], at: usize) -> String {
    let bytes: Vec<u8> = (at..at + NAME).map(|i| (words[i / 8] >> (i % 8 * 8)) as u8).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Asks about a program.
pub(super) fn prog_info(fd: &impl AsFd) -> io::Result<ProgInfo> {
    let mut ids = vec![0u32; 64];
    // Offsets of struct bpf_prog_info: id 4, nr_map_ids 52, map_ids 56, name 64.
    let mut words = [0u64; 32];
    words[6] = (ids.len() as u64) << 32;
    words[7] = ids.as_mut_ptr() as u64;
    info(fd, &mut words[..20])?;
    ids.truncate((half(&words, 52) as usize).min(64));
    Ok(ProgInfo { id: half(&words, 4), name: name_at(&words, 64), map_ids: ids })
}

/// Asks about a map.
pub(super) fn map_info(fd: &impl AsFd) -> io::Result<MapInfo> {
    // Offsets of struct bpf_map_info: id 4, key_size 8, value_size 12, max_entries 16, name 24.
    let mut words = [0u64; 10];
    info(fd, &mut words)?;
    let name = name_at(&words, 24);
    let [id, key, value, entries] = [4, 8, 12, 16].map(|at| half(&words, at));
    Ok(MapInfo { id, key, value, entries, name })
}

/// Makes a program that does not use a map hold it.
pub(super) fn prog_bind_map(prog: &OwnedFd, map: &OwnedFd) -> io::Result<()> {
    let mut a = attr(&[], &[(0, prog.as_raw_fd() as u32), (4, map.as_raw_fd() as u32)]);
    // SAFETY: no addresses are passed.
    unsafe { call(PROG_BIND_MAP, &mut a) }.map(|_| ())
}

fn element(cmd: i32, fd: &impl AsFd, key: u64, value: u64) -> io::Result<()> {
    let mut a = attr(&[(8, key), (16, value)], &[(0, fd.as_fd().as_raw_fd() as u32)]);
    // SAFETY: the callers pass addresses of what they borrow, as long as the map's keys and values.
    unsafe { call(cmd, &mut a) }.map(|_| ())
}

/// Sets the value for `key`. Both must be as long as the map's.
pub(super) fn map_update<K, V: ?Sized>(fd: &impl AsFd, key: &K, value: &V) -> io::Result<()> {
    element(MAP_UPDATE, fd, ptr(key), ptr(value))
}

/// Removes `key`.
pub(super) fn map_delete<K>(fd: &impl AsFd, key: &K) -> io::Result<()> {
    element(MAP_DELETE, fd, ptr(key), 0)
}

/// Reads the value for `key` into `value`, which must be as long as the map's (per possible CPU for a per-CPU map).
pub(super) fn map_lookup<K, V: ?Sized>(fd: &impl AsFd, key: &K, value: &mut V) -> io::Result<()> {
    element(MAP_LOOKUP, fd, ptr(key), ptr(value))
}

/// As [`map_update`], of bytes, which must be as long as the map's key and value.
pub(super) fn map_update_bytes(fd: &impl AsFd, key: &[u8], value: &[u8]) -> io::Result<()> {
    element(MAP_UPDATE, fd, ptr(key), ptr(value))
}

/// As [`map_delete`], of bytes.
pub(super) fn map_delete_bytes(fd: &impl AsFd, key: &[u8]) -> io::Result<()> {
    element(MAP_DELETE, fd, ptr(key), 0)
}

/// As [`map_lookup`], of bytes.
pub(super) fn map_lookup_bytes(fd: &impl AsFd, key: &[u8], value: &mut [u8]) -> io::Result<()> {
    element(MAP_LOOKUP, fd, ptr(key), ptr(value))
}

/// Any key of the map; `None`: it is empty.
pub(super) fn map_first_key<K: Copy + Default>(fd: &impl AsFd) -> Option<K> {
    let mut key = K::default();
    element(MAP_NEXT_KEY, fd, 0, (&mut key as *mut K) as u64).ok().map(|()| key)
}

/// Are there programs on the newer tc hook (tcx, since 6.6)? Older kernels have none.
pub(super) fn tcx_in_use(ifindex: u32) -> bool {
    let mut a = attr(&[], &[(0, ifindex), (4, TCX_INGRESS)]);
    // SAFETY: no addresses are passed: only the count is asked for.
    unsafe { call(PROG_QUERY, &mut a) }.is_ok() && half(&a, 24) > 0
}

/// A memory-mapped array of `T`, shared with the programs.
pub(super) struct Mapped<T> {
    base: NonNull<T>,
    count: usize,
    bytes: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping is shared memory that lives as long as the value; `T` is used only behind `&T` and consists of
// atomics (the bound of `Mapped::new`'s callers: layout.rs), so any thread may use it.
unsafe impl<T: Sync> Send for Mapped<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Mapped<T> {}

impl<T> Mapped<T> {
    /// Maps the whole of an mmapable array whose values are `T`s. `T` must be valid for any bytes and changed only
    /// through atomics, as others write it at any time.
    pub(super) fn new(fd: OwnedFd) -> Result<Mapped<T>, SteerError> {
        let doing = "map a BPF map into memory";
        let info = map_info(&fd).map_err(|e| SteerError::kernel(doing, e))?;
        if info.value as usize != std::mem::size_of::<T>() || info.entries == 0 {
            return Err(SteerError::Refused(format!("The BPF map {} is not laid out as this smartwire needs it.", info.name)));
        }
        let count = info.entries as usize;
        let bytes = (count * std::mem::size_of::<T>()).next_multiple_of(4096);
        // SAFETY: a fresh mapping at an address of the kernel's choice; the kernel checks its length against the map.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(at.cast::<T>()) {
            Some(base) if at != libc::MAP_FAILED => Ok(Mapped { base, count, bytes, fd }),
            _ => Err(SteerError::kernel(doing, io::Error::last_os_error())),
        }
    }

    /// The values.
    pub(super) fn all(&self) -> &[T] {
        // SAFETY: the mapping holds `count` values of T (checked in `new`) for as long as `self` lives; T is atomics.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.count) }
    }

    /// The map.
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `new`; no reference to it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// Attaches an sk_lookup program to a network namespace, for as long as the descriptor that is returned is open.
pub(super) fn sk_lookup_attach(prog: &OwnedFd, netns: i32) -> io::Result<OwnedFd> {
    new_fd(LINK_CREATE, &mut attr(&[], &[(0, prog.as_raw_fd() as u32), (4, netns as u32), (8, SK_LOOKUP)]))
}

/// All keys and values of a hash, one behind the other; what comes or goes meanwhile may be among them or not.
pub(super) fn map_dump(fd: &OwnedFd, key: usize, value: usize) -> io::Result<(Vec<u8>, Vec<u8>)> {
    // The kernel gives whole buckets and wants room for the longest.
    const MOST: usize = 4096;
    let (mut keys, mut values) = (Vec::new(), Vec::new());
    let (mut some_keys, mut some_values) = (vec![0u8; MOST * key], vec![0u8; MOST * value]);
    let (mut at, mut started) = ([0u8; 8], false);
    loop {
        let from = if started { ptr(&at) } else { 0 };
        let words = [
            (0, from),
            (8, at.as_mut_ptr() as u64),
            (16, some_keys.as_mut_ptr() as u64),
            (24, some_values.as_mut_ptr() as u64),
        ];
        let mut a = attr(&words, &[(32, MOST as u32), (36, fd.as_raw_fd() as u32)]);
        // SAFETY: the kernel reads and writes at most 4 bytes of `at` (a hash's batch cursor), and at most MOST keys and
        // values, whose sizes the caller has from the map.
        let result = unsafe { call(MAP_LOOKUP_BATCH, &mut a) };
        let done = match result {
            Ok(_) => false,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => true,
            Err(e) => return Err(e),
        };
        let got = (half(&a, 32) as usize).min(MOST);
        keys.extend_from_slice(&some_keys[..got * key]);
        values.extend_from_slice(&some_values[..got * value]);
        if done {
            return Ok((keys, values));
        }
        started = true;
    }
}

/// Runs a program on one frame `repeat` times: its verdict, and nanoseconds per run.
pub(super) fn time_run(prog: &OwnedFd, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    let mut a = attr(&[(16, ptr(frame))], &[(0, prog.as_raw_fd() as u32), (8, frame.len() as u32), (32, repeat)]);
    // SAFETY: the kernel reads `frame`, and writes nothing, as no room for an answer is given.
    unsafe { call(PROG_TEST_RUN, &mut a)? };
    Ok((half(&a, 4), half(&a, 36)))
}

/// What a program made of one frame: its verdict, and the frame afterwards.
#[cfg(test)]
pub(super) fn test_run(prog: &OwnedFd, frame: &[u8]) -> io::Result<(u32, Vec<u8>)> {
    let mut out = vec![0u8; frame.len() + 256];
    let mut a = attr(
        &[(16, ptr(frame)), (24, out.as_mut_ptr() as u64)],
        &[(0, prog.as_raw_fd() as u32), (8, frame.len() as u32), (12, out.len() as u32), (32, 1)],
    );
    // SAFETY: the kernel reads `frame` and writes at most the given length of `out`.
    unsafe { call(PROG_TEST_RUN, &mut a)? };
    out.truncate(half(&a, 12) as usize);
    Ok((half(&a, 4), out))
}

/// Puts a program on the newer tc hook (tcx, since 6.6).
pub(super) fn tcx_attach(ifindex: u32, prog: &OwnedFd) -> io::Result<()> {
    tcx(PROG_ATTACH, ifindex, prog)
}

/// Takes it off.
#[cfg(test)]
pub(super) fn tcx_detach(ifindex: u32, prog: &OwnedFd) -> io::Result<()> {
    tcx(9, ifindex, prog)
}

fn tcx(cmd: i32, ifindex: u32, prog: &OwnedFd) -> io::Result<()> {
    let mut a = attr(&[], &[(0, ifindex), (4, prog.as_raw_fd() as u32), (8, TCX_INGRESS)]);
    // SAFETY: no addresses are passed.
    unsafe { call(cmd, &mut a) }.map(|_| ())
}
