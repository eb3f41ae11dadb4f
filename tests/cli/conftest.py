"""The command line without packets: run directories in a scratch place, and a wire made of Python."""

from __future__ import annotations

import struct
import threading
import time
from ipaddress import ip_address
from pathlib import Path
from types import ModuleType

import pytest
from smartwire.cli import main
from smartwire.errors import Error
from smartwire.wire.stats import EVENTS_HEADER, KINDS, SLOT, STATS_HEADER


class Outcome:
    """What a command printed and exited with."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def smartwire(capfd, monkeypatch, tmp_path):
    """Runs the command line in this process: smartwire("drain", "--limit", "1s")."""
    monkeypatch.setenv("SMARTWIRE_RUN", str(tmp_path / "run"))

    def call(*args: str) -> Outcome:
        status = main.run(list(args))
        return Outcome(status, *capfd.readouterr())

    return call


def write_stats(path: Path, values: dict[str, int]) -> None:
    """A stats page as the worker writes it; rewritten in place if it is there."""
    names = "\n".join(values).encode()
    offset = (STATS_HEADER.size + len(names) + 7) // 8 * 8
    now = time.monotonic_ns()
    page = bytearray(STATS_HEADER.pack(b"SWSTATS1", STATS_HEADER.size, len(names), offset, len(values), 2, now))
    page += names + bytes(offset - len(page) - len(names)) + struct.pack(f"<{len(values)}Q", *values.values())
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(page)


def write_events(path: Path, events: list[tuple], slots: int = 8) -> None:
    """An event ring as the worker writes it: (kind, reason, access, access_port, core, core_port) each."""
    ring = bytearray(EVENTS_HEADER.size + slots * SLOT.size)
    EVENTS_HEADER.pack_into(ring, 0, b"SWEVENT1", EVENTS_HEADER.size, SLOT.size, slots, 0, len(events))
    for number, (kind, reason, access, access_port, core, core_port) in enumerate(events):
        at = EVENTS_HEADER.size + number % slots * SLOT.size
        addresses = (packed(access), packed(core))
        SLOT.pack_into(ring, at, number + 1, time.monotonic_ns(), *addresses, access_port, core_port,
                       KINDS.index(kind), reason, 0, 0)  # fmt: skip
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(ring)


def packed(address: str) -> bytes:
    """16 bytes, IPv4 as IPv4-mapped."""
    ip = ip_address(address)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


class FakeWire:
    """A wire made of Python: holds flows until it is told to drain, and hands one back at each look."""

    def __init__(self, pairs, stats, events, **options) -> None:
        if options.get("fail"):
            raise Error(options["fail"])
        self.pairs, self.options = pairs, options
        self.stats, self.events = Path(stats), Path(events)
        self.stuck = 0
        self.document = ""
        self.orders: list[tuple] = []
        self.stopped = False
        self.error: str | None = None
        self.log: list[tuple] = []
        self.values = {"flows": 2, "subscribers": 1, "handed_back": 0, "resets": 0, "custody_bytes": 3000}
        self.values |= {"accepted_bytes": 900, "not_optimized_bytes": 100, "sent_bytes": 1000, "optimized": 7}
        self.values |= {"refused.mid-stream": 4, "refused.mptcp": 0, "stopped.idle": 2, "found.mss-reversed": 1}
        self.values |= {"port0.rx_bytes": 1000, "port1.rx_bytes": 9000}
        self.table = [flow("10.0.0.7", 40000), flow("2001:db8:7::2", 40001, core="2001:db8::1")]
        self.draining: list[dict] = []
        self.deadline = 0.0
        self.publish()

    def publish(self) -> None:
        write_stats(self.stats, self.values | {"flows": len(self.table), "draining": len(self.draining)})
        write_events(self.events, self.log)

    def describe(self) -> dict[str, str]:
        return {"io": "no packets at all"}

    def order(self, do, target, limit_s) -> int:
        from smartwire.wire.target import within

        self.orders.append((do, target, limit_s))
        self.deadline = time.monotonic() + limit_s
        found = [f for f in self.table if within(f, target)]
        if do != "resume":
            self.draining = found
            for one in found:
                one["mode"] = "drain"
            self.publish()
        return len(found)

    def step(self) -> None:
        if len(self.draining) > self.stuck:
            self.end(self.draining.pop(), "handed-back", 0, "handed_back")
        elif self.draining and time.monotonic() > self.deadline:
            self.end(self.draining.pop(), "reset", 9, "resets")

    def end(self, one: dict, kind: str, reason: int, counter: str) -> None:
        self.table.remove(one)
        self.log.append((kind, reason, one["access_addr"], one["access_port"], one["core_addr"], one["core_port"]))
        self.values[counter] += 1
        self.publish()

    def flows(self) -> list[dict]:
        self.step()
        return list(self.table)

    def subscribers(self) -> list[dict]:
        one = {"addr": "10.0.0.7", "scope": 0, "flows": 1, "in_flight_bytes": 5000, "budget_bytes": 60000}
        return [one | {"rate_bytes_per_s": 1250000, "min_rtt_ns": 50_000_000, "rtt_ns": 71_000_000}]

    def policies(self) -> list[list[tuple[str, int]]]:
        return [[("web", 7)], [("gold", 5)]] if self.document else [[], []]

    def set_policies(self, document: str) -> None:
        self.document = document

    def drained(self) -> bool:
        self.step()
        return not self.table

    def failed(self) -> str | None:
        return self.error

    def news(self) -> list[str]:
        return []

    def capture(self, path, target, *, snap, packets) -> None:
        self.captures = [(str(path), target, snap, packets)]
        self.capturing = 0

    def captured(self):
        self.capturing += 1
        return self.capturing, 0, self.capturing >= 3

    def capture_end(self):
        return self.capturing, 1, True

    def stop(self) -> None:
        self.stopped = True


def flow(access: str, port: int, core: str = "192.0.2.1") -> dict:
    """A connection as the core describes it."""
    pair = {"custody_bytes": [0, 1500], "in_flight_bytes": [0, 3000], "delivered_bytes": [10, 70000]}
    pair |= {"srtt_ns": [0, 60_000_000], "cwnd_bytes": [0, 60000]}
    return {"access_addr": access, "access_port": port, "core_addr": core, "core_port": 443, "scope": 0} | {
        "mode": "optimize"} | pair  # fmt: skip


@pytest.fixture
def native(monkeypatch):
    """A fake of the Rust core in its place; its attributes can be changed."""
    from smartwire.wire.reasons import tables

    module = ModuleType("smartwire._native")
    module.Wire = FakeWire
    module.reasons = lambda: (
        [("mid-stream", "Its handshake was not seen.")],
        [("operator", "An operator did it.")],
        [("mss-reversed", "The MSS is clamped the wrong way round.")],
    )
    module.unwire = lambda access, core: True
    monkeypatch.setitem(__import__("sys").modules, "smartwire._native", module)
    monkeypatch.setattr(__import__("smartwire"), "_native", module, raising=False)
    tables.cache_clear()
    yield module
    tables.cache_clear()


@pytest.fixture
def wire(smartwire, native):
    """A running fake wire called w, with its service."""
    from smartwire.wire.control import Server
    from smartwire.wire.registry import register
    from smartwire.wire.service import Service

    with register("w", access="eth1", core="eth2", io="no packets at all", started=time.time()) as directory:
        fake = FakeWire([("eth1", "eth2")], directory / "stats", directory / "events")
        fake.log = [("refused", 0, "10.0.0.7", 40000, "192.0.2.1", 443)]
        fake.publish()
        server = Server(directory / "control.sock", Service(fake, directory).handlers())
        stop = threading.Event()

        def refresh() -> None:
            while not stop.wait(0.02):
                fake.publish()

        thread = threading.Thread(target=refresh)
        thread.start()
        yield fake
        stop.set()
        thread.join()
        server.close()
