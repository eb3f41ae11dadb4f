"""Alarms: each is raised and cleared by what the catalogue says, told to everyone, kept, and acknowledged."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from smartwire.alarms import journal
from smartwire.alarms.catalogue import CLEAR, KINDS, RAISE, SEVERITIES, Settings
from smartwire.alarms.evaluate import State, evaluate
from smartwire.alarms.facts import Facts, ProxyFacts, WireFacts
from smartwire.alarms.journal import Journal, journal_path
from smartwire.alarms.watch import Watcher
from smartwire.counters.collect import Collector, Health
from smartwire.counters.sources import Wires

from .conftest import DAY0, FakeClock

X733 = {
    "communicationsAlarm": {"lossOfSignal", "communicationsProtocolError"},
    "qualityOfServiceAlarm": {"thresholdCrossed", "performanceDegraded", "resourceAtOrNearingCapacity"},
    "processingErrorAlarm": {"storageCapacityProblem", "softwareError", "softwareProgramAbnormallyTerminated",
                             "underlyingResourceUnavailable", "configurationOrCustomizationError"},
    "equipmentAlarm": {"timingProblem"},
}  # fmt: skip


def wire(name="w", fresh=True, values=None, why="", **grown) -> WireFacts:
    grown = {k.replace("__", ".").replace("_w_", "-"): v for k, v in grown.items()}
    page = {"frames_kept": 0, "frames_keepable": 100, "flows": 7} | (values or {})
    seen = {"values": page, "grown": {"frames_in": 1} | grown} if fresh else {}
    return WireFacts(name, fresh, why, interfaces={0: "eth1", 1: "eth2"}, **seen)


GOOD = Facts(0.0, 0.0, 10.0, (wire(optimized=100),), (ProxyFacts("p", True),), 0.5)

# By alarm: facts that raise it, and facts that clear it where those of a good day do not.
CASES = {
    "heartbeat-lost": [
        replace(GOOD, wires=(wire(fresh=False, why="its process died"),)),
        replace(GOOD, wires=(wire(opened=1),)),
        replace(GOOD, wires=(wire(wire_opened=2),)),
    ],
    "port-down": [replace(GOOD, wires=(wire(values={"port1.up": 0}),))],
    "reset-rate": [replace(GOOD, wires=(wire(resets=1001),))],
    "haproxy-down": [replace(GOOD, proxies=(ProxyFacts("p", False, "HAProxy hangs"),))],
    "frames-low": [
        replace(GOOD, wires=(wire(values={"frames_kept": 90}),)),
        replace(GOOD, wires=(WireFacts("w", values={"a": 1}, grown={"refused.low-memory": 3}),)),
    ],
    "flow-table-full": [replace(GOOD, wires=(WireFacts("w", values={"a": 1}, grown={"refused.table-full": 1}),))],
    "disk-full": [replace(GOOD, disk_free=0.09), replace(GOOD, health=Health("no room", full=True))],
    "counters-lost": [replace(GOOD, health=Health("The counter database was damaged."))],
    "bypass-active": [replace(GOOD, wires=(WireFacts("w", values={"a": 1}, grown={"refused.bypassed": 1}),))],
    "asymmetry": [
        replace(GOOD, wires=(WireFacts("w", values={"a": 1}, grown={"refused.one-way": 20, "optimized": 80}),))
    ],
    "configuration-rolled-back": [replace(GOOD, rolled_back="The commit was not confirmed.")],
    "clock-step": [replace(GOOD, health=Health(stepped_s=-3.0))],
}


def run(state: State, facts: Facts, begin: float, seconds: float, settings=Settings()) -> tuple[State, list, float]:  # noqa: B008
    """The same facts every 10 s."""
    changes, now = [], begin
    while now <= begin + seconds:
        state, more = evaluate(state, replace(facts, now=DAY0 + now, steady=now), settings)
        changes += more
        now += 10
    return state, changes, now


def test_every_alarm_of_the_catalogue_has_a_case_here():
    assert set(CASES) == set(KINDS)


@pytest.mark.parametrize(("name", "facts"), [(name, facts) for name, cases in CASES.items() for facts in cases])
def test_each_alarm_is_raised_once_and_cleared_once(name, facts):
    state, changes, now = run(State(), GOOD, 0, 100)
    assert changes == []
    state, changes, now = run(state, facts, now, 100)
    assert [(c.alarm.name, c.raised) for c in changes] == [(name, True)]
    kind = KINDS[name]
    assert changes[0].alarm.raised == DAY0 + 110 + kind.raise_after_s
    assert changes[0].alarm.remedy == kind.remedy
    began = now
    state, changes, now = run(state, GOOD, now, kind.clear_after_s + 30)
    assert [(c.alarm.name, c.raised) for c in changes] == [(name, False)]
    assert changes[0].alarm.cleared == DAY0 + began + kind.clear_after_s
    assert not state.active


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.name)
def test_the_catalogue_is_whole(kind):
    assert kind.severity in SEVERITIES
    assert kind.cause in X733[kind.type]
    assert kind.remedy.endswith(".")
    assert all(len(text) > 10 and not text.endswith(".") for text in (kind.title, kind.raised, kind.cleared))


def test_a_condition_that_comes_and_goes_neither_raises_nor_clears():
    low = CASES["frames-low"][0]
    state, now = State(), 0.0
    for _ in range(10):  # must last for 20 s
        state, changes, now = run(state, low, now, 10)
        assert changes == []
        state, changes, now = run(state, GOOD, now, 0)
    state, changes, now = run(state, low, now, 30)
    assert [c.raised for c in changes] == [True]
    for _ in range(10):  # must be over for 60 s
        state, changes, now = run(state, GOOD, now, 40)
        assert changes == []
        state, changes, now = run(state, low, now, 0)


def test_between_its_thresholds_an_alarm_stays_as_it_is():
    between = replace(GOOD, wires=(wire(values={"frames_kept": 80}),))
    state, changes, now = run(State(), between, 0, 600)
    assert changes == []
    state, changes, now = run(state, CASES["frames-low"][0], now, 60)
    assert len(changes) == 1
    assert run(state, between, now, 600)[1] == []


def test_each_object_has_an_alarm_of_its_own():
    facts = replace(GOOD, wires=(wire("a", values={"port0.up": 0, "port1.up": 0}), wire("b", values={"port0.up": 0})))
    _, changes, _ = run(State(), facts, 0, 0)
    assert [c.alarm.object for c in changes] == ["wire/a/port/access", "wire/a/port/core", "wire/b/port/access"]
    assert [c.alarm.number for c in changes] == [1, 2, 3]


def test_alarms_of_a_wire_that_was_taken_out_are_cleared():
    state, _, now = run(State(), CASES["port-down"][0], 0, 0)
    state, changes, _ = run(state, replace(GOOD, wires=()), now, 0)
    assert [c.raised for c in changes] == [False]


def test_alarms_of_a_wire_that_hangs_stay_and_its_heartbeat_is_one_more():
    state, _, now = run(State(), CASES["port-down"][0], 0, 0)
    state, changes, _ = run(state, CASES["heartbeat-lost"][0], now, 100)
    assert [(c.alarm.name, c.raised) for c in changes] == [("heartbeat-lost", True)]
    assert {name for name, _ in state.active} == {"port-down", "heartbeat-lost"}


def test_a_disabled_alarm_is_not_raised_and_an_active_one_ends():
    settings = Settings(disabled=frozenset({"port-down"}))
    assert run(State(), CASES["port-down"][0], 0, 60, settings)[1] == []
    state, _, now = run(State(), CASES["port-down"][0], 0, 0)
    assert [c.raised for c in run(state, CASES["port-down"][0], now, 0, settings)[1]] == [False]


def test_an_operator_may_set_another_severity_and_other_thresholds():
    settings = Settings(severities={"reset-rate": "warning"}, reset_rate=5.0, disk_free=0.6)
    _, changes, _ = run(State(), replace(GOOD, wires=(wire(resets=51),)), 0, 0, settings)
    assert [(c.alarm.name, c.alarm.severity) for c in changes] == [("reset-rate", "warning"), ("disk-full", "major")]


def test_few_new_connections_say_nothing_about_asymmetry():
    few = replace(GOOD, wires=(WireFacts("w", values={"a": 1}, grown={"refused.one-way": 20}),))
    assert run(State(), few, 0, 600)[1] == []


@pytest.mark.parametrize("name", KINDS)
def test_every_check_stands_facts_in_which_nothing_is_known(name):
    for finding in KINDS[name].check(Facts(0.0, 0.0, wires=(WireFacts("w"),)), Settings()):
        assert finding.verdict in (RAISE, CLEAR, "hold")


class Told:
    def __init__(self):
        self.changes = []

    def tell(self, change):
        self.changes.append(change)


@pytest.fixture
def watched(page_wire, tmp_path):
    """A collector with a watcher over a wire that is only a page, a tick of 10 s at each call."""
    wires, clock, said, told, bypassed = Wires(), FakeClock(), [], Told(), []
    collector = Collector(tmp_path / "state/counters.db", [wires], clock=clock, say=said.append)
    watcher = Watcher(wires, Journal(journal_path()), sinks=[told], say=said.append, bypass=bypassed.append)

    class Watched:
        def __call__(self, ticks: int = 1, **values: int) -> None:
            for _ in range(ticks):
                clock.pass_(10)
                page_wire.publish(**values)
                assert collector.tick()
                self.watcher(collector)

    made = Watched()
    made.watcher, made.collector, made.said, made.told, made.bypassed, made.clock = (
        watcher, collector, said, told.changes, bypassed, clock,
    )  # fmt: skip
    yield made
    collector.close()


def test_an_alarm_goes_from_the_page_to_the_list_the_history_and_whoever_is_told(watched, smartwire, page_wire):
    watched(2)
    page_wire.port(1, up=0)
    watched()
    document = json.loads(smartwire("alarms", "--json").out)
    assert [(a["name"], a["object"], a["severity"]) for a in document["alarms"]] == [
        ("port-down", "wire/w/port/core", "critical")
    ]
    assert [c.raised for c in watched.told] == [True]
    page_wire.port(1, up=1)
    watched(3)
    assert [c.raised for c in watched.told] == [True, False]
    assert json.loads(smartwire("alarms", "--json").out)["alarms"] == []
    done = smartwire("alarms", "--history")
    assert "port-down" in done.out
    assert any("eth2" in sentence for sentence in watched.said)


def test_the_list_for_a_person_has_the_remedy(watched, smartwire, page_wire):
    watched(2)
    page_wire.port(0, up=0)
    watched()
    done = smartwire("alarms")
    assert done.status == 0
    assert "critical" in done.out
    assert "Check the cable" in done.out
    assert "nobody watches" in done.err  # the clock of this test stands years away


def test_without_a_watcher_it_says_so_and_who_watches(smartwire):
    done = smartwire("alarms")
    assert "(no alarms)" in done.out
    assert "counters collect" in done.err
    assert smartwire("alarms", "--history").status == 3


def test_an_acknowledgement_is_seen_by_everyone(watched, smartwire, page_wire):
    watched(2)
    page_wire.port(0, up=0)
    watched()
    assert smartwire("alarms", "--acknowledge", "1").status == 0
    watched()
    assert watched.watcher.active[0].acknowledged_by
    assert "acknowledged by" in smartwire("alarms").out
    assert smartwire("alarms", "--acknowledge", "99").status == 3


def test_a_restarted_watcher_goes_on_where_the_last_one_was(watched, page_wire):
    watched(2)
    page_wire.port(0, up=0)
    watched()
    fresh = Watcher(watched.watcher.wires, Journal(journal_path()), sinks=[told := Told()])
    watched.watcher = fresh
    watched(2)
    assert told.changes == []
    assert [a.number for a in fresh.active] == [1]
    page_wire.port(0, up=1)
    watched(3)
    assert [c.raised for c in told.changes] == [False]


def test_a_wire_whose_process_died_raises_its_heartbeat(watched, page_wire):
    watched(2)
    page_wire.die()
    watched(1)
    assert [c.alarm.name for c in watched.told] == ["heartbeat-lost"]
    assert "died" in watched.told[0].text


def test_unwiring_a_dead_wire_ends_its_alarms(watched, page_wire):
    from smartwire.wire import registry

    watched(2)
    page_wire.die()
    watched(1)
    registry.forget("eth1", "eth7")
    assert page_wire.directory.exists()
    registry.forget("eth1", "eth2")
    assert not page_wire.directory.exists()
    watched.clock.pass_(10)
    watched.collector.tick()
    watched.watcher(watched.collector)
    assert [c.raised for c in watched.told] == [True, False]


def test_a_wire_that_hangs_raises_its_heartbeat_and_a_new_process_clears_it(watched, page_wire):
    watched(2)
    page_wire.publish(age_s=7)
    watched.clock.pass_(10)
    watched.collector.tick()
    watched.watcher(watched.collector)
    assert "7 s ago" in watched.told[0].text
    watched(8)
    assert [c.raised for c in watched.told] == [True, False]


def test_a_wire_that_starts_raises_nothing_unless_it_never_writes_a_page(watched, page_wire):
    (page_wire.directory / "stats").unlink()
    info = json.loads((page_wire.directory / "wire.json").read_text())
    (page_wire.directory / "wire.json").write_text(json.dumps(info | {"started": watched.clock.wall()}))

    def look(ticks: int) -> list[str]:
        for _ in range(ticks):
            watched.clock.pass_(10)
            watched.collector.tick()
            watched.watcher(watched.collector)
        return [change.alarm.name for change in watched.told]

    assert look(2) == []
    assert look(2) == ["heartbeat-lost"]


def test_the_bypass_is_the_order_that_the_command_gives(page_wire):
    from smartwire.alarms.watch import bypass_wire
    from smartwire.wire.control import Server

    orders = []

    def bypass(request):
        yield from ()
        orders.append(request)
        return {"flows": 0, "handed_back": 0, "reset": 0, "seconds": 0.0}

    server = Server(page_wire.directory / "control.sock", {"bypass": bypass})
    bypass_wire("w")
    server.close()
    assert [(o["do"], o["target"], o["limit_s"] > 0) for o in orders] == [("bypass", {"kind": "wire"}, True)]


def test_a_restart_of_the_wire_raises_nothing(watched, page_wire):
    watched(2, resets=5000)
    info = json.loads((page_wire.directory / "wire.json").read_text())
    (page_wire.directory / "wire.json").write_text(json.dumps(info | {"pid": 99}))
    watched(2, resets=9000)
    assert watched.told == []


def test_many_resets_take_the_wire_out_where_that_is_wanted(watched):
    watched(2, resets=0)
    watched(1, resets=5000)
    assert watched.bypassed == []
    watched(8)
    watched.watcher.settings = Settings(bypass_on_reset_rate=True)
    watched(1, resets=99_000)
    for _ in range(100):
        if any("was bypassed" in sentence for sentence in watched.said):
            break
        __import__("time").sleep(0.05)
    assert watched.bypassed == ["w"]


def test_a_disk_without_room_costs_the_history_not_the_alarm(watched, page_wire, monkeypatch):
    watched(2)

    def full(self, changes):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "record", full)
        page_wire.port(0, up=0)
        watched(3)
        assert [a.name for a in journal.active().alarms] == ["port-down"]
        assert sum("cannot be written down" in sentence for sentence in watched.said) == 1
    watched()
    assert [a.name for a in Journal(journal_path()).history(10)] == ["port-down"]


def test_the_history_has_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(journal, "KEPT", 20)
    state, now = State(), 0.0
    kept = Journal(tmp_path / "alarms.db")
    for _ in range(30):
        for facts in (CASES["port-down"][0], GOOD):
            state, changes, now = run(state, facts, now, 20)
            kept.record(changes)
    assert [a.number for a in kept.history(100)] == list(range(30, 10, -1))


def test_the_catalogue_is_printed_with_its_remedies(smartwire):
    done = smartwire("alarms", "--catalogue")
    assert all(kind.name in done.out and kind.remedy in done.out for kind in KINDS.values())
    assert len(json.loads(smartwire("alarms", "--catalogue", "--json").out)["alarms"]) == len(KINDS)


def test_a_damaged_list_of_alarms_is_one_sentence(smartwire, run_dir):
    run_dir.mkdir(parents=True)
    (run_dir / "alarms.json").write_text("{")
    done = smartwire("alarms")
    assert done.status == 1
    assert "cannot be read" in done.err
    assert os.path.exists(run_dir / "alarms.json")


def test_the_collector_tells_syslog_and_trap_receivers_of_an_alarm(page_wire, tmp_path):
    """The command as an operator starts it, over loopback: a port that is down reaches a syslog server."""
    page_wire.port(1, up=0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        url = f"udp://127.0.0.1:{server.getsockname()[1]}"
        command = [sys.executable, "-m", "smartwire", "counters", "collect", "--step", "1", "--syslog", url]
        stop = threading.Event()
        beat = threading.Thread(target=lambda: [page_wire.publish() for _ in iter(lambda: stop.wait(0.2), True)])
        beat.start()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
            try:
                heard = server.recv(4096).decode()
            finally:
                stop.set()
                beat.join()
                process.terminate()
                _, said = process.communicate(timeout=60)
    assert "ALARM_RAISED" in heard
    assert "eth2" in heard
    assert process.returncode == 0, said.decode()
    assert b"port-down (critical)" in said


@pytest.mark.parametrize(
    "options",
    [["--syslog", "nonsense"], ["--trap", "a:b"], ["--trap", "192.0.2.1", "--trap-user", "{bad}"]],
)
def test_receivers_that_cannot_be_meant_are_refused_in_one_sentence(smartwire, tmp_path, options):
    bad = tmp_path / "bad"
    bad.write_text("user\nshort\n")
    done = smartwire("counters", "collect", *[o.format(bad=bad) for o in options])
    assert done.status == 2
    assert done.err.count("\n") == 1


def test_the_operations_guide_has_the_catalogue_as_it_is():
    from smartwire.alarms.document import updated

    guide = (Path(__file__).resolve().parents[2] / "docs/operations.md").read_text()
    assert guide == updated(guide), "python -m smartwire.alarms.document docs/operations.md brings it up to date"
    assert all(f"### {name}\n" in guide for name in KINDS)
