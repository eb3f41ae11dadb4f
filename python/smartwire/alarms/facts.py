"""What the alarms are judged by: the state of everything at one time, as plain values."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smartwire.counters.collect import Health
from smartwire.counters.sources import ProxyView, WireView
from smartwire.wire import registry


@dataclass(frozen=True)
class WireFacts:
    """One wire.

    Attributes:
        name: of the wire.
        fresh: its process writes its numbers: it lives, and does not hang.
        why: where it is not fresh, what is wrong, in words.
        starting: it is not fresh yet, rightly: it was started a moment ago.
        values: of its stats page, by the page's names.
        grown: by how much each grew since the look before; empty after a start, a restart or a silence.
        interfaces: the port's interface, by its number.
    """

    name: str
    fresh: bool = True
    why: str = ""
    starting: bool = False
    values: Mapping[str, int] = field(default_factory=dict)
    grown: Mapping[str, int] = field(default_factory=dict)
    interfaces: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ProxyFacts:
    """One proxy: whether HAProxy serves, and what is wrong if it does not."""

    name: str
    serving: bool
    why: str = ""


@dataclass(frozen=True)
class Facts:
    """Everything at one time.

    Attributes:
        now: unix time, s.
        steady: time that is never set, s.
        seconds: since the look before; 0 at the first.
        wires, proxies: by name.
        disk_free: share of the disk that holds the state which is free, 0 to 1; None where unknown.
        health: of the collector.
        rolled_back: why the configuration is not the one last committed; None if it is.
    """

    now: float
    steady: float
    seconds: float = 0.0
    wires: tuple[WireFacts, ...] = ()
    proxies: tuple[ProxyFacts, ...] = ()
    disk_free: float | None = None
    health: Health = field(default_factory=Health)
    rolled_back: str | None = None


STARTING_S = 30.0
"""So long a wire may take to open its ports and write its first page."""


class WireLook:
    """Makes facts of wires out of what is seen at each look."""

    def __init__(self) -> None:
        self.before: dict[str, WireView] = {}

    def __call__(self, views: Iterable[WireView], dead: Iterable[str], unix_s: float) -> tuple[WireFacts, ...]:
        """The facts of running wires, and of those that died without leaving, at that time."""
        found = []
        now: dict[str, WireView] = {}
        for view in views:
            now[view.name] = view
            found.append(wire_facts(view, self.before.get(view.name), unix_s))
        self.before = now
        found += [WireFacts(name, False, "its process died; the copper wire forwards") for name in dead]
        return tuple(found)


def wire_facts(view: WireView, before: WireView | None, unix_s: float) -> WireFacts:
    """The facts of one running wire."""
    if view.age_s is None:
        started = view.info.get("started")
        young = isinstance(started, int | float) and abs(unix_s - started) < STARTING_S
        return WireFacts(view.name, False, "its process writes no counters; the copper wire forwards", young)
    if not view.fresh:
        heard = f"its process was last heard {view.age_s:.0f} s ago"
        return WireFacts(view.name, False, f"{heard}; the copper wire forwards")
    grown: dict[str, int] = {}
    if before and before.fresh and before.epoch == view.epoch:
        grown = {name: max(0, value - before.values.get(name, 0)) for name, value in view.values.items()}
    interfaces = {n: view.interface(n) for n in ports(view.values)}
    return WireFacts(view.name, values=view.values, grown=grown, interfaces=interfaces)


def ports(values: Mapping[str, int]) -> list[int]:
    """Numbers of the ports on a page."""
    found = {int(name[4:].partition(".")[0]) for name in values if name.startswith("port") and name[4:5].isdigit()}
    return sorted(found)


def dead_wires() -> list[str]:
    """Wires whose process died without taking its run directory away."""
    return [path.parent.name for path in sorted(registry.root().glob("*/wire.json")) if not registry.alive(path.parent)]


def proxy_facts(views: Iterable[ProxyView]) -> tuple[ProxyFacts, ...]:
    """The facts of proxies."""
    return tuple(ProxyFacts(view.name, view.serving, view.why) for view in views)


def disk_share_free(path: Path) -> float | None:
    """Share of the disk of `path` (or of its nearest directory that exists) that is free."""
    import os

    with contextlib.suppress(OSError):
        while not path.exists():
            path = path.parent
        found = os.statvfs(path)
        return found.f_bavail / found.f_blocks if found.f_blocks else None
    return None
