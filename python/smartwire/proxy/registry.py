"""Run directories of proxies: /run/smartwire/proxy@NAME, beside those of the wires.

================ ==========================================================================
file             content
================ ==========================================================================
``lock``         held (flock) by the supervisor for as long as it lives
``proxy.json``   name, pid, access, core, started; namespace: what identifies the container
``control.sock`` questions and orders (:mod:`smartwire.wire.control`)
``haproxy.cfg``, ``haproxy.sock``, ``log``
================ ==========================================================================
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smartwire.errors import UsageError
from smartwire.wire.registry import alive, choose, held, root

PREFIX = "proxy@"
LONGEST = 40
NAME = rf"[A-Za-z0-9][A-Za-z0-9_.:-]{{0,{LONGEST - 1}}}"
"""What a proxy may be called, a regular expression."""


@dataclass(frozen=True)
class Running:
    """A proxy that runs on this machine."""

    name: str
    directory: Path
    info: dict[str, Any]

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.directory / "control.sock"


def directory_of(name: str) -> Path:
    """The run directory of a proxy."""
    if not re.fullmatch(NAME, name):
        raise UsageError(f"{name!r} is no name for a proxy: use letters, digits and - _ . : (at most {LONGEST}).")
    return root() / f"{PREFIX}{name}"


def record(directory: Path) -> dict[str, Any]:
    """What is known about a proxy, running or not."""
    with contextlib.suppress(OSError, json.JSONDecodeError):
        return json.loads((directory / "proxy.json").read_text())
    return {}


def running() -> list[Running]:
    """All proxies that run on this machine, by name."""
    found = []
    for path in sorted(root().glob(f"{PREFIX}*/proxy.json")):
        if alive(path.parent) and (info := record(path.parent)):
            found.append(Running(path.parent.name.removeprefix(PREFIX), path.parent, info))
    return found


def find(name: str | None) -> Running:
    """The proxy called `name`, or the only one that runs."""
    return choose(running(), name, "proxy", "smartwire proxy up ACCESS CORE")


@contextlib.contextmanager
def claim(name: str) -> Iterator[Path]:
    """Holds the run directory of `name`; what a dead supervisor left in it stays until :func:`clean`. A log outlives
    its proxy."""
    directory = directory_of(name)
    taken = f"A proxy called {name} is already running: `smartwire proxy down --name {name}` ends it."
    with held(directory, lambda pid: taken):
        try:
            yield directory
        finally:
            if not (directory / "log").exists() or not (directory / "log").stat().st_size:
                shutil.rmtree(directory, ignore_errors=True)


def wait_for_end(directory: Path, seconds: float = 10.0) -> None:
    """Waits until the supervisor has gone."""
    until = time.monotonic() + seconds
    while alive(directory) and time.monotonic() < until:
        time.sleep(0.02)


def clean(directory: Path) -> None:
    """Removes what is in a run directory but its lock and its log."""
    for left in directory.iterdir():
        if left.name not in ("lock", "log"):
            left.unlink(missing_ok=True)
