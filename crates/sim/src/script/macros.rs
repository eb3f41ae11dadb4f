//! `handshake`: the three segments, as they come and as they pass, and the event that follows.

use super::model::{Body, End, Marks, Opt, Packet, Range, Said, Segment, Span, What, Who};
use super::parse::{duration, Parsed, Reader, Words};

/// Round trips between the wire and client, and server, unless said otherwise, ns.
const RTT: [u64; 2] = [40_000_000, 20_000_000];

/// What the ends announce; pairs are client and server.
struct Offer {
    mss: [u16; 2],
    sack: bool,
    ts: bool,
    shift: [Option<u8>; 2],
    ecn: bool,
    win: [Option<u16>; 2],
    rtt: [u64; 2],
}

/// Reads the rest of a handshake line and writes its steps.
pub(super) fn handshake(reader: &mut Reader, at: Span, conn: usize, words: &mut Words<'_>) -> Parsed<()> {
    // Segments of 1,000 bytes beside 12 of timestamps are full: numbers that can be read.
    let mut offer =
        Offer { mss: [1012; 2], sack: true, ts: true, shift: [Some(7); 2], ecn: false, win: [None; 2], rtt: RTT };
    loop {
        match words.next() {
            "" => break,
            "nosack" => offer.sack = false,
            "nots" => offer.ts = false,
            "nowscale" => offer.shift = [None; 2],
            "ecn" => offer.ecn = true,
            "mss" => offer.mss = pair(words.next())?,
            "wscale" => offer.shift = pair(words.next())?.map(|n| Some(n as u8)),
            "win" => offer.win = pair(words.next())?.map(Some),
            "rtt" => {
                let text = words.next();
                let (client, server) = text.split_once('/').ok_or("write rtt 40ms/20ms: to the client, to the server")?;
                offer.rtt = [duration(client)?, duration(server)?];
            }
            other => {
                return Err(format!("`{other}`: after handshake stand nosack, nots, nowscale, wscale 7/7, mss 1012, ecn, win 512/512, rtt 40ms/20ms"))
            }
        }
    }
    let client = Who { end: End::Client, conn };
    let server = Who { end: End::Server, conn };
    let (ecn, echo) = if offer.ecn { (0xc0, 0x40) } else { (0, 0) };
    cross(reader, at, client, offer.syn(0, 0x02 | ecn, None));
    let at = after(at, offer.rtt[1]);
    cross(reader, at, server, offer.syn(1, 0x12 | echo, Some(1)));
    let at = after(at, offer.rtt[0]);
    let win = offer.win[0].map(exactly);
    cross(reader, at, client, Segment { flags: 0x10, seq: 1, ack: Some(1), win, ..Segment::default() });
    reader.push(at, What::Event { conn, said: Said::Optimizing });
    Ok(())
}

impl Offer {
    fn syn(&self, end: usize, flags: u16, ack: Option<i64>) -> Segment {
        let mut opts = vec![Opt::Mss(self.mss[end])];
        if self.sack {
            opts.push(Opt::SackOk);
        }
        if self.ts {
            opts.push(Opt::Ts(None));
        }
        if let Some(shift) = self.shift[end] {
            opts.extend([Opt::Nop, Opt::Wscale(shift)]);
        }
        Segment { flags, ack, opts, ..Segment::default() }
    }
}

/// One end sends a segment, and the other receives it as it is.
fn cross(reader: &mut Reader, at: Span, from: Who, seg: Segment) {
    let to = Who { end: from.end.other(), ..from };
    let expected = Segment { opts: Vec::new(), any_opts: true, win: None, ..seg.clone() };
    let packet = Packet { marks: Marks::default(), body: Body::Tcp(seg) };
    reader.push(at, What::Send { from, packet, joined: false });
    let marks = Marks { raw: true, ..Marks::default() };
    reader.push(at, What::Expect { to, packet: Packet { marks, body: Body::Tcp(expected) } });
}

fn after(at: Span, ns: u64) -> Span {
    Span { from: at.to + ns, to: at.to + ns }
}

fn exactly(n: u16) -> Range {
    Range { from: n.into(), to: n.into() }
}

/// `7`, for both, or `7/8`, for client and server.
fn pair(text: &str) -> Parsed<[u16; 2]> {
    let (client, server) = text.split_once('/').unwrap_or((text, text));
    match (client.parse(), server.parse()) {
        (Ok(c), Ok(s)) => Ok([c, s]),
        _ => Err(format!("`{text}` is no number; write 7 for both ends, or 7/8 for client and server")),
    }
}
