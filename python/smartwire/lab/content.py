"""The bytes that the lab transfers: known on both sides, so every single one is checked."""

from __future__ import annotations

import random
from functools import cache

PERIOD = 1_048_573
"""Length of the repeating block in bytes: a prime, so that no shift by a segment, page or window goes unnoticed."""


@cache
def block(seed: int) -> bytes:
    """Two periods of the content of transfer ``seed``, so that any slice up to one period is contiguous."""
    period = random.Random(seed & 7).randbytes(PERIOD)
    return period + period


def place(seed: int, offset: int) -> int:
    """Where byte ``offset`` of transfer ``seed`` stands in its block."""
    return (offset + seed * 7919) % PERIOD


def slice_at(seed: int, offset: int, length: int) -> memoryview:
    """Bytes ``offset .. offset + length`` of transfer ``seed``; ``length`` at most PERIOD."""
    start = place(seed, offset)
    return memoryview(block(seed))[start : start + length]


class Checker:
    """Compares what arrives with what was sent, byte by byte."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.received = 0
        """Bytes checked so far."""
        self.wrong_at: int | None = None
        """Offset of the first chunk that held a wrong byte."""

    def feed(self, data: bytes | memoryview) -> None:
        """Checks the next bytes of the transfer."""
        view = memoryview(data)
        while view:
            part = view[:PERIOD]
            # startswith compares with memcmp and without a copy; memoryviews compare element by element.
            if self.wrong_at is None and not block(self.seed).startswith(part, place(self.seed, self.received)):
                self.wrong_at = self.received
            self.received += len(part)
            view = view[len(part) :]
