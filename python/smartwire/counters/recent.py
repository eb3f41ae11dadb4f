"""The readings of the last half hour, in memory: a roll-up needs each of them once, and need not ask the database."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple


class Part(NamedTuple):
    """What one source showed at one time."""

    numbers: Sequence[int]
    """Of its series; the same object while they are the same, 0 for one that is not recorded."""
    values: array[int]


class Recent:
    """All readings since a time.

    Args:
        span_s: how long they are kept.
        before: nothing up to this time is here; what comes later is.
    """

    def __init__(self, span_s: int, before: int) -> None:
        self.span_s, self.before = span_s, before
        self.ticks: deque[tuple[int, list[Part]]] = deque()

    def add(self, ts: int, parts: list[Part]) -> None:
        """What all sources showed at `ts`, which is later than all before."""
        self.ticks.append((ts, parts))
        while self.ticks[0][0] < ts - self.span_s:
            self.before = self.ticks.popleft()[0]

    def points(self, first: int, last: int, since: int, until: int) -> dict[int, list[tuple[int, int]]] | None:
        """(time, reading) in [since, until] of the series numbered first to last; None where that reaches back too far.

        As :func:`smartwire.counters.store.raw_points` has them of the database.
        """
        if since <= self.before:
            return None
        wanted: dict[int, list[int]] = {}
        found: dict[int, list[tuple[int, int]]] = {}
        for ts, parts in self.ticks:
            if not since <= ts <= until:
                continue
            for numbers, values in parts:
                places = wanted.get(id(numbers))
                if places is None:
                    places = wanted[id(numbers)] = [k for k, n in enumerate(numbers) if first <= n <= last]
                    for k in places:
                        found.setdefault(numbers[k], [])
                for k in places:
                    found[numbers[k]].append((ts, values[k]))
        return found
