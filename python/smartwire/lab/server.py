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


async def get(sock: socket.socket, size: int, seed: int) -> int:
    """Sends ``size`` bytes and the end of the stream; returns how many were handed to the kernel."""
    loop, offset = asyncio.get_running_loop(), 0
    while size == 0 or offset < size:
        length = CHUNK if size == 0 else min(CHUNK, size - offset)
        await loop.sock_sendall(sock, slice_at(seed, offset, length))
        offset += length
    sock.shutdown(socket.SHUT_WR)
    while await loop.sock_recv(sock, 4096):  # until the client has closed: only then is all of it delivered
        pass
    return offset


async def http(sock: socket.socket, line: bytes) -> int:
    """Answers ``GET /BYTES`` for curl and browsers: sends the header, returns the number of bytes that must follow."""
    wanted = line.split()[1].lstrip(b"/").decode()
    size = int(wanted) if wanted.isdigit() else 0
    status = "200 OK" if size else "404 Ask for /BYTES, for example /10000000"
    head = f"HTTP/1.0 {status}\r\nContent-Length: {size}\r\nContent-Type: application/octet-stream\r\n\r\n"
    await asyncio.get_running_loop().sock_sendall(sock, head.encode())
    if not size:
        raise ValueError(status)
    return size


async def put(sock: socket.socket, rest: bytes, size: int, seed: int) -> int:
    """Receives and checks ``size`` bytes (0: all that come), says whether they were right."""
    loop, checker, buffer = asyncio.get_running_loop(), Checker(seed), bytearray(CHUNK)
    checker.feed(rest)
    while size == 0 or checker.received < size:
        count = await loop.sock_recv_into(sock, buffer)
        if not count:
            break
        checker.feed(memoryview(buffer)[:count])
    right = checker.wrong_at is None and (size == 0 or checker.received == size)
    await loop.sock_sendall(sock, b"OK\n" if right else f"BAD {checker.wrong_at}\n".encode())
    sock.shutdown(socket.SHUT_WR)
    return checker.received


def ping(sock: socket.socket, rest: bytes) -> int:
    """Sends every byte back, from a thread that blocks: an event loop would add its own time to each."""
    sock.setblocking(True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    count = 0
    while data := rest or sock.recv(64):
        sock.sendall(data)
        count, rest = count + len(data), b""
    return count


async def answer(sock: socket.socket, peer: tuple) -> None:
    """Answers one connection and reports it."""
    moved, error = 0, None
    try:
        line, _, rest = (await asyncio.get_running_loop().sock_recv(sock, 4096)).partition(b"\n")
        if line.startswith(b"GET /"):
            verb, size, seed = "get", str(await http(sock, line)), "1"
        else:
            verb, size, seed = line.decode().split()
        if verb == "get":
            moved = await get(sock, int(size), int(seed))
        elif verb == "put":
            moved = await put(sock, rest, int(size), int(seed))
        else:
            moved = await asyncio.to_thread(ping, sock, rest)
    except (OSError, ValueError) as problem:
        error = getattr(problem, "strerror", None) or str(problem)
    report = {"peer": peer[0], "port": peer[1], "bytes": moved, "retransmitted_segments": retransmitted(sock)}
    sock.close()
    print(json.dumps(report | {"error": error}), flush=True)


async def serve() -> None:
    """Listens until SIGTERM."""
    loop, leave, answers = asyncio.get_running_loop(), asyncio.Event(), set()
    loop.add_signal_handler(signal.SIGTERM, leave.set)

    async def accept(listener: socket.socket) -> None:
        while True:
            sock, peer = await loop.sock_accept(listener)
            task = asyncio.create_task(answer(sock, peer))
            answers.add(task)
            task.add_done_callback(answers.discard)

    for kind, address in ANY:
        listener = socket.create_server((address, PORT), family=kind, backlog=1024)
        listener.setblocking(False)
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
