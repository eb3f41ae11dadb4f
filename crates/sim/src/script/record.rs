//! A capture becomes a script: what came in at the wire is sent again, with the payload replaced by the pattern, and what
//! the engine does about it today is written down as what it must do.

use std::fmt::Write;

use smartwire_engine::Side;

use super::frame::Session;
use super::model::{Body, Conn, End, Opt, Packet, Script, Segment, Span, Step, What, Who};
use super::parse::parse;
use super::run::{event, run, Ran};
use super::seen;
use super::show;
use super::variant::VARIANTS;
use crate::codec::{self, ACK, SYN};
use crate::replay;

/// Addresses and ports of a connection, the access side's first.
type Key = [(std::net::Ipv6Addr, u16); 2];

/// Writes a script of a connection in a capture.
///
/// # Arguments
/// `number` chooses among several connections, from 1, in the order of their first packet; `most` is how many of its
/// packets are taken.
///
/// # Errors
/// One sentence that says why there is no script to be had.
pub fn from_capture(name: &str, packets: &[replay::Packet<'_>], number: Option<usize>, most: usize) -> Result<String, String> {
    let (_, sided) = replay::assign(packets);
    let whole = sided.iter().filter(|s| s.length <= s.frame.len());
    let frames: Vec<(u64, Side, &[u8])> = whole.map(|s| (s.at_ns, s.side, s.frame)).collect();
    let key = choose(&frames, number)?;
    let of = |f: &&(u64, Side, &[u8])| codec::tcp(f.2, true).is_some_and(|t| t.sum_ok && key_of(f.1, &t) == key);
    let own: Vec<_> = frames.iter().filter(of).take(most).collect();
    let (session, client) = session(&own, key)?;
    let script = inputs(&own, &session, client)?;
    let ran = run(&script, &VARIANTS[0]).map_err(|p| p.what)?;
    let text = write(name, &ran);
    // What was written down must be what happens.
    parse(&text).map_err(|w| format!("line {} of the script can't be read again: {}", w.line, w.what))?;
    Ok(text)
}

fn key_of(side: Side, t: &codec::Tcp<'_>) -> Key {
    let (src, dst) = ((t.ip.src, t.sport), (t.ip.dst, t.dport));
    if side == Side::Access { [src, dst] } else { [dst, src] }
}

/// The connection that is meant.
fn choose(frames: &[(u64, Side, &[u8])], number: Option<usize>) -> Result<Key, String> {
    let mut keys: Vec<Key> = Vec::new();
    for (_, side, frame) in frames {
        if let Some(t) = codec::tcp(frame, false) {
            let key = key_of(*side, &t);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    match (keys.len(), number) {
        (0, _) => Err("the capture holds no TCP that came in at a wire".into()),
        (1, None) => Ok(keys[0]),
        (n, None) => Err(format!("the capture holds {n} connections; choose one with --flow 1 to {n}")),
        (n, Some(k)) => keys.get(k.wrapping_sub(1)).copied().ok_or(format!("there is no connection {k}; the capture holds {n}")),
    }
}

/// First sequence numbers and timestamps of both ends, and which side the client is on.
fn session(own: &[&(u64, Side, &[u8])], key: Key) -> Result<(Session, Side), String> {
    let syn = |answer: bool| {
        own.iter().find_map(|f| {
            let t = codec::tcp(f.2, false)?;
            (t.seg.has(SYN) && t.seg.has(ACK) == answer).then_some((f.1, t.seg.seq, t.seg.opts.ts))
        })
    };
    let missing = "its handshake is not in the capture; begin to capture before the connection is opened";
    let (client, isn, ts) = syn(false).ok_or(missing)?;
    let (_, answer_isn, answer_ts) = syn(true).ok_or(missing)?;
    let mut session = Session::new(&VARIANTS[0], 1, &Conn { subscriber: 1, again: None });
    let ends = if client == Side::Access { key } else { [key[1], key[0]] };
    session.addr = ends.map(|e| e.0);
    session.port = ends.map(|e| e.1);
    session.isn = [isn, answer_isn];
    session.clock = [ts, answer_ts].map(|ts| ts.map_or(0, |ts| ts.0));
    session.known();
    Ok((session, client))
}

/// A script that only sends.
fn inputs(own: &[&(u64, Side, &[u8])], session: &Session, client: Side) -> Result<Script, String> {
    let start = own.first().map_or(0, |f| f.0);
    let mut script = Script::default();
    for (i, (at, side, frame)) in own.iter().enumerate() {
        let end = if *side == client { End::Client } else { End::Server };
        let seen = seen::read(frame, end.other(), std::slice::from_ref(session));
        let Some(mut packet) = seen.packet else { continue };
        packet.marks = super::model::Marks { ecn: packet.marks.ecn, ..Default::default() };
        let Body::Tcp(seg) = &mut packet.body else { continue };
        seg.right = None;
        if seg.len > 1480 {
            return Err(format!("packet {} carries {} bytes; switch segmentation offloads off and capture again", i + 1, seg.len));
        }
        align(seg);
        let at = at.saturating_sub(start);
        let what = What::Send { from: Who { end, conn: 1 }, packet, joined: false };
        script.steps.push(Step { line: i + 1, at: Span { from: at, to: at }, what });
    }
    Ok(script)
}

/// Fills options up to a multiple of four bytes, which reading them dropped.
fn align(seg: &mut Segment) {
    let size = |o: &Opt| match o {
        Opt::Nop | Opt::Eol => 1,
        Opt::SackOk => 2,
        Opt::Wscale(_) => 3,
        Opt::Mss(_) => 4,
        Opt::Ts(_) => 10,
        Opt::NoTs => 0,
        Opt::Sack(blocks) => 2 + 8 * blocks.len(),
        Opt::Raw(_, bytes) => 2 + bytes.len(),
    };
    let bytes: usize = seg.opts.iter().map(size).sum();
    seg.opts.splice(0..0, std::iter::repeat_n(Opt::Nop, bytes.next_multiple_of(4) - bytes));
}

/// The script of a run.
fn write(name: &str, ran: &Ran) -> String {
    let mut text = format!(
        "# Recorded from {name}.\n# why: a recording shows what the engine did, not what is right: say here what obliges it, and \
         take away what it is free in.\nrule I1\nonly these-roles \"recorded with the client on this side\"\n\n"
    );
    let mut said = ran.said.iter().peekable();
    let mut tell = |text: &mut String, upto: usize| {
        while let Some((_, conn, what)) = said.next_if(|s| s.0 <= upto) {
            let _ = writeln!(text, "{}", event(*conn, *what));
        }
    };
    for (i, c) in ran.crossings.iter().enumerate() {
        tell(&mut text, i);
        let Some(packet) = &c.packet else { continue };
        let shown = if c.sent { packet.clone() } else { expected(packet) };
        let at = show::exact(c.at);
        let _ = writeln!(text, "{at} {} {} {}", c.who, if c.sent { '>' } else { '<' }, show::packet(&shown));
    }
    tell(&mut text, usize::MAX);
    text
}

/// A packet as it is to be expected: windows and timestamps are left to the checkers.
fn expected(packet: &Packet) -> Packet {
    let mut packet = packet.clone();
    packet.marks.raw = false;
    if let Body::Tcp(seg) = &mut packet.body {
        (seg.win, seg.right) = (None, None);
        seg.opts.retain(|o| !matches!(o, Opt::Ts(_) | Opt::Nop | Opt::Eol));
    }
    packet
}
