"""The counter database: what is kept, rolled up, forgotten and read, for how many bytes, and what goes wrong."""

from __future__ import annotations

import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time

import pytest
from smartwire.counters import store as store_module
from smartwire.counters.history import History
from smartwire.counters.store import Behind, Reading, Retention, Store, size_bytes
from smartwire.errors import Error, NotThere, UsageError

from .conftest import DAY0

SHORT = Retention((10, 2700), (60, 7200), (900, 14400))
"""Kept so briefly that a test sees things forgotten."""


def feed(store: Store, ticks: int, begin: int = DAY0, per_tick: int = 50, start: int = 0, **more) -> int:
    """Readings of a counter that grows steadily, and of a gauge; returns the time of the last."""
    paths = ["wire/w/frames_in", "wire/w/flows"]
    ts = begin
    for k in range(1, ticks + 1):
        ts = begin + 10 * k
        store.append(ts, [Reading("wire/w", "e", paths, [start + per_tick * k, k % 10])], **more)
    return ts


def means(path, pattern, since, until, step=None):
    history = History(path)
    step, found = history.over(history.series(pattern)[0], since, until, step)
    history.close()
    return step, [(b.start, b.mean) for b in found]


@pytest.fixture
def db(tmp_path):
    return tmp_path / "counters.db"


def count(path, table):
    return sqlite3.connect(path).execute(f"select count(*) from {table}").fetchone()[0]


def test_a_rate_reads_the_same_at_every_step(db):
    store = Store(db, SHORT)
    end = feed(store, 240)
    for step in (10, 60, 900):
        used, found = means(db, "frames_in", DAY0 + 900, end, step)
        assert used == step
        assert {mean for _, mean in found} == {5.0}
        assert len(found) == -(-1500 // step)


def test_rolled_up_and_raw_rows_join_without_a_seam(db):
    store = Store(db, SHORT)
    feed(store, 300)
    rolled = sqlite3.connect(db).execute("select max(ts), count(*) from minute where series = 1").fetchone()
    assert DAY0 < rolled[0] < DAY0 + 3000 - 60
    _, found = means(db, "frames_in", DAY0, DAY0 + 3000, 60)
    assert [start for start, _ in found] == list(range(DAY0, DAY0 + 3000, 60))
    assert {mean for _, mean in found} == {5.0}


def test_each_level_forgets_what_is_older_than_it_keeps(db):
    store = Store(db, SHORT)
    end = feed(store, 2200)
    check = sqlite3.connect(db)
    oldest = {t: check.execute(f"select min(ts) from {t}").fetchone()[0] for t in ("raw", "minute", "quarter")}
    assert end - 2700 <= oldest["raw"] <= end - 2700 + 20
    assert end - 7200 - 900 <= oldest["minute"] <= end - 7200 + 60
    assert end - 14400 - 900 <= oldest["quarter"] <= end - 14400 + 900
    assert count(db, "tick") == count(db, "raw") / 2


def test_a_reader_of_a_long_range_gets_the_finest_step_that_is_kept_for_it(db):
    store = Store(db, SHORT)
    end = feed(store, 1500)
    assert means(db, "frames_in", end - 1200, end)[0] == 10
    assert means(db, "frames_in", end - 5400, end)[0] == 60
    assert means(db, "frames_in", end - 12000, end)[0] == 900
    assert means(db, "frames_in", end - 12000, end, 60)[0] == 900


def test_after_a_restart_of_the_collector_nothing_is_rolled_up_twice_or_not_at_all(db):
    store = Store(db, SHORT)
    end = feed(store, 130)
    store.close()
    store = Store(db, SHORT)
    end = feed(store, 200, begin=end, start=130 * 50)
    _, found = means(db, "frames_in", DAY0, end, 60)
    assert [start for start, _ in found] == list(range(DAY0, DAY0 + 3300, 60))
    assert {mean for _, mean in found} == {5.0}


def test_a_roll_up_out_of_memory_is_that_out_of_the_database(tmp_path, monkeypatch):
    def fill(name: str):
        rnd = random.Random(3)
        store = Store(tmp_path / name, SHORT)
        values, epoch = {"frames_in": 0, "flows": 0, "copper_frames": 5}, 0
        for k in range(1, 400):
            if rnd.random() < 0.03:
                continue
            if rnd.random() < 0.02:
                epoch, values["frames_in"] = epoch + 1, 0
            if k == 200:
                values = {"new": 1, **values}
            values = {n: v + rnd.randrange(50) if n != "flows" else rnd.randrange(9) for n, v in values.items()}
            paths = [f"wire/w/{n}" for n in values]
            store.append(DAY0 + 10 * k, [Reading("wire/w", str(epoch), paths, list(values.values()))])
        return [store.db.execute(f"select * from {t} order by series, ts").fetchall() for t in ("minute", "quarter")]

    fast = fill("memory.db")
    monkeypatch.setattr(store_module.Recent, "points", lambda *_: None)
    assert fast == fill("database.db")
    assert len(fast[0]) > 100


def test_a_long_pause_loses_no_roll_up_of_what_was_before_it(db):
    store = Store(db, SHORT)
    feed(store, 100)
    later = DAY0 + 9000
    end = feed(store, 200, begin=later, start=5000)
    _, found = means(db, "frames_in", DAY0, end, 900)
    assert [start - DAY0 for start, _ in found] == [0, 900, 9000, 9900, 10800]
    assert [mean for _, mean in found] == [5.0] * 5


def test_a_restart_of_the_wire_is_known_from_its_epoch(db):
    store = Store(db, SHORT)
    paths = ["wire/w/frames_in", "wire/w/copper_frames"]
    for k, (epoch, values) in enumerate([("a", [100, 100]), ("a", [200, 200]), ("b", [900, 900]), ("b", [950, 950])]):
        store.append(DAY0 + 10 * (k + 1), [Reading("wire/w", epoch, paths, values)])
    assert means(db, "frames_in", DAY0, DAY0 + 60, 60)[1] == [(DAY0, (100 + 900 + 50) / 30)]
    assert means(db, "copper_frames", DAY0, DAY0 + 60, 60)[1] == [(DAY0, (100 + 700 + 50) / 30)]


def test_a_clock_set_back_a_little_replaces_what_it_records_again(db):
    store = Store(db, SHORT)
    end = feed(store, 250)
    back = end - 1200
    feed(store, 60, begin=back, start=250 * 50)
    _, found = means(db, "frames_in", DAY0, back + 600, 60)
    assert [start for start, _ in found] == list(range(DAY0, back + 600, 60))
    assert {round(mean, 9) for _, mean in found if mean is not None} == {5.0}
    assert count(db, "tick") == 130 + 60


def test_a_clock_far_behind_the_records_stops_recording_and_deletes_nothing(db):
    store = Store(db, SHORT)
    end = feed(store, 500)
    rows = count(db, "raw")
    with pytest.raises(Behind, match="--drop-newer"):
        store.append(DAY0 - 86400, [])
    assert count(db, "raw") == rows
    store.append(end + 10, [])


def test_after_a_clock_ran_ahead_for_a_while_its_few_records_are_given_up(db):
    store = Store(db, SHORT)
    end = feed(store, 50)
    ahead = DAY0 + 10 * 365 * 86400
    feed(store, 50, begin=ahead, start=2500, prune=False)
    feed(store, 50, begin=end, start=5000)
    assert sqlite3.connect(db).execute("select max(ts) from raw").fetchone()[0] == end + 500
    assert means(db, "frames_in", DAY0, end + 500, 900)[1][0][1] == 5.0


def test_more_series_than_allowed_are_counted_and_left_out(db):
    store = Store(db, SHORT, max_series=3)
    paths = [f"wire/w/port/access/m{k}" for k in range(5)]
    for k in (1, 2):
        store.append(DAY0 + 10 * k, [Reading("wire/w", "e", paths, [1] * 5)])
        assert store.left_out == 2
    assert count(db, "raw") == 6


def test_series_that_are_gone_for_longer_than_anything_is_kept_are_forgotten(db):
    store = Store(db, SHORT)
    store.append(DAY0 + 10, [Reading("wire/old", "e", ["wire/old/flows"], [1])])
    feed(store, 1700)
    assert [s.path for s in History(db).series()] == ["wire/w/flows", "wire/w/frames_in"]


def test_a_failed_append_leaves_nothing_behind_and_can_be_repeated(db, monkeypatch):
    store = Store(db, SHORT)
    feed(store, 10)
    store.db.execute(f"pragma max_page_count = {store.db.execute('pragma page_count').fetchone()[0]}")
    paths = [f"wire/x/port/access/m{k}" for k in range(2000)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.append(DAY0 + 110, [Reading("wire/x", "e", paths, [10**9] * 2000)])
    assert count(db, "raw") == 20
    assert len(History(db).series()) == 2
    store.db.execute("pragma max_page_count = 1000000")
    store.append(DAY0 + 110, [Reading("wire/x", "e", paths, [10**9] * 2000)])
    assert count(db, "raw") == 2020


def test_a_damaged_database_is_set_aside(db):
    db.write_bytes(b"this is no database" * 1000)
    store = Store(db, SHORT)
    feed(store, 3)
    assert "damaged" in store.news[0]
    assert len(list(db.parent.glob("*.damaged-*"))) == 1


def test_a_database_of_another_version_is_not_touched(db):
    Store(db, SHORT).close()
    sqlite3.connect(db).execute("pragma user_version = 99")
    with pytest.raises(Error, match="another version"):
        Store(db, SHORT)


def test_a_reader_without_a_database_is_told_who_writes_it(db):
    with pytest.raises(NotThere, match="counters collect"):
        History(db)


@pytest.mark.parametrize("levels", [((10, 9000), (25, 9000), (900, 9000)), ((10, 100), (60, 9000), (900, 9000)),
                                    ((10, 9000), (60, 8000), (900, 9000))])  # fmt: skip
def test_retention_that_cannot_work_is_refused(levels):
    with pytest.raises(UsageError):
        Retention(*levels)


def test_readers_see_the_last_tick_while_the_writer_is_in_the_middle_of_one(db):
    store = Store(db, SHORT)
    end = feed(store, 20)
    store.db.execute("begin immediate")
    store.db.execute("delete from raw")
    began = means(db, "frames_in", DAY0, end, 60)  # its timeout is 0.1 s: waiting for the writer would fail
    store.db.execute("rollback")
    assert {m for _, m in began[1]} == {5.0}


READER = """
import sys, time
from pathlib import Path
from smartwire.counters.history import History
history = History(Path(sys.argv[1]))  # waits for a lock for 0.1 s at most
while True:
    time.sleep(0.25)
    if series := history.series(sys.argv[2]):
        newest = history.newest()
        began = time.perf_counter()
        history.over(series[0], newest - 3600, newest, 60)
        print(time.perf_counter() - began, flush=True)
"""


@pytest.mark.slow
def test_one_day_of_2000_counters(db):
    """8,640 ticks of 2,000 counters: time and waits are reported; work per tick, size and content are held.

    It takes some 40 s; where the machine is so busy that it would take much longer, the day ends early, which it says.
    """
    kinds = ("rx_bytes", "tx_bytes", "rx_frames", "tx_frames", "rx_dropped", "tx_dropped", "rx_merged", "up")
    paths = [f"wire/w{k}/port/access/{kind}" for k in range(250) for kind in kinds]
    grows = [(k * 37) % 1000 for k in range(2000)]
    values = [(k * 7919) % 2**31 for k in range(2000)]
    store = Store(db)
    reader = subprocess.Popen([sys.executable, "-c", READER, db, paths[77]], stdout=subprocess.PIPE, text=True)
    took, work = [], []
    end = time.monotonic() + 150
    for tick in range(1, 8641):
        if time.monotonic() > end and tick > 1000:
            break
        values = [v + g for v, g in zip(values, grows, strict=True)]
        readings = [Reading("wire/w", "e", paths, values)]
        changes, began = store.db.total_changes, time.perf_counter()
        store.append(DAY0 + 10 * tick, readings)
        took.append(time.perf_counter() - began)
        work.append(store.db.total_changes - changes)
        if tick % 360 == 0:
            _, found = means(db, paths[77], DAY0 + 10 * tick - 3600, DAY0 + 10 * tick, 60)
            assert {mean for _, mean in found if mean is not None} == {grows[77] / 10}
    reader.terminate()
    waits = sorted(float(line) for line in reader.communicate(timeout=60)[0].splitlines())
    store.close()
    took.sort()
    expected = size_bytes(2000, age_s=10 * len(took))
    size = db.stat().st_size
    middle, p99, longest = (took[i] * 1e3 for i in (len(took) // 2, len(took) * 99 // 100, -1))
    print(f"\n{len(took)} ticks: median {middle:.1f} ms, p99 {p99:.1f} ms, longest {longest:.1f} ms")
    middle, longest = statistics.median(waits) * 1e3, waits[-1] * 1e3
    print(f"{len(waits)} readings of an hour of one series beside it: median {middle:.1f} ms, longest {longest:.1f} ms")
    print(f"{size / 1e6:.0f} MB, by the formula {expected / 1e6:.0f} MB")
    assert reader.returncode == -signal.SIGTERM  # a reader that is kept waiting by the writer ends with an error
    assert len(waits) > 10
    assert 1 / 1.2 < size / expected < 1.2
    # Each tick, but for the first, which makes the series, writes its 2,000 rows and its share of the roll-ups.
    assert max(work[1:]) < 1.5 * statistics.median(work)
    assert sum(work) < 1.35 * 2000 * len(work)


def test_the_size_of_a_database_in_which_things_are_forgotten_is_that_of_the_formula(db):
    store = Store(db, SHORT)
    rnd = random.Random(1)
    paths = [f"wire/w/port/access/m{k}" for k in range(200)]
    values = [2**30 + k for k in range(200)]
    for tick in range(1, 1900):
        values = [v + rnd.randrange(1000) for v in values]
        store.append(DAY0 + 10 * tick, [Reading("wire/w", "e", paths, values)])
    store.close()
    assert 1 / 1.2 < db.stat().st_size / size_bytes(200, SHORT) < 1.2


def test_a_tick_writes_in_few_statements(db):
    store = Store(db, SHORT)
    seen = []
    store.db.set_trace_callback(lambda sql: seen.append(sql) if sql.startswith("insert or replace into raw") else None)
    paths = [f"wire/w/port/access/m{k}" for k in range(2000)]
    store.append(DAY0 + 10, [Reading("wire/w", "e", paths, [5] * 2000)])
    assert len(seen) == 2000 / store_module.CHUNK
