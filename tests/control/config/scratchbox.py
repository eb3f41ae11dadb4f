"""A box made of Python: a store in a scratch directory, a clock that is moved by hand, a fake data plane."""

from __future__ import annotations

from pathlib import Path

from argon2 import PasswordHasher
from smartwire.config.access import Passwords
from smartwire.config.engine import Engine
from smartwire.config.fakeplane import FakePlane
from smartwire.config.schema import load as load_schema
from smartwire.config.store import Store

SCHEMA = load_schema()


class HandClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.wall, self.mono = 1_800_000_000.0, 1000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def move(self, seconds: float) -> None:
        self.wall += seconds
        self.mono += seconds


class Box:
    """An engine and what is around it; `again()` is a new process on the same disk and planes."""

    def __init__(self, directory: Path, disk=None) -> None:
        self.directory, self.disk, self.clock, self.told = directory, disk, HandClock(), []
        self.plane = FakePlane()
        self.again()

    def again(self) -> Engine:
        passwords = Passwords(self.clock.monotonic, PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        store = Store(self.directory, SCHEMA, self.disk)
        self.engine = Engine(store, [self.plane], self.clock, self.told.append, passwords)
        self.engine.start()
        return self.engine

    def root(self, mode: str | None = "shared"):
        session = self.engine.session("root", "test")
        if mode:
            session.configure(mode)
        return session

    def commit(self, *lines: str, **how):
        session = self.root("private")
        session.load("set", "\n".join(lines))
        done = session.commit(**how)
        session.close()
        return done
