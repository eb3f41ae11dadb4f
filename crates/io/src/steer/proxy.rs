//! Maps and programs of the proxy engine (bpf/proxy*.c), for Python, which makes and fills them.
//!
//! Sizes are checked here, so that nothing that Python passes makes the kernel read or write beyond a buffer.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use super::bpf::{self, MapKind, ProgKind};
use super::object::{Object, PROXY_PICK, PROXY_PORT, PROXY_VETH};
use super::{attach, rtnl, SteerError};

/// A map. It lives as long as this value, or a program that uses it.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key: usize,
    /// Of what a lookup gives: of all CPUs for a per-CPU map.
    value: usize,
}

impl Map {
    /// Makes a map. `kind`: hash, lru-hash, array, per-cpu-array, lpm-trie, inner-array, sockmap. The values of a
    /// per-CPU array must be whole words.
    pub fn new(kind: &str, name: &str, key: usize, value: usize, entries: u32) -> Result<Map, SteerError> {
        let made = match kind {
            "hash" => MapKind::Hash,
            "lru-hash" => MapKind::LruHash,
            "array" => MapKind::Array,
            "per-cpu-array" => MapKind::PerCpuArray,
            "lpm-trie" => MapKind::LpmTrie,
            "sockmap" => MapKind::Sockmap,
            "inner-array" => {
                let fd = bpf::inner_array(name, value, entries)?;
                return Ok(Map { fd, key: 4, value });
            }
            other => return Err(SteerError::Refused(format!("There is no kind of map {other}."))),
        };
        let fd = bpf::map_create(made, name, (key, value), entries, false)?;
        let value = if kind == "per-cpu-array" { value.next_multiple_of(8) * super::maps::possible_cpus() } else { value };
        Ok(Map { fd, key, value })
    }

    /// A map of the wire on an interface, by the name that programs give it.
    pub fn of_wire(ifindex: u32, symbol: &str) -> Result<Map, SteerError> {
        let kernel = |e| SteerError::kernel("open a BPF map of the copper wire", e);
        let wire = attach::wire_of(ifindex)?;
        let fd = wire.map(symbol).ok_or_else(|| SteerError::Refused(format!("The wire has no map {symbol}.")))?;
        let fd = fd.try_clone_to_owned().map_err(kernel)?;
        let info = bpf::map_info(&fd).map_err(kernel)?;
        Ok(Map { fd, key: info.key as usize, value: info.value as usize })
    }

    /// An array of maps that are like `inner`.
    pub fn of_maps(name: &str, entries: u32, inner: &Map) -> Result<Map, SteerError> {
        Ok(Map { fd: bpf::map_of_maps(name, entries, &inner.fd)?, key: 4, value: 4 })
    }

    /// Its descriptor, as the value of an array of maps wants it.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Sets values, keys and values one behind the other.
    pub fn update(&self, keys: &[u8], values: &[u8]) -> Result<(), SteerError> {
        if keys.len() % self.key != 0 || keys.len() / self.key * self.value != values.len() {
            return Err(SteerError::Refused("Keys and values are not as long as the map's; this is a bug.".to_owned()));
        }
        let pairs = keys.chunks_exact(self.key).zip(values.chunks_exact(self.value));
        for (key, value) in pairs {
            bpf::map_update_bytes(&self.fd, key, value).map_err(|e| SteerError::kernel("write a BPF map", e))?;
        }
        Ok(())
    }

    /// The value of a key; of a per-CPU map, one per CPU.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, SteerError> {
        self.check_keys(key)?;
        let mut value = vec![0u8; self.value];
        match bpf::map_lookup_bytes(&self.fd, key, &mut value) {
            Ok(()) => Ok(Some(value)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(e) => Err(SteerError::kernel("read a BPF map", e)),
        }
    }

    /// Removes keys; returns how many were there.
    pub fn delete(&self, keys: &[u8]) -> Result<usize, SteerError> {
        self.check_keys(keys)?;
        let mut removed = 0;
        for key in keys.chunks_exact(self.key) {
            match bpf::map_delete_bytes(&self.fd, key) {
                Ok(()) => removed += 1,
                Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
                Err(e) => return Err(SteerError::kernel("remove from a BPF map", e)),
            }
        }
        Ok(removed)
    }

    /// All keys and all values of a hash.
    pub fn dump(&self) -> Result<(Vec<u8>, Vec<u8>), SteerError> {
        bpf::map_dump(&self.fd, self.key, self.value).map_err(|e| SteerError::kernel("read a BPF map", e))
    }

    fn check_keys(&self, keys: &[u8]) -> Result<(), SteerError> {
        if keys.is_empty() || keys.len() % self.key != 0 {
            return Err(SteerError::Refused("The key is not as long as the map's; this is a bug.".to_owned()));
        }
        Ok(())
    }
}

/// A loaded program. It lives as long as this value, or what it is attached to.
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Loads `which` (port, veth or pick) with the maps that it names.
    pub fn load(which: &str, map: impl Fn(&str) -> Option<RawFd>) -> Result<Program, SteerError> {
        let (object, kind, name): (Object, ProgKind, &str) = match which {
            "port" => (PROXY_PORT, ProgKind::Tc, "px_port"),
            "veth" => (PROXY_VETH, ProgKind::Tc, "px_veth"),
            "pick" => (PROXY_PICK, ProgKind::SkLookup, "px_pick"),
            other => return Err(SteerError::Refused(format!("The proxy has no program {other}."))),
        };
        Ok(Program { fd: attach::load(object, kind, name, map)? })
    }

    /// Puts it on an interface's ingress, in front of the copper wire; it stays when the process ends.
    pub fn attach_tc(&self, ifindex: u32) -> Result<(), SteerError> {
        rtnl::add_clsact(ifindex)?;
        rtnl::set_filter_at(rtnl::PROXY, ifindex, super::maps::borrow(&self.fd))
    }

    /// Puts it on the ingress of an interface of the proxy's own, where no other program is: on the newer hook where the
    /// kernel has it, which costs each frame less.
    pub fn attach_alone(&self, ifindex: u32) -> Result<(), SteerError> {
        bpf::tcx_attach(ifindex, &self.fd).or_else(|_| self.attach_tc(ifindex))
    }

    /// Attaches it to a network namespace, for as long as the descriptor that is returned is open.
    pub fn attach_netns(&self, netns: RawFd) -> Result<OwnedFd, SteerError> {
        bpf::sk_lookup_attach(&self.fd, netns).map_err(|e| SteerError::kernel("attach the choice of listeners", e))
    }

    /// Runs it on a frame `repeat` times: its verdict, and nanoseconds per run.
    pub fn time(&self, frame: &[u8], repeat: u32) -> Result<(u32, u32), SteerError> {
        bpf::time_run(&self.fd, frame, repeat).map_err(|e| SteerError::kernel("run a BPF program for a test", e))
    }
}

/// Takes the proxy's program off an interface. `false`: it was not there.
pub fn detach_tc(ifindex: u32) -> Result<bool, SteerError> {
    let there = is_on(ifindex)?;
    if there {
        rtnl::remove_filter_at(rtnl::PROXY, ifindex)?;
        rtnl::remove_unused_clsact(ifindex)?;
    }
    Ok(there)
}

/// Is a program of a proxy on the interface?
pub fn is_on(ifindex: u32) -> Result<bool, SteerError> {
    Ok(rtnl::filters(ifindex, rtnl::INGRESS)?.iter().any(|f| f.is_the_proxys()))
}
