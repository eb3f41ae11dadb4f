//! Opening AF_XDP sockets: one memory region, a socket per port and queue, rings, binding.

use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::ring::{Consumer, Producer};
use super::sys::{self, Desc, Mapping, MmapOffsets, RingOffset, SockAddr, UmemReg};
use super::{Queue, XskPort};
use crate::backlog::Backlog;
use crate::error::IoError;
use crate::frames::Frames;
use crate::port::PortStats;
use crate::sender::Sender;

/// The kernel gives a queue back some time after its socket is closed; waiting longer than this means that somebody
/// else has it.
const BUSY_TRIES: u32 = 50;
const BUSY_WAIT: Duration = Duration::from_millis(20);

/// Bytes of kernel memory for what waits at a port's sending socket.
const SEND_BUFFER: u32 = 8 << 20;

/// Whether the driver copies frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyMode {
    /// Zero copy where every port's driver can, else copy.
    Auto,
    /// Zero copy or an error.
    Zero,
    /// Copy.
    Copy,
}

/// How to open the sockets.
#[derive(Clone, Copy, Debug)]
pub struct XskOptions {
    /// Entries of each ring, a power of two.
    pub ring: u32,
    /// Whether the driver copies.
    pub copy: CopyMode,
    /// Transmissions that may wait outside the ring, per port.
    pub backlog: usize,
    /// In copy mode send through a packet socket, which is faster there than the transmit ring.
    pub trains: bool,
}

/// One port to open.
#[derive(Clone, Debug)]
pub struct PortSpec {
    /// Its number in the wire.
    pub port: u8,
    /// Interface index.
    pub ifindex: u32,
    /// Interface name, for messages.
    pub name: String,
    /// Receive queues that carry traffic: sockets are opened on 0 to `queues - 1`.
    pub queues: u32,
}

/// Opens every queue of every port over the memory of `frames`. All fill rings are full when it returns. Register the
/// sockets with the steering program next ([`XskPort::sockets`]).
///
/// # Errors
/// A sentence with the fix; nothing stays open.
pub fn open(ports: &[PortSpec], frames: &mut Frames, options: XskOptions) -> Result<Vec<XskPort>, IoError> {
    if !options.ring.is_power_of_two() {
        return Err(IoError::new(format!("A ring of {} entries is not possible; give a power of two.", options.ring)));
    }
    raise_memlock();
    // A port in zero copy forces the others: try that for all, then copy for all.
    let zero = match options.copy {
        CopyMode::Copy => Err(IoError::new("not tried")),
        _ => open_all(ports, frames, options, true),
    };
    match (zero, options.copy) {
        (Ok(opened), _) => Ok(opened),
        (Err(e), CopyMode::Zero) => Err(e),
        _ => open_all(ports, frames, options, false),
    }
}

fn open_all(ports: &[PortSpec], frames: &mut Frames, o: XskOptions, zero: bool) -> Result<Vec<XskPort>, IoError> {
    let mut opened = Vec::new();
    let mut umem: Option<RawFd> = None;
    let result = (|| {
        for spec in ports {
            let mut port = XskPort {
                queues: Vec::new(),
                name: spec.name.clone(),
                port: spec.port,
                chunk: frames.chunk(),
                zero_copy: zero,
                backlog: Backlog::new(o.backlog),
                stats: PortStats::default(),
                sender: None,
                complete_partial: false,
                turn: 0,
            };
            for number in 0..spec.queues.max(1) {
                let queue = open_queue(spec, number, frames, o, zero, umem)?;
                umem = umem.or(Some(queue.fd.as_raw_fd()));
                port.zero_copy &= is_zero_copy(queue.fd.as_raw_fd());
                port.queues.push(queue);
            }
            if !port.zero_copy && o.trains {
                port.sender = Some(Sender::open(spec.ifindex, &spec.name, SEND_BUFFER)?);
            }
            opened.push(port);
        }
        Ok(())
    })();
    match result {
        Ok(()) => Ok(opened),
        Err(e) => {
            drop(opened);
            for spec in ports {
                frames.drain_fill(spec.port);
            }
            Err(e)
        }
    }
}

fn open_queue(
    spec: &PortSpec,
    number: u32,
    frames: &mut Frames,
    o: XskOptions,
    zero: bool,
    umem: Option<RawFd>,
) -> Result<Queue, IoError> {
    let doing = format!("open an AF_XDP socket on {} queue {number}", spec.name);
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EAFNOSUPPORT) {
        return Err(IoError::new("This kernel has no AF_XDP (CONFIG_XDP_SOCKETS); use --io packet."));
    }
    let fd = crate::sys::owned(fd, &doing)?;
    let raw = fd.as_raw_fd();
    let set = |name, value: u32| {
        crate::sys::set_option(raw, sys::SOL_XDP, name, &value).map_err(|e| IoError::os(&doing, e))
    };
    if umem.is_none() {
        register_umem(raw, frames)?;
    }
    set(sys::XDP_UMEM_FILL_RING, o.ring)?;
    set(sys::XDP_UMEM_COMPLETION_RING, o.ring)?;
    set(sys::XDP_RX_RING, o.ring)?;
    if number == 0 {
        set(sys::XDP_TX_RING, o.ring)?;
        // Newer kernels send more than 32 packets per call when asked; older ones say ENOPROTOOPT, which is fine.
        let _ = crate::sys::set_option(raw, sys::SOL_XDP, sys::XDP_MAX_TX_SKB_BUDGET, &o.ring.min(1024));
    }
    let at: MmapOffsets = sys::get_option(raw, sys::XDP_MMAP_OFFSETS).map_err(|e| IoError::os(&doing, e))?;
    let size = o.ring as usize;
    let mut queue = Queue {
        rx: Consumer::new(map::<Desc>(raw, &at.rx, size, sys::PGOFF_RX)?, &at.rx, o.ring)?,
        tx: match number {
            0 => Some(Producer::new(map::<Desc>(raw, &at.tx, size, sys::PGOFF_TX)?, &at.tx, o.ring)?),
            _ => None,
        },
        fill: Producer::new(map::<u64>(raw, &at.fill, size, sys::PGOFF_FILL)?, &at.fill, o.ring)?,
        completion: Consumer::new(map::<u64>(raw, &at.completion, size, sys::PGOFF_COMPLETION)?, &at.completion, o.ring)?,
        fd,
        outstanding: 0,
        fill_size: o.ring,
        number,
    };
    // Before traffic, and even where nothing is ever received: some drivers leak buffers otherwise.
    while queue.outstanding < o.ring {
        let Some(frame) = frames.take_fill(spec.port) else { break };
        queue.fill.push(u64::from(frame.0) * frames.chunk() as u64);
        queue.outstanding += 1;
    }
    queue.fill.publish();
    bind(raw, spec, number, zero, umem)?;
    Ok(queue)
}

fn map<T>(fd: RawFd, at: &RingOffset, size: usize, offset: i64) -> Result<Mapping, IoError> {
    Mapping::new(fd, at.desc as usize + size * std::mem::size_of::<T>(), offset)
}

fn register_umem(fd: RawFd, frames: &Frames) -> Result<(), IoError> {
    let region = frames.region();
    let reg = UmemReg {
        addr: region.base() as u64,
        len: region.len() as u64,
        chunk_size: region.chunk() as u32,
        ..UmemReg::default()
    };
    crate::sys::set_option(fd, sys::SOL_XDP, sys::XDP_UMEM_REG, &reg).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOBUFS) | Some(libc::ENOMEM) => IoError::new(format!(
            "The kernel cannot pin {} MB of frame memory; give fewer frames (--frames), or raise the limit (ulimit -l).",
            region.len() >> 20
        )),
        _ => IoError::os("register frame memory with AF_XDP", e),
    })
}

fn bind(fd: RawFd, spec: &PortSpec, number: u32, zero: bool, umem: Option<RawFd>) -> Result<(), IoError> {
    let (name, queue) = (&spec.name, number);
    let mode = if zero { sys::XDP_ZEROCOPY } else { sys::XDP_COPY };
    // A socket that shares memory inherits the first one's flags; any of its own are an error.
    let flags = if umem.is_some() { sys::XDP_SHARED_UMEM } else { sys::XDP_USE_NEED_WAKEUP | mode };
    let addr = SockAddr {
        family: libc::AF_XDP as u16,
        flags,
        ifindex: spec.ifindex,
        queue,
        shared_fd: umem.unwrap_or(0) as u32,
    };
    let mut tries = 0;
    loop {
        let Err(e) = sys::bind(fd, &addr) else { return Ok(()) };
        match e.raw_os_error() {
            Some(libc::EBUSY) if tries < BUSY_TRIES => {
                tries += 1;
                std::thread::sleep(BUSY_WAIT);
            }
            Some(libc::EBUSY) => {
                return Err(IoError::new(format!(
                    "Queue {queue} of {name} is in use by another AF_XDP program; stop it (`ss --xdp -p` names it), or use --io packet."
                )))
            }
            Some(libc::EINVAL) if number > 0 => {
                return Err(IoError::new(format!(
                    "{name} has no queue {queue}; set its queues with `ethtool -L {name} combined {queue}`."
                )))
            }
            Some(libc::EOPNOTSUPP) if zero => {
                return Err(IoError::new(format!("The driver of {name} has no zero copy; leave it to --copy auto.")))
            }
            _ => return Err(IoError::os(format!("bind an AF_XDP socket to {name} queue {queue}"), e)),
        }
    }
}

fn is_zero_copy(fd: RawFd) -> bool {
    sys::get_option::<u32>(fd, sys::XDP_OPTIONS).is_ok_and(|o| o & sys::XDP_OPTIONS_ZEROCOPY != 0)
}

/// Frame memory is pinned: lift the limit for this process where that is permitted.
fn raise_memlock() {
    let unlimited = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: `unlimited` is a valid rlimit; without permission the call fails and changes nothing.
    unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &unlimited) };
}
