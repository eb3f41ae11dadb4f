"""`smartwire bench`."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def bench(*argv: str) -> subprocess.CompletedProcess:
    # In a process of its own: the measurement keeps its process on one core.
    argv = (sys.executable, "-m", "smartwire", "bench", *argv)
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)


def test_the_engine_is_measured_with_every_connection_used_and_nothing_broken():
    done = bench("engine", "--flows", "2000", "--packets", "20000", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["flows_used"] == document["flows"] == 2000
    assert document["packets"] >= 20_000
    assert (document["payload_copies"], document["damaged"], document["resets"]) == (0, 0, 0)
    assert document["data_segments_lost"] > 50
    assert document["ns_per_packet"] > 0
    assert document["bytes_per_flow"] > 200  # at so few connections mostly what all of them share
    assert set(document["ns_per_packet_by_class"]) == {
        "data_ipv4", "data_ipv6", "ack_ipv4", "ack_ipv6", "timers", "handshake"
    }  # fmt: skip


def test_for_a_person_the_figures_come_with_their_units():
    done = bench("engine", "--flows", "1000", "--packets", "2000")
    assert done.returncode == 0, done.stderr
    assert "1,000 connections resident" in done.stdout
    assert " ns\n" in done.stdout
    assert " bytes\n" in done.stdout


@pytest.mark.parametrize(("argv", "said"), [(("--flows", "1"), "--flows"), (("--packets", "x"), "--packets")])
def test_what_makes_no_sense_is_answered_with_one_sentence(argv, said):
    done = bench("engine", *argv)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert said in done.stderr
