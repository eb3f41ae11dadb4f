"""A connection's time-sequence graph from a capture of both sides of the wire. A file goes in, points come out."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smartwire.lab.frames import ACK, RST, SYN, Segment, segments

MOST = 4000
"""Points of each kind at most."""
WRAP = 1 << 32

Point = tuple[float, int]


@dataclass
class Graph:
    """One direction of a connection; s since the capture's first packet, bytes since the lowest number seen.

    Attributes:
        down: towards the subscriber.
        arrived: data from the sender, as it reached the wire.
        sent: data as it left towards the receiver.
        again: of these, what had left before.
        told: what the wire told the sender that it has.
        acked: what the receiver says that it has.
        payload: bytes that arrived.
        custody: most bytes that the sender was told of and the receiver did not have yet.
    """

    down: bool = True
    arrived: list[Point] = field(default_factory=list)
    sent: list[Point] = field(default_factory=list)
    again: list[Point] = field(default_factory=list)
    told: list[Point] = field(default_factory=list)
    acked: list[Point] = field(default_factory=list)
    payload: int = 0
    custody: int = 0

    @property
    def empty(self) -> bool:
        """True if nothing was carried."""
        return not (self.arrived or self.sent)


def graph(path: Path, connection: dict[str, Any]) -> Graph:
    """The direction of a connection that carried more, from a capture."""
    mine = [s for s in segments(path) if ends(s, connection)]
    if not mine:
        return Graph()
    start = min(s.unix_ns for s in mine)
    both = [direction(mine, connection, start, down) for down in (True, False)]
    return max(both, key=lambda g: g.payload)


def ends(segment: Segment, connection: dict[str, Any]) -> bool:
    """True if a segment is the connection's."""
    access = (connection["access_addr"], connection["access_port"])
    core = (connection["core_addr"], connection["core_port"])
    return {(segment.src, segment.sport), (segment.dst, segment.dport)} == {access, core}


def direction(mine: list[Segment], connection: dict[str, Any], start: int, down: bool) -> Graph:
    """One direction's graph.

    A segment from the sender that came in has arrived; one that went out was sent to the receiver. An ACK from the
    receiver that came in is the receiver's; one that went out is what the wire told the sender.
    """
    sender = (connection["core_addr"], connection["core_port"]) if down else (
        connection["access_addr"], connection["access_port"])  # fmt: skip
    found, base = Graph(down), None
    furthest: int | None = None  # not known at first: what was in custody before the capture leaves during it
    told: int | None = None
    acked: int | None = None
    for s in sorted(mine, key=lambda s: s.unix_ns):
        at, mine_data = (s.unix_ns - start) / 1e9, (s.src, s.sport) == sender
        number = s.seq if mine_data else s.ack
        if s.flags & (SYN | RST) or (not mine_data and not s.flags & ACK):
            continue
        if base is None:
            base = number
        offset = (number - base + WRAP // 2) % WRAP - WRAP // 2
        if mine_data and s.payload > 0:
            end = offset + s.payload
            if not s.outbound:
                found.arrived.append((at, end))
                found.payload += s.payload
            else:
                repeats = furthest is not None and end <= furthest
                (found.again if repeats else found.sent).append((at, end))
                furthest = end if furthest is None else max(furthest, end)
        elif not mine_data:
            (found.told if s.outbound else found.acked).append((at, offset))
            if s.outbound:
                told = offset if told is None else max(told, offset)
            else:
                acked = offset if acked is None else max(acked, offset)
            if told is not None and acked is not None:
                found.custody = max(found.custody, told - acked)
    names = ("arrived", "sent", "again", "told", "acked")
    lowest = min((offset for name in names for _, offset in getattr(found, name)), default=0)
    for name in names:
        setattr(found, name, [(at, offset - lowest) for at, offset in thinned(getattr(found, name))])
    return found


def thinned(points: list[Point]) -> list[Point]:
    """At most MOST of them, evenly."""
    stride = -(-len(points) // MOST)
    return points[:: max(1, stride)]
