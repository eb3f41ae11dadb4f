"""Ports that smartwired owns, as long as it lives: ``run`` and ``unwire`` leave them to the configuration."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from smartwire.errors import Error
from smartwire.wire import registry


def directory() -> Path:
    """Where smartwired has its lock, its socket and the list of its ports."""
    return registry.root() / "smartwired"


def read() -> dict[str, str]:
    """The wire of each port that is on the list."""
    with contextlib.suppress(OSError, ValueError):
        return dict(json.loads((directory() / "ports.json").read_text()))
    return {}


def write(ports: dict[str, str]) -> None:
    """Replaces the list."""
    draft = directory() / "ports.new"
    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.write_text(json.dumps(ports))
    draft.replace(directory() / "ports.json")


def refuse(access: str, core: str, what: str) -> None:
    """Raises a sentence with the command to use instead if a living smartwired owns one of the ports.

    Args:
        access: one port.
        core: the other.
        what: what was to be done, "run" or "unwire".
    """
    if not registry.alive(directory()):
        return
    owned = read()
    for port in (access, core):
        if port not in owned:
            continue
        wire = owned[port]
        instead = f"set wires {wire} ..." if what == "run" else f"delete wires {wire}"
        raise Error(f'{port} belongs to wire {wire} of smartwired: smartwire cli -c configure -c "{instead}" -c commit')


@contextlib.contextmanager
def claim() -> Iterator[Path]:
    """Makes this process the smartwired of the machine, as long as the context lasts.

    Raises:
        Error: another one is running, or the directory cannot be made.
    """
    with registry.held(directory(), lambda pid: f"smartwired is running already (pid {pid})."):
        yield directory()
