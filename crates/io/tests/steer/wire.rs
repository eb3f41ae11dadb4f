//! The copper wire between real hosts.

use std::time::{Duration, Instant};

use smartwire_io::steer::{AttachOptions, Beat, Mode, Steer};
use smartwire_io::raw::RawSocket;
use smartwire_io::sys;

use crate::engine::Engine;
use crate::frames::{made_up, receive, up, wire_only};
use crate::lab::Lab;

/// A timeout that no pause of a busy machine reaches.
pub const PATIENT: AttachOptions = AttachOptions {
    custody_entries: 1 << 10,
    foreign_entries: 64,
    timeout: Duration::from_secs(3600),
    max_frame: 0,
    subscriber_prefix_v6: 64,
};
pub const MODES: [Mode; 3] = [Mode::Packet, Mode::XdpGeneric, Mode::XdpNative];

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
    for mode in MODES {
        let steer = attach(mode);
        tcp_works(&lab);
        let c = steer.counters();
        assert!(c.copper_frames[1] > 0 && c.copper_bytes.iter().sum::<u64>() > 14_000_000, "{mode:?} {c:?}");
        assert_eq!((c.claimed_frames, c.resets, c.oversize_frames, c.no_socket_frames), (0, 0, 0, 0), "{mode:?}");
    }
}

#[test]
fn all_but_tcp_and_its_like_passes_untouched_whether_an_engine_lives_or_not() {
    let Some(lab) = Lab::new("untouched") else { return };
    for mode in MODES {
        let steer = attach_with(mode, &PATIENT);
        let mut engine = Engine::open(&steer, mode, &["pa", "pb"]);
        for live in [false, true] {
            if live {
                steer.heartbeat().claim().unwrap();
            }
            for (from, to) in [("phone", "server"), ("server", "phone")] {
                let (mut tx, mut rx) = (lab.raw(from), lab.raw(to));
                for (what, frame) in wire_only() {
                    assert_eq!(tx.send(&[&frame]).unwrap(), 1);
                    let got = receive(&mut rx, 1, made_up);
                    assert_eq!(got, [frame], "{what} from {from}, {mode:?}, live: {live}");
                }
            }
        }
        engine.turn();
        engine.seen.retain(|(_, f)| made_up(f));
        assert_eq!(engine.seen, [], "{mode:?}");
        steer.heartbeat().release();
    }
}

#[test]
fn what_the_engine_claims_comes_to_its_sockets_as_long_as_it_beats() {
    let Some(lab) = Lab::new("claimed") else { return };
    let frames: Vec<Vec<u8>> = [false, true]
        .into_iter()
        .flat_map(|v6| [up(v6, |p| p), up(v6, |p| p.vlan(7)), up(v6, |p| p.service_vlan(8).vlan(9))])
        .map(|p| p.tcp(4000, 80).seq(1).payload(b"hello").build())
        .collect();
    let slices: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let (mut phone, mut server) = (lab.raw("phone"), lab.raw("server"));
    for mode in MODES {
        let steer = attach_with(mode, &PATIENT);
        let mut engine = Engine::open(&steer, mode, &["pa", "pb"]);
        let before = steer.counters();
        let mut through = |step: &str, by_engine: bool, engine: &mut Engine| {
            engine.seen.clear();
            assert_eq!(phone.send(&slices).unwrap(), frames.len());
            while by_engine && engine.seen.len() < frames.len() {
                engine.turn();
            }
            assert_eq!(receive(&mut server, frames.len(), made_up), frames, "{mode:?} {step}");
            engine.turn();
            let expected: Vec<_> = frames.iter().filter(|_| by_engine).map(|f| (0, f.clone())).collect();
            assert_eq!(engine.seen, expected, "{mode:?} {step}");
        };
        through("before the claim", false, &mut engine);
        steer.heartbeat().claim().unwrap();
        through("claimed", true, &mut engine);
        steer.heartbeat().release();
        through("released", false, &mut engine);
        let c = steer.counters();
        let bytes: usize = frames.iter().map(Vec::len).sum();
        assert_eq!(c.claimed_frames - before.claimed_frames, frames.len() as u64, "{mode:?}");
        assert_eq!(c.claimed_bytes - before.claimed_bytes, bytes as u64, "{mode:?}");
        assert_eq!((c.no_socket_frames, c.oversize_frames, steer.open_count()), (0, 0, 0), "{mode:?}");
    }
}

#[test]
fn the_wire_opens_when_the_beat_stops_and_closes_with_the_next() {
    let Some(lab) = Lab::new("opens") else { return };
    let frame = up(false, |p| p).tcp(4000, 80).payload(b"hello").build();
    let (mut phone, mut server) = (lab.raw("phone"), lab.raw("server"));
    for mode in MODES {
        let steer = attach(mode);
        let mut engine = Engine::open(&steer, mode, &["pa", "pb"]);
        let opened = steer.open_count();
        steer.heartbeat().claim().unwrap();
        send_until_open(&mut phone, &steer, &frame);
        engine.turn();
        engine.seen.clear();
        while receive_now(&mut server) {}
        phone.send(&[&frame]).unwrap();
        assert_eq!(receive(&mut server, 1, made_up), [frame.clone()], "{mode:?}");
        engine.turn();
        assert_eq!(engine.seen, [], "{mode:?}");
        assert!(matches!(steer.heartbeat().beat(), Beat::Opened { late: true, .. }), "{mode:?}");
        assert_eq!(steer.open_count(), opened + 1);
        // Closed again: try until one attempt fits between two beats.
        while engine.seen.is_empty() {
            steer.heartbeat().beat();
            phone.send(&[&frame]).unwrap();
            engine.turn();
        }
        steer.heartbeat().release();
        while receive_now(&mut server) {}
    }
}

/// Sends a frame every millisecond until one finds the wire open: with traffic, some 25 ms after the last beat.
pub fn send_until_open(from: &mut RawSocket, steer: &Steer, frame: &[u8]) {
    let start = Instant::now();
    while !steer.heartbeat().is_open() {
        from.send(&[frame]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        // Three timeouts at most, whatever the traffic.
        assert!(start.elapsed() < Duration::from_secs(5), "it never opened");
    }
}

#[test]
fn a_pause_of_the_whole_machine_opens_nothing() {
    let Some(lab) = Lab::new("pause") else { return };
    let frame = up(false, |p| p).tcp(4000, 80).payload(b"hello").build();
    let mut phone = lab.raw("phone");
    // No frames for longer than the timeout, then one before the next beat: as after a pause.
    let timeout = Duration::from_secs(2);
    for mode in MODES {
        let steer = attach_with(mode, &AttachOptions { timeout, ..PATIENT });
        let mut engine = Engine::open(&steer, mode, &["pa", "pb"]);
        steer.heartbeat().claim().unwrap();
        std::thread::sleep(timeout * 5 / 4);
        phone.send(&[&frame]).unwrap();
        for _ in 0..1000 {
            engine.turn();
            std::thread::sleep(Duration::from_millis(u64::from(engine.seen.is_empty())));
        }
        assert_eq!(engine.seen, [(0, frame.clone())], "{mode:?}");
        assert_eq!(steer.heartbeat().beat(), Beat::Alive, "{mode:?}");
        steer.heartbeat().release();
    }
}

fn receive_now(socket: &mut smartwire_io::raw::RawSocket) -> bool {
    socket.recv(|_| ()).unwrap() > 0
}

#[test]
fn two_pairs_form_one_wire_and_each_frame_stays_on_its_pair() {
    let Some(lab) = Lab::new("pairs") else { return };
    lab.pair("phone", "pc", "eth1");
    lab.pair("server", "pd", "eth1");
    let pairs = [("pa", "pb"), ("pc", "pd")].map(|(a, b)| (sys::if_index(a).unwrap(), sys::if_index(b).unwrap()));
    let udp = up(false, |p| p).udp(1, 2).payload(b"u").build();
    let tcp = up(true, |p| p).tcp(1, 2).payload(b"t").build();
    for mode in MODES {
        let steer = Steer::attach(&pairs, mode, &PATIENT).unwrap();
        let mut engine = Engine::open(&steer, mode, &["pa", "pb", "pc", "pd"]);
        for live in [false, true] {
            if live {
                steer.heartbeat().claim().unwrap();
            }
            for (n, eth) in ["eth0", "eth1"].into_iter().enumerate() {
                for (side, from, to) in [(0, "phone", "server"), (1, "server", "phone")] {
                    engine.seen.clear();
                    let (mut tx, mut rx) = (lab.raw_on(from, eth), lab.raw_on(to, eth));
                    tx.send(&[&udp, &tcp]).unwrap();
                    while live && engine.seen.is_empty() {
                        engine.turn();
                    }
                    let got = receive(&mut rx, 2, made_up);
                    assert!(got.contains(&udp) && got.contains(&tcp), "{mode:?} {eth} from {from}, live: {live}");
                    let port = n as u8 * 2 + side;
                    assert_eq!(engine.seen, if live { vec![(port, tcp.clone())] } else { vec![] });
                }
            }
        }
        steer.heartbeat().release();
    }
}
