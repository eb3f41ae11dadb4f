"""`smartwire test`: every test of the checkout, with one count at the end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import click

from smartwire.cli.page import command
from smartwire.errors import NotThere

PARTS = ("style", "rust", "bpf", "python")
LIMIT_S = 900.0
"""A part that takes longer hangs: it is ended and counts as failed."""


@dataclass
class Count:
    """Tests by what became of them, with the names of those that failed and the reasons of those left out."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    skips: list[str] = field(default_factory=list)

    def __iadd__(self, other: Count) -> Count:
        """Adds another count to this one."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        self.skips += other.skips
        return self

    def fail(self, what: str) -> None:
        """One more failure."""
        self.failed += 1
        self.failures.append(what)

    def skip(self, what: str, why: str) -> None:
        """One more test left out."""
        self.skipped += 1
        self.skips.append(f"{what}: {why}")

    def __str__(self) -> str:
        """The plain line that closes a run."""
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


@command(
    "test",
    examples=[
        ("./smartwire test", "Everything"),
        ("./smartwire test --only python --quick", "The Python tests that take no time and need no root"),
    ],
    exits={0: "all tests passed", 1: "some failed"},
)
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="Only these parts (may be given several times).")
@click.option("--quick", is_flag=True, help="Leave out what is slow or needs root.")
def test(only: tuple[str, ...], quick: bool) -> int:
    """Run every test of this checkout.

    Style (ruff), the Rust crates (cargo test), the BPF objects (rebuilt and compared with those in the repository,
    where clang is installed) and the Python tests (pytest),
    which include whole wires in network namespaces when run as root.

    At the end it names what failed and what was left out, with the reason, and closes with one line of counts.
    """
    home = checkout()
    total = Count()
    steps: dict[str, Callable[[Path, bool], Count]] = {"style": style, "rust": rust, "bpf": bpf, "python": python}
    for name in only or PARTS:
        began = time.monotonic()
        click.secho(f"==== {name}", bold=True)
        count = steps[name](home, quick)
        total += count
        click.echo(f"==== {name}: {count} in {time.monotonic() - began:.0f} s")
    for line in total.skips:
        click.echo(f"skipped  {line}")
    for line in total.failures:
        click.secho(f"FAILED   {line}", fg="red")
    click.echo(str(total))
    return 1 if total.failed else 0


def checkout() -> Path:
    """The checkout that the launcher was started from."""
    home = os.environ.get("SMARTWIRE_HOME")
    if not home or not (Path(home) / "Cargo.toml").exists():
        raise NotThere("The tests are in the source repository, not in the wheel: clone it and run ./smartwire test.")
    return Path(home)


def run(home: Path, *argv: str, shown: Callable[[str], bool] = lambda line: True) -> tuple[int, list[str]]:
    """Runs a command in the checkout, shows its output as it comes, returns its exit status and lines.

    Args:
        home: where to run it.
        argv: the command.
        shown: which lines are shown.
    """
    lines = []
    with subprocess.Popen(
        argv, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout
        limit = threading.Timer(LIMIT_S, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if shown(line):
                    sys.stdout.write(line)
                    sys.stdout.flush()
        except BaseException:
            os.killpg(process.pid, signal.SIGTERM)
            raise
        finally:
            limit.cancel()
    if process.returncode == -signal.SIGKILL:
        click.echo(f"ended: it took longer than {LIMIT_S:.0f} s")
    return process.returncode, lines


def style(home: Path, quick: bool) -> Count:
    """Python style and obvious mistakes: one check."""
    code, _ = run(home, sys.executable, "-m", "ruff", "check", "--output-format=concise", ".")
    count = Count(passed=int(code == 0))
    if code:
        count.fail("style: ruff check")
    return count


def rust(home: Path, quick: bool) -> Count:
    """The tests of all crates."""
    argv = ("cargo", "test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output")
    code, lines = run(home, *argv, shown=Unsuccessful())
    count = cargo_count(lines)
    if code and not count.failed:
        count.fail("rust: cargo test did not build or did not end")
    return count


class Unsuccessful:
    """Of cargo test's output, all but what passed tests printed."""

    def __init__(self) -> None:
        self.hidden = False

    def __call__(self, line: str) -> bool:
        """Is this line shown?"""
        if line.startswith("successes:"):
            self.hidden = True
        elif line.startswith(("failures:", "test result:")):
            self.hidden = False
        return not self.hidden


def cargo_count(lines: Iterable[str]) -> Count:
    """Reads the output of `cargo test -- --show-output`.

    A Rust test that cannot run here says so in a line `skipped: why`; to cargo it has passed, to us it has not.
    """
    count = Count()
    crate = test = ""
    for line in lines:
        if match := re.match(r"\s+(?:Running \S*\s?\S+ \(\S*/(\S+)-[0-9a-f]+\)|Doc-tests (\S+))", line):
            crate, test = match[1] or match[2], ""
        elif match := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", line):
            count.passed += int(match[1])
        elif match := re.match(r"test (\S+).* \.\.\. (FAILED|ignored)(?:, (.*))?", line):
            if match[2] == "FAILED":
                count.fail(f"{crate} {match[1]}")
            else:
                count.skip(f"{crate} {match[1]}", match[3] or "ignored")
        elif match := re.match(r"---- (\S+).* stdout ----", line):
            test = match[1]
        elif test and (match := re.match(r"skipped: (.*)", line)):
            count.passed -= 1
            count.skip(f"{crate} {test}", match[1])
            test = ""
    return count


def bpf(home: Path, quick: bool) -> Count:
    """The committed BPF objects are what their sources give: one check."""
    count = Count()
    script = home / "bpf" / "build.sh"
    if not script.exists():
        count.skip("bpf: objects match their sources", "this checkout has no bpf/build.sh")
    elif not shutil.which("clang"):
        count.skip("bpf: objects match their sources", "clang is not installed")
    elif run(home, str(script), "--check")[0]:
        count.fail("bpf: objects match their sources")
    else:
        count.passed += 1
    return count


def python(home: Path, quick: bool) -> Count:
    """The Python tests."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "junit.xml"
        chosen = ("-m", "not slow and not root") if quick else ()
        argv = (sys.executable, "-m", "pytest", "-q", "--durations=10", "--durations-min=5", f"--junitxml={results}")
        code, _ = run(home, *argv, *chosen)
        count = junit_count(results)
    if code and not count.failed:
        count.fail("python: pytest did not start or did not end")
    return count


def junit_count(path: Path) -> Count:
    """Counts of a JUnit file; zero where there is none."""
    count = Count()
    for case in ET.parse(path).getroot().iter("testcase") if path.exists() else ():
        name = f"{case.get('classname', '').replace('.', '/')} {case.get('name')}".removeprefix("tests/")
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            count.fail(name)
        elif skipped is not None:
            count.skip(name, skipped.get("message") or "no reason given")
        else:
            count.passed += 1
    return count
