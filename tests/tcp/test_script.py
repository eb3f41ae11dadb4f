"""The runner of packet scripts: what it says of scripts that are wrong, that fail, or that pass and should not."""

from __future__ import annotations

import pytest
from smartwire.cli import main
from smartwire.cli.script import report

GOOD = """# A pure ACK ends at the wire.
handshake
+.010  server > P. 1:1001(1000) ack 1
+0     client < P. 1:1001(1000) ack 1
+0     server < .  1:1(0) ack 1001
+.020  client > .  1:1(0) ack 1001
nothing for 1s
"""


@pytest.fixture
def run(tmp_path):
    def call(text):
        path = tmp_path / "x.pkt"
        path.write_text(text)
        return report(path)

    return call


def test_a_script_that_goes_as_it_says_passes_in_all_variants(run):
    done = run(GOOD)
    assert done["ok"], done["text"]
    assert done["variants"] == 32
    assert done["text"] == ""


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        ("+0     server < .  1:1(0) ack 1001", "", "and no line says so"),
        ("ack 1001\n+.020", "ack 2001\n+.020", "ack is 1001, not 2001"),
        ("client < P.", "client < .", "its flags are others"),
        ("+0     server <", "+.001  server <", "it came at 0.070, not at 0.071"),
        ("nothing for 1s", "counter acks_made 2", "counter acks_made is 1, not 2"),
        ("nothing for 1s", "event closed", "never said `event closed`"),
        ("nothing for 1s", "+0 client < . 1001:1001(0) ack 1", "never came"),
        ("nothing for 1s", "custody client 1", "custody for the client is 0 bytes, not 1"),
    ],
)
def test_what_is_not_as_it_says_is_shown_with_line_and_command(run, line, instead, says):
    assert line in GOOD
    done = run(GOOD.replace(line, instead, 1))
    assert not done["ok"]
    assert says in done["text"]
    assert "x.pkt:" in done["text"]
    assert "rerun: smartwire script run " in done["text"]
    assert len(done["failed"]) == 32


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("sever > . 1:1(0) ack 1", "`sever` is no statement"),
        ("client = . 1:1(0) ack 1", "write `client >` for what it sends"),
        ("client > . 1:1001(10) ack 1", "does not add up; write 1:11(10)"),
        ("client > . 1:1(0)", "write ack N behind it"),
        ("client > . 1:1(0) ack 1 <sok>", "is no option"),
        ("client > [blue] . 1:1(0) ack 1", "in brackets stand raw"),
        ("client/2 > . 1:1(0) ack 1", "write `connection 2 subscriber 1` before"),
        ("0.001 nothing for 1s", "lies before the line above"),
        ("event refused mptpc", "they are mid-stream"),
        ("only ipv4", 'say why, in quotation marks: only ipv4 "'),
        ("config speed 9", "`speed` is no setting"),
        ("counter bytes 9", "there is no counter `bytes`"),
        ("nothing for long", "is no duration"),
    ],
)
def test_a_line_that_makes_no_sense_is_answered_with_what_to_write(run, line, says):
    done = run(f"# X.\nhandshake\n{line}\n")
    assert not done["ok"]
    assert says in done["text"]
    assert "x.pkt:3:" in done["text"]


def test_an_expected_failure_that_passes_is_one(run):
    done = run(GOOD + 'xfail "it is broken"\n')
    assert not done["ok"]
    assert "take its xfail away" in done["text"]
    done = run(GOOD.replace("ack 1001\n+.020", "ack 2001\n+.020") + 'xfail "it is broken"\n')
    assert done["ok"]
    assert done["xfail"] == "it is broken"


def test_the_command_prints_both_time_lines_and_exits_by_the_outcome(tmp_path, capfd):
    good, bad = tmp_path / "good.pkt", tmp_path / "bad.pkt"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("server <", "client <"))
    assert main.run(["script", "run", str(good), "-v", "--variant", "v6+wrap"]) == 0
    assert "> P. 1:1001(1000) ack 1" in capfd.readouterr().out
    assert main.run(["script", "run", str(bad)]) == 1
    out = capfd.readouterr().out
    assert "0 scripts passed, 1 failed" in out
    assert main.run(["script", "run", str(tmp_path / "none.pkt")]) == 3
    assert main.run(["script", "run", str(good), "--variant", "v5"]) == 1
