"""What the proxy's tests share: two routers with the box between them, and ends that live in the test itself."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import shutil
import socket
import struct
import threading
import time
from pathlib import Path

import pytest
from smartwire.errors import Error
from smartwire.lab.net import check_requirements
from smartwire.lab.routed import Routed

FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
PORT = 8080


class Ends:
    """A server that does what a connection's first line says, on its port and on `more`, and clients of it."""

    def __init__(self, lab: Routed, *more: int) -> None:
        self.lab = lab
        self.peers: list[tuple] = []
        """Addresses of the clients, as the server saw them."""
        self.ended: list[str] = []
        """How connections ended at the server."""
        for version, port in itertools.product(FAMILY, (PORT, *more)):
            listener = lab.socket("server", FAMILY[version])
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((lab.server(version), port))
            listener.listen(256)
            threading.Thread(target=self.accept, args=(listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        while True:
            connection, peer = listener.accept()
            self.peers.append(peer[:2])
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(60)
            stream = connection.makefile("rb")
            word, _, argument = stream.readline().decode().strip().partition(" ")
            try:
                if word == "get":
                    connection.sendall(content(int(argument)))
                elif word == "slow":  # a little now and then, until told to end
                    for _ in range(int(argument)):
                        connection.sendall(bytes(1000))
                        threading.Event().wait(0.02)
                elif word == "digest":  # after the client has closed its half
                    connection.sendall(hashlib.sha256(stream.read()).hexdigest().encode())
                elif word == "reset":
                    connection.sendall(bytes(int(argument)))
                    reset(connection)
                    return
                elif word == "wait":
                    self.ended.append("end" if connection.recv(1) == b"" else "data")
            except OSError as e:
                self.ended.append(type(e).__name__)

    def connect(self, version: int, port: int = PORT, source: int = 0, seconds: float = 30) -> socket.socket:
        client = self.lab.socket("client", FAMILY[version])
        client.settimeout(seconds)
        if source:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.bind((self.lab.client(version), source))
        client.connect((self.lab.server(version), port))
        return client

    def get(self, version: int, size: int, **how) -> bytes:
        """A download; what came by the end of the stream."""
        with self.connect(version, **how) as client:
            client.sendall(f"get {size}\n".encode())
            return read_all(client)

    def put(self, version: int, data: bytes, **how) -> str:
        """An upload; what the server says its digest is, which it sends after the client's half is closed."""
        with self.connect(version, **how) as client:
            client.sendall(b"digest\n" + data)
            client.shutdown(socket.SHUT_WR)
            return read_all(client).decode()


def content(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def read_all(client: socket.socket) -> bytes:
    found = bytearray()
    while some := client.recv(1 << 18):
        found += some
    return bytes(found)


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def wait_for(condition, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    assert condition()


def ended(*pids: int) -> bool:
    """Nothing of the processes listens any more: connections that came while they died were their last, and reset."""
    for stat in itertools.chain(*(Path(f"/proc/{pid}/task").glob("*/stat") for pid in pids)):
        # A thread that is still ending keeps the files of all.
        with contextlib.suppress(OSError):
            if stat.read_text().rpartition(")")[2].split()[0] not in "ZX":
                return False
    return True


@pytest.fixture(autouse=True, scope="session")
def _possible():
    try:
        check_requirements()
    except Error as problem:
        pytest.skip(str(problem))
    if not shutil.which("haproxy"):
        pytest.skip("HAProxy is not installed")


@pytest.fixture
def lab():
    """Hosts of a test's own, without a proxy."""
    with Routed() as lab:
        yield lab


@pytest.fixture(scope="module")
def proxied():
    """Hosts and a proxy that a module's tests share."""
    with Routed() as lab:
        lab.proxy("up")
        yield lab


@pytest.fixture(scope="module")
def ends(proxied):
    return Ends(proxied)
