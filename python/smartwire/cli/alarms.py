"""`smartwire alarms`: what is wrong now, what was, and what each alarm means."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from smartwire.cli.page import command, json_option

if TYPE_CHECKING:
    from smartwire.alarms.evaluate import Alarm

COLOURS = {"critical": "red", "major": "red", "minor": "yellow", "warning": "yellow"}


@command(
    "alarms",
    synopsis=["smartwire alarms [--history [--limit N] | --catalogue | --acknowledge NUMBER] [--json]"],
    examples=[
        ("smartwire alarms", "What is wrong now"),
        ("smartwire alarms --acknowledge 17", "Take note of one, so that others see that somebody has"),
        ("smartwire alarms --catalogue", "Every alarm that there is"),
    ],
    exits={3: "no such alarm"},
    see=["status", "counters collect"],
)
@click.option("--history", is_flag=True, help="Also those that are over, the newest first.")
@click.option("--catalogue", is_flag=True, help="Every alarm that there is, with its conditions and its remedy.")
@click.option("--acknowledge", "number", type=click.IntRange(1), metavar="NUMBER", help="Take note of an alarm.")
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="Rows of a history at most.")
@json_option
def alarms(history: bool, catalogue: bool, number: int | None, limit: int, as_json: bool) -> None:
    """What is wrong now, since when, and what to do.

    Alarms are raised by smartwired, or by smartwire counters collect where wires run alone. Each has a severity
    (critical, major, minor, warning), is about one object, and ends by itself when its condition does.
    """
    if sum((history, catalogue, number is not None)) > 1:
        raise click.UsageError("--history, --catalogue and --acknowledge exclude each other.")
    if catalogue:
        show_catalogue(as_json)
    elif number is not None:
        acknowledge(number, as_json)
    elif history:
        show_history(limit, as_json)
    else:
        show_active(as_json)


def show_active(as_json: bool) -> None:
    """Prints the active alarms, with their remedies."""
    from dataclasses import asdict

    from smartwire.alarms import journal
    from smartwire.cli.output import emit

    found = journal.active()
    now = time.time()
    watched = found.watched(now)
    if as_json:
        emit({"watched": watched, "unix_s": found.unix_s, "alarms": [asdict(a) for a in found.alarms]})
        return
    if not watched:
        since = f" since {clock(found.unix_s)}" if found.unix_s else ""
        text = f"nobody watches{since}: smartwired, or `smartwire counters collect`, raises alarms"
        click.echo(click.style(text, fg="yellow"), err=True)
    for alarm in found.alarms:
        note = f", acknowledged by {alarm.acknowledged_by}" if alarm.acknowledged else ""
        head = click.style(f"{alarm.severity:<8}", fg=COLOURS[alarm.severity], bold=True)
        click.echo(f"{head}  {alarm.number}  {alarm.name}  {alarm.object}  since {clock(alarm.raised)}{note}")
        click.echo(f"          {alarm.text}")
        click.echo(f"          {alarm.remedy}")
    if not found.alarms:
        click.echo("(no alarms)")


def show_history(limit: int, as_json: bool) -> None:
    """Prints the latest alarms."""
    from dataclasses import asdict

    from smartwire.alarms.journal import Journal, journal_path
    from smartwire.cli.output import emit, table

    found = Journal(journal_path()).history(limit)
    if as_json:
        emit({"alarms": [asdict(a) for a in found]})
        return
    table(("NUMBER", "SEVERITY", "ALARM", "OBJECT", "RAISED", "CLEARED", "ACKNOWLEDGED"), rows(found), right=(0,))


def rows(found: Sequence[Alarm]) -> list[tuple[str, ...]]:
    """A row per alarm."""
    return [
        (
            str(a.number),
            a.severity,
            a.name,
            a.object,
            clock(a.raised),
            clock(a.cleared) if a.cleared else "-",
            f"{clock(a.acknowledged)} {a.acknowledged_by}" if a.acknowledged else "-",
        )
        for a in found
    ]


def show_catalogue(as_json: bool) -> None:
    """Prints every alarm that there is."""
    from smartwire.alarms.catalogue import KINDS
    from smartwire.cli.output import emit

    kinds = [{"name": k.name, "severity": k.severity, "type": k.type, "cause": k.cause, "title": k.title,
              "raised": k.raised, "cleared": k.cleared, "remedy": k.remedy} for k in KINDS.values()]  # fmt: skip
    if as_json:
        emit({"alarms": kinds})
        return
    for kind in kinds:
        click.secho(f"{kind['name']} ({kind['severity']}): {kind['title']}", bold=True)
        for label in ("raised", "cleared", "remedy"):
            click.echo(f"  {label:<8} {kind[label]}")


def acknowledge(number: int, as_json: bool) -> None:
    """Writes down who has taken note."""
    import getpass
    import os
    from dataclasses import asdict

    from smartwire.alarms.journal import Journal, journal_path
    from smartwire.cli.output import emit

    alarm = Journal(journal_path()).acknowledge(number, os.environ.get("SUDO_USER") or getpass.getuser(), time.time())
    if as_json:
        emit(asdict(alarm))
    else:
        when = clock(alarm.acknowledged or 0.0)
        click.echo(f"alarm {number} {alarm.name}: acknowledged by {alarm.acknowledged_by} at {when}")


def clock(unix_s: float) -> str:
    """A date and a time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(unix_s))
