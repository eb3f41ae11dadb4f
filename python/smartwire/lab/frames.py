"""Reads the TCP segments in a capture of the lab: just enough of Ethernet, VLAN, IPv4, IPv6 and TCP for that."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smartwire import pcapng

FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16
OPT_END, OPT_NOP, OPT_SACK = 0, 1, 5


@dataclass(frozen=True)
class Segment:
    """One TCP segment and what carried it.

    Attributes:
        unix_ns: when it was captured.
        outbound: sent by the host that captured it.
        ethernet: both MAC addresses and all tags.
        ttl, tos, ip_id, flow_label: of the IP header (ip_id None in IPv6, flow_label None in IPv4).
        options: of TCP, as they are.
        payload: length in bytes.
    """

    unix_ns: int
    outbound: bool
    ethernet: bytes
    src: str
    dst: str
    sport: int
    dport: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: int
    ttl: int
    tos: int
    ip_id: int | None
    flow_label: int | None

    def kinds(self) -> list[tuple[int, bytes]]:
        """TCP options as (kind, content)."""
        found, at = [], 0
        while at < len(self.options) and self.options[at] != OPT_END:
            if self.options[at] == OPT_NOP:
                at += 1
                continue
            length = self.options[at + 1] if at + 1 < len(self.options) else 0
            if length < 2:
                break
            found.append((self.options[at], self.options[at + 2 : at + length]))
            at += length
        return found


def segments(path: Path) -> Iterator[Segment]:
    """The TCP segments of a capture, in its order."""
    for packet in pcapng.read(path):
        if (found := parse(packet.frame, packet.unix_ns, packet.direction == pcapng.OUTBOUND)) is not None:
            yield found


def parse(frame: bytes, unix_ns: int = 0, outbound: bool = False) -> Segment | None:
    """The TCP segment in an Ethernet frame, None if it holds none; a cut payload does no harm."""
    at = 12
    while len(frame) >= at + 4 and frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    ethernet, ip = frame[: at + 2], frame[at + 2 :]
    if frame[at : at + 2] == b"\x08\x00" and len(ip) >= 20 and ip[9] == socket.IPPROTO_TCP:
        header, total, family = (ip[0] & 15) * 4, int.from_bytes(ip[2:4], "big"), socket.AF_INET
        src, dst, ttl, tos = ip[12:16], ip[16:20], ip[8], ip[1]
        ip_id, label = int.from_bytes(ip[4:6], "big"), None
    elif frame[at : at + 2] == b"\x86\xdd" and len(ip) >= 40 and ip[6] == socket.IPPROTO_TCP:
        header, total, family = 40, 40 + int.from_bytes(ip[4:6], "big"), socket.AF_INET6
        src, dst, ttl = ip[8:24], ip[24:40], ip[7]
        first = int.from_bytes(ip[:4], "big")
        tos, ip_id, label = first >> 20 & 255, None, first & 0xFFFFF
    else:
        return None
    tcp = ip[header:]
    if len(tcp) < 20:
        return None
    sport, dport, seq, ack, offset, flags, window = struct.unpack_from("!HHIIBBH", tcp)
    length = (offset >> 4) * 4
    return Segment(unix_ns, outbound, ethernet, socket.inet_ntop(family, src), socket.inet_ntop(family, dst), sport,
                   dport, seq, ack, flags, window, tcp[20:length], total - header - length, ttl, tos, ip_id,
                   label)  # fmt: skip
