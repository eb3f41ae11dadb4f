"""Is it working, and does it help: the verdict in words, the figures of now, the curves over time."""

from __future__ import annotations

import json
import time

import pytest
from smartwire.config.overview import curves, verdict
from smartwire.counters.history import History, database
from smartwire.counters.store import Reading, Store
from smartwire.wire import control, roundtrips


def wire(**facts):
    """A running wire with 1 MB/s of optimized traffic, and whatever else."""
    base = {
        "name": "north", "engine": "wire", "mode": "optimize", "state": "running", "flows": 3, "subscribers": 2,
        "down_bit_s": 8e6, "up_bit_s": 1e5, "rate": {"accepted_bytes": 990_000, "not_optimized_bytes": 10_000},
        "total": {"retransmitted": 0}, "rtt_access_us": 60_000, "rtt_core_us": 20_000,
    }  # fmt: skip
    return base | facts


def alarm(severity: str):
    return {"severity": severity, "text": "The disk is nearly full.", "object": "box"}


@pytest.mark.parametrize(
    ("wires", "alarms", "state", "words"),
    [
        ([], [], "idle", "To join two ports: set wires NAME pair ACCESS core CORE"),
        ([wire()], [], "good", "Working: 3 connections of 2 subscribers, 8 Mbit/s down, 100 kbit/s up."),
        ([wire()], [], "good", "99% of TCP bytes are optimized. Servers see a round trip of 20 ms instead of 80 ms."),
        ([wire(total={"retransmitted": 1})], [], "good", "1 lost segment repaired from here"),
        ([wire(state="stopped")], [], "bad", "Wire north is not running: its traffic passes over the copper wire"),
        ([wire(state="hung")], [], "bad", "Wire north hangs"),
        ([wire(state="starting")], [], "watch", "Wire north is starting"),
        ([wire()], [alarm("critical")], "bad", "The disk is nearly full (box)."),
        ([wire()], [alarm("minor"), alarm("major")], "watch", "The disk is nearly full (box)."),
        ([wire()], [alarm("minor")], "good", "Working:"),
        ([wire(mode="observe")], [], "good", "It only observes, as configured"),
        ([wire(flows=0, down_bit_s=0, up_bit_s=0)], [], "idle", "nothing to do at the moment"),
        ([wire(rate={"accepted_bytes": 1, "not_optimized_bytes": 90_000})], [], "good", "It does not help now"),
        ([wire(engine="proxy", state="stopped", mode="proxy", rtt_core_us=None)], [], "good", "Working:"),
    ],
)
def test_the_verdict_says_what_the_figures_mean(wires, alarms, state, words):
    said = verdict(wires, alarms)
    assert said.state == state
    assert words in f"{said.working} {said.helps}"


def test_rates_are_of_the_last_seconds_and_a_wire_that_hangs_is_told(box, page_wire):
    box.commit("set wires w pair eth1 core eth2")
    session = box.root(None)
    before = page_wire.values["port1.rx_bytes"]
    session.run("show overview")
    time.sleep(0.6)
    page_wire.port(1, rx_bytes=before + 1_000_000)
    found = session.run("show overview")
    assert 2e6 < found["data"]["down_bit_s"] < 16e6
    assert found["data"]["wires"][0]["state"] == "running"
    assert "mid-stream" in found["text"]
    json.dumps(found["data"])
    page_wire.publish(age_s=5)
    assert session.run("show overview")["data"]["verdict"]["state"] == "bad"


def test_round_trips_are_medians_and_a_wire_with_many_connections_is_not_asked(monkeypatch):
    asked = []

    def ask(path, do, **how):
        asked.append(do)
        return {
            "flows": [{"srtt_ns": [n * 1_000_000, 0]} for n in (10, 20, 90)],
            "subscribers": [{"rtt_ns": 50_000_000, "min_rtt_ns": 40_000_000}, {"rtt_ns": 0, "min_rtt_ns": 0}],
        }

    class Running:
        socket = None

    monkeypatch.setattr(control, "ask", ask)
    assert roundtrips.sample(Running, 3) == {"rtt_core_us": 20_000, "rtt_access_us": 50_000, "queue_us": 10_000}
    assert asked == ["flows", "subscribers"]
    assert roundtrips.sample(Running, roundtrips.MOST + 1) == {}
    assert roundtrips.sample(Running, 0) == {}
    assert len(asked) == 2


def test_curves_are_sums_over_wires_and_pairs_and_means_of_round_trips(run_dir):
    begin, store = 1_764_028_800, Store(database())
    for n in range(91):
        for name, ports, rtt in (("a", ("core", "core1"), 10_000), ("b", ("core",), 30_000)):
            paths = [f"wire/{name}/port/{p}/rx_bytes" for p in ports]
            paths += [f"wire/{name}/{m}" for m in ("flows", "rtt_core_us", "sent_bytes", "retransmitted_bytes")]
            paths += [f"wire/{name}/policy/x/sent_bytes", f"wire/{name}/reason/mptcp/refused"]
            values = [n * 10_000] * len(ports) + [5, rtt, n * 1000, n * 10, n * 777, 2 * n]
            if name == "a" or n:
                store.append(begin + 10 * n + (name == "b"), [Reading(f"wire/{name}", "e", paths, values)])
    store.close()
    history = History()
    found = curves(history, 1, begin + 900)
    history.close()
    known = {name: [v for v in points if v is not None] for name, points in found["curves"].items()}
    assert known["rtt_access_us"] == []
    last = {name: points[-2] for name, points in known.items() if points}
    assert found["step_s"] == 20
    assert last["down_bit_s"] == pytest.approx(3 * 8000, rel=0.06)
    assert last["flows"] == 10
    assert last["rtt_core_us"] == 20_000
    assert last["retransmitted_share"] == pytest.approx(0.01, rel=0.01)
    assert found["refused"]["mptcp"] == pytest.approx(360, abs=6)
