"""Numbers, tables and JSON as a person and a program want them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click


def emit(document: Any) -> None:
    """Prints one JSON document."""
    click.echo(json.dumps(document, indent=2))


def bits(bytes_per_second: float) -> str:
    """A rate as 12.3 Mbit/s."""
    return scaled(bytes_per_second * 8, "bit/s")


def size(count: float) -> str:
    """A size as 1.5 MB (powers of 1,000)."""
    return scaled(count, "B")


def scaled(value: float, unit: str) -> str:
    """Three significant figures and the prefix k, M, G or T."""
    for prefix in ("", "k", "M", "G"):
        if abs(value) < 999.5:
            return f"{value:.3g} {prefix}{unit}" if prefix or value != int(value) else f"{int(value)} {unit}"
        value /= 1000
    return f"{value:.3g} T{unit}"


def ms(nanoseconds: float | None) -> str:
    """A time in ms; a dash where it is unknown."""
    return f"{nanoseconds / 1e6:.1f} ms" if nanoseconds else "-"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """Prints a table; columns in `right` are aligned to the right. Plain, aligned text: it pipes and copies well."""
    head, *lines = table_lines(columns, rows, right)
    click.echo("\n".join([click.style(head, bold=True), *lines]))


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[int] = ()) -> list[str]:
    """The lines of :func:`table`, its head first."""
    rows = [list(columns), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(columns))]
    right = set(right)
    return [
        "  ".join(
            c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class Progress:
    """A progress bar on a terminal's standard error, nothing elsewhere.

    Args:
        what: shown before the bar.
        total: what counts as complete, in any unit; None shows a spinner.
    """

    def __init__(self, what: str, total: float | None = None, quiet: bool = False) -> None:
        self.bar = None
        if sys.stderr.isatty() and not quiet:
            from rich.console import Console
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            middle = (BarColumn(), TextColumn("{task.percentage:>3.0f}%")) if total else ()
            self.bar = Bar(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                *middle,
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self.task = self.bar.add_task(what, total=total)

    def __enter__(self) -> Progress:
        """Shows the bar."""
        if self.bar:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Removes it."""
        if self.bar:
            self.bar.stop()

    def at(self, done: float, what: str | None = None) -> None:
        """Moves the bar to `done` of the total; `what` changes its text."""
        if self.bar:
            self.bar.update(self.task, completed=done, **({"description": what} if what else {}))
