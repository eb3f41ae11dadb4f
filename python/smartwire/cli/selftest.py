"""`smartwire test`: every test of the checkout, with one count at the end."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from smartwire.cli.page import command
from smartwire.errors import NotThere

PARTS = ("style", "rust", "bpf", "python")


@dataclass
class Count:
    """Tests by what became of them."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def __iadd__(self, other: Count) -> Count:
        """Adds another count to this one."""
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        return self

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
    click.echo(str(total))
    return 1 if total.failed else 0


def checkout() -> Path:
    """The checkout that the launcher was started from."""
    home = os.environ.get("SMARTWIRE_HOME")
    if not home or not (Path(home) / "Cargo.toml").exists():
        raise NotThere("The tests are in the source repository, not in the wheel: clone it and run ./smartwire test.")
    return Path(home)


def run(home: Path, *argv: str) -> tuple[int, list[str]]:
    """Runs a command in the checkout, shows its output as it comes, returns its exit status and lines."""
    lines = []
    with subprocess.Popen(argv, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            lines.append(line)
    return process.returncode, lines


def style(home: Path, quick: bool) -> Count:
    """Python style and obvious mistakes: one check."""
    code, _ = run(home, sys.executable, "-m", "ruff", "check", ".")
    return Count(passed=1) if code == 0 else Count(failed=1)


def rust(home: Path, quick: bool) -> Count:
    """The tests of all crates."""
    code, lines = run(home, "cargo", "test", "--workspace", "--locked", "--no-fail-fast")
    count = cargo_count(lines)
    if code and not count.failed:
        count.failed += 1  # it did not build
    return count


def cargo_count(lines: list[str]) -> Count:
    """Adds up the `test result:` lines of cargo test."""
    count = Count()
    for line in lines:
        if match := re.match(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored", line):
            count += Count(*map(int, match.groups()))
    return count


def bpf(home: Path, quick: bool) -> Count:
    """The committed BPF objects are what their sources give: one check."""
    script = home / "bpf" / "build.sh"
    if not shutil.which("clang") or not script.exists():
        click.echo("skipped: clang is not installed")
        return Count(skipped=1)
    code, _ = run(home, str(script), "--check")
    return Count(passed=1) if code == 0 else Count(failed=1)


def python(home: Path, quick: bool) -> Count:
    """The Python tests."""
    with tempfile.TemporaryDirectory() as scratch:
        results = Path(scratch) / "junit.xml"
        chosen = ("-m", "not slow and not root") if quick else ()
        code, _ = run(home, sys.executable, "-m", "pytest", "-q", f"--junitxml={results}", *chosen)
        count = junit_count(results)
    if code and not count.failed:
        count.failed += 1  # it did not even start
    return count


def junit_count(path: Path) -> Count:
    """Counts of a JUnit file; zero where there is none."""
    count = Count()
    if path.exists():
        for suite in ET.parse(path).getroot().iter("testsuite"):
            total, failures, errors, skipped = (
                int(suite.get(k, 0)) for k in ("tests", "failures", "errors", "skipped")
            )
            bad = failures + errors
            count += Count(max(0, total - bad - skipped), bad, skipped)
    return count
