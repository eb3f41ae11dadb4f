"""Where alarms are kept: the active ones beside the running wires, all of them in a small database.

``/run/smartwire/alarms.json`` holds what is active and who watches. It lies in memory, so it tells of a full disk, too.
``alarms.db`` in the state directory holds the history and who took note of what; both the watcher and the command line
write it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from smartwire.alarms.evaluate import Alarm, Change, State
from smartwire.counters.history import state_directory
from smartwire.errors import Error, NotThere
from smartwire.wire import registry

KEPT = 10_000
"""Alarms in the history; the oldest go first."""
SCHEMA = """
create table if not exists alarm(
    number integer primary key, name text not null, object text not null, severity text not null, text text not null,
    remedy text not null, raised real not null, cleared real,
    acknowledged real, acknowledged_by text not null default '')
"""
COLUMNS = "number, name, object, severity, text, remedy, raised, cleared, acknowledged, acknowledged_by"


def active_path() -> Path:
    """The active alarms."""
    return registry.root() / "alarms.json"


def journal_path() -> Path:
    """The history."""
    return state_directory() / "alarms.db"


@dataclass
class Journal:
    """The history of alarms, and who took note of them.

    Args:
        path: of the database.
    """

    path: Path

    @contextlib.contextmanager
    def open(self, *, write: bool) -> Any:
        """A connection for one use: alarms are rare, and a disk that is full today may not be tomorrow."""
        if write:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.path.exists():
            raise NotThere("No alarm was ever recorded here.")
        db = sqlite3.connect(f"file:{self.path}?mode={'rwc' if write else 'ro'}", uri=True, timeout=1.0)
        try:
            if write:
                db.execute(SCHEMA)
            with db:
                yield db
        finally:
            db.close()

    def restore(self) -> State:
        """The state in which the last watcher left it."""
        if not self.path.exists():
            return State()
        with self.open(write=False) as db:
            found = [Alarm(*row) for row in db.execute(f"select {COLUMNS} from alarm where cleared is null")]
            number = db.execute("select coalesce(max(number), 0) from alarm").fetchone()[0]
        return State({(alarm.name, alarm.object): alarm for alarm in found}, {}, number)

    def record(self, changes: Iterable[Change]) -> None:
        """Writes down what was raised and cleared."""
        with self.open(write=True) as db:
            for change in changes:
                a = change.alarm
                add = f"insert or ignore into alarm ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
                db.execute(add, tuple(asdict(a).values()))
                if a.cleared is not None:
                    db.execute("update alarm set cleared = ? where number = ?", (a.cleared, a.number))
            db.execute(
                "delete from alarm where cleared is not null and number <= (select max(number) from alarm) - ?", (KEPT,)
            )

    def noted(self, active: Iterable[Alarm]) -> list[Alarm]:
        """The alarms with who has taken note of them."""
        active = list(active)
        if not active or not self.path.exists():
            return active
        with self.open(write=False) as db:
            query = "select number, acknowledged, acknowledged_by from alarm where acknowledged is not null"
            found = {number: (when, who) for number, when, who in db.execute(query + " and cleared is null")}
        return [
            replace(a, acknowledged=found[a.number][0], acknowledged_by=found[a.number][1]) if a.number in found else a
            for a in active
        ]

    def history(self, limit: int) -> list[Alarm]:
        """The latest alarms, cleared ones included, the newest first."""
        with self.open(write=False) as db:
            rows = db.execute(f"select {COLUMNS} from alarm order by number desc limit ?", (limit,))
            return [Alarm(*row) for row in rows]

    def acknowledge(self, number: int, who: str, now: float) -> Alarm:
        """Somebody takes note of an alarm.

        Raises:
            NotThere: no such alarm.
            Error: it cannot be written down.
        """
        if not self.path.exists():
            raise NotThere("No alarm was ever recorded here.")
        try:
            with self.open(write=True) as db:
                note = (
                    "update alarm set acknowledged = ?, acknowledged_by = ? where number = ? and acknowledged is null"
                )
                db.execute(note, (now, who, number))
                row = db.execute(f"select {COLUMNS} from alarm where number = ?", (number,)).fetchone()
        except sqlite3.Error as e:
            raise Error(f"{self.path} cannot be written ({e}): run it with sudo, or make room on its disk.") from None
        if not row:
            raise NotThere(f"There is no alarm {number}: `smartwire alarms --history` shows them.")
        return Alarm(*row)


def publish(active: Iterable[Alarm], now: float) -> None:
    """Makes the active alarms known to whoever looks; worst first."""
    path = active_path()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    content = {"pid": os.getpid(), "unix_s": now, "alarms": [asdict(a) for a in active]}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(content))
    fresh.rename(path)


@dataclass(frozen=True)
class Active:
    """The active alarms as last published.

    Attributes:
        alarms: worst first, then the oldest.
        unix_s: when; None if nobody ever watched.
    """

    alarms: tuple[Alarm, ...]
    unix_s: float | None

    def watched(self, now: float) -> bool:
        """True while somebody watches: the list is of now."""
        return self.unix_s is not None and abs(now - self.unix_s) < 60.0


def active() -> Active:
    """The active alarms."""
    try:
        content = json.loads(active_path().read_text())
        return Active(tuple(Alarm(**alarm) for alarm in content["alarms"]), content["unix_s"])
    except FileNotFoundError:
        return Active((), None)
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise Error(f"{active_path()} cannot be read: {e}.") from None
