//! The ends of the script's connections: what they know, and the frames that they send.

use std::net::{Ipv4Addr, Ipv6Addr};

use smartwire_engine::{FlowKey, SubscriberKey};

use super::model::{Body, Conn, End, Marks, Opt, Packet, Segment, Who};
use super::options;
use super::variant::Variant;
use crate::codec::{self, fold, pseudo, sum16};

const SYN: u16 = 2;
const RST: u16 = 4;
const ACK: u16 = 0x10;

/// A connection as its ends know it. Pairs are client and server.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub addr: [Ipv6Addr; 2],
    pub port: [u16; 2],
    pub isn: [u32; 2],
    pub clock: [u32; 2],
    /// What each announced in its SYN: timestamps, window shift.
    syn: [Option<(bool, Option<u8>)>; 2],
    ts_recent: [Option<u32>; 2],
    last_ack: [i64; 2],
    win: [Option<u16>; 2],
    /// What the headers below TCP of each looked like: MAC addresses, DSCP, TTL, flow label.
    pub below: [Vec<Below>; 2],
    ident: u16,
}

/// Headers below TCP that are an endpoint's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Below {
    pub macs: [u8; 12],
    pub dscp: u8,
    pub ttl: u8,
    pub label: u32,
}

/// A byte of the stream of an end at an offset; `other`: what it is where somebody writes something else there.
pub(super) fn byte(end: End, off: i64, other: bool) -> u8 {
    let b = (off.wrapping_mul(0x9e37_79b9) >> 7) as u8 ^ (end as u8).wrapping_mul(0x55);
    if other { !b } else { b }
}

impl Session {
    /// Connection `number` (from 1) of a script.
    pub fn new(v: &Variant, number: usize, conn: &Conn) -> Session {
        let subscriber = conn.subscriber as u16;
        let addr = if v.v6 {
            [Ipv6Addr::new(0x2001, 0xdb8, 1, subscriber, 0, 0, 0, 7), Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x80)]
        } else {
            let v4 = |a: u8, b: u8, c: u8, d: u8| Ipv4Addr::new(a, b, c, d).to_ipv6_mapped();
            [v4(10, 0, (subscriber >> 8) as u8, 6 + subscriber as u8), v4(192, 0, 2, 80)]
        };
        let shift = (number as u32 - 1) << 24;
        Session {
            addr,
            port: [40_000 + conn.again.unwrap_or(number) as u16, 443],
            isn: v.isn().map(|isn| isn.wrapping_add(shift)),
            clock: v.clocks(),
            syn: [None; 2],
            ts_recent: [None; 2],
            last_ack: [0; 2],
            win: [None; 2],
            below: [Vec::new(), Vec::new()],
            ident: 100,
        }
    }

    /// Timestamps are in use.
    pub fn ts(&self) -> bool {
        self.syn.iter().all(|s| s.is_some_and(|s| s.0))
    }

    /// How far the window field of an end is shifted.
    pub fn shift(&self, end: End) -> u8 {
        match self.syn {
            [Some((_, Some(client))), Some((_, Some(server)))] => [client, server][end as usize],
            _ => 0,
        }
    }

    /// It is one that is known from elsewhere.
    pub fn known(&mut self) {
        let below = self.headers(End::Client, &Marks::default());
        self.below[0].push(below);
    }

    pub fn started(&self) -> bool {
        !self.below[0].is_empty() || !self.below[1].is_empty()
    }

    /// How the engine names it.
    pub fn key(&self, swap: bool, scope: u64) -> FlowKey {
        let (a, c) = if swap { (1, 0) } else { (0, 1) };
        FlowKey {
            access_addr: self.addr[a],
            core_addr: self.addr[c],
            access_port: self.port[a],
            core_port: self.port[c],
            scope,
        }
    }

    /// Whose it is.
    pub fn subscriber(&self, swap: bool, scope: u64) -> SubscriberKey {
        SubscriberKey { addr: codec::subscriber(self.addr[usize::from(swap)]), scope }
    }

    /// What an end receives tells it which timestamp to echo (RFC 7323 section 4.3).
    pub fn received(&mut self, end: End, seq: i64, ts_val: u32) {
        let e = end as usize;
        let newer = self.ts_recent[e].is_none_or(|recent| ts_val.wrapping_sub(recent) as i32 >= 0);
        if seq <= self.last_ack[e] && newer {
            self.ts_recent[e] = Some(ts_val);
        }
    }

    /// The frame of a packet that an end sends `now_ms` after the start, without its tunnel.
    pub fn frame(&mut self, now_ms: u32, from: Who, packet: &Packet) -> Vec<u8> {
        let below = self.headers(from.end, &packet.marks);
        if !self.below[from.end as usize].contains(&below) {
            self.below[from.end as usize].push(below);
        }
        self.ident = self.ident.wrapping_add(1);
        match &packet.body {
            Body::Tcp(seg) => self.segment(now_ms, from.end, seg, &packet.marks, &below),
            Body::Udp(bytes) => self.datagram(from.end, *bytes, &below),
            Body::TooBig(mtu) => self.icmp(from.end, Some(*mtu), &packet.marks, &below),
            Body::Unreachable => self.icmp(from.end, None, &packet.marks, &below),
        }
    }

    fn headers(&self, end: End, marks: &Marks) -> Below {
        let client = [2, 0, 0, 0, 0, 0xa];
        let server = [2, 0, 0, 0, 0, 0xb];
        let (mut src, dst) = if end == End::Client { (client, server) } else { (server, client) };
        src[5] = marks.mac.unwrap_or(src[5]);
        let mut macs = [0; 12];
        macs[..6].copy_from_slice(&dst);
        macs[6..].copy_from_slice(&src);
        let e = end as usize;
        Below {
            macs,
            dscp: marks.dscp.unwrap_or([10, 0][e]),
            ttl: marks.ttl.unwrap_or([63, 57][e]),
            label: marks.label.unwrap_or([0x12345, 0x54321][e]),
        }
    }

    fn segment(&mut self, now_ms: u32, end: End, seg: &Segment, marks: &Marks, below: &Below) -> Vec<u8> {
        let (e, o) = (end as usize, end.other() as usize);
        let opts = self.options(seg);
        // One that stands elsewhere is none of this connection's.
        if seg.flags & SYN != 0 && seg.seq == 0 {
            let ts = opts.iter().any(|o| matches!(o, Opt::Ts(_)));
            let ws = opts.iter().find_map(|o| if let Opt::Wscale(n) = o { Some(*n) } else { None });
            self.syn[e] = Some((ts, ws));
        }
        let clock = self.clock[e].wrapping_add(now_ms);
        let (base, other) = (self.clock[e], self.clock[o]);
        // Without an ACK nothing is echoed (RFC 7323 section 3.2).
        let echo = if seg.flags & ACK == 0 { 0 } else { self.ts_recent[e].unwrap_or(other) };
        let ts = |given: Option<(i64, i64)>| match given {
            Some((val, ecr)) => (base.wrapping_add(val as u32), other.wrapping_add(ecr as u32)),
            None => (clock, echo),
        };
        let isn = self.isn;
        let options = options::write(&opts, ts, |off| isn[o].wrapping_add(off as u32));
        let win = seg.win.map_or(self.window(end, seg.flags), |w| w.from as u16);
        if seg.flags & SYN == 0 {
            self.win[e] = Some(win);
        }
        if let (true, Some(ack)) = (seg.flags & RST == 0, seg.ack) {
            self.last_ack[e] = self.last_ack[e].max(ack);
        }
        let mut l4 = Vec::with_capacity(60 + seg.len as usize);
        l4.extend(self.port[e].to_be_bytes());
        l4.extend(self.port[o].to_be_bytes());
        l4.extend(isn[e].wrapping_add(seg.seq as u32).to_be_bytes());
        let ack = if seg.flags & ACK != 0 { isn[o].wrapping_add(seg.ack.unwrap_or(0) as u32) } else { 0 };
        l4.extend(ack.to_be_bytes());
        let words = marks.header_words.unwrap_or((20 + options.len()) as u8 / 4);
        l4.extend([words << 4 | (seg.flags >> 8) as u8, seg.flags as u8]);
        l4.extend(win.to_be_bytes());
        l4.extend([0, 0]);
        l4.extend(seg.urg.unwrap_or(0).to_be_bytes());
        l4.extend(options);
        let first = seg.seq + i64::from(seg.flags & SYN != 0);
        l4.extend((0..i64::from(seg.len)).map(|k| byte(end, first + k, marks.other_bytes)));
        fill_sum(&mut l4, 0, 16, (self.addr[e], self.addr[o]), codec::TCP);
        if marks.bad_checksum {
            l4[16] ^= 0x55;
        }
        if let Some((offset @ 1.., _)) = marks.fragment {
            l4 = (0..i64::from(seg.len)).map(|k| byte(end, i64::from(offset) + k, false)).collect();
        }
        self.packet(end, codec::TCP, &l4, marks, below)
    }

    /// The options of a segment: those written, and the connection's timestamps before them.
    fn options(&self, seg: &Segment) -> Vec<Opt> {
        let mut opts = seg.opts.clone();
        let said = opts.iter().any(|o| matches!(o, Opt::Ts(_) | Opt::NoTs));
        let due = self.ts() && seg.flags & (SYN | RST) == 0 && !said;
        if due {
            opts.splice(0..0, [Opt::Nop, Opt::Nop, Opt::Ts(None)]);
        }
        opts
    }

    fn window(&self, end: End, flags: u16) -> u16 {
        match self.win[end as usize] {
            Some(win) if flags & SYN == 0 => win,
            _ if flags & SYN != 0 || self.shift(end) == 0 => 65_535,
            // As much as in the SYN, and a little.
            _ => (65_536u32 >> self.shift(end)) as u16,
        }
    }

    /// Ethernet and IP around a transport header.
    fn packet(&self, end: End, proto: u8, l4: &[u8], marks: &Marks, below: &Below) -> Vec<u8> {
        let (src, dst) = (self.addr[end as usize], self.addr[end.other() as usize]);
        ip_packet(src, dst, proto, l4, self.ident, marks, below)
    }

    fn datagram(&self, end: End, bytes: u32, below: &Below) -> Vec<u8> {
        let (e, o) = (end as usize, end.other() as usize);
        let mut l4 = Vec::new();
        l4.extend(self.port[e].to_be_bytes());
        l4.extend(self.port[o].to_be_bytes());
        l4.extend((8 + bytes as u16).to_be_bytes());
        l4.extend([0, 0]);
        l4.extend((0..i64::from(bytes)).map(|k| byte(end, k, false)));
        fill_sum(&mut l4, 0, 6, (self.addr[e], self.addr[o]), codec::UDP);
        self.packet(end, codec::UDP, &l4, &Marks::default(), below)
    }

    /// An ICMP error from a router on the side of `end`, about a segment of the other end's.
    fn icmp(&mut self, end: End, mtu: Option<u32>, marks: &Marks, below: &Below) -> Vec<u8> {
        let other = end.other();
        let (seq, len) = marks.quote.unwrap_or((1, 1000));
        let about = Segment { flags: ACK, seq, len, ack: Some(1), opts: vec![Opt::NoTs], ..Segment::default() };
        let headers = self.headers(other, &Marks::default());
        let mut quoted = self.clone().segment(0, other, &about, &Marks::default(), &headers);
        let v4 = self.addr[0].to_ipv4_mapped().is_some();
        quoted.drain(..14);
        quoted.truncate(if v4 { 48 } else { 200 });
        let mut l4 = match (v4, mtu) {
            (true, Some(mtu)) => [&[3, 4, 0, 0, 0, 0], &(mtu as u16).to_be_bytes()[..]].concat(),
            (false, Some(mtu)) => [&[2, 0, 0, 0], &mtu.to_be_bytes()[..]].concat(),
            (true, None) => vec![3, 1, 0, 0, 0, 0, 0, 0],
            (false, None) => vec![1, 3, 0, 0, 0, 0, 0, 0],
        };
        l4.extend(quoted);
        let router = if v4 {
            Ipv4Addr::new(10, 9, 9, 9).to_ipv6_mapped()
        } else {
            Ipv6Addr::new(0x2001, 0xdb8, 5, 0, 0, 0, 0, 1)
        };
        let dst = self.addr[other as usize];
        let proto = if v4 { codec::ICMP } else { codec::ICMP6 };
        let start = if v4 { 0 } else { pseudo(router, dst, proto, l4.len()) };
        let sum = !fold(sum16(&l4, start));
        l4[2..4].copy_from_slice(&sum.to_be_bytes());
        if marks.bad_checksum {
            l4[2] ^= 0x55;
        }
        ip_packet(router, dst, proto, &l4, self.ident, &Marks::default(), below)
    }
}

fn ip_packet(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, l4: &[u8], ident: u16, marks: &Marks, below: &Below) -> Vec<u8> {
    let mut out = below.macs.to_vec();
    let class = below.dscp << 2 | marks.ecn.unwrap_or(0);
    if let (Some(src), Some(dst)) = (src.to_ipv4_mapped(), dst.to_ipv4_mapped()) {
        out.extend([0x08, 0x00]);
        let at = out.len();
        let options: &[u8] = if marks.ip_options { &[1, 1, 1, 0] } else { &[] };
        let header = 20 + options.len();
        out.extend([0x40 | (header as u8 / 4), class]);
        out.extend(((header + l4.len()) as u16).to_be_bytes());
        out.extend(ident.to_be_bytes());
        let place = marks.fragment.map_or(0x4000, |(offset, more)| (offset / 8) | (u16::from(more) << 13));
        out.extend(place.to_be_bytes());
        out.extend([below.ttl, proto, 0, 0]);
        out.extend(src.octets());
        out.extend(dst.octets());
        out.extend(options);
        let sum = !fold(sum16(&out[at..], 0));
        out[at + 10..at + 12].copy_from_slice(&sum.to_be_bytes());
    } else {
        out.extend([0x86, 0xdd]);
        let mut extensions = Vec::new();
        let mut next = proto;
        if let Some((offset, more)) = marks.fragment {
            let place = offset & !7 | u16::from(more);
            extensions = [&[next, 0], &place.to_be_bytes()[..], &[0, 0, 0, 9]].concat();
            next = 44;
        }
        if marks.ip_options {
            // A destination option that nobody knows (RFC 8200 section 4.2): skip it.
            extensions = [&[next, 0, 0x1e, 4, 0, 0, 0, 0], &extensions[..]].concat();
            next = 60;
        }
        out.extend((6u32 << 28 | u32::from(class) << 20 | below.label).to_be_bytes());
        out.extend(((extensions.len() + l4.len()) as u16).to_be_bytes());
        out.extend([next, below.ttl]);
        out.extend(src.octets());
        out.extend(dst.octets());
        out.extend(extensions);
    }
    out.extend(l4);
    out
}

/// Sets the checksum of a transport header.
fn fill_sum(out: &mut [u8], l4: usize, field: usize, (src, dst): (Ipv6Addr, Ipv6Addr), proto: u8) {
    out[field..field + 2].fill(0);
    let sum = !fold(sum16(&out[l4..], pseudo(src, dst, proto, out.len() - l4)));
    out[field..field + 2].copy_from_slice(&sum.to_be_bytes());
}
