"""Syslog: RFC 5424 messages over UDP (RFC 5426), TCP (RFC 6587, counted octets) and TLS (RFC 5425).

A message goes into a bounded queue and from there to the server in a thread: whoever sends never waits and never fails.
While the server cannot be reached the newest thousand messages wait; what had to be dropped is told to the server, with
number and time, once it is back. TCP cannot tell what a server that dies has read: messages that were written into its
connection in the last moment are lost, which the protocol has no remedy for.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from smartwire.alarms.catalogue import KINDS
from smartwire.alarms.evaluate import Change
from smartwire.errors import UsageError
from smartwire.north import PEN

EMERGENCY, ALERT, CRITICAL, ERROR, WARNING, NOTICE, INFO, DEBUG = range(8)
LOCAL0 = 16
PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
BACKLOG = 1000
MAX_BYTES = 2048
"""What every receiver should take (RFC 5424 6.1); a longer text is cut."""
TIMEOUT_S = 10.0
RETRY_S = (1.0, 2.0, 5.0, 10.0, 30.0)
OWN_DATA = f"smartwire@{PEN}"

SEVERITIES = {"critical": ALERT, "major": CRITICAL, "minor": ERROR, "warning": WARNING, "cleared": NOTICE}
"""Of alarms: RFC 5674 section 2."""


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        severity: EMERGENCY to DEBUG.
        msgid: what kind of message it is, in capitals.
        text: a sentence.
        data: structured data: parameters by element.
        unix_s: when.
    """

    severity: int
    msgid: str
    text: str
    data: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    unix_s: float = field(default_factory=time.time)


def encode(message: Message, host: str, pid: int, app: str = "smartwire") -> bytes:
    """A message as it is sent (RFC 5424 section 6), without framing; its text is cut where it is too long."""
    stamp = datetime.fromtimestamp(message.unix_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    elements = [
        "[" + " ".join([name, *(f'{key}="{escape(value)}"' for key, value in parameters.items())]) + "]"
        for name, parameters in message.data.items()
    ]
    priority = LOCAL0 * 8 + message.severity
    words = (f"<{priority}>1", stamp, word(host, 255), word(app, 48), str(pid), word(message.msgid, 32))
    head = " ".join((*words, "".join(elements) or "-")) + " "
    text = " ".join(message.text.split())
    # Section 6.4: a text that is not ASCII begins with a byte order mark; to others it would only be dirt.
    raw = head.encode() + (b"" if text.isascii() else b"\xef\xbb\xbf") + text.encode()
    return raw if len(raw) <= MAX_BYTES else raw[:MAX_BYTES].decode(errors="ignore").encode()


def word(value: str, longest: int) -> str:
    """A header field: printable ASCII without spaces, `-` for nothing."""
    return re.sub(r"[^!-~]", "?", value)[:longest] or "-"


def escape(value: str) -> str:
    """A parameter's value (section 6.3.3), on one line."""
    return re.sub(r'(["\\\]])', r"\\\1", " ".join(value.split()))


def of_alarm(change: Change) -> Message:
    """The message of an alarm that was raised or cleared, with the structured data of RFC 5674."""
    alarm = change.alarm
    kind = KINDS.get(alarm.name)
    severity = alarm.severity if change.raised else "cleared"
    data = {
        "alarm": {
            "resource": alarm.object,
            "probableCause": kind.cause if kind else "other",
            "perceivedSeverity": severity,
            "eventType": kind.type if kind else "other",
        },
        OWN_DATA: {"name": alarm.name, "number": str(alarm.number), "remedy": alarm.remedy if change.raised else ""},
    }
    if not change.raised:
        del data[OWN_DATA]["remedy"]
    msgid = "ALARM_RAISED" if change.raised else "ALARM_CLEARED"
    return Message(SEVERITIES[severity], msgid, change.text, data, alarm.cleared or alarm.raised)


@dataclass(frozen=True)
class Server:
    """A syslog server.

    Attributes:
        transport: udp, tcp or tls.
        host: address or name; with TLS the certificate must be for it.
        port: its port.
        least: the least severe messages that are sent, as a number.
        ca_file: certificates that the server's must descend from (TLS); the system's if None.
        certificate, key: files with our own, where the server asks for one.
    """

    transport: str
    host: str
    port: int
    least: int = INFO
    ca_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    @classmethod
    def parse(cls, text: str, ca_file: Path | None = None) -> Server:
        """A server written like udp://192.0.2.1, tcp://[2001:db8::1]:601 or tls://logs.example:6514."""
        match = re.fullmatch(r"(udp|tcp|tls)://(?:\[([0-9A-Fa-f:.%\w]+)\]|([^:/\s\[\]]+))(?::(\d{1,5}))?/?", text)
        port = int(match[4]) if match and match[4] else PORTS[match[1]] if match else 0
        if not match or not 0 < port < 65536:
            raise UsageError(f"{text!r} is no syslog server: write it like udp://192.0.2.1:514 or tls://logs.example.")
        return cls(match[1], match[2] or match[3], port, ca_file=ca_file)

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.transport}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def connect(self) -> socket.socket:
        """A connected socket.

        Raises:
            OSError: it cannot be reached, or its certificate is not good (ssl.SSLError).
        """
        if self.transport == "udp":
            return self.connect_udp()
        plain = socket.create_connection((self.host, self.port), timeout=TIMEOUT_S)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A server that has vanished without a word is given up after that time.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(3 * TIMEOUT_S * 1000))
        if self.transport == "tcp":
            return plain
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key)
            return context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def connect_udp(self) -> socket.socket:
        """A UDP socket that hears of errors, as a connected one does."""
        family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        one = socket.socket(family, kind, protocol)
        try:
            one.settimeout(TIMEOUT_S)
            one.connect(address)
        except BaseException:
            one.close()
            raise
        return one


@dataclass
class Sender:
    """Sends to one server; also a sink of the alarm watcher.

    Args:
        server: where to.
        say: takes a sentence for the log.
        host: what this box calls itself.
    """

    server: Server
    say: Callable[[str], None] = lambda sentence: None
    host: str = field(default_factory=lambda: os.uname().nodename)

    def __post_init__(self) -> None:
        self.waiting: deque[Message] = deque()
        self.awake = threading.Condition()
        self.ending = False
        self.dropped = 0
        self.dropping_since = 0.0
        self.socket: socket.socket | None = None
        self.failing = False
        self.thread = threading.Thread(target=self.run, name=f"syslog to {self.server}", daemon=True)
        self.thread.start()

    def tell(self, change: Change) -> None:
        """An alarm was raised or cleared."""
        self.send(of_alarm(change))

    def send(self, message: Message) -> None:
        """Queues a message, unless it is less severe than the server wants; drops the oldest if there are too many."""
        if message.severity > self.server.least:
            return
        with self.awake:
            if len(self.waiting) >= BACKLOG:
                self.waiting.popleft()
                self.drop()
            self.waiting.append(message)
            self.awake.notify()

    def drop(self) -> None:
        """Counts a message that is lost."""
        if not self.dropped:
            self.dropping_since = time.time()
        self.dropped += 1

    def run(self) -> None:
        """The thread: delivers what waits, and waits longer after each failure in a row."""
        failures = 0
        while message := self.next():
            try:
                self.deliver(message)
            except (OSError, ValueError) as e:  # ValueError: a host name that cannot be encoded
                self.hang_up()
                self.fails(e)
                with self.awake:
                    if self.ending:
                        return
                    self.awake.wait_for(lambda: self.ending, RETRY_S[min(failures, len(RETRY_S) - 1)])
                failures += 1
                continue
            failures = 0
            with self.awake:
                # Unless it was dropped while it was on its way, for want of room.
                if self.waiting and self.waiting[0] is message:
                    self.waiting.popleft()

    def next(self) -> Message | None:
        """The oldest message, which stays where it is; waits for one. None when the thread is to end."""
        with self.awake:
            self.awake.wait_for(lambda: self.waiting or self.ending)
            return self.waiting[0] if self.waiting else None

    def deliver(self, message: Message) -> None:
        """Sends a message, and before it what became of others."""
        if self.socket is None or self.gone():
            self.hang_up()
            self.socket = self.server.connect()
        if self.dropped:
            with self.awake:
                count, since = self.dropped, self.dropping_since
            self.write(self.loss(count, since))
            with self.awake:
                self.dropped -= count
            self.say(f"Syslog to {self.server}: {count} messages were dropped.")
        self.write(message)
        if self.failing:
            self.failing = False
            self.say(f"Syslog reaches {self.server} again.")

    def loss(self, count: int, since: float) -> Message:
        """Tells the server of what it did not get."""
        data = {OWN_DATA: {"dropped": str(count)}}
        begin = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Message(WARNING, "DROPPED", f"{count} messages since {begin} were dropped: no server.", data)

    def write(self, message: Message) -> None:
        """Puts a message on the wire, framed as the transport wants it."""
        assert self.socket
        raw = encode(message, self.host, os.getpid())
        self.socket.sendall(raw if self.server.transport == "udp" else b"%d %s" % (len(raw), raw))

    def gone(self) -> bool:
        """True if the server has closed the connection: what is written into it now would be lost unheard."""
        assert self.socket
        if self.server.transport == "udp" or not select.select([self.socket], [], [], 0)[0]:
            return False
        self.socket.settimeout(0)
        try:
            return not self.socket.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False  # only TLS talking to itself
        except OSError:
            return True
        finally:
            self.socket.settimeout(TIMEOUT_S)

    def fails(self, error: Exception) -> None:
        """Says once that the server cannot be reached."""
        if not self.failing:
            reason = getattr(error, "verify_message", "") or getattr(error, "strerror", None) or str(error)
            self.say(f"Syslog does not reach {self.server}: {reason}; messages wait.")
        self.failing = True

    def hang_up(self) -> None:
        """Closes the connection."""
        if self.socket:
            with contextlib.suppress(OSError):
                self.socket.close()
            self.socket = None

    def close(self, seconds: float = 3.0) -> None:
        """Sends what waits, for so long, and ends."""
        with self.awake:
            self.ending = True
            self.awake.notify_all()
        self.thread.join(seconds)
        self.hang_up()
