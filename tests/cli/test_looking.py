"""What status, flows, subscribers, events and the orders say about a running wire."""

from __future__ import annotations

import json

import pytest
from smartwire.wire import registry

from .conftest import FakeWire


def test_status_json_has_rates_shares_and_reasons(smartwire, wire):
    done = smartwire("status", "--json", "--interval", "50ms")
    document = json.loads(done.out)
    assert document["name"] == "w"
    assert document["custody_share"] == 0.9
    assert document["refused"] == {"mid-stream": 4}
    assert document["stopped"] == {"idle": 2}
    assert document["found"] == {"mss-reversed": 1}
    assert document["counters"]["optimized"] == 7
    assert document["down_mbps"] == 0.0


def test_status_takes_rates_between_two_samples():
    from smartwire.wire.report import report
    from smartwire.wire.stats import Sample

    first = Sample(10**9, {"port0.rx_bytes": 0, "port1.rx_bytes": 0, "port3.rx_bytes": 0})
    second = Sample(3 * 10**9, {"port0.rx_bytes": 500_000, "port1.rx_bytes": 2_000_000, "port3.rx_bytes": 3_000_000})
    document = report({}, first, second)
    assert (document["up_mbps"], document["down_mbps"]) == (2.0, 20.0)


def test_status_names_every_pair_of_a_wire(capsys):
    from smartwire.wire.report import report, show
    from smartwire.wire.stats import Sample

    info = {"name": "w", "access": "a0", "core": "c0", "pairs": [["a0", "c0"], ["a1", "c1"]], "io": "xdp", "pid": 7}
    document = report(info, Sample(1, {}), Sample(2, {}))
    assert document["pairs"] == [{"access": "a0", "core": "c0"}, {"access": "a1", "core": "c1"}]
    show(document)
    assert "a0 (access) = c0 (core), a1 = c1, xdp" in capsys.readouterr().out


def test_status_for_a_person_says_why_connections_are_left_alone(smartwire, wire):
    done = smartwire("status", "--interval", "50ms")
    assert done.status == 0
    assert "NOT OPTIMIZED, WHY" in done.out
    assert "mid-stream" in done.out
    assert "The MSS is clamped the wrong way round." in done.out


def test_flows_are_written_as_orders_read_them(smartwire, wire):
    from smartwire.wire.target import parse

    done = smartwire("flows")
    names = [line.split()[0] for line in done.out.splitlines()[1:]]
    assert names == ["10.0.0.7:40000-192.0.2.1:443", "[2001:db8:7::2]:40001-[2001:db8::1]:443"]
    assert parse(names[1])["access_addr"] == "2001:db8:7::2"


def test_flows_of_one_subscriber_only(smartwire, wire):
    document = json.loads(smartwire("flows", "2001:db8:7::/64", "--json").out)
    assert [f["access_addr"] for f in document["flows"]] == ["2001:db8:7::2"]


def test_subscribers_show_the_queue_as_rtt_above_its_best(smartwire, wire):
    assert "21.0 ms" in smartwire("subscribers").out


def test_events_carry_reasons(smartwire, wire):
    done = smartwire("events")
    assert "refused" in done.out
    assert "mid-stream: Its handshake was not seen." in done.out
    document = json.loads(smartwire("events", "--json").out)
    assert document["reason"] == "mid-stream"


def test_the_event_ring_returns_what_was_not_overwritten(tmp_path):
    from smartwire.wire.stats import EventRing

    from .conftest import write_events

    write_events(tmp_path / "e", [("closed", 0, "10.0.0.1", n + 1, "10.0.0.2", 80) for n in range(20)], slots=8)
    ring = EventRing(tmp_path / "e")
    assert [e.number for e in ring.read()] == list(range(12, 20))
    assert [e.number for e in ring.read(18)] == [18, 19]


def test_a_drain_hands_everything_back_and_exits_0(smartwire, wire):
    done = smartwire("drain", "--json")
    document = json.loads(done.out)
    assert done.status == 0
    assert (document["handed_back"], document["reset"]) == (2, 0)


def test_a_drain_that_meets_its_limit_resets_counts_and_exits_1(smartwire, wire):
    wire.stuck = 1
    done = smartwire("drain", "--limit", "200ms")
    assert done.status == 1
    assert "1 could not be delivered" in done.out


def test_a_drain_is_over_when_what_there_was_is_handed_back_though_new_connections_come(smartwire, wire):
    new = dict(wire.table[0], access_port=41000)

    def order(do, target, limit_s):
        found = FakeWire.order(wire, do, target, limit_s)
        wire.table.append(new)
        return found

    wire.order = order
    done = smartwire("drain", "--json")
    document = json.loads(done.out)
    assert (done.status, document["handed_back"], document["reset"]) == (0, 2, 0)
    assert wire.table == [dict(new, mode="optimize")]


def test_a_drain_of_one_subscriber_leaves_the_others(smartwire, wire):
    done = smartwire("drain", "10.0.0.7", "--json")
    assert json.loads(done.out)["handed_back"] == 1
    assert [f["access_addr"] for f in wire.table] == ["2001:db8:7::2"]


def test_bypass_and_resume_reach_the_wire(smartwire, wire):
    assert smartwire("bypass", "10.0.0.7").status == 0
    assert smartwire("resume", "10.0.0.7").status == 0
    assert [o[0] for o in wire.orders] == ["bypass", "resume"]
    assert wire.orders[0][1] == {"kind": "subscriber", "addr": "10.0.0.7"}


def test_a_dead_process_leaves_no_wire_behind(smartwire, tmp_path):
    stale = tmp_path / "run" / "old"
    stale.mkdir(parents=True)
    (stale / "wire.json").write_text('{"name": "old", "pid": 1}')
    (stale / "lock").write_text("1")
    assert registry.running() == []
    with registry.register("old", access="a", core="b") as directory:
        assert [w.name for w in registry.running()] == ["old"]
    assert not directory.exists()


def test_several_wires_ask_for_a_name(smartwire, wire):
    with registry.register("v", access="a", core="b"):
        done = smartwire("status")
        assert done.status == 2
        assert "v, w" in done.err


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("90", 90), ("5m", 300), ("1.5h", 5400)])
def test_times_are_read(text, seconds):
    from smartwire.cli.page import DURATION

    assert DURATION.convert(text, None, None) == seconds


def test_numbers_are_shown_with_three_figures():
    from smartwire.cli.output import bits, size

    assert [bits(125), bits(1_250_000), size(12), size(1_500_000)] == ["1 kbit/s", "10 Mbit/s", "12 B", "1.5 MB"]


def test_policies_are_asked_for_and_changed_while_the_wire_runs(wire, tmp_path):
    from smartwire.errors import NotThere
    from smartwire.wire import control
    from smartwire.wire.service import digest

    running = registry.find("w")
    assert control.ask(running.socket, "policies") == {"digest": "", "policies": [], "classes": []}
    file = tmp_path / "policies.json"
    file.write_text('{"policies": [{"name": "web"}]}')
    known = digest(file.read_text())
    assert control.ask(running.socket, "set-policies", file=str(file)) == {"digest": known}
    said = control.ask(running.socket, "policies")
    assert (said["digest"], said["policies"]) == (known, [{"name": "web", "connections": 7}])
    assert said["classes"] == [{"name": "gold", "connections": 5}]
    assert registry.find("w").info["policies"] == known
    with pytest.raises(NotThere, match="There is no file"):
        control.ask(running.socket, "set-policies", file=str(tmp_path / "none.json"))
