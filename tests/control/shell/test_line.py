"""The line editor: Junos's keys, pressed on a terminal of prompt_toolkit's own."""

from __future__ import annotations

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from smartwire.shell.line import Line

from tests.control.shell.test_transcripts import Desk


@pytest.fixture
def pressed(box, monkeypatch, tmp_path, capsys):
    """Presses keys at alice's prompt; returns the line that comes of it and what was shown meanwhile."""
    monkeypatch.setenv("HOME", str(tmp_path))
    shell = Desk(box).shell("alice")

    def press(keys: str, configuring: bool = False) -> tuple[str, str]:
        if configuring and not shell.configuring:
            shell.run("configure")
        with create_pipe_input() as source, create_app_session(input=source, output=DummyOutput()):
            source.send_text(keys + "\r")
            return Line(shell, source, DummyOutput()).read(), capsys.readouterr().out

    return press


def test_tab_completes_a_unique_beginning(pressed):
    assert pressed("sh\tpol\t")[0] == "show policies "


def test_space_completes_as_tab_does(pressed):
    assert pressed("sh pol ")[0] == "show policies "


def test_space_after_a_value_is_a_space(pressed):
    assert pressed("set system location attic  ", configuring=True)[0].rstrip() == "set system location attic"


def test_space_after_a_bar_is_a_space(pressed):
    assert pressed("show policies | co") == ("show policies | co", "")
    assert pressed("sh pol | cou ")[0] == "show policies | count "


def test_space_in_quotes_is_a_space(pressed):
    assert pressed('set system location "co re"', configuring=True)[0] == 'set system location "co re"'


def test_an_ambiguous_word_is_kept_and_the_possibilities_are_shown(pressed):
    line, shown = pressed("co c ", configuring=True)
    assert line.startswith("co")
    assert "commit" in shown
    assert "copy" in shown


def test_a_question_mark_shows_what_may_follow_and_leaves_the_line_alone(pressed):
    line, shown = pressed("show ?pol")
    assert line == "show pol"
    assert "policies" in shown
    assert "Show the policies" in shown


def test_a_question_mark_in_quotes_is_text(pressed):
    assert pressed('set system location "why?"', configuring=True)[0] == 'set system location "why?"'


def test_tab_offers_names_that_exist(pressed):
    assert pressed("set wires no\tmo\t", configuring=True)[0] == "set wires north mode "
