"""The arithmetic of counters: from raw readings to buckets, with resets, restarts, gaps and clock steps.

A bucket is (start, n, sum, min, max, last), the same for a counter and a gauge, so that sum / n is the mean of either,
and two buckets merge by adding and comparing:

======= ==================================================== ==============================
field   of a counter                                         of a gauge
======= ==================================================== ==============================
n       seconds in which the increase is known               readings
sum     the increase in these                                sum of the readings
min max slowest and fastest rate between two readings, per s least and greatest reading
last    the last raw reading                                 the last reading
======= ==================================================== ==============================

A reading at time t belongs to the bucket that begins before t and ends at or after t, as an increase that ends at t
happened before t.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from operator import sub
from typing import NamedTuple

from smartwire.counters.names import GAUGE

TOP = (1 << 63) - 1
"""The largest integer that SQLite holds; what is above it is held there."""


class Bucket(NamedTuple):
    """What is known of one series in [start, start + width). See the module's text."""

    start: int
    n: int
    sum: int
    min: float
    max: float
    last: int

    @property
    def mean(self) -> float | None:
        """Rate per second of a counter, mean of a gauge; None where nothing is known."""
        return self.sum / self.n if self.n else None


@dataclass(frozen=True)
class Breaks:
    """Where a series does not simply go on.

    Attributes:
        restarts: times of the first readings from a new process: its counters began at zero.
        steps: times of the first readings after the clock was set: what passed before them is unknown.
    """

    restarts: Collection[int] = ()
    steps: Collection[int] = ()


NONE = Breaks()


def increase(before: int, after: int, restarted: bool, kept: bool) -> int:
    """By how much a counter grew between two readings.

    After a restart, or where the reading fell, it began again at zero: what it shows has happened since. A counter that
    is kept over restarts goes on.
    """
    if after < before or (restarted and not kept):
        return after
    return after - before


def counter_buckets(
    points: Iterable[tuple[int, int]], width: int, gap: int, breaks: Breaks = NONE, kept: bool = False
) -> list[Bucket]:
    """Buckets of a counter.

    Args:
        points: (time in s, reading), by time; the first one only opens the first interval.
        width: of a bucket, s.
        gap: longest time between two readings over which a rate is told, s.
        breaks: restarts and clock steps.
        kept: the counter goes on over restarts.
    """
    points = list(points)
    restarts, steps = breaks.restarts, breaks.steps
    marked = {*restarts, *steps}
    if (steady := steady_buckets(points, width, gap, marked)) is not None:
        return steady
    out: list[Bucket] = []
    n = total = last = 0
    low = high = 0.0
    before, value = points[0] if points else (0, 0)
    end = None  # of the open bucket
    for ts, reading in points[1:]:
        if end is None or ts > end:
            if end is not None:
                out.append(Bucket(end - width, n, min(total, TOP), low, high, last))
            end, n, total, low, high = -(-ts // width) * width, 0, 0, 0.0, 0.0
        seconds, grown = ts - before, reading - value
        if seconds <= gap and not (ts in marked and ts in steps):
            if grown < 0 or ts in marked:
                grown = increase(value, reading, ts in restarts, kept)
            rate = grown / seconds
            if not n:
                low = high = rate
            elif rate > high:
                high = rate
            elif rate < low:
                low = rate
            n += seconds
            total += grown
        before, value, last = ts, reading, reading
    if end is not None:
        out.append(Bucket(end - width, n, min(total, TOP), low, high, last))
    return out


def steady_buckets(points: Sequence[tuple[int, int]], width: int, gap: int, marked: set[int]) -> list[Bucket] | None:
    """The same of readings at every step, with no break among them, as nearly all are: several times faster.

    Returns:
        None for all others.
    """
    if len(points) < 2:
        return None
    times, values = zip(*points, strict=True)
    step = times[1] - times[0]
    if step > gap or width % step or times[0] % step or times != tuple(range(times[0], times[-1] + 1, step)):
        return None
    grown = list(map(sub, values[1:], values))
    if min(grown) < 0 or not marked.isdisjoint(times):
        return None
    out: list[Bucket] = []
    at = 0
    end = -(-times[1] // width) * width
    while at < len(grown):
        until = min(at + (end - times[at + 1]) // step + 1, len(grown))
        part = grown[at:until]
        total = min(values[until] - values[at], TOP)
        seconds = step * len(part)
        out.append(Bucket(end - width, seconds, total, min(part) / step, max(part) / step, values[until]))
        at, end = until, end + width
    return out


def gauge_buckets(points: Iterable[tuple[int, int]], width: int) -> list[Bucket]:
    """Buckets of a gauge; (time, reading) by time, the first one included."""
    out: list[Bucket] = []
    for ts, value in points:
        start = (ts - 1) // width * width
        if out and out[-1].start == start:
            _, n, total, low, high, _ = out[-1]
            out[-1] = Bucket(start, n + 1, min(total + value, TOP), min(low, value), max(high, value), value)
        else:
            out.append(Bucket(start, 1, value, value, value, value))
    return out


def buckets(
    kind: str, points: Sequence[tuple[int, int]], since: int, width: int, gap: int, breaks: Breaks, kept: bool
) -> list[Bucket]:
    """Buckets from `since` on of a series of either kind; `points` may begin earlier, for the first interval."""
    if kind == GAUGE:
        return gauge_buckets((p for p in points if p[0] > since), width)
    return [b for b in counter_buckets(points, width, gap, breaks, kept) if b.start >= since]


def merge(parts: Iterable[Bucket], width: int) -> list[Bucket]:
    """Buckets of `width` out of smaller ones, by time. Those in which nothing is known give no minimum."""
    out: list[Bucket] = []
    start, n, total, low, high, last = None, 0, 0, 0.0, 0.0, 0
    for begin, more_n, more, least, most, newest in parts:
        if begin // width * width != start:
            if start is not None:
                out.append(Bucket(start, n, min(total, TOP), low, high, last))
            start = begin // width * width
            n, total, low, high, last = more_n, more, least, most, newest
            continue
        if more_n:
            low, high = (min(low, least), max(high, most)) if n else (least, most)
        n, total, last = n + more_n, total + more, newest
    if start is not None:
        out.append(Bucket(start, n, min(total, TOP), low, high, last))
    return out
