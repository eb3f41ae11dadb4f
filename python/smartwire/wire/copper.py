"""The copper wire alone: two ports joined by the kernel, with no engine: what a box has from boot on, whatever fails.

smartwired leaves the pairs of its wires in a small file; ``smartwire copper`` joins them before anything reads a
configuration. It needs neither the configuration nor smartwired, and not much of the disk.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from smartwire.errors import Error, NotThere
from smartwire.wire import registry

Pair = tuple[str, str]


def file() -> Path:
    """Where the pairs are: in /var/lib/smartwire, or $SMARTWIRE_STATE."""
    return Path(os.environ.get("SMARTWIRE_STATE", "/var/lib/smartwire")) / "copper.json"


def remember(pairs: list[Pair]) -> None:
    """Writes down which ports are to be joined at boot; raises OSError."""
    target = file()
    content = json.dumps(pairs).encode()
    if target.exists() and target.read_bytes() == content:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_suffix(".new")
    with draft.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    draft.replace(target)


def remembered() -> list[Pair]:
    """The pairs that are written down; none if there is no such file.

    Raises:
        Error: the file cannot be read.
    """
    try:
        pairs = json.loads(file().read_text())
        return [(str(access), str(core)) for access, core in pairs]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as e:
        raise Error(f"{file()} cannot be read ({e}): name the two interfaces.") from None


def join(access: str, core: str) -> bool:
    """Joins two ports; False if a wire runs on them already, which has joined them.

    Raises:
        Error: with the core's sentence.
    """
    from smartwire import _native
    from smartwire.wire import ports

    if access not in ports.interfaces() or core not in ports.interfaces():
        raise NotThere(f"There is no interface {access if access not in ports.interfaces() else core} here.")
    if any({access, core} & r.ports() for r in registry.running()):
        return False
    _native.copper(access, core)
    return True
