"""Operational commands about alarms and counters, and the archive for support."""

from __future__ import annotations

import io
import json
import os
import platform
import subprocess
import tarfile
from dataclasses import asdict
from typing import Any

import smartwire
from smartwire.alarms import journal
from smartwire.alarms.catalogue import KINDS
from smartwire.config import text
from smartwire.config.commands import Answer, Number, Pattern, command
from smartwire.config.operations import moment, table
from smartwire.config.pseudonyms import hider
from smartwire.counters.buckets import Bucket
from smartwire.counters.history import History
from smartwire.counters.sources import Wires
from smartwire.wire import registry
from smartwire.wire.stats import StatsPage


@command("show alarms")
def show_alarms(session: Any, *, history: bool = False, limit: Number = 50) -> Answer:
    """Show what is wrong now, since when, and what to do.

    history: also those that are over, the newest first.
    limit: rows of the history at most.
    """
    if history:
        kept = journal.Journal(journal.journal_path())
        past = kept.history(limit) if kept.path.exists() else []
        rows = [(a.number, a.severity, a.name, a.object, moment(a.raised), _ended(a)) for a in past]
        head = ("Number", "Severity", "Alarm", "Object", "Raised", "Cleared")
        return Answer(table(head, rows) if rows else "No alarms.\n", [asdict(a) for a in past])
    found = journal.Journal(journal.journal_path()).noted(journal.active().alarms)
    lines = []
    for a in found:
        noted = f", acknowledged by {a.acknowledged_by}" if a.acknowledged else ""
        lines += [f"{a.severity:<8}  {a.number}  {a.name}  {a.object}  since {moment(a.raised)}{noted}\n"]
        lines += [f"          {a.text}\n          {a.remedy}\n"]
    return Answer("".join(lines) or "No alarms.\n", [asdict(a) for a in found])


def _ended(alarm: Any) -> str:
    return moment(alarm.cleared) if alarm.cleared else "-"


@command("show alarms-catalogue")
def show_catalogue(session: Any) -> Answer:
    """Show every alarm that there is, when it is raised, and what to do then."""
    kinds = list(KINDS.values())
    lines = [f"{k.name} ({k.severity}): {k.title}\n  raised   {k.raised}\n  remedy   {k.remedy}\n" for k in kinds]
    return Answer("".join(lines), [{"name": k.name, "severity": k.severity, "title": k.title} for k in kinds])


@command("request alarm acknowledge", permission="operate")
def acknowledge(session: Any, number: Number) -> Answer:
    """Take note of an alarm, so that others see that somebody has.

    number: of the alarm, as `show alarms` says.
    """
    done = journal.Journal(journal.journal_path()).acknowledge(number, session.who.user, session.engine.clock.time())
    return Answer(f"alarm {number} {done.name} is acknowledged.\n", asdict(done))


@command("show counters")
def show_counters(session: Any, *, match: Pattern = "*", zero: bool = False) -> Answer:
    """Show the counters of the running wires, now.

    match: only those whose name has this in it.
    zero: also those that are zero.
    """
    found = {view.name: view.values for view in Wires().look()}
    wanted = match.strip("*")
    rows = [
        (wire, name, f"{value:,}")
        for wire, values in found.items()
        for name, value in values.items()
        if wanted in name and (value or zero)
    ]
    return Answer(table(("Wire", "Counter", "Value"), rows) if rows else "No counters.\n", found)


@command("show counters-history")
def show_counter_history(session: Any, series: Pattern, *, hours: Number = 1) -> Answer:
    """Show a counter over time, from the database.

    series: its path or the end of it, such as port/access/rx_bytes.
    hours: how far back.
    """
    history = History()
    try:
        until = history.newest() or 0
        data = []
        rows: list[tuple[Any, ...]] = []
        for each in history.series(series)[:20]:
            step, buckets = history.over(each, until - hours * 3600, until)
            data.append({"path": each.path, "step_s": step, "buckets": [_document(b) for b in buckets]})
            rows += [(moment(b.start), each.path, *_bucket(b)) for b in buckets[-60:]]
    finally:
        history.close()
    return Answer(table(("Time", "Series", "Mean", "Least", "Most"), rows) if rows else "No such series.\n", data)


def _document(bucket: Bucket) -> dict[str, Any]:
    """A bucket for a program; None where nothing is known."""
    known = {"mean": bucket.mean, "min": bucket.min, "max": bucket.max} if bucket.n else {}
    return {"start": bucket.start, "mean": None, "min": None, "max": None, **known}


def _bucket(bucket: Any) -> tuple[str, str, str]:
    """What is shown of a bucket."""
    values = [getattr(bucket, name, None) for name in ("mean", "min", "max")]
    return tuple("-" if v is None else f"{v:,.1f}" for v in values)  # type: ignore[return-value]


LOOKS = (
    ("ip", "-s", "-d", "link"),
    ("ip", "-br", "address"),
    ("df", "-h"),
    ("free", "-m"),
    ("uptime",),
)
"""What the machine is asked for the archive."""


@command("request support information", permission="everything")
def support_information(session: Any) -> Answer:
    """Write an archive for support: configuration without secrets, state, counters, alarms, logs."""
    engine = session.engine
    parts = {
        "about.json": json.dumps(
            {"smartwire": smartwire.__version__, "python": platform.python_version(), "kernel": platform.release(),
             "machine": platform.machine(), "processors": os.cpu_count()}, indent=1),
        "configuration.txt": text.show(engine.running.config),
        "commits.json": json.dumps(session.history(), indent=1),
        "differences.json": json.dumps([d for p in engine.planes for d in p.differences(engine.setup)], indent=1),
        "audit.json": json.dumps(engine.audit.last(1000), indent=1),
        "alarms.json": json.dumps([asdict(a) for a in journal.active().alarms], indent=1),
    }  # fmt: skip
    for running in registry.running():
        parts[f"wires/{running.name}.json"] = json.dumps(running.info, indent=1)
        if running.stats.exists():
            parts[f"wires/{running.name}.counters.json"] = json.dumps(StatsPage(running.stats).read().values, indent=1)
    for look in LOOKS:
        parts[f"machine/{look[0]}-{len(look)}.txt"] = _asked(look)
    logs = engine.store.directory.parent / "logs"
    for log in sorted(logs.glob("*.log")) if logs.is_dir() else []:
        parts[f"logs/{log.name}"] = log.read_text(errors="replace")[-1_000_000:]
    hide = hider(engine.setup.config, engine.store.directory)
    parts = {name: hide(content) for name, content in parts.items()}
    target = engine.store.directory / f"support-{int(engine.clock.time())}.tar.gz"
    write_archive(target, parts)
    return Answer(f"{target} was written ({len(parts)} parts).\n", {"file": str(target), "parts": sorted(parts)})


def write_archive(target: Any, parts: dict[str, str]) -> None:
    """A tar.gz that only root can read."""
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(file, "wb") as out, tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in parts.items():
            data = content.encode("utf-8", "replace")
            info = tarfile.TarInfo(f"smartwire-support/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def _asked(argv: tuple[str, ...]) -> str:
    """What a program of the machine says."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"{argv[0]} cannot be asked: {e}\n"
