"""What `smartwire capture` asks of a running wire, and says."""

from __future__ import annotations

import json
from pathlib import Path


def test_a_capture_asks_for_its_target_and_says_what_came_of_it(smartwire, wire, tmp_path: Path):
    file = tmp_path / "one.pcapng"
    done = smartwire("capture", "10.0.0.7", "-w", str(file), "--packets", "3", "--snap", "96")
    assert done.status == 0
    assert wire.captures == [(str(file), {"kind": "subscriber", "addr": "10.0.0.7"}, 96, 3)]
    assert done.out == f"3 packets in {file}, 1 dropped\n"


def test_a_capture_for_a_program_is_one_json_document(smartwire, wire, tmp_path: Path):
    done = smartwire("capture", "-w", str(tmp_path / "all.pcapng"), "--seconds", "10ms", "--json")
    assert json.loads(done.out)["dropped"] == 1


def test_a_capture_without_a_file_says_what_is_missing(smartwire, wire):
    done = smartwire("capture")
    assert done.status == 2
    assert "--write" in done.err


def test_a_capture_of_nothing_that_runs_says_how_to_start_a_wire(smartwire):
    done = smartwire("capture", "-w", "x.pcapng")
    assert done.status == 3
    assert "smartwire run" in done.err
