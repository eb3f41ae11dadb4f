"""Prefix lists: named sets of prefixes, given in the configuration or in files beside it.

A file has one prefix a line; ``#`` begins a comment. Its content is part of a commit: the commit keeps a copy under the
hash of the content, and a rollback brings that copy back.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator
from typing import NamedTuple

from smartwire.config import words

LONGEST = 131_072
"""Prefixes that a list may have: what the classifier of the data plane holds at a flat cost."""

SHOWN = 20
"""Bad lines of a file that are named; the others are counted."""


class Snapshot(NamedTuple):
    """The content of a list's file at one moment."""

    digest: str
    content: bytes

    @classmethod
    def of(cls, content: bytes) -> Snapshot:
        """With the hash that the content is known by."""
        return cls(hashlib.sha256(content).hexdigest(), content)


def said(content: bytes) -> Iterator[tuple[int, str]]:
    """(line number, what it says) of every line that says something."""
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if words_of_line := line.partition("#")[0].strip():
            yield number, words_of_line


def prefixes(content: bytes) -> list[str]:
    """The prefixes of a content that has been checked."""
    return [text for _, text in said(content)]


class Checker:
    """Checks contents, each one once: what was found is remembered by its hash."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, ...]] = {}

    def sentences(self, snapshot: Snapshot) -> tuple[str, ...]:
        """What is wrong with the content, a sentence per bad line; empty if it is good."""
        if snapshot.digest not in self.found:
            if len(self.found) >= 256:
                self.found.clear()
            self.found[snapshot.digest] = tuple(check(snapshot.content))
        return self.found[snapshot.digest]


def check(content: bytes) -> list[str]:
    """What is wrong with the content of a prefix list's file, a sentence per bad line."""
    bad: list[str] = []
    more = 0
    count = 0
    seen: dict[str, int] = {}
    for number, text in said(content):
        count += 1
        sentence = None
        try:
            ipaddress.ip_network(text)
        except ValueError:
            sentence = words.check_prefix(text)
        if sentence is None and seen.setdefault(text, number) != number:
            sentence = f"{text} is there twice, in line {seen[text]} too."
        if sentence is None:
            continue
        if len(bad) < SHOWN:
            bad.append(f"line {number}: {sentence}")
        else:
            more += 1
    if more:
        bad.append(f"and {more} more lines.")
    if count > LONGEST:
        bad.append(f"it has {count} prefixes; a list may have {LONGEST}: split it into several lists.")
    if count == 0:
        bad.append("it has no prefix in it.")
    return bad
