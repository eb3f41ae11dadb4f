"""What the proxy's BPF programs share with Python: bpf/proxy.h, struct by struct, in the machine's byte order."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

ACCESS, CORE = 0, 1
RULES = 512
"""Rules of a set at most; index RULES counts connections that no rule met."""
UNTAGGED = 4096
VLAN_BASE = 65536
NUMBERS = VLAN_BASE + UNTAGGED + 1
"""Entries of a table of ports and VLANs."""

CONTROL = struct.Struct("=QQIIII2III")
PLACE = struct.Struct("=IIIIII")
WAY = struct.Struct("=Ii")
KEY = struct.Struct("=16s16sII")
HEAD = struct.Struct("=12s2H2HI")
"""The tag types as on the wire."""
STREAM = struct.Struct("=III4BQQ")
FLOW = struct.Struct("=QQIIHHBBHII" + "24s24s" + "32s32s")
FAN = 1024
"""Ranges of a chunk."""
CHUNK_BYTES = 20 * FAN
SET_BYTES = RULES // 8
COUNTERS = (
    "proxied", "no_rule", "no_listener", "closed", "full", "strange", "repeated", "stale", "in_packets", "in_bytes",
    "out_packets", "out_bytes", "icmp", "kept_in", "resets", "lost", "own_cpu", "other_cpu", "early",
)  # fmt: skip

assert (CONTROL.size, PLACE.size, WAY.size, KEY.size, HEAD.size) == (48, 24, 8, 40, 24)
assert (STREAM.size, FLOW.size) == (32, 152)

Address = IPv4Address | IPv6Address


def mapped(address: Address) -> bytes:
    """The 16 bytes by which the programs know an address: IPv4 as ::ffff:a.b.c.d."""
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def unmapped(packed: bytes) -> Address:
    """The address of :func:`mapped`."""
    found = ip_address(packed)
    return getattr(found, "ipv4_mapped", None) or found


@dataclass(frozen=True)
class Key:
    """Who a flow is."""

    access: Address
    access_port: int
    core: Address
    core_port: int

    def pack(self) -> bytes:
        """As the programs have it."""
        return KEY.pack(mapped(self.access), mapped(self.core), self.access_port << 16 | self.core_port, 0)

    @staticmethod
    def unpack(raw: bytes) -> Key:
        """From what the programs have."""
        access, core, ports, _ = KEY.unpack(raw)
        return Key(unmapped(access), ports >> 16, unmapped(core), ports & 0xFFFF)


@dataclass(frozen=True)
class Flow:
    """A flow's entry; bytes and packets by the side of the sender, times in ns of CLOCK_MONOTONIC."""

    key: Key
    born_ns: int
    seen_ns: int
    rule: int
    generation: int
    container: int
    vlans: tuple[int, ...]
    packets: tuple[int, int]
    bytes: tuple[int, int]

    @staticmethod
    def unpack(key: bytes, raw: bytes) -> Flow:
        """From what the programs have."""
        born, seen, rule, generation, container, _, _, _, _, _, _, _, to_core, *streams = FLOW.unpack(raw)
        _, tpid1, tpid2, tci1, tci2, _ = HEAD.unpack(to_core)
        sent = [STREAM.unpack(s)[-2:] for s in streams]
        vlans = tuple(tci & 0xFFF for tpid, tci in ((tpid1, tci1), (tpid2, tci2)) if tpid)
        packets, octets = zip(*sent, strict=True)
        return Flow(Key.unpack(key), born, seen, rule, generation, container, vlans, packets, octets)
