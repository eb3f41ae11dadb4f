//! The copper wire between real hosts.

use smartwire_io::steer::{AttachOptions, Mode, Steer};
use smartwire_io::sys;

use crate::lab::Lab;

/// Attaches `pa` and `pb`.
pub fn attach(mode: Mode) -> Steer {
    attach_with(mode, &AttachOptions::default())
}

/// As [`attach`], with options.
pub fn attach_with(mode: Mode, opts: &AttachOptions) -> Steer {
    let (a, b) = (sys::if_index("pa").unwrap(), sys::if_index("pb").unwrap());
    Steer::attach(&[(a, b)], mode, opts).unwrap_or_else(|e| panic!("{e}"))
}

const SERVE: &str = "
import socket, sys
s = socket.create_server(('::', 80), family=socket.AF_INET6, dualstack_ipv6=True)
print('ready')
while True:
    c, _ = s.accept()
    n = 0
    while True:
        b = c.recv(1 << 20)
        if not b: break
        n += len(b)
    c.sendall(b'%d' % n)
    c.sendall(bytes(4_000_000))
    c.close()
";

const FETCH: &str = "
import socket
for host in ('10.9.0.2', 'fd09::2'):
    c = socket.create_connection((host, 80), timeout=20)
    c.sendall(bytes(3_000_000))
    c.shutdown(socket.SHUT_WR)
    got = b''
    while True:
        b = c.recv(1 << 20)
        if not b: break
        got += b
    print(got[:7].decode(), len(got))
";

/// TCP at default offloads both ways over IPv4 and IPv6.
pub fn tcp_works(lab: &Lab) {
    let mut server = lab.python("server", SERVE);
    assert_eq!(server.line(), "ready");
    assert_eq!(lab.python("phone", FETCH).finish(), "3000000 4000007\n3000000 4000007\n");
}

#[test]
fn the_copper_wire_carries_tcp_at_default_offloads_in_every_mode() {
    let Some(lab) = Lab::new("copper") else { return };
    for mode in [Mode::Packet, Mode::XdpGeneric, Mode::XdpNative] {
        let steer = attach(mode);
        tcp_works(&lab);
        let c = steer.counters();
        assert!(c.copper_frames > 0 && c.copper_bytes > 14_000_000, "{mode:?} {c:?}");
        assert_eq!((c.claimed_frames, c.resets, c.oversize_frames, c.no_socket_frames), (0, 0, 0, 0), "{mode:?}");
    }
}
