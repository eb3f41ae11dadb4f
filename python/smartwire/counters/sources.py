"""Where readings come from: the stats pages of the wires, and the control sockets of the proxies, of this machine."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from smartwire.counters.names import PROXY, path_of, port_name
from smartwire.counters.store import Reading
from smartwire.errors import Error
from smartwire.proxy import registry as proxies
from smartwire.wire import control, registry
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
        pairs = registry.pairs(self.info)
        pair, side = divmod(number, 2)
        return pairs[pair][side] if pair < len(pairs) else port_name(number)


class Wires:
    """The wires of this machine; pages stay mapped between two looks, and `views` is what the last one saw.

    Args:
        sample: what else is recorded of a wire with so many connections.
    """

    def __init__(self, sample: Callable[[registry.Running, int], dict[str, int]] = lambda wire, flows: {}) -> None:
        self.sample = sample
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
            with contextlib.suppress(Error, OSError, ValueError):
                page = seen[key] = self.pages.get(key) or StatsPage(wire.stats)
                sample = page.read()
                age, values = sample.age_s, sample.values
                if age <= STALE_S:
                    values = values | decided(wire) | self.sample(wire, values.get("flows", 0))
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
        """A look, as a source; `views` keeps what was seen, and others may read what the wires were asked."""
        self.views = self.look()
        for view in self.views:
            kept = {name: value for name, value in view.values.items() if name.startswith(("policy.", "class."))}
            if kept and (directory := registry.root() / view.name).is_dir():
                draft = directory / f"{DECIDED}.new"
                with contextlib.suppress(OSError):
                    draft.write_text(json.dumps(kept))
                    draft.replace(directory / DECIDED)
        return self.readings(self.views)


PATIENCE_S = 2.0
"""A process that says nothing for so long is not waited for."""


DECIDED = "decided.json"
"""In a wire's run directory: what the collector was told, for those who may not ask the wire (snmpd's agent)."""


def decided(wire: registry.Running) -> dict[str, int]:
    """Connections by policy and by class, named as on a page, which cannot have them: they come and go."""
    if not wire.info.get("policies"):
        return {}
    if not os.access(wire.socket, os.W_OK):
        return dict(json.loads((wire.directory / DECIDED).read_text()))
    said = control.ask(wire.socket, "policies", patience_s=PATIENCE_S)
    kinds = (("policy", "policies"), ("class", "classes"))
    return {f"{kind}.{one['name']}.connections": one["connections"] for kind, key in kinds for one in said[key]}


@dataclass(frozen=True)
class ProxyView:
    """One proxy at one time.

    Attributes:
        name: of the proxy.
        epoch: changes when its supervisor does.
        serving: HAProxy takes new connections.
        why: what is wrong where it does not.
        values: of its counters and gauges, by metric.
    """

    name: str
    epoch: str
    serving: bool
    why: str = ""
    values: dict[str, int] | None = None


class Proxies:
    """The proxies of this machine, and those whose supervisor died without leaving; `views` is what was seen last."""

    def __init__(self) -> None:
        self.paths: dict[str, list[str]] = {}
        self.views: list[ProxyView] = []

    def look(self) -> list[ProxyView]:
        """All proxies, by name."""
        found = []
        for path in sorted(registry.root().glob(f"{proxies.PREFIX}*/proxy.json")):
            name, info = path.parent.name.removeprefix(proxies.PREFIX), proxies.record(path.parent)
            epoch = f"{boot_id()}:{info.get('pid')}:{info.get('started')}"
            if not registry.alive(path.parent):
                found.append(ProxyView(name, epoch, False, "its supervisor died; new connections pass it by"))
                continue
            try:
                status = control.ask(path.parent / "control.sock", "status", patience_s=PATIENCE_S)
            except (Error, OSError, json.JSONDecodeError) as e:
                found.append(ProxyView(name, epoch, False, f"it does not answer: {str(e).rstrip('.')}"))
                continue
            found.append(proxy_view(name, epoch, status))
        return found

    def __call__(self) -> list[Reading]:
        """A look, as a source."""
        self.views = self.look()
        found = []
        for view in self.views:
            if view.values is None:
                continue
            names = [f"proxy/{view.name}/{metric}" for metric in view.values]
            if self.paths.get(view.name) != names:
                self.paths[view.name] = names
            found.append(Reading(f"proxy/{view.name}", view.epoch, self.paths[view.name], list(view.values.values())))
        return found


def proxy_view(name: str, epoch: str, status: dict[str, Any]) -> ProxyView:
    """What a proxy says of itself."""
    haproxy, counted = status.get("haproxy", {}), status.get("counters", {})
    values = {f"proxy_{key}": value for key, value in counted.items() if f"proxy_{key}" in PROXY}
    values |= {
        "proxy_flows": status.get("flows", 0),
        "proxy_connections": haproxy.get("connections", 0),
        "proxy_deaths": status.get("deaths", 0),
        "proxy_hangs": status.get("hangs", 0),
    }
    serving = status.get("state") == "open"
    times = f"died {status.get('deaths', 0)} times, hung {status.get('hangs', 0)} times"
    return ProxyView(
        name, epoch, serving, "" if serving else f"HAProxy does not serve ({times} since the start)", values
    )
