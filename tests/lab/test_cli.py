"""`smartwire lab` and `smartwire demo` on the command line: help, lists, and one sentence for every mistake."""

from __future__ import annotations

import json

import pytest
from smartwire.cli.main import run
from smartwire.errors import Error
from smartwire.lab import scenarios
from smartwire.lab.links import link
from smartwire.lab.measure.book import book
from smartwire.lab.progress import Story
from smartwire.lab.trial import Trial


def test_the_list_names_every_scenario_and_profile(capsys):
    assert run(["lab", "list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in scenarios.SCENARIOS)
    assert "lte-driving" in text
    assert run(["lab", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["scenarios"]) == set(scenarios.SCENARIOS)


def test_every_scenario_can_be_imported():
    assert all(callable(scenarios.find(name)) for name in scenarios.SCENARIOS)


@pytest.mark.parametrize(("argv", "status", "words"), [
    (["lab", "run", "nothing"], 3, "There is no scenario 'nothing'"),
    (["lab", "run", "queue", "--link", "nothing"], 1, "There is no link 'nothing'"),
    (["lab", "run", "queue", "--link", "/no/such.down"], 3, "There is no trace file /no/such.down"),
    (["lab", "run"], 2, "Missing argument"),
    (["lab", "up", "--phones", "0"], 2, "0 is not in the range"),
    (["demo", "--link", "nothing"], 1, "There is no link 'nothing'"),
    (["demo", "--report", "/no/such/place.html"], 1, "there is no directory /no/such"),
])  # fmt: skip
def test_a_mistake_gets_one_sentence(capsys, argv, status, words):
    assert run(argv) == status
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1
    assert "Traceback" not in complaint


@pytest.mark.root
def test_a_shell_in_a_lab_that_does_not_stand_gets_one_sentence(capsys):
    from smartwire.lab import standing

    if standing.hosts():
        pytest.skip("a lab is standing on this machine")
    assert run(["lab", "shell", "phone"]) == 3
    assert "smartwire lab up" in capsys.readouterr().err


def test_the_book_of_measurements_shows_what_was_missed(tmp_path):
    trial = Trial("loss", story=Story("x", 1, quiet=True))
    trial.row(ip=4, mode="smartwire", goodput_mbps=17.5, bins=[1, 2])
    trial.at_least("goodput, ratio", 0.9, 0.95)
    trial.at_most("time, s", 1, 2)
    trial.faults.append("a byte was wrong")
    (tmp_path / "loss.json").write_text(json.dumps(trial.document()))
    text = book(tmp_path)
    assert "1 of 2 bounds hold; 1 runs prove nothing." in text
    assert "| goodput, ratio | 0.9 | at least 0.95 | **missed** |" in text
    assert "| 4 | smartwire | 17.5 |" in text
    assert "**Proves nothing:** a byte was wrong." in text
    with pytest.raises(Error, match="There are no results"):
        book(tmp_path / "empty")


def test_a_link_is_a_rate_a_profile_or_a_trace(tmp_path):
    assert link("20mbit").down["rate"] == {"mbps": 20.0}
    assert link("2.5 Mbit/s").down["rate"] == {"mbps": 2.5}
    assert link("geo").name == "geo"
    for end in ("down", "up"):
        (tmp_path / f"bus.{end}").write_text("0\n5\n10\n")
    found = link(str(tmp_path / "bus.down"))
    assert found.down["rate"]["trace"]["file"].endswith("bus.down")
    assert found.up["rate"]["trace"]["file"].endswith("bus.up")


def test_a_link_may_be_described_in_a_file_with_every_fault(tmp_path):
    file = tmp_path / "odd.json"
    file.write_text('{"down": {"loss": 0.01, "first_loss": {"frames": 3}}, "up": {"overtake": {}}}')
    assert link(str(file)).down["loss"] == 0.01
    for text, words in (("{", "is no description"), ('{"down": {}}', "must hold"), ("[]", "must hold")):
        file.write_text(text)
        with pytest.raises(Error, match=words):
            link(str(file))


@pytest.mark.parametrize("page", [["lab"], ["lab", "run"], ["lab", "up"], ["lab", "shell"], ["lab", "down"], ["demo"]])
def test_help_is_there(capsys, page):
    assert run([*page, "--help"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 10
