"""Policies on a running wire: real Linux TCP, and UDP, at the ends. Functions, never speed: what a rate holds back."""

from __future__ import annotations

import json

import pytest
from smartwire.lab.links import constant
from smartwire.lab.middle import Wire
from smartwire.lab.session import Session
from smartwire.wire import control, registry

pytestmark = pytest.mark.root

QUICK = constant(50, rtt_ms=10).with_internet(10)
RATE, BURST = 1_000_000, 20_000


def rules(tmp_path, name: str, **policy) -> str:
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps({"policies": [{"name": name, **policy}]}))
    return str(file)


@pytest.mark.parametrize("io", ["xdp", "packet"])
def test_a_wire_starts_with_a_rate_and_gets_other_policies_as_it_runs(io, tmp_path):
    size = 1_500_000
    wire = Wire("--io", io, "--policies", rules(tmp_path, "limited", rate=RATE, burst=BURST, mss_access=1000))
    with Session("x", QUICK, wire) as session:
        gets = [
            {"kind": "get", "size": size, "start": 0.1, "label": f"get{version}"} | session.phone(version)
            for version in (4, 6)
        ]
        probe = {"start": 0.5, "stop": 1.5, "interval": 0.02, "linger": 1.0} | session.phone(4)
        limited = session.run({"transfers": gets, "probes": [probe]}, 4)
        socket = registry.find(wire.name).socket
        assert control.ask(socket, "policies")["policies"] == [{"name": "limited", "connections": 2}]
        before = wire.counters()
        control.ask(socket, "set-policies", file=rules(tmp_path, "nobody", service="none"))
        untouched = session.run({"transfers": gets}, 2)
        after = wire.counters()
        assert control.ask(socket, "policies")["policies"] == [{"name": "nobody", "connections": 2}]
    assert limited.intact, limited.broken
    assert untouched.intact, untouched.broken
    for each in limited.transfers:
        assert each["finished"] - each["first_byte"] >= (size - BURST) / RATE * 0.95, each
    assert limited.wire["resets"] == 0
    # Echoes come back to a subscriber whose rate is used up: they wait, too, and get their part of it.
    assert limited.wire["datagrams_waited"] > 0
    assert sum(rtt is not None for _, rtt in limited.probe) >= len(limited.probe) - 1
    assert after["refused.policy"] - before["refused.policy"] == 2
    assert after["optimized"] == before["optimized"]
