"""Words of a configuration: quoting, splitting, and what some of them must mean."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from smartwire.errors import UsageError

PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,$*=~^!?<>|&'-]+")
MASK = "********"

MEANING = {
    "name": "name: use letters, digits and - _ . : @ (at most 64)",
    "interface-name": "name of an interface: at most 15 characters, as `ip link` shows it",
    "prefix": "IPv4 or IPv6 prefix such as 192.0.2.0/24",
    "host": "address or host name",
    "port-range": "port or range of ports such as 8000-8999",
}
"""What a value of a type of smartwire-types must be."""


def quote(word: str) -> str:
    """The word as it is printed: in double quotes where it would not be read back otherwise."""
    if PLAIN.fullmatch(word) and not word.startswith("/*"):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def join(path: Iterable[str]) -> str:
    """Words as one line."""
    return " ".join(quote(w) for w in path)


def unquote(text: str) -> str:
    """The content of a quoted word, its quotes included in `text`."""
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text[1:-1])


def split(line: str) -> list[str]:
    """A line as words; quotes keep spaces, and brackets are words of their own.

    Raises:
        UsageError: a quote is not closed.
    """
    found = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif line[at] in "[]":
            found.append(line[at])
            at += 1
        elif line[at] == '"':
            quoted = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match(line, at)
            if not quoted:
                raise UsageError('A double quote is not closed: end the text with ".')
            found.append(unquote(quoted[0]))
            at = quoted.end()
        else:
            word = re.compile(r'[^\s\[\]"]+').match(line, at)
            assert word
            found.append(word[0])
            at = word.end()
    return found


def check(type_name: str, text: str) -> str | None:
    """What a type's pattern cannot say: a sentence if the word is wrong."""
    if not text.replace("\n", "").isprintable():  # nobody's terminal is to be told what to do by a description
        return "It contains a control character: use printable ones."
    if type_name == "prefix":
        return check_prefix(text)
    if type_name == "port-range":
        low, _, high = text.partition("-")
        if not 1 <= int(low) <= int(high or low) <= 65535:
            return f"{text!r} is no port or range of ports: ports are 1..65535, the lower one first."
    return None


def check_prefix(text: str) -> str | None:
    """A sentence if the text is no prefix, or has host bits."""
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            meant = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return f"{text!r} is no {MEANING['prefix']}."
        return f"{text} has bits beyond its length: did you mean {meant}?"
    return None
