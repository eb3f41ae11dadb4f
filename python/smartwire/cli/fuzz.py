"""`smartwire sim fuzz`: random worlds on all cores."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import click

from smartwire.cli.page import command, json_option
from smartwire.errors import Error, NotThere, UsageError
from smartwire.files import read_text

LINES = 12
"""Lines of a failure that are shown; all of them are in its file."""


@command(
    "fuzz",
    synopsis=["smartwire sim fuzz [OPTIONS]", "smartwire sim fuzz --replay FILE"],
    examples=[
        ("smartwire sim fuzz --seeds 1000", "A thousand random worlds on all cores"),
        ("smartwire sim fuzz --from 5000 --minutes 10 --seeds 1000000", "As many as ten minutes allow, from seed 5000"),
        ("smartwire sim fuzz --from 4711 --seeds 1", "One world again, by its seed"),
        ("smartwire sim fuzz --replay fuzz-4711.json", "A failure again, from its file"),
    ],
    exits={1: "a world went wrong", 3: "there is no such file"},
    see=["sim", "script run"],
)
@click.option("--seeds", type=click.IntRange(1), default=200, show_default=True, help="How many worlds.")
@click.option("--from", "first", type=click.IntRange(0), default=1, show_default=True, help="The first seed.")
@click.option("--jobs", type=click.IntRange(1, 1024), help="Threads (default: one per core).")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Begin no new world after so many minutes.")
@click.option("--shrink", type=click.IntRange(0), default=2000, show_default=True,
              help="Most worlds to run to make a failure smaller.")  # fmt: skip
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), metavar="DIR",
              help="Where failures are written (default: here).")  # fmt: skip
@click.option("--replay", type=click.Path(path_type=Path), metavar="FILE", help="Run a failure again, from its file.")
@json_option
def fuzz(
    seeds: int, first: int, jobs: int | None, minutes: float | None, shrink: int, out: Path, replay: Path | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Random worlds, each a function of its seed.

    A world has phones, links, ends and applications at random, and a random choice of faults: loss, damage, copies,
    reordering, freezes, smaller paths, other ways around the wire, forged packets, quirks of the ends, tunnels, short
    memory, orders to drain, a plain wire in place of the engine, an engine that sleeps. Every byte that is read must be
    the one that was sent; the invariants are checked on every packet, at both sides of the wire; and once the faults
    are over, every connection must end as its applications meant.

    The first failure of each kind is made as small as it gets, and written to fuzz-SEED.json: --replay runs it again.
    """
    if replay:
        return again(replay, as_json)
    if not out.is_dir():
        raise NotThere(f"There is no directory {out}.")
    if first + seeds > 2**63:
        raise UsageError("Seeds end at 2^63: begin with a smaller one.")
    report = worlds(seeds, first, jobs or os.cpu_count() or 1, minutes, shrink, out, quiet=as_json)
    if as_json:
        from smartwire.cli.output import emit

        emit(report)
    else:
        show(report)
    return 1 if report["failures"] else 0


def worlds(
    seeds: int, first: int, jobs: int, minutes: float | None, shrink: int, out: Path, quiet: bool
) -> dict[str, Any]:
    """Runs worlds, and writes what failed.

    Returns:
        worlds, first_seed, virtual_hours, seconds, failures (seed, what, files).
    """
    from smartwire import _native
    from smartwire.cli.output import Progress

    began = time.monotonic()
    limit = minutes * 60 if minutes else None

    def ticks(ran: int, failed: int) -> None:
        by_time = (time.monotonic() - began) / limit if limit else 0
        bar.at(max(ran / seeds, by_time))

    with Progress(f"worlds from seed {first}", 1.0, quiet=quiet) as bar:
        ran, virtual_ns, failed = _native.fuzz_worlds(first, seeds, jobs, limit, shrink, ticks)
    return {
        "worlds": ran,
        "first_seed": first,
        "virtual_hours": virtual_ns / 3.6e12,
        "seconds": time.monotonic() - began,
        "failures": [
            {"seed": seed, "what": what, "files": [str(write(out / f"fuzz-{seed}.json", text))] if text else []}
            for seed, what, text in failed
        ],
    }


def write(path: Path, text: str) -> Path:
    """Writes a file."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise Error(f"{path} cannot be written: {e.strerror}.") from None
    return path


def show(report: dict[str, Any]) -> None:
    """Prints the report for a person."""
    for failure in report["failures"]:
        lines = failure["what"].splitlines()
        click.secho(f"seed {failure['seed']} failed", fg="red")
        for line in lines[:LINES]:
            click.echo(f"  {line}")
        if len(lines) > LINES:
            click.echo(f"  ... {len(lines) - LINES} lines more")
        for path in failure["files"]:
            click.echo(f"  again: smartwire sim fuzz --replay {path}")
    first, ran = report["first_seed"], report["worlds"]
    click.echo(
        f"{ran:,} worlds from seed {first}, {len(report['failures'])} failed "
        f"({report['virtual_hours']:.1f} h of virtual time in {report['seconds']:.0f} s)"
    )


def again(path: Path, as_json: bool) -> int:
    """Runs a failure again."""
    from smartwire import _native
    from smartwire.cli.output import emit

    what = _native.fuzz_again(read_text(path))
    if as_json:
        emit({"file": str(path), "ok": what is None, "what": what})
    else:
        click.echo(what or f"{path}: this world ends well today.")
    return 1 if what else 0
