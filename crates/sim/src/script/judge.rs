//! What was expected against what came: exactly that, and nothing else.

use super::model::{Body, End, Opt, Packet, Script, Segment, Span, Step, What, Who};
use super::run::{Crossing, Problem, Ran};
use super::show::{self, Row};

/// An expected packet.
struct Expected<'a> {
    step: &'a Step,
    to: Who,
    packet: &'a Packet,
}

/// What became of the packets of one end: pairs in order, either of which may be missing.
type Pairs = Vec<(Option<usize>, Option<usize>)>;

/// The first thing that is wrong with a run; `None`: all is as the script says.
pub(super) fn judge(script: &Script, ran: &Ran) -> Option<(Problem, String)> {
    let expected = expected(script);
    let (probes, wrong) = probes(script, ran);
    let came: Vec<&Crossing> = ran.crossings.iter().filter(|c| !c.sent && !is_one(&probes, c)).collect();
    let pairs = [End::Client, End::Server].map(|end| align(&expected, &came, end));
    let mut first: Option<Problem> = None;
    let mut note = |problem: Problem| match &first {
        Some(known) if known.line <= problem.line => {}
        _ => first = Some(problem),
    };
    wrong.into_iter().for_each(&mut note);
    for side in &pairs {
        if let Some(problem) = mismatch(script, &expected, &came, side) {
            note(problem);
        }
    }
    if let Some(Problem { line, what }) = &ran.problem {
        note(Problem { line: *line, what: what.clone() });
    }
    first.map(|problem| (problem, picture(&expected, &came, &ran.crossings, &pairs, &probes)))
}

/// Packets that lines like `client < probes 1..5` and `server < acks 2..9 upto 8001` stand for, and what is wrong with
/// them.
fn probes<'a>(script: &Script, ran: &'a Ran) -> (Vec<&'a Crossing>, Vec<Problem>) {
    let (mut taken, mut wrong) = (Vec::new(), Vec::new());
    for step in &script.steps {
        let (to, count, upto) = match step.what {
            What::Probes { to, count } => (to, count, None),
            What::Acks { to, count, upto } => (to, count, Some(upto)),
            _ => continue,
        };
        let (mut high, mut found, mut last) = (1, 0, 0);
        for c in ran.crossings.iter().filter(|c| !c.sent && c.who == to) {
            let Some(Packet { body: Body::Tcp(seg), .. }) = &c.packet else { continue };
            let end = seg.seq + i64::from(seg.len);
            let ack = seg.ack.unwrap_or(0);
            let stands_for = match upto {
                None => end <= high && seg.flags & 4 == 0,
                Some(upto) => seg.len == 0 && seg.flags == 0x10 && ack <= upto,
            };
            if within(step.at, c.at) && stands_for && !is_one(&taken, c) {
                taken.push(c);
                (found, last) = (found + 1, ack);
            }
            high = high.max(end);
        }
        let kind = if upto.is_some() { "ACKs" } else { "probes" };
        if !count.holds(found) {
            wrong.push(Problem { line: step.line, what: format!("{found} {kind} came, not {count}") });
        } else if let Some(upto) = upto.filter(|upto| found > 0 && *upto != last) {
            wrong.push(Problem { line: step.line, what: format!("the last of them acknowledges {last}, not {upto}") });
        }
    }
    (taken, wrong)
}

fn is_one(probes: &[&Crossing], c: &Crossing) -> bool {
    probes.iter().any(|p| std::ptr::eq(*p, c))
}

fn expected(script: &Script) -> Vec<Expected<'_>> {
    let steps = script.steps.iter();
    let of = steps.filter_map(|step| match &step.what {
        What::Expect { to, packet } => Some(Expected { step, to: *to, packet }),
        _ => None,
    });
    of.collect()
}

/// The first packet of an end that is not as expected.
fn mismatch(script: &Script, expected: &[Expected<'_>], came: &[&Crossing], pairs: &Pairs) -> Option<Problem> {
    let mut lost: Option<usize> = None;
    let mut stray: Option<usize> = None;
    for &(e, c) in pairs {
        match (e, c) {
            (Some(_), Some(c)) => {
                if let Some(what) = &came[c].problem {
                    let line = e.map_or(1, |e| expected[e].step.line);
                    return Some(Problem { line, what: what.clone() });
                }
                if lost.is_some() || stray.is_some() {
                    break;
                }
            }
            (Some(e), None) => lost = lost.or(Some(e)),
            (None, Some(c)) => stray = stray.or(Some(c)),
            (None, None) => {}
        }
        if lost.is_some() && stray.is_some() {
            break;
        }
    }
    let line_at = |at: u64| script.steps.iter().rev().find(|s| s.at.from <= at).map_or(1, |s| s.line);
    match (lost, stray) {
        (Some(e), Some(c)) => {
            let (e, c) = (&expected[e], came[c]);
            let why = differs(e, c).unwrap_or_else(|| "it came in another order".into());
            let what = format!("`{} < {}` came otherwise: {why}", e.to, show::packet(e.packet));
            Some(Problem { line: e.step.line, what })
        }
        (Some(e), None) => {
            let e = &expected[e];
            Some(Problem { line: e.step.line, what: format!("`{} < {}` never came", e.to, show::packet(e.packet)) })
        }
        (None, Some(c)) => {
            let c = came[c];
            let text = c.packet.as_ref().map_or("a frame that is no TCP".into(), show::packet);
            let what = format!("`{} < {text}` came at {}, and no line says so", c.who, show::time(c.at));
            Some(Problem { line: line_at(c.at), what })
        }
        (None, None) => None,
    }
}

/// The longest common sequence of what was expected at an end and what came there.
fn align(expected: &[Expected<'_>], came: &[&Crossing], end: End) -> Pairs {
    let es: Vec<usize> = (0..expected.len()).filter(|i| expected[*i].to.end == end).collect();
    let cs: Vec<usize> = (0..came.len()).filter(|i| came[*i].who.end == end).collect();
    // Mostly all is well.
    let same = |i: usize, j: usize| differs(&expected[es[i]], came[cs[j]]).is_none();
    if es.len() == cs.len() && (0..es.len()).all(|i| same(i, i)) {
        return es.iter().zip(&cs).map(|(e, c)| (Some(*e), Some(*c))).collect();
    }
    let (n, m) = (es.len(), cs.len());
    let mut best = vec![vec![0u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            let both = if same(i, j) { best[i + 1][j + 1] + 1 } else { 0 };
            best[i][j] = both.max(best[i + 1][j]).max(best[i][j + 1]);
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < n || j < m {
        if i < n && j < m && same(i, j) && best[i][j] == best[i + 1][j + 1] + 1 {
            pairs.push((Some(es[i]), Some(cs[j])));
            (i, j) = (i + 1, j + 1);
        } else if i < n && (j == m || best[i + 1][j] >= best[i][j + 1]) {
            pairs.push((Some(es[i]), None));
            i += 1;
        } else {
            pairs.push((None, Some(cs[j])));
            j += 1;
        }
    }
    pairs
}

/// How a packet differs from what was expected; `None`: it does not.
fn differs(e: &Expected<'_>, c: &Crossing) -> Option<String> {
    let Some(packet) = &c.packet else {
        return (!e.packet.marks.raw || c.problem.is_some()).then(|| "it is no TCP segment that can be read".into());
    };
    if e.to != c.who {
        return Some(format!("it is connection {}'s, not {}'s", c.who.conn, e.to.conn));
    }
    let what = body(e.packet, packet).or_else(|| marks(e.packet, packet));
    what.or_else(|| (!within(e.step.at, c.at)).then(|| format!("it came at {}, not at {}", show::time(c.at), times(e.step.at))))
}

fn within(span: Span, at: u64) -> bool {
    (span.from..=span.to).contains(&at)
}

fn times(span: Span) -> String {
    if span.from == span.to {
        return show::time(span.from);
    }
    format!("{} to {}", show::time(span.from), show::time(span.to))
}

fn marks(e: &Packet, c: &Packet) -> Option<String> {
    let (e, c) = (&e.marks, &c.marks);
    if e.raw {
        return (!c.raw).then(|| "it is not byte for byte what the other end sent".into());
    }
    if c.bad_checksum {
        return Some("its checksum is wrong".into());
    }
    if e.other_bytes != c.other_bytes {
        return Some("its bytes are not those of the first copy".into());
    }
    if e.pair.unwrap_or(0) != c.pair.unwrap_or(0) {
        return Some(format!("it left on pair {}, not {}", c.pair.unwrap_or(0), e.pair.unwrap_or(0)));
    }
    let name = |ecn: Option<u8>| ["noecn", "ect1", "ect0", "ce"][usize::from(ecn.unwrap_or(0))];
    (e.ecn.unwrap_or(0) != c.ecn.unwrap_or(0)).then(|| format!("it is {}, not {}", name(c.ecn), name(e.ecn)))
}

fn body(e: &Packet, c: &Packet) -> Option<String> {
    match (&e.body, &c.body) {
        (Body::Tcp(es), Body::Tcp(cs)) => segment(es, cs, e.marks.raw),
        (Body::TooBig(0), Body::TooBig(_)) => None,
        (e, c) if e == c => None,
        _ => Some("it is another kind of packet".into()),
    }
}

fn segment(e: &Segment, c: &Segment, raw: bool) -> Option<String> {
    let at = |seq: i64, len: u32| format!("{seq}:{}({len})", seq + i64::from(len));
    if e.flags != c.flags {
        return Some("its flags are others".into());
    }
    if (e.seq, e.len) != (c.seq, c.len) {
        return Some(format!("it is {}, not {}", at(c.seq, c.len), at(e.seq, e.len)));
    }
    if e.ack != c.ack && e.flags & 0x10 != 0 {
        let number = |ack: Option<i64>| ack.map_or("none".into(), |a| a.to_string());
        return Some(format!("ack is {}, not {}", number(c.ack), number(e.ack)));
    }
    for (name, e, c) in [("win", e.win, c.win), ("right", e.right, c.right)] {
        if let (Some(e), Some(c)) = (e, c) {
            if !e.holds(c.from) {
                return Some(format!("{name} is {c}, not {e}"));
            }
        }
    }
    if e.urg != c.urg {
        return Some("its urgent pointer is another".into());
    }
    if e.any_opts || raw && e.opts.is_empty() {
        return None;
    }
    options(e, c)
}

/// Timestamps are compared where they are written out (the checkers hold the others to I5); all else exactly.
fn options(e: &Segment, c: &Segment) -> Option<String> {
    let ts = |s: &Segment| s.opts.iter().find_map(|o| if let Opt::Ts(ts) = o { Some(*ts) } else { None });
    if let Some(Some(want)) = ts(e) {
        match ts(c).flatten() {
            Some(is) if is == want => {}
            Some((val, ecr)) => return Some(format!("TS val {val} ecr {ecr}, not val {} ecr {}", want.0, want.1)),
            None => return Some("it has no timestamps".into()),
        }
    }
    if e.opts.contains(&Opt::NoTs) && ts(c).is_some() {
        return Some("it has timestamps".into());
    }
    let rest = |s: &Segment| -> Vec<Opt> {
        s.opts.iter().filter(|o| !matches!(o, Opt::Ts(_) | Opt::NoTs | Opt::Nop | Opt::Eol)).cloned().collect()
    };
    let (want, is) = (rest(e), rest(c));
    if want == is {
        return None;
    }
    let show = |opts: Vec<Opt>| show::packet(&Packet {
        marks: Default::default(),
        body: Body::Tcp(Segment { opts, ..Segment::default() }),
    });
    let text = |opts| show(opts).split_once(" <").map_or("none".to_string(), |(_, o)| format!("<{o}"));
    Some(format!("options are {}, not {}", text(is), text(want)))
}

/// All that crossed the wire, with what did not come and what nobody expected.
fn picture(
    expected: &[Expected<'_>],
    came: &[&Crossing],
    all: &[Crossing],
    pairs: &[Pairs; 2],
    probes: &[&Crossing],
) -> String {
    let paired = |i: usize| pairs.iter().flatten().any(|p| p.1 == Some(i) && p.0.is_some());
    let mut rows: Vec<(u64, Row)> = Vec::new();
    let mut k = 0;
    for c in all {
        let known = c.sent || is_one(probes, c);
        let mark = if known || paired(k) { ' ' } else { '+' };
        k += usize::from(!known);
        rows.push((c.at, row(c, mark)));
    }
    debug_assert_eq!(k, came.len());
    for (e, _) in pairs.iter().flatten().filter(|p| p.1.is_none()) {
        let Some(e) = e.map(|e| &expected[e]) else { continue };
        let at = times(e.step.at);
        let row = Row { mark: '-', at, who: e.to, sent: false, text: show::packet(e.packet) };
        let place = rows.iter().position(|r| r.0 > e.step.at.from || r.0 == e.step.at.from && r.1.mark == '+');
        rows.insert(place.unwrap_or(rows.len()), (e.step.at.from, row));
    }
    let rows: Vec<Row> = rows.into_iter().map(|r| r.1).collect();
    show::picture(&rows)
}

/// A crossing as a row of the picture.
pub(super) fn row(c: &Crossing, mark: char) -> Row {
    let text = match (&c.packet, &c.problem) {
        (_, Some(problem)) => problem.clone(),
        (Some(packet), None) => show::packet(packet),
        (None, None) => "a frame that is no TCP".into(),
    };
    Row { mark, at: show::time(c.at), who: c.who, sent: c.sent, text }
}
