"""The lab's arithmetic: percentiles, loaded minus idle, goodput, and what a run must prove."""

from __future__ import annotations

import math

import pytest
from smartwire.lab.figures import goodput_mbps, loaded_minus_idle, median, quantile
from smartwire.lab.measure.freeze import recovery
from smartwire.lab.measure.starving import filled
from smartwire.lab.session import Outcome, check_custody
from smartwire.lab.trial import Trial, Verdict


def outcome(wire: dict, received: int = 1000, **changes) -> Outcome:
    transfer = {"kind": "get", "label": "a", "source": "10.1.0.1", "size": 1000, "received": received, "wrong_at": None,
                "error": None, "intact": True, "retransmitted_segments": 0} | changes  # fmt: skip
    return Outcome("smartwire", [transfer], [], {}, {}, wire)


def test_quantiles_interpolate():
    assert quantile([1, 2, 3, 4], 0.5) == 2.5
    assert quantile(range(101), 0.95) == 95
    assert median([7]) == 7
    assert math.isnan(median([]))


def test_a_probe_is_held_against_the_idle_link_at_the_same_moment():
    idle = [(0.0, 0.08), (1.0, 0.5), (2.0, None), (3.0, 0.08)]
    loaded = [(0.0, 0.18), (1.0, 0.6), (2.0, 9.0), (3.0, None)]
    assert loaded_minus_idle(loaded, idle, lost_s=5.0) == pytest.approx([0.1, 0.1, 4.92])


def test_goodput_counts_the_bins_between_two_moments():
    transfers = [{"bins": [0] * 10 + [125_000] * 10}, {"bins": [0] * 5}]
    assert goodput_mbps(transfers, 1.0, 2.0) == pytest.approx(10.0)
    assert goodput_mbps(transfers, 0.0, 2.0) == pytest.approx(5.0)


def test_the_custody_share_is_of_what_arrived():
    assert outcome({}).custody_share is None, "a bridge counts nothing"
    assert outcome({"delivered_bytes": 1000}).custody_share == 1.0
    assert outcome({"delivered_bytes": 500}).custody_share == 0.5, "bytes that went around the wire count too"
    assert outcome({"delivered_bytes": 1200}).custody_share == 1.0, "what a kernel still buffers is no more than all"


def test_an_upload_counts_as_far_as_the_server_received_it():
    served = {"peer": "10.1.0.1", "port": 7, "bytes": 400, "retransmitted_segments": 0}
    o = outcome({"delivered_bytes": 400}, kind="put", local_port=7, size=0)
    o.served.append(served)
    assert (o.payload, o.custody_share) == (400, 1.0)


def test_a_run_below_95_percent_of_custody_has_failed():
    assert check_custody(outcome({"delivered_bytes": 950})) is None
    assert "94.0%" in check_custody(outcome({"delivered_bytes": 940}))
    assert "under custody" in check_custody(outcome({"delivered_bytes": 0}))


def test_a_wrong_byte_or_an_error_is_told_before_the_custody():
    bad = outcome({"delivered_bytes": 1000}, intact=False, wrong_at=77)
    assert "a wrong byte at or after 77" in check_custody(bad)
    reset = outcome({"delivered_bytes": 1000}, intact=False, error="Connection reset by peer")
    assert "Connection reset by peer" in check_custody(reset)
    short = outcome({"delivered_bytes": 1000}, received=10, intact=False)
    assert "10 of 1,000 bytes arrived" in check_custody(short)


def test_a_bound_that_is_missed_or_has_no_figure_fails():
    assert Verdict("x", 1.0, 1.0, "at most").passed
    assert not Verdict("x", 1.01, 1.0, "at most").passed
    assert not Verdict("x", math.nan, 1.0, "at most").passed
    assert not Verdict("x", math.nan, 1.0, "at least").passed
    assert "at most 1" in Verdict("x", 1.01, 1.0, "at most").text()


def test_a_trial_with_a_fault_has_not_passed_whatever_its_bounds_say():
    trial = Trial("x", story=None)
    trial.at_most("figure", 1, 2)
    assert trial.passed
    trial.faults.append("a byte was wrong")
    assert not trial.passed
    assert trial.document()["passed"] is False


def test_recovery_is_the_first_half_second_at_the_earlier_rate():
    bins = [100] * 60 + [0] * 40 + [0, 0, 30, 100, 100, 100, 100, 100, 100, 100]
    assert recovery(bins, 6.0, 10.0) == pytest.approx(0.3)
    assert recovery([100] * 60 + [0] * 60, 6.0, 10.0) == math.inf
    assert recovery([0] * 120, 6.0, 10.0) == math.inf, "no earlier rate, no recovery"


def test_a_link_is_full_when_a_whole_second_was():
    slot = int(10e6 / 8 * 0.1)
    assert filled([0] * 20 + [int(0.91 * slot)] * 10, 10.0) == pytest.approx(3.0)
    assert filled([slot // 2] * 50, 10.0) == math.inf
