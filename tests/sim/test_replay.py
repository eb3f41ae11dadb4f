"""`smartwire replay`: what a capture says, and one sentence for what is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from smartwire import pcapng
from smartwire.cli import main


@pytest.fixture
def smartwire(capfd):
    """Runs the command line in this process and returns (status, out, err)."""

    def call(*args: object) -> tuple[int, str, str]:
        return main.run([str(a) for a in args]), *capfd.readouterr()

    return call


@pytest.fixture
def capture(smartwire, tmp_path) -> Path:
    """Both sides of a plain wire with a connection over each family."""
    file = tmp_path / "both.pcapng"
    args = ("--flows", 2, "--family", "both", "--seconds", 2, "--no-optimize", "--capture", file)
    status, _, err = smartwire("sim", *args)
    assert status == 0, err
    return file


def replayed(smartwire, file: Path) -> dict:
    status, out, err = smartwire("replay", file, "--json")
    assert status == 0, err
    return json.loads(out)


def rewritten(file: Path, to: Path, keep) -> Path:
    """The capture with the packets for which `keep` gives an interface, without directions."""
    writer = pcapng.Writer(to, ["one", "two"])
    for packet in pcapng.read(file):
        interface = keep(packet)
        if interface is not None:
            writer.packet(interface, packet.unix_ns, packet.frame)
    writer.close()
    return to


def test_connections_of_both_families_would_have_been_optimized(smartwire, capture):
    report = replayed(smartwire, capture)
    assert report["layout"] == "ports"
    assert [f["verdict"] for f in report["flows"]] == ["optimized"] * 2
    assert {f["core_addr"] for f in report["flows"]} == {"192.0.2.80", "2001:db8:ffff::50"}
    assert all(f["early_acks"] > 0 and f["furthest_ahead_bytes"] > 0 for f in report["flows"])


def test_a_capture_without_directions_or_of_one_side_says_the_same(smartwire, capture, tmp_path):
    both = rewritten(capture, tmp_path / "undirected.pcapng", lambda p: 1 - p.interface)
    one = rewritten(capture, tmp_path / "one.pcapng", lambda p: 0 if p.interface == 0 else None)
    for file, layout in ((both, "interfaces"), (one, "one-point")):
        report = replayed(smartwire, file)
        assert report["layout"] == layout
        assert [f["verdict"] for f in report["flows"]] == ["optimized"] * 2


def test_a_connection_without_its_handshake_is_refused_as_mid_stream(smartwire, capture, tmp_path):
    later = rewritten(capture, tmp_path / "later.pcapng", lambda p: p.interface if p.unix_ns > 500_000_000 else None)
    report = replayed(smartwire, later)
    assert report["refused"] == {"mid-stream": 2}
    assert all("handshake" in f["why"] for f in report["flows"])


def test_what_is_no_capture_is_one_sentence(smartwire, tmp_path):
    text, empty = tmp_path / "text", tmp_path / "empty.pcapng"
    text.write_text("not a capture at all")
    pcapng.Writer(empty, ["one"]).close()
    for file, status, words in (
        (tmp_path / "missing", 3, "no file"),
        (text, 1, "neither pcap nor pcapng"),
        (empty, 1, "no packets"),
        (tmp_path, 1, "cannot be read"),
    ):
        got, _, err = smartwire("replay", file)
        assert (got, err.count("\n")) == (status, 1)
        assert words in err
