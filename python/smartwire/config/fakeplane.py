"""A data plane made of Python: it has wires, policies and scripted flows, and no packets. For tests and rehearsals."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smartwire.config import wiring
from smartwire.config.plane import Setup
from smartwire.config.policy import Flow, Verdict, decide
from smartwire.config.schema import Problem
from smartwire.errors import Error


@dataclass
class FakePlane:
    """Does what the real ones do, in memory.

    Attributes:
        ports: names of the ports that this machine has; None for any.
        fail: if set, called with the setup at each apply; what it raises makes the apply fail half done.
        applied: every setup that was applied, the last one last.
    """

    name: str = "data plane"
    ports: set[str] | None = None
    fail: Callable[[Setup], None] | None = None
    applied: list[Setup] = field(default_factory=list)
    wires: dict[str, Any] = field(default_factory=dict)
    setup: Setup | None = None
    bypassed: set[str] = field(default_factory=set)
    flows: list[Flow] = field(default_factory=list)
    """What is tried on each look: see :meth:`served`."""

    def check(self, setup: Setup) -> list[Problem]:
        """Ports that are not there."""
        return [
            Problem(place.path, f"there is no interface {place.port} here.")
            for _, place in wiring.places(setup.config)
            if self.ports is not None and place.port not in self.ports
        ]

    def apply(self, setup: Setup) -> list[str]:
        """Becomes equal to the setup, wire by wire, unless `fail` raises in between."""
        before = dict(self.wires)
        wanted = setup.config.get(("wires",), {})
        self.wires = {name: entry for name, entry in self.wires.items() if name in wanted}
        if self.fail:
            self.fail(setup)
        self.wires = dict(wanted)
        self.setup = setup
        self.applied.append(setup)
        started = [f"wire {n} was started." for n in self.wires if n not in before]
        return started + [f"wire {n} was stopped." for n in before if n not in self.wires]

    def differences(self, setup: Setup) -> list[str]:
        """What is not as the setup says."""
        wanted = setup.config.get(("wires",), {})
        found = [f"wire {n} is not running." for n in wanted if n not in self.wires]
        found += [f"wire {n} runs, and is not configured." for n in self.wires if n not in wanted]
        found += [f"wire {n} is not as configured." for n in wanted if self.wires.get(n, wanted[n]) != wanted[n]]
        if not found and (self.setup is None or self.setup != setup):
            found.append("the policies are not the configured ones.")
        return found

    def served(self) -> list[tuple[Flow, Verdict]]:
        """What becomes of each scripted flow now: which policy counts, which engine serves it, and why."""
        if self.setup is None:
            return []
        return [(flow, decide(self.setup, flow)) for flow in self.flows]

    # ---- what a hand does --------------------------------------------------------------------------------------

    def kill(self, wire: str) -> None:
        """The process of a wire dies."""
        if wire not in self.wires:
            raise Error(f"No wire called {wire} is running.")
        del self.wires[wire]

    def connect(self, client: str, server: str, port: int, **facts: Any) -> Flow:
        """A flow is scripted: from now on it is among those that are looked at."""
        flow = Flow(ipaddress.ip_address(client), ipaddress.ip_address(server), port, **facts)
        self.flows.append(flow)
        return flow
