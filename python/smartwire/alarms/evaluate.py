"""When an alarm is raised and when it is cleared: a function of the facts, the time and what was before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from smartwire.alarms.catalogue import CLEAR, HOLD, KINDS, RAISE, Finding, Kind, Settings
from smartwire.alarms.facts import Facts


@dataclass(frozen=True)
class Alarm:
    """One alarm that was raised.

    Attributes:
        number: counts all alarms of this box, from 1.
        name: of the catalogue.
        object: what it is about: wire/NAME, wire/NAME/port/PORT, proxy/NAME, box.
        severity: critical, major, minor or warning.
        text: what was seen when it was raised.
        remedy: what to do.
        raised: unix time, s.
        cleared: unix time, s; None while it is active.
        acknowledged: unix time at which somebody took note, s; None if nobody did.
        acknowledged_by: who.
    """

    number: int
    name: str
    object: str
    severity: str
    text: str
    remedy: str
    raised: float
    cleared: float | None = None
    acknowledged: float | None = None
    acknowledged_by: str = ""


@dataclass(frozen=True)
class Change:
    """An alarm was raised, or cleared (then `alarm.cleared` is set); `text` says what was seen at that time."""

    alarm: Alarm
    text: str

    @property
    def raised(self) -> bool:
        """True if it was raised."""
        return self.alarm.cleared is None


Key = tuple[str, str]
"""(name, object)."""


@dataclass(frozen=True)
class State:
    """What must be remembered from one look to the next.

    Attributes:
        active: alarms by (name, object).
        pending: since when a condition has held that did not raise its alarm yet, or has not held that did not clear
            it yet; steady time, s.
        number: of the last alarm.
    """

    active: Mapping[Key, Alarm] = field(default_factory=dict)
    pending: Mapping[Key, float] = field(default_factory=dict)
    number: int = 0


def evaluate(state: State, facts: Facts, settings: Settings) -> tuple[State, list[Change]]:
    """The next state, and what was raised and cleared.

    A condition must last for as long as the catalogue says before it raises or clears. An object that is gone, as a
    wire that was taken out, clears its alarms at once.
    """
    active, pending, number = dict(state.active), dict(state.pending), state.number
    changes: list[Change] = []
    seen: set[Key] = set()
    for kind in KINDS.values():
        if kind.name in settings.disabled:
            continue
        for finding in kind.check(facts, settings):
            key = (kind.name, finding.object)
            seen.add(key)
            if not due(kind, finding, key, active, pending, facts.steady):
                continue
            if finding.verdict == RAISE:
                number += 1
                severity = (settings.severities or {}).get(kind.name, kind.severity)
                active[key] = Alarm(
                    number, kind.name, finding.object, severity, finding.text, kind.remedy, facts.now
                )  # fmt: skip
                changes.append(Change(active[key], finding.text))
            else:
                changes.append(Change(replace(active.pop(key), cleared=facts.now), finding.text))
    for key in sorted(set(active) - seen):
        if key[0] in settings.disabled or not awaited(key, facts):
            changes.append(
                Change(replace(active.pop(key), cleared=facts.now), f"{key[1]} is gone, or the alarm was disabled.")
            )
    pending = {key: since for key, since in pending.items() if key in seen}
    return State(active, pending, number), changes


def due(
    kind: Kind, finding: Finding, key: Key, active: Mapping[Key, Alarm], pending: dict[Key, float], steady: float
) -> bool:
    """True when the finding changes the alarm now; keeps count of how long it has lasted."""
    wanted = CLEAR if key in active else RAISE
    if finding.verdict != wanted or finding.verdict == HOLD:
        pending.pop(key, None)
        return False
    since = pending.setdefault(key, steady)
    if steady - since < (kind.raise_after_s if wanted == RAISE else kind.clear_after_s):
        return False
    del pending[key]
    return True


def awaited(key: Key, facts: Facts) -> bool:
    """True where nothing can be said of an alarm's object now, though it is not gone: a wire that hangs."""
    name, about = key
    parts = about.split("/")
    known: Iterable[str] = (
        {f"wire/{w.name}" for w in facts.wires} | {f"proxy/{p.name}" for p in facts.proxies} | {"box"}
    )
    return name in KINDS and "/".join(parts[:2]) in known
