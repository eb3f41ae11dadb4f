"""Loading a text into a configuration: merge, override, replace, set; and JSON."""

from __future__ import annotations

from collections.abc import Iterable

from smartwire.config import parse, words
from smartwire.config.parse import Statement
from smartwire.config.schema import Path, Schema
from smartwire.config.tree import Config
from smartwire.errors import Error, UsageError

WAYS = {
    "merge": "Add to what is there; where both say something, the text counts",
    "override": "Replace the whole configuration by the text",
    "replace": "As merge, but what the text marks with replace: is replaced",
    "set": "Carry out lines of set, delete, deactivate, activate and annotate",
}


def load(config: Config, way: str, text: str, base: Path = ()) -> Config:
    """The configuration after loading the text at the edit level `base`.

    Raises:
        UsageError: the text cannot be read, or says what cannot be configured; the sentence names the line.
    """
    if way == "set":
        return carry_out(config, parse.set_lines(config.schema, base, text))
    if way not in WAYS:
        raise UsageError(f"{way!r} is none of {', '.join(WAYS)}.")
    statements = parse.curly(config.schema, base, text)
    if way == "override":
        if base:
            raise UsageError("load override replaces the whole configuration: go to the top first.")
        config = Config(config.schema)
    if way != "replace":
        statements = [s for s in statements if s.do != "replace"]
    return carry_out(config, statements)


def carry_out(config: Config, statements: Iterable[Statement]) -> Config:
    """The configuration after all statements.

    Raises:
        Error: the first that cannot be carried out.
    """
    for do, path, value in statements:
        if do == "set":
            config = config.set(path, value)
        elif do == "replace":
            config = config.delete(path) if config.has(path) else config
        elif do == "delete":
            config = config.delete(path)
        elif do == "deactivate":
            config = config.deactivate(path)
        elif do == "activate":
            config = config.activate(path)
        elif do == "annotate":
            config = config.annotate(path, value)
        else:
            raise Error(f"{do} {words.join(path)}: there is no such statement.")
    return config


def read(schema: Schema, text: str) -> Config:
    """The configuration that a text in braces is."""
    return load(Config(schema), "override", text)
