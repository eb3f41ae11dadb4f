"""Names of series: what a stats page's number is called, and whether it counts or goes up and down."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from smartwire.counters.names import COUNTER, GAUGE, METRICS, about, path_of, source_of, split

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("flows", "wire/w/flows"),
        ("port0.rx_bytes", "wire/w/port/access/rx_bytes"),
        ("port3.up", "wire/w/port/core1/up"),
        ("refused.mid-stream", "wire/w/reason/mid-stream/refused"),
        ("stopped.idle", "wire/w/reason/idle/stopped"),
        ("worker2.frames_in", "wire/w/worker/2/frames_in"),
        ("policy.video/night.sent_bytes", "wire/w/policy/video_night/sent_bytes"),
        ("class.gold.rx_bytes", "wire/w/class/gold/rx_bytes"),
    ],
)
def test_each_number_of_a_page_has_its_path(name, path):
    assert path_of("w", name) == path
    assert source_of(path) == "wire/w"


def test_a_path_comes_apart_into_labels_and_metric():
    assert split("wire/w/port/access/rx_bytes") == ({"wire": "w", "port": "access"}, "rx_bytes")


def test_every_counter_of_the_engine_is_known_and_is_of_the_kind_that_its_source_says():
    source = (ROOT / "crates/engine/src/stats.rs").read_text()
    block = source[source.index("\ncounters! {") :]
    found = re.findall(r"/// (.+)\n    (\w+),", block)
    assert len(found) > 40
    for text, name in found:
        assert METRICS[name].kind == (GAUGE if text.startswith("Gauge:") else COUNTER), name


def test_every_other_number_of_a_page_is_known():
    house = (ROOT / "crates/worker/src/house.rs").read_text()
    page = (ROOT / "crates/worker/src/page.rs").read_text()
    extra = re.search(r"EXTRA: \[&str; \d+\] = \[(.+?)\];", house, re.S)
    ports = re.search(r"PORT_NAMES.*?= \[(.+?)\];", page, re.S)
    names = re.findall(r'"(\w+)"', extra[1] + ports[1])
    assert len(names) > 20
    assert [n for n in names if n not in METRICS] == []


def test_a_number_of_a_newer_data_plane_is_taken_for_a_counter():
    assert about("warp_cores").kind == COUNTER
