"""Reading the counter database: which series there are, and one of them over time.

Readers open the database read-only, see one consistent state of it, and neither wait for the writer nor hold it up.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smartwire.counters.buckets import Bucket, buckets, merge
from smartwire.counters.names import about, source_of, split
from smartwire.counters.store import Retention, bucket_rows, load_breaks, raw_points
from smartwire.errors import Error, NotThere


def state_directory() -> Path:
    """Where Smartwire keeps what outlives it: /var/lib/smartwire, or $SMARTWIRE_STATE."""
    return Path(os.environ.get("SMARTWIRE_STATE", "/var/lib/smartwire"))


def database() -> Path:
    """The counter database."""
    return state_directory() / "counters.db"


@dataclass(frozen=True)
class Series:
    """A series that the database knows.

    Attributes:
        number: its key.
        path: see :mod:`smartwire.counters.names`.
        kind: counter or gauge.
        rolled: up to when it is in the roll-up tables, unix s.
        seen: of its last roll-up, unix s.
    """

    number: int
    path: str
    kind: str
    rolled: int
    seen: int


class History:
    """The reader.

    Args:
        path: of the database.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or database()
        if not self.path.exists():
            raise NotThere(
                f"There is no counter database {self.path}: `smartwire counters collect` (or smartwired) writes it."
            )
        try:
            self.db = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, isolation_level=None, timeout=0.1)
            levels = self.db.execute("select level, step, keep from keep").fetchall()
        except sqlite3.Error as e:
            raise Error(f"{self.path} cannot be read: {e}.") from None
        self.retention = Retention(**{level: (step, keep) for level, step, keep in levels})

    def close(self) -> None:
        """Closes the connection."""
        self.db.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """One state of the database for several queries."""
        try:
            self.db.execute("begin")
            try:
                yield
            finally:
                self.db.execute("commit")
        except sqlite3.Error as e:
            raise Error(f"{self.path} cannot be read: {e}.") from None

    def series(self, pattern: str = "*") -> list[Series]:
        """The series whose path the pattern (with * ? []) matches whole or at its end, by path."""
        with self.snapshot():
            rows = self.db.execute("select id, path, kind, rolled, seen from series order by path").fetchall()
        return [s for row in rows if matches((s := Series(*row)).path, pattern)]

    def newest(self) -> int | None:
        """The time of the last reading, unix s."""
        with self.snapshot():
            return self.db.execute("select max(ts) from tick").fetchone()[0]

    def over(self, series: Series, since: int, until: int, step: int | None = None) -> tuple[int, list[Bucket]]:
        """A series over time.

        Args:
            series: which.
            since, until: the range, unix s.
            step: width of a bucket; the finest that still has all of the range if None. It becomes a whole multiple of
                the step at which the range is kept.

        Returns:
            The step in s, and the buckets that have readings, by time.
        """
        with self.snapshot():
            newest = self.db.execute("select max(ts) from tick").fetchone()[0] or until
            table, fine = self.level(newest - since, step)
            step = max(1, round((step or fine) / fine)) * fine
            since = since // step * step
            fresh = since if table is None else max(since, self.rolled(series) // fine * fine)
            parts = bucket_rows(self.db, table, series.number, since, min(until, fresh)) if table else []
            parts += self.raw(series, fresh, until, fine)
        return step, [b for b in merge(parts, step) if b.start < until]

    def level(self, age_s: int, step: int | None) -> tuple[str | None, int]:
        """The table (None: raw) that is kept long enough, and fine enough if possible, with its step."""
        levels = ((None, self.retention.raw), ("minute", self.retention.minute), ("quarter", self.retention.quarter))
        enough = [(table, own) for table, (own, keep) in levels if age_s <= keep] or [("quarter", levels[2][1][0])]
        coarse = [(table, own) for table, own in enough if step is not None and own <= step and step % own == 0]
        return coarse[-1] if coarse else enough[0]

    def rolled(self, series: Series) -> int:
        """Up to when it is rolled up now."""
        row = self.db.execute("select rolled from series where id = ?", (series.number,)).fetchone()
        return row[0] if row else series.rolled

    def raw(self, series: Series, since: int, until: int, width: int) -> list[Bucket]:
        """Buckets from raw rows."""
        gap, number, source = self.retention.gap, series.number, source_of(series.path)
        points = raw_points(self.db, number, number, since - gap, until).get(number, [])
        found = load_breaks(self.db, {source}, since - gap, until)[source]
        return buckets(series.kind, points, since, width, gap, found, about(split(series.path)[1]).kept)


def matches(path: str, pattern: str) -> bool:
    """True where the pattern is the path, its end after a slash, or a glob of either."""
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(path, f"*/{pattern}")
