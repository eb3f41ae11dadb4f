//! Putting programs on interfaces, finding them there, and taking them off.

use std::collections::HashSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use super::bpf::{self, ProgInfo, ProgKind};
use super::layout::{PortConfig, MAX_PORTS};
use super::maps::{self, borrow, Wire};
use super::object::{Object, TAP, TC, XDP};
use super::rtnl::{self, XdpHook, INGRESS};
use super::{heartbeat, proxy, AttachOptions, Attached, Heartbeat, Mode, SteerError, Wanted};
use crate::sys;

/// Names of our programs in the kernel.
const TC_NAME: &str = "sw_tc";
const XDP_NAME: &str = "sw_xdp";
pub(super) const TAP_NAME: &str = "sw_tap";

/// Debian 12's: the programs are written for it.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

/// A port of an attached wire.
#[derive(Debug)]
pub(super) struct Port {
    pub ifindex: u32,
    pub xdp: Option<XdpProgram>,
}

impl Port {
    /// The port's program, if it is one in the stack.
    fn in_stack(&self) -> Option<&XdpProgram> {
        self.xdp.as_ref().filter(|x| x.hook == XdpHook::Stack)
    }

    /// What [`super::Steer::rest_xdp`] says.
    pub(super) fn rest_xdp(&self) -> Result<(), SteerError> {
        let Some(x) = self.in_stack() else { return Ok(()) };
        rtnl::set_xdp(self.ifindex, x.hook, Some(borrow(&x.prog)), None)
    }

    /// What [`super::Steer::wake_xdp`] says.
    pub(super) fn wake_xdp(&self) -> Result<(), SteerError> {
        let Some(x) = self.in_stack() else { return Ok(()) };
        rtnl::set_xdp(self.ifindex, x.hook, None, Some(borrow(&x.prog)))
    }
}

/// A program that is on an interface.
struct Found {
    fd: OwnedFd,
    info: ProgInfo,
}

/// What is on an interface.
#[derive(Default)]
struct Seen {
    tc: Option<Found>,
    xdp: Option<(XdpHook, Found)>,
    foreign_xdp: Option<(Option<XdpHook>, u32, String)>,
    foreign_tc: bool,
    foreign_tcx: bool,
}

fn found(id: u32) -> Result<Found, SteerError> {
    let os = |e| SteerError::kernel("look at an attached BPF program", e);
    let fd = bpf::prog_by_id(id).map_err(os)?;
    let info = bpf::prog_info(&fd).map_err(os)?;
    Ok(Found { fd, info })
}

fn look(ifindex: u32) -> Result<Seen, SteerError> {
    let mut seen = Seen { foreign_tcx: bpf::tcx_in_use(ifindex), ..Seen::default() };
    for filter in rtnl::filters(ifindex, INGRESS)? {
        match filter.prog_id {
            Some(id) if filter.is_ours() => {
                let prog = found(id)?;
                if prog.info.name == TC_NAME {
                    seen.tc = Some(prog);
                } else {
                    seen.foreign_tc = true;
                }
            }
            _ => seen.foreign_tc |= !filter.is_ours() && !filter.is_the_proxys(),
        }
    }
    for (hook, id) in rtnl::xdp_programs(ifindex)? {
        let prog = found(id)?;
        match hook {
            Some(hook) if prog.info.name == XDP_NAME => seen.xdp = Some((hook, prog)),
            _ => seen.foreign_xdp = Some((hook, id, prog.info.name)),
        }
    }
    Ok(seen)
}

/// Joins the pairs into one wire: what [`super::Steer::attach`] says.
pub(super) fn attach(
    pairs: &[(u32, u32)],
    mode: Mode,
    opts: &AttachOptions,
) -> Result<(Wire, Vec<Port>, OwnedFd), SteerError> {
    let names = check_pairs(pairs)?;
    let ports: Vec<u32> = pairs.iter().flat_map(|&(access, core)| [access, core]).collect();
    let seen = ports.iter().map(|&i| look(i)).collect::<Result<Vec<_>, _>>()?;
    for (name, seen) in names.iter().zip(&seen) {
        refuse_foreign(name, seen)?;
    }
    let wire = match existing(&ports, &names, &seen)? {
        Some(wire) => wire,
        None => Wire::create(opts)?,
    };
    let tap = load(TAP, ProgKind::SocketFilter, TAP_NAME, |map| wire.fd_of(map))?;
    let programs = (0..ports.len())
        .map(|n| Programs::load(&wire, n, ports[n ^ 1], mode))
        .collect::<Result<Vec<_>, _>>()?;
    configure(&wire, &ports, opts);
    for (n, new) in programs.iter().enumerate() {
        if let Err(e) = new.install(ports[n], &seen[n]) {
            for (&ifindex, seen) in ports.iter().zip(&seen).take(n + 1) {
                restore(ifindex, seen);
            }
            return Err(on_port(&names[n], e));
        }
    }
    let ports = ports.into_iter().zip(programs);
    Ok((wire, ports.map(|(ifindex, p)| Port { ifindex, xdp: p.xdp }).collect(), tap))
}

/// The programs of one port, loaded.
pub(super) struct Programs {
    pub(super) tc: OwnedFd,
    pub(super) xdp: Option<XdpProgram>,
}

#[derive(Debug)]
pub(super) struct XdpProgram {
    hook: XdpHook,
    pub(super) prog: OwnedFd,
    pub(super) sockets: OwnedFd,
}

impl Programs {
    pub(super) fn load(wire: &Wire, number: usize, peer_ifindex: u32, mode: Mode) -> Result<Programs, SteerError> {
        let config = PortConfig {
            peer_ifindex,
            side: (number & 1) as u32,
            packet_mode: u32::from(mode == Mode::Packet),
            generic_xdp: u32::from(mode == Mode::XdpGeneric),
        };
        let port = maps::port_map(&config)?;
        let shared = |map: &str| if map == "sw_port_map" { Some(port.as_raw_fd()) } else { wire.fd_of(map) };
        let hook = match mode {
            Mode::XdpNative => Some(XdpHook::Driver),
            Mode::XdpGeneric => Some(XdpHook::Stack),
            Mode::Packet | Mode::Copper => None,
        };
        let xdp = hook.map(|hook| -> Result<XdpProgram, SteerError> {
            let sockets = maps::xsk_map()?;
            let own = |map: &str| if map == "sw_xsk_map" { Some(sockets.as_raw_fd()) } else { shared(map) };
            Ok(XdpProgram { hook, prog: load(XDP, ProgKind::Xdp, XDP_NAME, own)?, sockets })
        });
        let tc = load(TC, ProgKind::Tc, TC_NAME, shared)?;
        wire.shared.bind(&tc)?;
        Ok(Programs { tc, xdp: xdp.transpose()? })
    }

    /// Puts them in place of what was `seen` there, each in one step.
    fn install(&self, ifindex: u32, seen: &Seen) -> Result<(), SteerError> {
        rtnl::add_clsact(ifindex)?;
        rtnl::set_filter(ifindex, borrow(&self.tc))?;
        let mut old = seen.xdp.as_ref().map(|(hook, prog)| (*hook, borrow(&prog.fd)));
        let wanted = self.xdp.as_ref().map(|x| x.hook);
        if let Some((hook, fd)) = old.filter(|(hook, _)| Some(*hook) != wanted) {
            rtnl::set_xdp(ifindex, hook, Some(fd), None)?;
            old = None;
        }
        match &self.xdp {
            Some(x) => rtnl::set_xdp(ifindex, x.hook, old.map(|(_, fd)| fd), Some(borrow(&x.prog))),
            None => Ok(()),
        }
    }
}

pub(super) fn load(
    object: Object,
    kind: ProgKind,
    name: &str,
    map_fd: impl Fn(&str) -> Option<i32>,
) -> Result<OwnedFd, SteerError> {
    let loaded = bpf::prog_load(kind, name, &object.instructions(map_fd).map_err(SteerError::Refused)?);
    match (loaded, kernel_version()) {
        (Err(e), Some(v)) if e.errno() != Some(libc::EPERM) && v < OLDEST_KERNEL => {
            let (is, (major, minor)) = (v, OLDEST_KERNEL);
            Err(SteerError::Refused(format!("This kernel is {}.{}; smartwire needs {major}.{minor} or newer.", is.0, is.1)))
        }
        (loaded, _) => loaded,
    }
}

fn kernel_version() -> Option<(u32, u32)> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

/// Puts back what was `seen`, after something went wrong; what can't be put back is left as it is.
fn restore(ifindex: u32, seen: &Seen) {
    let now = look(ifindex).unwrap_or_default();
    let _ = remove_xdp(ifindex);
    if let Some((hook, prog)) = &seen.xdp {
        let _ = rtnl::set_xdp(ifindex, *hook, None, Some(borrow(&prog.fd)));
    }
    match &seen.tc {
        Some(prog) => drop(rtnl::set_filter(ifindex, borrow(&prog.fd))),
        None if now.tc.is_some() => drop(rtnl::remove_filter(ifindex)),
        None => {}
    }
    let _ = rtnl::remove_unused_clsact(ifindex);
}

/// Writes what the programs of all ports must know.
pub(super) fn configure(wire: &Wire, ports: &[u32], opts: &AttachOptions) {
    let page = wire.page();
    // Before the timeout may grow: an owner that is not live now must not become so.
    heartbeat::depose(page);
    page.timeout_ns.store(opts.timeout.as_nanos().min(u128::from(u64::MAX >> 1)) as u64, Relaxed);
    page.mode.store(Wanted::Claimed as u32, Relaxed);
    page.max_frame.store(opts.max_frame, Relaxed);
    page.prefix_v6.store(u32::from(opts.subscriber_prefix_v6).min(128), Relaxed);
    for (n, slot) in page.ifindex.iter().enumerate() {
        slot.store(ports.get(n).copied().unwrap_or(0), Relaxed);
    }
}

/// The names of all ports, in order.
fn check_pairs(pairs: &[(u32, u32)]) -> Result<Vec<String>, SteerError> {
    if pairs.is_empty() || pairs.len() * 2 > MAX_PORTS {
        let (most, given) = (MAX_PORTS / 2, pairs.len());
        return Err(SteerError::Refused(format!("A wire has 1 to {most} pairs of interfaces, not {given}.")));
    }
    let (mut names, mut once) = (Vec::new(), HashSet::new());
    for ifindex in pairs.iter().flat_map(|&(access, core)| [access, core]) {
        let name = name_of(ifindex)?;
        if !once.insert(ifindex) {
            return Err(SteerError::Refused(format!("{name} is given twice; a wire joins different interfaces.")));
        }
        names.push(name);
    }
    Ok(names)
}

fn name_of(ifindex: u32) -> Result<String, SteerError> {
    sys::if_name(ifindex).map_err(|e| SteerError::Refused(e.to_string()))
}

/// Someone else's programs would fight with ours: say which command removes them.
fn refuse_foreign(name: &str, seen: &Seen) -> Result<(), SteerError> {
    let (what, command) = match &seen.foreign_xdp {
        Some((Some(XdpHook::Stack), id, prog)) => {
            (format!("XDP program {prog} (id {id})"), format!("ip link set dev {name} xdpgeneric off"))
        }
        Some((Some(XdpHook::Driver), id, prog)) => {
            (format!("XDP program {prog} (id {id})"), format!("ip link set dev {name} xdpdrv off"))
        }
        Some((None, id, prog)) => {
            (format!("XDP program {prog} (id {id})"), format!("ip link set dev {name} xdpoffload off"))
        }
        None if seen.foreign_tcx => {
            ("tcx program".to_owned(), format!("bpftool net detach tcx_ingress dev {name}"))
        }
        None if seen.foreign_tc => ("tc ingress filter".to_owned(), format!("tc filter del dev {name} ingress")),
        None => return Ok(()),
    };
    Err(SteerError::Refused(format!("{name} has a {what} of someone else; take it off with `{command}`.")))
}

/// The wire that these ports are already, if any; refuses to take over half of one, or one that is in use.
fn existing(ports: &[u32], names: &[String], seen: &[Seen]) -> Result<Option<Wire>, SteerError> {
    let mut wire: Option<Wire> = None;
    for (n, seen) in seen.iter().enumerate() {
        let Some(tc) = &seen.tc else { continue };
        let found = Wire::of_program(&tc.info)?;
        let config = maps::port_config(&tc.info)?;
        let others = others_of(&found, ports);
        let same = match &wire {
            Some(wire) => wire.id()? == found.id()?,
            None => true,
        };
        if config.peer_ifindex != ports[n ^ 1] || !same || !others.is_empty() {
            return Err(half_of_a_wire(&names[n], config.peer_ifindex, &others));
        }
        if found.live(Heartbeat::now_ns()) {
            let pid = found.page().owner_pid.load(Relaxed);
            return Err(SteerError::Refused(format!(
                "{} is already a port of a running wire (process {pid}); stop that first (`kill {pid}` drains and ends it).",
                names[n]
            )));
        }
        wire.get_or_insert(found);
    }
    Ok(wire)
}

/// Other interfaces that are still ports of this wire.
fn others_of(wire: &Wire, ports: &[u32]) -> Vec<String> {
    let belongs = |ifindex: u32| {
        let tc = look(ifindex).ok()?.tc?;
        Some(Wire::of_program(&tc.info).ok()?.id().ok()? == wire.id().ok()?)
    };
    let indexes = wire.page().ifindex.iter().map(|i| i.load(Relaxed));
    let others = indexes.filter(|i| *i != 0 && !ports.contains(i) && belongs(*i) == Some(true));
    others.filter_map(|i| sys::if_name(i).ok()).collect()
}

fn half_of_a_wire(name: &str, peer_ifindex: u32, others: &[String]) -> SteerError {
    let peer = sys::if_name(peer_ifindex).unwrap_or_else(|_| "an interface that is gone".to_owned());
    let with = if others.is_empty() { peer.clone() } else { others.join(", ") };
    let off = if sys::if_index(&peer).is_ok() { format!("`smartwire unwire {name} {peer}`") } else { format!("`tc filter del dev {name} ingress`") };
    SteerError::Refused(format!("{name} is already a wire with {with}; take it off with {off} first."))
}

/// Says which interface an error is about.
fn on_port(name: &str, e: SteerError) -> SteerError {
    match e {
        SteerError::Kernel { step, source, detail } => {
            SteerError::Kernel { step: format!("{step} on {name}"), source, detail }
        }
        other => other,
    }
}

/// Takes our XDP program off, if it is there.
pub(super) fn remove_xdp(ifindex: u32) -> Result<bool, SteerError> {
    match look(ifindex)?.xdp {
        Some((hook, prog)) => rtnl::set_xdp(ifindex, hook, Some(borrow(&prog.fd)), None).map(|()| true),
        None => Ok(false),
    }
}

/// The wire that an interface is a port of.
pub(super) fn wire_of(ifindex: u32) -> Result<Wire, SteerError> {
    match look(ifindex)?.tc {
        Some(tc) => Wire::of_program(&tc.info),
        None => Err(SteerError::Refused(format!("{} is not a port of a wire.", name_of(ifindex)?))),
    }
}

/// What [`super::Steer::unwire`] says.
pub(super) fn unwire(access: u32, core: u32) -> Result<bool, SteerError> {
    check_pairs(&[(access, core)])?;
    for (ifindex, peer) in [(access, core), (core, access)] {
        let Some(tc) = look(ifindex)?.tc else { continue };
        let config = maps::port_config(&tc.info).unwrap_or(PortConfig { peer_ifindex: peer, ..Default::default() });
        if config.peer_ifindex != peer && sys::if_name(config.peer_ifindex).is_ok() {
            return Err(half_of_a_wire(&name_of(ifindex)?, config.peer_ifindex, &[]));
        }
    }
    let mut any = false;
    for ifindex in [access, core] {
        // Whoever still watches over this wire finds that it is over.
        if let Ok(wire) = wire_of(ifindex) {
            heartbeat::depose(wire.page());
        }
        any |= remove_xdp(ifindex)?;
        any |= proxy::detach_tc(ifindex)?;
        if look(ifindex)?.tc.is_some() {
            rtnl::remove_filter(ifindex)?;
            rtnl::remove_unused_clsact(ifindex)?;
            any = true;
        }
    }
    Ok(any)
}

/// What [`super::Steer::inspect`] says.
pub(super) fn inspect(ifindex: u32) -> Result<Attached, SteerError> {
    let seen = look(ifindex)?;
    let mut out = Attached {
        tc: seen.tc.as_ref().map(|p| p.info.id),
        xdp: seen.xdp.as_ref().map(|(_, p)| p.info.id),
        foreign_xdp: seen.foreign_xdp.map(|(_, id, name)| (id, name)),
        foreign_tc: seen.foreign_tc || seen.foreign_tcx,
        ..Attached::default()
    };
    if let Some(tc) = &seen.tc {
        out.peer_ifindex = Some(maps::port_config(&tc.info)?.peer_ifindex);
        let wire = Wire::of_program(&tc.info)?;
        out.live = wire.live(Heartbeat::now_ns());
        out.owner_pid = wire.page().owner_pid.load(Relaxed);
    }
    Ok(out)
}
