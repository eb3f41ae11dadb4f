"""SNMP: the objects of SMARTWIRE-MIB behind Debian's snmpd, by its pass_persist protocol.

snmpd speaks SNMP v2c and v3, does the access control and serves the standard MIBs; for everything below our own root it
asks this process, one line each on standard input and output:

========================== ====================================================================
snmpd writes               and is answered
========================== ====================================================================
``PING``                   ``PONG``
``get`` / ``getnext``, OID OID, type and value on a line each, or ``NONE``
``set``, OID, value        ``not-writable``
========================== ====================================================================

What is shown is read from the stats pages at most every two seconds, so that one walk sees (nearly) one state.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TextIO

import smartwire
from smartwire.alarms import journal
from smartwire.alarms.evaluate import Alarm
from smartwire.alarms.facts import ports
from smartwire.counters.names import port_name
from smartwire.counters.sources import Wires, WireView
from smartwire.errors import Error
from smartwire.north import PEN

Oid = tuple[int, ...]
Value = tuple[str, str]
"""A pass_persist type and the value as text."""

ROOT: Oid = (1, 3, 6, 1, 4, 1, PEN, 1)
OBJECTS: Oid = (*ROOT, 1)
WIRES, PORTS, REASONS, ALARMS, MATCHES, WORKERS = ((*OBJECTS, table, 1) for table in (10, 11, 12, 13, 14, 15))
FRESH_S = 2.0
SEVERITIES = {"cleared": 1, "indeterminate": 2, "critical": 3, "major": 4, "minor": 5, "warning": 6}
"""As in ITU-ALARM-TC-MIB (RFC 3877)."""

# Columns whose value stands on the stats page: column, type, name there.
WIRE_COLUMNS = (
    (6, "gauge", "subscribers"), (7, "gauge", "flows"), (8, "counter64", "custody_bytes"),
    (9, "counter64", "optimized"), (10, "counter64", "accepted_bytes"), (11, "counter64", "not_optimized_bytes"),
    (12, "counter64", "sent_bytes"), (13, "counter64", "retransmitted_bytes"), (14, "counter64", "resets"),
    (15, "counter64", "copper_bytes"), (16, "gauge", "frames_kept"), (17, "gauge", "frames_keepable"),
)  # fmt: skip
PORT_COLUMNS = (
    (4, "rx_frames"), (5, "rx_bytes"), (6, "tx_frames"), (7, "tx_bytes"), (8, "rx_dropped"), (9, "tx_dropped"),
)  # fmt: skip
WORKER_COLUMNS = (
    (2, "counter64", "frames_in"), (3, "counter64", "bytes_in"), (4, "counter64", "frames_out"),
    (5, "counter64", "bytes_out"), (6, "gauge", "flows"),
)  # fmt: skip
REASON_KINDS = (("refused.", 1), ("stopped.", 2))
MATCH_KINDS = (("policy.", 1), ("class.", 2))


def text(value: str) -> Value:
    """A string: on one line, at most 255 bytes."""
    return "string", " ".join(value.split()).encode()[:255].decode(errors="ignore")


def number(kind: str, value: int) -> Value:
    """A number: a gauge stays at its greatest value (RFC 2578 7.1.7), a counter wraps (7.1.10)."""
    return kind, str(min(value, 2**32 - 1) if kind == "gauge" else value % 2**64)


def index(name: str) -> Oid:
    """A string as part of an index: its length, then its bytes (RFC 2578 7.7)."""
    octets = name.encode()
    return (len(octets), *octets)


def date_and_time(unix_s: float) -> Value:
    """A DateAndTime (RFC 2579) in UTC."""
    t = time.gmtime(unix_s)
    tenths = int(unix_s % 1 * 10)
    octets = (*t.tm_year.to_bytes(2, "big"), t.tm_mon, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, tenths, ord("+"), 0, 0)
    return "octet", " ".join(f"{octet:02x}" for octet in octets)


def wire_rows(view: WireView, now: float) -> Iterable[tuple[Oid, Value]]:
    """The rows of one wire in all tables but the alarms'."""
    key = index(view.name)
    yield (*WIRES, 2, *key), text(str(view.info.get("access", "")))
    yield (*WIRES, 3, *key), text(str(view.info.get("core", "")))
    yield (*WIRES, 4, *key), number("integer", 1 if view.fresh else 2)
    if isinstance(started := view.info.get("started"), int | float):
        yield (*WIRES, 5, *key), number("gauge", max(0, int(now - started)))
    if not view.fresh:
        return
    for column, kind, name in WIRE_COLUMNS:
        if name in view.values:
            yield (*WIRES, column, *key), number(kind, view.values[name])
    for port in ports(view.values):
        row = (*key, *index(port_name(port)))
        yield (*PORTS, 2, *row), text(view.interface(port))
        yield (*PORTS, 3, *row), number("integer", 1 if view.values.get(f"port{port}.up", 1) else 2)
        for column, name in PORT_COLUMNS:
            yield (*PORTS, column, *row), number("counter64", view.values.get(f"port{port}.{name}", 0))
    for name, value in view.values.items():
        for prefix, kind in REASON_KINDS:
            if name.startswith(prefix):
                row = (*key, kind, *index(name.removeprefix(prefix)))
                yield (*REASONS, 3, *row), number("counter64", value)
    for prefix, kind in MATCH_KINDS:
        found = [name for name in view.values if name.startswith(prefix)]
        for order, name in enumerate(found, 1):
            row = (*key, kind, order)
            yield (*MATCHES, 3, *row), text(name.removeprefix(prefix).removesuffix(".connections"))
            yield (*MATCHES, 4, *row), number("counter64", view.values[name])
    worker = 0
    while f"worker{worker}.frames_in" in view.values:
        for column, kind, name in WORKER_COLUMNS:
            yield (*WORKERS, column, *key, worker + 1), number(kind, view.values.get(f"worker{worker}.{name}", 0))
        worker += 1


def alarm_rows(alarm: Alarm) -> Iterable[tuple[Oid, Value]]:
    """The row of one alarm in swAlarmTable."""
    columns = (
        text(alarm.name),
        text(alarm.object),
        number("integer", SEVERITIES.get(alarm.severity, 2)),
        text(alarm.text),
        text(alarm.remedy),
        date_and_time(alarm.raised),
        number("integer", 1 if alarm.acknowledged else 2),
    )
    for column, value in enumerate(columns, 2):
        yield (*ALARMS, column, alarm.number), value


def objects(views: Iterable[WireView], active: journal.Active, now: float) -> dict[Oid, Value]:
    """Everything below our root."""
    found: dict[Oid, Value] = {
        (*OBJECTS, 1, 0): text(smartwire.__version__),
        (*OBJECTS, 2, 0): number("gauge", len(active.alarms)),
    }
    for view in views:
        found.update(wire_rows(view, now))
    for alarm in active.alarms:
        found.update(alarm_rows(alarm))
    return found


@dataclass
class Agent:
    """Answers snmpd.

    Args:
        look: the running wires.
        alarms: the active alarms.
        wall: unix time, s.
        steady: time that is never set, s.
    """

    look: Callable[[], list[WireView]] = field(default_factory=lambda: Wires().look)
    alarms: Callable[[], journal.Active] = journal.active
    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self.values: dict[Oid, Value] = {}
        self.order: list[Oid] = []
        self.until = float("-inf")

    def refresh(self) -> None:
        """Reads everything anew if it is older than it may be; what cannot be read is not there."""
        if self.steady() < self.until:
            return
        try:
            self.values = objects(self.look(), self.alarms(), self.wall())
        except (Error, OSError):
            self.values = objects((), journal.Active((), None), self.wall())
        self.order = sorted(self.values)
        self.until = self.steady() + FRESH_S

    def get(self, oid: Oid) -> tuple[Oid, Value] | None:
        """The object with this identifier."""
        self.refresh()
        value = self.values.get(oid)
        return (oid, value) if value else None

    def get_next(self, oid: Oid) -> tuple[Oid, Value] | None:
        """The first object after this identifier."""
        self.refresh()
        at = bisect_right(self.order, oid)
        return (self.order[at], self.values[self.order[at]]) if at < len(self.order) else None

    def answer(self, lines: Iterable[str], out: TextIO) -> None:
        """Answers until snmpd closes its end."""
        lines = iter(lines)
        for line in lines:
            match line.strip().lower():
                case "ping":
                    out.write("PONG\n")
                case "get":
                    out.write(shown(self.ask(self.get, next(lines, ""))))
                case "getnext":
                    out.write(shown(self.ask(self.get_next, next(lines, ""))))
                case "set":
                    next(lines, "")
                    next(lines, "")
                    out.write("not-writable\n")
                case "":
                    return
                case _:
                    out.write("NONE\n")
            out.flush()

    @staticmethod
    def ask(how: Callable[[Oid], tuple[Oid, Value] | None], oid: str) -> tuple[Oid, Value] | None:
        """An answer to a question about an identifier as snmpd writes it; none to what is no identifier."""
        try:
            return how(tuple(int(part) for part in oid.strip().strip(".").split(".")))
        except ValueError:
            return None


def shown(found: tuple[Oid, Value] | None) -> str:
    """An answer as snmpd reads it."""
    if found is None:
        return "NONE\n"
    oid, (kind, value) = found
    return f".{'.'.join(map(str, oid))}\n{kind}\n{value}\n"


def snmpd_lines(command: str) -> str:
    """What snmpd.conf needs for our objects.

    Args:
        command: that speaks pass_persist.
    """
    root = ".".join(map(str, ROOT))
    return f"view smartwire included .{root}\npass_persist .{root} {command}\n"
