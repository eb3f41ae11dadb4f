"""A capture becomes a script."""

from __future__ import annotations

import pytest
from smartwire import _native, pcapng
from smartwire.cli import main
from smartwire.cli.script import report
from smartwire.errors import Error


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = tmp_path_factory.mktemp("from") / "one.pcapng"
    args = ["sim", "--down", "lte-still", "--flows", "1", "--seconds", "1", "--seed", "3", "--loss", "0.01"]
    assert main.run([*args, "--capture", str(path), "--json"]) == 0
    return path


def frames(path):
    return [(p.unix_ns, p.interface, p.direction, p.frame, p.length) for p in pcapng.read(path)]


def test_a_captured_connection_becomes_a_script_that_passes(capture, tmp_path):
    text = _native.script_from("one.pcapng", frames(capture), 1, 60)
    assert text.count(" > ") == 60
    assert "event optimizing" in text
    script = tmp_path / "one.pkt"
    script.write_text(text)
    done = report(script, "v4")
    assert done["ok"], done["text"]


def test_an_expectation_taken_away_is_missed(capture, tmp_path):
    lines = _native.script_from("one.pcapng", frames(capture), 1, 60).splitlines()
    expected = [i for i, line in enumerate(lines) if " < " in line]
    del lines[expected[len(expected) // 2]]
    script = tmp_path / "one.pkt"
    script.write_text("\n".join(lines))
    assert not report(script, "v4")["ok"]


def test_what_makes_no_script_is_said_in_a_sentence(capture):
    some = frames(capture)
    with pytest.raises(Error, match="handshake is not in the capture"):
        _native.script_from("x", some[20:], 1, 60)
    with pytest.raises(Error, match="there is no connection 9"):
        _native.script_from("x", some, 9, 60)
    with pytest.raises(Error, match="no TCP"):
        _native.script_from("x", [], None, 60)
