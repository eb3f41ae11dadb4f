"""`smartwire run` in the lab: real Linux TCP through a running wire. Functions, never speed."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import pytest
from smartwire import _native
from smartwire.lab.links import constant
from smartwire.lab.middle import Wire
from smartwire.lab.net import Lab, Link
from smartwire.lab.net import run as lab_run
from smartwire.lab.session import Session

pytestmark = pytest.mark.root

IO = pytest.mark.parametrize("io", ["xdp", "packet"])
EACH_ONCE = pytest.mark.parametrize(
    ("io", "workers"),
    [
        ("xdp", 1),
        ("packet", 2),
        pytest.param("xdp", 2, marks=pytest.mark.long),
        pytest.param("packet", 1, marks=pytest.mark.long),
    ],
)
"""Each way in and out and each number of workers; all their combinations with -m long."""
QUICK = constant(50, rtt_ms=10).with_internet(10)
SLOW = constant(20, rtt_ms=10).with_internet(10)
"""For what must still be under way, seconds later, on a machine of any speed."""


def get(session: Session, version: int, size: int, **more) -> dict:
    return {"kind": "get", "size": size, "start": 0.1, "label": f"get{version}"} | session.phone(version) | more


def put(session: Session, version: int, size: int, **more) -> dict:
    return get(session, version, size, kind="put", label=f"put{version}", seed=5) | more


def both_ways(session: Session, size: int = 2_000_000) -> dict:
    """A plan: a download and an upload in IPv4 and in IPv6."""
    return {"transfers": [make(session, version, size) for version in (4, 6) for make in (get, put)]}


def sound(wire: Wire) -> None:
    """What must hold of any running wire's counters."""
    time.sleep(0.6)  # the counters and the complaints are behind by up to half a second
    counters = wire.counters()
    assert (counters["ledger_faults"], counters["bad_sends"]) == (0, 0), wire.complaints()
    # Never while healthy; a machine that runs nothing for long, not even what is most urgent, is not.
    assert counters["opened"] <= counters["stalls"], wire.complaints()
    parts = ("frames_free", "frames_filled", "frames_held", "frames_sending", "frames_away")
    assert sum(counters[p] for p in parts) == counters["frames_total"]


@IO
@pytest.mark.parametrize("workers", [1, 2])
def test_transfers_both_ways_are_whole_and_under_custody(io, workers):
    wire = Wire("--io", io, "--workers", str(workers))
    with Session("x", QUICK, wire) as session:
        outcome = session.run(both_ways(session), 5)
        sound(wire)
        assert wire.leave() == 0
    assert outcome.intact, outcome.broken
    assert outcome.custody_share >= 0.95
    assert outcome.wire["resets"] == 0


@IO
def test_a_small_box_of_2000_frames_loses_nothing(io):
    wire = Wire("--io", io, "--frames", "2000")
    with Session("x", QUICK, wire, phones=4) as session:
        transfers = [
            get(session, 4, 300_000, label=str(n)) | session.phone(4 + n % 2 * 2, 1 + n % 4) for n in range(60)
        ]
        outcome = session.run({"transfers": transfers}, 8)
        sound(wire)
    assert outcome.intact, outcome.broken
    assert outcome.wire["resets"] == 0


@IO
def test_observing_counts_and_touches_nothing(io):
    wire = Wire("--io", io, "--observe")
    with Session("x", QUICK, wire) as session:
        outcome = session.run(both_ways(session, 300_000), 3)
        assert wire.ask("status")["refused"] == {"observing": 4}
    assert outcome.intact, outcome.broken
    assert outcome.wire["accepted_bytes"] == 0


class Passing(Wire):
    """A wire that may be gone before the transfers are."""

    def counters(self) -> dict[str, int]:
        assert self.page
        return self.page.read().values


def test_sigterm_under_load_hands_every_connection_back():
    wire = Passing()
    with Session("x", SLOW, wire) as session:

        def leave() -> None:
            wire.until(lambda c: c["optimized"] == 4 and c["custody_bytes"] > 0)
            wire.signal(signal.SIGTERM)

        outcome = session.run(both_ways(session, 6_000_000), 8, actions=[(0.0, leave)])
        assert wire.process.wait(60) == 0, wire.complaints()
    assert outcome.intact, outcome.broken
    assert "left: 4 connections handed back, 0 reset" in wire.complaints()


def test_a_drain_and_a_resume_under_load_break_nothing():
    wire, said = Wire(), []
    with Session("x", SLOW, wire) as session:

        def bypass_and_resume() -> None:
            wire.until(lambda c: c["optimized"] == 4 and c["custody_bytes"] > 0)
            said.append(wire.ask("bypass"))
            wire.ask("resume")

        outcome = session.run(both_ways(session, 8_000_000), 10, actions=[(0.0, bypass_and_resume)])
        after = session.run({"transfers": [get(session, 4, 500_000)]}, 2)
    assert outcome.intact, outcome.broken
    assert (said[0]["handed_back"], said[0]["reset"]) == (4, 0)
    assert outcome.wire["optimized"] == 4
    assert after.intact, after.broken
    assert after.wire["optimized"] == 1


@EACH_ONCE
def test_a_bypassed_wire_leaves_the_traffic_to_the_kernel_until_it_is_resumed(io, workers):
    wire = Wire("--io", io, "--workers", str(workers))
    with Session("x", SLOW, wire) as session:
        under_load = session.run(both_ways(session, 3_000_000), 8, actions=[(0.6, lambda: wire.ask("bypass"))])
        assert under_load.intact, under_load.broken
        time.sleep(0.5)
        before = wire.counters()
        passed = session.run({"transfers": [get(session, 4, 500_000)]}, 2)
        assert passed.intact, passed.broken
        assert wire.counters()["claimed_frames"] == before["claimed_frames"]
        assert wire.counters()["copper_bytes"] - before["copper_bytes"] > 500_000
        assert wire.ask("status")["refused"]["bypassed"] == 1
        wire.ask("resume")
        after = session.run({"transfers": [get(session, 6, 500_000)]}, 2)
        assert after.intact, after.broken
        assert wire.counters()["optimized"] - before["optimized"] == 1
        assert wire.counters()["resets"] == 0
        sound(wire)
        assert wire.leave() == 0


class TwoPairs(Wire):
    """A wire of two pairs of ports: what the server sends comes by the second."""

    def __init__(self, *options: str) -> None:
        super().__init__("access1", "core1", *options)

    def start(self, lab: Lab) -> None:
        """Builds the second link and sends the server's packets over it."""
        lab._join(Link(("phone", "eth1"), ("wire", "access1")))
        lab._join(Link(("wire", "core1"), ("server", "eth1")))
        for host in ("phone", "server"):
            lab.sysctl(host, {f"net.ipv4.conf.{name}.rp_filter": "0" for name in ("all", "eth1")})
        mac = json.loads(lab.run("phone", "ip", "-j", "link", "show", "eth1"))[0]["address"]
        for version in (4, 6):
            phone, server = lab.phone(1, version), lab.server(version)
            lines = [f"route replace {phone} dev eth1 src {server}",
                     f"neigh replace {phone} lladdr {mac} dev eth1 nud permanent"]  # fmt: skip
            lab.batch("server", lines, family=f"-{version}")
        super().start(lab)

    def stop(self) -> None:
        """Leaves, and takes everything off the second pair, too."""
        super().stop()
        lab_run(*self.lab.command("wire", sys.executable, "-m", "smartwire", "unwire", "access1", "core1"))


@EACH_ONCE
def test_a_connection_that_uses_another_pair_of_ports_in_each_direction_is_optimized(io, workers):
    wire = TwoPairs("--io", io, "--workers", str(workers))
    with Session("x", None, wire) as session:
        outcome = session.run(both_ways(session), 5)
        sound(wire)
        counters = wire.counters()
        assert wire.leave() == 0
    assert outcome.intact, outcome.broken
    assert outcome.custody_share >= 0.95
    assert outcome.wire["optimized"] == 4
    assert counters["port0.rx_frames"] > 100
    assert counters["port3.rx_frames"] > 100


def test_a_journal_of_real_traffic_replays_byte_for_byte(tmp_path: Path):
    journal = tmp_path / "journal"
    wire = Wire("--journal", str(journal))
    with Session("x", QUICK, wire) as session:
        outcome = session.run(both_ways(session, 1_000_000), 4)
        assert wire.leave() == 0
    assert outcome.intact, outcome.broken
    replayed = _native.replay_journal(journal)
    assert replayed["identical"], replayed
    assert not replayed["cut_off"]
    assert replayed["counters"]["optimized"] == 4
    assert replayed["counters"]["delivered_bytes"] >= 4_000_000


def test_a_port_that_goes_down_and_comes_back_is_waited_for():
    wire = Wire()
    with Session("x", QUICK, wire) as session:

        def flap() -> None:
            wire.until(lambda c: c["custody_bytes"] > 0)
            session.lab.batch("wire", ["link set core down"])
            wire.until_said("core is down; the wire waits for it")
            session.lab.batch("wire", ["link set core up"])
            wire.until_said("core is up again; packets flow")

        outcome = session.run({"transfers": [get(session, 4, 4_000_000)]}, 10, actions=[(0.0, flap)])
        assert wire.leave() == 0
    assert outcome.intact, outcome.broken


class Mortal(Passing):
    """A wire that may die without a word."""

    def stop(self) -> None:
        self.kill()
        self.process = None
        self.lab.run("wire", sys.executable, "-m", "smartwire", "unwire", "access", "core")


FETCH = "import sys, urllib.request as u; print(len(u.urlopen(sys.argv[1], timeout=60).read()))"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_dead_or_hung_process_leaves_a_wire_and_no_hanging_connection(number):
    """Connections with custody are reset within seconds; new ones work at once."""
    with Session("x", SLOW, wire := Mortal()) as session:

        def die_and_be_survived() -> None:
            wire.until(lambda c: c["optimized"] == 4 and c["custody_bytes"] > 0)
            wire.signal(number)
            for server in (session.lab.server(4), f"[{session.lab.server(6)}]"):
                assert session.lab.run("phone", sys.executable, "-c", FETCH, f"http://{server}:8080/12345") == "12345\n"

        outcome = session.run(both_ways(session, 8_000_000), 10, actions=[(0.0, die_and_be_survived)])
    hanging = [
        t["label"] for t in outcome.transfers if not t["intact"] and "reset" not in str(t.get("error", "")).lower()
    ]
    assert hanging == []


def test_a_capture_shows_both_sides_of_one_connection(tmp_path: Path):
    from smartwire.pcapng import INBOUND, OUTBOUND, read

    file = tmp_path / "one.pcapng"
    wire, said = Wire(), []
    with Session("x", SLOW, wire) as session:

        def look() -> None:
            wire.until(lambda c: c["custody_bytes"] > 0)
            who = session.lab.phone(1, 4)
            said.append(wire.ask("capture", who, "-w", str(file), "--seconds", "1s", "--snap", "96"))

        outcome = session.run(both_ways(session, 6_000_000), 8, actions=[(0.0, look)])
    assert outcome.intact, outcome.broken
    packets = list(read(file))
    assert said[0]["packets"] == len(packets) > 100
    assert said[0]["dropped"] == 0
    assert {(p.interface, p.direction) for p in packets} == {(i, d) for i in (0, 1) for d in (INBOUND, OUTBOUND)}
    assert {p.frame[12:14] for p in packets} == {b"\x08\x00"}, "the subscriber's IPv6 is another subscriber"
    assert all(len(p.frame) <= 96 for p in packets)
    assert max(p.length for p in packets) == 1514
