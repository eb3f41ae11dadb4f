"""The policies of a wire as the document that its engine compiles (``crates/engine/src/policy/describe.rs``).

A wire is told of a document by the name of a file, and says by its digest which one is in force. Whether the engine
then decides as :mod:`smartwire.config.policy` explains is held by ``tests/control/config/test_rulings.py``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from smartwire.config.plane import Setup
from smartwire.config.policy import in_list
from smartwire.wire.service import digest


class Ruling(NamedTuple):
    """A document, and the digest by which a wire names it; both are empty where there is neither policy nor class."""

    text: str
    digest: str


def ruling(setup: Setup, wire: str) -> Ruling:
    """The policies that concern a wire."""
    policies = setup.config.get(("policies",), {})
    here = {n: p for n, p in policies.items() if wire in (p.get("match", {}).get("wire") or (wire,))}
    classes = setup.config.get(("subscribers", "class"), {})
    if not here and not classes:
        return Ruling("", "")
    entries = [_policy(name, policy) for name, policy in here.items()]
    kinds = [
        {"name": name, "access": _prefixes(c, "prefix", "prefix-list"), "vlans": list(c.get("vlan", ()))}
        for name, c in classes.items()
    ]
    sides = [e[side] for e in (*entries, *kinds) for side in ("access", "core") if e.get(side)]
    lists = {name: list(in_list(setup, name)) for name in sorted({n for s in sides for n in s["lists"]})}
    text = json.dumps({"lists": lists, "classes": kinds, "policies": entries})
    return Ruling(text, digest(text))


def _policy(name: str, policy: dict[str, Any]) -> dict[str, Any]:
    """One policy; what is not set is left out."""
    match = policy.get("match", {})
    said: dict[str, Any] = {"name": name}
    for side in ("access", "core"):
        given = _prefixes(match, f"{side}-prefix", f"{side}-prefix-list")
        if given["prefixes"] or given["lists"]:
            said[side] = given
    if ports := match.get("core-port"):
        said["ports"] = [_range(text) for text in ports]
    if vlans := match.get("vlan"):
        said["vlans"] = list(vlans)
    if classes := match.get("subscriber-class"):
        said["classes"] = list(classes)
    said["service"] = policy.get("engine", "wire")
    if rate := policy.get("rate-limit"):
        said["rate"] = rate // 8
        said |= {"burst": policy["burst"]} if "burst" in policy else {}
    both = policy.get("mss-clamp")
    optional = {
        "target_ms": policy.get("budget-target"),
        "pacing": policy.get("pacing"),
        "mss_access": policy.get("mss-clamp-down", both),
        "mss_core": policy.get("mss-clamp-up", both),
        "window": policy.get("window-mode"),
    }
    return said | {key: value for key, value in optional.items() if value is not None}


def _prefixes(given: dict[str, Any], own: str, lists: str) -> dict[str, list[str]]:
    return {"prefixes": list(given.get(own, ())), "lists": list(given.get(lists, ()))}


def _range(text: str) -> tuple[int, int]:
    low, _, high = text.partition("-")
    return int(low), int(high or low)


class Rulings:
    """The documents of all wires of a setup, made once, and the files that wires are given.

    Args:
        directory: where the files are.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.setup: Setup | None = None
        self.made: dict[str, Ruling] = {}

    def of(self, wire: str, setup: Setup) -> Ruling:
        """A wire's."""
        if setup is not self.setup:
            self.setup, self.made = setup, {}
        if wire not in self.made:
            self.made[wire] = ruling(setup, wire)
        return self.made[wire]

    def file(self, wire: str, setup: Setup) -> Path:
        """A wire's as a file, written whole before anybody is told of it."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.directory / f"{wire}.json"
        fresh = path.with_suffix(".new")
        fresh.write_text(self.of(wire, setup).text)
        fresh.replace(path)
        return path
