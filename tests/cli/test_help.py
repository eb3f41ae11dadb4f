"""Help, completion and start-up."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import click
import pytest
from smartwire.cli.main import COMMANDS, cli
from smartwire.cli.page import Page

HERE = [n for n, e in COMMANDS.items() if n not in ("demo", "lab") and find_spec(e.where.split(":")[0])]


@pytest.mark.parametrize("name", HERE)
def test_every_page_has_its_sections(smartwire, name):
    command = cli.get_command(click.Context(cli), name)
    if isinstance(command, click.Group):
        pytest.skip("a group's pages are its commands'")
    done = smartwire(name, "--help")
    assert done.status == 0
    for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"):
        assert f"{heading}\n" in done.out


@pytest.mark.parametrize("name", HERE)
def test_the_overview_says_what_the_page_says(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.get_short_help_str(200).rstrip(".").startswith(COMMANDS[name].short.rstrip("."))


def test_see_also_names_commands_that_exist():
    for name in HERE:
        command = cli.get_command(click.Context(cli), name)
        if isinstance(command, Page):
            assert {s.split()[0] for s in command.see} <= set(COMMANDS)


def test_the_overview_is_quick_and_imports_neither_the_core_nor_rich():
    code = (
        "import sys; from smartwire.cli.main import run; run(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('smartwire._native', 'rich', 'smartwire.lab', 'asyncio')))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
    after = os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    assert used < 2.0, "it takes 0.1 s of a processor, however busy the machine is"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_names_the_command(smartwire, shell):
    done = smartwire("completion", shell)
    assert done.status == 0
    assert "_SMARTWIRE_COMPLETE" in done.out


def complete(words: str, number: int) -> list[str]:
    env = os.environ | {"_SMARTWIRE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(number)}
    done = subprocess.run([sys.executable, "-m", "smartwire"], env=env, capture_output=True, text=True, check=False)
    return [line.split(",")[1] for line in done.stdout.splitlines()]


def test_commands_options_and_interfaces_complete():
    assert complete("smartwire sta", 1) == ["status"]
    assert "--json" in complete("smartwire status --", 2)
    assert set(complete("smartwire run ", 2)) == {i for i in os.listdir("/sys/class/net") if i != "lo"}
    assert complete("smartwire run eth1 eth2 --io p", 5) == ["packet"]


def test_bash_accepts_the_script(smartwire):
    script = smartwire("completion", "bash").out
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


def test_the_version_is_that_of_the_workspace(smartwire):
    import smartwire as package

    assert smartwire("--version").out == f"smartwire {package.__version__}\n"
