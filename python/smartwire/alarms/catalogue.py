"""The alarms that there are: what raises each, what clears it, how bad it is, and what to do.

A check looks at the facts and says of each object that it knows whether the alarm's condition holds there, holds no
longer, or is in between (then the alarm stays as it is). How long either must last is in the table. Severities, types
and probable causes are those of ITU-T X.733.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from smartwire.alarms.facts import Facts, WireFacts
from smartwire.counters.names import port_name

SEVERITIES = ("critical", "major", "minor", "warning")
RAISE, HOLD, CLEAR = "raise", "hold", "clear"


class Finding(NamedTuple):
    """What a check says of one object: RAISE, HOLD or CLEAR, and a sentence about it."""

    object: str
    verdict: str
    text: str


@dataclass(frozen=True)
class Settings:
    """What an operator may change.

    Attributes:
        reset_rate: resets per second of a wire that raise the alarm.
        bypass_on_reset_rate: bypass the wire then.
        disk_free: share of the disk below which the alarm is raised.
        severities: by alarm, instead of the catalogue's.
        disabled: alarms that are never raised.
    """

    reset_rate: float = 100.0
    bypass_on_reset_rate: bool = False
    disk_free: float = 0.10
    severities: dict[str, str] | None = None
    disabled: frozenset[str] = frozenset()


Check = Callable[[Facts, Settings], Iterable[Finding]]


@dataclass(frozen=True)
class Kind:
    """One alarm of the catalogue.

    Attributes:
        name: its identity in CLI, web, SNMP, syslog and metrics.
        severity: critical, major, minor or warning.
        type: X.733 event type.
        cause: X.733 probable cause.
        title: what it means, in a few words.
        raised, cleared: the conditions, in words.
        remedy: what to do, a sentence.
        raise_after_s, clear_after_s: for how long the condition must hold, or hold no longer.
        check: looks at the facts.
    """

    name: str
    severity: str
    type: str
    cause: str
    title: str
    raised: str
    cleared: str
    remedy: str
    raise_after_s: float
    clear_after_s: float
    check: Check


KINDS: dict[str, Kind] = {}


def alarm(
    name: str, severity: str, type: str, cause: str, title: str, *, raised: str, cleared: str, remedy: str,
    raise_after_s: float = 0.0, clear_after_s: float = 60.0,
) -> Callable[[Check], Check]:  # fmt: skip
    """Enters a check into the catalogue."""

    def enter(check: Check) -> Check:
        KINDS[name] = Kind(
            name, severity, type, cause, title, raised, cleared, remedy, raise_after_s, clear_after_s, check
        )
        return check

    return enter


def wires(facts: Facts) -> Iterable[WireFacts]:
    """Wires whose numbers are of now, and that were looked at before."""
    return (wire for wire in facts.wires if wire.fresh and wire.grown)


def object_of(wire: WireFacts) -> str:
    """How a wire is named as an object."""
    return f"wire/{wire.name}"


@alarm(
    "heartbeat-lost", "critical", "processingErrorAlarm", "softwareProgramAbnormallyTerminated",
    "A wire's process died or hangs",
    raised="the process of a wire died without leaving or has been silent for 2 s, or its copper wire opened",
    cleared="the process has written its counters and the copper wire has stayed closed for 60 s",
    remedy="Traffic flows, unoptimized, over the copper wire: read the wire's log, and start it again or `smartwire "
    "unwire` its interfaces.",
)  # fmt: skip
def heartbeat_lost(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each wire."""
    for wire in facts.wires:
        opened = wire.grown.get("opened", 0) or wire.grown.get("wire_opened", 0)
        if wire.starting:
            yield Finding(object_of(wire), HOLD, f"Wire {wire.name} starts.")
        elif not wire.fresh:
            yield Finding(object_of(wire), RAISE, f"Wire {wire.name}: {wire.why}.")
        elif opened:
            text = f"Wire {wire.name} was so late that the copper wire opened {opened} times."
            yield Finding(object_of(wire), RAISE, text)
        else:
            yield Finding(object_of(wire), CLEAR, f"Wire {wire.name} is alive.")


@alarm(
    "port-down", "critical", "communicationsAlarm", "lossOfSignal", "A port has no carrier",
    raised="a port of a wire has no carrier",
    cleared="the port has had a carrier for 10 s",
    remedy="Check the cable, the optics and the neighbour's port.",
    clear_after_s=10.0,
)  # fmt: skip
def port_down(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each port of a live wire."""
    for wire in facts.wires:
        if not wire.fresh:
            continue
        for number, interface in wire.interfaces.items():
            up = wire.values.get(f"port{number}.up", 1)
            where = f"{port_name(number)} port {interface} of wire {wire.name}"
            yield Finding(
                f"{object_of(wire)}/port/{port_name(number)}",
                CLEAR if up else RAISE,
                f"The {where} {'has a' if up else 'has no'} carrier.",
            )


@alarm(
    "reset-rate", "critical", "qualityOfServiceAlarm", "thresholdCrossed", "Connections are being reset",
    raised="a wire resets more connections per second than the configured rate (100)",
    cleared="it has reset less than half of that for 60 s",
    remedy="Look at `smartwire status` (stopped, why) for the reason; `smartwire bypass` takes the optimizer out "
    "without breaking more connections, which the setting bypass-on-reset-rate does by itself.",
)  # fmt: skip
def reset_rate(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each wire."""
    for wire in wires(facts):
        rate = wire.grown.get("resets", 0) / max(facts.seconds, 1e-9)
        verdict = RAISE if rate > settings.reset_rate else CLEAR if rate < settings.reset_rate / 2 else HOLD
        yield Finding(object_of(wire), verdict, f"Wire {wire.name} resets {rate:.0f} connections per second.")


@alarm(
    "haproxy-down", "major", "processingErrorAlarm", "softwareError", "HAProxy is down or hangs",
    raised="the HAProxy of a proxy is not running, does not answer, or its supervisor died",
    cleared="it has served again for 30 s",
    remedy="New connections pass the proxy by: `smartwire proxy logs` says why; `smartwire proxy up` starts it.",
    raise_after_s=10.0, clear_after_s=30.0,
)  # fmt: skip
def haproxy_down(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each proxy."""
    for proxy in facts.proxies:
        text = "it serves" if proxy.serving else proxy.why
        yield Finding(f"proxy/{proxy.name}", CLEAR if proxy.serving else RAISE, f"Proxy {proxy.name}: {text}.")


@alarm(
    "frames-low", "major", "qualityOfServiceAlarm", "resourceAtOrNearingCapacity", "Packet buffers run low",
    raised="90 % of the packet buffers that may be kept under custody are kept, or connections were refused for it",
    cleared="less than 75 % have been kept, and none was refused, for 60 s",
    remedy="The wire optimizes less, and loses nothing: give it more buffers with --frames, or let it serve fewer "
    "subscribers.",
    raise_after_s=20.0,
)  # fmt: skip
def frames_low(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each wire."""
    for wire in wires(facts):
        most = wire.values.get("frames_keepable", 0)
        share = wire.values.get("frames_kept", 0) / most if most else 0.0
        refused = wire.grown.get("refused.low-memory", 0)
        verdict = RAISE if share >= 0.9 or refused else CLEAR if share < 0.75 else HOLD
        text = (
            f"Wire {wire.name} keeps {share:.0%} of the packet buffers that it may, and refused {refused} connections."
        )
        yield Finding(object_of(wire), verdict, text)


@alarm(
    "flow-table-full", "major", "qualityOfServiceAlarm", "resourceAtOrNearingCapacity", "The flow table is full",
    raised="connections are refused because the flow table is full",
    cleared="none has been refused for it for 60 s",
    remedy="New connections are left alone: start the wire with a larger --max-flows, or spread subscribers over more "
    "boxes.",
)  # fmt: skip
def flow_table_full(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each wire."""
    for wire in wires(facts):
        refused = wire.grown.get("refused.table-full", 0)
        text = f"Wire {wire.name} left {refused} connections alone: {wire.values.get('flows', 0)} are in its table."
        yield Finding(object_of(wire), RAISE if refused else CLEAR, text)


@alarm(
    "disk-full", "major", "processingErrorAlarm", "storageCapacityProblem", "The disk is full",
    raised="less than the configured share (10 %) of the disk that holds the state is free, or a write found no room",
    cleared="a fifth more than that share has been free for 60 s",
    remedy="Forwarding goes on; counters are not recorded without room: delete what is not needed on the disk of "
    "/var/lib/smartwire, or keep counters for a shorter time.",
)  # fmt: skip
def disk_full(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of the box."""
    if facts.disk_free is None:
        return
    low, enough = facts.disk_free < settings.disk_free, facts.disk_free >= 1.2 * settings.disk_free
    verdict = RAISE if facts.health.full or low else CLEAR if enough else HOLD
    yield Finding("box", verdict, f"{facts.disk_free:.1%} of the disk is free.")


@alarm(
    "counters-lost", "minor", "processingErrorAlarm", "underlyingResourceUnavailable", "Counters are not recorded",
    raised="counters cannot be recorded, though the disk has room",
    cleared="they are recorded again",
    remedy="What the data plane does is not affected: do what the alarm's text says, and look at the disk.",
    raise_after_s=30.0, clear_after_s=0.0,
)  # fmt: skip
def counters_lost(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of the box."""
    trouble = None if facts.health.full else facts.health.trouble  # a full disk has an alarm of its own
    yield Finding("box", RAISE if trouble else CLEAR, trouble or "Counters are recorded.")


@alarm(
    "bypass-active", "minor", "qualityOfServiceAlarm", "performanceDegraded", "A bypass is active",
    raised="connections are left alone because the wire, a subscriber or a connection was bypassed by somebody",
    cleared="new connections have been optimized, and none bypassed, for 60 s",
    remedy="If the bypass is no longer wanted, end it with `smartwire resume`.",
)  # fmt: skip
def bypass_active(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each wire."""
    for wire in wires(facts):
        bypassed, optimized = wire.grown.get("refused.bypassed", 0), wire.grown.get("optimized", 0)
        verdict = RAISE if bypassed else CLEAR if optimized else HOLD
        yield Finding(object_of(wire), verdict, f"Wire {wire.name} left {bypassed} new connections alone: bypassed.")


FEW = 20
"""Fewer new connections say nothing about their share."""


@alarm(
    "asymmetry", "minor", "communicationsAlarm", "communicationsProtocolError", "Only one direction crosses the wire",
    raised="of more than 20 new connections at a time a fifth or more cross the wire in one direction only",
    cleared="less than a twentieth have for 5 minutes",
    remedy="Put both directions of a subscriber's traffic through the same box: check the routing, and that LAG and "
    "ECMP hash on the subscriber's address.",
    raise_after_s=20.0, clear_after_s=300.0,
)  # fmt: skip
def asymmetry(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of each wire."""
    for wire in wires(facts):
        one_way = wire.grown.get("refused.one-way", 0)
        refused = sum(count for name, count in wire.grown.items() if name.startswith("refused."))
        new = refused + wire.grown.get("optimized", 0)
        share = one_way / new if new else 0.0
        verdict = HOLD if new <= FEW else RAISE if share >= 0.2 else CLEAR if share < 0.05 else HOLD
        text = f"Of {new} new connections {one_way} cross wire {wire.name} in one direction only."
        yield Finding(object_of(wire), verdict, text)


@alarm(
    "configuration-rolled-back", "warning", "processingErrorAlarm", "configurationOrCustomizationError",
    "The configuration was rolled back",
    raised="a commit was not confirmed in time, or could not be applied, and the configuration before it is back",
    cleared="a later commit is in force",
    remedy="Look at what the commit changed with `show | compare rollback 1`, correct it, and commit again.",
    clear_after_s=0.0,
)  # fmt: skip
def configuration_rolled_back(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of the box."""
    text = facts.rolled_back
    yield Finding("box", RAISE if text else CLEAR, text or "The configuration is the one last committed.")


@alarm(
    "clock-step", "warning", "equipmentAlarm", "timingProblem", "The clock was set",
    raised="the clock was set forward or back by more than a second",
    cleared="it has not been set for 15 minutes",
    remedy="Check the time servers (chronyc tracking, timedatectl): rates over the step are not told, and records of a "
    "time that comes twice replace the earlier ones.",
    clear_after_s=900.0,
)  # fmt: skip
def clock_step(facts: Facts, settings: Settings) -> Iterable[Finding]:
    """Of the box."""
    by = facts.health.stepped_s
    if by is None:
        yield Finding("box", CLEAR, "The clock goes on steadily.")
    else:
        yield Finding("box", RAISE, f"The clock was set {'forward' if by > 0 else 'back'} by {abs(by):.1f} s.")
