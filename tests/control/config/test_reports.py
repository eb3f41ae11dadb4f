"""Operational commands about alarms, counters and support."""

from __future__ import annotations

import json
import os
import struct
import tarfile
import time

import pytest
from smartwire.alarms import journal
from smartwire.alarms.evaluate import Alarm
from smartwire.config.access import AccessDenied
from smartwire.errors import NotThere
from smartwire.wire.registry import register
from smartwire.wire.stats import STATS_HEADER


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("SMARTWIRE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("SMARTWIRE_STATE", str(tmp_path / "box"))
    (tmp_path / "run").mkdir()


def write_stats(path, values):
    names = "\n".join(values).encode()
    offset = (STATS_HEADER.size + len(names) + 7) // 8 * 8
    header = STATS_HEADER.pack(b"SWSTATS1", STATS_HEADER.size, len(names), offset, len(values), 2, time.monotonic_ns())
    body = header + names + bytes(offset - len(header) - len(names)) + struct.pack(f"<{len(values)}Q", *values.values())
    path.write_bytes(body)


def test_alarms_are_shown_with_what_to_do(box):
    session = box.root(None)
    assert session.run("show alarms")["text"] == "No alarms.\n"
    alarm = Alarm(3, "disk-full", "box", "major", "5 % is free.", "Free some.", box.clock.time())
    journal.publish([alarm], box.clock.time())
    shown = session.run("show alarms")
    assert "disk-full" in shown["text"]
    assert "Free some." in shown["text"]
    assert shown["data"][0]["number"] == 3
    assert "heartbeat-lost" in session.run("show alarms-catalogue")["text"]


def test_an_alarm_that_is_not_there_cannot_be_acknowledged(box):
    with pytest.raises(NotThere):
        box.root(None).run("request alarm acknowledge 99")


def test_counters_of_running_wires_are_shown_by_name(box):
    session = box.root(None)
    assert session.run("show counters")["text"] == "No counters.\n"
    with register("north", access="eth1", core="eth2") as directory:
        write_stats(directory / "stats", {"flows": 7, "resets": 0, "port0.rx_bytes": 1234567})
        shown = session.run("show counters")["text"]
        assert "1,234,567" in shown
        assert "resets" not in shown
        assert "resets" in session.run("show counters zero")["text"]
        assert "flows" not in session.run("show counters match rx_bytes")["text"]


def test_a_history_that_is_not_there_is_a_sentence(box):
    with pytest.raises(NotThere, match="There is no counter database"):
        box.root(None).run("show counters-history rx_bytes")


def test_the_archive_for_support_has_no_secret_and_is_for_root_only(box):
    box.commit("set system login user alice class operator password correct-horse")
    box.commit("set protocols snmp community noc community public1")
    done = box.root(None).run("request support information")
    file = done["data"]["file"]
    with tarfile.open(file) as archive:
        content = {m.name: archive.extractfile(m).read().decode() for m in archive.getmembers()}
    assert "alice" in content["smartwire-support/configuration.txt"]
    assert json.loads(content["smartwire-support/commits.json"])[0]["n"] == 0
    whole = "".join(content.values())
    for secret in ("correct-horse", "argon2", "public1"):
        assert secret not in whole
    assert os.stat(file).st_mode & 0o77 == 0
    with pytest.raises(AccessDenied):
        box.engine.session("alice", "x").run("request support information")
