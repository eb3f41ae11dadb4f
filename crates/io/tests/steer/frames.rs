//! Frames to send, and hosts' raw sockets to send and receive them with.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use smartwire_io::raw::RawSocket;
use smartwire_packet::build::Packet;

pub const PHONE: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];
pub const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 0xbb];

/// Documentation addresses, so that no host answers: the subscriber's and the server's of a family.
pub fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    match v6 {
        false => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(198, 51, 100, 2).into()),
        true => {
            let a = |s: &str| IpAddr::V6(s.parse::<Ipv6Addr>().unwrap());
            (a("2001:db8:1:2::1"), a("2001:db8:9:9::2"))
        }
    }
}

/// A frame from the phone to the server, up to its IP header.
pub fn up(v6: bool, link: impl Fn(Packet) -> Packet) -> Packet {
    let (phone, server) = addresses(v6);
    link(Packet::new().macs(macs(SERVER, PHONE))).ip(phone, server)
}

pub fn macs(to: [u8; 6], from: [u8; 6]) -> [u8; 12] {
    let mut m = [0; 12];
    m[..6].copy_from_slice(&to);
    m[6..].copy_from_slice(&from);
    m
}

/// What a copper wire carries whoever lives: one of each.
pub fn wire_only() -> Vec<(&'static str, Vec<u8>)> {
    let raw = |to: [u8; 6], rest: &[u8]| [&macs(to, PHONE)[..], rest].concat();
    let mut arp = vec![0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1];
    arp.extend(PHONE);
    arp.extend([192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9]);
    let mut list = vec![
        ("ARP", raw([0xff; 6], &arp)),
        ("LLDP", raw([0x01, 0x80, 0xc2, 0, 0, 0x0e], &[0x88, 0xcc, 2, 7, 4, 2, 0, 0, 0, 0, 0xaa, 0, 0])),
        ("BPDU", raw([0x01, 0x80, 0xc2, 0, 0, 0], &[0, 7, 0x42, 0x42, 3, 0, 0, 0, 0, 0])),
        ("unknown EtherType", raw(SERVER, &[0x88, 0xb5, 1, 2, 3, 4, 5])),
        ("tagged unknown EtherType", raw(SERVER, &[0x81, 0, 0x60, 5, 0x88, 0xb5, 1, 2, 3])),
        ("priority tag", raw(SERVER, &[0x81, 0, 0xe0, 0, 0x88, 0xb5, 1, 2, 3])),
        ("QinQ", raw(SERVER, &[0x88, 0xa8, 0x20, 5, 0x81, 0, 0, 7, 0x88, 0xb5, 1, 2, 3])),
        ("cut IPv4 header", raw(SERVER, &[0x08, 0x00, 0x45, 0, 0, 40, 0, 0])),
        ("PPPoE discovery", raw(SERVER, &[0x88, 0x63, 0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0])),
    ];
    for v6 in [false, true] {
        let (phone, server) = addresses(v6);
        let p = || Packet::new().macs(macs(SERVER, PHONE));
        list.push(("UDP", p().ip(phone, server).udp(5000, 443).payload(&[7; 1200]).build()));
        list.push(("UDP behind a tag", p().vlan(100).ip(phone, server).udp(5000, 443).payload(&[7; 99]).build()));
        list.push(("later fragment of UDP", p().ip(phone, server).fragment(100, true).udp(1, 2).payload(&[1; 64]).build()));
        list.push(("echo request", p().ip(phone, server).icmp().payload(&[if v6 { 128 } else { 8 }, 0, 0, 0, 0, 1, 0, 1, 9]).build()));
        list.push(("OSPF", p().ip(phone, server).raw(89).payload(&[2, 1, 0, 44]).build()));
        list.push(("cut TCP header", p().ip(phone, server).raw(6).payload(&[0, 80, 0, 80, 1, 2, 3, 4]).build()));
    }
    let (phone, server) = addresses(true);
    let solicit = [135, 0, 0, 0, 0, 0, 0, 0, 0x20, 1, 0x0d, 0xb8, 0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 2];
    list.push(("neighbour solicitation", Packet::new().macs(macs(SERVER, PHONE)).ip(phone, server).ttl(255).icmp().payload(&solicit).build()));
    list
}

/// Waits until `want` frames for which `mine` holds have come, or the time is over, and returns them.
pub fn receive(socket: &mut RawSocket, want: usize, mine: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut got = Vec::new();
    let start = Instant::now();
    while got.len() < want && start.elapsed() < Duration::from_secs(10) {
        let n = socket.recv(|f| {
            if mine(f.bytes) {
                got.push(f.bytes.to_vec());
            }
        });
        if n.unwrap() == 0 {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
    got
}

/// Is it from one of the made-up stations? What hosts say by themselves is not.
pub fn made_up(frame: &[u8]) -> bool {
    frame.len() >= 12 && (frame[6..12] == PHONE || frame[6..12] == SERVER)
}
