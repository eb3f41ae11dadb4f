"""Combinations in which any two values meet: the few to try where trying all takes too long."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Combination = dict[str, Any]
"""A value for each factor."""


def all_of(factors: Mapping[str, Sequence]) -> list[Combination]:
    """Every combination of the factors' values; the last factor changes fastest."""
    return [dict(zip(factors, values, strict=True)) for values in itertools.product(*factors.values())]


def pairs_of(combination: Combination) -> set[tuple]:
    """Every two of its factors with their values."""
    return set(itertools.combinations(combination.items(), 2))


def pairwise(factors: Mapping[str, Sequence]) -> list[Combination]:
    """Combinations that hold every pair of values of any two factors, the same ones each time.

    Greedy: always the combination in which most pairs meet that have not met yet, of equals the first. Looks at all
    combinations each time, so it is for some thousands of them.
    """
    candidates = [(combination, pairs_of(combination)) for combination in all_of(factors)]
    missing = set().union(*(pairs for _, pairs in candidates))
    chosen = []
    while missing:
        best, pairs = max(candidates, key=lambda candidate: len(candidate[1] & missing))  # of equals the first
        chosen.append(best)
        missing -= pairs
    return chosen
