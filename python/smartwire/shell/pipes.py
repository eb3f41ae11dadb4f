"""What may stand after a `|`: filters of text, other forms of the same answer, and where it goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from smartwire.errors import UsageError
from smartwire.shell.grammar import Choice, Keywords, State
from smartwire.shell.places import Done, Free, Otherwise


@dataclass
class Answer:
    """What a command has to say.

    Attributes:
        text: for a person; lines.
        data: the same for a program, None where there is nothing more than the text.
        forms: further forms by name (set, xml), made only when asked for.
        pager: False where the text shall run through without stopping.
        save: a file, on the operator's side, to write the text to instead of showing it.
    """

    text: str = ""
    data: Any = None
    forms: dict[str, Callable[[], str]] = field(default_factory=dict)
    pager: bool = True
    save: str | None = None
    compare: Callable[[int], str] | None = None
    """What differs from a rollback, where the answer is a configuration."""
    refresh: Callable[[], str] | None = None
    """Makes the text anew, where it shall be shown again and again until the operator stops it."""


Filter = Callable[[Answer], Answer]


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression, case ignored as Junos does."""
    try:
        return re.compile(text, re.IGNORECASE)
    except re.error as e:
        raise UsageError(f"{text!r} is not a regular expression: {e}.") from None


def lines(change: Callable[[list[str]], Iterable[str]]) -> Filter:
    """A filter that changes the lines of the text."""

    def apply(answer: Answer) -> Answer:
        answer.text = "\n".join(change(answer.text.splitlines()))
        return answer

    return apply


def match(text: str) -> Filter:
    """Keeps lines that match."""
    wanted = pattern(text)
    return lines(lambda all_: [line for line in all_ if wanted.search(line)])


def except_(text: str) -> Filter:
    """Drops lines that match."""
    unwanted = pattern(text)
    return lines(lambda all_: [line for line in all_ if not unwanted.search(line)])


def find(text: str) -> Filter:
    """Begins at the first line that matches."""
    wanted = pattern(text)

    def change(all_: list[str]) -> list[str]:
        first = next((i for i, line in enumerate(all_) if wanted.search(line)), None)
        return all_[first:] if first is not None else ["Pattern not found"]

    return lines(change)


def count() -> Filter:
    """Says how many lines there are."""
    return lines(lambda all_: [f"Count: {len(all_)} line{'s' * (len(all_) != 1)}"])


def number(text: str, least: int = 1) -> int:
    """A whole number of a pipe."""
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise UsageError(f"{text!r} is not a number of at least {least}.")
    return int(text)


def last(text: str = "10") -> Filter:
    """Keeps the last lines."""
    keep = number(text)
    return lines(lambda all_: all_[-keep:])


def trim(text: str) -> Filter:
    """Cuts columns off the left of each line."""
    columns = number(text, 0)
    return lines(lambda all_: [line[columns:] for line in all_])


def no_more() -> Filter:
    """Shows all at once."""

    def apply(answer: Answer) -> Answer:
        answer.pager = False
        return answer

    return apply


def save(path: str) -> Filter:
    """Writes to a file instead of showing."""

    def apply(answer: Answer) -> Answer:
        answer.save = path
        return answer

    return apply


def display(form: str) -> Filter:
    """Shows another form of the same answer."""

    def apply(answer: Answer) -> Answer:
        if form in answer.forms:
            answer.text = answer.forms[form]()
        elif form == "json" and answer.data is not None:
            import json

            answer.text = json.dumps(answer.data, indent=2)
        else:
            raise UsageError(f"This answer has no {form} form: leave `| display {form}` out.")
        return answer

    return apply


def compare(text: str = "0") -> Filter:
    """Shows what differs from the running configuration, or from a rollback."""
    which = number(text, 0)

    def apply(answer: Answer) -> Answer:
        if not answer.compare:
            raise UsageError("Only a configuration can be compared: use it after show, in configuration mode.")
        answer.text = answer.compare(which)
        return answer

    return apply


REGEX = Choice("<pattern>", "A regular expression; quote it where it has blanks", value=True)
FORMS = {
    "json": "As JSON",
    "set": "As set commands",
    "xml": "As XML",
}
ROLLBACK = Choice("<number>", "1 is the configuration before the running one", value=True)


def value(what: Choice, make: Callable[..., Filter], optional: bool = False) -> State:
    """A pipe that needs (or may have) a value."""
    return Free(what, lambda word: Done(lambda: make(word)), act=make if optional else None)


PIPES: dict[str, tuple[str, Callable[[], State]]] = {
    "compare": (
        "Show what differs from the running configuration",
        lambda: Otherwise({"rollback": ("From an earlier one", lambda: value(ROLLBACK, compare))}, act=compare),
    ),
    "count": ("Count the lines", lambda: Done(count)),
    "display": (
        "Show another form",
        lambda: Keywords({f: (text, lambda f=f: Done(lambda: display(f))) for f, text in FORMS.items()}),
    ),
    "except": ("Leave out lines that match", lambda: value(REGEX, except_)),
    "find": ("Begin at the first line that matches", lambda: value(REGEX, find)),
    "last": ("Show the end only", lambda: value(Choice("<lines>", "How many (10)", value=True), last, optional=True)),
    "match": ("Show only lines that match", lambda: value(REGEX, match)),
    "no-more": ("Do not stop after each screen", lambda: Done(no_more)),
    "save": ("Write to a file", lambda: value(Choice("<file>", "Where to write", value=True), save)),
    "trim": ("Cut columns off the left", lambda: value(Choice("<columns>", "How many", value=True), trim)),
}
