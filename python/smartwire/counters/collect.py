"""The collector: at each step of the clock it reads all sources and records what they show.

Whatever goes wrong - a wire that hangs, a full disk, a damaged database, a clock that is set - costs readings, never
the process: it is said once in `news`, stands in `health` while it lasts, and is tried again at the next tick.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from smartwire.counters.sources import Source
from smartwire.counters.store import DEFAULT, Behind, Reading, Retention, Store, set_aside
from smartwire.errors import Error

STEP_S = 1.0
"""The clock was set if it went so much faster or slower than time between two ticks."""
TRUST_S = 3600.0
"""For so long after the clock was set nothing old is forgotten: a wrong clock must not empty the database."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Clock:
    """The machine's time; tests have their own."""

    def wall(self) -> float:
        """Unix time, s: may be set."""
        return time.time()

    def steady(self) -> float:
        """Time since the boot, sleep included, s: is never set."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True)
class Health:
    """How the collector does.

    Attributes:
        trouble: why nothing is recorded now; None while all is well.
        full: the trouble is a lack of room.
        missed: ticks not recorded since the trouble began.
        left_out: series not recorded because there are too many.
        stepped_s: by how much the clock was set at the last tick; None if it was not.
    """

    trouble: str | None = None
    full: bool = False
    missed: int = 0
    left_out: int = 0
    stepped_s: float | None = None


@dataclass
class Collector:
    """Records the sources' counters.

    Args:
        path: of the database.
        sources: called at each tick.
        retention: what is kept.
        clock: the time.
        say: takes a sentence for the log.
        drop_newer: at the start, delete records that are newer than the clock.

    Raises:
        Error: another process collects into this database.
    """

    path: Path
    sources: Sequence[Source]
    retention: Retention = DEFAULT
    clock: Clock = field(default_factory=Clock)
    say: Callable[[str], None] = lambda sentence: None
    drop_newer: bool = False
    health: Health = field(default_factory=Health)
    latest: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store: Store | None = None
        self.offset: float | None = None
        self.distrust_until = float("-inf")
        self.last_ts = 0
        self.silent: set[int] = set()
        self.lock = claim(self.path)

    def close(self) -> None:
        """Closes the database and lets others collect."""
        if self.store:
            self.store.close()
            self.store = None
        if self.lock is not None:
            os.close(self.lock)
            self.lock = None

    def wait_s(self) -> float:
        """Seconds until the next tick is due."""
        step = self.retention.raw[0]
        return step - self.clock.wall() % step

    def run(self, stop: threading.Event, then: Callable[[Collector], None] = lambda collector: None) -> None:
        """Ticks until told to stop; `then` is called after each tick. A bug costs a tick, and is said."""
        while not stop.wait(self.wait_s()):
            try:
                if self.tick():
                    then(self)
            except Exception as e:
                self.say(f"internal error: {type(e).__name__}: {e}. Please report it; collecting goes on.")

    def tick(self) -> bool:
        """Reads all sources and records them; False where that was done at this time already. Raises nothing."""
        step = self.retention.raw[0]
        stepped = self.look_at_clock()
        # A timer may fire a little early: such a tick belongs to the step that is about to begin.
        ts = int((self.clock.wall() + 0.01 * step) // step) * step
        if ts == self.last_ts and stepped is None:
            return False
        self.last_ts = ts
        self.latest = self.read()
        self.health = replace(self.health, stepped_s=stepped)
        self.record(ts, stepped is not None)
        return True

    def look_at_clock(self) -> float | None:
        """By how much the clock was set since the last tick; None if it was not."""
        steady = self.clock.steady()
        offset, before = self.clock.wall() - steady, self.offset
        self.offset = offset
        if before is None or abs(offset - before) <= STEP_S:
            return None
        self.distrust_until = steady + TRUST_S
        self.say(f"The clock was set {'forward' if offset > before else 'back'} by {abs(offset - before):.1f} s.")
        return offset - before

    def read(self) -> list[Reading]:
        """What all sources show; one that fails is said once, and left out."""
        found: list[Reading] = []
        for source in self.sources:
            name = getattr(source, "__name__", type(source).__name__)
            try:
                found += source()
                self.silent.discard(id(source))
            except (Error, OSError, ValueError) as e:
                if id(source) not in self.silent:
                    self.say(f"{name} cannot be read: {e}")
                self.silent.add(id(source))
        return found

    def record(self, ts: int, stepped: bool) -> None:
        """Writes a tick; trouble is said when it begins and when it ends."""
        try:
            store = self.open(ts)
            store.append(ts, self.latest, stepped=stepped, prune=self.clock.steady() >= self.distrust_until)
        except Behind as e:
            self.trouble(str(e), full=False)
        except (sqlite3.Error, OSError) as e:
            self.ails(e)
        except Error as e:
            self.trouble(str(e), full=False)
        else:
            self.well(store.left_out)

    def open(self, ts: int) -> Store:
        """The store; opened, or opened again where its file was taken away."""
        if self.store and not self.path.exists():
            self.store.close()
            self.store = None
            self.say(f"{self.path} is gone: a new one is begun.")
        if not self.store:
            self.store = Store(self.path, self.retention)
            for sentence in self.store.news:
                self.say(sentence)
            if self.drop_newer:
                self.store.drop(ts)
        return self.store

    def ails(self, error: sqlite3.Error | OSError) -> None:
        """What to do about an error of the database or the disk."""
        code = getattr(error, "sqlite_errorcode", None)
        full = code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in NO_ROOM
        if code in DAMAGED and self.store:
            self.store.close()
            self.store = None
            aside = set_aside(self.path)
            self.trouble(f"The counter database was damaged: a new one is begun, the old one is {aside}.", full=False)
            return
        if code is not None and not full and self.store:
            # An I/O error is also what a full disk looks like to SQLite's shared memory.
            full = free_bytes(self.path) < 1 << 20
        remedy = "make room on its disk" if full else "look after its disk"
        self.trouble(f"Counters are not recorded: {self.path}: {error}; {remedy}.", full=full)

    def trouble(self, sentence: str, *, full: bool) -> None:
        """Nothing was recorded at this tick."""
        if self.health.trouble is None:
            self.say(sentence)
        self.health = replace(self.health, trouble=sentence, full=full, missed=self.health.missed + 1)

    def well(self, left_out: int) -> None:
        """A tick was recorded."""
        if self.health.trouble is not None:
            self.say(f"Counters are recorded again; {self.health.missed} ticks are missing.")
        if left_out and not self.health.left_out:
            self.say(f"There are too many series: {left_out} are not recorded.")
        self.health = replace(self.health, trouble=None, full=False, missed=0, left_out=left_out)


def claim(path: Path) -> int | None:
    """Makes this process the only one that collects into the database; None where no lock can be had (a full disk)."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as e:
        if e.errno in NO_ROOM:
            return None
        reason = f"{path.parent} cannot be written ({e.strerror})"
        raise Error(f"{reason}: run it with sudo, or set SMARTWIRE_STATE.") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip()
        os.close(lock)
        raise Error(f"Counters are already being collected into {path} (pid {pid}): stop that first.") from None
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def free_bytes(path: Path) -> int:
    """Room left on the disk of `path` for anyone, in bytes."""
    found = os.statvfs(path.parent)
    return found.f_bavail * found.f_frsize
