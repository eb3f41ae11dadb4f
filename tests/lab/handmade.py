"""Frames made by hand, and sockets that send and receive them at the ends of a lab without emulators."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from ipaddress import ip_address

from smartwire.lab.net import Lab
from smartwire.lab.tap import open_tap

A, B = bytes.fromhex("02aaaaaaaa01"), bytes.fromhex("02bbbbbbbb02")
LIBC = ctypes.CDLL(None, use_errno=True)


def socket_in(lab: Lab, host: str) -> socket.socket:
    """A packet socket on eth0 of a host; the calling thread stays where it was."""
    with open("/proc/self/ns/net") as home, open(f"/run/netns/{lab.ns(host)}") as there:
        assert LIBC.setns(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            return open_tap("eth0")
        finally:
            assert LIBC.setns(home.fileno(), 0) == 0


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ip(src: str, dst: str, proto: int, body: bytes, fragment: int = 0, options: bytes = b"") -> bytes:
    """An IP packet with its EtherType in front."""
    a, b = ip_address(src), ip_address(dst)
    if a.version == 6:
        return b"\x86\xdd" + struct.pack("!IHBB", 0x60012345, len(body), proto, 61) + a.packed + b.packed + body
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0x28, 20 + len(options) + len(body), 4711, fragment, 61,
                       proto, 0) + a.packed + b.packed + options  # fmt: skip
    return b"\x08\x00" + head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body


def tcp(src: str, dst: str, flags: int, data: bytes, options: bytes = b"", bad: bool = False,
        ports: tuple[int, int] = (40000, 80), seq: int = 1000, ack: int = 2000) -> bytes:  # fmt: skip
    """A TCP segment in IP, checksum right or wrong."""
    a, b = ip_address(src).packed, ip_address(dst).packed
    head = struct.pack("!HHIIBBHHH", *ports, seq, ack if flags & 16 else 0, (5 + len(options) // 4) << 4, flags,
                       500, 0, 0) + options  # fmt: skip
    pseudo = a + b + struct.pack("!II", len(head) + len(data), 6)
    right = checksum(pseudo + head + data)
    return ip(src, dst, 6, head[:16] + struct.pack("!H", right ^ (0x5555 if bad else 0)) + head[18:] + data)


def vlan(tpid: int, tci: int, rest: bytes) -> bytes:
    return struct.pack("!HH", tpid, tci) + rest


FOUR, SIX = ("192.0.2.7", "198.51.100.9"), ("2001:db8:7::7", "2001:db8:9::9")
