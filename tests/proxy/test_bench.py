"""`smartwire bench proxy`: its parts; what it finds depends on the machine."""

from __future__ import annotations

import pytest
from smartwire.proxy.bench import SCENARIOS, against, orders, prepared, syn_cost


def test_a_ratio_within_its_interval_is_not_told_from_1():
    same = against([1.0, 1.1, 0.9, 1.0], [1.0, 1.0, 1.0, 1.0])
    assert same["low"] < 1 < same["high"]
    assert not same["distinguishable"]
    half = against([0.5, 0.51, 0.49], [1.0, 1.0, 1.0])
    assert half["ratio"] == pytest.approx(0.5, rel=0.01)
    assert half["distinguishable"]


def test_orders_are_all_scenarios_and_replayed_from_the_seed():
    assert all(sorted(order) == list(range(6)) for order in orders(20, 6, seed=7))
    assert list(orders(20, 6, seed=7)) == list(orders(20, 6, seed=7))


@pytest.mark.root
@pytest.mark.parametrize("name", ["tcp-splice", "plain"])
def test_a_run_counts_every_transaction(tmp_path, name):
    scenario = next(s for s in SCENARIOS if s.name == name)
    with prepared(scenario, 8192, tmp_path) as bench:
        row = bench.run(0.3, 8)
    assert row["failed"] == 0
    assert row["tps"] > 0
    assert row["ttfb_ms"]["p50"] <= row["ttfb_ms"]["p99"]


@pytest.mark.root
def test_a_syn_costs_something_whatever_the_prefixes():
    cost = syn_cost(300, seed=3, syns=50)
    assert cost["hit_ns"] > 0
    assert cost["miss_ns"] > 0
