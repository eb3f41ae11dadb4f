"""Operational mode: the commands that the configuration engine knows, `show configuration` and `monitor`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from smartwire.shell import configure
from smartwire.shell.grammar import Keywords, State
from smartwire.shell.pipes import Answer
from smartwire.shell.places import Done, Offer, Otherwise, Where, phrase
from smartwire.shell.words import join

if TYPE_CHECKING:
    from smartwire.shell.shell import Shell

MODES = {
    "exclusive": "Nobody else may commit; uncommitted edits are lost on leaving",
    "private": "A copy of your own",
    "shared": "The candidate that all share (as without a word)",
}
WATCHED = ("wires", "flows", "subscribers", "alarms", "counters")
"""What `monitor` may follow."""


class Extra(NamedTuple):
    """An offer of the shell's own."""

    word: str
    help: str
    kind: str = "leaf"


class Commands(Keywords):
    """What a line may begin with in operational mode (or after `run`)."""

    def __init__(self, shell: Shell) -> None:
        def place(first: str) -> State:
            return Where(lambda words: offers(shell, words), lambda words: act(shell, words), [first])

        self.words = {o.word: (phrase(o.help), lambda w=o.word: place(w)) for o in offers(shell, [])}
        if not shell.configuring:
            self.words["configure"] = ("Edit the configuration", lambda: enter(shell))
            self.words["exit"] = self.words["quit"] = ("Leave", lambda: Done(shell.quit))


def offers(shell: Shell, words: Sequence[str]) -> Iterable[Offer]:
    """What may follow the words of an operational command."""
    if list(words[:2]) == ["show", "configuration"]:
        return [*shell.session.options("show", [*words[2:], ""]), Extra("", "Done", "enter")]
    if words[:1] == ["monitor"]:
        found = shell.session.options("run", ["show", *words[1:], ""])
        return found if words[1:] else [o for o in found if o.word in WATCHED]
    found = list(shell.session.options("run", [*words, ""]))
    if not words:
        found.append(Extra("monitor", "Show something again every second, until q", "container"))
    if list(words) == ["show"]:
        found.append(Extra("configuration", "Show the running configuration", "container"))
    return found


def act(shell: Shell, words: list[str]) -> Answer:
    """Runs an operational command."""
    if words[:2] == ["show", "configuration"]:
        return configure.show(shell, join(words[2:]))
    if words[0] == "monitor":
        line = join(["show", *words[1:]])
        return Answer(shell.session.run(line)["text"], refresh=lambda: shell.session.run(line)["text"])
    answer = shell.session.run(join(words))
    return Answer(answer["text"], answer["data"])


def enter(shell: Shell) -> State:
    """configure [shared|private|exclusive]."""
    words = {mode: (text, lambda mode=mode: Done(lambda: shell.enter(mode))) for mode, text in MODES.items()}
    return Otherwise(words, act=lambda: shell.enter("shared"))
