"""Which policy counts for a connection, and why: what ``test policy`` says and what the data plane is to do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any, NamedTuple

from smartwire.config.plane import Setup
from smartwire.config.prefixlists import prefixes
from smartwire.config.tree import Config, Values

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Flow(NamedTuple):
    """A connection as policies see it."""

    client: Address
    server: Address
    port: int
    wire: str | None = None
    vlan: int = 0


class Verdict(NamedTuple):
    """What becomes of a connection."""

    policy: str | None
    """The policy that counts; None if none matches."""
    engine: str
    """wire, proxy or none."""
    why: list[str]
    """A sentence for every policy that was looked at."""


def decide(setup: Setup, flow: Flow) -> Verdict:
    """The first policy that matches counts; a connection that none matches gets the wire engine."""
    why = []
    classes = subscriber_class(setup, flow)
    for name, policy in setup.config.get(("policies",), {}).items():
        against = mismatch(setup, policy.get("match", {}), flow, classes)
        if against is None:
            engine = policy.get("engine", "wire")
            return Verdict(name, engine, [*why, f"{name}: matches; engine {engine}."])
        why.append(f"{name}: {against}")
    return Verdict(
        None, "wire", [*why, "no policy matches: the wire engine serves it, as where there are no policies."]
    )


MODES = {
    "observe": "wire {} only observes: nothing is touched.",
    "bypass": "wire {} is bypassed: nothing is touched.",
    "proxy": "wire {} has the proxy engine alone: what policies do not send there passes untouched.",
}


def served(config: Config, verdict: Verdict, wire: str | None) -> tuple[str, str]:
    """(the engine that serves a connection on a wire, why it is not the policy's; empty if it is)."""
    mode = config.value(("wires", wire, "mode")) if wire else "optimize"
    if verdict.engine == "none" or mode == "optimize" or (mode == "proxy" and verdict.engine == "proxy"):
        return verdict.engine, ""
    return "none", MODES[mode].format(wire)


def subscriber_class(setup: Setup, flow: Flow) -> str | None:
    """The first class that the client belongs to."""
    for name, entry in setup.config.get(("subscribers", "class"), {}).items():
        if within(flow.client, entry.get("prefix", ())) or flow.vlan in entry.get("vlan", ()):
            return name
        if any(within(flow.client, in_list(setup, each)) for each in entry.get("prefix-list", ())):
            return name
    return None


def mismatch(setup: Setup, match: Values, flow: Flow, subscriber: str | None) -> str | None:
    """Why a match does not hold, in a sentence; None if it does."""
    if flow.wire is not None and "wire" in match and flow.wire not in match["wire"]:
        return f"wire is {flow.wire}."
    if "subscriber-class" in match and subscriber not in match["subscriber-class"]:
        return f"the subscriber's class is {subscriber or 'none'}."
    for side, address in (("access", flow.client), ("core", flow.server)):
        given: list[Any] = list(match.get(f"{side}-prefix", ()))
        lists = match.get(f"{side}-prefix-list", ())
        if (given or lists) and not (within(address, given) or any(within(address, in_list(setup, n)) for n in lists)):
            return f"{address} is in none of its {side} prefixes."
    if "core-port" in match and not any(_in_range(flow.port, text) for text in match["core-port"]):
        return f"port {flow.port} is none of its ports."
    if "vlan" in match and flow.vlan not in match["vlan"]:
        return f"VLAN {flow.vlan} is none of its VLANs."
    return None


def in_list(setup: Setup, name: str) -> Iterable[str]:
    """All prefixes of a list, those of its file included."""
    yield from setup.config.get(("prefix-lists", name, "prefix"), ())
    if name in setup.lists:
        yield from prefixes(setup.lists[name].content)


def within(address: Address, texts: Iterable[str]) -> bool:
    """True if the address is in one of the prefixes."""
    return any(address in ipaddress.ip_network(text) for text in texts)


def _in_range(port: int, text: str) -> bool:
    low, _, high = text.partition("-")
    return int(low) <= port <= int(high or low)
