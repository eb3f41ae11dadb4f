"""SNMP traps: one when an alarm is raised, one when it is cleared, sent by net-snmp's snmptrap.

They are sent from a thread, in order; while a receiver does not answer (informs) or the tool fails, up to a thousand
wait, and what is dropped is said. Passwords go to snmptrap in a file that only it can read, never on its command line.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from smartwire.alarms.evaluate import Change
from smartwire.errors import Error
from smartwire.north import PEN
from smartwire.north.snmp import ALARMS, ROOT, SEVERITIES

BACKLOG = 1000
TIMEOUT_S = 10.0
ENGINE = f"{PEN | 0x8000_0000:08x}04"
"""How an engine identifier begins that is text behind our number (RFC 3411, SnmpEngineID)."""


@dataclass(frozen=True)
class Target:
    """A receiver of traps.

    Attributes:
        host: address or name.
        port: UDP port.
        community: of v2c.
        user: of v3; then v2c is not used.
        authentication: its SHA password; at least 8 characters.
        privacy: its AES password; without one traps are signed, and not encrypted.
        inform: ask for an answer, and repeat without one.
    """

    host: str
    port: int = 162
    community: str = "public"
    user: str = ""
    authentication: str = ""
    privacy: str = ""
    inform: bool = False

    @property
    def address(self) -> str:
        """As net-snmp writes it."""
        return f"udp6:[{self.host}]:{self.port}" if ":" in self.host else f"udp:{self.host}:{self.port}"

    def configuration(self) -> str:
        """Its snmp.conf."""
        if not self.user:
            return f"defVersion 2c\ndefCommunity {quoted(self.community)}\n"
        level = "authPriv" if self.privacy else "authNoPriv"
        lines = [
            "defVersion 3",
            f"defSecurityName {quoted(self.user)}",
            f"defSecurityLevel {level}",
            "defAuthType SHA",
            f"defAuthPassphrase {quoted(self.authentication)}",
        ]
        if self.privacy:
            lines += ["defPrivType AES", f"defPrivPassphrase {quoted(self.privacy)}"]
        return "\n".join(lines) + "\n"


def quoted(value: str) -> str:
    """A word of a net-snmp configuration file."""
    if any(c in value for c in '"\\\n\r'):
        raise Error("A community, user or password of SNMP must not contain a quote, a backslash or a line break.")
    return f'"{value}"'


def varbinds(change: Change) -> list[str]:
    """The notification of a change, as arguments of snmptrap."""
    alarm = change.alarm
    severity = alarm.severity if change.raised else "cleared"
    columns = [(2, "s", alarm.name), (3, "s", alarm.object), (4, "i", str(SEVERITIES[severity])), (5, "s", change.text)]
    if change.raised:
        columns.append((6, "s", alarm.remedy))
    out = [dotted((*ROOT, 0, 1 if change.raised else 2))]
    for column, kind, value in columns:
        out += [dotted((*ALARMS, column, alarm.number)), kind, value[:255]]
    return out


def dotted(oid: tuple[int, ...]) -> str:
    """An identifier as text."""
    return "." + ".".join(map(str, oid))


def engine_id(name: str) -> str:
    """An engine identifier made of a name that is the box's own, such as its host name."""
    return f"0x{ENGINE}{name.encode()[:27].hex()}"


@dataclass
class Traps:
    """Sends traps to one receiver; a sink of the alarm watcher.

    Args:
        target: the receiver.
        state: a directory that is kept over restarts: v3 counts starts in it (RFC 3414, snmpEngineBoots).
        say: takes a sentence for the log.
    """

    target: Target
    state: Path
    say: Callable[[str], None] = lambda sentence: None
    dropped: int = 0
    waiting: queue.Queue[Change | None] = field(default_factory=lambda: queue.Queue(BACKLOG))

    def __post_init__(self) -> None:
        self.tool = shutil.which("snmptrap")
        if not self.tool:
            raise Error("Traps are sent by snmptrap, which is not installed: apt-get install snmp.")
        self.secret = tempfile.TemporaryDirectory(prefix="smartwire-snmp-")
        file = Path(self.secret.name) / "snmp.conf"
        file.touch(mode=0o600)
        file.write_text(self.target.configuration())
        self.failing = False
        self.thread = threading.Thread(target=self.run, name=f"traps to {self.target.host}", daemon=True)
        self.thread.start()

    def tell(self, change: Change) -> None:
        """Queues a trap."""
        try:
            self.waiting.put_nowait(change)
        except queue.Full:
            self.dropped += 1

    def run(self) -> None:
        """The thread: one trap after the other."""
        while (change := self.waiting.get()) is not None:
            self.send(change)

    def send(self, change: Change) -> None:
        """Sends one; says when that begins to fail, and when it succeeds again."""
        assert self.tool
        argv = [self.tool, *(["-Ci"] if self.target.inform else [])]
        if self.target.user and not self.target.inform:
            argv += ["-e", engine_id(os.uname().nodename)]
        argv += ["-m", "", self.target.address, "", *varbinds(change)]
        env = {"SNMPCONFPATH": self.secret.name, "SNMP_PERSISTENT_DIR": str(self.state), "PATH": os.environ["PATH"]}
        try:
            done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
            problem = done.stderr.strip().splitlines()[-1] if done.returncode and done.stderr.strip() else ""
            failed = done.returncode != 0
        except (OSError, subprocess.TimeoutExpired) as e:
            failed, problem = True, str(e).partition("'")[0]
        if failed:
            self.dropped += 1
            if not self.failing:
                self.say(f"Traps do not reach {self.target.host}: {problem or 'snmptrap failed'}.")
        elif self.dropped:
            self.say(f"Traps reach {self.target.host} again; {self.dropped} were lost.")
            self.dropped = 0
        self.failing = failed

    def close(self) -> None:
        """Sends what waits, for as long as one may take, and ends."""
        try:
            self.waiting.put(None, timeout=TIMEOUT_S)
            self.thread.join(TIMEOUT_S)
        except queue.Full:
            pass
        self.secret.cleanup()
