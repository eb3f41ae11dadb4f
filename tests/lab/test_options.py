"""What two kernels may offer each other, in the combinations in which any two settings meet; and which those are."""

from __future__ import annotations

import itertools

import pytest
from smartwire.lab.cli import carry_out
from smartwire.lab.covering import all_of, pairs_of, pairwise
from smartwire.lab.measure.options import FACTORS, options

ODD = {"a": (1, 2, 3), "b": ("x", "y"), "c": (None, 0), "d": (1, 2, 3)}


@pytest.mark.parametrize("factors", [FACTORS, ODD])
def test_any_two_values_meet_in_few_combinations(factors):
    chosen = pairwise(factors)
    met = set().union(*map(pairs_of, chosen))
    for (one, values), (other, others) in itertools.combinations(factors.items(), 2):
        for value, another in itertools.product(values, others):
            assert ((one, value), (other, another)) in met
    assert len(chosen) <= 12
    assert pairwise(factors) == chosen, "the same each time"


def test_all_combinations_are_all_and_each_once():
    assert len(all_of(FACTORS)) == len({tuple(c.values()) for c in all_of(FACTORS)}) == 1024


@pytest.mark.root
def test_whatever_two_kernels_agree_on_every_byte_arrives_and_under_custody():
    trial = carry_out("options", options, True, quick=True, versions=(4, 6), seed=1)
    assert trial.passed, [trial.faults, [v.text() for v in trial.verdicts if not v.passed], trial.figures]
    assert len(trial.shares) == len(pairwise(FACTORS))
