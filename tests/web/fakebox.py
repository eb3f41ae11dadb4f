"""A box for a browser without one packet: a real smartwired over the fake data plane, a wire that is a stats page, a
control socket and an event ring, and a counter store with a past.

``python tests/web/fakebox.py PORT`` serves it, for looking at.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import struct
import subprocess
import sys
import threading
import time
from ipaddress import ip_address
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "control"), str(HERE.parents[1] / "python")]

from argon2 import PasswordHasher  # noqa: E402
from conftest import PageWire  # noqa: E402
from smartwire.alarms import journal  # noqa: E402
from smartwire.alarms.evaluate import Alarm, Change  # noqa: E402
from smartwire.config.access import Passwords  # noqa: E402
from smartwire.config.daemon import Daemon  # noqa: E402
from smartwire.config.engine import Engine  # noqa: E402
from smartwire.config.fakeplane import FakePlane  # noqa: E402
from smartwire.config.schema import load as load_schema  # noqa: E402
from smartwire.config.store import Store as Configurations  # noqa: E402
from smartwire.counters.history import database  # noqa: E402
from smartwire.counters.store import Reading, Retention, Store  # noqa: E402
from smartwire.pcapng import INBOUND, OUTBOUND, Writer  # noqa: E402
from smartwire.wire import control  # noqa: E402
from smartwire.wire.stats import EVENTS_HEADER, SLOT  # noqa: E402
from smartwire.wire.target import within  # noqa: E402

USER, PASSWORD = "alice", "a-long-password"
CONFIGURATION = f"""
set system host-name edge-7
set system login message "Authorized use only. What is done here is recorded."
set system login user {USER} class super-user
set system login user {USER} password {PASSWORD}
set system login user rita class read-only
set system login user rita password {PASSWORD}
set system login class veiled permission [ view operate ]
set system login class veiled hide-subscribers true
set system login user hugo class veiled
set system login user hugo password {PASSWORD}
set wires north pair eth1 core eth2
"""
SECOND = """
set policies video match core-port 443
set policies video engine wire
"""
FLOWS = 48
MS = 1_000_000


class FakeWire(PageWire):
    """A wire whose counters grow, with connections that can be asked for and captured."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, "north")
        self.values = dict.fromkeys(self.values, 0) | {
            "port0.up": 1, "port1.up": 1, "frames_total": 8192, "frames_free": 7800, "frames_keepable": 6000,
        }  # fmt: skip
        self.values |= {"refused.mid-stream": 212, "refused.mptcp": 57, "refused.one-way": 9, "stopped.idle": 3}
        self.random = random.Random(7)
        self.rows = [self.flow(n) for n in range(FLOWS)]
        handlers = {"flows": self.flows, "subscribers": self.subscribers, "capture": self.capture}
        self.server = control.Server(self.directory / "control.sock", handlers)
        self.write_events()
        self.over = threading.Event()
        self.tick(0)
        self.thread = threading.Thread(target=self.live, daemon=True)
        self.thread.start()

    def flow(self, n: int) -> dict:
        six = n % 5 == 4
        access = f"2001:db8:7:{n % 12:x}::2" if six else f"100.64.3.{10 + n % 12}"
        core = f"2001:db8:ff::{n % 7:x}" if six else f"203.0.113.{5 + n % 7}"
        return {
            "access_addr": access, "access_port": 40000 + 13 * n, "core_addr": core, "core_port": 443, "scope": 0,
            "mode": "optimize", "custody_bytes": [0, 9_000 * (n % 30)], "in_flight_bytes": [0, 14_600 * (n % 9)],
            "delivered_bytes": [1800 + 40 * n, int(2e4 * 1.31 ** (n % 32))],
            "srtt_ns": [(18 + n % 23) * MS, (38 + 3 * (n % 17)) * MS], "cwnd_bytes": [14600, 29_200 + 1460 * n],
        }  # fmt: skip

    def flows(self, request: dict):
        yield from ()
        found = [f for f in self.rows if within(f, request["target"])]
        return {"total": len(found), "flows": found[: request.get("limit", 1000)]}

    def subscribers(self, request: dict):
        yield from ()
        found = []
        for n, address in enumerate(sorted({f["access_addr"] for f in self.rows})):
            mine = [f for f in self.rows if f["access_addr"] == address]
            found.append({
                "addr": address, "scope": 0, "flows": len(mine), "in_flight_bytes": 14_600 * len(mine),
                "budget_bytes": 180_000, "rate_bytes_per_s": int(4e5 * (1 + n % 9)),
                "min_rtt_ns": 31 * MS, "rtt_ns": (36 + 2 * (n % 11)) * MS,
            })  # fmt: skip
        return {"total": len(found), "subscribers": found}

    def capture(self, request: dict):
        yield {"packets": 0, "dropped": 0}
        target = request["target"]
        time.sleep(min(0.3, request["seconds"]))
        return {"packets": write_capture(Path(request["file"]), target), "dropped": 0}

    def tick(self, n: int) -> None:
        """The page, `n` tenths of a second on."""
        down = int(5.5e6 * (1 + 0.22 * math.sin(n / 37) + 0.08 * math.sin(n / 7)))
        grown = {
            "port1.rx_bytes": down // 10, "port0.rx_bytes": down // 90, "accepted_bytes": down // 10,
            "not_optimized_bytes": down // 400, "sent_bytes": down // 10, "retransmitted_bytes": down // 1500,
            "retransmitted": 1, "optimized": n % 3 == 0,
        }  # fmt: skip
        self.publish(
            flows=FLOWS,
            subscribers=24,
            custody_bytes=3_400_000,
            **{k: self.values.get(k, 0) + int(v) for k, v in grown.items()},
        )

    def live(self) -> None:
        n = 0
        while not self.over.wait(0.1):
            n += 1
            self.tick(n)

    def write_events(self) -> None:
        """A ring with a refused connection and the life of the first flow."""
        now, slots, first = time.monotonic_ns(), 64, self.rows[0]
        refused = (("100.64.3.77", 51000, "203.0.113.9", 443), 0, 7, 40)
        mine = (first["access_addr"], first["access_port"], first["core_addr"], first["core_port"])
        ring = bytearray(EVENTS_HEADER.pack(b"SWEVENT1", EVENTS_HEADER.size, SLOT.size, slots, 0, 2))
        for number, ((a, ap, c, cp), kind, reason, age_s) in enumerate((refused, (mine, 1, 0, 21))):
            ring += SLOT.pack(number + 1, now - int(age_s * 1e9), packed(a), packed(c), ap, cp, kind, reason, 0, 0)
        ring += bytes(SLOT.size * slots - (len(ring) - EVENTS_HEADER.size))
        (self.directory / "events").write_bytes(ring)

    def close(self) -> None:
        self.over.set()
        self.thread.join()
        self.server.close()
        self.die()


def packed(address: str) -> bytes:
    ip = ip_address(address)
    return ip.packed if ip.version == 6 else bytes(10) + b"\xff\xff" + ip.packed


def write_capture(path: Path, target: dict) -> int:
    """Both sides of a download of 5 s with a loss now and then, as the wire would write it."""
    writer = Writer(path, ["eth1", "eth2"])
    access, core = (target["access_addr"], target["access_port"]), (target["core_addr"], target["core_port"])
    begin, frames, acked, end = time.time_ns(), [], 0, 0
    for n in range(900):
        end = 1448 * (n + 1)
        at = int(n / 900 * 4e9)
        frames.append((at, 1, INBOUND, core, access, 1000 + end - 1448, 5000, 1448))
        frames.append((at + 1 * MS, 1, OUTBOUND, access, core, 5000, 1000 + end, 0))
        late = 60 * MS if n % 150 == 149 else 0
        frames.append((at + 2 * MS, 0, OUTBOUND, core, access, 1000 + end - 1448, 5000, 1448))
        if late:
            frames.append((at + late, 0, OUTBOUND, core, access, 1000 + end - 1448, 5000, 1448))
        acked = end if n % 2 else acked
        frames.append((at + 45 * MS + late, 0, INBOUND, access, core, 5000, 1000 + acked, 0))
    for at, port, way, src, dst, seq, ack, payload in sorted(frames, key=lambda f: f[0]):
        frame, length = segment(src, dst, seq, ack, payload)
        writer.packet(port, begin + at, frame, way, length)
    writer.close()
    return len(frames)


def segment(src: tuple[str, int], dst: tuple[str, int], seq: int, ack: int, payload: int) -> tuple[bytes, int]:
    """The headers of a frame, and how long it was."""
    a, b = ip_address(src[0]), ip_address(dst[0])
    tcp = struct.pack("!HHIIBBHHH", src[1], dst[1], seq, ack, 5 << 4, 0x10, 65535, 0, 0)
    if a.version == 4:
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40 + payload, 0, 0, 64, 6, 0, a.packed, b.packed)
        frame = bytes(12) + b"\x08\x00" + ip + tcp
    else:
        ip = struct.pack("!IHBB16s16s", 6 << 28, 20 + payload, 6, 64, a.packed, b.packed)
        frame = bytes(12) + b"\x86\xdd" + ip + tcp
    return frame, len(frame) + payload


def write_past(days: int = 15) -> None:
    """A store whose wire has had a day's rhythm for so long."""
    now = int(time.time()) // 900 * 900
    paths = [f"wire/north/{p}" for p in (
        "port/core/rx_bytes", "port/access/rx_bytes", "flows", "subscribers", "sent_bytes", "retransmitted_bytes",
        "rtt_access_us", "rtt_core_us", "queue_us", "reason/mptcp/refused", "reason/mid-stream/refused")]  # fmt: skip
    store, total, noise = (
        Store(database(), Retention((900, 48 * 3600), (900, 15 * 86400), (900, 396 * 86400))),
        [0] * 11,
        random.Random(3),
    )
    store.db.execute("pragma synchronous = off")
    for at in range(now - days * 86400, now + 1, 900):
        day = 0.55 + 0.4 * math.sin((at % 86400) / 86400 * 2 * math.pi - 2) + noise.uniform(-0.04, 0.04)
        grown = (5.4e9 * day, 6e8 * day, 0, 0, 5.2e9 * day, 4e6 * day * noise.uniform(0.5, 1.8), 0, 0, 0, 3, 40)
        total = [t + max(0, int(g)) for t, g in zip(total, grown, strict=True)]
        total[2:4] = [int(60 * day), int(26 * day)]
        total[6:9] = [int(41_000 + 9_000 * day), int(22_000 + noise.uniform(-900, 900)), int(2_000 + 9_000 * day * day)]
        store.append(at, [Reading("wire/north", "e", paths, total)])
    store.close()


def write_alarms() -> None:
    now = time.time()
    past = Alarm(1, "port-down", "wire/north/port/core", "critical", "eth2 has no carrier.",
                 "Check the cable, the optics and the neighbour's port.", now - 90_000, now - 89_800)  # fmt: skip
    active = Alarm(2, "asymmetry", "wire/north", "minor",
                   "A quarter of the new connections cross in one direction only.",
                   "Put both directions of a subscriber's traffic through the same box.", now - 900)  # fmt: skip
    kept = journal.Journal(journal.journal_path())
    kept.record([Change(past, past.text), Change(active, active.text)])
    journal.publish([active], now)


class FakeBox:
    """smartwired, its wire and its web server, on a port of this machine."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.run, self.state = directory / "run", directory / "state"
        self.log: list[str] = []
        os.environ["SMARTWIRE_RUN"], os.environ["SMARTWIRE_STATE"] = str(self.run), str(self.state)
        (self.run / "smartwired").mkdir(parents=True)
        self.state.mkdir()
        passwords = Passwords(time.monotonic, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        store = Configurations(self.state / "config", load_schema())
        self.plane = FakePlane()
        self.engine = Engine(store, [self.plane], passwords=passwords)
        self.daemon = Daemon(self.engine, self.run / "smartwired" / "api.sock", self.log.append)
        self.wire = FakeWire(self.run)
        write_past()
        write_alarms()
        self.web: subprocess.Popen | None = None

    def __enter__(self) -> FakeBox:
        self.stop = asyncio.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve()))
        self.thread.start()
        wait(lambda: any("serves" in line for line in self.log), "smartwired")
        session = self.engine.session("root", "test")
        session.configure("private")
        for text, why in ((CONFIGURATION, "first"), (SECOND, "video gets a policy of its own")):
            session.load("set", text)
            session.commit(comment=why)
        session.close()
        out = (self.directory / "web.log").open("wb")
        argv = [sys.executable, "-m", "smartwire", "web", "--port", str(self.port)]
        env = os.environ | {"PYTHONPATH": str(HERE.parents[1] / "python")}
        # Whoever serves gives up its rights: it must be able to reach what it reads as nobody.
        self.web = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, env=env)
        wait(self.answers, "the web server", lambda: (self.directory / "web.log").read_text())
        return self

    async def serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.daemon.run(self.stop)

    def answers(self) -> bool:
        import socket

        assert self.web
        assert self.web.poll() is None, (self.directory / "web.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def __exit__(self, *_: object) -> None:
        if self.web:
            self.web.terminate()
            self.web.wait(20)
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.wire.close()


def wait(what, whom: str, why=lambda: "", seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"{whom} did not come up: {why()}"
        time.sleep(0.05)


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch).chmod(0o755)
        with FakeBox(Path(scratch), int(sys.argv[1])) as box:
            print((box.directory / "web.log").read_text(), USER, PASSWORD, flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 3600)
