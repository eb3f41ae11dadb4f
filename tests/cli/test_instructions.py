"""What a packet costs the engine, in instructions: a figure that does not depend on how busy the machine is.

callgrind counts them in the two calls that `smartwire bench engine` measures. Two runs of different length tell the
cost of a packet from that of setting up. The count is exact and repeatable for one compiler; a change of more than
5 % is either a mistake or wants its figure recorded, in instructions.json and in docs/measurements.md.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
RECORDED = json.loads((Path(__file__).parent / "instructions.json").read_text())
FLOWS = 1_000
SHORT, LONG = 4_000, 24_000
PER_PACKET_ASKED = 2.125
"""The benchmark runs an eighth of what it is asked for to warm up, then all, then as many again by class."""
TOLERANCE = 0.05


def instructions(program: Path, packets: int) -> int:
    """Instructions of the engine's calls in a run of the benchmark."""
    argv = (
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        "--toggle-collect=*Bench*take*",
        "--toggle-collect=*Bench*time*",
        str(program),
        str(FLOWS),
        str(packets),
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=300)
    return int(re.search(r"Collected : (\d+)", done.stderr)[1])


@pytest.mark.skipif(not shutil.which("valgrind"), reason="valgrind is not installed")
@pytest.mark.skipif(not shutil.which("cargo"), reason="cargo is not installed")
@pytest.mark.slow
def test_a_packet_costs_as_many_instructions_as_recorded_within_five_percent():
    compiler = subprocess.run(("rustc", "--version"), capture_output=True, text=True, check=True).stdout.split()[1]
    if compiler != RECORDED["rustc"]:
        pytest.skip(f"the figure was recorded with rustc {RECORDED['rustc']}, this is {compiler}")
    build = ("cargo", "build", "--quiet", "--locked", "--release", "-p", "smartwire-worker", "--example", "engine")
    subprocess.run(build, cwd=HOME, check=True, timeout=600)
    program = HOME / "target/release/examples/engine"
    counts = [instructions(program, packets) for packets in (SHORT, LONG)]
    each = (counts[1] - counts[0]) / ((LONG - SHORT) * PER_PACKET_ASKED)
    print(f"{each:.0f} instructions per packet, {RECORDED['per_packet']} recorded")
    assert each == pytest.approx(RECORDED["per_packet"], rel=TOLERANCE)
