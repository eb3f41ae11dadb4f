"""What the configuration of a wire says: its ports, and which engines serve it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from smartwire.config.tree import Config, Values
from smartwire.wire.copper import Pair

Policies = dict[str, Any]


class Place(NamedTuple):
    """A port, and where the configuration names it."""

    port: str
    path: tuple[str, ...]


def wires(config: Config) -> dict[str, Values]:
    """All wires, by name."""
    return dict(config.get(("wires",), {}))


def pairs(entry: Values) -> list[Pair]:
    """What a wire joins: the two ports of each pair, or the two VLANs of its trunk."""
    found = [Pair(access, pair["core"]) for access, pair in entry.get("pair", {}).items() if "core" in pair]
    return found + [
        Pair(port, port, (vlans["access-vlan"], vlans["core-vlan"])) for port, vlans in entry.get("trunk", {}).items()
    ]


def named(pair: Pair) -> tuple[str, str]:
    """Both ends as they are shown: the VLANs of a trunk behind its name, as in ip-link."""
    access, core = pair.vlans or (0, 0)
    return (f"{pair.access}.{access}", f"{pair.core}.{core}") if pair.vlans else (pair.access, pair.core)


def places(config: Config) -> Iterator[tuple[str, Place]]:
    """(wire, port) of every port of every wire."""
    for name, entry in wires(config).items():
        for access, pair in entry.get("pair", {}).items():
            path = ("wires", name, "pair", access)
            yield from ((name, Place(port, path)) for port in (access, pair.get("core")) if port)
        for port in entry.get("trunk", {}):
            yield name, Place(port, ("wires", name, "trunk", port))


def by_wire_engine(config: Config) -> dict[str, Values]:
    """The wires that have a process of the wire engine."""
    return {name: entry for name, entry in wires(config).items() if entry.get("mode") != "proxy"}


def by_proxy(config: Config) -> dict[str, Values]:
    """The wires that have a proxy: instead of the wire engine, or beside it because some policy wants it there."""
    return {name: entry for name, entry in wires(config).items() if has_proxy(config, name, entry)}


def has_proxy(config: Config, name: str, entry: Values) -> bool:
    """True if a wire is to have a proxy."""
    mode = entry.get("mode", "optimize")
    return mode == "proxy" or (mode == "optimize" and bool(up_to_the_last_proxied(config, name)))


def up_to_the_last_proxied(config: Config, wire: str) -> Policies:
    """The policies that concern a wire, in their order, up to the last one whose engine is the proxy.

    What comes behind makes no difference to the proxy: connections that no rule of it takes pass it by.
    """
    here = [(n, p) for n, p in config.get(("policies",), {}).items() if concerns(p, wire)]
    last = max((i for i, (_, policy) in enumerate(here, 1) if policy.get("engine") == "proxy"), default=0)
    return dict(here[:last])


def concerns(policy: Values, wire: str) -> bool:
    """True if a policy may match connections of a wire."""
    return wire in (policy.get("match", {}).get("wire") or (wire,))
