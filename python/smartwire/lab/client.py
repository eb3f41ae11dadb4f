"""What runs on the lab's phone (and, for UDP towards it, on the server): ``python -m smartwire.lab.client``.

Reads a plan as one line of JSON (:mod:`smartwire.lab.plan`), prints ``{"ready": true}``, reads ``{"epoch": seconds}``,
carries the plan out, and prints one JSON object per result, with a ``{"tick": ...}`` of what happens every half second.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
import sys
import time
from dataclasses import asdict

from smartwire.lab.content import Checker, slice_at
from smartwire.lab.plan import CHUNK, ECHO_PORT, PORT, SINK_PORT, Result, Transfer, family, retransmitted

TCP_WINDOW_CLAMP, TCP_FASTOPEN_CONNECT = 10, 30
IPPROTO_MPTCP = 262
TICK_S = 0.5
REST_S = 0.5
"""Before each request of "rest"."""
DATAGRAM = 1200


def put_out(document: dict) -> None:
    """Prints one line of JSON."""
    print(json.dumps(document), flush=True)


async def connect(sock: socket.socket, address: tuple[str, int]) -> None:
    """Connects; asyncio's own sock_connect asks the resolver, which knows no Multipath TCP."""
    with contextlib.suppress(BlockingIOError):
        sock.connect(address)
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    loop.add_writer(sock, done.set_result, None)
    try:
        await done
    finally:
        loop.remove_writer(sock)
    if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(problem, os.strerror(problem))


class Client:
    """Carries out a plan."""

    def __init__(self, epoch: float) -> None:
        self.epoch = epoch
        self.arrived = 0
        """Payload bytes since the last tick."""
        self.rtt: float | None = None
        """Of the last echo, seconds."""

    def now(self) -> float:
        """Seconds since the plan's epoch."""
        return time.monotonic() - self.epoch

    async def sleep_until(self, moment: float) -> None:
        """Returns ``moment`` seconds after the epoch, at once if that has passed."""
        if (wait := moment - self.now()) > 0:
            await asyncio.sleep(wait)

    async def transfer(self, want: Transfer) -> Result:
        """Carries out one transfer; never raises: what went wrong stands in the result."""
        await self.sleep_until(want.start)
        result = Result(want.label, want.kind, want.size, want.source, started=self.now())
        sock = socket.socket(family(want.target), socket.SOCK_STREAM, IPPROTO_MPTCP if want.mptcp else 0)
        sock.setblocking(False)
        if want.window:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_WINDOW_CLAMP, want.window)
        try:
            if want.tfo:
                sock.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
            sock.bind((want.source, 0))
            await connect(sock, (want.target, PORT))
            result.connected, result.local_port = self.now(), sock.getsockname()[1]
            carry = {"get": self.get, "put": self.put, "ping": self.ping, "rest": self.ping}[want.kind]
            limit = None if want.stop is None else max(0.001, want.stop - self.now())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(carry(sock, want, result), limit)
        except OSError as problem:
            result.error = problem.strerror or str(problem)
        finally:
            result.ended = self.now()
            result.finished = result.ended if result.error is None else None
            result.retransmitted_segments = retransmitted(sock)
            sock.close()
        return result

    async def get(self, sock: socket.socket, want: Transfer, result: Result) -> None:
        """Downloads."""
        loop, checker, buffer = asyncio.get_running_loop(), Checker(want.seed), bytearray(CHUNK)
        await loop.sock_sendall(sock, f"get {want.size} {want.seed}\n".encode())
        while count := await loop.sock_recv_into(sock, buffer):
            checker.feed(memoryview(buffer)[:count])
            result.received, result.wrong_at = checker.received, checker.wrong_at
            result.count(self.now(), count)
            self.arrived += count

    async def put(self, sock: socket.socket, want: Transfer, result: Result) -> None:
        """Uploads, and hears whether all was right."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, f"put {want.size} {want.seed}\n".encode())
        while want.size == 0 or result.received < want.size:
            length = 64 << 10 if want.size == 0 else min(64 << 10, want.size - result.received)
            await loop.sock_sendall(sock, slice_at(want.seed, result.received, length))
            result.received += length
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := await loop.sock_recv(sock, 64):
            result.first_byte = self.now()
            answer += data
        if answer != b"OK\n":
            result.error = f"the server answered {answer.decode(errors='replace').strip() or 'nothing'}"

    async def ping(self, sock: socket.socket, want: Transfer, result: Result) -> None:
        """One-byte requests, one after the other, from a thread that blocks."""
        await asyncio.get_running_loop().sock_sendall(sock, f"ping {want.size} {want.seed}\n".encode())

        def ask() -> None:
            sock.setblocking(True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(want.size):
                time.sleep(REST_S if want.kind == "rest" else 0)
                began = time.perf_counter()
                sock.sendall(b"x")
                if sock.recv(1) != b"x":
                    raise OSError("the answer to a one-byte request was wrong")
                result.rtt.append(time.perf_counter() - began)
                result.received += 1

        await asyncio.to_thread(ask)

    async def web(self, want: dict) -> None:
        """A page: its first object, then the others over ``parallel`` connections at a time."""
        await self.sleep_until(want["start"])
        began, label = self.now(), want.get("label", "page")
        common = {"kind": "get", "start": 0.0, "source": want["source"], "target": want["target"]}
        slots = asyncio.Semaphore(want.get("parallel", 6))

        async def fetch(index: int, size: int) -> bool:
            async with slots:
                result = await self.transfer(Transfer(size=size, label=f"{label}.{index}", seed=index, **common))
            put_out(asdict(result) | {"intact": result.intact})
            return result.intact

        first, *others = want["objects"]
        right = [await fetch(0, first), *await asyncio.gather(*(fetch(i, s) for i, s in enumerate(others, 1)))]
        put_out({"kind": "page", "label": label, "started": began, "finished": self.now(), "intact": all(right)})

    async def probe(self, want: dict) -> None:
        """An open-loop UDP echo probe: one datagram every ``interval`` s; reports [sent at, RTT or None] pairs."""
        sock = socket.socket(family(want["target"]), socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((want["source"], 0))
        sock.connect((want["target"], ECHO_PORT))
        loop = asyncio.get_running_loop()
        sent: list[float] = []
        rtt: dict[int, float] = {}

        def on_reply() -> None:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                while True:
                    (index,) = struct.unpack("!I", sock.recv(64)[:4])
                    self.rtt = rtt.setdefault(index, self.now() - sent[index])

        loop.add_reader(sock, on_reply)
        await self.sleep_until(want["start"])
        while (moment := want["start"] + len(sent) * want["interval"]) < want["stop"]:
            await self.sleep_until(moment)
            sent.append(self.now())
            with contextlib.suppress(OSError):
                sock.send(struct.pack("!I", len(sent) - 1).ljust(64, b"\0"))
        await asyncio.sleep(want.get("linger", 3.0))
        loop.remove_reader(sock)
        sock.close()
        pairs = [[round(t, 6), rtt.get(i)] for i, t in enumerate(sent)]
        put_out({"kind": "probe", "label": want.get("label", "echo"), "rtt": pairs})

    async def udp_send(self, want: dict) -> None:
        """Sends UDP at ``mbps`` of payload in 1,200-byte datagrams, whatever becomes of them."""
        sock = socket.socket(family(want["target"]), socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((want["source"], 0))
        count, payload = 0, bytes(DATAGRAM)
        await self.sleep_until(want["start"])
        while (now := self.now()) < want["stop"]:
            due = int((now - want["start"]) * want["mbps"] * 1e6 / 8 / DATAGRAM)
            while count < due:
                count += 1
                with contextlib.suppress(OSError):
                    sock.sendto(payload, (want["target"], SINK_PORT))
            await asyncio.sleep(0.002)
        sock.close()

    async def udp_receive(self, want: dict) -> None:
        """Counts the UDP that arrives at ``source`` until ``stop``."""
        sock = socket.socket(family(want["source"]), socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((want["source"], SINK_PORT))
        result = Result(want.get("label", "udp"), "udp", 0, want["source"], started=self.now())
        loop = asyncio.get_running_loop()

        def on_data() -> None:
            with contextlib.suppress(BlockingIOError):
                while True:
                    result.received += (count := len(sock.recv(2048)))
                    result.count(self.now(), count)

        loop.add_reader(sock, on_data)
        await self.sleep_until(want["stop"])
        loop.remove_reader(sock)
        sock.close()
        put_out(asdict(result) | {"intact": True})

    async def tick(self) -> None:
        """Says every half second what arrived."""
        while True:
            await asyncio.sleep(TICK_S)
            rtt_ms = None if self.rtt is None else self.rtt * 1e3
            put_out({"tick": self.now(), "mbps": self.arrived * 8e-6 / TICK_S, "rtt_ms": rtt_ms})
            self.arrived, self.rtt = 0, None

    async def carry_out(self, plan: dict) -> None:
        """Runs the whole plan."""

        async def transfer(item: dict) -> None:
            result = await self.transfer(Transfer(**item))
            put_out(asdict(result) | {"intact": result.intact})

        kinds = {"transfers": transfer, "pages": self.web, "probes": self.probe, "udp_send": self.udp_send,
                 "udp_receive": self.udp_receive}  # fmt: skip
        ticker = asyncio.create_task(self.tick())
        await asyncio.gather(*(do(item) for key, do in kinds.items() for item in plan.get(key, [])))
        ticker.cancel()


def main() -> None:
    """Reads the plan and carries it out."""
    plan = json.loads(sys.stdin.readline())
    for seed in range(8):  # made before the epoch: a transfer must not wait for its content
        slice_at(seed, 0, 1)
    put_out({"ready": True})
    line = sys.stdin.readline()
    if line:
        asyncio.run(Client(json.loads(line)["epoch"]).carry_out(plan))


if __name__ == "__main__":
    main()
