//! Making an interface a port: up, promiscuous, silent, and as it was when the wire is taken off.
//!
//! What is changed is written to a file first, so that `unwire` can undo it after a crash. It stays in force when the
//! process leaves, because the copper wire still forwards then.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::IoError;
use crate::link::Net;
use crate::netlink;
use crate::offload;
use crate::steer::Mode;
use crate::sys;

/// Ethernet header and two VLAN tags on top of the MTU.
const FRAME_OVERHEAD: u32 = 14 + 8;
/// What AF_XDP keeps for itself at the start of a chunk.
pub const XDP_HEADROOM: u32 = 256;
/// Per-interface settings that make the port silent.
const SYSCTLS: [(&str, &str); 2] = [("disable_ipv6", "1"), ("accept_ra", "0")];

/// How ports are to be prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareOptions {
    /// How frames will come.
    pub mode: Mode,
    /// Change offloads that stand in the way, instead of refusing.
    pub fix_offloads: bool,
    /// Complete partial checksums of received frames: `Some` for all ports or none, `None`: only where a veth's other
    /// end cannot be looked into.
    pub fill_checksums: Option<bool>,
}

/// A port that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// Interface name.
    pub name: String,
    /// Interface index.
    pub ifindex: u32,
    /// MTU in bytes.
    pub mtu: u32,
    /// Receive queues.
    pub queues: u32,
    /// Complete partial checksums of what arrives.
    pub fill_checksums: bool,
}

/// Prepares the (access, core) pairs of a wire, in order: access and core port of the first pair, of the second, ...
///
/// # Errors
/// The first thing that is wrong, with its fix. Whatever this call had changed is put back.
pub fn prepare(pairs: &[(String, String)], o: PrepareOptions) -> Result<Vec<Prepared>, IoError> {
    check_names(pairs)?;
    check_contracts(pairs, o)?;
    let mut ready = Vec::new();
    let mut touched = Vec::new();
    let result = (|| {
        for (access, core) in pairs {
            check_mtu(access, core)?;
            for name in [access, core] {
                touched.push((name.clone(), State::load(name)?));
                ready.push(prepare_one(name, o)?);
            }
        }
        Ok(())
    })();
    if let Err(e) = result {
        for (name, before) in touched.into_iter().rev() {
            // What an earlier run changed stays changed: its copper wire may be at work.
            let _ = undo(&name, &before);
        }
        return Err(e);
    }
    Ok(ready)
}

/// Makes two interfaces silent ports of a copper wire, whose frames never come here: offloads may stay as they are.
///
/// # Errors
/// The first thing that is wrong, with its fix. Whatever this call had changed is put back.
pub fn prepare_copper(access: &str, core: &str) -> Result<(), IoError> {
    check_names(&[(access.to_owned(), core.to_owned())])?;
    check_mtu(access, core)?;
    let mut touched = Vec::new();
    let result = [access, core].into_iter().try_for_each(|name| {
        let net = Net::here()?;
        refuse_host_interfaces(name, net.index(name)?, &net)?;
        let mut state = State::load(name)?;
        touched.push((name, State::load(name)?));
        silence(name, &net, &mut state)
    });
    if result.is_err() {
        for (name, before) in touched.into_iter().rev() {
            // The first error is the one to report.
            let _ = undo(name, &before);
        }
    }
    result
}

/// Bytes per frame buffer that these ports need.
///
/// # Errors
/// The MTU is more than any buffer takes.
pub fn chunk_for(ports: &[Prepared]) -> Result<usize, IoError> {
    let Some(p) = ports.iter().max_by_key(|p| p.mtu) else { return Ok(2048) };
    for chunk in [2048, 4096] {
        if p.mtu + FRAME_OVERHEAD + XDP_HEADROOM <= chunk {
            return Ok(chunk as usize);
        }
    }
    let most = 4096 - XDP_HEADROOM - FRAME_OVERHEAD;
    Err(IoError::new(format!(
        "{} has MTU {} and Smartwire takes frames of at most MTU {most}; lower it on both ports and on what is attached to them: `ip link set dev {} mtu {most}`.",
        p.name, p.mtu, p.name
    )))
}

/// Puts an interface back as it was before it became a port. `false`: it had not been changed.
pub fn restore(name: &str) -> Result<bool, IoError> {
    let state = State::load(name)?;
    if state.entries.is_empty() {
        return Ok(false);
    }
    undo(name, &State { path: state.path.clone(), entries: BTreeMap::new() })?;
    Ok(true)
}

fn check_names(pairs: &[(String, String)]) -> Result<(), IoError> {
    if pairs.is_empty() {
        return Err(IoError::new("A wire needs two interfaces: name the access and the core side."));
    }
    let names: Vec<&String> = pairs.iter().flat_map(|(a, c)| [a, c]).collect();
    for (i, name) in names.iter().enumerate() {
        if names[..i].contains(name) {
            return Err(IoError::new(format!("{name} is named twice; every port of a wire is an interface of its own.")));
        }
        sys::if_index(name)?;
    }
    if !sys::is_root() {
        return Err(IoError::new("A wire needs root (packet sockets, BPF and interface settings); run it with sudo."));
    }
    Ok(())
}

fn check_mtu(access: &str, core: &str) -> Result<(), IoError> {
    let net = Net::here()?;
    let (a, c) = (net.mtu(access)?, net.mtu(core)?);
    if a != c {
        let (larger, mtu) = if a > c { (access, c) } else { (core, a) };
        return Err(IoError::new(format!(
            "{access} has MTU {a} and {core} has MTU {c}; make them equal, for what one takes in the other must be able to send: `ip link set dev {larger} mtu {mtu}`."
        )));
    }
    Ok(())
}

fn prepare_one(name: &str, o: PrepareOptions) -> Result<Prepared, IoError> {
    let net = Net::here()?;
    let ifindex = net.index(name)?;
    refuse_host_interfaces(name, ifindex, &net)?;
    let fill = fix_offloads(name, o)?;
    let mut state = State::load(name)?;
    silence(name, &net, &mut state)?;
    Ok(Prepared {
        name: name.to_owned(),
        ifindex,
        mtu: net.mtu(name)?,
        queues: net.rx_queues(name),
        fill_checksums: fill,
    })
}

/// A wire has no address: an interface with one is in use for something else, and silencing it would cut that off.
fn refuse_host_interfaces(name: &str, ifindex: u32, net: &Net) -> Result<(), IoError> {
    if net.flags(name)? & libc::IFF_LOOPBACK != 0 {
        return Err(IoError::new(format!("{name} is the loopback interface; a wire needs two Ethernet interfaces.")));
    }
    let address = net.ipv4(name).map(|a| a.to_string()).or_else(|| global_ipv6(name));
    if let Some(address) = address {
        return Err(IoError::new(format!(
            "{name} has the address {address}, so this host uses it; a port of a wire has none: `ip addr flush dev {name}` if it is the right one."
        )));
    }
    if let Some(master) = netlink::link_info(ifindex)?.master {
        let master = net.name(master).unwrap_or_else(|| "another interface".into());
        return Err(IoError::new(format!("{name} belongs to {master}; take it out first: `ip link set dev {name} nomaster`.")));
    }
    Ok(())
}

/// A global IPv6 address of an interface, as text.
fn global_ipv6(name: &str) -> Option<String> {
    // Of this thread's namespace: /proc/net is that of the process's first thread.
    let text = std::fs::read_to_string("/proc/thread-self/net/if_inet6").ok()?;
    let line = text.lines().find(|l| {
        let words: Vec<&str> = l.split_whitespace().collect();
        words.len() == 6 && words[5] == name && words[3] == "00"
    })?;
    let bits = u128::from_str_radix(line.split_whitespace().next()?, 16).ok()?;
    Some(std::net::Ipv6Addr::from_bits(bits).to_string())
}

/// Refuses offloads that nothing can or may change, all of them in one sentence.
fn check_contracts(pairs: &[(String, String)], o: PrepareOptions) -> Result<(), IoError> {
    let mut found = Vec::new();
    for name in pairs.iter().flat_map(|(access, core)| [access, core]) {
        found.extend(offload::check(name, o.mode, o.fill_checksums == Some(true))?.findings);
    }
    found.retain(|f| f.command.is_none() || !o.fix_offloads);
    if found.is_empty() {
        return Ok(());
    }
    Err(IoError::new(offload::sentence(&found)))
}

/// Mends what breaks the offload contract of one port; returns whether checksums must be completed.
fn fix_offloads(name: &str, o: PrepareOptions) -> Result<bool, IoError> {
    let contract = offload::check(name, o.mode, o.fill_checksums == Some(true))?;
    let mut state = State::load(name)?;
    for f in &contract.findings {
        for feature in &f.features {
            state.remember(&format!("feature {} {} {feature}", f.netns.as_deref().unwrap_or("-"), f.device), "on")?;
        }
        offload::switch(&f.device, f.netns.as_deref(), &f.features, false)?;
    }
    // Drivers may say yes and do nothing: look again.
    let again = offload::check(name, o.mode, o.fill_checksums == Some(true))?;
    if !again.findings.is_empty() {
        return Err(IoError::new(offload::sentence(&again.findings)));
    }
    Ok(o.fill_checksums.unwrap_or(contract.peer_unknown && !matches!(o.mode, Mode::Packet | Mode::Copper)))
}

/// Up, promiscuous, no ARP, no IPv6 of its own.
fn silence(name: &str, net: &Net, state: &mut State) -> Result<(), IoError> {
    let flags = net.flags(name)?;
    let mine = flags & (libc::IFF_UP | libc::IFF_PROMISC | libc::IFF_NOARP);
    state.remember("flags", &mine.to_string())?;
    for (key, value) in SYSCTLS {
        // A kernel without IPv6 has none of these, and needs none.
        let Ok(before) = std::fs::read_to_string(sysctl(name, key)) else { continue };
        state.remember(&format!("sysctl {key}"), before.trim())?;
        std::fs::write(sysctl(name, key), value)
            .map_err(|e| IoError::os(format!("set net.ipv6.conf.{name}.{key}={value}"), e))?;
    }
    net.change_flags(name, libc::IFF_UP | libc::IFF_PROMISC | libc::IFF_NOARP, 0)
}

fn sysctl(name: &str, key: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{name}/{key}")
}

/// Takes back every change that is not in `keep`.
fn undo(name: &str, keep: &State) -> Result<(), IoError> {
    let now = State::load(name)?;
    let net = Net::here()?;
    let mut first_error = Ok(());
    for (key, value) in now.entries.iter().filter(|(k, _)| !keep.entries.contains_key(*k)) {
        let words: Vec<&str> = key.split(' ').collect();
        let result = match words[..] {
            ["flags"] => {
                let before: i32 = value.parse().unwrap_or(0);
                let ours = libc::IFF_UP | libc::IFF_PROMISC | libc::IFF_NOARP;
                net.change_flags(name, before & ours, ours & !before)
            }
            ["sysctl", key] => std::fs::write(sysctl(name, key), value)
                .map_err(|e| IoError::os(format!("restore net.ipv6.conf.{name}.{key}"), e)),
            ["feature", netns, device, feature] => {
                let netns = (netns != "-").then_some(netns);
                offload::switch(device, netns, &[feature.to_owned()], true)
            }
            _ => Ok(()),
        };
        first_error = first_error.and(result);
    }
    keep.save()?;
    first_error
}

/// What a port was before, by key: `flags`, `sysctl KEY`, `feature NETNS DEVICE NAME`. The first value remembered for a
/// key is the original and is never overwritten.
#[derive(Clone, Debug)]
struct State {
    path: PathBuf,
    entries: BTreeMap<String, String>,
}

impl State {
    /// Reads what is remembered of an interface of this namespace; nothing, for one that was never changed.
    fn load(name: &str) -> Result<State, IoError> {
        let namespace = Net::here()?.cookie();
        let path = run_dir().join(".ports").join(format!("{namespace}-{}-{name}", sys::if_index(name)?));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let entries = text.lines().filter_map(|l| l.split_once('\t')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        Ok(State { path, entries })
    }

    fn remember(&mut self, key: &str, value: &str) -> Result<(), IoError> {
        if self.entries.contains_key(key) {
            return Ok(());
        }
        self.entries.insert(key.to_owned(), value.to_owned());
        self.save()
    }

    fn save(&self) -> Result<(), IoError> {
        let failed = |e| IoError::os(format!("write {}", self.path.display()), e);
        if self.entries.is_empty() {
            let _ = std::fs::remove_file(&self.path);
            return Ok(());
        }
        if let Some(dir) = self.path.parent() {
            std::fs::create_dir_all(dir).map_err(failed)?;
        }
        let text: String = self.entries.iter().map(|(k, v)| format!("{k}\t{v}\n")).collect();
        let next = self.path.with_extension("new");
        std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, &self.path)).map_err(failed)
    }
}

/// Where running wires keep their files: /run/smartwire, or $SMARTWIRE_RUN.
pub fn run_dir() -> PathBuf {
    std::env::var_os("SMARTWIRE_RUN").map_or_else(|| PathBuf::from("/run/smartwire"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(mtu: u32) -> Prepared {
        Prepared { name: "eth1".into(), ifindex: 1, mtu, queues: 1, fill_checksums: false }
    }

    #[test]
    fn buffers_fit_the_mtu_with_two_tags_and_headroom() {
        assert_eq!(chunk_for(&[port(1500), port(1500)]).unwrap(), 2048);
        assert_eq!(chunk_for(&[port(1770)]).unwrap(), 2048);
        assert_eq!(chunk_for(&[port(1771)]).unwrap(), 4096);
    }

    #[test]
    fn a_jumbo_mtu_is_refused_with_the_largest_that_works() {
        let err = chunk_for(&[port(9000)]).unwrap_err().to_string();
        assert!(err.contains("`ip link set dev eth1 mtu 3818`"), "{err}");
    }

    #[test]
    fn the_same_interface_twice_is_refused() {
        let err = prepare(
            &[("lo".into(), "lo".into())],
            PrepareOptions { mode: Mode::Packet, fix_offloads: false, fill_checksums: None },
        )
        .unwrap_err();
        assert!(err.to_string().contains("lo is named twice"), "{err}");
    }
}
