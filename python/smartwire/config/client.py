"""A session of smartwired from another process: the same methods as :class:`smartwire.config.session.Session`.

``with connect() as session: session.configure("private"); session.set("wires north workers 2"); session.commit()``
"""

from __future__ import annotations

import json
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartwire.config.api import VERBS
from smartwire.config.engine import Commit, CommitFailed
from smartwire.config.schema import Option, Problem
from smartwire.errors import Error, NotThere, UsageError
from smartwire.wire import ownership

MOVES = ("edit", "up", "top")
KINDS: dict[int, type[Error]] = {1: Error, 2: UsageError, 3: NotThere}


class LoginNeeded(Error):
    """The socket does not say who this is: user and password are needed."""


def connect(
    user: str = "", password: str = "", source: str = "", tell: Callable[[str], None] | None = None,
    path: Path | None = None, by_password: bool = False,
) -> Client:  # fmt: skip
    """A session, logged in.

    Args:
        user: empty for the user that this process runs as.
        password: not needed for root and for users whom the machine knows.
        source: the face and its terminal, for logs.
        tell: called with sentences that everybody who is logged in should read, between calls.
        path: of smartwired's socket, where it is not the machine's.
        by_password: whoever this process runs as, the password counts: for faces of people on other machines.

    Raises:
        NotThere: smartwired does not run.
        LoginNeeded: user and password are needed, or wrong.
    """
    client = Client(path or ownership.directory() / "api.sock", tell)
    try:
        client.identity = client.call("login", user, password, source, by_password)
    except Error as e:
        client.close()
        raise LoginNeeded(str(e)) from None
    return client


def greeting(path: Path | None = None) -> dict[str, Any]:
    """What the box says to whoever is to log in: host_name, and message, which may be None.

    Raises:
        NotThere: smartwired does not run.
    """
    with Client(path or ownership.directory() / "api.sock") as client:
        return client.call("greeting")


class Client:
    """See :func:`connect`. Methods that are not here are those of a session, over the socket."""

    def __init__(self, path: Path, tell: Callable[[str], None] | None = None) -> None:
        self.identity: dict[str, Any] = {}
        """user, class, host_name, may_configure, since."""
        self.level: list[str] = []
        """Where in the tree the session edits."""
        self.tell = tell or (lambda sentence: None)
        self.number = 0
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(str(path))
        except OSError as e:
            self.socket.close()
            raise NotThere(f"smartwired is not running ({e.strerror}): start it with `smartwire daemon`.") from None
        self.stream = self.socket.makefile("rwb")

    def __enter__(self) -> Client:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Logs out."""
        self.close()

    def close(self) -> None:
        """Logs out; private and exclusive edits that were not committed are lost."""
        for each in (self.stream, self.socket):
            try:
                each.close()
            except OSError:
                continue  # smartwired is gone already

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A method of the session."""
        if name not in VERBS:
            raise AttributeError(name)
        return lambda *args, **kw: self.call(name, *args, **kw)

    def call(self, do: str, *args: Any, **kw: Any) -> Any:
        """One request.

        Raises:
            Error: smartwired's sentence.
        """
        self.number += 1
        request = {"id": self.number, "do": do, "args": args, "kw": kw}
        try:
            self.stream.write(json.dumps(request).encode() + b"\n")
            self.stream.flush()
            for line in self.stream:
                document = json.loads(line)
                if "tell" in document:
                    self.tell(document["tell"])
                elif "error" in document:
                    raise _error(document)
                else:
                    if do in MOVES:
                        self.level = document["ok"]
                    elif do in ("configure", "leave"):
                        self.level = []
                    return document["ok"]
        except OSError:
            pass
        raise NotThere("smartwired has ended the session.")

    def heard(self) -> None:
        """Passes on what was told since the last call, without waiting; call it when the socket is readable.

        Raises:
            NotThere: smartwired has ended the session.
        """
        while select.select([self.socket], [], [], 0)[0]:
            line = self.stream.readline()
            if not line:
                raise NotThere("smartwired has ended the session.")
            self.tell(json.loads(line).get("tell", ""))

    def check(self) -> list[Problem]:
        """As the session's."""
        return [_problem(p) for p in self.call("check")]

    def commit(self, comment: str = "", confirmed: float | None = None) -> Commit:
        """As the session's."""
        done = self.call("commit", comment=comment, confirmed=confirmed)
        self.identity = self.call("whoami")
        return Commit(done["number"], [_problem(p) for p in done["warnings"]], done["confirm_within"], done["done"])

    def options(self, verb: str, tokens: list[str]) -> list[Option]:
        """As the session's."""
        return [Option(*o) for o in self.call("options", verb, tokens)]


def _problem(document: list[Any]) -> Problem:
    return Problem(tuple(document[0]), document[1], document[2])


def _error(document: dict[str, Any]) -> Error:
    """What smartwired raised, as far as faces tell errors apart."""
    if "problems" in document:
        return CommitFailed(document["error"], [_problem(p) for p in document["problems"]])
    return KINDS.get(document.get("exit_code", 1), Error)(document["error"])
