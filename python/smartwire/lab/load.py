"""Many short connections: a server that answers requests with objects of a size, and a client that asks for them.

``python -m smartwire.lab.load serve ADDRESS PORT`` serves until it is killed;
``python -m smartwire.lab.load drive ADDRESS PORT SIZES SECONDS CONNECTIONS`` keeps a number of connections busy for a
while, each for one object, or with ``1000/s`` begins so many a second, and prints one JSON line::

    {"transactions", "failed", "failed_began": [when, CLOCK_MONOTONIC], "seconds", "bytes", "ttfb_ms": [each], "cpu_s"}

SIZES is a number of bytes, or a mix: ``1000*70,100000*30`` is 70% and 30% of the objects, in an order of chance that is
always the same.

A transaction is one TCP connection: SYN, request, an answer of exactly the right length, FIN. Time to first byte counts
from before connect(). Where all connections are always busy this is a closed loop: it finds the most that there is.
With a rate it is an open one: new connections do not wait for earlier ones.
"""

from __future__ import annotations

import json
import random
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass, field

HEAD_BYTES = 60
"""At least so many precede an object; HAProxy in HTTP mode may write them in another way."""


def request(size: int) -> bytes:
    """What asks for an object."""
    return b"GET /%d HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n" % size


def sizes(text: str) -> list[tuple[int, float]]:
    """A mix: (size, weight) each."""
    pairs = (part.partition("*") for part in text.split(","))
    return [(int(size), float(weight or 1)) for size, _, weight in pairs]


def head(size: int) -> bytes:
    """What precedes the object."""
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        % size
    )


def listener(address: str, port: int) -> socket.socket:
    """A socket that takes connections."""
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((address, port))
    made.listen(4096)
    made.setblocking(False)
    return made


@dataclass
class Service:
    """The server's connections; none waits for another."""

    door: socket.socket
    poll: select.epoll = field(default_factory=select.epoll)
    asked: dict[int, socket.socket] = field(default_factory=dict)
    answered: dict[int, tuple[socket.socket, memoryview]] = field(default_factory=dict)
    """What is still to be sent."""

    def run(self) -> None:
        """For ever."""
        self.poll.register(self.door, select.EPOLLIN)
        while True:
            for fd, _ in self.poll.poll():
                if fd == self.door.fileno():
                    self.accept()
                elif fd in self.asked:
                    self.answer(self.asked.pop(fd))
                else:
                    self.send(*self.answered.pop(fd))

    def accept(self) -> None:
        """Takes what is there."""
        while True:
            try:
                connection, _ = self.door.accept()
            except OSError:
                return
            connection.setblocking(False)
            self.asked[connection.fileno()] = connection
            self.poll.register(connection, select.EPOLLIN)

    def answer(self, connection: socket.socket) -> None:
        """Sends the object that is asked for."""
        try:
            wanted = connection.recv(4096).partition(b" HTTP/")[0].rpartition(b"/")[2]
        except OSError:
            wanted = b""
        if wanted.isdigit():
            self.send(connection, memoryview(head(int(wanted)) + bytes(int(wanted))))
        else:
            connection.close()

    def send(self, connection: socket.socket, rest: memoryview) -> None:
        """Sends what fits, and closes after the last byte."""
        try:
            while rest:
                rest = rest[connection.send(rest[: 1 << 20]) :]
        except BlockingIOError:
            self.answered[connection.fileno()] = (connection, rest)
            self.poll.modify(connection, select.EPOLLOUT)
            return
        except OSError:
            pass
        connection.close()


@dataclass
class Transaction:
    """One connection of the client's."""

    connection: socket.socket
    began: float
    size: int
    asked: bool = False
    first: float = 0.0
    got: int = 0


@dataclass
class Driver:
    """The client."""

    target: tuple[str, int]
    mix: list[tuple[int, float]]
    failed_began: list[float] = field(default_factory=list)
    bytes: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(1))
    times: list[float] = field(default_factory=list)
    live: dict[int, Transaction] = field(default_factory=dict)
    poll: select.epoll = field(default_factory=select.epoll)

    def drive(self, seconds: float, connections: int = 0, rate: float = 0.0) -> dict[str, object]:
        """Keeps connections busy, or begins them at a rate; what is not over in the end is waited for."""
        began = time.monotonic()
        stop = began + seconds
        for _ in range(connections):
            self.begin()
        begun, total = 0, round(rate * seconds)
        while (self.live or begun < total) and time.monotonic() < stop + 20:
            while begun < total and began + begun / rate <= time.monotonic():
                self.begin()
                begun += 1
            for fd, events in self.poll.poll(1 / rate if begun < total else 1):
                transaction = self.live.get(fd)
                if transaction and self.advance(transaction, events) and not rate and time.monotonic() < stop:
                    self.begin()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.failed_began += [t.began for t in self.live.values()]
        return {
            "transactions": len(self.times),
            "failed": len(self.failed_began),
            "failed_began": self.failed_began,
            "seconds": time.monotonic() - began,
            "bytes": self.bytes,
            "ttfb_ms": [round(t * 1e3, 3) for t in self.times],
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }

    def begin(self) -> None:
        """One more connection."""
        connection = socket.socket(socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET)
        connection.setblocking(False)
        (size,) = self.chance.choices([s for s, _ in self.mix], [w for _, w in self.mix])
        self.live[connection.fileno()] = Transaction(connection, time.monotonic(), size)
        connection.connect_ex(self.target)
        self.poll.register(connection, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def advance(self, t: Transaction, events: int) -> bool:
        """Does what can be done; True when it is over."""
        try:
            if not t.asked and events & select.EPOLLOUT:
                t.connection.send(request(t.size))
                t.asked = True
            while t.asked and events & (select.EPOLLIN | select.EPOLLHUP):
                some = t.connection.recv(1 << 16)
                t.first = t.first or time.monotonic()
                t.got += len(some)
                if not some:
                    return self.end(t, t.got >= t.size + HEAD_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            return self.end(t, False)
        return False

    def end(self, t: Transaction, whole: bool) -> bool:
        """Counts a connection."""
        del self.live[t.connection.fileno()]
        t.connection.close()
        if whole:
            self.times.append(t.first - t.began)
            self.bytes += t.size
        else:
            self.failed_began.append(t.began)
        return True


def main() -> None:
    """Either end."""
    what, address, port, *more = sys.argv[1:]
    if what == "serve":
        service = Service(listener(address, int(port)))
        print(json.dumps({"ready": True}), flush=True)
        service.run()
    else:
        driver = Driver((address, int(port)), sizes(more[0]))
        how = {"rate": float(more[2][:-2])} if more[2].endswith("/s") else {"connections": int(more[2])}
        print(json.dumps(driver.drive(float(more[1]), **how)), flush=True)


if __name__ == "__main__":
    main()
