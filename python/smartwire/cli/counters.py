"""`smartwire counters`: collect the counters of all wires, list the series, show them over time."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from smartwire.cli.collect import collect
from smartwire.cli.page import DURATION, argument, command, json_option

if TYPE_CHECKING:
    from smartwire.counters.buckets import Bucket
    from smartwire.counters.history import History, Series

EXITS = {3: "there is no database yet, or no such series"}
PATTERN = "A path or its end, with * for anything: rx_bytes, port/access/rx_bytes, 'reason/*/refused'."
WIDTH = 60
HEIGHT = 8


@click.group("counters", context_settings={"help_option_names": ["-h", "--help"]})
def counters() -> None:
    """Counters over time: collect, list, show.

    Every counter of every wire, port, reason and worker, kept in a database: each 10 s for 48 hours, each minute for
    15 days, each quarter of an hour for 13 months. smartwired collects by itself; beside a wire that runs alone, run
    smartwire counters collect.
    """


@command(
    "list",
    examples=[
        ("smartwire counters list", "Every series that was ever collected"),
        ("smartwire counters list 'port/*/rx_bytes'", "Received bytes of all ports"),
    ],
    exits=EXITS,
    see=["counters show", "counters collect"],
)
@argument("pattern", default="*", help=PATTERN)
@json_option
def list_(pattern: str, as_json: bool) -> None:
    """The series in the database.

    One row per series: its path, whether it counts or goes up and down, and what it is.
    """
    from smartwire.cli.output import emit, table
    from smartwire.counters.history import History
    from smartwire.counters.names import about, split

    found = select(History(), pattern)
    known = [(s, about(split(s.path)[1])) for s in found]
    if as_json:
        emit({"series": [{"path": s.path, "kind": s.kind, "unit": m.unit, "text": m.text} for s, m in known]})
    else:
        table(("SERIES", "KIND", "UNIT", "WHAT IT IS"), [(s.path, s.kind, m.unit, m.text) for s, m in known])


@command(
    "show",
    examples=[
        ("smartwire counters show port/core/rx_bytes --since 2h --step 1m", "What came from the internet"),
        ("smartwire counters show 'reason/*/refused' --since 1d", "Why connections were left alone, a curve each"),
        ("smartwire counters show flows --since 30d --json", "For a program"),
    ],
    exits=EXITS,
    see=["counters list", "status"],
)
@argument("pattern", help=PATTERN)
@click.option("--since", type=DURATION, default="1h", show_default=True, help="How far back to begin.")
@click.option("--until", type=DURATION, default="0s", show_default=True, help="How far back to end.")
@click.option("--step", type=DURATION, help="Time of one row (default: so that about 60 fit).")
@click.option("--plain", is_flag=True, help="Only the table, no curve, on a terminal too.")
@json_option
def show(pattern: str, since: float, until: float, step: float | None, plain: bool, as_json: bool) -> None:
    """Counters over time.

    One series is drawn as a curve on a terminal and printed row by row; of several each has one line. Counters are
    shown as rates, with the slowest and the fastest rate between two readings; restarts of the wire, pauses of the
    collector and steps of the clock are seen and never make a rate. A dash: nothing is known.
    """
    from smartwire.counters.history import History
    from smartwire.errors import UsageError

    if since <= until:
        raise UsageError("The range is empty: --since must be further back than --until.")
    history = History()
    found = select(history, pattern)
    now = int(time.time())
    begin, end = now - int(since), now - int(until)
    wanted = int(step) if step else pick_step(end - begin)
    curves = [(s, *history.over(s, begin, end, max(1, wanted))) for s in found]
    if as_json:
        from smartwire.cli.output import emit

        emit({"since": begin, "until": end, "series": [document(*curve) for curve in curves]})
    elif len(curves) == 1:
        one(*curves[0], begin, end, drawn=sys.stdout.isatty() and not plain)
    else:
        several(curves, begin, end)


def select(history: History, pattern: str) -> list[Series]:
    """The series that a pattern means; a sentence if there is none."""
    from smartwire.errors import NotThere

    found = history.series(pattern)
    if not found:
        raise NotThere(f"No series matches {pattern!r}: `smartwire counters list` shows all.")
    return found


def pick_step(seconds: int) -> int:
    """A round step of which about 60 make the range."""
    steps = (10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
    return next((s for s in steps if s * WIDTH >= seconds), 7 * 86400)


def document(series: Series, step: int, found: Sequence[Bucket]) -> dict[str, Any]:
    """A series over time for a program; rates per second of a counter."""
    points = [{"unix_s": b.start, "mean": b.mean, "min": known(b, b.min), "max": known(b, b.max), "last": b.last}
              for b in found]  # fmt: skip
    return {"path": series.path, "kind": series.kind, "step_s": step, "points": points}


def known(bucket: Bucket, value: float) -> float | None:
    """A value of a bucket; None where nothing is known."""
    return value if bucket.n else None


def row(found: Sequence[Bucket], begin: int, end: int, step: int) -> list[float | None]:
    """One mean per step of the range."""
    means = {b.start: b.mean for b in found}
    return [means.get(start) for start in range(begin // step * step, end, step)]


def writer(series: Series) -> Any:
    """How a value of the series is written: bits and bytes, a rate or a number."""
    from smartwire.cli.output import bits, scaled, size
    from smartwire.counters.names import about, split

    unit = about(split(series.path)[1]).unit
    if series.kind == "counter":
        return bits if unit == "bytes" else (lambda value: scaled(value, "/s"))
    return size if unit == "bytes" else (lambda value: f"{value:,.4g}" if value != int(value) else f"{int(value):,}")


def one(series: Series, step: int, found: Sequence[Bucket], begin: int, end: int, *, drawn: bool) -> None:
    """Prints one series: a curve, and a row per step."""
    from smartwire.cli.chart import plot
    from smartwire.cli.output import table

    write = writer(series)
    if drawn:
        width = min(100, shutil.get_terminal_size().columns - 18)
        values = row(found, begin, end, step)
        click.secho(f"{series.path}, {clock(begin, True)} to {clock(end, True)}", bold=True)
        for line in plot(values, max(10, width), HEIGHT, write):
            click.echo(line)
        click.echo()
    dated = end - begin > 86400
    dash = "-"
    rows = [
        (clock(b.start, dated), *((write(b.mean), write(b.min), write(b.max)) if b.mean is not None else (dash,) * 3))
        for b in found
    ]
    table(("TIME", "MEAN", "MIN", "MAX"), rows, right=(1, 2, 3))
    if not rows:
        click.echo("(nothing was recorded in this time)")


def several(curves: Sequence[tuple[Series, int, Sequence[Bucket]]], begin: int, end: int) -> None:
    """Prints a line per series."""
    from smartwire.cli.chart import spark
    from smartwire.cli.output import table

    rows = []
    for series, step, found in curves:
        write, values = writer(series), row(found, begin, end, step)
        there = [v for v in values if v is not None]
        figures = (sum(there) / len(there), max(there), there[-1]) if there else ()
        rows.append((series.path, spark(values, 40), *(map(write, figures) if figures else ("-",) * 3)))
    table(("SERIES", f"{clock(begin, True)} TO {clock(end, True)}", "MEAN", "MAX", "LAST"), rows, right=(2, 3, 4))


def clock(unix_s: int, dated: bool = False) -> str:
    """A time of day, with its date if asked for."""
    return time.strftime("%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S", time.localtime(unix_s))


for each in (list_, show, collect):
    counters.add_command(each)
