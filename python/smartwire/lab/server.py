"""What runs on the lab's server: ``python -m smartwire.lab.server``.

One request per connection, a line of text: ``get BYTES SEED`` (0 bytes: until the client goes away), or
``put BYTES SEED``, answered with ``OK`` or ``BAD OFFSET``, or ``ping N SEED``: every byte comes back, or ``GET /BYTES``
for curl. UDP is echoed on one port and swallowed on another. Prints ``{"ready": true}``, then a line of JSON for each
connection that ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket

from smartwire.lab.content import Checker, slice_at
from smartwire.lab.plan import CHUNK, ECHO_PORT, PORT, SINK_PORT, retransmitted

ANY = ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::"))


class Echo(asyncio.DatagramProtocol):
    """Sends every datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple) -> None:
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


def datagrams(kind: socket.AddressFamily, address: str, port: int) -> socket.socket:
    """A UDP socket of one IP version only."""
    sock = socket.socket(kind, socket.SOCK_DGRAM)
    if kind == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setblocking(False)
    sock.bind((address, port))
    return sock


class Connection:
    """One connection and how much payload it moved, however it ends."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.loop = asyncio.get_running_loop()
        self.moved = 0

    async def answer(self, peer: tuple) -> None:
        """Answers the request and reports."""
        error = None
        try:
            line, _, rest = (await self.loop.sock_recv(self.sock, 4096)).partition(b"\n")
            if line.startswith(b"GET /"):
                await self.http(line)
            else:
                verb, size, seed = line.decode().split()
                await {"get": self.get, "put": self.put, "ping": self.ping}[verb](int(size), int(seed), rest)
        except (OSError, ValueError, KeyError) as problem:
            error = getattr(problem, "strerror", None) or str(problem)
        report = {"peer": peer[0], "port": peer[1], "bytes": self.moved, "error": error}
        report["retransmitted_segments"] = retransmitted(self.sock)
        self.sock.close()
        print(json.dumps(report), flush=True)

    async def get(self, size: int, seed: int, rest: bytes = b"") -> None:
        """Sends ``size`` bytes and the end of the stream."""
        while size == 0 or self.moved < size:
            length = CHUNK if size == 0 else min(CHUNK, size - self.moved)
            await self.loop.sock_sendall(self.sock, slice_at(seed, self.moved, length))
            self.moved += length
        self.sock.shutdown(socket.SHUT_WR)
        while await self.loop.sock_recv(self.sock, 4096):  # until the client has closed: only then all is delivered
            pass

    async def http(self, line: bytes) -> None:
        """Answers ``GET /BYTES`` of curl and browsers."""
        wanted = line.split()[1].lstrip(b"/").decode()
        size = int(wanted) if wanted.isdigit() else 0
        status = "200 OK" if size else "404 Ask for /BYTES, for example /10000000"
        head = f"HTTP/1.0 {status}\r\nContent-Length: {size}\r\nContent-Type: application/octet-stream\r\n\r\n"
        await self.loop.sock_sendall(self.sock, head.encode())
        if size:
            await self.get(size, 1)

    async def put(self, size: int, seed: int, rest: bytes) -> None:
        """Receives and checks ``size`` bytes (0: all that come), says whether they were right."""
        checker, buffer = Checker(seed), bytearray(CHUNK)
        checker.feed(rest)
        self.moved = checker.received
        while size == 0 or checker.received < size:
            count = await self.loop.sock_recv_into(self.sock, buffer)
            if not count:
                break
            checker.feed(memoryview(buffer)[:count])
            self.moved = checker.received
        right = checker.wrong_at is None and (size == 0 or checker.received == size)
        await self.loop.sock_sendall(self.sock, b"OK\n" if right else f"BAD {checker.wrong_at}\n".encode())
        self.sock.shutdown(socket.SHUT_WR)

    async def ping(self, size: int, seed: int, rest: bytes) -> None:
        """Sends every byte back, from a thread that blocks: an event loop would add its own time to each."""

        def echo(data: bytes) -> None:
            self.sock.setblocking(True)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := data or self.sock.recv(64):
                self.sock.sendall(data)
                self.moved += len(data)
                data = b""

        await asyncio.to_thread(echo, rest)


async def serve() -> None:
    """Listens until SIGTERM."""
    loop, leave, answers = asyncio.get_running_loop(), asyncio.Event(), set()
    loop.add_signal_handler(signal.SIGTERM, leave.set)

    async def accept(listener: socket.socket) -> None:
        while True:
            sock, peer = await loop.sock_accept(listener)
            task = asyncio.create_task(Connection(sock).answer(peer))
            answers.add(task)
            task.add_done_callback(answers.discard)

    for kind, address in ANY:
        listener = socket.create_server((address, PORT), family=kind, backlog=1024)
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 128)
        answers.add(asyncio.create_task(accept(listener)))
        for port, protocol in ((ECHO_PORT, Echo), (SINK_PORT, asyncio.DatagramProtocol)):
            await loop.create_datagram_endpoint(protocol, sock=datagrams(kind, address, port))
    print(json.dumps({"ready": True}), flush=True)
    await leave.wait()
    for task in list(answers):
        task.cancel()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
