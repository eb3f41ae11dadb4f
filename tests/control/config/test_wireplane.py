"""Wires as a plane, with processes that stand in for real ones: they register, answer orders, and carry no packets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from smartwire.config.load import load
from smartwire.config.plane import Setup
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.config.wireplane import WirePlane
from smartwire.errors import Error
from smartwire.wire import ownership, ports, registry

STAND_IN = """
import json, os, signal, sys, threading, time
from smartwire.wire import control, registry
do, access, core = sys.argv[1:4]
log = open(os.environ["STAND_IN_LOG"], "a")
print(*sys.argv[1:], file=log, flush=True)
if do == "unwire":
    sys.exit(0)
if access == "broken":
    sys.exit("smartwire: broken is broken: mend it.")
given = dict(zip(sys.argv[4::2], sys.argv[5::2]))
over = threading.Event()
def ordered(request):
    yield from ()
    print("order", request["do"], file=log, flush=True)
    return {}
with registry.register(given["--name"], access=access, core=core, owner=sys.argv[-1], limit_s=1.0) as place:
    if access != "deaf":
        signal.signal(signal.SIGTERM, lambda *_: over.set())
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = control.Server(place / "control.sock", {"bypass": ordered, "resume": ordered})
    info = json.loads((place / "wire.json").read_text())
    (place / "wire.json").write_text(json.dumps(info | {"io": "none"}))
    over.wait()
"""


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A plane on a machine with a few ports; `log()` is what the stand-ins were told."""
    monkeypatch.setenv("SMARTWIRE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("SMARTWIRE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("STAND_IN_LOG", str(tmp_path / "told"))
    monkeypatch.setattr(ports, "interfaces", lambda: ["eth1", "eth2", "eth3", "eth4", "broken", "deaf", "lo"])
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    plane = WirePlane(tmp_path / "logs", (sys.executable, str(program)))
    plane.log = lambda: (tmp_path / "told").read_text().splitlines()
    yield plane
    for running in registry.running():
        os.kill(running.info["pid"], signal.SIGKILL)
    for child in plane.children.values():
        child.wait()


def setup(lines: str) -> Setup:
    return Setup(load(Config(load_schema()), "set", lines))


NORTH = "set wires north pair eth1 core eth2\n"
BOTH = NORTH + "set wires south pair eth3 core eth4\n"


def pids() -> dict[str, int]:
    return {r.name: r.info["pid"] for r in registry.running()}


def test_wires_are_started_as_configured_and_only_once(machine):
    machine.apply(setup(BOTH + "set wires north workers 2 mode observe"))
    first = pids()
    assert set(first) == {"north", "south"}
    assert machine.differences(setup(BOTH + "set wires north workers 2 mode observe")) == []
    assert machine.apply(setup(BOTH + "set wires north workers 2 mode observe")) == []
    assert pids() == first
    assert machine.log()[0].startswith(
        "run eth1 eth2 --name north --io auto --workers 2 --max-flows 262144 --limit 60s --mend --observe --owner"
    )


def test_only_the_wire_that_changed_is_started_anew(machine):
    machine.apply(setup(BOTH))
    before = pids()
    assert machine.differences(setup(BOTH + "set wires north workers 3")) == ["wire north does not run as configured."]
    machine.apply(setup(BOTH + "set wires north workers 3"))
    assert pids()["south"] == before["south"]
    assert pids()["north"] != before["north"]


def test_the_next_plane_finds_the_wires_of_the_last_one(machine):
    machine.apply(setup(BOTH))
    before = pids()
    successor = WirePlane(machine.logs, machine.launch)
    assert successor.differences(setup(BOTH)) == []
    successor.apply(setup(NORTH))
    assert pids() == {"north": before["north"]}
    assert machine.log()[-1] == "unwire eth3 eth4"


def test_a_wire_that_died_is_started_again(machine):
    machine.apply(setup(NORTH))
    os.kill(pids()["north"], signal.SIGKILL)
    machine.children["north"].wait()
    assert machine.differences(setup(NORTH)) == ["wire north is not running."]
    machine.apply(setup(NORTH))
    assert machine.differences(setup(NORTH)) == []


def test_bypass_is_ordered_and_ended_without_a_new_start(machine):
    machine.apply(setup(NORTH))
    before = pids()
    assert machine.apply(setup(NORTH + "set wires north mode bypass")) == ["wire north was bypassed."]
    assert machine.differences(setup(NORTH + "set wires north mode bypass")) == []
    assert machine.apply(setup(NORTH)) == ["wire north optimizes again."]
    assert pids() == before
    assert machine.log()[1:] == ["order bypass", "order resume"]


def test_a_wire_that_was_started_by_hand_is_left_alone_and_named(machine):
    hand = subprocess.Popen([*machine.launch, "run", "eth1", "eth2", "--name", "mine", "--owner", "None"])
    deadline = time.monotonic() + 60
    while not any("io" in r.info for r in registry.running()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    problems = machine.check(setup(NORTH))
    assert {p.path for p in problems} == {("wires", "north", "pair", "eth1")}
    assert f"eth1 is part of wire mine, started by hand (pid {hand.pid}): stop that." in [p.sentence for p in problems]
    machine.apply(setup("set wires south pair eth3 core eth4"))
    assert pids()["mine"] == hand.pid
    hand.kill()
    hand.wait()


def test_a_wire_that_does_not_start_says_why_in_its_own_words(machine):
    with pytest.raises(Error, match=r"wire north did not start: broken is broken: mend it\."):
        machine.apply(setup("set wires north pair broken core eth2"))


def test_a_wire_that_does_not_leave_is_killed_and_that_is_said(machine, monkeypatch):
    monkeypatch.setattr("smartwire.config.wireplane.GRACE_S", 0.2)
    machine.apply(setup("set wires north pair deaf core eth2"))
    said = machine.apply(setup(""))
    assert "was killed; its connections are reset" in said[0]
    assert pids() == {}


def test_ports_that_are_not_there_are_named(machine):
    [problem] = machine.check(setup("set wires north pair eth1 core eth9"))
    assert problem.sentence == "there is no interface eth9 here (there are: eth1, eth2, eth3, eth4, broken, deaf)."


def test_taking_a_wire_out_is_warned_about(machine):
    machine.apply(setup(NORTH))
    [problem] = machine.check(setup(""))
    assert problem.severity == "warning"
    assert "eth1 and eth2 are parted, and no traffic passes between them" in problem.sentence


def test_while_smartwired_lives_run_and_unwire_name_the_command_instead(machine):
    machine.apply(setup(NORTH))
    with ownership.claim():
        for what, instead in (("run", "set wires north"), ("unwire", "delete wires north")):
            with pytest.raises(Error, match=f"eth2 belongs to wire north of smartwired: .*{instead}"):
                ownership.refuse("eth3", "eth2", what)
        ownership.refuse("eth3", "eth4", "run")
        with pytest.raises(Error, match=f"smartwired is running already .pid {os.getpid()}"), ownership.claim():
            pass
    ownership.refuse("eth1", "eth2", "run")
    assert json.loads((Path(os.environ["SMARTWIRE_RUN"]) / "smartwired" / "ports.json").read_text())["eth1"] == "north"
