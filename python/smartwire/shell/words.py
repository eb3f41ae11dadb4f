"""A command line as words: quotes, brackets and pipes, with the place of each word for carets and completion."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from smartwire.config.words import quote
from smartwire.errors import UsageError

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


def split(line: str) -> list[Word]:
    """The words of a line. In double quotes, a backslash keeps the next character as it is.

    Never fails: a missing closing quote marks the last word as open, which completion needs and running refuses.
    """
    words: list[Word] = []
    single = SINGLE
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
            text.append(line[at + 1])
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


def join(words: Iterable[str]) -> str:
    """Words as one line; brackets stay brackets."""
    return " ".join(word if word in ("[", "]") else quote(word) for word in words)


def closed(words: list[Word]) -> None:
    """Raises UsageError where a quote was opened and not closed."""
    if words and words[-1].open:
        raise UsageError('A quote is not closed: end the text with ".')


def stages(words: list[Word]) -> list[list[Word]]:
    """The command and its pipes: the words between unquoted `|`."""
    parts: list[list[Word]] = [[]]
    for word in words:
        if word.is_("|"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts
