//! A frame that left the engine, in the words in which a script speaks of it.

use super::frame::{byte, Below, Session};
use super::model::{Body, End, Marks, Opt, Packet, Range, Segment, Who};
use super::options;
use crate::codec;

/// A packet read back, and what is wrong with it whatever anybody expects.
pub(super) struct Seen {
    pub to: Who,
    pub packet: Option<Packet>,
    pub problem: Option<String>,
}

/// Reads a frame without its tunnel that goes to `end`.
pub(super) fn read(frame: &[u8], end: End, sessions: &[Session]) -> Seen {
    let (e, o) = (end as usize, end.other() as usize);
    let Some(t) = codec::tcp(frame, true) else {
        return Seen { to: Who { end, conn: 1 }, packet: other(frame), problem: None };
    };
    let of = |s: &&Session| {
        s.started() && (s.addr[o], s.port[o]) == (t.ip.src, t.sport) && (s.addr[e], s.port[e]) == (t.ip.dst, t.dport)
    };
    let Some(number) = sessions.iter().rposition(|s| of(&s)) else {
        return Seen { to: Who { end, conn: 1 }, packet: None, problem: None };
    };
    let s = &sessions[number];
    let near = |isn: u32, n: u32| i64::from(n.wrapping_sub(isn).wrapping_add(1 << 28)) - (1 << 28);
    let mut seg = Segment {
        flags: u16::from(t.seg.flags) | u16::from(t.seg.ae) << 8,
        seq: near(s.isn[o], t.seg.seq),
        len: t.payload.len() as u32,
        ack: t.seg.has(codec::ACK).then(|| near(s.isn[e], t.seg.ack)),
        win: Some(Range { from: t.seg.window.into(), to: t.seg.window.into() }),
        urg: Some(u16::from_be_bytes([t.ip.l4[18], t.ip.l4[19]])).filter(|u| *u > 0),
        ..Segment::default()
    };
    if let Some(ack) = seg.ack {
        let shift = if t.seg.has(codec::SYN) { 0 } else { s.shift(end.other()) };
        let right = ack + (i64::from(t.seg.window) << shift);
        seg.right = Some(Range { from: right, to: right });
    }
    seg.opts = opts(s, end, t.ip.l4, near);
    if !t.seg.has(codec::ACK) {
        // Without an ACK nothing is echoed: the field is zero (RFC 7323 section 3.2).
        seg.opts.iter_mut().for_each(|o| if let Opt::Ts(Some((_, ecr))) = o { *ecr = 0 });
    }
    let first = seg.seq + i64::from(t.seg.has(codec::SYN));
    let is = |other: bool| t.payload.iter().enumerate().all(|(k, b)| *b == byte(end.other(), first + k as i64, other));
    let mut marks = Marks { ecn: Some(t.ip.ecn).filter(|e| *e > 0), bad_checksum: !t.sum_ok, ..Marks::default() };
    marks.other_bytes = !is(false) && is(true);
    let mut problem = None;
    if !t.payload.is_empty() && !is(false) && !is(true) {
        let at = t.payload.iter().enumerate().position(|(k, b)| *b != byte(end.other(), first + k as i64, false));
        problem = Some(format!("the byte at {} is not the one that was sent", first + at.unwrap_or(0) as i64));
    }
    let below = below(frame, &t);
    if problem.is_none() && !s.below[o].contains(&below) {
        problem = Some(format!("its headers below TCP are not those of the {}: {below:?}", Who { end: end.other(), conn: 1 }));
    }
    Seen { to: Who { end, conn: number + 1 }, packet: Some(Packet { marks, body: Body::Tcp(seg) }), problem }
}

/// MAC addresses, DSCP, TTL and flow label of a frame without tags.
fn below(frame: &[u8], t: &codec::Tcp<'_>) -> Below {
    let mut macs = [0; 12];
    macs.copy_from_slice(&frame[..12]);
    let v6 = frame[12..14] == [0x86, 0xdd];
    let word = u32::from_be_bytes([frame[14], frame[15], frame[16], frame[17]]);
    let dscp = if v6 { (word >> 22) as u8 & 0x3f } else { frame[15] >> 2 };
    // IPv4 has no flow label: what was written for it stands nowhere.
    let label = if v6 { word & 0xf_ffff } else if t.ip.src > t.ip.dst { 0x54321 } else { 0x12345 };
    Below { macs, dscp, ttl: t.ip.ttl, label }
}

/// All options, in order.
fn opts(s: &Session, to: End, l4: &[u8], near: impl Fn(u32, u32) -> i64) -> Vec<Opt> {
    let (e, o) = (to as usize, to.other() as usize);
    let be = |b: &[u8]| u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
    let mut rest = &l4[20..usize::from(l4[12] >> 4) * 4];
    let mut list = Vec::new();
    while let [kind, tail @ ..] = rest {
        if *kind == 0 {
            break;
        }
        if *kind == 1 {
            rest = tail;
            continue;
        }
        let len = usize::from(*tail.first().unwrap_or(&0));
        let Some(body) = rest.get(2..len) else { break };
        list.push(match (*kind, body.len()) {
            (2, 2) => Opt::Mss(u16::from_be_bytes([body[0], body[1]])),
            (3, 1) => Opt::Wscale(body[0]),
            (4, 0) => Opt::SackOk,
            (8, 8) => {
                let of = |n: u32, clock: u32| i64::from(n.wrapping_sub(clock) as i32);
                Opt::Ts(Some((of(be(body), s.clock[o]), of(be(&body[4..]), s.clock[e]))))
            }
            // SACK blocks are of the stream that its receiver sends.
            (5, n) if n % 8 == 0 => {
                Opt::Sack(body.chunks_exact(8).map(|b| (near(s.isn[e], be(b)), near(s.isn[e], be(&b[4..])))).collect())
            }
            (kind, _) => Opt::Raw(kind, body.to_vec()),
        });
        rest = &rest[len..];
    }
    list
}

/// What is no TCP segment that can be read.
fn other(frame: &[u8]) -> Option<Packet> {
    let ip = codec::ip(frame)?;
    let body = match (ip.proto, ip.l4) {
        (codec::UDP, l4) => Body::Udp(l4.len() as u32 - 8),
        (codec::ICMP, [3, 4, _, _, _, _, a, b, ..]) => Body::TooBig(u32::from_be_bytes([0, 0, *a, *b])),
        (codec::ICMP6, [2, _, _, _, a, b, c, d, ..]) => Body::TooBig(u32::from_be_bytes([*a, *b, *c, *d])),
        (codec::ICMP | codec::ICMP6, _) => Body::Unreachable,
        _ => return None,
    };
    Some(Packet { marks: Marks::default(), body })
}

/// The name of an option kind that a script can write.
pub(super) fn name_of(kind: u8) -> String {
    let known = ["MPTCP", "md5", "ao", "FO", "accecn0", "accecn1"];
    known.into_iter().find(|name| options::kind_of(name) == Some(kind)).map_or(format!("option {kind}"), str::to_string)
}
