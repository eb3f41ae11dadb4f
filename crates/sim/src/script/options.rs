//! TCP options, written as packetdrill writes them: `mss 1460, sackOK, TS val 100 ecr 0, nop, wscale 7`.

use super::model::Opt;
use super::parse::Parsed;

/// Options known by a name, with their kind (IANA, TCP option kinds).
const KINDS: [(&str, u8); 6] = [("MPTCP", 30), ("md5", 19), ("ao", 29), ("FO", 34), ("accecn0", 172), ("accecn1", 174)];

/// The kind of an option that is written by name.
pub(super) fn kind_of(name: &str) -> Option<u8> {
    KINDS.iter().find(|k| k.0 == name).map(|k| k.1)
}

/// Reads what stands between `<` and `>`.
pub(super) fn options(inside: &str) -> Parsed<Vec<Opt>> {
    inside.split(',').map(|text| one(text.trim())).collect()
}

fn one(text: &str) -> Parsed<Opt> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let wrong = || {
        format!(
            "`<{text}>` is no option; they are mss N, wscale N, sackOK, TS val N ecr N, TS, noTS, sack 1001:2001, nop, eol, \
             MPTCP, md5, ao, FO, accecn0, accecn1 (these with bytes in hex behind them), or option KIND HEX"
        )
    };
    let number = |t: &str| t.parse::<i64>().map_err(|_| wrong());
    Ok(match words.as_slice() {
        ["nop"] => Opt::Nop,
        ["eol"] => Opt::Eol,
        ["sackOK"] => Opt::SackOk,
        ["TS"] => Opt::Ts(None),
        ["noTS"] => Opt::NoTs,
        ["mss", n] => Opt::Mss(number(n)? as u16),
        ["wscale", n] => Opt::Wscale(number(n)? as u8),
        ["TS", "val", val, "ecr", ecr] => Opt::Ts(Some((number(val)?, number(ecr)?))),
        ["sack", blocks @ ..] if !blocks.is_empty() => {
            let mut list = Vec::new();
            for block in blocks {
                let (l, r) = block.split_once(':').ok_or_else(wrong)?;
                list.push((number(l)?, number(r)?));
            }
            Opt::Sack(list)
        }
        ["option", kind, bytes @ ..] => Opt::Raw(number(kind)? as u8, hex(&bytes.concat()).ok_or_else(wrong)?),
        [name, bytes @ ..] => {
            Opt::Raw(kind_of(name).ok_or_else(wrong)?, hex(&bytes.concat()).ok_or_else(wrong)?)
        }
        [] => return Err(wrong()),
    })
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| (c as char).to_digit(16);
    let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
        [a, b] => Some((digit(*a)? * 16 + digit(*b)?) as u8),
        _ => None,
    });
    bytes.collect()
}

/// The bytes of options; relative numbers are made real by `ts` and `seq`. Padded to a multiple of four with EOL.
pub(super) fn write(opts: &[Opt], ts: impl Fn(Option<(i64, i64)>) -> (u32, u32), seq: impl Fn(i64) -> u32) -> Vec<u8> {
    let mut out = Vec::new();
    for opt in opts {
        match opt {
            Opt::NoTs => {}
            Opt::Nop => out.push(1),
            Opt::Eol => out.push(0),
            Opt::SackOk => out.extend([4, 2]),
            Opt::Wscale(n) => out.extend([3, 3, *n]),
            Opt::Mss(n) => {
                out.extend([2, 4]);
                out.extend(n.to_be_bytes());
            }
            Opt::Ts(values) => {
                let (val, ecr) = ts(*values);
                out.extend([8, 10]);
                out.extend(val.to_be_bytes());
                out.extend(ecr.to_be_bytes());
            }
            Opt::Sack(blocks) => {
                out.extend([5, 2 + 8 * blocks.len() as u8]);
                for (l, r) in blocks {
                    out.extend(seq(*l).to_be_bytes());
                    out.extend(seq(*r).to_be_bytes());
                }
            }
            Opt::Raw(kind, bytes) => {
                out.extend([*kind, 2 + bytes.len() as u8]);
                out.extend(bytes);
            }
        }
    }
    out.resize(out.len().next_multiple_of(4), 0);
    out
}
