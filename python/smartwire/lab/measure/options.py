"""What two kernels may offer each other: SACK, timestamps, window scaling, ECN and MTU probing, on and off at each end.

All combinations are 1,024, each in IPv4 and IPv6; ``--quick`` takes those few in which any two settings meet. In each,
six connections at once: a download, an upload, and one that does both at the same time, in both IP versions; 1% of loss
both ways, and a freeze of the radio in the middle.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from smartwire.lab.covering import Combination, all_of, pairwise
from smartwire.lab.ends import ENDS, Connection, join
from smartwire.lab.links import constant
from smartwire.lab.session import CUSTODY_BOUND, Session, reasons
from smartwire.lab.trial import SMARTWIRE, Trial

SIZE = 200_000
FREEZE_AFTER_S, FREEZE_MS = 0.1, 250.0
COUNTED_S = 2.0
"""Until the wire has counted what the last acknowledgements say."""


@dataclass(frozen=True)
class Switch:
    """A setting of an end's kernel.

    Attributes:
        sysctl: its name, below net.ipv4.
        on, off: its values.
        bit: of tcpi_options that says that both ends agreed on it (linux/tcp.h); 0 where one end decides alone.
    """

    sysctl: str
    on: int
    off: int
    bit: int


SWITCHES = {
    "SACK": Switch("tcp_sack", 1, 0, 2),
    "timestamps": Switch("tcp_timestamps", 1, 0, 1),
    "scaling": Switch("tcp_window_scaling", 1, 0, 4),
    "ECN": Switch("tcp_ecn", 1, 0, 8),
    "MTU probing": Switch("tcp_mtu_probing", 2, 0, 0),
}
KINDS = {"down": {"phone": 0, "server": SIZE}, "up": {"phone": SIZE, "server": 0}, "both": dict.fromkeys(ENDS, SIZE)}
"""Bytes that each end sends."""
FACTORS = {(end, name): (True, False) for end in ENDS for name in SWITCHES}


def options(trial: Trial) -> None:
    """All combinations, or those in which any two settings meet."""
    combinations = pairwise(FACTORS) if trial.quick else all_of(FACTORS)
    trial.story.say(f"{len(combinations)} combinations" + (" that hold every two settings" if trial.quick else ""))
    radio = constant(100, rtt_ms=15).with_internet(10).but(loss=0.01)
    broken = 0
    with trial.sessions(radio, SMARTWIRE, log=False) as sessions:
        session = sessions["smartwire"]
        # Or a SYN that was lost is sent again without ECN, and what is agreed is a matter of luck.
        session.lab.sysctl("phone", {"net.ipv4.tcp_ecn_fallback": "0"})
        with session.links(), ThreadPoolExecutor(4 * len(KINDS) * len(trial.versions)) as pool:
            for group in groups(combinations, trial.quick):
                found = [one(trial, session, pool, combination) for combination in group]
                broken += sum(row["broken"] for row in found)
                trial.row(**together(group, found))
    total = len(combinations) * len(KINDS) * len(trial.versions)
    trial.at_most(f"connections with a wrong byte, a wrong end or a wrong handshake, of {total:,}", broken, 0)
    trial.at_least(f"least share of payload under custody, of {len(combinations):,} combinations",
                   min(trial.shares), CUSTODY_BOUND)  # fmt: skip


def groups(combinations: list[Combination], each: bool) -> Iterator[list[Combination]]:
    """Combinations that share a row: each its own, or all with the same settings of the phone."""
    for _, group in itertools.groupby(enumerate(combinations), key=lambda ic: ic[0] if each else side(ic[1], "phone")):
        yield [combination for _, combination in group]


def side(combination: Combination, end: str) -> str:
    """What is on at an end."""
    return " ".join(name for name in SWITCHES if combination[end, name]) or "-"


def one(trial: Trial, session: Session, pool: ThreadPoolExecutor, combination: Combination) -> dict:
    """One combination: settings, handshakes, transfers with a freeze in them, what the wire counted."""
    title = f"{side(combination, 'phone')} | {side(combination, 'server')}"
    trial.story.step(title, 1.0)
    for end in ENDS:
        session.lab.sysctl(end, {f"net.ipv4.{switch.sysctl}": str(switch.on if combination[end, name] else switch.off)
                                 for name, switch in SWITCHES.items()})  # fmt: skip
    before = session.middle.counters()
    wanted = list(itertools.product(trial.versions, KINDS))
    made = pool.map(lambda each: Connection(join(session.lab, each[0]), KINDS[each[1]], trial.seed), wanted)
    connections = dict(zip((f"{kind} in IPv{version}" for version, kind in wanted), made, strict=True))
    for connection in connections.values():
        connection.problems += disagreements(connection, combination)
    transfer(session, pool, list(connections.values()))
    payload = sum(sum(connection.sends.values()) for connection in connections.values())
    grown = counted(session, before, payload)
    row = {"payload_bytes": payload, "custody_share": min(1.0, grown["delivered_bytes"] / payload),
           "sent_again": grown["retransmitted"], "grown": Counter(grown),
           "ends_sent_again": sum(c.sent_again() for c in connections.values()),
           "server_mss": max(c.mss("server") for c in connections.values()),
           "broken": sum(bool(c.problems) for c in connections.values())}  # fmt: skip
    trial.shares.append(row["custody_share"])
    for label, connection in connections.items():
        connection.close()
        for problem in connection.problems:
            trial.faults.append(f"{title}, {label}: {problem}; the wire: {reasons(grown) or 'nothing'}")
            trial.story.say(f"  FAULT {trial.faults[-1]}")
    return row


def disagreements(connection: Connection, combination: Combination) -> Iterator[str]:
    """Both ends must have agreed on what both offered, and on nothing else."""
    for (name, switch), end in itertools.product(SWITCHES.items(), ENDS):
        expected = all(combination[e, name] for e in ENDS)
        if switch.bit and bool(connection.agreed(end) & switch.bit) != expected:
            yield f"{name} is {'off' if expected else 'on'} at the {end}"


def transfer(session: Session, pool: ThreadPoolExecutor, connections: list[Connection]) -> None:
    """All that all ends have to say, and a freeze meanwhile."""
    working = [c.begin(pool, c.send, end) for c in connections for end in ENDS if c.sends[end]]
    working += [c.begin(pool, c.receive, end) for c in connections for end in ENDS]
    time.sleep(FREEZE_AFTER_S)
    session.order("radio", freeze={"ms": FREEZE_MS, "down": True, "up": True})
    for future in working:
        future.result()


def counted(session: Session, before: dict[str, int], payload: int) -> dict[str, int]:
    """By how much the wire's counters grew, once they have all of the payload, or never will."""
    until = time.monotonic() + COUNTED_S
    while True:
        grown = {key: value - before.get(key, 0) for key, value in session.middle.counters().items()}
        if grown["delivered_bytes"] >= payload or time.monotonic() > until:
            return grown


def together(group: list[Combination], found: list[dict]) -> dict:
    """The row of a group."""
    servers = side(group[0], "server") if len(group) == 1 else f"all {len(group)}"
    grown = sum((row["grown"] for row in found), Counter())
    sums = {key: sum(row[key] for row in found) for key in ("payload_bytes", "broken", "sent_again", "ends_sent_again")}
    return {"phone": side(group[0], "phone"), "server": servers, **sums,
            "server_mss": max(row["server_mss"] for row in found),
            "custody_share": min(row["custody_share"] for row in found), "reasons": reasons(grown) or "-"}  # fmt: skip
