"""`smartwire bench proxy`: its parts; what it finds depends on the machine."""

from __future__ import annotations

import shutil

import pytest
from smartwire.proxy.bench import SCENARIOS, WIRE, against, orders, prepared, syn_cost
from smartwire.proxy.bench_frames import frame_cost


def test_a_ratio_within_its_interval_is_not_told_from_1():
    same = against([1.0, 1.1, 0.9, 1.0], [1.0, 1.0, 1.0, 1.0])
    assert same["low"] < 1 < same["high"]
    assert not same["distinguishable"]
    half = against([0.5, 0.51, 0.49], [1.0, 1.0, 1.0])
    assert half["ratio"] == pytest.approx(0.5, rel=0.01)
    assert half["distinguishable"]


def test_orders_are_all_scenarios_and_replayed_from_the_seed():
    assert all(sorted(order) == list(range(8)) for order in orders(20, 8, seed=7))
    assert list(orders(20, 8, seed=7)) == list(orders(20, 8, seed=7))


@pytest.mark.root
@pytest.mark.parametrize("name", ["plain", "wire", pytest.param("conntrack", marks=pytest.mark.long)])
def test_a_run_counts_every_transaction(tmp_path, name):
    if name == "conntrack" and not shutil.which("nft"):
        pytest.skip("nftables is not installed")
    scenario = next(s for s in (*SCENARIOS, WIRE) if s.name == name)
    with prepared(scenario, tmp_path) as bench:
        row = bench.run("8192", 0.3, 8)
    assert row["failed"] == 0
    assert row["tps"] > 0
    assert row["ttfb_ms"]["p50"] <= row["ttfb_ms"]["p99"]


@pytest.mark.root
def test_a_syn_costs_something_whatever_the_prefixes():
    cost = syn_cost(300, seed=3, syns=50)
    assert cost["hit_ns"] > 0
    assert cost["miss_ns"] > 0


@pytest.mark.root
def test_a_mix_of_objects_arrives_whole(tmp_path):
    with prepared(next(s for s in SCENARIOS if s.name == "tcp-splice"), tmp_path) as bench:
        row = bench.run("1000*50,300000*50", 0.3, 8)
    assert row["failed"] == 0
    assert row["mbps"] > row["tps"] * 8e-3


@pytest.mark.root
@pytest.mark.long
def test_frames_that_are_not_proxied_cost_something_whatever_the_rules(tmp_path):
    found = frame_cost(2, seed=1, directory=tmp_path)
    assert [(f["bytes"], f["prefixes"]) for f in found][:3] == [(78, 1), (78, 1000), (78, 1 << 17)]
    assert all(f["ns"] > 0 and f["copper_ns"] > 0 for f in found)
