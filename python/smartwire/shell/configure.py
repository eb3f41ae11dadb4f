"""Configuration mode: the verbs, each with the words that may follow it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smartwire.errors import Error, UsageError
from smartwire.files import read_text
from smartwire.shell.grammar import Choice, Keywords, State
from smartwire.shell.pipes import Answer
from smartwire.shell.places import Done, Free, Otherwise, Where, phrase
from smartwire.shell.words import join

if TYPE_CHECKING:
    from smartwire.shell.shell import Shell


@dataclass(frozen=True)
class Number:
    """A whole number from `least` to `most`."""

    choice: Choice
    least: int
    most: int

    def parse(self, word: str) -> int:
        """The number; raises UsageError with a sentence."""
        if not word.isascii() or not word.isdigit() or not self.least <= int(word) <= self.most:
            raise UsageError(f"{word!r} is not a whole number in {self.least}..{self.most}.")
        return int(word)


MINUTES = Number(Choice("<minutes>", "Minutes until it is rolled back (1..65535, default 10)", value=True), 1, 65535)
LEVELS = Number(Choice("<levels>", "How many levels (default 1)", value=True), 1, 64)
ROLLBACK = Number(Choice("<number>", "0 is the running configuration, 1 the one before it", value=True), 0, 49)
TEXT = Choice("<text>", "In double quotes where it has blanks", value=True)
FILE = Choice("<file>", "File name", value=True)


def verbs(shell: Shell) -> Keywords:
    """All that may be typed in configuration mode."""
    session = shell.session

    def path(verb: str, act: Callable[[str], object], empty: bool = False) -> Callable[[], State]:
        return lambda: Where(options(shell, verb), lambda words: act(join(words)), empty=empty, anywhere=verb != "set")

    def quietly(act: Callable[[str], object]) -> Callable[[str], Answer]:
        def do(text: str) -> Answer:
            act(text)
            return Answer()

        return do

    return Keywords(
        {
            "activate": ("Make a deactivated part effective again", path("activate", quietly(session.activate))),
            "annotate": ("Put a comment on a part", lambda: annotate(shell)),
            "commit": ("Check the candidate and make it the running configuration", lambda: commit(shell)),
            "copy": ("Copy a part under another name", lambda: other_name(shell, "copy", session.copy)),
            "deactivate": ("Keep a part, without effect", path("deactivate", quietly(session.deactivate))),
            "delete": ("Remove a part", path("delete", lambda text: delete(shell, text), empty=True)),
            "edit": ("Go to a part, so that paths begin there", path("edit", quietly(shell.edit))),
            "exit": ("Leave this level, or configuration mode at the top", lambda: leave(shell)),
            "insert": ("Move a part before or after another, where the order counts", lambda: insert(shell)),
            "load": ("Load configuration from a file or the terminal", lambda: load(shell)),
            "quit": ("Leave this level, or configuration mode at the top", lambda: leave(shell)),
            "rename": ("Give a part another name", lambda: other_name(shell, "rename", session.rename)),
            "rollback": ("Make the candidate an earlier configuration", lambda: rollback(shell)),
            "run": ("Run an operational command", shell.operational),
            "save": ("Save the candidate to a file", lambda: Free(FILE, lambda f: Done(lambda: save(shell, f)))),
            "set": ("Set a value or create a part", path("set", quietly(session.set))),
            "show": ("Show the candidate", path("show", lambda text: show(shell, text), empty=True)),
            "status": ("Show who edits the configuration", lambda: Done(lambda: Answer("\n".join(session.status())))),
            "top": ("Go to the top, or run one command from there", lambda: Done(shell.top)),
            "up": ("Go up one level or more, or run one command from there", lambda: up(shell)),
        }
    )


def options(shell: Shell, verb: str) -> Callable[[Iterable[str]], Iterable]:
    """What the session offers behind the words of a verb's path."""
    return lambda words: shell.session.options(verb, [*words, ""])


def show(shell: Shell, text: str) -> Answer:
    """The candidate at a path."""
    session = shell.session

    def form(name: str) -> Callable[[], str]:
        return lambda: session.show(text, form=name)

    return Answer(
        session.show(text, form="text"),
        forms={name: form(name) for name in ("set", "json", "xml")},
        compare=lambda n: session.compare(n or None),
    )


def delete(shell: Shell, text: str) -> Answer:
    """Removes a part; everything only after a question."""
    if not text and not shell.ask("Delete everything under this level? [yes,no] (no) "):
        return Answer()
    shell.session.delete(text)
    return Answer()


def annotate(shell: Shell) -> State:
    """annotate PATH "text"."""

    def act(words: list[str], comment: str) -> Answer:
        shell.session.annotate(join(words), comment)
        return Answer()

    what = Choice("<comment>", "The comment, in double quotes; an empty one removes it", value=True, text=True)
    text = (what, lambda words, comment: Done(lambda: act(words, comment)))
    return Where(options(shell, "annotate"), None, text=text, anywhere=True)


def other_name(shell: Shell, verb: str, act: Callable[[str, str], object]) -> State:
    """rename or copy PATH to NAME."""

    def to(words: list[str]) -> State:
        def do(name: str) -> Answer:
            act(join(words), name)
            return Answer()

        return Free(Choice("<name>", "The other name", value=True), lambda name: Done(lambda: do(name)))

    return Where(options(shell, verb), None, tails={"to": ("The other name follows", to)})


def insert(shell: Shell) -> State:
    """insert PATH before|after NAME."""

    def place(where: str, words: list[str]) -> State:
        def do(name: str) -> Answer:
            shell.session.insert(join(words), where, name)
            return Answer()

        def siblings() -> list[Choice]:
            offers = shell.session.options("insert", [*words[:-1], ""])
            return [Choice(o.word, phrase(o.help)) for o in offers if o.kind == "key" and o.word != words[-1]]

        return Free(Choice("<name>", "One that is there", value=True), lambda n: Done(lambda: do(n)), siblings)

    tails = {
        "after": ("Behind the one that follows", lambda words: place("after", words)),
        "before": ("In front of the one that follows", lambda words: place("before", words)),
    }
    return Where(options(shell, "insert"), None, tails=tails)


# ---- leaving -----------------------------------------------------------------------------------------------------


def leave(shell: Shell) -> State:
    """exit [configuration-mode]."""
    words = {"configuration-mode": ("Leave configuration mode from any level", lambda: Done(shell.leave))}
    return Otherwise(words, act=shell.back)


def up(shell: Shell) -> State:
    """up [N]."""
    return Free(LEVELS.choice, lambda n: Done(lambda: shell.up(LEVELS.parse(n))), act=shell.up)


# ---- files -------------------------------------------------------------------------------------------------------


def save(shell: Shell, name: str) -> Answer:
    """Writes the candidate, on the operator's side; secrets are stars."""
    return Answer(shell.session.show("", form="text"), save=name)


def load(shell: Shell) -> State:
    """load merge|override|replace|set FILE|terminal."""
    from smartwire.config.load import WAYS

    def way(name: str) -> State:
        def terminal() -> Answer:
            return act(shell.read("[Type ^D at a new line to end input]"))

        def act(text: str) -> Answer:
            shell.session.load(name, text)
            return Answer("load complete")

        def file(path: str) -> Answer:
            return act(read_text(Path(path).expanduser()))

        known = lambda: [Choice("terminal", "Type or paste it, ended by ^D on a line of its own")]  # noqa: E731
        return Free(FILE, lambda f: Done(terminal if f == "terminal" else lambda: file(f)), known)

    return Keywords({name: (text, lambda name=name: way(name)) for name, text in WAYS.items()})


def rollback(shell: Shell) -> State:
    """rollback [N|rescue]."""

    def act(which: int | str) -> Answer:
        shell.session.rollback(which)
        return Answer("load complete")

    def known() -> list[Choice]:
        return [*(Choice(str(c["n"]), said(c)) for c in shell.session.history()), RESCUE]

    def then(word: str) -> State:
        which = word if word == "rescue" else ROLLBACK.parse(word)
        return Done(lambda: act(which))

    return Free(ROLLBACK.choice, then, known, act=lambda: act(0))


def said(commit: dict[str, Any]) -> str:
    """A commit of the history in a phrase."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(commit["time"]))
    source = f" via {commit['source']}" if commit["source"] else ""
    comment = f": {commit['comment']}" if commit["comment"] else ""
    return f"{when} by {commit['user']}{source}{comment}"


RESCUE = Choice("rescue", "The rescue configuration")


# ---- commit ------------------------------------------------------------------------------------------------------


def commit(shell: Shell, comment: str = "", confirmed: int | None = None, quit_after: bool = False) -> State:
    """commit [check | confirmed [MINUTES] | comment TEXT | and-quit]: the last three in any order."""
    plain = not (comment or confirmed or quit_after)
    words: dict[str, tuple[str, Callable[[], State]]] = {}

    def more(**given: object) -> State:
        return commit(shell, **{"comment": comment, "confirmed": confirmed, "quit_after": quit_after} | given)

    if plain:
        words["check"] = ("Check the candidate and change nothing", lambda: Done(lambda: check(shell)))
    if not comment:
        words["comment"] = ("Say why, for the log", lambda: Free(TEXT, lambda text: more(comment=text)))
    if confirmed is None:
        words["confirmed"] = ("Roll back by itself unless confirmed in time", lambda: Confirmed(more))
    if not quit_after:
        words["and-quit"] = ("Leave configuration mode afterwards", lambda: more(quit_after=True))

    return Otherwise(words, act=lambda: carry_out(shell, comment, confirmed, quit_after))


class Confirmed(State):
    """Behind `confirmed`: minutes, or what else may follow commit."""

    ends = True

    def __init__(self, more: Callable[..., State]) -> None:
        self.more = more
        self.default = more(confirmed=10)

    def choices(self) -> Iterable[Choice]:
        """Minutes, or the other words."""
        return [*self.default.choices(), MINUTES.choice]

    def step(self, word: str) -> State:
        """Takes the minutes, or goes on with ten."""
        if any(c.word == word for c in self.default.choices()):
            return self.default.step(word)
        return self.more(confirmed=MINUTES.parse(word))

    def run(self) -> object:
        """With ten minutes."""
        return self.default.run()


def check(shell: Shell) -> Answer:
    """commit check: says all that is wrong."""
    problems = shell.session.check()
    report = "\n".join(str(p) for p in problems)
    if any(p.severity == "error" for p in problems):
        raise Error(f"{report}\nconfiguration check failed")
    return Answer("\n".join(filter(None, [report, "configuration check succeeds"])))


def carry_out(shell: Shell, comment: str, confirmed: int | None, quit_after: bool) -> Answer:
    """commit, with all that is wrong or remarkable."""
    done = shell.session.commit(comment=comment, confirmed=confirmed)
    lines = [str(p) for p in done.warnings]
    if confirmed:
        lines.append(f"commit confirmed will be automatically rolled back in {confirmed} minutes unless confirmed")
    lines.append("commit complete")
    if quit_after:
        lines.append(shell.leave().text)
    return Answer("\n".join(lines), pager=False)
