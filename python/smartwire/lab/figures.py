"""Small statistics for the lab's tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def quantile(values: Iterable[float], q: float) -> float:
    """The ``q`` quantile (0 to 1) with linear interpolation; NaN of nothing."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def median(values: Iterable[float]) -> float:
    """The middle value; NaN of nothing."""
    return quantile(values, 0.5)


def loaded_minus_idle(
    loaded: Sequence[tuple[float, float | None]], idle: Sequence[tuple[float, float | None]], lost_s: float = 3.0
) -> list[float]:
    """Per probe: loaded RTT minus the idle link's RTT at the same trace offset, seconds.

    A probe that was lost counts as ``lost_s`` where the idle link answered, and not at all where it did not either.
    """
    out = []
    for (_, with_load), (_, without) in zip(loaded, idle, strict=False):
        if without is None:
            continue
        out.append((with_load if with_load is not None else lost_s) - without)
    return out


def goodput_mbps(transfers: Iterable[dict], start: float, stop: float, bin_s: float = 0.1) -> float:
    """Bytes that arrived between two moments (seconds since the epoch), in Mbit/s."""
    first, last = int(start / bin_s), int(stop / bin_s)
    return sum(sum(t["bins"][first:last]) for t in transfers) * 8 / (stop - start) / 1e6
