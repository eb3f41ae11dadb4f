"""Words of a configuration: quoting, splitting, and what some of them must mean."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

from smartwire.errors import UsageError

PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,$*=~^!<>&'-]+")
"""What needs no quotes; a command line reads | as a pipe and ? as a question."""
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


SINGLE = "[]|"
"""Characters that are words by themselves outside quotes; the brackets only before the first pipe."""


@dataclass(frozen=True)
class Word:
    """One word of a line.

    Attributes:
        text: what it means, quotes removed.
        start, end: where it stands in the line, quotes included; characters.
        quoted: True where quotes keep it from being a keyword, a bracket or a pipe.
        open: True where the closing quote is missing.
    """

    text: str
    start: int
    end: int
    quoted: bool = False
    open: bool = False

    def is_(self, mark: str) -> bool:
        """True for this bracket or pipe, not for a quoted one."""
        return self.text == mark and not self.quoted


def scan(line: str, pipes: bool = True) -> list[Word]:
    """The words of a line. In double quotes a backslash keeps the next character as it is, and \\n is a new line.

    Never fails: a missing closing quote marks the last word as open, which completion needs and running refuses.

    Args:
        line: what was typed.
        pipes: whether `|` is a word of its own, behind which brackets are none.
    """
    words: list[Word] = []
    single = SINGLE if pipes else "[]"
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        if line[at] in single:
            single = "|" if line[at] == "|" else single
            words.append(Word(line[at], at, at + 1))
            at += 1
            continue
        word = one(line, at, single)
        words.append(word)
        at = word.end
    return words


def one(line: str, start: int, single: str) -> Word:
    """The word that begins at `start`."""
    text, at, inside, quoted = [], start, False, False
    while at < len(line):
        character = line[at]
        if inside and character == "\\" and at + 1 < len(line):
            text.append("\n" if line[at + 1] == "n" else line[at + 1])
            at += 2
            continue
        if character == '"':
            inside, quoted = not inside, True
        elif not inside and (character.isspace() or character in single):
            break
        else:
            text.append(character)
        at += 1
    return Word("".join(text), start, at, quoted, inside)


def split(line: str) -> list[str]:
    """A line as words; quotes keep spaces, and brackets are words of their own.

    Raises:
        UsageError: a quote is not closed.
    """
    found = scan(line, pipes=False)
    closed(found)
    return [word.text for word in found]


def closed(found: list[Word]) -> None:
    """Raises UsageError where a quote was opened and not closed."""
    if found and found[-1].open:
        raise UsageError('A double quote is not closed: end the text with ".')


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
