"""The demo's report and table, from made-up runs: complete, well-formed, and without anything from elsewhere."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from smartwire.lab import demo as d
from smartwire.lab import demo_report
from smartwire.lab.links import constant
from smartwire.lab.middle import Bridge
from smartwire.lab.progress import Story
from smartwire.lab.session import Outcome
from smartwire.report.page import STYLE, page
from smartwire.report.svg import Axis, Plot


def outcome(mode: str, transfers: list[dict], rtt_s: float = 0.1, share: float = 1.0) -> Outcome:
    received = sum(t["received"] for t in transfers)
    wire = {"delivered_bytes": int(received * share)} if mode == d.WITH else {}
    probe = {"kind": "probe", "label": "echo", "rtt": [[i * 0.02, rtt_s] for i in range(600)]}
    return Outcome(mode, [*transfers, probe], [], {}, {}, wire)


def transfer(size: int, seconds: float, label: str = "x", **more) -> dict:
    return {"kind": "get", "label": label, "source": "10.1.0.1", "local_port": 1, "size": size, "received": size or 99,
            "started": 0.0, "first_byte": 0.1, "finished": seconds, "wrong_at": None, "error": None, "intact": True,
            "retransmitted_segments": 0, "bins": [50_000] * 130} | more  # fmt: skip


def made_up(share: float = 1.0, **bad) -> d.Demo:
    demo = d.Demo(constant(20), seconds=100.0)
    for version in (4, 6):
        this = d.Round(version)
        for mode, factor in ((d.WITHOUT, 1.0), (d.WITH, 0.8)):
            sizes = [transfer(size, factor * size / 1e6 + 0.2, f"{size}@{start}") for start, size in d.DOWNLOADS]
            bulk = [transfer(0, 11.0, f"bulk{i}", **(bad if mode == d.WITH else {})) for i in range(d.FLOWS)]
            this.downloads[mode] = outcome(mode, sizes, share=share)
            this.bulk[mode] = outcome(mode, bulk, rtt_s=0.7 if mode == d.WITHOUT else 0.1)
        demo.rounds.append(this)
    return demo


def test_the_report_refers_to_nothing_outside_itself_and_has_no_script():
    text = demo_report.html(made_up())
    assert "<script" not in text
    assert not re.search(r"""(src|href|xlink:href)\s*=|url\(|@import|https?://""", text)
    assert text.startswith("<!doctype html>")


def test_every_plot_is_well_formed_and_its_axes_have_units():
    text = demo_report.html(made_up())
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    plots = [ET.fromstring(s) for s in drawings if 'class="axis"' in s]
    assert len(plots) >= 4
    for plot in plots:
        assert plot.find("title").text
        labels = [t.text for t in plot.iter("text") if t.get("class") == "label" and t.text]
        assert labels
        assert all(re.search(r", (s|ms|kB|Mbit/s)\b", label) for label in labels), labels


def test_the_report_shows_the_figures_of_the_table():
    demo = made_up()
    text = demo_report.html(demo)
    for row in d.rows(demo):
        for cell in row:
            assert cell.replace("&", "&amp;") in text


def test_the_table_says_what_was_measured():
    rows = {row[0]: row[1:] for row in d.rows(made_up())}
    assert rows["1 MB download, median"] == ("1.20 s", "1.00 s", "17% faster")
    assert rows["echo RTT meanwhile, p95"] == ("700 ms", "100 ms", "7.0 times shorter")
    assert rows["TCP payload under custody"][1] == "100.0%"


def test_a_demo_with_too_little_custody_or_a_wrong_byte_says_so_in_the_report_too():
    for demo, words in ((made_up(share=0.9), "only 90.0% of the TCP payload"),
                        (made_up(intact=False, wrong_at=5), "a wrong byte at or after 5")):  # fmt: skip
        assert words in demo.faults()[0]
        assert words in demo_report.html(demo)


@pytest.mark.root
def test_a_short_demo_runs_both_modes_and_draws_both_sides(monkeypatch):
    monkeypatch.setattr(d, "DOWNLOADS", ((0.1, 50_000), (0.4, demo_report.SHOWN_BYTES)))
    monkeypatch.setattr(d, "DOWNLOADS_S", 2.0)
    monkeypatch.setattr(d, "BULK_S", 3.0)
    monkeypatch.setattr(d, "IDLE_S", 0.5)
    story = Story("demo", 20, quiet=True)
    demo = d.measure(constant(50), {d.WITHOUT: Bridge, d.WITH: Bridge}, story, versions=(6,))
    assert demo.faults() == []
    assert [len(demo.times(mode, 50_000)) for mode in d.TITLES] == [1, 1]
    assert all(demo.goodput_mbps(mode) > 0 for mode in d.TITLES)
    assert "Time-sequence graph" in demo_report.html(demo)
    assert set(d.document(demo)["modes"]) == set(d.TITLES)


def test_light_and_dark_define_the_same_colours():
    blocks = re.findall(r":root\{(.*?)\}", STYLE, re.DOTALL)
    light, dark = (set(re.findall(r"--[\w-]+(?=:)", block)) for block in blocks)
    assert light == dark
    assert {f"--s-{name}" for name in re.findall(r"var\(--s-([\w-]+)\)", STYLE)} <= light


def test_words_from_outside_cannot_become_markup():
    assert "<b>" not in page("<b>x", []).replace("<body>", "")
    plot = Plot('<b>"title', Axis("<i>x"), Axis("y & z"))
    plot.line([(0, 1), (1, 2)], "a", "<u>label")
    plot.note(0, 1, "<em>")
    drawn = plot.svg()
    assert not re.search(r"<(b|i|u|em)>", drawn)
    ET.fromstring(re.search(r"<svg.*</svg>", drawn, re.DOTALL)[0])


@pytest.mark.parametrize("log", [False, True])
def test_ticks_are_round_numbers_within_the_range(log):
    axis = Axis("x, s", log=log)
    axis.fit([0.3, 7.4])
    ticks = axis.ticks(6)
    assert 2 <= len(ticks) <= 9
    assert all(axis.low <= t <= axis.high for t in ticks)
    assert all(float(axis.text(t)) == pytest.approx(t) for t in ticks)


def test_a_line_is_interrupted_where_there_is_no_value():
    plot = Plot("t", Axis("x, s"), Axis("y, ms"))
    plot.line([(0, 1), (1, 2), (2, None), (3, 2), (4, 1)], "a")
    assert re.search(r'class="line a" d="([^"]+)"', plot.svg())[1].count("M") == 2


def test_an_empty_plot_is_drawn_without_complaint():
    assert "<svg" in Plot("t", Axis("x, s"), Axis("y, ms", log=True)).svg()
