"""Wires as a plane, with processes that stand in for real ones: they register, answer orders, and carry no packets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from smartwire.config import software
from smartwire.config.load import load
from smartwire.config.plane import Setup
from smartwire.config.prefixlists import Snapshot
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.config.wireplane import WirePlane
from smartwire.errors import Error
from smartwire.proxy import registry as proxies
from smartwire.proxy.layout import RULES
from smartwire.proxy.rules import read_rules
from smartwire.wire import copper, ownership, ports, registry

STAND_IN = """
import hashlib, json, os, signal, sys, threading, time
from smartwire.wire import control, registry
do, access, core = [*sys.argv[1:4], ""][:3]
log = open(os.environ["STAND_IN_LOG"], "a")
print(*sys.argv[1:], file=log, flush=True)
if do == "unwire":
    sys.exit(0)
if do == "proxy":
    import subprocess
    from smartwire.proxy import registry as proxies
    verb = sys.argv[2]
    name = sys.argv[sys.argv.index("--name") + 1]
    if verb == "up":
        if "broken" in sys.argv:
            sys.exit("smartwire: HAProxy is not there.")
        rest = sys.argv[3:]
        if "--trunk" in rest:
            port = rest[rest.index("--trunk") + 1]
            vlans = [int(rest[rest.index(f"--{side}-vlan") + 1]) for side in ("access", "core")]
            settings = {"access": port, "core": port, "vlans": vlans}
        else:
            settings = {"access": rest[0], "core": rest[1], "vlans": None}
        settings |= {"name": name, "owner": "smartwired", "http": "http" in rest, "splice": "--splice" in rest}
        for key in ("access_cc", "core_cc", "initial_window", "access_mss", "core_mss", "max_flows", "threads"):
            option = "--" + key.replace("_", "-")
            value = rest[rest.index(option) + 1] if option in rest else None
            settings[key] = int(value) if value and value.isdigit() else value
        away = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        subprocess.Popen([sys.executable, __file__, "serve", name, json.dumps(settings)], **away)
        while not any(r.name == name for r in proxies.running()):
            time.sleep(0.02)
    sys.exit(0)
if do == "serve":
    from smartwire.proxy import registry as proxies
    with proxies.claim(access) as place:
        info = json.loads(core) | {"pid": os.getpid()}
        over = threading.Event()
        def told(request):
            yield from ()
            print("proxy", request["do"], file=log, flush=True)
            if request["do"] == "down":
                over.set()
            if request["do"] == "upgrade":
                info.update(request["settings"])
                (place / "proxy.json").write_text(json.dumps(info))
            return {"connections": 3, "reset": 1}
        proxies.clean(place)
        server = control.Server(place / "control.sock", {"down": told, "upgrade": told, "reload": told})
        (place / "proxy.json").write_text(json.dumps(info))
        over.wait()
        time.sleep(0.1)
    sys.exit(0)
if access == "broken":
    sys.exit("smartwire: broken is broken: mend it.")
named = sys.argv.index("--name")
given = dict(zip(sys.argv[named::2], sys.argv[named + 1::2]))
def digest(file):
    text = open(file).read()
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text else ""
first = digest(sys.argv[sys.argv.index("--policies") + 1]) if "--policies" in sys.argv else ""
over = threading.Event()
def ordered(request):
    yield from ()
    print("order", request["do"], file=log, flush=True)
    return {}
def ruled(request):
    yield from ()
    info = json.loads((place / "wire.json").read_text())
    (place / "wire.json").write_text(json.dumps(info | {"policies": digest(request["file"])}))
    print("order set-policies", file=log, flush=True)
    return {}
with registry.register(given["--name"], access=access, core=core, owner=sys.argv[-1], limit_s=1.0) as place:
    if access != "deaf":
        signal.signal(signal.SIGTERM, lambda *_: over.set())
    else:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = control.Server(place / "control.sock", {"bypass": ordered, "resume": ordered, "set-policies": ruled})
    info = json.loads((place / "wire.json").read_text())
    (place / "wire.json").write_text(json.dumps(info | {"io": "none", "policies": first}))
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
    for running in (*registry.running(), *proxies.running()):
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


def test_how_subscribers_are_told_apart_is_part_of_what_a_wire_is_started_with(machine):
    machine.apply(setup(NORTH))
    told = "set subscribers identification by outer-vlan ipv6-prefix-length 56\n"
    assert machine.differences(setup(NORTH + told)) == ["wire north does not run as configured."]
    machine.apply(setup(NORTH + told))
    assert "--ipv6-prefix-length 56 --subscribers-by outer-vlan" in machine.log()[-1]
    assert machine.differences(setup(NORTH + told)) == []


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
    assert machine.log()[-1] == "unwire eth3 eth4 --owner smartwired"


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


POLICIES = "set policies web match core-port 80\nset policies web engine none\n"


def test_a_wire_starts_with_its_policies_and_gets_new_ones_as_it_runs(machine):
    machine.apply(setup(NORTH + POLICIES))
    before = pids()
    assert machine.differences(setup(NORTH + POLICIES)) == []
    other = POLICIES + "set policies rest rate-limit 20m"
    assert machine.differences(setup(NORTH + other)) == ["wire north has other policies than configured."]
    assert machine.apply(setup(NORTH + other)) == ["wire north has new policies."]
    assert machine.differences(setup(NORTH + other)) == []
    assert machine.apply(setup(NORTH)) == ["wire north has new policies."]
    assert machine.differences(setup(NORTH)) == []
    assert pids() == before
    assert machine.log()[1:] == ["order set-policies"] * 2


def test_a_wire_that_died_comes_back_with_its_policies(machine):
    machine.apply(setup(NORTH + POLICIES))
    os.kill(pids()["north"], signal.SIGKILL)
    machine.children["north"].wait()
    machine.apply(setup(NORTH + POLICIES))
    assert machine.differences(setup(NORTH + POLICIES)) == []
    assert "--policies" in machine.log()[-1]


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


def test_a_wire_that_does_not_start_keeps_no_other_from_it(machine):
    lines = "set wires north pair broken core eth2\nset wires south pair eth3 core eth4"
    with pytest.raises(Error, match="broken is broken"):
        machine.apply(setup(lines))
    assert set(pids()) == {"south"}
    assert machine.differences(setup(lines)) == ["wire north is not running."]


def test_more_policies_than_a_proxy_has_room_for_are_refused(machine):
    lines = "".join(
        f"set policies p{n} match core-port {n + 1}\nset policies p{n} engine proxy\n" for n in range(RULES + 1)
    )
    said = [p.sentence for p in machine.check(setup(NORTH + "set wires north mode proxy\n" + lines))]
    assert f"{RULES + 1} policies concern its proxy and {RULES} are possible: join some with prefix lists." in said


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
    assert problem.sentence == "eth1 and eth2 are parted, and no traffic passes between them."


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


PROXIED = (
    NORTH
    + """set wires north mode proxy
set prefix-lists cdn prefix 192.0.2.0/24
set policies lan match access-prefix 10.0.0.0/8 core-port 22 vlan [ 0 7 ]
set policies web match core-prefix-list cdn core-port [ 80 8000-8099 ] wire north
set policies web engine proxy
set policies other match wire south
"""
)


def toml(machine) -> dict:
    return tomllib.loads((machine.proxies.directory / "north.toml").read_text())


def test_a_wire_of_mode_proxy_is_a_proxy_with_the_policies_as_its_rules(machine):
    machine.apply(setup(PROXIED))
    assert pids() == {}
    assert [r.name for r in proxies.running()] == ["north"]
    assert machine.differences(setup(PROXIED)) == []
    assert toml(machine) == {
        "rule": [
            {"name": "lan", "action": "direct", "access": ["10.0.0.0/8"], "port": ["22"], "vlan": ["none", 7]},
            {"name": "web", "action": "proxy", "core": ["192.0.2.0/24"], "port": ["80", "8000-8099"]},
        ]
    }
    assert len(read_rules(machine.proxies.directory / "north.toml")) == 2


def test_new_rules_are_read_by_the_running_proxy(machine):
    machine.apply(setup(PROXIED))
    [before] = proxies.running()
    assert machine.apply(setup(PROXIED + "delete policies lan")) == ["the proxy of wire north has new rules."]
    assert [r["name"] for r in toml(machine)["rule"]] == ["web"]
    assert proxies.running()[0].info == before.info
    assert machine.apply(setup(PROXIED + "delete policies lan")) == []


BESIDE = NORTH + "set policies web match core-port 80\nset policies web engine proxy\n"


def test_a_policy_of_the_proxy_engine_gives_a_wire_a_proxy_beside_it(machine):
    machine.apply(setup(NORTH))
    before = pids()
    assert machine.differences(setup(BESIDE)) == [
        "wire north has other policies than configured.",
        "the proxy of wire north is not running.",
    ]
    said = ["wire north has new policies.", "the proxy of wire north was started."]
    assert machine.apply(setup(BESIDE)) == said
    assert machine.differences(setup(BESIDE)) == []
    assert [r.name for r in proxies.running()] == ["north"]
    assert machine.apply(setup(NORTH))[0] == "the proxy of wire north was ended."
    assert proxies.running() == []
    assert pids() == before


def test_what_comes_behind_the_last_policy_of_the_proxy_engine_is_no_rule_of_it(machine):
    lines = "set policies gold match subscriber-class gold\nset subscribers class gold prefix 10.0.0.0/8\n"
    machine.apply(setup(BESIDE + lines))
    assert [r["name"] for r in toml(machine)["rule"]] == ["web"]


def test_another_tcp_is_that_of_a_second_container_and_no_connection_is_ended(machine):
    machine.apply(setup(BESIDE))
    [before] = proxies.running()
    other = BESIDE + "set proxy access-congestion-control bbr initial-window 20 core-mss 1400"
    assert machine.differences(setup(other)) == ["the proxy of wire north does not run as configured."]
    assert machine.apply(setup(other)) == ["the proxy of wire north has a new container for new connections."]
    assert machine.differences(setup(other)) == []
    [after] = proxies.running()
    assert after.info["pid"] == before.info["pid"]
    assert (after.info["access_cc"], after.info["initial_window"], after.info["core_mss"]) == ("bbr", 20, 1400)
    assert machine.apply(setup(BESIDE + "set proxy mode http")) == [
        "the proxy of wire north was ended.",
        "the proxy of wire north was started.",
    ]
    assert proxies.running()[0].info["http"] is True


def test_a_proxy_on_one_port_with_two_vlans(machine):
    trunk = "set wires north trunk eth1 access-vlan 10 core-vlan 20\nset wires north mode proxy\n"
    trunk += "set policies web engine proxy\n"
    assert machine.apply(setup(trunk)) == ["the proxy of wire north was started."]
    assert "proxy up --trunk eth1 --access-vlan 10 --core-vlan 20 --name north" in "\n".join(machine.log())
    assert machine.differences(setup(trunk)) == []
    assert copper.remembered() == [copper.Pair("eth1", "eth1", (10, 20))]
    assert ownership.read() == {"eth1": "north"}
    assert machine.apply(setup("")) == [
        "the proxy of wire north was ended.",
        "VLANs 10 and 20 of eth1 are not joined any more.",
    ]
    assert machine.log()[-1] == "unwire eth1 --owner smartwired"


def test_the_next_smartwired_knows_a_proxy_of_the_last_one_even_without_its_notes(machine):
    machine.apply(setup(BESIDE))
    [before] = proxies.running()
    (machine.proxies.directory / "north.json").unlink()
    successor = WirePlane(machine.logs, machine.launch)
    assert successor.apply(setup(BESIDE)) == ["the proxy of wire north has new rules."]
    assert successor.differences(setup(BESIDE)) == []
    assert proxies.running()[0].info["pid"] == before.info["pid"]


def test_at_an_upgrade_a_proxy_ends_and_comes_back(machine):
    machine.apply(setup(BESIDE))
    [before] = proxies.running()
    engine = SimpleNamespace(setup=setup(BESIDE), reconcile=lambda: machine.apply(setup(BESIDE)))
    assert software.move(engine, before) == 1  # so many had not finished, the stand-in says
    [after] = proxies.running()
    assert after.info["pid"] != before.info["pid"]
    assert machine.differences(setup(BESIDE)) == []


def test_a_wire_may_have_several_pairs_of_ports(machine):
    lines = NORTH + "set wires north pair eth3 core eth4"
    machine.apply(setup(lines))
    assert machine.log()[0].startswith("run eth1 eth2 eth3 eth4 --name north")
    assert machine.differences(setup(lines)) == []


def test_files_of_prefix_lists_are_named_by_their_content(machine):
    lines = NORTH + "set wires north mode proxy\nset prefix-lists big file big.txt\n"
    lines += "set policies web match access-prefix-list big\nset policies web engine proxy"
    snapshot = Snapshot.of(b"198.51.100.0/24\n")
    machine.apply(Setup(setup(lines).config, {"big": snapshot}))
    assert toml(machine)["prefix-list"] == {"big": str(machine.proxies.lists / snapshot.digest)}


def test_a_wire_becomes_a_proxy_and_a_wire_again_and_its_ports_stay_joined(machine):
    machine.apply(setup(NORTH))
    assert machine.apply(setup(PROXIED)) == ["wire north was stopped.", "the proxy of wire north was started."]
    said = machine.apply(setup(NORTH))
    assert said[0] == "the proxy of wire north was ended."
    assert said[1].startswith("wire north was started")
    assert proxies.running() == []
    assert not any(line.startswith("unwire") for line in machine.log())


def test_a_proxy_that_died_or_does_not_start_is_said(machine):
    machine.apply(setup(PROXIED))
    [running] = proxies.running()
    os.kill(running.info["pid"], signal.SIGKILL)
    proxies.wait_for_end(running.directory)
    assert machine.differences(setup(PROXIED)) == ["the proxy of wire north is not running."]
    machine.apply(setup(PROXIED))
    with pytest.raises(Error, match="HAProxy is not there"):
        machine.apply(setup("set wires south pair broken core eth4\nset wires south mode proxy"))
