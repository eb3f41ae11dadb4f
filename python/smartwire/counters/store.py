"""The counter database: SQLite in WAL mode, one writer, any number of readers that never wait for it.

======== ============================== ===========================================================================
table    key                            content
======== ============================== ===========================================================================
raw      (ts, series), WITHOUT ROWID    readings as they were: counters raw and monotonic
minute   (series, ts), WITHOUT ROWID    buckets of the middle step, see :mod:`smartwire.counters.buckets`
quarter  (series, ts), WITHOUT ROWID    buckets of the coarse step
tick     ts                             when readings were taken
series   id                             path, kind, up to when it was rolled up, when it was seen last
epoch    (source, ts)                   a source's process, from its first reading on; source '' is the clock, set
keep     level                          the retention with which it is written
======== ============================== ===========================================================================

Raw rows are written in the order of their key: appended, never in the middle. Roll-ups are keyed the other way round,
for readers of one series over a year; to keep a tick short they are made in turn: in the course of one coarse step each
tick rolls up its share of the series, the whole last coarse step at a time, out of memory. Until then readers take raw
rows.

Size. A series takes, per raw row, 15 bytes and those of its value (1, 2, 3, 4, 6 or 8), and per bucket about 37 and
those of its value: see :func:`size_bytes`. With the default retention a series of 4-byte values needs 3.2 MB.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from smartwire.counters.buckets import TOP, Breaks, Bucket, buckets, merge
from smartwire.counters.names import about, source_of, split
from smartwire.counters.recent import Part, Recent
from smartwire.errors import Error, UsageError

SCHEMA = """
create table if not exists series(id integer primary key, path text not null unique, kind text not null,
                                  rolled integer not null, seen integer not null);
create table if not exists epoch(source text, ts integer, id text not null, primary key (source, ts)) without rowid;
create table if not exists keep(level text primary key, step integer not null, keep integer not null);
create table if not exists tick(ts integer primary key);
create table if not exists raw(ts integer, series integer, value integer not null, primary key (ts, series))
    without rowid;
create table if not exists minute(series integer, ts integer, n integer, sum integer, min real, max real, last integer,
    primary key (series, ts)) without rowid;
create table if not exists quarter(series integer, ts integer, n integer, sum integer, min real, max real, last integer,
    primary key (series, ts)) without rowid;
"""
VERSION = 1
CHUNK = 1000
"""Rows of one INSERT: half the time of one by one."""
REWIND_S = 3600
"""When the clock goes back, at most the records of so much time are given up for those to come."""
CLOCK = ""
"""The source of the marks that say that the clock was set."""


@dataclass(frozen=True)
class Retention:
    """How finely and for how long counters are kept: (step, time kept), all in seconds."""

    raw: tuple[int, int] = (10, 48 * 3600)
    minute: tuple[int, int] = (60, 15 * 86400)
    quarter: tuple[int, int] = (900, 396 * 86400)

    def __post_init__(self) -> None:
        (s0, k0), (s1, k1), (s2, k2) = self.raw, self.minute, self.quarter
        if s0 < 1 or s1 % s0 or s2 % s1 or s1 < s0 or s2 < s1:
            raise UsageError(
                f"Steps of {s0}, {s1} and {s2} s do not fit: each must be a whole multiple of the one before."
            )
        if k0 < 3 * s2 or k1 < k0 or k2 < k1:
            raise UsageError(
                f"Counters must be kept at least {3 * s2} s at the finest step, and never shorter at a coarser one."
            )

    @property
    def gap(self) -> int:
        """The longest time between two readings over which a rate is told: two may be missed."""
        return max(30, 3 * self.raw[0])


DEFAULT = Retention()


def size_bytes(series: int, retention: Retention = DEFAULT, age_s: int | None = None, value_bytes: int = 4) -> int:
    """How large the database is, to within a factor of 1.2.

    Args:
        series: how many.
        retention: what is kept.
        age_s: for how long it has been collecting (default: until nothing grows any more).
        value_bytes: of a typical reading, as SQLite packs integers: 4 up to 2^31, 6 up to 2^47, then 8.
    """

    def rows(level: tuple[int, int]) -> float:
        step, keep = level
        return min(keep, keep if age_s is None else age_s) / step

    raw = rows(retention.raw) * (15 + value_bytes)
    rolled = (rows(retention.minute) + rows(retention.quarter)) * (37 + value_bytes)
    # Pages of the roll-ups are not full: each series grows at its end, in the middle of the table.
    return int(series * (raw + rolled / 0.85)) + 65536


class Reading(NamedTuple):
    """Everything one source shows at one time.

    Attributes:
        source: what restarts as one, as in a path: wire/w.
        epoch: changes when its process does.
        paths: of its series; the same object while they are the same.
        values: of these, in their order.
    """

    source: str
    epoch: str
    paths: Sequence[str]
    values: Sequence[int]


class Behind(Error):
    """The clock is behind the newest record by more than may be given up."""


@dataclass
class Store:
    """The writer.

    Args:
        path: of the database; its directory is made. A damaged one is set aside, and `news` says so.
        retention: what is kept.
        max_series: more are not recorded; `left_out` counts them.

    Raises:
        Error: it cannot be opened.
    """

    path: Path
    retention: Retention = DEFAULT
    max_series: int = 20_000
    left_out: int = 0
    news: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise Error(f"{self.path.parent} cannot be made: {e.strerror}.") from None
        self.db = self.open()
        for level in ("raw", "minute", "quarter"):
            self.db.execute("insert or replace into keep values (?, ?, ?)", (level, *getattr(self.retention, level)))
        self.load()

    def open(self) -> sqlite3.Connection:
        """Opens or creates the database; sets a damaged one aside."""
        try:
            return connect(self.path)
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError):
                raise Error(f"{self.path} cannot be opened for writing: {e}.") from None
            aside = set_aside(self.path)
            self.news.append(f"The counter database was damaged ({e}): a new one is begun, the old one is {aside}.")
            return connect(self.path)

    def load(self) -> None:
        """What must be known of earlier records."""
        rows = self.db.execute("select path, id from series").fetchall()
        self.ids: dict[str, int] = dict(rows)
        self.known: dict[str, tuple[Sequence[str], list[int]]] = {}
        self.top = max(self.ids.values(), default=0)
        newest = "select source, id from epoch e where ts = (select max(ts) from epoch where source = e.source)"
        self.epochs: dict[str, str] = dict(self.db.execute(newest))
        self.newest: int = self.db.execute("select coalesce(max(ts), 0) from tick").fetchone()[0]
        self.recent = Recent(2 * self.retention.quarter[0] + self.retention.gap, self.newest)

    def append(self, ts: int, readings: Iterable[Reading], *, stepped: bool = False, prune: bool = True) -> None:
        """Records what was read at `ts` (unix s, a multiple of the raw step), and does its share of the upkeep.

        All or nothing: where the disk is full nothing is recorded, and the next call tries afresh.

        Args:
            ts: when.
            readings: of all sources.
            stepped: the clock was set since the last call.
            prune: also forget what is too old; not while the clock cannot be trusted.

        Raises:
            sqlite3.Error: the disk is full, or ails.
            Behind: the clock is too far behind the newest record.
        """
        db = self.db
        db.execute("begin immediate")
        try:
            if ts <= self.newest:
                self.rewind(ts)
                stepped = True
            db.execute("insert into tick values (?)", (ts,))
            if stepped:
                db.execute("insert or replace into epoch values (?, ?, 'set')", (CLOCK, ts))
            self.insert(ts, readings)
            self.roll(ts)
            if prune:
                self.prune(ts)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            self.load()
            raise
        self.newest = ts

    def insert(self, ts: int, readings: Iterable[Reading]) -> None:
        """The raw rows."""
        flat: list[int] = []
        parts: list[Part] = []
        self.left_out = 0
        for source, epoch, paths, values in readings:
            if self.epochs.get(source) != epoch:
                self.db.execute("insert or replace into epoch values (?, ?, ?)", (source, ts, epoch))
                self.epochs[source] = epoch
            numbers = self.numbers(source, paths, ts)
            self.left_out += numbers.count(0)
            if max(values, default=0) > TOP:
                values = [min(value, TOP) for value in values]
            rows: Iterable[tuple[int, int]] = zip(numbers, values, strict=True)
            if self.left_out:
                rows = (row for row in rows if row[0])
            flat += chain.from_iterable(rows)
            parts.append(Part(numbers, array("q", values)))
        for at in range(0, len(flat), 2 * CHUNK):
            part = flat[at : at + 2 * CHUNK]
            rows = ",".join(["(?1,?,?)"] * (len(part) // 2))
            self.db.execute(f"insert or replace into raw values {rows}", (ts, *part))
        self.recent.add(ts, parts)

    def numbers(self, source: str, paths: Sequence[str], ts: int) -> list[int]:
        """The numbers of the paths' series."""
        known = self.known.get(source)
        if known and known[0] is paths:
            return known[1]
        numbers = [self.ids.get(path) or self.begin(path, ts) for path in paths]
        self.known[source] = (paths, numbers)
        return numbers

    def begin(self, path: str, ts: int) -> int:
        """Gives a new series its number; 0 if there are too many."""
        if len(self.ids) >= self.max_series:
            return 0
        self.top += 1
        rolled = ts // self.retention.quarter[0] * self.retention.quarter[0]
        kind = about(split(path)[1]).kind
        self.db.execute("insert into series values (?, ?, ?, ?, ?)", (self.top, path, kind, rolled, ts))
        self.ids[path] = self.top
        return self.top

    def turn(self, ts: int) -> tuple[int, int]:
        """The numbers of the series whose turn it is, (first, last)."""
        turns = self.retention.quarter[0] // self.retention.raw[0]
        share = -(-self.top // turns)
        first = ts // self.retention.raw[0] % turns * share + 1
        return first, first + share - 1

    def roll(self, ts: int) -> None:
        """Rolls up the series whose turn it is, to the end of the last whole coarse step."""
        db, (coarse, _) = self.db, self.retention.quarter
        end = ts // coarse * coarse
        first, last = self.turn(ts)
        found = "select id, path, kind, rolled from series where id between ? and ? and rolled < ?"
        due = db.execute(found, (first, last, end)).fetchall()
        if not due:
            return
        since = min(row[3] for row in due)
        asked = (first, last, since - self.retention.gap, end)
        points = self.recent.points(*asked)
        if points is None:  # soon after a start
            points = raw_points(db, *asked)
        breaks = load_breaks(db, {source_of(row[1]) for row in due}, since - self.retention.gap, end)
        seen: list[tuple[int, int]] = []
        minutes: list[tuple[float, ...]] = []
        quarters: list[tuple[float, ...]] = []
        for number, path, kind, rolled in due:
            kept = about(split(path)[1]).kept
            own = points.get(number, [])
            begin, width, gap = rolled, self.retention.minute[0], self.retention.gap
            fine = buckets(kind, own, begin, width, gap, breaks[source_of(path)], kept)
            minutes += [(number, *row) for row in fine]
            quarters += [(number, *row) for row in merge(fine, coarse)]
            if own:
                seen.append((own[-1][0], number))
        db.executemany("update series set seen = ? where id = ?", seen)
        for table, rows in (("minute", minutes), ("quarter", quarters)):
            db.executemany(f"insert or replace into {table} values (?, ?, ?, ?, ?, ?, ?)", rows)
        db.execute("update series set rolled = ? where id between ? and ? and rolled < ?", (end, first, last, end))

    def prune(self, ts: int) -> None:
        """Forgets what is too old: raw rows two ticks at a time, roll-ups of the series whose turn it is."""
        db, keep = self.db, self.retention
        rolled = db.execute("select min(rolled) from series").fetchone()[0] or 0
        limit = min(ts - keep.raw[1], rolled - keep.gap)
        for (then,) in db.execute("select ts from tick where ts < ? order by ts limit 2", (limit,)).fetchall():
            db.execute("delete from raw where ts = ?", (then,))
            db.execute("delete from tick where ts = ?", (then,))
        first, last = self.turn(ts)
        numbers = range(first, min(last, self.top) + 1)
        for table, (_, kept) in (("minute", keep.minute), ("quarter", keep.quarter)):
            db.executemany(f"delete from {table} where series = ? and ts < {ts - kept}", [(n,) for n in numbers])
        gone = "delete from series where id between ? and ? and seen < ? returning path"
        for (path,) in db.execute(gone, (first, last, ts - keep.quarter[1])).fetchall():
            del self.ids[path]
            self.known.clear()

    def rewind(self, ts: int) -> None:
        """Gives up what is newer than the clock, if it is little: the same time is about to be recorded again.

        Raises:
            Behind: it is not little.
        """
        db = self.db
        limit = min(REWIND_S, self.retention.raw[1] // 2) // self.retention.raw[0]
        newer = db.execute("select count(*) from (select 1 from tick where ts >= ? limit ?)", (ts, limit + 1))
        if newer.fetchone()[0] > limit:
            raise Behind(
                f"The clock is {self.newest - ts} s behind the newest record: counters are not recorded until it is "
                "right. If the records are wrong, start collecting once with --drop-newer."
            )
        self.drop(ts)

    def drop(self, ts: int) -> None:
        """Deletes every record from `ts` on."""
        coarse = self.retention.quarter[0]
        end = ts // coarse * coarse
        for table in ("tick", "raw", "epoch"):
            self.db.execute(f"delete from {table} where ts >= ?", (ts,))
        for table in ("minute", "quarter"):
            self.db.execute(f"delete from {table} where ts >= ?", (end,))
        self.db.execute("update series set rolled = min(rolled, ?), seen = min(seen, ?)", (end, ts))
        self.load()

    def close(self) -> None:
        """Closes the database; its file is complete then."""
        self.db.close()


def set_aside(path: Path) -> Path:
    """Renames a damaged database; returns its new name."""
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
    return aside


def connect(path: Path) -> sqlite3.Connection:
    """A connection for the writer, with the schema in place."""
    new = not path.exists()
    db = sqlite3.connect(path, isolation_level=None, timeout=0.2, check_same_thread=False)
    try:
        db.execute("pragma journal_mode = wal")
        # A loss of power may take the last ticks, never the database: WAL needs no fsync at each commit for that.
        db.execute("pragma synchronous = normal")
        db.execute(f"pragma journal_size_limit = {16 << 20}")
        found = db.execute("pragma user_version").fetchone()[0]
        if found not in (0, VERSION):
            raise Error(f"{path} was written by another version of Smartwire (format {found}): move it away.")
        db.executescript(SCHEMA)
        db.execute(f"pragma user_version = {VERSION}")
        if new:
            os.chmod(path, 0o644)
    except BaseException:
        db.close()
        raise
    return db


def raw_points(
    db: sqlite3.Connection, first: int, last: int, since: int, until: int
) -> dict[int, list[tuple[int, int]]]:
    """(time, reading) in (since, until] of the series numbered first to last, by series."""
    # CROSS JOIN fixes the order of the loops: a look-up per tick, never a scan of all series.
    query = (
        "select raw.series, raw.ts, raw.value from tick"
        " cross join raw on raw.ts = tick.ts and raw.series between ? and ?"
        " where tick.ts >= ? and tick.ts <= ?"
    )
    found: dict[int, list[tuple[int, int]]] = {}
    for number, ts, value in db.execute(query, (first, last, since, until)):
        points = found.get(number)
        if points is None:
            points = found[number] = []
        points.append((ts, value))
    return found


def load_breaks(db: sqlite3.Connection, sources: Iterable[str], since: int, until: int) -> dict[str, Breaks]:
    """Restarts and clock steps in [since, until], by source."""
    query = "select ts from epoch where source = ? and ts between ? and ?"
    steps = frozenset(ts for (ts,) in db.execute(query, (CLOCK, since, until)))
    return {
        source: Breaks(frozenset(ts for (ts,) in db.execute(query, (source, since, until))), steps)
        for source in sources
    }


def bucket_rows(db: sqlite3.Connection, table: str, number: int, since: int, until: int) -> list[Bucket]:
    """Rolled-up buckets of a series that begin in [since, until)."""
    query = f"select ts, n, sum, min, max, last from {table} where series = ? and ts >= ? and ts < ? order by ts"
    return [Bucket(*row) for row in db.execute(query, (number, since, until))]
