"""Connections across the lab whose two ends are both held by this process, which thus knows every byte and each end's
``struct tcp_info``."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from smartwire.lab.content import Checker, slice_at
from smartwire.lab.net import Lab
from smartwire.lab.plan import CHUNK, family, retransmitted

ENDS = ("phone", "server")
TIMEOUT_S = 60.0
INFO_OPTIONS, INFO_SND_MSS = 5, 16
"""Offsets of tcpi_options and tcpi_snd_mss in struct tcp_info (linux/tcp.h)."""


def join(lab: Lab, version: int) -> dict[str, socket.socket]:
    """Both ends of a new connection from the phone to the server, established at both."""
    address = lab.server(version)
    with lab.socket("server", family(address)) as listener:
        listener.settimeout(TIMEOUT_S)
        listener.bind((address, 0))
        listener.listen()
        phone = lab.socket("phone", family(address))
        phone.settimeout(TIMEOUT_S)
        phone.connect(listener.getsockname()[:2])
        server, _ = listener.accept()
    server.settimeout(TIMEOUT_S)
    return {"phone": phone, "server": server}


@dataclass
class Connection:
    """A connection on which each end sends a number of bytes and closes its half.

    Attributes:
        ends: by host.
        sends: bytes, by host.
        seed: of the content, the same in both directions.
        problems: what went wrong.
    """

    ends: dict[str, socket.socket]
    sends: dict[str, int]
    seed: int = 1
    problems: list[str] = field(default_factory=list)

    def send(self, end: str) -> None:
        """Says all that an end has to say; then its half is closed."""
        sock, size, sent = self.ends[end], self.sends[end], 0
        while sent < size:
            length = min(CHUNK, size - sent)
            sock.sendall(slice_at(self.seed, sent, length))
            sent += length
        sock.shutdown(socket.SHUT_WR)

    def receive(self, end: str) -> None:
        """Checks all that the other end says; who has nothing to say closes its half afterwards."""
        sock, expected = self.ends[end], sum(self.sends.values()) - self.sends[end]
        checker = Checker(self.seed)
        while data := sock.recv(CHUNK):
            checker.feed(data)
        if checker.wrong_at is not None:
            self.problems.append(f"a wrong byte at or after {checker.wrong_at:,} reached the {end}")
        elif checker.received != expected:
            self.problems.append(f"{checker.received:,} of {expected:,} bytes reached the {end}")
        if not self.sends[end]:
            sock.shutdown(socket.SHUT_WR)

    def begin(self, pool: ThreadPoolExecutor, do: Callable[[str], None], end: str) -> Future:
        """Does one of the above in a thread; an error of the socket becomes a problem."""

        def carefully() -> None:
            try:
                do(end)
            except OSError as error:
                self.problems.append(f"{end}: {error.strerror or error}")

        return pool.submit(carefully)

    def agreed(self, end: str) -> int:
        """tcpi_options: what the two kernels agreed on, as this end sees it."""
        return self._info(end)[INFO_OPTIONS]

    def mss(self, end: str) -> int:
        """Bytes of payload that this end puts into a segment at present."""
        return struct.unpack_from("I", self._info(end), INFO_SND_MSS)[0]

    def sent_again(self) -> int:
        """Segments that both ends sent again."""
        return sum(map(retransmitted, self.ends.values()))

    def close(self) -> None:
        """Closes both ends."""
        for sock in self.ends.values():
            with contextlib.suppress(OSError):
                sock.close()

    def _info(self, end: str) -> bytes:
        return self.ends[end].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
