"""The stats page and the event ring of a running wire, read from shared memory without touching a worker.

Both are files in the wire's run directory that the `run` process maps and writes (crates/worker); all numbers are
little-endian. They describe themselves, so a reader of one version can read the page of another.

``stats``, rewritten some ten times a second:

====== ======= ====================================================================================
offset bytes   content
====== ======= ====================================================================================
0      8       magic ``SWSTATS1``
8      4       offset of the names
12     4       length of the names: UTF-8, one per line (LF), no LF after the last
16     4       offset of the values, a multiple of 8
20     4       number of values: a u64 each, in the order of the names
24     8       sequence number: odd while the values are being written; read again if it changed
32     8       CLOCK_MONOTONIC of the last write, ns
====== ======= ====================================================================================

Names: the fields of ``Stats`` in crates/engine/src/stats.rs as they are (summed over workers); ``refused.REASON``,
``stopped.REASON`` and ``found.FINDING`` with its name; of the ports ``portN.rx_frames``, ``rx_bytes``, ``tx_frames``,
``tx_bytes``, ``rx_dropped`` (``rx_merged`` and ``rx_too_long`` among them), ``tx_dropped`` and ``up`` (0 or 1), where
port 2k is the access side of pair k and 2k + 1 its core side; of the frame ledger ``frames_total``, which is the sum of
``frames_free``, ``frames_filled``, ``frames_held``, ``frames_sending`` and ``frames_away``, then ``frames_kept`` of
``frames_keepable``, and ``ledger_faults`` and ``bad_sends``, which are bugs; of the copper wire ``copper_frames``,
``copper_bytes`` (of these ``copper_down_bytes`` and ``copper_up_bytes``), ``copper_resets``, ``claimed_frames``,
``oversize_frames``, ``no_socket_frames``, how often it ``opened`` under a live wire, and the ``stalls`` of the machine;
of connections whose process was gone ``guardian_reset`` by its guardian and ``survivors_reset`` by the next one. What a
page lacks counts as zero.

``events``, a ring:

====== ======= ====================================================================================
0      8       magic ``SWEVENT1``
8      4       offset of the slots, a multiple of 8
12     4       bytes per slot (64 or more)
16     4       number of slots
20     4       zero
24     8       number of events ever written: event i is in slot i modulo the number of slots
====== ======= ====================================================================================

A slot: u64 number of the event plus 1 (0 while it is being written); u64 CLOCK_MONOTONIC ns; 16 bytes access address;
16 bytes core address (IPv4 as IPv4-mapped); u16 access port; u16 core port; u8 kind; u8 reason; u16 zero; u64 scope.
Kinds: 0 refused, 1 optimizing, 2 draining, 3 handed back, 4 reset, 5 closed, 6 found; reasons: RefuseReason of
crates/engine for kind 0, StopReason for kinds 2 to 4, Finding for kind 6.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from smartwire.errors import Error, NotThere

STATS_HEADER = struct.Struct("<8sIIIIQQ")
EVENTS_HEADER = struct.Struct("<8sIIIIQ")
SLOT = struct.Struct("<QQ16s16sHHBBHQ")
KINDS = ("refused", "optimizing", "draining", "handed-back", "reset", "closed", "found")


def map_file(path: Path, header: struct.Struct, magic: bytes) -> mmap.mmap:
    """Maps a file read-only after a look at its magic."""
    try:
        with path.open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise NotThere(f"There is no {path}: the wire is not running, or still starting.") from None
    except (OSError, ValueError) as e:
        raise Error(f"{path} cannot be read: {e}.") from None
    if len(memory) < header.size or memory[:8] != magic:
        raise Error(f"{path} was written by another version of Smartwire: use the one that runs the wire.")
    return memory


@dataclass(frozen=True)
class Sample:
    """All counters at one instant.

    Attributes:
        now_ns: CLOCK_MONOTONIC of the write, ns.
        values: counters and gauges by name.
    """

    now_ns: int
    values: dict[str, int]

    @property
    def age_s(self) -> float:
        """Seconds since it was written; a page that grows old belongs to a process that hangs."""
        return (time.monotonic_ns() - self.now_ns) / 1e9


class StatsPage:
    """A wire's counters."""

    def __init__(self, path: Path) -> None:
        self.memory = map_file(path, STATS_HEADER, b"SWSTATS1")
        _, names, length, self.offset, count, _, _ = STATS_HEADER.unpack_from(self.memory)
        self.names = self.memory[names : names + length].decode().split("\n")[:count]
        self.layout = struct.Struct(f"<{len(self.names)}Q")

    def read(self) -> Sample:
        """One consistent sample of all counters."""
        for _ in range(1000):
            *_, before, now_ns = STATS_HEADER.unpack_from(self.memory)
            values = self.layout.unpack_from(self.memory, self.offset)
            *_, after, _ = STATS_HEADER.unpack_from(self.memory)
            if before == after and before % 2 == 0:
                return Sample(now_ns, dict(zip(self.names, values, strict=True)))
        raise Error("The counters are being rewritten without pause: the wire's process seems to hang.")


@dataclass(frozen=True)
class Event:
    """Something that happened to a connection.

    Attributes:
        number: since the wire started, from 0.
        now_ns: CLOCK_MONOTONIC, ns.
        kind: one of KINDS.
        reason: code, see the module's text.
    """

    number: int
    now_ns: int
    kind: str
    reason: int
    access: str
    access_port: int
    core: str
    core_port: int
    scope: int


class EventRing:
    """A wire's latest events."""

    def __init__(self, path: Path) -> None:
        self.memory = map_file(path, EVENTS_HEADER, b"SWEVENT1")
        _, self.offset, self.size, self.slots, _, _ = EVENTS_HEADER.unpack_from(self.memory)

    def written(self) -> int:
        """Events ever written."""
        return EVENTS_HEADER.unpack_from(self.memory)[-1]

    def read(self, since: int = 0) -> list[Event]:
        """Events from number `since` on that are still in the ring, oldest first."""
        written = self.written()
        found = []
        for number in range(max(since, written - self.slots, 0), written):
            at = self.offset + (number % self.slots) * self.size
            mark, now_ns, access, core, access_port, core_port, kind, reason, _, scope = SLOT.unpack_from(
                self.memory, at
            )
            if mark != number + 1:
                continue  # overwritten while we read
            name = KINDS[kind] if kind < len(KINDS) else f"kind-{kind}"
            found.append(
                Event(number, now_ns, name, reason, address(access), access_port, address(core), core_port, scope)
            )
        return found


def address(packed: bytes) -> str:
    """An address as text, IPv4-mapped ones as IPv4."""
    ip = IPv6Address(packed)
    return str(ip.ipv4_mapped or ip)
