"""How faces talk to smartwired: a Unix socket that carries one JSON document per line. One connection is one session.

A request is ``{"id": N, "do": NAME, "args": [...], "kw": {...}}``; ``do`` is ``login`` first, then a method of
:class:`smartwire.config.session.Session` that is in ``VERBS``. The answer is ``{"id": N, "ok": RESULT}`` or
``{"id": N, "error": SENTENCE, "exit_code": N, "kind": CLASS, "problems": [...]}``. ``{"tell": SENTENCE}`` may come at
any time. Root is known by the socket, and so is a user of the machine who is a configured user; all others give user
and password. A face that serves people of other machines says ``by_password``, and the socket then vouches for nobody.
``greeting`` is answered before a login: the box's name and the banner.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import pwd
import socket
import struct
import types
import typing
from collections.abc import Callable
from typing import Any

from smartwire.config.access import ROOT, AccessDenied
from smartwire.config.engine import CommitFailed, Engine
from smartwire.config.session import Session
from smartwire.errors import Error, UsageError

VERBS = (
    "configure", "leave", "status", "edit", "up", "top", "set", "delete", "rename", "copy", "insert", "activate",
    "deactivate", "annotate", "load", "rollback", "show", "compare", "history", "check", "commit", "run", "options",
    "about", "whoami",
)  # fmt: skip
LONGEST = 32 << 20
"""Bytes of a request: a configuration with a long prefix list in it."""


class Answerer:
    """What one connection can ask. Pure: takes a line, returns a line.

    Args:
        engine: the engine.
        peer: the user that the other end runs as, by the socket; None if nobody can say.
        source: where the connection comes from, for logs.
    """

    def __init__(self, engine: Engine, peer: str | None, source: str) -> None:
        self.engine, self.peer, self.source = engine, peer, source
        self.session: Session | None = None

    def answer(self, line: bytes) -> bytes:
        """The answer to a request; a sentence for whatever is wrong with it."""
        number: Any = None
        try:
            number, do, args, kw = _request(line)
            document: dict[str, Any] = {"id": number, "ok": plain(self.call(do, args, kw))}
        except Error as e:
            document = {"id": number, "error": str(e), "exit_code": e.exit_code, "kind": type(e).__name__}
            if isinstance(e, CommitFailed):
                document["problems"] = e.problems
        except Exception as e:
            document = {"id": number, "error": f"internal error in smartwired: {type(e).__name__}: {e}", "exit_code": 1}
        return json.dumps(document).encode() + b"\n"

    def call(self, do: str, args: list[Any], kw: dict[str, Any]) -> Any:
        """Carries out one request."""
        if do == "login":
            fit(self.login, args, kw)
            return self.login(*args, **kw)
        if do == "greeting":
            return self.greeting()
        if self.session is None:
            raise AccessDenied("Log in first.")
        if do == "close":
            self.close()
            return None
        if do not in VERBS:
            raise UsageError(f"smartwired does not know {do!r}: the two are of different versions.")
        method: Callable[..., Any] = getattr(self.session, do)
        fit(method, args, kw)
        return method(*args, **kw)

    def greeting(self) -> dict[str, Any]:
        """What whoever is to log in may know: the name of the box, and ``system login message``."""
        config = self.engine.running.config.active()
        banner = config.get(("system", "login", "message"))
        return {"host_name": config.value(("system", "host-name")), "message": banner}

    def login(
        self, user: str = "", password: str = "", source: str = "", by_password: bool = False
    ) -> dict[str, Any]:
        """Begins the session: as the user that the socket names, or by a password."""
        if self.session:
            raise UsageError("This connection is logged in already.")
        where = f"{source[:64] if source.isprintable() else ''} {self.source}".strip()
        if not by_password and self.peer is not None and user in ("", self.peer):
            known = self.peer == ROOT or self.peer in self.engine.running.config.names(("system", "login", "user"))
            if known:
                self.session = self.engine.session(self.peer, where)
        if self.session is None:
            self.session = self.engine.login(user, password, where)
        return self.session.whoami()

    def close(self) -> None:
        """The other end is gone."""
        if self.session:
            self.session.close()
            self.session = None


def _request(line: bytes) -> tuple[Any, str, list[Any], dict[str, Any]]:
    """A request's parts.

    Raises:
        UsageError: it is none.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise UsageError("This is no request: one JSON document per line.") from None
    if not isinstance(document, dict):
        raise UsageError("This is no request: it must be an object.")
    do, args, kw = document.get("do"), document.get("args", []), document.get("kw", {})
    if not isinstance(do, str) or not isinstance(args, list) or not isinstance(kw, dict):
        raise UsageError('This is no request: {"id": N, "do": NAME, "args": [...], "kw": {...}}.')
    number = document.get("id")
    return number if isinstance(number, (int, str)) else None, do, args, kw


def fit(function: Callable[..., Any], args: list[Any], kw: dict[str, Any]) -> None:
    """Raises UsageError unless the function can be called with these arguments, by its signature's types."""
    try:
        bound = inspect.signature(function).bind(*args, **kw)
    except TypeError as e:
        raise UsageError(f"{function.__name__}: {e}.") from None
    hints = typing.get_type_hints(function)
    for name, value in bound.arguments.items():
        if not _is(value, hints[name]):
            raise UsageError(f"{function.__name__}: {name} is of the wrong type.")


def _is(value: Any, hint: Any) -> bool:
    """True if a JSON value is of an annotated type."""
    if isinstance(hint, types.UnionType):
        return any(_is(value, one) for one in hint.__args__)
    if typing.get_origin(hint) is list:
        return isinstance(value, list) and all(_is(v, hint.__args__[0]) for v in value)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is None or hint is type(None):
        return value is None
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def plain(value: Any) -> Any:
    """A result as JSON has it; named tuples become arrays by themselves."""
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def peer_of(connection: socket.socket) -> tuple[str | None, int]:
    """(the user that the other end of a Unix socket runs as, its process)."""
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", packed)
    try:
        return (ROOT if uid == 0 else pwd.getpwuid(uid).pw_name), pid
    except KeyError:
        return None, pid
