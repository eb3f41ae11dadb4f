"""Network interfaces as the command line sees them, and what must hold before two of them can be a wire."""

from __future__ import annotations

import os
import re
from pathlib import Path

from smartwire.errors import Error, NotThere, UsageError

SYS = Path("/sys/class/net")
OLDEST_KERNEL = (6, 1)
"""Debian 12's; the copper wire's programs and AF_XDP as used here are in it."""


def interfaces() -> list[str]:
    """Names of the interfaces of this network namespace, sorted."""
    try:
        return sorted(os.listdir(SYS))
    except OSError:
        return []


def pairs(*names: str) -> list[tuple[str, str]]:
    """(access, core) pairs of interfaces named in a row; raises a sentence where that can't be."""
    if len(names) % 2:
        raise UsageError(f"{names[-1]} has no other side: name the ports of a wire in pairs, ACCESS CORE, one by one.")
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice: every port of a wire is an interface of its own.")
    return list(zip(names[::2], names[1::2], strict=True))


def check_pair(access: str, core: str) -> None:
    """Raises a sentence with the fix unless both interfaces exist and differ."""
    if access == core:
        raise UsageError(f"{access} is named twice: a wire joins two different interfaces, ACCESS and CORE.")
    for name in (access, core):
        check_port(name)


def check_port(name: str) -> None:
    """Raises a sentence with the fix unless there is such an Ethernet interface."""
    here = interfaces()
    if name not in here:
        others = ", ".join(i for i in here if i != "lo") or "none"
        raise NotThere(f"There is no interface {name} here (there are: {others}); `ip link` shows them.")
    if name == "lo":
        raise UsageError("lo cannot be part of a wire: name Ethernet interfaces.")


def check_machine() -> None:
    """Raises a sentence with the fix unless this process may open ports on a kernel that is recent enough."""
    if os.geteuid() != 0:
        raise Error("This needs root, for packet rings and BPF: run it with sudo.")
    release = os.uname().release
    numbers = tuple(int(n) for n in re.findall(r"\d+", release)[:2])
    if numbers < OLDEST_KERNEL:
        raise Error(f"Linux {release} is too old: Smartwire needs 6.1 or newer (Debian 12 has it).")
