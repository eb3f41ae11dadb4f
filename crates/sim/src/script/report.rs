//! A script in all variants, and what is to be said about it.

use serde::Serialize;

use super::judge::{judge, row};
use super::model::Script;
use super::parse::{parse, Wrong};
use super::run::{run, Ran};
use super::show;
use super::variant::{Variant, VARIANTS};
use crate::tunnel::Kind;

/// Which variants, and how much is to be said.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Only the variant of this name.
    pub variant: Option<String>,
    /// The time lines also of a run that went well.
    pub verbose: bool,
}

/// What came of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// It did as it says; or failed as it says that it does.
    pub ok: bool,
    /// The script says that it fails, and why.
    pub xfail: Option<String>,
    /// The behaviour.
    pub title: String,
    /// Rules that it holds.
    pub rules: Vec<String>,
    /// Variants run.
    pub variants: usize,
    /// Names of those that failed.
    pub failed: Vec<String>,
    /// For a person: what is wrong, the time lines, and how to run it again. Empty if there is nothing to say.
    pub text: String,
}

/// Runs the script of this text. `path` is how messages name it.
pub fn run_text(path: &str, text: &str, choice: &Choice) -> Report {
    let script = match parse(text) {
        Ok(script) => script,
        Err(Wrong { line, what }) => return Report { text: format!("{path}:{line}: {what}.\n"), ..Report::default() },
    };
    let mut report = Report {
        ok: true,
        xfail: script.xfail.clone(),
        title: script.title.clone(),
        rules: script.rules.clone(),
        ..Report::default()
    };
    if let Err(text) = in_all_variants(path, &script, choice, &mut report) {
        return Report { ok: false, text, ..report };
    }
    if let Some(why) = &script.xfail {
        report.ok = !report.failed.is_empty();
        if report.ok {
            report.text = format!("{path}: fails, as it says: {why}\n{}", report.text);
        } else {
            report.text = format!("{path}: it says that it fails ({why}), and it passes; take its xfail away.\n");
        }
    } else {
        report.ok = report.failed.is_empty();
    }
    report
}

/// Runs the variants; the error is about what was asked for.
fn in_all_variants(path: &str, script: &Script, choice: &Choice, report: &mut Report) -> Result<(), String> {
    let mut first: [Option<(Variant, Vec<String>)>; 2] = [None, None];
    for v in variants(script, choice)? {
        let ran = run(script, &v).map_err(|p| format!("{path}:{}: {}.\n", p.line, p.what))?;
        report.variants += 1;
        let verdict = judge(script, &ran);
        if choice.verbose && (report.variants == 1 || verdict.is_some()) {
            let rows: Vec<_> = ran.crossings.iter().map(|c| row(c, ' ')).collect();
            report.text += &format!("{}\n{}", v.name(), show::picture(&rows));
        }
        let lines = normal(&ran);
        // The radio's control is on one side only: with roles swapped other times and windows are right.
        let place = &mut first[usize::from(v.swap)];
        let wrong = match (verdict, place.as_ref()) {
            (Some((problem, picture)), _) => Some(format!("{path}:{}: {}.\n\n{picture}", problem.line, problem.what)),
            (None, Some((other, expected))) => unlike(path, &v, &lines, other, expected),
            (None, None) => None,
        };
        match wrong {
            Some(text) => {
                if report.failed.is_empty() {
                    let again = format!("rerun: smartwire script run {path} --variant {} -v\n", v.name());
                    report.text += &format!("{text}\n{again}");
                }
                report.failed.push(v.name());
            }
            None if place.is_none() => *place = Some((v, lines)),
            None => {}
        }
    }
    if report.failed.len() > 1 {
        report.text += &format!("{} of {} variants fail: {}\n", report.failed.len(), report.variants, report.failed.join(" "));
    }
    Ok(())
}

fn variants(script: &Script, choice: &Choice) -> Result<Vec<Variant>, String> {
    let fits = |v: &&Variant| {
        script.family.is_none_or(|v6| v6 == v.v6)
            && !(script.fixed_roles && v.swap)
            && !(script.plain && v.tunnel.kind != Kind::Plain)
    };
    let chosen = |v: &&Variant| choice.variant.as_ref().is_none_or(|name| v.name() == *name);
    let list: Vec<Variant> = VARIANTS.iter().filter(fits).filter(chosen).copied().collect();
    if list.is_empty() {
        let names: Vec<String> = VARIANTS.iter().filter(fits).map(Variant::name).collect();
        return Err(format!("there is no such variant; they are {}.\n", names.join(", ")));
    }
    Ok(list)
}

/// A run without what differs between variants.
fn normal(ran: &Ran) -> Vec<String> {
    let line = |c: &super::run::Crossing| {
        let row = row(c, ' ');
        // An ACK of the engine's may happen to be the endpoint's own to the byte, where no identification tells them apart.
        let text = row.text.replace("[raw] ", "");
        format!("{} {} {} {}", row.at, row.who, if row.sent { '>' } else { '<' }, text)
    };
    ran.crossings.iter().map(line).collect()
}

/// Two variants must not differ, whatever the script says.
fn unlike(path: &str, v: &Variant, lines: &[String], other: &Variant, expected: &[String]) -> Option<String> {
    let at = (0..lines.len().max(expected.len())).find(|i| lines.get(*i) != expected.get(*i))?;
    let line = |lines: &[String]| lines.get(at).map_or("(nothing more)".to_string(), String::clone);
    Some(format!(
        "{path}: {} does otherwise than {}.\n\n  {:>8}  {}\n  {:>8}  {}\n",
        v.name(),
        other.name(),
        other.name(),
        line(expected),
        v.name(),
        line(lines)
    ))
}
