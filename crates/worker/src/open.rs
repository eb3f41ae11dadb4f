//! Opening a wire: interfaces made ports, memory, sockets, steering; and all of it undone when a step fails.

use std::sync::Arc;

use smartwire_io::driver::{Driver, Sizing};
use smartwire_io::frames::Frames;
use smartwire_io::link::Net;
use smartwire_io::packet::{PacketOptions, PacketPort};
use smartwire_io::port::PortIo;
use smartwire_io::ports::{self, PrepareOptions, Prepared, XDP_HEADROOM};
use smartwire_io::region::{self, Region};
use smartwire_io::steer::{AttachOptions, Mode, Steer, SteerError};
use smartwire_io::xsk::{self, CopyMode, PortSpec, XskOptions};
use smartwire_io::{sys, IoError};

use crate::options::{default_frames, IoChoice, Options};

/// Bytes of kernel memory for what waits at an AF_PACKET socket.
const SOCKET_BUFFER: u32 = 8 << 20;

/// Frame buffers of a wire that only listens.
const COPIES: u32 = 1 << 12;

/// A wire whose sockets are open and whose programs are attached, before anything is claimed.
pub(crate) struct Opened {
    pub driver: Driver,
    pub steer: Arc<Steer>,
    pub about: About,
    /// The copper wire was there before, and stays if the rest fails.
    pub copper: bool,
}

/// What was chosen, for people.
#[derive(Clone, Debug)]
pub struct About {
    /// How frames come: "AF_XDP copy (generic XDP)".
    pub io: String,
    /// Why not better, one sentence each; empty if it is the best there is.
    pub why: Vec<String>,
    /// Interface names in the order of the ports.
    pub ports: Vec<String>,
    /// Frame buffers.
    pub frames: u32,
    /// Bytes each.
    pub frame_bytes: usize,
    /// Entries per ring.
    pub ring: u32,
    /// MTU of the ports.
    pub mtu: u32,
}

/// Opens in the best way that works.
///
/// # Errors
/// Why the first way does not work, with its fix. Everything is as it was before.
pub(crate) fn open(o: &Options) -> Result<Opened, IoError> {
    let copper = o.pairs.iter().flat_map(|(a, c)| [a, c]).any(|name| is_copper(name));
    let mut why = Vec::new();
    let mut first = None;
    for mode in candidates(o) {
        match open_as(o, mode, copper) {
            Ok(mut opened) => {
                opened.about.why = why;
                return Ok(opened);
            }
            Err(e) => {
                why.push(format!("{}: {e}", describe(mode)));
                first.get_or_insert(e);
            }
        }
    }
    Err(first.unwrap_or_else(|| IoError::new("There is no way to receive frames here; this is a bug, please report it.")))
}

/// An earlier run's copper wire is on the interface.
fn is_copper(name: &str) -> bool {
    Steer::inspect(name).is_ok_and(|a| a.tc.is_some())
}

/// The ways to try, best first. On a veth XDP in the driver is slower than in the stack, which hands on what the other
/// end sent without another queue.
fn candidates(o: &Options) -> Vec<Mode> {
    if o.engine.observe {
        return vec![Mode::Copper];
    }
    let net = Net::here().ok();
    let virtual_link = |name: &String| net.as_ref().and_then(|n| n.driver(name)).as_deref() == Some("veth");
    let veth = o.pairs.iter().flat_map(|(a, c)| [a, c]).any(virtual_link);
    let xdp: &[Mode] = if veth { &[Mode::XdpGeneric] } else { &[Mode::XdpNative, Mode::XdpGeneric] };
    match o.io {
        IoChoice::Auto => [xdp, &[Mode::Packet]].concat(),
        IoChoice::Xdp => xdp.to_vec(),
        IoChoice::Packet => vec![Mode::Packet],
    }
}

fn open_as(o: &Options, mode: Mode, copper: bool) -> Result<Opened, IoError> {
    let fill_checksums = o.fill_checksums.then_some(true);
    let ready = ports::prepare(&o.pairs, PrepareOptions { mode, fix_offloads: o.mend, fill_checksums })?;
    let opened = open_ready(o, mode, &ready);
    match opened {
        Ok((driver, steer, about)) => Ok(Opened { driver, steer, about, copper }),
        Err(e) => {
            undo(&o.pairs, copper);
            Err(e)
        }
    }
}

/// Takes off what was put on, unless it was there before.
pub(crate) fn undo(pairs: &[(String, String)], copper: bool) {
    if !copper {
        for (access, core) in pairs {
            // What can't be undone now is undone by `smartwire unwire`; another error is the one to report.
            let _ = unwire(access, core);
        }
    }
}

fn open_ready(o: &Options, mode: Mode, ready: &[Prepared]) -> Result<(Driver, Arc<Steer>, About), IoError> {
    let chunk = ports::chunk_for(ready)?;
    let count = match mode {
        Mode::Copper => COPIES,
        _ => o.frames.unwrap_or_else(|| default_frames(region::available_memory().unwrap_or(0))),
    };
    let queues = ready.iter().map(|p| p.queues).sum();
    // In the stack no more than net.core.netdev_max_backlog, 1000 frames, come at once; a longer ring is colder memory.
    let most = if mode == Mode::XdpNative { 2048 } else { 1024 };
    let sizing = Sizing::of(count, ready.len() as u32, queues, most)?;
    let mut frames = Frames::new(Arc::new(Region::new(count, chunk)?), sizing.reserve)?;
    let steer = attach(o, mode, ready, chunk)?;
    let ports = match mode {
        Mode::Packet | Mode::Copper => packet_ports(ready, &steer, sizing, mode == Mode::Copper)?,
        _ => xsk_ports(ready, &steer, sizing, &mut frames)?,
    };
    let about = About {
        io: io_text(mode, &ports),
        why: Vec::new(),
        ports: ready.iter().map(|p| p.name.clone()).collect(),
        frames: count,
        frame_bytes: chunk,
        ring: sizing.ring,
        mtu: ready.iter().map(|p| p.mtu).max().unwrap_or(0),
    };
    let driver = Driver::over(frames, ports, Some(steer.custody().clone()));
    Ok((driver, Arc::new(steer), about))
}

fn attach(o: &Options, mode: Mode, ready: &[Prepared], chunk: usize) -> Result<Steer, IoError> {
    let pairs: Vec<(u32, u32)> = ready.chunks_exact(2).map(|p| (p[0].ifindex, p[1].ifindex)).collect();
    let options = AttachOptions {
        max_frame: chunk as u32 - XDP_HEADROOM,
        subscriber_prefix_v6: o.engine.subscriber_v6_prefix,
        ..AttachOptions::default()
    };
    Steer::attach(&pairs, mode, &options).map_err(steer_error)
}

fn packet_ports(ready: &[Prepared], steer: &Steer, sizing: Sizing, deaf: bool) -> Result<Vec<PortIo>, IoError> {
    let options = PacketOptions { socket_buffer: SOCKET_BUFFER, backlog: sizing.backlog, deaf };
    let open = |(i, p): (usize, &Prepared)| {
        PacketPort::open(i as u8, p.ifindex, &p.name, Some(steer.socket_filter_fd()), options)
            .map(|port| PortIo::Packet(Box::new(port)))
    };
    ready.iter().enumerate().map(open).collect()
}

fn xsk_ports(ready: &[Prepared], steer: &Steer, sizing: Sizing, frames: &mut Frames) -> Result<Vec<PortIo>, IoError> {
    let spec = |(i, p): (usize, &Prepared)| PortSpec {
        port: i as u8,
        ifindex: p.ifindex,
        name: p.name.clone(),
        queues: p.queues,
    };
    let specs: Vec<PortSpec> = ready.iter().enumerate().map(spec).collect();
    let options = XskOptions { ring: sizing.ring, copy: CopyMode::Auto, backlog: sizing.backlog, trains: true };
    let mut opened = xsk::open(&specs, frames, options)?;
    for (port, p) in opened.iter_mut().zip(ready) {
        if p.fill_checksums {
            port.complete_partial_checksums();
        }
        for (queue, fd) in port.sockets() {
            steer.register_xsk(p.ifindex, queue, fd).map_err(steer_error)?;
        }
    }
    Ok(opened.into_iter().map(|p| PortIo::Xsk(Box::new(p))).collect())
}

fn describe(mode: Mode) -> &'static str {
    match mode {
        Mode::XdpNative => "XDP in the driver",
        Mode::XdpGeneric => "XDP in the stack",
        Mode::Packet => "AF_PACKET",
        Mode::Copper => "the copper wire",
    }
}

fn io_text(mode: Mode, ports: &[PortIo]) -> String {
    let kind = ports.first().map_or("", PortIo::kind);
    match mode {
        Mode::Packet => kind.to_owned(),
        Mode::Copper => "in the kernel".to_owned(),
        _ => format!("{kind}, {}", describe(mode)),
    }
}

/// Joins two interfaces by the copper wire alone, as a stopped engine leaves them. `true`: they were so before.
///
/// # Errors
/// The first thing that is in the way, with its fix; the interfaces are as they were before.
pub fn copper(access: &str, core: &str) -> Result<bool, IoError> {
    // What can't be looked into is another version's, which is not to be taken off here either.
    let copper = |name| Steer::inspect(name).map_or(true, |a| a.tc.is_some());
    let was = copper(access) && copper(core);
    if Steer::inspect(access).is_ok_and(|a| a.live && sys::if_index(core).ok() == a.peer_ifindex) {
        return Ok(true);
    }
    ports::prepare_copper(access, core)?;
    let pair = (sys::if_index(access)?, sys::if_index(core)?);
    let attached = Steer::attach(&[pair], Mode::Packet, &AttachOptions::default());
    if attached.is_err() {
        undo(&[(access.to_owned(), core.to_owned())], was);
    }
    attached.map(|_| was).map_err(steer_error)
}

/// Takes everything of Smartwire off a pair of interfaces and gives them back what they had. `false`: there was
/// nothing.
///
/// # Errors
/// The first thing that could not be taken off; the rest has been.
pub fn unwire(access: &str, core: &str) -> Result<bool, IoError> {
    let steered = Steer::unwire(sys::if_index(access)?, sys::if_index(core)?).map_err(steer_error);
    let restored = [ports::restore(access), ports::restore(core)];
    let mut any = steered?;
    for r in restored {
        any |= r?;
    }
    Ok(any)
}

/// Steering's errors as the one kind that a person sees.
pub fn steer_error(e: SteerError) -> IoError {
    let text = e.to_string();
    let mut chars = text.chars();
    let first: String = chars.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    IoError::new(format!("{first}{}{end}", chars.as_str()))
}
