//! The BPF programs by themselves (BPF_PROG_TEST_RUN), and what may be attached where.

mod attach;
mod classify;
mod copper;

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use super::attach::{load, Programs, TAP_NAME};
use super::bpf::{self, ProgKind};
use super::foreign::Foreigners;
use super::maps::Wire;
use super::object::TAP;
use super::{AttachOptions, CustodyBook, Heartbeat, Mode};
use crate::sys;

const SHOT: u32 = 2;
const REDIRECT: u32 = 7;
const STOLEN: u32 = 4;
const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;

/// A timeout that no pause of a busy machine reaches.
const PATIENT: AttachOptions = AttachOptions {
    custody_entries: 1 << 10,
    foreign_entries: 8,
    timeout: Duration::from_secs(3600),
    max_frame: 0,
    subscriber_prefix_v6: 64,
};

/// The programs of a wire that is attached nowhere.
struct Bench {
    wire: Arc<Wire>,
    heartbeat: Heartbeat,
    book: CustodyBook,
    foreigners: Foreigners,
    tap: OwnedFd,
    /// Per side, for AF_PACKET and for XDP.
    packet: [Programs; 2],
    xdp: [Programs; 2],
}

impl Bench {
    /// `None` (and a line that says why) without root.
    fn new(opts: &AttachOptions) -> Option<Bench> {
        if !sys::is_root() {
            eprintln!("skipped: needs root to load BPF programs");
            return None;
        }
        let wire = Arc::new(Wire::create(opts).unwrap());
        super::attach::configure(&wire, &[], opts);
        let ports = |mode| [0, 1].map(|n| Programs::load(&wire, n, 9999, mode).unwrap_or_else(|e| panic!("{e}")));
        let (packet, xdp) = (ports(Mode::Packet), ports(Mode::XdpNative));
        let bench = Bench {
            heartbeat: Heartbeat { wire: wire.clone() },
            book: CustodyBook { wire: wire.clone() },
            foreigners: Foreigners::new(&wire),
            tap: load(TAP, ProgKind::SocketFilter, TAP_NAME, |map| wire.fd_of(map)).unwrap(),
            packet,
            xdp,
            wire,
        };
        for x in &bench.xdp {
            let socket = xdp_socket();
            bpf::map_update(&x.xdp.as_ref().unwrap().sockets, &0u32, &socket.as_raw_fd()).unwrap();
            std::mem::forget(socket); // or it would leave the map again
        }
        Some(bench)
    }

    /// Does the engine get this frame from the access side? All three programs must agree.
    fn claims(&self, frame: &[u8]) -> bool {
        // The test run cuts the link header from a socket filter's frame, where a packet socket's filter sees it.
        let padded = [&[0; 14][..], frame].concat();
        let by_tap = bpf::test_run(&self.tap, &padded).unwrap().0 != 0;
        // Shorter ones it doesn't make for the others: 14 bytes for XDP, whole IP headers for tc.
        if frame.len() >= 14 {
            let by_xdp = bpf::test_run(&self.xdp[0].xdp.as_ref().unwrap().prog, frame).unwrap().0;
            assert_eq!(by_xdp, if by_tap { XDP_REDIRECT } else { XDP_PASS }, "{frame:02x?}");
        }
        if frame.len() >= 54 {
            let by_tc = bpf::test_run(&self.packet[0].tc, frame).unwrap().0;
            assert_eq!(by_tc, if by_tap { STOLEN } else { REDIRECT }, "{frame:02x?}");
        }
        by_tap
    }
}

fn xdp_socket() -> OwnedFd {
    // SAFETY: socket takes no pointers.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    sys::owned(fd, "open an AF_XDP socket").unwrap()
}
