"""What the tests of the control plane share: a clock of their own, sources, and stats pages without a wire."""

from __future__ import annotations

import fcntl
import json
import struct
import time
from pathlib import Path

import pytest
from smartwire.cli import main
from smartwire.counters.store import Reading
from smartwire.wire.control import Server
from smartwire.wire.stats import STATS_HEADER

DAY0 = 1_764_028_800
"""A midnight, unix s: a multiple of every step."""


class FakeClock:
    """Wall clock and steady time that move when told to."""

    def __init__(self, wall: float = DAY0) -> None:
        self.now, self.offset = 1000.0, wall - 1000.0

    def wall(self) -> float:
        return self.now + self.offset

    def steady(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds

    def set(self, by: float) -> None:
        """Somebody sets the clock."""
        self.offset += by


class Counted:
    """A source whose counters a test turns."""

    def __init__(self, source: str = "wire/w", **values: int) -> None:
        self.source, self.epoch, self.values = source, "boot:1", dict(values)
        self.broken: Exception | None = None

    def __call__(self) -> list[Reading]:
        if self.broken:
            raise self.broken
        return [
            Reading(self.source, self.epoch, [f"{self.source}/{m}" for m in self.values], list(self.values.values()))
        ]

    def restart(self) -> None:
        self.epoch += "'"
        self.values = dict.fromkeys(self.values, 0)


def write_page(path: Path, values: dict[str, int], age_s: float = 0.0) -> None:
    """A stats page as the worker writes it."""
    names = "\n".join(values).encode()
    offset = (STATS_HEADER.size + len(names) + 7) // 8 * 8
    now = time.monotonic_ns() - int(age_s * 1e9)
    page = bytearray(STATS_HEADER.pack(b"SWSTATS1", STATS_HEADER.size, len(names), offset, len(values), 2, now))
    page += names + bytes(offset - len(page) - len(names)) + struct.pack(f"<{len(values)}Q", *values.values())
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(page)


class PageWire:
    """What a running wire shares with whoever looks, without a wire: its directory, its lock and its stats page."""

    def __init__(self, root: Path, name: str, access: str = "eth1", core: str = "eth2") -> None:
        self.directory, self.name = root / name, name
        self.directory.mkdir(parents=True)
        self.lock = (self.directory / "lock").open("w")
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        info = {"name": name, "pid": 4711, "access": access, "core": core, "io": "xdp", "started": 1_764_000_000.0}
        (self.directory / "wire.json").write_text(json.dumps(info))
        self.values = engine_page()
        self.server: Server | None = None
        self.publish()

    def publish(self, age_s: float = 0.0, **values: int) -> None:
        self.values |= values
        write_page(self.directory / "stats", self.values, age_s)

    def decide(self, policies: dict[str, int], classes: dict[str, int]) -> None:
        """From now on it has policies and classes, with so many connections each."""
        answer = {
            kind: [{"name": name, "connections": count} for name, count in counts.items()]
            for kind, counts in (("policies", policies), ("classes", classes))
        }

        def policies_of(request):
            yield from ()
            return answer

        info = json.loads((self.directory / "wire.json").read_text())
        (self.directory / "wire.json").write_text(json.dumps(info | {"policies": "0123"}))
        self.server = Server(self.directory / "control.sock", {"policies": policies_of})

    def port(self, number: int, **values: int) -> None:
        self.publish(**{f"port{number}.{k}": v for k, v in values.items()})

    def die(self) -> None:
        if self.server:
            self.server.close()
        self.lock.close()


def engine_page() -> dict[str, int]:
    """Every name that a real wire's page has, with small values."""
    from smartwire.counters.names import METRICS

    port = (
        "rx_frames",
        "rx_bytes",
        "tx_frames",
        "tx_bytes",
        "rx_dropped",
        "tx_dropped",
        "rx_merged",
        "rx_too_long",
        "up",
    )
    plain = [m for m in METRICS if m not in (*port, "refused", "stopped", "found", "connections")]
    page = dict.fromkeys(plain, 3) | {"frames_total": 1000, "frames_free": 900, "frames_keepable": 800}
    page |= {"refused.mid-stream": 4, "refused.table-full": 0, "refused.one-way": 1, "stopped.idle": 2}
    page |= {"found.mss-reversed": 1}
    page |= {f"worker{n}.{m}": n + 1 for n in (0, 1) for m in ("frames_in", "bytes_in", "frames_out", "flows")}
    return page | {f"port{n}.{m}": 1 for n in (0, 1) for m in port}


@pytest.fixture
def run_dir(tmp_path, monkeypatch) -> Path:
    """Where wires register in this test."""
    monkeypatch.setenv("SMARTWIRE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("SMARTWIRE_STATE", str(tmp_path / "state"))
    return tmp_path / "run"


@pytest.fixture
def page_wire(run_dir):
    """A wire called w that is only a stats page."""
    wire = PageWire(run_dir, "w")
    yield wire
    wire.die()


class Outcome:
    """What a command printed and exited with."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def smartwire(capfd, run_dir):
    """Runs the command line in this process."""

    def call(*args: str) -> Outcome:
        status = main.run(list(args))
        return Outcome(status, *capfd.readouterr())

    return call
