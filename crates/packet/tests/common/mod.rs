//! Seeded random numbers and random valid packets. The seed is printed, and `SMARTWIRE_SEED` sets it.
#![allow(dead_code)]

pub mod slow;

use std::net::{Ipv4Addr, Ipv6Addr};

use smartwire_packet::build::{OptionBytes, Packet};
use smartwire_packet::tcp::Flags;
use smartwire_packet::Ecn;

/// A small generator (splitmix64): repeatable, and good enough to pick test cases.
pub struct Rng(u64);

impl Rng {
    /// From `SMARTWIRE_SEED`, or from the clock; prints which, so that a failure can be repeated.
    pub fn seeded(test: &str) -> Rng {
        let seed = match std::env::var("SMARTWIRE_SEED") {
            Ok(s) => s.parse().expect("SMARTWIRE_SEED must be a decimal number"),
            Err(_) => std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
        };
        println!("{test}: repeat with SMARTWIRE_SEED={seed}");
        Rng(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    pub fn u32(&mut self) -> u32 {
        self.u64() as u32
    }
    pub fn u16(&mut self) -> u16 {
        self.u64() as u16
    }
    pub fn u8(&mut self) -> u8 {
        self.u64() as u8
    }
    /// 0 to `n - 1`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.u64() % n as u64) as usize
    }
    /// True once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.u8()).collect()
    }
    pub fn v4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(self.u32())
    }
    pub fn v6(&mut self) -> Ipv6Addr {
        Ipv6Addr::from(u128::from(self.u64()) << 64 | u128::from(self.u64()))
    }
}

/// Every way to carry an IP packet that the library knows, by name: up to, and not including, the innermost IP header.
pub fn encapsulations() -> Vec<(&'static str, Packet)> {
    let p = Packet::new;
    let (a, b) = (Ipv4Addr::new(10, 9, 0, 1), Ipv4Addr::new(10, 9, 0, 2));
    let (c, d) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
    vec![
        ("plain", p()),
        ("vlan", p().tag(0x8100, 0x6064)),
        ("qinq", p().service_vlan(200).vlan(100)),
        ("stacked 8100", p().vlan(200).vlan(100)),
        ("stacked 9100", p().tag(0x9100, 200).vlan(100)),
        ("mpls", p().mpls(77)),
        ("mpls stack", p().mpls(77).mpls(78).mpls(0xf_ffff)),
        ("pppoe", p().pppoe(0x1234)),
        ("qinq pppoe", p().service_vlan(5).vlan(6).pppoe(9)),
        ("vlan mpls", p().vlan(5).mpls(6)),
        ("in ipv4", p().ipv4(a, b)),
        ("in ipv6", p().ipv6(c, d)),
        ("in ipv6 with extensions", p().ipv6(c, d).extension(60, &[1, 4, 0, 0, 0, 0])),
        ("gtp-u on ipv4", p().ipv4(a, b).gtpu(0xdead_beef)),
        ("gtp-u on ipv4 with checksum", p().ipv4(a, b).gtpu(1).udp_checksum(true)),
        ("gtp-u on ipv6", p().ipv6(c, d).gtpu(7)),
        ("gtp-u on ipv6 without checksum", p().ipv6(c, d).gtpu(7).udp_checksum(false)),
        ("gtp-u with sequence number", p().ipv4(a, b).gtpu(7).udp_checksum(true).gtp_seq(0x4242)),
        ("gtp-u of 5G", p().vlan(3).ipv4(a, b).gtpu(7).gtp_extension(0x85, &[0x10, 9])),
        ("gtp-u with chain", p().ipv6(c, d).gtpu(7).gtp_seq(1).gtp_extension(0x85, &[0, 9]).gtp_extension(0xc0, &[7; 6])),
        ("gtp-u on ipv4 options", p().ipv4(a, b).ip_options(&[1, 1, 1, 1]).gtpu(7).udp_checksum(true)),
        ("gtp-u in qinq mpls", p().service_vlan(1).vlan(2).mpls(3).ipv6(c, d).gtpu(7)),
        ("gtp-u in ip in pppoe", p().pppoe(1).ipv4(a, b).ipv6(c, d).gtpu(7)),
        ("ip in gtp-u", p().ipv6(c, d).gtpu(7).ipv4(b, a)),
        ("gtp-u in gtp-u", p().ipv6(c, d).gtpu(7).ipv4(b, a).gtpu(8).udp_checksum(true)),
        ("three tunnels", p().ipv4(a, b).ipv6(c, d).ipv4(b, a)),
    ]
}

/// One of these at random.
pub fn encapsulation(rng: &mut Rng) -> (&'static str, Packet) {
    let mut all = encapsulations();
    let n = rng.below(all.len());
    all.swap_remove(n)
}

/// A random inner IP header without options.
pub fn ip(rng: &mut Rng, packet: Packet) -> Packet {
    let packet = if rng.one_in(2) {
        packet.ipv4(rng.v4(), rng.v4()).id(rng.u16())
    } else {
        packet.ipv6(rng.v6(), rng.v6()).flow_label(rng.u32())
    };
    packet.class(rng.u8()).ttl(rng.u8())
}

/// Random TCP options, all well-formed.
pub fn tcp_options(rng: &mut Rng) -> Vec<u8> {
    let mut o = OptionBytes::new();
    if rng.one_in(4) {
        o = o.mss(rng.u16()).sack_perm().wscale(rng.u8());
    }
    if rng.one_in(8) {
        // Odd alignment for what follows.
        o = o.raw(&[1]);
    }
    if !rng.one_in(4) {
        o = o.timestamps(rng.u32(), rng.u32());
    }
    if rng.one_in(2) {
        let blocks: Vec<_> = (0..rng.below(5)).map(|_| (rng.u32(), rng.u32())).collect();
        o = o.sack(&blocks);
    }
    o.bytes().to_vec()
}

/// A random TCP segment in a random encapsulation, with up to `payload` bytes.
pub fn segment(rng: &mut Rng, payload: usize) -> Vec<u8> {
    let (_, packet) = encapsulation(rng);
    segment_in(rng, packet, payload)
}

/// A random TCP segment in this encapsulation.
pub fn segment_in(rng: &mut Rng, packet: Packet, payload: usize) -> Vec<u8> {
    let n = rng.below(payload + 1);
    let data = rng.bytes(n);
    let options = tcp_options(rng);
    let padding = if rng.one_in(4) { rng.below(30) } else { 0 };
    ip(rng, packet)
        .tcp(rng.u16(), rng.u16())
        .seq(rng.u32())
        .ack(rng.u32())
        .window(rng.u16())
        .flags(Flags(rng.u16() & 0x1d9))
        .options(&options)
        .payload(&data)
        .padding(padding)
        .build()
}

/// All four ECN codepoints.
pub const ECN: [Ecn; 4] = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];

/// The checksum as RFC 1071 section 4.1 writes it, word by word: what the fast versions are compared with.
pub fn reference_sum(bytes: &[u8]) -> u16 {
    let mut acc = 0_u32;
    for word in bytes.chunks(2) {
        acc += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        acc = (acc & 0xffff) + (acc >> 16);
    }
    acc as u16
}

/// Zero has two forms in ones-complement; this takes one of them.
pub fn canonical(sum: u16) -> u16 {
    if sum == 0xffff {
        0
    } else {
        sum
    }
}

/// Addresses for the packets that a test writes by hand.
pub fn v4_pair() -> (Ipv4Addr, Ipv4Addr) {
    (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(192, 0, 2, 9))
}

/// The same for IPv6.
pub fn v6_pair() -> (Ipv6Addr, Ipv6Addr) {
    ("2001:db8:1::7".parse().unwrap(), "2001:db8:2::9".parse().unwrap())
}

/// This encapsulation, followed by an IPv4 and by an IPv6 header.
pub fn both(packet: &Packet) -> [Packet; 2] {
    let (a, b) = v4_pair();
    let (c, d) = v6_pair();
    [packet.clone().ipv4(a, b), packet.clone().ipv6(c, d)]
}
