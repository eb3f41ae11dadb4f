"""Where readings come from: the stats pages of the wires that run on this machine."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from smartwire.counters.names import path_of, port_name
from smartwire.counters.store import Reading
from smartwire.errors import Error
from smartwire.wire import registry
from smartwire.wire.stats import StatsPage

STALE_S = 2.0
"""A page that was not rewritten for so long belongs to a process that hangs: its numbers are of the past."""

Source = Callable[[], Iterable[Reading]]


@cache
def boot_id() -> str:
    """The kernel's identity of this boot."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "?"


@dataclass(frozen=True)
class WireView:
    """One running wire at one time.

    Attributes:
        name: of the wire.
        info: the content of its wire.json.
        epoch: changes when its process does.
        age_s: seconds since its page was rewritten; None where there is no page yet.
        values: of its page, by the page's names.
    """

    name: str
    info: dict[str, Any]
    epoch: str
    age_s: float | None
    values: dict[str, int]

    @property
    def fresh(self) -> bool:
        """True when its numbers are of now."""
        return self.age_s is not None and self.age_s <= STALE_S

    def interface(self, number: int) -> str:
        """The interface of port `number`; the port's own name where it is not known."""
        return (self.info.get(port_name(number)) if number < 2 else None) or port_name(number)


class Wires:
    """The wires of this machine; pages stay mapped between two looks, and `views` is what the last one saw."""

    def __init__(self) -> None:
        self.pages: dict[tuple[str, str], StatsPage] = {}
        self.paths: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        self.views: list[WireView] = []

    def look(self) -> list[WireView]:
        """All running wires, by name."""
        found, seen = [], {}
        for wire in registry.running():
            epoch = f"{boot_id()}:{wire.info.get('pid')}:{wire.info.get('started')}"
            key = (wire.name, epoch)
            age, values = None, {}
            with contextlib.suppress(Error):
                page = seen[key] = self.pages.get(key) or StatsPage(wire.stats)
                sample = page.read()
                age, values = sample.age_s, sample.values
            found.append(WireView(wire.name, wire.info, epoch, age, values))
        self.pages = seen
        return found

    def readings(self, views: Iterable[WireView]) -> list[Reading]:
        """What the counter database records of them; nothing of one that hangs."""
        return [
            Reading(f"wire/{view.name}", view.epoch, self.named(view), list(view.values.values()))
            for view in views
            if view.fresh
        ]

    def named(self, view: WireView) -> list[str]:
        """The paths of its values."""
        key = (view.name, tuple(view.values))
        if key not in self.paths:
            self.paths = {k: v for k, v in self.paths.items() if k[0] != view.name}
            self.paths[key] = [path_of(view.name, name) for name in view.values]
        return self.paths[key]

    def __call__(self) -> list[Reading]:
        """A look, as a source; `views` keeps what was seen."""
        self.views = self.look()
        return self.readings(self.views)
