"""Answers on a terminal and in scripts."""

from __future__ import annotations

import pytest
from smartwire.shell import front
from smartwire.shell.pipes import Answer

from tests.control.shell.test_transcripts import Desk


@pytest.fixture
def shell(box):
    return Desk(box).shell("alice")


def test_a_script_runs_its_lines_and_stops_at_the_first_that_fails(shell, capsys):
    lines = ["configure", "set system location attic", "set wires north workers 99", "commit"]
    assert front.script(shell, lines) == 1
    out, err = capsys.readouterr()
    assert "Entering configuration mode" in out
    assert err == "error: 99 is not in 1..64.\n"
    assert "attic" not in shell.session.engine.running.config.values["system"].values()


def test_a_script_that_leaves_is_done(shell):
    assert front.script(shell, ["show policies", "exit", "no such thing"]) == 0


def test_save_writes_the_text_to_the_operators_file(shell, tmp_path, capsys):
    path = tmp_path / "out.txt"
    assert front.script(shell, [f"show configuration policies | save {path}"]) == 0
    assert "core-prefix 192.0.2.0/24" in path.read_text()
    assert capsys.readouterr().out == f"Wrote {len(path.read_text().splitlines())} lines of output to '{path}'\n"


def test_a_file_that_cannot_be_written_is_one_sentence(shell, capsys):
    assert front.script(shell, ["show policies | save /nowhere/out"]) == 1
    assert capsys.readouterr().err == "error: /nowhere/out cannot be written: No such file or directory.\n"


def test_saved_configuration_loads_back_to_the_same(shell, tmp_path):
    path = tmp_path / "all.conf"
    before = shell.session.engine.running.config.values
    assert front.script(shell, ["configure", f"save {path}", "delete", f"load override {path}"]) == 0
    assert shell.session.candidate.config.values == before


@pytest.mark.parametrize(("keys", "shown"), [(" q", 4), ("\r\rq", 4), ("  ", 5)])
def test_the_pager_goes_on_by_a_screen_or_a_line_and_ends_at_q(keys, shown, monkeypatch, capsys):
    pressed = iter(keys)
    monkeypatch.setattr(front.click, "getchar", lambda: next(pressed))
    front.page([f"line {n}" for n in range(5)], 2)
    assert capsys.readouterr().out.count("line ") == shown


def test_an_answer_longer_than_the_screen_is_not_paged_where_nobody_looks(capsys):
    front.deliver(Answer("\n".join("x" * 200)), paged=True)
    assert capsys.readouterr().out.count("x") == 200


def test_what_display_set_prints_can_be_typed_back(shell, tmp_path):
    odd = 'set wires north description "a|b [c] why? \\"d\\" \\\\ # e"'
    assert front.script(shell, ["configure", odd]) == 0
    before = shell.session.candidate.config.values
    assert "a|b" in before["wires"]["north"]["description"]
    lines = shell.run("show | display set").text.splitlines()
    assert front.script(shell, ["rollback 0", "delete wires", *(line for line in lines if " wires " in line)]) == 0
    assert shell.session.candidate.config.values["wires"] == before["wires"]
