"""`smartwire sim`: figures that repeat, and one sentence for every wrong input."""

from __future__ import annotations

import json

import pytest
from smartwire.cli import main


@pytest.fixture
def smartwire(capfd):
    """Runs the command line in this process and returns (status, out, err)."""

    def call(*args: str) -> tuple[int, str, str]:
        return main.run(list(args)), *capfd.readouterr()

    return call


def figures(smartwire, *args: str) -> dict:
    status, out, err = smartwire("sim", *args, "--json")
    assert status == 0, err
    return json.loads(out)


def test_a_run_gives_every_figure_with_its_unit(smartwire):
    report = figures(smartwire, "--down", "lte-still", "--flows", "2", "--seconds", "3", "--no-optimize")
    assert 0 < report["goodput_mbps"] < report["capacity_mbps"]
    assert 0 < report["utilisation"] <= 1
    for key in ("queue_ms", "rtt_ms"):
        assert 0 < report[key]["p50"] <= report[key]["p95"] <= report[key]["p99"]
    assert report["integrity"] == "ok"
    assert len(report["flows"]) == 2
    assert {"goodput_mbps", "rtt_ms", "retransmitted_packets"} <= set(report["flows"][0])


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(smartwire):
    once, again, other = (
        figures(smartwire, "--down", "lte-driving", "--seconds", "5", "--no-optimize", "--seed", seed)
        for seed in ("7", "7", "8")
    )
    assert once == again
    assert once["goodput_mbps"] != other["goodput_mbps"]


def test_an_idle_link_shows_its_own_round_trip(smartwire):
    report = figures(smartwire, "--down", "lte-still", "--flows", "0", "--seconds", "3", "--rtt-ms", "100")
    assert report["goodput_mbps"] == 0
    assert 100 <= report["rtt_ms"]["p50"] < 115


def test_ipv6_is_simulated_like_ipv4(smartwire):
    v4, v6 = (
        figures(smartwire, "--seconds", "5", "--no-optimize", "--family", family)["goodput_mbps"]
        for family in ("v4", "v6")
    )
    assert v6 == pytest.approx(v4, rel=0.05)


@pytest.mark.parametrize(
    ("args", "status", "words"),
    [
        (["--down", "nowhere.down"], 3, "neither a link profile nor a trace file nowhere.down"),
        (["--down", __file__], 1, "is not a trace: line 1"),
        (["--seconds", "0"], 1, "0 seconds"),
        (["--flows", "many"], 2, "--flows"),
        (["--cc", "vegas"], 2, "cubic"),
        (["--loss", "1"], 2, "--loss"),
        (["--queue-bytes", "10"], 2, "1500"),
    ],
)
def test_wrong_input_is_one_sentence(smartwire, args, status, words):
    got, _, err = smartwire("sim", *args)
    assert got == status
    assert words in err
    assert err.count("\n") == 1
