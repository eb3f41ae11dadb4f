"""Counters and alarms as a plane: the collector and the watcher, in a thread of smartwired."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from smartwire.alarms.catalogue import Settings
from smartwire.alarms.journal import Journal, journal_path
from smartwire.alarms.watch import Sink, Watcher
from smartwire.config.plane import Setup
from smartwire.config.schema import Problem
from smartwire.counters.collect import Collector
from smartwire.counters.history import database
from smartwire.counters.sources import Proxies, Wires
from smartwire.counters.store import Retention
from smartwire.errors import Error
from smartwire.wire import roundtrips

HOUR, DAY = 3600, 86_400
MONTH = 61 * DAY // 2


def retention(setup: Setup) -> Retention:
    """What ``counters`` says."""

    def value(*path: str) -> int:
        return setup.config.value(("counters", *path))

    raw = (value("interval"), value("retention", "raw") * HOUR)
    return Retention(raw, (60, value("retention", "minutes") * DAY), (900, value("retention", "quarters") * MONTH))


def settings(setup: Setup) -> Settings:
    """What ``alarms`` says."""
    own = setup.config.get(("alarms", "alarm"), {})
    return Settings(
        reset_rate=float(setup.config.value(("alarms", "reset-rate"))),
        bypass_on_reset_rate=setup.config.value(("alarms", "bypass-on-reset-rate")),
        disk_free=setup.config.value(("alarms", "disk-free")) / 100,
        severities={name: entry["severity"] for name, entry in own.items() if "severity" in entry} or None,
        disabled=frozenset(name for name, entry in own.items() if entry.get("disabled")),
    )


class CollectPlane:
    """Collects as long as smartwired lives; a new retention or interval starts the collector anew.

    Args:
        say: takes sentences for the log.
        sinks: who is told of alarms; may change.
        rolled_back: says why the configuration is not the one last committed.
    """

    name = "counters"

    def __init__(
        self,
        say: Callable[[str], None],
        sinks: Sequence[Sink] = (),
        rolled_back: Callable[[], str | None] = lambda: None,
    ) -> None:
        self.say, self.sinks, self.rolled_back = say, sinks, rolled_back
        self.kept: Retention | None = None
        self.collector: Collector | None = None
        self.watcher: Watcher | None = None
        self.thread: threading.Thread | None = None
        self.stop = threading.Event()

    def check(self, setup: Setup) -> list[Problem]:
        """A retention that the database cannot keep, and alarms that are not in the catalogue."""
        from smartwire.alarms.catalogue import KINDS

        found = []
        try:
            retention(setup)
        except Error as e:
            found.append(Problem(("counters",), str(e)))
        for name in setup.config.get(("alarms", "alarm"), {}):
            if name not in KINDS:
                found.append(
                    Problem(("alarms", "alarm", name), f"there is no such alarm; there are: {', '.join(KINDS)}.")
                )
        return found

    def differences(self, setup: Setup) -> list[str]:
        """A collector that is not there, or keeps other times; settings that are not the configured ones."""
        if self.collector is None or self.thread is None or not self.thread.is_alive():
            return ["counters are not collected."]
        if self.kept != retention(setup):
            return ["counters are not kept as configured."]
        return [] if self.watcher and self.watcher.settings == settings(setup) else ["alarms are not as configured."]

    def apply(self, setup: Setup) -> list[str]:
        """Collects and watches as the setup says."""
        wanted = retention(setup)
        done = []
        if self.kept != wanted or self.thread is None or not self.thread.is_alive():
            self.close()
            self.begin(wanted)
            done.append(f"counters are collected every {wanted.raw[0]} s.")
        if self.watcher:
            self.watcher.settings = settings(setup)
        return done

    def begin(self, wanted: Retention) -> None:
        """Starts the collector's thread."""
        wires, proxies = Wires(roundtrips.sample), Proxies()
        self.collector = Collector(database(), [wires, proxies], wanted, say=self.say)
        journal = Journal(journal_path())
        self.watcher = Watcher(
            wires, journal, sinks=self.sinks, say=self.say, rolled_back=self.rolled_back, proxies=proxies
        )
        self.kept, self.stop = wanted, threading.Event()
        self.thread = threading.Thread(
            target=self.collector.run, args=(self.stop, self.watcher), name="collector", daemon=True
        )
        self.thread.start()

    def close(self) -> None:
        """Ends the collector."""
        self.stop.set()
        if self.thread:
            self.thread.join(10)
        if self.collector:
            self.collector.close()
        self.collector = self.thread = self.kept = None
