"""Operational commands: registered functions whose signature is their grammar, their completion and their help.

Positional parameters are words in a row, the others are given by name (those without a default have to be); a flag is
its name alone::

    @command("request wire drain", permission="operate")
    def drain(session, wire: WireName, *, limit: Seconds = 60) -> Answer:
        \"""Stop optimizing the connections there are, deliver what is held, lose nothing.

        wire: the wire.
        limit: how long it may take.
        \"""

is ``request wire drain north limit 30``. Words of a command's name may be shortened as long as one command is meant.
"""

from __future__ import annotations

import importlib
import inspect
import ipaddress
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

from smartwire.config import words
from smartwire.config.schema import Option
from smartwire.errors import UsageError
from smartwire.wire import target

WireName = Annotated[str, "WireName"]
UserName = Annotated[str, "UserName"]
Seconds = Annotated[int, "Seconds"]
Number = Annotated[int, "Number"]
Port = Annotated[int, "Port"]
Address = Annotated[str, "Address"]
FileName = Annotated[str, "FileName"]
Pattern = Annotated[str, "Pattern"]
Target = Annotated[dict[str, Any] | None, "Target"]


class Answer(NamedTuple):
    """What a command says: as a person reads it, and as a program does."""

    text: str
    data: Any = None


class Kind(NamedTuple):
    """What a parameter's type means: its words, and those that can be listed."""

    placeholder: str
    parse: Callable[[str], Any]
    known: Callable[[Any], Iterable[str]]


def _nothing(session: Any) -> Iterable[str]:
    return ()


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise UsageError(f"{text!r} is not in {low}..{high}.")
        return int(text)

    return parse


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise UsageError(f"{text!r} is no IPv4 or IPv6 address.") from None


KINDS: dict[Any, Kind] = {
    WireName: Kind("<wire>", str, lambda s: s.engine.running.config.names(("wires",))),
    UserName: Kind("<user>", str, lambda s: s.engine.running.config.names(("system", "login", "user"))),
    Seconds: Kind("<seconds>", _whole(0, 86400), _nothing),
    Number: Kind("<number>", _whole(0, 1_000_000), _nothing),
    Port: Kind("<port>", _whole(1, 65535), _nothing),
    Address: Kind("<address>", _address, _nothing),
    FileName: Kind("<file>", str, _nothing),
    Pattern: Kind("<name>", str, _nothing),
    Target: Kind("<subscriber-or-connection>", target.parse, _nothing),
    str: Kind("<text>", str, _nothing),
}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a command."""

    name: str
    type: Any
    help: str
    required: bool
    named: bool

    @property
    def kind(self) -> Kind:
        """What its type means."""
        return KINDS[self.type]

    @property
    def usage(self) -> str:
        """How it is typed."""
        if not self.named:
            return self.kind.placeholder
        shown = self.name if self.type is bool else f"{self.name} {self.kind.placeholder}"
        return shown if self.required else f"[{shown}]"


class Command:
    """A registered function.

    Args:
        name: its words.
        function: takes the session, and the parameters.
        permission: view, operate or everything.
    """

    def __init__(self, name: tuple[str, ...], function: Callable[..., Answer], permission: str) -> None:
        self.name, self.function, self.permission = name, function, permission
        text = inspect.getdoc(function) or ""
        self.help = text.partition("\n")[0]
        described = dict(line.split(": ", 1) for line in text.splitlines()[1:] if ": " in line)
        hints = typing.get_type_hints(function, include_extras=True)
        self.parameters = [
            Parameter(
                p.name.replace("_", "-"),
                hints[p.name],
                described.get(p.name, ""),
                p.default is p.empty,
                p.kind is p.KEYWORD_ONLY,
            )
            for p in list(inspect.signature(function).parameters.values())[1:]
        ]

    def bind(self, tokens: list[str]) -> dict[str, Any]:
        """The arguments that words after the name mean.

        Raises:
            UsageError: with a sentence, and the grammar.
        """
        given: dict[str, Any] = {}
        rest = list(tokens)
        for parameter in (p for p in self.parameters if not p.named):
            if not rest:
                raise UsageError(f"{parameter.name} is missing: {self.usage}")
            given[parameter.name] = parameter.kind.parse(rest.pop(0))
        named = {p.name: p for p in self.parameters if p.named}
        while rest:
            word = rest.pop(0)
            found = [n for n in named if n.startswith(word)]
            if len(found) != 1:
                raise UsageError(f"{word!r} is not expected here: {self.usage}")
            parameter = named.pop(found[0])
            if parameter.type is bool:
                given[parameter.name] = True
            elif not rest:
                raise UsageError(f"{parameter.name} needs a value: {self.usage}")
            else:
                given[parameter.name] = parameter.kind.parse(rest.pop(0))
        if missing := [name for name, parameter in named.items() if parameter.required]:
            raise UsageError(f"{missing[0]} is missing: {self.usage}")
        return {name.replace("-", "_"): value for name, value in given.items()}

    @property
    def usage(self) -> str:
        """The grammar, on one line."""
        return " ".join([*self.name, *(p.usage for p in self.parameters)])

    def options(self, session: Any, before: list[str]) -> list[Option]:
        """What may follow the words after the name."""
        in_a_row = [p for p in self.parameters if not p.named]
        if len(before) < len(in_a_row):
            return self._values(session, in_a_row[len(before)])
        named = {p.name: p for p in self.parameters if p.named}
        rest = before[len(in_a_row) :]
        while rest:
            word = rest.pop(0)
            found = [n for n in named if n.startswith(word)]
            if len(found) != 1:
                return []
            parameter = named.pop(found[0])
            if parameter.type is not bool:
                if not rest:
                    return self._values(session, parameter)
                rest.pop(0)
        whole = not any(p.required for p in named.values())
        enter = [Option("", "Execute this command", "enter")] if whole else []
        return [*enter, *(Option(p.name, p.help, "leaf") for p in named.values())]

    def _values(self, session: Any, parameter: Parameter) -> list[Option]:
        kind = parameter.kind
        known = [Option(name, parameter.help, "reference") for name in kind.known(session)]
        return [*known, Option(kind.placeholder, parameter.help, "value")]


COMMANDS: dict[tuple[str, ...], Command] = {}
MODULES = [
    f"smartwire.config.{name}"
    for name in ("operations", "reports", "backup", "overview", "looks", "software", "proxied")
]
"""Modules that register commands; others append their own before the first command is run."""


def command(name: str, permission: str = "view") -> Callable[[Callable[..., Answer]], Callable[..., Answer]]:
    """Registers a function as an operational command."""

    def register(function: Callable[..., Answer]) -> Callable[..., Answer]:
        key = tuple(name.split())
        COMMANDS[key] = Command(key, function, permission)
        return function

    return register


def loaded() -> dict[tuple[str, ...], Command]:
    """All commands."""
    for module in MODULES:
        importlib.import_module(module)
    return COMMANDS


def find(tokens: list[str]) -> tuple[Command, list[str]]:
    """(the command that the words begin with, the words after its name).

    Raises:
        UsageError: there is none, or more than one could be meant.
    """
    fit, at = list(loaded().values()), 0
    while at < len(tokens) and (close := _fitting(fit, at, tokens[at])):
        if len(possible := {c.name[at] for c in close}) > 1:
            raise UsageError(f"{tokens[at]!r} is ambiguous: {', '.join(sorted(possible))}.")
        fit, at = close, at + 1
    for found in fit:
        if len(found.name) == at:
            return found, tokens[at:]
    names = ", ".join(sorted({c.name[at] for c in fit if len(c.name) > at}))
    if at < len(tokens):
        raise UsageError(f"There is no command {words.join(tokens)}: {words.join(tokens[at:][:1])} is none of {names}.")
    raise UsageError(f"The command is not complete; after {words.join(tokens)} comes one of: {names}.")


def _fitting(commands: list[Command], at: int, word: str) -> list[Command]:
    """Those whose name has this word at this place, or one that begins so."""
    longer = [c for c in commands if len(c.name) > at]
    return [c for c in longer if c.name[at] == word] or [c for c in longer if c.name[at].startswith(word)]


def run(session: Any, line: str) -> dict[str, Any]:
    """Runs a command line for a session; see :meth:`smartwire.config.session.Session.run`.

    Raises:
        UsageError: there is no such command.
        AccessDenied: the user may not use it.
    """
    found, rest = find(words.split(line))
    session.need(found.permission, found.name)
    arguments = found.bind(rest)
    if found.permission != "view":
        session.engine.note("command", *session.who, text=line)
    answer = found.function(session, **arguments)
    return {"text": answer.text, "data": answer.data}


def options(session: Any, before: list[str]) -> list[Option]:
    """What may follow `before` (whole words) of a command line; commands that the user may not use are left out."""
    fit = [c for c in loaded().values() if _allowed(session, c)]
    for at, token in enumerate(before):
        close = _fitting(fit, at, token)
        if not close:
            whole = [c for c in fit if len(c.name) == at]
            return whole[0].options(session, before[at:]) if whole else []
        fit = close
    at = len(before)
    found = [o for c in fit if len(c.name) == at for o in c.options(session, [])]
    longer = [c for c in fit if len(c.name) > at]
    for word in sorted({c.name[at] for c in longer}):
        under = [c for c in longer if c.name[at] == word]
        text = under[0].help if len(under) == 1 else GROUPS.get((*before, word), f"{word} ...")
        found.append(Option(word, text, "leaf" if len(under) == 1 else "container"))
    return found


def _allowed(session: Any, command: Command) -> bool:
    try:
        session.need(command.permission, command.name)
    except Exception:
        return False
    return True


GROUPS = {
    ("show",): "Show the state of the box",
    ("show", "system"): "Show commits, users, the audit log",
    ("request",): "Do something to the box",
    ("request", "proxy"): "A new container, or a new HAProxy, for a wire's proxy",
    ("request", "alarm"): "Take note of an alarm",
    ("request", "support"): "Write an archive for support",
    ("request", "wire"): "Drain, bypass, resume or capture a wire",
    ("request", "system"): "Rescue configuration, backup and restore, software",
    ("request", "system", "software"): "Upgrade without a reset, and go back",
    ("clear",): "Clear something",
    ("test",): "Ask what would become of a connection",
}
"""What is said of words under which there are several commands."""
