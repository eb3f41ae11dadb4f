"""The collector: each tick is recorded, and whatever fails costs readings, never the process."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading

import pytest
from smartwire.counters.collect import Collector
from smartwire.counters.history import History
from smartwire.counters.sources import Wires, WireView
from smartwire.errors import Error

from .conftest import DAY0, Counted, FakeClock, PageWire


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def source():
    return Counted(frames_in=0, flows=3)


@pytest.fixture
def collector(tmp_path, clock, source):
    said: list[str] = []
    made = Collector(tmp_path / "counters.db", [source], clock=clock, say=said.append)
    made.said = said
    yield made
    made.close()


def ticks(collector, count: int, grow: int = 100) -> None:
    for _ in range(count):
        collector.clock.pass_(10)
        for source in collector.sources:
            source.values["frames_in"] += grow
        collector.tick()


def rates(path, since=DAY0, until=DAY0 + 3600, step=10):
    history = History(path)
    _, found = history.over(history.series("frames_in")[0], since, until, step)
    history.close()
    return [(b.start - DAY0, b.mean) for b in found]


def test_readings_stand_at_multiples_of_the_step(collector):
    collector.clock.pass_(3)
    ticks(collector, 3)
    assert rates(collector.path) == [(10, 10.0), (20, 10.0)]
    assert collector.wait_s() == 7


def test_a_timer_that_fires_early_does_not_record_the_same_time_twice(collector):
    ticks(collector, 2)
    collector.clock.pass_(9.95)
    collector.tick()
    collector.clock.pass_(0.05)
    collector.tick()
    assert [start for start, _ in rates(collector.path)] == [10, 20]


def test_a_source_that_fails_is_said_once_and_the_others_are_recorded(collector, clock):
    other = Counted("wire/x", frames_in=0)
    collector.sources = [other, *collector.sources]
    other.broken = Error("it hangs.")
    ticks(collector, 3)
    assert collector.said == ["Counted cannot be read: it hangs."]
    assert len(rates(collector.path)) == 2


def test_a_clock_set_forward_is_said_and_makes_no_rate(collector, clock):
    ticks(collector, 3)
    clock.set(20)
    ticks(collector, 3)
    assert collector.said == ["The clock was set forward by 20.0 s."]
    assert rates(collector.path) == [(10, 10.0), (20, 10.0), (50, None), (60, 10.0), (70, 10.0)]


def test_a_clock_set_back_is_said_and_makes_no_rate(collector, clock):
    ticks(collector, 20)
    clock.set(-100)
    ticks(collector, 1)
    assert collector.health.stepped_s == pytest.approx(-100)
    ticks(collector, 1)
    assert collector.health.stepped_s is None
    assert rates(collector.path)[-3:] == [(90, 10.0), (100, None), (110, 10.0)]


def test_nothing_is_forgotten_for_an_hour_after_the_clock_was_set(collector, clock):
    ticks(collector, 5)
    clock.set(10 * 365 * 86400)
    ticks(collector, 100)
    raw = "select count(*) from raw where ts < ?"
    assert sqlite3.connect(collector.path).execute(raw, (DAY0 + 3600,)).fetchone() == (10,)
    ticks(collector, 300)
    assert sqlite3.connect(collector.path).execute(raw, (DAY0 + 3600,)).fetchone() == (0,)


def test_a_slowly_corrected_clock_is_not_a_step(collector, clock):
    for _ in range(100):
        clock.set(0.005)
        ticks(collector, 1)
    assert collector.said == []


def test_a_full_disk_is_said_once_costs_readings_and_ends_by_itself(collector):
    ticks(collector, 5)
    db = collector.store.db
    pages = db.execute("pragma page_count").fetchone()[0]
    many = {f"m{k}": 10**12 for k in range(3000)}
    collector.sources[0].values |= many
    db.execute(f"pragma max_page_count = {pages}")
    ticks(collector, 4)
    assert collector.health.full
    assert collector.health.missed == 4
    assert len(collector.said) == 1
    assert "make room" in collector.said[0]
    db.execute("pragma max_page_count = 1000000")
    ticks(collector, 2)
    assert collector.health.trouble is None
    assert collector.said[1] == "Counters are recorded again; 4 ticks are missing."
    # What was counted meanwhile is not told as a rate: nobody knows when it happened.
    assert [m for _, m in rates(collector.path)] == [10.0, 10.0, 10.0, 10.0, None, 10.0]


@pytest.mark.root
def test_a_file_system_without_room_is_survived(tmp_path, clock):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], capture_output=True).returncode:
        pytest.skip("this machine does not mount a tmpfs here")
    try:
        source, said = Counted(frames_in=0), []
        collector = Collector(disk / "counters.db", [source], clock=clock, say=said.append)
        ticks(collector, 3)
        room = os.statvfs(disk)
        (disk / "ballast").write_bytes(bytes(room.f_bavail * room.f_frsize))
        source.values |= {f"m{k}": 10**12 for k in range(3000)}
        ticks(collector, 5)
        assert collector.health.full, collector.health
        (disk / "ballast").unlink()
        ticks(collector, 3)
        assert collector.health.trouble is None
        assert len(said) == 2
        collector.close()
        assert sqlite3.connect(disk / "counters.db").execute("pragma integrity_check").fetchone() == ("ok",)
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_database_that_was_taken_away_is_begun_anew(collector):
    ticks(collector, 3)
    for suffix in ("", "-wal", "-shm"):
        os.unlink(str(collector.path) + suffix)
    ticks(collector, 2)
    assert len(rates(collector.path)) == 1
    assert "is gone" in collector.said[0]


def test_a_database_that_is_damaged_while_it_is_used_is_set_aside(collector):
    ticks(collector, 100)
    collector.store.db.execute("pragma wal_checkpoint(truncate)")
    with collector.path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(collector.path.stat().st_size - 4096))
    collector.store.db.execute("pragma cache_size = 0")
    ticks(collector, 3)
    assert any("damaged" in sentence for sentence in collector.said), collector.said
    assert collector.health.trouble is None
    assert len(list(collector.path.parent.glob("*.damaged-*"))) == 1


def test_two_processes_cannot_collect_into_one_database(collector, source):
    with pytest.raises(Error, match=f"pid {os.getpid()}"):
        Collector(collector.path, [source])


def test_run_ticks_until_it_is_told_to_stop(tmp_path, source):
    stop, seen = threading.Event(), []

    class Quick(FakeClock):
        def wall(self):
            self.pass_(9.999)
            return super().wall()

    made = Collector(tmp_path / "counters.db", [source], clock=Quick())
    made.wait_s = lambda: 0.001
    made.run(stop, lambda c: (seen.append(1), len(seen) >= 3 and stop.set()))
    made.close()
    assert len(seen) == 3


def test_a_bug_costs_a_tick_and_is_said(tmp_path, source):
    stop, said = threading.Event(), []

    class Quick(FakeClock):
        def wall(self):
            self.pass_(9.999)
            return super().wall()

    def then(collector):
        if len(said) < 3:
            raise KeyError("a bug")
        stop.set()

    made = Collector(tmp_path / "counters.db", [source], clock=Quick(), say=said.append)
    made.wait_s = lambda: 0.001
    made.run(stop, then)
    made.close()
    assert all("internal error: KeyError" in sentence for sentence in said)


FEEDER = """
import sys
from pathlib import Path
from smartwire.counters.store import Reading, Store
store = Store(Path(sys.argv[1]))
paths = [f"wire/w/port/access/m{k}" for k in range(500)]
for tick in range(1, 10**6):
    store.append(store.newest + 10 if store.newest else 1764028800, [Reading("wire/w", "e", paths, [tick] * 500)])
    print(store.newest, flush=True)
"""


def test_a_collector_that_is_killed_leaves_a_whole_database_without_half_a_tick(tmp_path):
    path = tmp_path / "counters.db"
    last = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", FEEDER, path], stdout=subprocess.PIPE, text=True) as feeder:
            for _ in range(60):
                last = int(feeder.stdout.readline())
            feeder.kill()
        db = sqlite3.connect(path)
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
        assert db.execute("select max(ts) from tick").fetchone()[0] >= last
        assert db.execute("select distinct n from (select count(*) n from raw group by ts)").fetchall() == [(500,)]
        db.close()


def test_wires_are_read_from_their_stats_pages(page_wire, tmp_path, clock):
    collector = Collector(tmp_path / "counters.db", [Wires()], clock=clock)
    for _ in range(3):
        clock.pass_(10)
        page_wire.port(0, rx_bytes=page_wire.values["port0.rx_bytes"] + 5000)
        collector.tick()
    collector.close()
    history = History(collector.path)
    _, found = history.over(history.series("port/access/rx_bytes")[0], DAY0, DAY0 + 60, 10)
    assert [b.mean for b in found] == [500.0, 500.0]
    assert [s.kind for s in history.series("wire/w/flows")] == ["gauge"]
    assert history.series("reason/mid-stream/refused")


def test_each_port_of_a_wire_of_several_pairs_has_its_interface():
    pairs = [["eth1", "eth2"], ["eth3", "eth4"]]
    view = WireView("w", {"access": "eth1", "core": "eth2", "pairs": pairs}, "e", 0.0, {})
    assert [view.interface(n) for n in range(5)] == ["eth1", "eth2", "eth3", "eth4", "access2"]
    older = WireView("w", {"access": "eth1", "core": "eth2"}, "e", 0.0, {})
    assert [older.interface(n) for n in range(3)] == ["eth1", "eth2", "access1"]


def test_a_wire_that_hangs_or_is_gone_is_not_recorded(page_wire, run_dir):
    wires = Wires()
    other = PageWire(run_dir, "dead")
    other.die()
    assert [v.name for v in wires.look()] == ["w"]
    assert len(wires()) == 1
    page_wire.publish(age_s=5)
    assert not wires.look()[0].fresh
    assert wires() == []


def test_connections_are_recorded_by_policy_and_by_class_and_left_for_those_who_may_not_ask(page_wire, monkeypatch):
    page_wire.decide({"web": 5, "a.b": 1}, {"gold": 2})
    wires = Wires()
    [reading] = wires()
    recorded = dict(zip(reading.paths, reading.values, strict=True))
    assert recorded["wire/w/policy/web/connections"] == 5
    assert recorded["wire/w/policy/a.b/connections"] == 1
    assert recorded["wire/w/class/gold/connections"] == 2
    monkeypatch.setattr(os, "access", lambda path, how: False)  # as snmpd's user, that is
    assert Wires().look()[0].values["policy.web.connections"] == 5
