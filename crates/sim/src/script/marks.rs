//! What stands in brackets before a segment: everything about a packet that is not TCP's.

use super::model::Marks;
use super::parse::{span, Parsed, Words};

/// The phrases in brackets before a segment.
pub(super) fn marks(words: &mut Words<'_>) -> Parsed<Marks> {
    let mut marks = Marks::default();
    let Some(inside) = words.enclosed('[', ']')? else { return Ok(marks) };
    for phrase in inside.split(',').map(str::trim) {
        let (word, value) = phrase.split_once(' ').unwrap_or((phrase, ""));
        let number = |what: &str| {
            let (digits, radix) = value.strip_prefix("0x").map_or((value, 10), |hex| (hex, 16));
            u32::from_str_radix(digits, radix).map_err(|_| format!("`[{phrase}]`: write [{what}]"))
        };
        match phrase {
            "noecn" => marks.ecn = Some(0),
            "ect1" => marks.ecn = Some(1),
            "ect0" => marks.ecn = Some(2),
            "ce" => marks.ecn = Some(3),
            "raw" => marks.raw = true,
            "bad checksum" => marks.bad_checksum = true,
            "other bytes" => marks.other_bytes = true,
            "wrong side" => marks.wrong_side = true,
            "ip options" => marks.ip_options = true,
            "fragment" => marks.fragment = Some((0, true)),
            _ => match word {
                "fragment" => marks.fragment = Some((number("fragment 1000")? as u16, false)),
                "ttl" => marks.ttl = Some(number("ttl 9")? as u8),
                "dscp" => marks.dscp = Some(number("dscp 46")? as u8),
                "label" => marks.label = Some(number("label 0x12345")?),
                "mac" => marks.mac = Some(number("mac 7")? as u8),
                "pair" => marks.pair = Some(number("pair 1")? as u8),
                "header" => marks.header_words = Some(number("header 4")? as u8),
                _ => match span(phrase) {
                    Ok((seq, 1, len)) => marks.quote = Some((seq, len)),
                    _ => {
                        return Err(format!(
                            "`[{phrase}]` is unknown; in brackets stand raw, ce, ect0, ect1, noecn, bad checksum, other \
                             bytes, wrong side, ip options, fragment, ttl N, dscp N, label N, mac N, pair N, header N, or, \
                             of an ICMP error, the segment that it quotes, like 1:1001(1000)"
                        ))
                    }
                },
            },
        }
    }
    Ok(marks)
}
