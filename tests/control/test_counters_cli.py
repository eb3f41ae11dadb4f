"""`smartwire counters`: what it shows of a database, and what it says when there is none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from smartwire.cli.chart import plot, spark
from smartwire.counters.history import database
from smartwire.counters.store import Reading, Store

PATHS = ["wire/w/port/access/rx_bytes", "wire/w/flows", "wire/w/reason/mptcp/refused", "wire/w/reason/one-way/refused"]


@pytest.fixture
def hour(run_dir):
    """An hour of readings that ends now."""
    store = Store(database())
    end = int(time.time()) // 10 * 10
    for k in range(361):
        store.append(end - 3600 + 10 * k, [Reading("wire/w", "e", PATHS, [12_500 * k, 40 + k % 2, k, 0])])
    store.close()


def test_list_shows_paths_with_kind_and_meaning(smartwire, hour):
    done = smartwire("counters", "list")
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == sorted(PATHS)
    assert "Bytes received from the port" in done.out
    document = json.loads(smartwire("counters", "list", "flows", "--json").out)
    assert [(s["path"], s["kind"]) for s in document["series"]] == [("wire/w/flows", "gauge")]


def test_show_prints_rates_of_a_counter_in_its_unit(smartwire, hour):
    done = smartwire("counters", "show", "port/access/rx_bytes", "--since", "20m", "--step", "1m")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines[0] == ["TIME", "MEAN", "MIN", "MAX"]
    assert 19 <= len(lines) - 1 <= 21
    assert all(line[1:] == ["10", "kbit/s"] * 3 for line in lines[1:])


def test_show_prints_values_of_a_gauge(smartwire, hour):
    document = json.loads(smartwire("counters", "show", "flows", "--since", "10m", "--step", "60s", "--json").out)
    points = document["series"][0]["points"]
    assert {(p["mean"], p["min"], p["max"]) for p in points[1:-1]} == {(40.5, 40, 41)}
    assert document["series"][0]["step_s"] == 60


def test_show_of_several_series_has_a_curve_each(smartwire, hour):
    done = smartwire("counters", "show", "reason/*/refused", "--since", "30m")
    lines = done.out.splitlines()[1:]
    assert len(lines) == 2
    assert "█" in lines[0]
    assert "0.1 /s" in lines[0]
    assert "▁" in lines[1]


def test_show_of_what_is_not_there_says_where_to_look(smartwire, hour):
    done = smartwire("counters", "show", "nonsense")
    assert (done.status, done.out) == (3, "")
    assert "`smartwire counters list` shows all" in done.err
    assert smartwire("counters", "show", "flows", "--since", "1m", "--until", "1h").status == 2


def test_without_a_database_the_sentence_says_who_writes_it(smartwire):
    done = smartwire("counters", "show", "flows")
    assert done.status == 3
    assert "counters collect" in done.err
    assert "Traceback" not in done.err


def test_retention_that_cannot_work_is_refused_before_anything_is_made(smartwire, tmp_path):
    done = smartwire("counters", "collect", "--keep", "1m")
    assert done.status == 2
    assert not (tmp_path / "state").exists()


def test_collect_records_a_wire_until_it_is_stopped(page_wire, tmp_path):
    command = [sys.executable, "-m", "smartwire", "counters", "collect", "--step", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        try:
            for _ in range(600):  # a minute at most, on a machine that is busy
                page_wire.publish()
                if rows() >= 2:
                    break
                time.sleep(0.1)
            found = rows()
        finally:
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
    assert found >= 2, err.decode()
    assert process.returncode == 0, err.decode()
    assert b"every 1 s" in out


def rows() -> int:
    from smartwire.counters.history import History
    from smartwire.errors import Error

    try:
        history = History()
        series = history.series("flows")
        return len(history.over(series[0], int(time.time()) - 100, int(time.time()) + 10, 1)[1]) if series else 0
    except Error:
        return 0


def test_a_spark_line_goes_from_zero_to_the_greatest_value():
    assert spark([0, 1, None, 8], 10) == "▁▁·█"
    assert spark([], 10) == ""
    assert spark([0, 0], 10) == "▁▁"
    assert len(spark(list(range(1000)), 40)) == 40


def test_a_plot_has_a_scale_and_fills_to_the_value():
    lines = plot([0.0, 5.0, 10.0, None], 4, 2, lambda v: f"{v:g}")
    assert lines == ["10 ┤  █", " 5 ┤ ██·", " 0 ┼────"]
