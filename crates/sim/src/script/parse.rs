//! Text to steps. An error names the line and says what to write instead.

use smartwire_engine::policy::{Description, Table};
use smartwire_engine::{RefuseReason, StopReason};

use super::macros;
use super::marks::marks;
use super::model::{About, Body, Conn, End, Order, Packet, Range, Said, Script, Segment, Span, Step, What, Who};
use super::options::options;

/// What is wrong with a script, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Line, from 1.
    pub line: usize,
    /// One sentence that says what to write instead.
    pub what: String,
}

pub(super) type Parsed<T> = Result<T, String>;

const NS: f64 = 1e9;

/// Reads a script.
///
/// # Errors
/// The first line that makes no sense.
pub fn parse(text: &str) -> Result<Script, Wrong> {
    let mut reader = Reader::default();
    for (i, raw) in text.lines().enumerate() {
        reader.line = i + 1;
        reader.line(raw).map_err(|what| Wrong { line: i + 1, what })?;
    }
    if reader.script.title.is_empty() {
        return Err(Wrong { line: 1, what: "the first line says in a comment what behaviour the script holds".into() });
    }
    Ok(reader.script)
}

#[derive(Default)]
pub(super) struct Reader {
    pub script: Script,
    /// Line at hand.
    pub line: usize,
    /// Where relative times start: the end of the last step.
    pub now: u64,
    /// When the line above was to happen.
    last: Span,
}

impl Reader {
    fn line(&mut self, raw: &str) -> Parsed<()> {
        let (code, comment) = raw.split_once('#').map_or((raw, None), |(code, comment)| (code, Some(comment.trim())));
        if let (true, Some(comment), true) = (code.trim().is_empty(), comment, self.script.steps.is_empty()) {
            if self.script.title.is_empty() {
                self.script.title = comment.to_string();
            } else {
                self.script.heading.push(comment.to_string());
            }
        }
        let mut words = Words(code.trim());
        if words.0.is_empty() {
            return Ok(());
        }
        let (at, joined) = self.time(&mut words)?;
        self.statement(at, joined, &mut words)?;
        match words.0 {
            "" => Ok(()),
            rest => Err(format!("`{rest}` is too much here; take it away")),
        }
    }

    /// The time at the beginning of a line, and whether it is `with`; `same`: that of the line above, a range perhaps.
    fn time(&self, words: &mut Words<'_>) -> Parsed<(Span, bool)> {
        let first = words.peek();
        let here = Span { from: self.now, to: self.now };
        if first == "with" {
            words.next();
            return Ok((here, true));
        }
        if first == "same" {
            words.next();
            return Ok((self.last, false));
        }
        if !first.starts_with(|c: char| c.is_ascii_digit() || c == '+' || c == '.') {
            return Ok((here, false));
        }
        words.next();
        let (from, to) = first.split_once('~').unwrap_or((first, first));
        let span = Span { from: self.instant(from)?, to: self.instant(to)? };
        if span.from < self.now {
            let now = self.now as f64 / NS;
            return Err(format!("{first} lies before the line above, at {now}; write a later time, or +0"));
        }
        if span.to < span.from {
            return Err(format!("{first} ends before it begins; write the earlier time first"));
        }
        Ok((span, false))
    }

    fn instant(&self, text: &str) -> Parsed<u64> {
        let (start, digits) = text.strip_prefix('+').map_or((0, text), |rest| (self.now, rest));
        match digits.parse::<f64>() {
            Ok(seconds) if seconds >= 0.0 => Ok(start + (seconds * NS).round() as u64),
            _ => Err(format!("`{text}` is no time; write seconds, like 0.150, +.010 or +0~+.2")),
        }
    }

    pub fn push(&mut self, at: Span, what: What) {
        self.now = at.to;
        self.last = at;
        self.script.steps.push(Step { line: self.line, at, what });
    }

    fn statement(&mut self, at: Span, joined: bool, words: &mut Words<'_>) -> Parsed<()> {
        let word = words.next();
        let (name, conn) = named(word)?;
        match name {
            "client" => return self.packets(at, joined, Who { end: End::Client, conn }, words),
            "server" => return self.packets(at, joined, Who { end: End::Server, conn }, words),
            "handshake" => return macros::handshake(self, at, conn, words),
            "event" => {
                let said = said(words)?;
                self.push(at, What::Event { conn, said });
                return Ok(());
            }
            _ => {}
        }
        match word {
            "nothing" => {
                let rest = words.take();
                let time = rest.strip_prefix("for ").ok_or("write `nothing for 2s`")?;
                let at = Span { from: at.to + duration(time)?, to: at.to + duration(time)? };
                self.push(at, What::Nothing);
            }
            "drain" | "bypass" | "resume" => self.order(at, word, words)?,
            "memory" => {
                let percent = words.take();
                let percent = percent.strip_suffix("% free").and_then(|n| n.parse().ok());
                self.push(at, What::Memory(percent.ok_or("write `memory 25% free`")?));
            }
            "policies" => {
                let read = serde_json::from_str::<Description>(words.take()).map_err(|e| e.to_string());
                let description = read.and_then(|d| Table::build(&d).map(|_| d).map_err(|e| e.to_string()));
                let wrong = |e| format!("{e}; write policies {{\"policies\": [{{\"name\": \"none\", \"service\": \"none\"}}]}}");
                self.push(at, What::Policies(description.map_err(wrong)?));
            }
            "counter" => {
                let name = words.next().to_string();
                let value = range(words.next())?;
                self.push(at, What::Counter(name, value));
            }
            "custody" => {
                let (end, conn) = named(words.next())?;
                let end = if end == "client" { End::Client } else { End::Server };
                let bytes = range(words.next())?;
                self.push(at, What::Custody { to: Who { end, conn }, bytes });
            }
            _ => self.setting(word, words)?,
        }
        Ok(())
    }

    /// Statements about the whole script.
    fn setting(&mut self, word: &str, words: &mut Words<'_>) -> Parsed<()> {
        let script = &mut self.script;
        match word {
            "rule" => script.rules.extend(words.take().split_whitespace().map(str::to_string)),
            "xfail" => script.xfail = Some(quoted(words, "xfail \"why the engine fails it\"")?),
            "unchecked" => {
                quoted(words, "unchecked \"why the checkers at the taps can't follow\"")?;
                script.unchecked = true;
            }
            "only" => {
                match words.next() {
                    "ipv4" => script.family = Some(false),
                    "ipv6" => script.family = Some(true),
                    "these-roles" => script.fixed_roles = true,
                    "plain" => script.plain = true,
                    other => return Err(format!("`{other}`: write only ipv4, ipv6, these-roles or plain")),
                }
                quoted(words, "only ipv4 \"why it makes no sense otherwise\"")?;
            }
            "config" => {
                let name = words.next().to_string();
                let value = words.next();
                let value = value.parse().map_err(|_| format!("`{value}` is no number; write config {name} 3"))?;
                script.config.push((self.line, name, value));
            }
            "connection" => {
                let (number, kind, value) = (words.next(), words.next(), words.next());
                let value: usize = value.parse().unwrap_or(0);
                let next = script.conns.len() + 2;
                let conn = match kind {
                    "subscriber" => Conn { subscriber: value, again: None },
                    "again" => Conn { subscriber: 1, again: Some(value) },
                    _ => Conn { subscriber: 0, again: None },
                };
                if number != next.to_string() || value == 0 || conn.subscriber == 0 {
                    return Err(format!("write `connection {next} subscriber 2` or `connection {next} again 1`"));
                }
                script.conns.push(conn);
            }
            _ => {
                return Err(format!(
                    "`{word}` is no statement; a line begins with client, server, handshake, nothing, event, counter, \
                     custody, drain, bypass, resume, policies, memory, or a setting: rule, config, connection, only, xfail, unchecked"
                ))
            }
        }
        Ok(())
    }

    fn order(&mut self, at: Span, word: &str, words: &mut Words<'_>) -> Parsed<()> {
        let order = match word {
            "drain" => Order::Drain,
            "bypass" => Order::Bypass,
            _ => Order::Resume,
        };
        let (about, conn) = named(words.next())?;
        let about = match about {
            "wire" => About::Wire,
            "subscriber" => About::Subscriber(conn),
            "flow" => About::Flow(conn),
            other => return Err(format!("`{other}`: write {word} wire, {word} subscriber or {word} flow")),
        };
        let limit = match words.next() {
            "" => 60_000_000_000,
            "limit" => duration(words.next())?,
            other => return Err(format!("`{other}`: write limit 5s")),
        };
        self.push(at, What::Order { order, about, limit });
        Ok(())
    }

    /// `client > ...` or `client < ...`; a number of segments in a row becomes as many steps.
    fn packets(&mut self, at: Span, joined: bool, who: Who, words: &mut Words<'_>) -> Parsed<()> {
        let most = self.script.conns.len() + 1;
        if who.conn > most {
            return Err(format!("there is no connection {}; write `connection {} subscriber 1` before", who.conn, most + 1));
        }
        let sends = match words.next() {
            ">" => true,
            "<" => false,
            other => {
                return Err(format!("`{other}`: write `{who} >` for what it sends, `{who} <` for what it receives"))
            }
        };
        if !sends && words.peek() == "probes" {
            words.next();
            let count = range(words.next())?;
            self.push(at, What::Probes { to: who, count });
            return Ok(());
        }
        if !sends && words.peek() == "acks" {
            words.next();
            let count = range(words.next())?;
            let upto = (words.next() == "upto").then(|| words.next()).unwrap_or("");
            let upto = upto.parse().map_err(|_| "write `acks 2..9 upto 8001`")?;
            self.push(at, What::Acks { to: who, count, upto });
            return Ok(());
        }
        let marks = marks(words)?;
        let mut joined = joined;
        let mut at = at;
        for body in bodies(words)? {
            if let (true, Body::Tcp(seg)) = (sends, &body) {
                check_sent(seg)?;
            }
            let packet = Packet { marks: marks.clone(), body };
            self.push(at, if sends { What::Send { from: who, packet, joined } } else { What::Expect { to: who, packet } });
            // Segments in a row come in one batch, as they do from a card.
            joined = true;
            at = Span { from: at.from, to: at.to };
        }
        Ok(())
    }
}

/// What a sender must say and can't leave open.
fn check_sent(seg: &Segment) -> Parsed<()> {
    if seg.flags & 0x10 != 0 && seg.ack.is_none() {
        return Err("a segment with `.` acknowledges something; write ack N behind it".into());
    }
    if seg.win.is_some_and(|w| w.from != w.to) || seg.right.is_some() || seg.any_opts {
        return Err("what is sent has one window and known options; write win N".into());
    }
    Ok(())
}

/// `client/2`: a name and the number of a connection.
fn named(word: &str) -> Parsed<(&str, usize)> {
    let Some((name, number)) = word.split_once('/') else { return Ok((word, 1)) };
    match number.parse() {
        Ok(n) if n > 0 => Ok((name, n)),
        _ => Err(format!("`{word}`: the number of a connection is 1 or more, like {name}/2")),
    }
}

pub(super) fn duration(text: &str) -> Parsed<u64> {
    let wrong = || format!("`{text}` is no duration; write 200ms, 2s or 5m");
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let number: f64 = text[..split].parse().map_err(|_| wrong())?;
    let unit = match &text[split..] {
        "us" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 6e10,
        _ => return Err(wrong()),
    };
    Ok((number * unit).round() as u64)
}

/// `5`, `5..` or `5..9`.
pub(super) fn range(text: &str) -> Parsed<Range> {
    let number = |t: &str| t.parse::<i64>().map_err(|_| format!("`{text}` is no number; write 5, 5.. or 5..9"));
    match text.split_once("..") {
        None => number(text).map(|n| Range { from: n, to: n }),
        Some((from, "")) => Ok(Range { from: number(from)?, to: i64::MAX }),
        Some((from, to)) => Ok(Range { from: number(from)?, to: number(to)? }),
    }
}

fn quoted(words: &mut Words<'_>, example: &str) -> Parsed<String> {
    let rest = words.take();
    match rest.strip_prefix('"').and_then(|r| r.strip_suffix('"')) {
        Some(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err(format!("say why, in quotation marks: {example}")),
    }
}

fn said(words: &mut Words<'_>) -> Parsed<Said> {
    let (kind, name) = (words.next(), words.next());
    let stop = || {
        let found = StopReason::ALL.iter().find(|r| r.name() == name).copied();
        found.ok_or_else(|| {
            let all: Vec<_> = StopReason::ALL.iter().map(|r| r.name()).collect();
            format!("`{name}` is no reason to stop; they are {}", all.join(", "))
        })
    };
    Ok(match kind {
        "optimizing" => Said::Optimizing,
        "closed" => Said::Closed,
        "refused" => {
            let found = RefuseReason::ALL.iter().find(|r| r.name() == name).copied();
            Said::Refused(found.ok_or_else(|| {
                let all: Vec<_> = RefuseReason::ALL.iter().map(|r| r.name()).collect();
                format!("`{name}` is no reason to refuse; they are {}", all.join(", "))
            })?)
        }
        "draining" => Said::Draining(stop()?),
        "handed-back" => Said::HandedBack(stop()?),
        "reset" => Said::Reset(stop()?),
        _ => return Err("write event optimizing, refused WHY, draining WHY, handed-back WHY, reset WHY or closed".into()),
    })
}

/// Segments or what else a line is about; several if it says so: `1:3001(3x1000)`.
fn bodies(words: &mut Words<'_>) -> Parsed<Vec<Body>> {
    match words.peek() {
        "icmp" => {
            words.next();
            return Ok(vec![match (words.next(), words.next()) {
                ("too-big", "") => Body::TooBig(0),
                ("too-big", mtu) => {
                    Body::TooBig(mtu.parse().map_err(|_| format!("`{mtu}` is no MTU; write icmp too-big 1280"))?)
                }
                ("unreachable", "") => Body::Unreachable,
                _ => return Err("write icmp too-big 1280, or icmp unreachable".into()),
            }]);
        }
        "udp" => {
            words.next();
            let bytes = words.next();
            let bytes = bytes.parse().map_err(|_| format!("`{bytes}` is no size; write udp 100"))?;
            return Ok(vec![Body::Udp(bytes)]);
        }
        _ => {}
    }
    let flags = flags(words.next())?;
    let (seq, times, len) = span(words.next())?;
    let mut seg = Segment { flags, seq, len, ..Segment::default() };
    while matches!(words.peek(), "ack" | "win" | "right" | "urg") {
        let name = words.next();
        let value = range(words.next())?;
        if matches!(name, "ack" | "urg") && value.from != value.to {
            return Err(format!("`{name}` is one number; only win and right may be free within limits"));
        }
        match name {
            "ack" => seg.ack = Some(value.from),
            "urg" => seg.urg = Some(value.from as u16),
            "win" => seg.win = Some(value),
            _ => seg.right = Some(value),
        }
    }
    if let Some(inside) = words.enclosed('<', '>')? {
        seg.any_opts = inside.trim() == "...";
        if !seg.any_opts {
            seg.opts = options(inside)?;
        }
    }
    let one = |k: u32| Body::Tcp(Segment { seq: seg.seq + i64::from(k * seg.len), ..seg.clone() });
    Ok((0..times).map(one).collect())
}

fn flags(word: &str) -> Parsed<u16> {
    let mut flags = 0;
    for c in word.chars() {
        flags |= match c {
            'F' => 1,
            'S' => 2,
            'R' => 4,
            'P' => 8,
            '.' => 0x10,
            'U' => 0x20,
            'E' => 0x40,
            'W' => 0x80,
            'A' => 0x100,
            '-' => 0,
            _ => return Err(format!("`{word}` are no flags; write S, S., ., P., F., R., R, E, W, U, A or - for none")),
        };
    }
    if word.is_empty() {
        return Err("write a segment, like P. 1:1001(1000) ack 1".into());
    }
    Ok(flags)
}

/// `1:1001(1000)` or `1:3001(3x1000)`: sequence number, how many, length of each.
pub(super) fn span(word: &str) -> Parsed<(i64, u32, u32)> {
    let wrong = || format!("`{word}` is no range; write 1:1001(1000), or 1:3001(3x1000) for three in a row");
    let (seq, rest) = word.split_once(':').ok_or_else(wrong)?;
    let (end, rest) = rest.split_once('(').ok_or_else(wrong)?;
    let size = rest.strip_suffix(')').ok_or_else(wrong)?;
    let (times, len) = size.split_once('x').unwrap_or(("1", size));
    let (seq, end): (i64, i64) = (seq.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    let (times, len): (u32, u32) = (times.parse().map_err(|_| wrong())?, len.parse().map_err(|_| wrong())?);
    if end - seq != i64::from(times) * i64::from(len) || times == 0 || len > 1480 {
        let right = seq + i64::from(times) * i64::from(len);
        return Err(format!("`{word}` does not add up; write {seq}:{right}({size}), with at most 1480 bytes each"));
    }
    Ok((seq, times, len))
}

/// The words of a line, from the left.
pub(super) struct Words<'a>(pub &'a str);

impl<'a> Words<'a> {
    pub fn peek(&self) -> &'a str {
        self.0.split_whitespace().next().unwrap_or("")
    }

    pub fn next(&mut self) -> &'a str {
        let word = self.peek();
        self.0 = self.0[self.0.find(word).unwrap_or(0) + word.len()..].trim_start();
        word
    }

    /// All that is left.
    pub fn take(&mut self) -> &'a str {
        std::mem::take(&mut self.0)
    }

    /// What stands between two marks, if the next is such.
    pub fn enclosed(&mut self, open: char, close: char) -> Parsed<Option<&'a str>> {
        let Some(rest) = self.0.strip_prefix(open) else { return Ok(None) };
        let (inside, rest) = rest.split_once(close).ok_or_else(|| format!("`{open}` has no `{close}`; add it"))?;
        self.0 = rest.trim_start();
        Ok(Some(inside))
    }
}
