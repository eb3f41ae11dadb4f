"""Many short connections: a server that answers requests with objects of a size, and a client that asks for them.

``python -m smartwire.lab.load serve ADDRESS PORT SIZE`` serves until it is killed;
``python -m smartwire.lab.load drive ADDRESS PORT SIZE SECONDS CONNECTIONS`` keeps a number of connections busy for a
while, each for one object, and prints one JSON line::

    {"transactions", "failed", "seconds", "ttfb_ms": [each], "cpu_s"}

A transaction is one TCP connection: SYN, request, an answer of exactly the right length, FIN. Time to first byte counts
from before connect(). Where all connections are always busy this is a closed loop: it finds the most that there is.
"""

from __future__ import annotations

import json
import resource
import select
import socket
import sys
import time
from dataclasses import dataclass, field

REQUEST = b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n"


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


def serve(address: str, port: int, size: int) -> None:
    """Answers every first packet with the object and closes."""
    answer = head(size) + bytes(size)
    door, poll = listener(address, port), select.epoll()
    poll.register(door, select.EPOLLIN)
    waiting: dict[int, socket.socket] = {}
    print(json.dumps({"ready": True}), flush=True)
    while True:
        for fd, _ in poll.poll():
            if fd == door.fileno():
                accept(door, poll, waiting)
                continue
            connection = waiting.pop(fd)
            try:
                if connection.recv(4096):
                    connection.settimeout(10)
                    connection.sendall(answer)
            except OSError:
                pass
            connection.close()


def accept(door: socket.socket, poll: select.epoll, waiting: dict[int, socket.socket]) -> None:
    """Takes what is there."""
    while True:
        try:
            connection, _ = door.accept()
        except OSError:
            return
        connection.setblocking(False)
        waiting[connection.fileno()] = connection
        poll.register(connection, select.EPOLLIN)


@dataclass
class Transaction:
    """One connection of the client's."""

    connection: socket.socket
    began: float
    asked: bool = False
    first: float = 0.0
    got: int = 0


@dataclass
class Driver:
    """The client."""

    target: tuple[str, int]
    expected: int
    failed: int = 0
    times: list[float] = field(default_factory=list)
    live: dict[int, Transaction] = field(default_factory=dict)
    poll: select.epoll = field(default_factory=select.epoll)

    def drive(self, seconds: float, connections: int) -> dict[str, object]:
        """Keeps connections busy; what is not over in the end is waited for."""
        began = time.monotonic()
        stop = began + seconds
        for _ in range(connections):
            self.begin()
        while self.live and time.monotonic() < stop + 20:
            for fd, events in self.poll.poll(1):
                transaction = self.live.get(fd)
                if transaction and self.advance(transaction, events) and time.monotonic() < stop:
                    self.begin()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.failed += len(self.live)
        return {
            "transactions": len(self.times),
            "failed": self.failed,
            "seconds": time.monotonic() - began,
            "ttfb_ms": [round(t * 1e3, 3) for t in self.times],
            "cpu_s": usage.ru_utime + usage.ru_stime,
        }

    def begin(self) -> None:
        """One more connection."""
        connection = socket.socket(socket.AF_INET6 if ":" in self.target[0] else socket.AF_INET)
        connection.setblocking(False)
        self.live[connection.fileno()] = Transaction(connection, time.monotonic())
        connection.connect_ex(self.target)
        self.poll.register(connection, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)

    def advance(self, t: Transaction, events: int) -> bool:
        """Does what can be done; True when it is over."""
        try:
            if not t.asked and events & select.EPOLLOUT:
                t.connection.send(REQUEST)
                t.asked = True
            while t.asked and events & (select.EPOLLIN | select.EPOLLHUP):
                some = t.connection.recv(1 << 16)
                t.first = t.first or time.monotonic()
                t.got += len(some)
                if not some:
                    return self.end(t, t.got >= self.expected)
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
        else:
            self.failed += 1
        return True


def main() -> None:
    """Either end."""
    what, address, port, size, *more = sys.argv[1:]
    if what == "serve":
        serve(address, int(port), int(size))
    else:
        # HAProxy in HTTP mode may write the head in another way: the object is what counts.
        driver = Driver((address, int(port)), int(size) + 60)
        print(json.dumps(driver.drive(float(more[0]), int(more[1]))), flush=True)


if __name__ == "__main__":
    main()
