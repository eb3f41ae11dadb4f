"""The arithmetic of counters: rates over resets, restarts, gaps and clock steps."""

from __future__ import annotations

import random

import pytest
from smartwire.counters import buckets as module
from smartwire.counters.buckets import Breaks, Bucket, buckets, counter_buckets, gauge_buckets, merge


def rates(points, width=60, gap=30, **breaks) -> list[tuple]:
    kept = breaks.pop("kept", False)
    return [(b.start, b.n, b.sum) for b in counter_buckets(points, width, gap, Breaks(**breaks), kept)]


def test_a_steady_counter_has_its_rate_in_every_bucket():
    points = [(t, 7 * t) for t in range(0, 181, 10)]
    found = counter_buckets(points, 60, 30)
    assert [(b.start, b.mean, b.min, b.max) for b in found] == [
        (0, 7.0, 7.0, 7.0),
        (60, 7.0, 7.0, 7.0),
        (120, 7.0, 7.0, 7.0),
    ]
    assert [b.last for b in found] == [420, 840, 1260]


def test_a_counter_that_falls_has_begun_again_at_zero():
    assert rates([(0, 1000), (10, 1100), (20, 40), (30, 90)]) == [(0, 30, 100 + 40 + 50)]


def test_a_restart_is_seen_though_the_new_count_is_higher_than_the_old():
    points = [(0, 10), (10, 20), (20, 500)]
    assert rates(points) == [(0, 20, 10 + 480)]
    assert rates(points, restarts={20}) == [(0, 20, 10 + 500)]


def test_a_counter_in_the_kernel_goes_on_over_a_restart_of_the_process():
    assert rates([(0, 10), (10, 20), (20, 500)], restarts={20}, kept=True) == [(0, 20, 490)]
    assert rates([(0, 10), (10, 20), (20, 5)], restarts={20}, kept=True) == [(0, 20, 15)]


def test_over_a_gap_no_rate_is_told():
    assert rates([(0, 0), (10, 100), (50, 9000), (60, 9100)]) == [(0, 20, 200)]
    assert rates([(0, 0), (40, 10**6)]) == [(0, 0, 0)]
    assert counter_buckets([(0, 0), (40, 10**6)], 60, 30)[0].mean is None


def test_over_a_clock_step_no_rate_is_told():
    assert rates([(0, 0), (10, 100), (20, 99_999), (30, 100_099)], steps={20}) == [(0, 20, 200)]


def test_the_slowest_and_the_fastest_interval_are_kept():
    bucket = counter_buckets([(0, 0), (10, 50), (20, 60), (30, 160)], 60, 30)[0]
    assert (bucket.min, bucket.max) == (1.0, 10.0)


def test_an_increase_belongs_to_the_time_before_its_reading():
    assert rates([(50, 0), (60, 10), (70, 30)]) == [(0, 10, 10), (60, 10, 20)]


def test_a_gauge_has_its_mean_and_its_ends():
    assert gauge_buckets([(10, 4), (20, 6), (60, 5), (70, 9)], 60) == [
        Bucket(0, 3, 15, 4, 6, 5),
        Bucket(60, 1, 9, 9, 9, 9),
    ]


@pytest.mark.parametrize("kind", ["counter", "gauge"])
def test_merged_buckets_equal_those_made_at_once_from_the_same_readings(kind):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rnd = random.Random(seed)
    points, value = [], 0
    for ts in range(0, 9001, 10):
        value = 0 if rnd.random() < 0.01 else value + rnd.randrange(1000)
        if rnd.random() > 0.05:
            points.append((ts, value))
    breaks = Breaks(steps={points[len(points) // 2][0]})
    fine = buckets(kind, points, -1, 60, 30, breaks, False)
    assert merge(fine, 900) == buckets(kind, points, -1, 900, 30, breaks, False)


def test_a_sum_beyond_what_sqlite_holds_is_held_there():
    top = (1 << 63) - 1
    assert gauge_buckets([(10, top), (20, top)], 60)[0].sum == top
    assert merge([Bucket(0, 1, top, 0, 1, 1), Bucket(60, 1, top, 0, 1, 1)], 900)[0].sum == top


def test_what_is_read_at_every_step_gives_the_same_buckets_the_fast_way(monkeypatch):
    rng = random.Random(7)
    drawn = []
    for _ in range(300):
        step, width = rng.choice([(10, 60), (1, 60), (20, 60), (60, 60), (10, 900), (7, 60)])
        begin, reading = rng.randrange(0, 400) * rng.choice([1, step]), rng.choice([0, 10**9, (1 << 62)])
        points = []
        for k in range(rng.randrange(0, 40)):
            reading += rng.choice([0, 1, 999])
            if rng.random() < 0.01:
                reading = 0
            if rng.random() > 0.02:
                points.append((begin + k * step, reading))
        marks = {begin + step * rng.randrange(40)} if rng.random() < 0.2 else set()
        drawn.append((points, width, 3 * step, Breaks(restarts=marks), rng.random() < 0.3))
    fast = [counter_buckets(*each) for each in drawn]
    taken = [module.steady_buckets(p, width, gap, set(b.restarts)) is not None for p, width, gap, b, _ in drawn]
    assert 50 < sum(taken) < 250
    monkeypatch.setattr(module, "steady_buckets", lambda *_: None)
    assert fast == [counter_buckets(*each) for each in drawn]
