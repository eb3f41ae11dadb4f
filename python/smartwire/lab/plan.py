"""What the lab's hosts are asked to do and what they answer: plans in, results out, both JSON.

All times are seconds since the plan's epoch, a moment of CLOCK_MONOTONIC, which all namespaces share.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field

PORT, ECHO_PORT, SINK_PORT = 8080, 8081, 8082
"""Of the server: transfers (TCP), echo (UDP), and what is only counted (UDP)."""
CHUNK = 256 << 10
BIN_S = 0.1
"""Width of a goodput bin, seconds."""

TCP_INFO_TOTAL_RETRANS = 100
"""Offset of tcpi_total_retrans in struct tcp_info (linux/tcp.h)."""


@dataclass
class Transfer:
    """A transfer over one connection.

    Attributes:
        kind: "get" (download), "put" (upload), "ping" (one-byte requests, one after the other), or "rest" (the same
            with a pause of 0.5 s before each: mostly idle).
        size: bytes, or requests; 0: until ``stop``.
        start, stop: when; ``stop`` None: when the size is reached.
        source, target: addresses of the phone and the server.
        label: copied to the result.
        seed: of the content.
        window: largest receive window in bytes, None for the kernel's own.
        mptcp: ask for Multipath TCP.
        tfo: send the request in the SYN (TCP Fast Open), once a cookie is there.
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
    mptcp: bool = False
    tfo: bool = False


@dataclass
class Result:
    """What came of a transfer; times are None where it did not happen."""

    label: str
    kind: str
    size: int
    source: str = ""
    local_port: int = 0
    started: float = 0.0
    connected: float | None = None
    first_byte: float | None = None
    finished: float | None = None
    """When it had done what was asked."""
    ended: float = 0.0
    """When the connection was over, for better or worse."""
    received: int = 0
    """Payload bytes that arrived; of an upload, those that were sent."""
    wrong_at: int | None = None
    error: str | None = None
    retransmitted_segments: int = 0
    """Sent again by this end."""
    bins: list[int] = field(default_factory=list)
    """Payload bytes that arrived per 0.1 s since the epoch."""
    rtt: list[float] = field(default_factory=list)
    """Of "ping": each request's time."""

    @property
    def intact(self) -> bool:
        """Whether every byte was right and, where a size was asked for, all arrived."""
        return self.error is None and self.wrong_at is None and (self.size == 0 or self.received == self.size)

    def count(self, at: float, bytes_: int) -> None:
        """Adds what arrived to its bin."""
        self.first_byte = at if self.first_byte is None else self.first_byte
        slot = int(at / BIN_S)
        self.bins.extend([0] * (slot + 1 - len(self.bins)))
        self.bins[slot] += bytes_


def family(address: str) -> socket.AddressFamily:
    """AF_INET or AF_INET6."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def retransmitted(sock: socket.socket) -> int:
    """Segments that the kernel sent again on this connection."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
        return struct.unpack_from("I", info, TCP_INFO_TOTAL_RETRANS)[0]
    except (OSError, struct.error):  # a Multipath TCP socket has none
        return 0
