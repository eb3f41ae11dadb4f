"""What runs on the lab's phone and server: transfers over the kernel's own TCP, checked byte by byte.

The server answers one request per connection, a line of text: ``GET <bytes> <seed>`` (0 bytes: until the client goes
away) or ``PUT <bytes> <seed>``, answered with ``OK``, or ``BAD <offset>``, and the end of the stream. It echoes UDP.

The client carries out a plan (JSON on standard input) and prints one JSON object per result on standard output, times
in seconds since the plan's ``epoch`` (CLOCK_MONOTONIC, which all namespaces share).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field

from smartwire.lab.content import Checker, slice_at

PORT = 8080
ECHO_PORT = 8081
CHUNK = 256 << 10
BIN_S = 0.1
"""Width of a goodput bin, seconds."""

TCP_INFO_TOTAL_RETRANS = 100
"""Offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)."""


@dataclass
class Transfer:
    """One line of a plan: a transfer to carry out.

    Attributes:
        kind: "get" or "put".
        size: in bytes; 0 with "get": until ``stop``.
        start, stop: seconds after the epoch; ``stop`` None: when the size is reached.
        source, target: addresses of the phone and the server.
        label: copied to the result.
        window: receive buffer in bytes, None for the kernel's own.
    """

    kind: str
    size: int
    start: float
    source: str
    target: str
    label: str = ""
    stop: float | None = None
    seed: int = 1
    window: int | None = None
    port: int = PORT


@dataclass
class Result:
    """What came of a transfer; times in seconds since the epoch, None where it did not happen."""

    label: str
    kind: str
    size: int
    local_port: int = 0
    started: float = 0.0
    connected: float | None = None
    first_byte: float | None = None
    finished: float | None = None
    received: int = 0
    wrong_at: int | None = None
    error: str | None = None
    bins: list[int] = field(default_factory=list)
    """Bytes received per 0.1 s since the epoch."""

    @property
    def intact(self) -> bool:
        """Whether every byte was right and, where a size was asked for, all arrived."""
        return self.error is None and self.wrong_at is None and (self.size == 0 or self.received == self.size)


def family(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def retransmitted(sock: socket.socket) -> int:
    """Segments that the kernel sent again on this connection."""
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
    return struct.unpack_from("I", info, TCP_INFO_TOTAL_RETRANS)[0]


class Server:
    """Serves transfers and echoes UDP on all addresses of a host."""

    def __init__(self) -> None:
        self.retransmitted = 0
        """Segments sent again by this host over all finished connections."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection."""
        sock = writer.get_extra_info("socket")
        peer = writer.get_extra_info("peername")
        sent = 0
        with contextlib.suppress(ConnectionError, TimeoutError, asyncio.IncompleteReadError):
            verb, size, seed = (await reader.readline()).decode().split()
            if verb == "GET":
                sent = await self._get(writer, int(size), int(seed))
            else:
                await self._put(reader, writer, int(size), int(seed))
        again = 0
        with contextlib.suppress(OSError):
            again = retransmitted(sock)
        self.retransmitted += again
        print(json.dumps({"peer": peer[0], "port": peer[1], "sent": sent, "retransmitted_segments": again}), flush=True)
        writer.close()
        with contextlib.suppress(Exception):
            await writer.wait_closed()

    @staticmethod
    async def _get(writer: asyncio.StreamWriter, size: int, seed: int) -> int:
        offset = 0
        while size == 0 or offset < size:
            length = CHUNK if size == 0 else min(CHUNK, size - offset)
            writer.write(slice_at(seed, offset, length))
            offset += length
            await writer.drain()
        writer.write_eof()
        return offset

    @staticmethod
    async def _put(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int, seed: int) -> None:
        checker = Checker(seed)
        while data := await reader.read(CHUNK):
            checker.feed(data)
            if size and checker.received >= size:
                break
        right = checker.wrong_at is None and (size == 0 or checker.received == size)
        writer.write(b"OK\n" if right else f"BAD {checker.wrong_at}\n".encode())
        writer.write_eof()

    async def serve(self) -> None:
        """Listens until cancelled; prints ``ready`` once it does."""
        for kind, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            await asyncio.start_server(self.handle, any_address, PORT, family=kind, backlog=1024, limit=1 << 20)
            datagrams = socket.socket(kind, socket.SOCK_DGRAM)
            if kind == socket.AF_INET6:
                datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            datagrams.bind((any_address, ECHO_PORT))
            await asyncio.get_running_loop().create_datagram_endpoint(Echo, sock=datagrams)
        print("ready", flush=True)
        await asyncio.Event().wait()


class Echo(asyncio.DatagramProtocol):
    """Sends every datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


class Client:
    """Carries out a plan from the phone's side."""

    def __init__(self, epoch: float) -> None:
        self.epoch = epoch

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
        result = Result(want.label, want.kind, want.size, started=self.now())
        sock = socket.socket(family(want.target), socket.SOCK_STREAM)
        sock.setblocking(False)
        if want.window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, want.window // 2)
        try:
            sock.bind((want.source, 0))
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, (want.target, want.port))
            result.connected, result.local_port = self.now(), sock.getsockname()[1]
            await (self._get if want.kind == "get" else self._put)(sock, want, result)
        except OSError as problem:
            result.error = problem.strerror or str(problem)
        finally:
            sock.close()
        return result

    async def _get(self, sock: socket.socket, want: Transfer, result: Result) -> None:
        loop, checker = asyncio.get_running_loop(), Checker(want.seed)
        await loop.sock_sendall(sock, f"GET {want.size} {want.seed}\n".encode())
        buffer = bytearray(CHUNK)
        while want.stop is None or self.now() < want.stop:
            left = None if want.stop is None else max(0.001, want.stop - self.now())
            try:
                count = await asyncio.wait_for(loop.sock_recv_into(sock, buffer), left)
            except TimeoutError:
                break
            if count == 0:
                break
            at = self.now()
            result.first_byte = result.first_byte if result.first_byte is not None else at
            checker.feed(memoryview(buffer)[:count])
            slot = int(at / BIN_S)
            result.bins.extend([0] * (slot + 1 - len(result.bins)))
            result.bins[slot] += count
        result.finished, result.received, result.wrong_at = self.now(), checker.received, checker.wrong_at

    async def _put(self, sock: socket.socket, want: Transfer, result: Result) -> None:
        loop, offset = asyncio.get_running_loop(), 0
        await loop.sock_sendall(sock, f"PUT {want.size} {want.seed}\n".encode())
        while (want.size == 0 or offset < want.size) and (want.stop is None or self.now() < want.stop):
            length = 64 << 10 if want.size == 0 else min(64 << 10, want.size - offset)
            await loop.sock_sendall(sock, slice_at(want.seed, offset, length))
            offset += length
        if want.stop is None:
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while data := await loop.sock_recv(sock, 64):
                result.first_byte = result.first_byte if result.first_byte is not None else self.now()
                answer += data
            if answer != b"OK\n":
                result.error = f"the server answered {answer.decode(errors='replace').strip() or 'nothing'}"
        result.finished, result.received = self.now(), offset

    async def probe(self, want: dict) -> dict:
        """An open-loop UDP echo probe: one datagram every ``interval`` s; returns [sent at, RTT or None] pairs."""
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
                    rtt.setdefault(index, self.now() - sent[index])

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
        return {"label": want.get("label", "echo"), "kind": "probe", "rtt": [[t, rtt.get(i)] for i, t in enumerate(sent)]}

    async def udp_bulk(self, want: dict) -> None:
        """Sends UDP at ``rate`` bit/s in 1,200-byte datagrams from ``source`` to ``target`` without caring."""
        sock = socket.socket(family(want["target"]), socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((want["source"], 0))
        count, payload = 0, bytes(1200)
        await self.sleep_until(want["start"])
        while (now := self.now()) < want["stop"]:
            due = int((now - want["start"]) * want["rate"] / 8 / 1200)
            while count < due:
                count += 1
                with contextlib.suppress(OSError):
                    sock.sendto(payload, (want["target"], 9))
            await asyncio.sleep(0.002)
        sock.close()

    async def carry_out(self, plan: dict) -> None:
        """Runs the whole plan and prints each result when it is there."""

        async def one(kind: str, item: dict) -> None:
            if kind == "transfer":
                result = await self.transfer(Transfer(**item))
                print(json.dumps(asdict(result) | {"intact": result.intact}), flush=True)
            elif kind == "probe":
                print(json.dumps(await self.probe(item)), flush=True)
            else:
                await self.udp_bulk(item)

        kinds = {"transfers": "transfer", "probes": "probe", "udp": "udp"}
        await asyncio.gather(*(one(kind, item) for key, kind in kinds.items() for item in plan.get(key, [])))


def main() -> None:
    """``python -m smartwire.lab.endpoint serve | run``."""
    if sys.argv[1:] == ["serve"]:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(Server().serve())
    elif sys.argv[1:] == ["run"]:
        plan = json.loads(sys.stdin.readline())
        asyncio.run(Client(plan["epoch"]).carry_out(plan))
    else:
        sys.exit("usage: python -m smartwire.lab.endpoint serve | run < plan.json")


if __name__ == "__main__":
    main()
