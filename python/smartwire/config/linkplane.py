"""Link-loss forwarding and hardware bypass relays as planes of smartwired.

Both look at the machine each time and remember next to nothing: a smartwired that was restarted knows what to do.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from smartwire.config import wiring
from smartwire.config.plane import Setup
from smartwire.config.schema import Problem
from smartwire.errors import Error
from smartwire.proxy import registry as proxies
from smartwire.wire import registry

SYS = Path("/sys/class/net")
IFF_UP = 1
NETLINK_ROUTE = 0
RTMGRP_LINK = 1
HOOK_S = 10.0


def is_up(port: str) -> bool | None:
    """True if the port is administratively up; None if there is no such port."""
    try:
        return bool(int((SYS / port / "flags").read_text(), 16) & IFF_UP)
    except (OSError, ValueError):
        return None


def has_link(port: str) -> bool:
    """True if the port is up and has a link."""
    try:
        return (SYS / port / "carrier").read_text().strip() == "1"
    except OSError:  # EINVAL while it is administratively down
        return False


def changes() -> socket.socket:
    """A socket that has something to read whenever a link of this namespace changes (rtnetlink(7)).

    Raises:
        OSError: the kernel gives none; links are then only seen when somebody looks.
    """
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, NETLINK_ROUTE)
    listener.bind((0, RTMGRP_LINK))
    return listener


class LinkLossPlane:
    """Takes the other port of a pair down while one is up without a link, and up again when the link is back."""

    name = "link-loss forwarding"

    def check(self, setup: Setup) -> list[Problem]:
        """Nothing can be wrong with it that is not wrong with the wire."""
        return []

    def wanted(self, setup: Setup) -> Iterator[tuple[str, bool, str]]:
        """(port, whether it is to be up, why) of each port that is not as it should be."""
        for entry in setup.config.get(("wires",), {}).values():
            if not entry.get("link-loss-forwarding"):
                continue
            for access, core, vlans in wiring.pairs(entry):
                if vlans:
                    continue  # both sides lose the same link
                for port, other in ((access, core), (core, access)):
                    if is_up(port) and not has_link(port) and is_up(other) and has_link(other):
                        yield other, False, f"{other} is taken down, since {port} has lost its link."
                    elif is_up(port) and has_link(port) and is_up(other) is False:
                        yield other, True, f"{other} is taken up, since {port} has its link again."

    def differences(self, setup: Setup) -> list[str]:
        """Ports whose other end is to see a lost link, or a link that is back."""
        return [why for _, _, why in self.wanted(setup)]

    def apply(self, setup: Setup) -> list[str]:
        """Takes ports down and up."""
        for port, up, _ in list(self.wanted(setup)):
            done = _run(["ip", "link", "set", port, "up" if up else "down"])
            if done:
                raise Error(f"{port}: {done}")
        return []


class RelayPlane:
    """Calls each wire's hook when its bypass relay is to be switched: inline while a process serves it, else bypass."""

    name = "bypass relays"

    def __init__(self) -> None:
        self.switched: dict[str, tuple[str, str]] = {}
        """By wire: (hook, position) of the last call that succeeded."""

    def wanted(self, setup: Setup) -> dict[str, tuple[str, str]]:
        """By wire: (hook, position)."""
        served = {r.name for r in (*registry.running(), *proxies.running())}
        found = {}
        for name, entry in setup.config.get(("wires",), {}).items():
            if hook := entry.get("hardware-bypass-hook"):
                bypassed = name not in served or entry.get("mode") == "bypass"
                found[name] = (hook, "bypass" if bypassed else "inline")
        gone = {n: (hook, "bypass") for n, (hook, _) in self.switched.items() if n not in found}
        return found | gone

    def check(self, setup: Setup) -> list[Problem]:
        """Hooks that cannot be run."""
        return [
            Problem(("wires", name, "hardware-bypass-hook"), f"{hook} is no program that can be run.")
            for name, (hook, _) in self.wanted(setup).items()
            if name in setup.config.get(("wires",), {}) and not (Path(hook).is_file() and os.access(hook, os.X_OK))
        ]

    def differences(self, setup: Setup) -> list[str]:
        """Relays that are to be switched."""
        return [
            f"the relay of wire {name} is to be switched to {position}."
            for name, (hook, position) in self.wanted(setup).items()
            if self.switched.get(name) != (hook, position)
        ]

    def apply(self, setup: Setup) -> list[str]:
        """Calls the hooks of relays that are to be switched."""
        done = []
        for name, (hook, position) in self.wanted(setup).items():
            if self.switched.get(name) == (hook, position):
                continue
            if failed := _run([hook, name, position]):
                raise Error(f"{hook} {name} {position}: {failed}")
            self.switched[name] = (hook, position)
            done.append(f"the relay of wire {name} was switched to {position}.")
        for name in set(self.switched) - set(setup.config.get(("wires",), {})):
            del self.switched[name]
        return done


def _run(argv: list[str]) -> str:
    """Runs a program; empty if it succeeded, else what it said last."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=HOOK_S, check=False, env=os.environ | {"PATH": path}
        )
    except (OSError, subprocess.TimeoutExpired) as e:
        return str(e)
    lines = (done.stderr or done.stdout).strip().splitlines()
    return "" if done.returncode == 0 else (lines[-1] if lines else f"it exited with {done.returncode}")
