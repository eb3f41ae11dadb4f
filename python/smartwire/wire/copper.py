"""The copper wire alone: two ports joined by the kernel, with no engine: what a box has from boot on, whatever fails.

smartwired leaves the pairs of its wires in a small file; ``smartwire copper`` joins them before anything reads a
configuration. It needs neither the configuration nor smartwired, and not much of the disk.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from smartwire.errors import Error, NotThere
from smartwire.wire import registry


class Pair(NamedTuple):
    """Two ports that are joined; or one that is its own other end, with a VLAN for the access and one for the core."""

    access: str
    core: str
    vlans: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.vlans:
            return f"VLANs {self.vlans[0]} and {self.vlans[1]} of {self.access}"
        return f"{self.access} and {self.core}"


def file() -> Path:
    """Where the pairs are: in /var/lib/smartwire, or $SMARTWIRE_STATE."""
    return Path(os.environ.get("SMARTWIRE_STATE", "/var/lib/smartwire")) / "copper.json"


def remember(pairs: Sequence[Pair]) -> None:
    """Writes down which ports are to be joined at boot; raises OSError."""
    target = file()
    content = json.dumps([(p.access, p.core, *(p.vlans or ())) for p in pairs]).encode()
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
        found = json.loads(file().read_text())
        return [Pair(str(a), str(c), (int(vlans[0]), int(vlans[1])) if vlans else None) for a, c, *vlans in found]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, IndexError) as e:
        raise Error(f"{file()} cannot be read ({e}): name the two interfaces.") from None


def join(pair: Pair) -> bool:
    """Joins two ports; False if a wire runs on them already, which has joined them.

    Raises:
        Error: with the core's sentence.
    """
    from smartwire import _native
    from smartwire.wire import ports

    access, core, vlans = pair
    if access not in ports.interfaces() or core not in ports.interfaces():
        raise NotThere(f"There is no interface {access if access not in ports.interfaces() else core} here.")
    if vlans:
        return join_trunk(access, vlans)
    if any({access, core} & r.ports() for r in registry.running()):
        return False
    _native.copper(access, core)
    return True


def join_trunk(port: str, vlans: tuple[int, int]) -> bool:
    """The same of two VLANs of one port: the proxy's program is their copper wire, with or without a proxy."""
    from smartwire import _native
    from smartwire.proxy.container import run
    from smartwire.proxy.datapath import Datapath, Ports, maps_of_no_wire

    index = socket.if_nametoindex(port)
    if _native.proxy_is_on(index):
        return False
    Datapath(Ports(index, index, vlans), exact=True, most_flows=1, wire=maps_of_no_wire()).attach()
    run("ip", "link", "set", port, "promisc", "on")
    return True
