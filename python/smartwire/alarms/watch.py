"""The watcher: at each tick of the collector it looks, judges, writes down, and tells everyone who wants to be told."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from smartwire.alarms.catalogue import SEVERITIES, Settings
from smartwire.alarms.evaluate import Alarm, Change, State, evaluate
from smartwire.alarms.facts import Facts, WireLook, dead_wires, disk_share_free, proxy_facts
from smartwire.alarms.journal import Journal, publish
from smartwire.counters.collect import Collector
from smartwire.counters.sources import Proxies, Wires
from smartwire.errors import Error

BACKLOG = 1000
"""Changes that wait to be written down while the disk is full; the oldest go first."""


class Sink(Protocol):
    """Whoever is told of alarms: syslog, SNMP traps. Telling must neither wait nor raise."""

    def tell(self, change: Change) -> None:
        """An alarm was raised or cleared."""

    def close(self) -> None:
        """Tells what waits, as far as that is quickly done."""


def bypass_wire(name: str) -> None:
    """Bypasses a whole wire; returns when it is drained."""
    from smartwire.wire import control, registry

    control.ask(registry.find(name).socket, "bypass", target={"kind": "wire"}, limit_s=60.0)


@dataclass
class Watcher:
    """Judges at each tick.

    Args:
        wires: whose last look is judged; the collector's source.
        journal: where alarms are written down.
        settings: thresholds; may be replaced at any time.
        sinks: who is told.
        say: takes a sentence for the log.
        rolled_back: says why the configuration is not the one last committed; None if it is.
        proxies: the same of proxies.
        bypass: what takes a wire out.
    """

    wires: Wires
    journal: Journal
    settings: Settings = field(default_factory=Settings)
    sinks: Sequence[Sink] = ()
    say: Callable[[str], None] = lambda sentence: None
    rolled_back: Callable[[], str | None] = lambda: None
    proxies: Proxies = field(default_factory=Proxies)
    bypass: Callable[[str], None] = bypass_wire
    active: list[Alarm] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.look = WireLook()
        self.backlog: deque[Change] = deque(maxlen=BACKLOG)
        self.before: float | None = None
        self.mute = False
        try:
            self.state = self.journal.restore()
        except (sqlite3.Error, OSError) as e:
            self.say(f"The history of alarms cannot be read ({e}): it begins anew.")
            self.state = State()

    def __call__(self, collector: Collector) -> None:
        """After a tick. Raises nothing but what is a bug."""
        facts = self.facts(collector)
        self.state, changes = evaluate(self.state, facts, self.settings)
        self.backlog.extend(changes)
        self.write()
        self.active = self.sorted(facts.now)
        for change in changes:
            self.tell(change)

    def facts(self, collector: Collector) -> Facts:
        """What is seen now."""
        now, steady = collector.clock.wall(), collector.clock.steady()
        seconds = steady - self.before if self.before is not None else 0.0
        self.before = steady
        return Facts(
            now,
            steady,
            seconds,
            self.look(self.wires.views, dead_wires(), now),
            proxy_facts(self.proxies.views),
            disk_share_free(collector.path.parent),
            collector.health,
            self.rolled_back(),
        )

    def write(self) -> None:
        """Writes down what is not yet; what cannot be written now waits."""
        try:
            if self.backlog:
                self.journal.record(self.backlog)
                self.backlog.clear()
            self.mute = False
        except (sqlite3.Error, OSError) as e:
            if not self.mute:
                self.say(f"Alarms cannot be written down: {self.journal.path}: {e}.")
            self.mute = True

    def sorted(self, now: float) -> list[Alarm]:
        """The active alarms, worst first, as they are published."""
        found: Iterable[Alarm] = self.state.active.values()
        try:
            found = self.journal.noted(found)
        except (sqlite3.Error, OSError):
            self.mute = True
        active = sorted(found, key=lambda a: (SEVERITIES.index(a.severity), a.number))
        try:
            publish(active, now)
        except OSError as e:
            self.say(f"Active alarms cannot be published: {e}.")
        return active

    def tell(self, change: Change) -> None:
        """Tells the log and everyone else; takes a wire out that resets too much, if that is wanted."""
        what = change.alarm.severity if change.raised else "cleared"
        self.say(f"alarm {change.alarm.number} {change.alarm.name} ({what}): {change.text}")
        for sink in tuple(self.sinks):
            sink.tell(change)
        if change.raised and change.alarm.name == "reset-rate" and self.settings.bypass_on_reset_rate:
            name = change.alarm.object.removeprefix("wire/")
            threading.Thread(target=self.take_out, args=(name,), name=f"bypass {name}", daemon=True).start()

    def take_out(self, name: str) -> None:
        """Bypasses a wire, and says what came of it."""
        try:
            self.bypass(name)
            self.say(f"Wire {name} was bypassed because it reset connections; `smartwire resume` ends that.")
        except (Error, OSError, ValueError) as e:
            self.say(f"Wire {name} could not be bypassed: {e}")
