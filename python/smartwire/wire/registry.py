"""Run directories: /run/smartwire/NAME holds what a running wire shares with whoever looks.

====================== ==================================================================================
file                   content
====================== ==================================================================================
``lock``               held (flock) by the wire's process for as long as it lives; its pid, as text
``wire.json``          name, pid, access, core, io, started (unix seconds); pairs, where it has more than one
``control.sock``       orders and questions, JSON lines (:mod:`smartwire.wire.control`)
``stats``, ``events``  shared memory (:mod:`smartwire.wire.stats`)
====================== ==================================================================================

A directory whose lock nobody holds belongs to a process that died; it is taken over or removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from smartwire.errors import Error, NotThere, UsageError


def root() -> Path:
    """Where run directories are: /run/smartwire, or $SMARTWIRE_RUN."""
    return Path(os.environ.get("SMARTWIRE_RUN", "/run/smartwire"))


@dataclass(frozen=True)
class Running:
    """A wire that runs on this machine."""

    name: str
    directory: Path
    info: dict[str, Any]

    @property
    def stats(self) -> Path:
        """The stats page."""
        return self.directory / "stats"

    @property
    def events(self) -> Path:
        """The event ring."""
        return self.directory / "events"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Its interfaces, (access, core) of each pair."""
        return pairs(self.info)

    def ports(self) -> set[str]:
        """Its interfaces."""
        return {port for pair in self.pairs for port in pair}

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.directory / "control.sock"


def pairs(info: dict[str, Any]) -> list[tuple[str, str]]:
    """The interfaces that a wire.json names, (access, core) of each pair; none if it names none."""
    found = info.get("pairs") or [(info.get("access"), info.get("core"))]
    return [(access, core) for access, core in found if access and core]


class HasName(Protocol):
    """Something that runs under a name."""

    @property
    def name(self) -> str:
        """What it was called at its start."""
        ...


Named = TypeVar("Named", bound=HasName)


def alive(directory: Path) -> bool:
    """True while the process that made the directory lives."""
    try:
        with (directory / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def running() -> list[Running]:
    """All wires that run on this machine, by name."""
    found = []
    for path in sorted(root().glob("*/wire.json")):
        with contextlib.suppress(OSError, json.JSONDecodeError):
            if alive(path.parent):
                found.append(Running(path.parent.name, path.parent, json.loads(path.read_text())))
    return found


def forget(access: str, core: str) -> None:
    """Removes what wires of these two interfaces left whose process died: nobody is to look for them any more."""
    for path in root().glob("*/wire.json"):
        with contextlib.suppress(OSError, json.JSONDecodeError):
            info = json.loads(path.read_text())
            if not alive(path.parent) and (access, core) in pairs(info):
                shutil.rmtree(path.parent, ignore_errors=True)


def find(name: str | None) -> Running:
    """The wire called `name`, or the only one that runs."""
    return choose(running(), name, "wire", "smartwire run ACCESS CORE")


def choose(running: Sequence[Named], name: str | None, kind: str, start: str) -> Named:
    """The one called `name`, or the only one.

    Args:
        running: those that run.
        name: as asked for.
        kind: "wire" or "proxy", for sentences.
        start: the command that starts one.
    """
    names = ", ".join(r.name for r in running)
    if name is not None:
        for one in running:
            if one.name == name:
                return one
        raise NotThere(f"No {kind} called {name} is running" + (f" (running: {names})." if names else "."))
    plural = {"wire": "wires", "proxy": "proxies"}[kind]
    if not running:
        if root().exists() and not os.access(root(), os.X_OK):
            raise Error(f"Only root can look at running {plural}: run it with sudo.")
        raise NotThere(f"No {kind} is running: start one with `{start}`.")
    if len(running) > 1:
        raise UsageError(f"Several {plural} are running ({names}): choose one with --name.")
    return running[0]


@contextlib.contextmanager
def held(directory: Path, taken: Callable[[str], str]) -> Iterator[int]:
    """Holds a run directory, as long as the context lasts; gives the lock, with this process's pid in it.

    Args:
        directory: made where it is missing.
        taken: the sentence when a live process holds it, from that one's pid.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        raise Error(f"{directory} cannot be made ({e.strerror}): run it with sudo.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Error(taken(pid)) from None
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        yield lock
    finally:
        os.close(lock)


@contextlib.contextmanager
def register(name: str, **info: Any) -> Iterator[Path]:
    """Claims the run directory of `name` for this process, as long as the context lasts.

    Raises:
        Error: the name is taken by a live wire, or the directory cannot be made.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,63}", name):
        raise UsageError(f"{name!r} is no name for a wire: use letters, digits and - _ . : @ (at most 64).")
    directory = root() / name
    with held(directory, lambda pid: f"A wire called {name} is already running: stop it, or choose another --name."):
        try:
            for left in directory.iterdir():  # of a process that died
                if left.name != "lock":
                    left.unlink(missing_ok=True)
            content = {"name": name, "pid": os.getpid(), **info}
            (directory / "wire.json").write_text(json.dumps(content))
            yield directory
        finally:
            shutil.rmtree(directory, ignore_errors=True)
