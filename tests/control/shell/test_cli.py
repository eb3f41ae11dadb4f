"""`smartwire cli` as a process, against `smartwire daemon` as another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PATIENCE_S = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs `smartwire ARGS` beside a smartwired with a state of its own."""
    directory = tmp_path_factory.mktemp("box")
    env = os.environ | {
        "SMARTWIRE_RUN": str(directory / "run"), "SMARTWIRE_STATE": str(directory / "state"), "HOME": str(directory)
    }  # fmt: skip
    command = [sys.executable, "-m", "smartwire"]
    daemon = subprocess.Popen([*command, "daemon"], env=env, stderr=subprocess.PIPE, text=True)

    def smartwire(*argv: str, typed: str | None = None) -> subprocess.CompletedProcess:
        return subprocess.run([*command, *argv], env=env, input=typed, capture_output=True, text=True, check=False)

    until = time.monotonic() + PATIENCE_S
    while smartwire("cli", "-c", "show policies").returncode == 3:
        assert daemon.poll() is None, daemon.stderr.read()
        assert time.monotonic() < until, "smartwired does not answer"
    yield smartwire
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(PATIENCE_S) == 0


def test_commands_of_one_session_follow_each_other(run):
    done = run("cli", "-c", "configure", "-c", "edit system", "-c", "set location attic", "-c", "show", "-c", "commit")
    assert done.stdout.splitlines() == ["Entering configuration mode", "location attic;", "commit complete"]
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_command_that_fails_ends_it_with_1_and_a_sentence(run):
    done = run("cli", "-c", "show nonsense", "-c", "show policies")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: 'nonsense' is not known here. Expected: ")


def test_commands_come_from_standard_input_too(run):
    done = run("cli", typed="configure private\nset system location cellar\nshow | compare\nexit\n")
    assert "+   location cellar;" in done.stdout
    assert done.returncode == 0


def test_json_comes_out_of_a_pipe(run):
    done = run("cli", "-c", "show system commit | display json | no-more")
    assert '"user": "smartwired"' in done.stdout


def test_without_smartwired_it_says_how_to_start_it(tmp_path):
    env = os.environ | {"SMARTWIRE_RUN": str(tmp_path)}
    argv = [sys.executable, "-m", "smartwire", "cli", "-c", "show wires"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "smartwire daemon" in done.stderr
    assert len(done.stderr.splitlines()) == 1
