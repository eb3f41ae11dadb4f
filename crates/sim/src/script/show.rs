//! Packets as a script would write them, and the two time lines beside each other.

use super::model::{Body, Opt, Packet, Segment, Who};
use super::seen::name_of;

/// A packet in the words of the dialect.
pub(super) fn packet(p: &Packet) -> String {
    let mut marks = Vec::new();
    let m = &p.marks;
    match m.ecn {
        Some(1) => marks.push("ect1".to_string()),
        Some(2) => marks.push("ect0".into()),
        Some(3) => marks.push("ce".into()),
        _ => {}
    }
    for (on, name) in [
        (m.raw, "raw"),
        (m.bad_checksum, "bad checksum"),
        (m.other_bytes, "other bytes"),
        (m.wrong_side, "wrong side"),
        (m.ip_options, "ip options"),
        (m.fragment.is_some(), "fragment"),
    ] {
        if on {
            marks.push(name.into());
        }
    }
    if let Some(pair) = m.pair {
        marks.push(format!("pair {pair}"));
    }
    if let Some((seq, len)) = m.quote {
        marks.push(format!("{seq}:{}({len})", seq + i64::from(len)));
    }
    let marks = if marks.is_empty() { String::new() } else { format!("[{}] ", marks.join(", ")) };
    match &p.body {
        Body::Tcp(seg) => marks + &segment(seg),
        Body::TooBig(mtu) => format!("{marks}icmp too-big {mtu}"),
        Body::Unreachable => format!("{marks}icmp unreachable"),
        Body::Udp(bytes) => format!("{marks}udp {bytes}"),
    }
}

fn segment(s: &Segment) -> String {
    let mut flags = String::new();
    for (bit, c) in [(2, 'S'), (1, 'F'), (4, 'R'), (8, 'P'), (0x20, 'U'), (0x40, 'E'), (0x80, 'W'), (0x100, 'A'), (0x10, '.')] {
        if s.flags & bit != 0 {
            flags.push(c);
        }
    }
    if flags.is_empty() {
        flags.push('-');
    }
    let mut text = format!("{flags} {}:{}({})", s.seq, s.seq + i64::from(s.len), s.len);
    if let Some(ack) = s.ack {
        text += &format!(" ack {ack}");
    }
    if let Some(win) = s.win {
        text += &format!(" win {win}");
    }
    if let Some(right) = s.right.filter(|_| s.win.is_none()) {
        text += &format!(" right {right}");
    }
    if let Some(urg) = s.urg {
        text += &format!(" urg {urg}");
    }
    let opts: Vec<String> = s.opts.iter().map(option).collect();
    if s.any_opts {
        text += " <...>";
    } else if !opts.is_empty() {
        text += &format!(" <{}>", opts.join(", "));
    }
    text
}

fn option(o: &Opt) -> String {
    match o {
        Opt::Nop => "nop".into(),
        Opt::Eol => "eol".into(),
        Opt::Mss(n) => format!("mss {n}"),
        Opt::SackOk => "sackOK".into(),
        Opt::Wscale(n) => format!("wscale {n}"),
        Opt::Ts(None) => "TS".into(),
        Opt::NoTs => "noTS".into(),
        Opt::Ts(Some((val, ecr))) => format!("TS val {val} ecr {ecr}"),
        Opt::Sack(blocks) => {
            let blocks: Vec<String> = blocks.iter().map(|(l, r)| format!("{l}:{r}")).collect();
            format!("sack {}", blocks.join(" "))
        }
        Opt::Raw(kind, bytes) => {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            format!("{} {hex}", name_of(*kind)).trim_end().to_string()
        }
    }
}

/// Seconds, as short as they are exact.
pub(super) fn time(ns: u64) -> String {
    let text = format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000);
    let short = text.trim_end_matches('0');
    let least = text.len() - 6;
    text[..short.len().max(least)].to_string()
}

/// Seconds, to the nanosecond.
pub(super) fn exact(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

/// One line of the picture.
pub(super) struct Row {
    /// ' ', '-' expected and not seen, '+' seen and not expected.
    pub mark: char,
    pub at: String,
    pub who: Who,
    pub sent: bool,
    pub text: String,
}

/// The two time lines: what the client sends and receives on the left, the server on the right.
pub(super) fn picture(rows: &[Row]) -> String {
    let text = |r: &Row| {
        let number = if r.who.conn > 1 { format!("/{} ", r.who.conn) } else { String::new() };
        format!("{number}{} {}", if r.sent { '>' } else { '<' }, r.text)
    };
    let left = rows.iter().filter(|r| r.who.end as u8 == 0).map(|r| text(r).len()).max().unwrap_or(0).clamp(24, 76);
    let mut out = format!("    {:<12} {:<left$}  {}\n", "time", "client", "server");
    for r in rows {
        let (client, server) = if r.who.end as u8 == 0 { (text(r), String::new()) } else { (String::new(), text(r)) };
        let line = format!("  {} {:<12} {client:<left$}  {server}", r.mark, r.at);
        out += line.trim_end();
        out.push('\n');
    }
    out
}
