"""A command line as a command and its pipes, and words as a line."""

from __future__ import annotations

from collections.abc import Iterable

from smartwire.config.words import Word, quote


def join(words: Iterable[str]) -> str:
    """Words as one line; brackets stay brackets."""
    return " ".join(word if word in ("[", "]") else quote(word) for word in words)


def stages(words: list[Word]) -> list[list[Word]]:
    """The command and its pipes: the words between unquoted `|`."""
    parts: list[list[Word]] = [[]]
    for word in words:
        if word.is_("|"):
            parts.append([])
        else:
            parts[-1].append(word)
    return parts
