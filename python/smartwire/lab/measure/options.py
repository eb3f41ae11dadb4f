"""What two kernels may offer each other: SACK, timestamps, window scaling, ECN and MTU probing, on and off at each end.

All combinations are 1,024, each in IPv4 and IPv6; ``--quick`` takes those few in which any two settings meet. In each,
six connections at once: a download, an upload, and one that does both at the same time, in both IP versions; 1% of loss
both ways, and a freeze of the radio in the middle.
"""

from __future__ import annotations

import itertools
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from smartwire.lab.content import Checker, slice_at
from smartwire.lab.covering import Combination, all_of, pairwise
from smartwire.lab.links import constant
from smartwire.lab.plan import CHUNK, family, retransmitted
from smartwire.lab.session import CUSTODY_BOUND, Session, reasons
from smartwire.lab.trial import SMARTWIRE, Trial

PORT = 8090
SIZE = 200_000
ENDS = ("phone", "server")
TIMEOUT_S = 60.0
FREEZE_AFTER_S, FREEZE_MS = 0.1, 250.0
COUNTED_S = 2.0
"""Until the wire has counted what the last acknowledgements say."""


@dataclass(frozen=True)
class Switch:
    """A setting of an end's kernel.

    Attributes:
        sysctl: its name, below net.ipv4.
        on, off: its values.
        bit: of tcpi_options that says that both ends agreed on it (linux/tcp.h); None where one end decides alone.
    """

    sysctl: str
    on: int
    off: int
    bit: int | None


SWITCHES = {
    "SACK": Switch("tcp_sack", 1, 0, 2),
    "timestamps": Switch("tcp_timestamps", 1, 0, 1),
    "scaling": Switch("tcp_window_scaling", 1, 0, 4),
    "ECN": Switch("tcp_ecn", 1, 0, 8),
    "MTU probing": Switch("tcp_mtu_probing", 2, 0, None),
}
KINDS = {"down": (SIZE, 0), "up": (0, SIZE), "both": (SIZE, SIZE)}
"""Bytes towards the phone and from it."""
FACTORS = {(end, name): (True, False) for end in ENDS for name in SWITCHES}


@dataclass
class Connection:
    """Both ends of one connection, and what is wrong with it."""

    label: str
    ends: dict[str, socket.socket]
    sends: dict[str, int]
    seed: int
    problems: list[str] = field(default_factory=list)

    def info(self, end: str) -> bytes:
        """struct tcp_info of an end."""
        return self.ends[end].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)

    def agreed(self, combination: Combination) -> None:
        """Both ends must have agreed on what both offered, and on nothing else."""
        for name, switch in SWITCHES.items():
            expected = all(combination[end, name] for end in ENDS)
            for end in ENDS if switch.bit else ():
                if bool(self.info(end)[5] & switch.bit) != expected:
                    self.problems.append(f"{name} is {'off' if expected else 'on'} at the {end}")

    def send(self, end: str) -> None:
        """What an end has to say; then its half is closed."""
        sock, size, sent = self.ends[end], self.sends[end], 0
        while sent < size:
            length = min(CHUNK, size - sent)
            sock.sendall(slice_at(self.seed, sent, length))
            sent += length
        sock.shutdown(socket.SHUT_WR)

    def receive(self, end: str) -> None:
        """Checks all that the other end says; who had nothing to say closes afterwards."""
        sock, expected = self.ends[end], sum(self.sends.values()) - self.sends[end]
        checker = Checker(self.seed)
        while data := sock.recv(CHUNK):
            checker.feed(data)
        if checker.wrong_at is not None:
            self.problems.append(f"a wrong byte at or after {checker.wrong_at:,} reached the {end}")
        elif checker.received != expected:
            self.problems.append(f"{checker.received:,} of {expected:,} bytes reached the {end}")
        if not self.sends[end]:
            sock.shutdown(socket.SHUT_WR)

    def work(self, pool: ThreadPoolExecutor) -> list[Future]:
        """Both ends at once."""
        senders = [pool.submit(self.carefully, self.send, end) for end in ENDS if self.sends[end]]
        return senders + [pool.submit(self.carefully, self.receive, end) for end in ENDS]

    def carefully(self, do: object, end: str) -> None:
        """An error of a socket becomes a problem."""
        try:
            do(end)  # type: ignore[operator]
        except OSError as error:
            self.problems.append(f"{end}: {error.strerror or error}")


class Bench:
    """Listens on the server and makes connections from the phone."""

    def __init__(self, session: Session, versions: tuple[int, ...]) -> None:
        self.lab, self.listeners = session.lab, {}
        for version in versions:
            address = self.lab.server(version)
            listener = self.listeners[version] = self.lab.socket("server", family(address))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, PORT))
            listener.listen(64)
            listener.settimeout(TIMEOUT_S)

    def connect(self, pool: ThreadPoolExecutor, seed: int) -> list[Connection]:
        """All kinds of connections in all IP versions, established at both ends."""
        wanted = list(itertools.product(self.listeners, KINDS))
        near = list(pool.map(lambda each: self._dial(each[0]), wanted))
        far = {}
        for _, version in zip(near, (version for version, _ in wanted), strict=True):
            sock, peer = self.listeners[version].accept()
            sock.settimeout(TIMEOUT_S)
            far[peer[:2]] = sock
        made = []
        for i, ((version, kind), phone) in enumerate(zip(wanted, near, strict=True)):
            down, up = KINDS[kind]
            ends = {"phone": phone, "server": far[phone.getsockname()[:2]]}
            made.append(Connection(f"{kind} in IPv{version}", ends, {"phone": up, "server": down}, seed + i))
        return made

    def _dial(self, version: int) -> socket.socket:
        sock = self.lab.socket("phone", family(self.lab.server(version)))
        sock.settimeout(TIMEOUT_S)
        sock.connect((self.lab.server(version), PORT))
        return sock


def options(trial: Trial) -> None:
    """All combinations, or those in which any two settings meet."""
    combinations = pairwise(FACTORS) if trial.quick else all_of(FACTORS)
    trial.story.say(f"{len(combinations)} combinations" + (" that hold every two settings" if trial.quick else ""))
    radio = constant(100, rtt_ms=15).with_internet(10).but(loss=0.01)
    broken = 0
    with trial.sessions(radio, SMARTWIRE, log=False) as sessions:
        session = sessions["smartwire"]
        # A SYN that is lost is sent again without ECN otherwise, and what was agreed is a matter of luck.
        session.lab.sysctl("phone", {"net.ipv4.tcp_ecn_fallback": "0"})
        bench = Bench(session, trial.versions)
        with session.links(), ThreadPoolExecutor(4 * len(KINDS) * len(trial.versions)) as pool:
            for group in groups(combinations, trial.quick):
                found = [one(trial, session, bench, pool, combination) for combination in group]
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


def one(trial: Trial, session: Session, bench: Bench, pool: ThreadPoolExecutor, combination: Combination) -> dict:
    """One combination: settings, handshakes, transfers with a freeze in them, what the wire counted."""
    title = f"{side(combination, 'phone')} | {side(combination, 'server')}"
    trial.story.step(title, 1.0)
    for end in ENDS:
        session.lab.sysctl(end, {f"net.ipv4.{switch.sysctl}": str(switch.on if combination[end, name] else switch.off)
                                 for name, switch in SWITCHES.items()})  # fmt: skip
    before = session.middle.counters()
    connections = bench.connect(pool, seed=trial.seed)
    for connection in connections:
        connection.agreed(combination)
    working = [future for connection in connections for future in connection.work(pool)]
    time.sleep(FREEZE_AFTER_S)
    session.order("radio", freeze={"ms": FREEZE_MS, "down": True, "up": True})
    for future in working:
        future.result()
    payload = sum(sum(connection.sends.values()) for connection in connections)
    grown = counted(session, before, payload)
    row = {"payload_bytes": payload, "custody_share": min(1.0, grown["delivered_bytes"] / payload),
           "sent_again": grown["retransmitted"], "reasons": reasons(grown)} | closed(connections)  # fmt: skip
    trial.shares.append(row["custody_share"])
    for connection in connections:
        for problem in connection.problems:
            trial.faults.append(f"{title}, {connection.label}: {problem}; the wire: {row['reasons'] or 'nothing'}")
            trial.story.say(f"  FAULT {trial.faults[-1]}")
    return row


def counted(session: Session, before: dict[str, int], payload: int) -> dict[str, int]:
    """By how much the wire's counters grew, once they have all of the payload, or never will."""
    until = time.monotonic() + COUNTED_S
    while True:
        grown = {key: value - before.get(key, 0) for key, value in session.middle.counters().items()}
        if grown["delivered_bytes"] >= payload or time.monotonic() > until:
            return grown


def closed(connections: list[Connection]) -> dict[str, int]:
    """What the kernels say in the end: segments sent again by the ends, largest segment of the server; all closed."""
    again = sum(retransmitted(c.ends[end]) for c in connections for end in ENDS)
    mss = max(struct.unpack_from("I", c.info("server"), 16)[0] for c in connections)
    for connection in connections:
        for sock in connection.ends.values():
            sock.close()
    return {"ends_sent_again": again, "server_mss": mss, "broken": sum(bool(c.problems) for c in connections)}


def together(group: list[Combination], found: list[dict]) -> dict:
    """The row of a group."""
    servers = side(group[0], "server") if len(group) == 1 else f"all {len(group)}"
    told = sorted({row["reasons"] for row in found} - {""})
    sums = {key: sum(row[key] for row in found) for key in ("payload_bytes", "broken", "sent_again", "ends_sent_again")}
    return {"phone": side(group[0], "phone"), "server": servers, **sums,
            "server_mss": max(row["server_mss"] for row in found),
            "custody_share": min(row["custody_share"] for row in found), "reasons": "; ".join(told) or "-"}  # fmt: skip
