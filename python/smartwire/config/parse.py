"""The text forms of a configuration, read: ``set`` lines and curly braces, guided by the schema.

Reading makes statements; :mod:`smartwire.config.load` carries them out on a configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from smartwire.config import words
from smartwire.config.schema import Invalid, Node, Path, Schema
from smartwire.errors import UsageError


class Statement(NamedTuple):
    """One thing that a text says."""

    do: str
    """set, delete, replace (what is there goes first), deactivate, activate or annotate."""
    path: Path
    value: Any = None


class Malformed(UsageError):
    """The text cannot be read; the sentence names the line."""


def given(schema: Schema, node: Node, text: str) -> Any:
    """A value that somebody typed: :meth:`Schema.parse`, and no stars in place of a secret."""
    if node.secret and set(text) == {"*"}:
        raise Invalid(f"{text} stands for a {node.name} that is not shown: give the {node.name} itself.")
    return schema.parse(node, text)


def assignments(schema: Schema, base: Path, tokens: list[str], block: bool = False) -> list[Statement]:
    """What ``set TOKENS`` at the edit level `base` says; several leaves of one container may follow each other.

    Args:
        schema: the schema.
        base: where the words begin.
        tokens: the words.
        block: entries of a list follow in braces, so a list without a name may end the words.

    Raises:
        Invalid: with a sentence.
    """
    if not tokens:
        raise Invalid("set what? Type ? to see what can be set.")
    found: list[Statement] = []
    at = 0
    while at < len(tokens):
        statement, base, at = _one(schema, base, tokens, at, block)
        found.append(statement)
    return found


def _one(schema: Schema, base: Path, tokens: list[str], at: int, block: bool) -> tuple[Statement, Path, int]:
    """(the next statement of the words, the level at which the words after it are, where they begin)."""
    node, entry = schema.locate(base)
    path = base
    while at < len(tokens):
        if node.kind == "list" and not entry:
            path, entry, at = (*path, tokens[at]), True, at + 1
            continue
        child = node.children.get(tokens[at])
        if child is None:
            schema.locate((*path, tokens[at]))  # raises the sentence
            raise Invalid(f"There is no {tokens[at]!r} here.")
        node, entry, path, at = child, False, (*path, tokens[at]), at + 1
        if node.is_leaf:
            value, at = _value(schema, node, path, tokens, at)
            return Statement("set", path, value), path[:-1], at
    if node.kind == "list" and not entry:
        if block and node.inner:
            return Statement("block", path), path, at
        raise Invalid(f"{words.join(path)} needs a name: {node.key.help if node.key else ''}")
    if node.kind == "list" and node.key:
        schema.parse(node.key, path[-1])
    return Statement("set", path), path, at


def _value(schema: Schema, node: Node, path: Path, tokens: list[str], at: int) -> tuple[Any, int]:
    """(the value that begins at `at`, where the words after it begin)."""
    if at == len(tokens):
        raise Invalid(f"{words.join(path)} needs a value: {node.typed}.")
    if tokens[at] != "[":
        value = given(schema, node, tokens[at])
        return ((value,) if node.kind == "leaf-list" else value), at + 1
    if node.kind == "leaf":
        raise Invalid(f"{words.join(path)} has one value, without brackets.")
    if "]" not in tokens[at:]:
        raise Invalid(f"The [ of {words.join(path)} is not closed by a ].")
    end = tokens.index("]", at)
    return tuple(given(schema, node, t) for t in tokens[at + 1 : end]), end + 1


def path_of(schema: Schema, base: Path, tokens: list[str]) -> Path:
    """The path that TOKENS name at the edit level `base`.

    Raises:
        Invalid: nothing like it can be configured.
    """
    path = (*base, *(t for t in tokens if t not in "[]"))
    schema.locate(path)
    return path


# ---- set lines -------------------------------------------------------------------------------------------------------


def set_lines(schema: Schema, base: Path, text: str) -> Iterator[Statement]:
    """What lines of set, delete, activate, deactivate and annotate say; comments (#) and empty lines say nothing.

    Raises:
        Malformed: the first line that cannot be read, with its number.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield from set_line(schema, base, words.split(line))
        except UsageError as e:
            raise Malformed(f"line {number}: {e}") from None


def set_line(schema: Schema, base: Path, tokens: list[str]) -> Iterator[Statement]:
    """What one such line says."""
    verb, rest = tokens[0], tokens[1:]
    if verb == "set":
        yield from assignments(schema, base, rest)
    elif verb in ("delete", "activate", "deactivate"):
        yield Statement(verb, path_of(schema, base, rest))
    elif verb == "annotate" and rest:
        yield Statement(verb, path_of(schema, base, rest[:-1]), rest[-1])
    else:
        raise Invalid(f"{verb!r} is none of set, delete, activate, deactivate and annotate.")


# ---- curly braces ----------------------------------------------------------------------------------------------------

TOKEN = re.compile(
    r'(?P<space>\s+|(?<![^\s;{}])\#[^\n]*)|(?P<note>/\*.*?\*/)|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<sign>[{};\[\]])'
    r'|(?P<word>[^\s{};\[\]"]+)|(?P<bad>.)',
    re.DOTALL,
)
TAGS = ("inactive:", "replace:", "delete:", "active:")


class _Reader:
    """The tokens of a text in braces, with their lines."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str, int]] = []
        line = 1
        for match in TOKEN.finditer(text):
            kind, token = match.lastgroup or "", match[0]
            if kind == "bad":
                raise Malformed(f"line {line}: a double quote is not closed.")
            if kind != "space":
                self.tokens.append((kind, words.unquote(token) if kind == "quoted" else token, line))
            line += token.count("\n")
        self.at = 0
        self.last_line = line

    def peek(self) -> tuple[str, str, int]:
        """The next token: (kind, text, line); kind is "" at the end."""
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "", self.last_line)

    def next(self) -> tuple[str, str, int]:
        """Takes the next token."""
        token = self.peek()
        self.at += 1
        return token


def curly(schema: Schema, base: Path, text: str) -> list[Statement]:
    """What a text in curly braces says, at the edit level `base`.

    Raises:
        Malformed: the first place that cannot be read, with its line.
    """
    reader = _Reader(text)
    found: list[Statement] = []
    _body(schema, base, reader, found, top=True)
    return found


def _body(schema: Schema, base: Path, reader: _Reader, found: list[Statement], top: bool) -> None:
    """Reads statements until the brace that closes them."""
    note = ""
    while True:
        kind, token, line = reader.peek()
        if kind == "":
            if not top:
                raise Malformed(f"line {line}: a {{ is not closed by a }}.")
            return
        if kind == "sign" and token == "}":
            if top:
                raise Malformed(f"line {line}: there is a }} too many.")
            reader.next()
            return
        if kind == "note":
            note = " ".join(token[2:-2].split())
            reader.next()
            continue
        try:
            _statement(schema, base, reader, found, note)
        except Malformed:
            raise
        except UsageError as e:
            raise Malformed(f"line {line}: {e}") from None
        note = ""


def _statement(schema: Schema, base: Path, reader: _Reader, found: list[Statement], note: str) -> None:
    """Reads one statement with its block."""
    tags, tokens, off = [], [], []
    while reader.peek()[0] == "word" and reader.peek()[1] in TAGS:
        tags.append(reader.next()[1])
    kind, token, line = reader.next()
    while kind in ("word", "quoted") or token in ("[", "]"):
        if kind == "word" and token == "inactive:" and "[" in tokens:
            off.append(reader.peek()[1])
        else:
            tokens.append(token)
        kind, token, line = reader.next()
    if not tokens or token not in ("{", ";") or kind != "sign":
        what = f"{token!r} is not expected here" if kind else "the text ends within a statement"
        raise Malformed(f"line {line}: {what}; a statement ends with ; or has its own in {{ }}.")
    if "delete:" in tags:
        found.append(Statement("delete", path_of(schema, base, tokens)))
        if token == "{":
            _body(schema, found[-1].path, reader, [], top=False)
        return
    said = assignments(schema, base, tokens, block=token == "{")
    target = said[-1].path
    if "replace:" in tags:
        found.append(Statement("replace", target))
    found += [s for s in said if s.do != "block"]
    if token == "{":
        if schema.find(target).is_leaf:
            raise Invalid(f"{words.join(target)} has a value, not a block.")
        _body(schema, target, reader, found, top=False)
    if "inactive:" in tags:
        found.append(Statement("deactivate", target))
    if "active:" in tags:
        found.append(Statement("activate", target))
    found += [Statement("deactivate", (*target, value)) for value in off]
    if note:
        found.append(Statement("annotate", target, note))
