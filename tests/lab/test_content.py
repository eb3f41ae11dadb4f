"""Integrity: every byte that the lab transfers is compared."""

from __future__ import annotations

import random

import pytest
from smartwire.lab.content import PERIOD, Checker, slice_at
from smartwire.lab.plan import Result


def test_right_content_is_found_right_in_pieces_of_any_size():
    chance, checker, offset = random.Random(1), Checker(3), 0
    while offset < 3 * PERIOD:
        length = chance.randint(1, 300_000)
        checker.feed(bytes(slice_at(3, offset, length)))
        offset += length
    assert checker.wrong_at is None
    assert checker.received == offset


@pytest.mark.parametrize("at", [0, 1, 65_535, PERIOD - 1, PERIOD, PERIOD + 17])
def test_one_flipped_bit_anywhere_is_found(at):
    checker, offset = Checker(2), 0
    while offset < 2 * PERIOD:
        piece = bytearray(slice_at(2, offset, 100_000))
        if offset <= at < offset + len(piece):
            piece[at - offset] ^= 0x10
        checker.feed(piece)
        offset += len(piece)
    assert checker.wrong_at is not None
    assert checker.wrong_at <= at < checker.wrong_at + 100_000


@pytest.mark.parametrize("shift", [1, 1448, 4096, 65_536, 262_144])
def test_content_that_is_shifted_is_found_wrong(shift):
    checker = Checker(5)
    checker.feed(bytes(slice_at(5, shift, 1000)))
    assert checker.wrong_at == 0


def test_two_transfers_do_not_carry_the_same_bytes():
    assert len({bytes(slice_at(seed, 0, 64)) for seed in range(32)}) == 32


def test_a_transfer_that_lacks_a_byte_or_broke_is_not_intact():
    whole = Result("x", "get", 100, received=100)
    assert whole.intact
    assert not Result("x", "get", 100, received=99).intact
    assert not Result("x", "get", 100, received=100, wrong_at=7).intact
    assert not Result("x", "get", 0, received=5, error="Connection reset by peer").intact
    assert Result("x", "get", 0, received=5).intact, "without a size, what came before the stop is enough"
