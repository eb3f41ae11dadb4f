"""Syslog: messages as RFC 5424 has them, over UDP, TCP and TLS to Debian's rsyslog; what happens without a server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest
from smartwire.alarms.evaluate import Alarm, Change
from smartwire.errors import UsageError
from smartwire.north import syslog
from smartwire.north.syslog import INFO, NOTICE, Message, Sender, Server, encode, of_alarm

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
needs_rsyslog = pytest.mark.skipif(
    not shutil.which("rsyslogd", path=PATH), reason="rsyslogd is not installed (apt: rsyslog rsyslog-gnutls)"
)
GTLS = list(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"))
TEXT, REMEDY = "The core port eth2 has no carrier.", 'Check the cable "A" [or B].'
ALARM = Alarm(17, "port-down", "wire/w/port/core", "critical", TEXT, REMEDY, 1_764_028_800.25)


def wait_for(what, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not (done := what()) and time.monotonic() < end:
        time.sleep(0.02)
    return bool(done)


# ---- the message ----------------------------------------------------------------------------------------------------


def test_an_alarm_is_a_message_of_rfc_5424_with_the_data_of_rfc_5674():
    raw = encode(of_alarm(Change(ALARM, ALARM.text)), "box", 42)
    assert raw.decode() == (
        "<129>1 2025-11-25T00:00:00.250000Z box smartwire 42 ALARM_RAISED "
        '[alarm resource="wire/w/port/core" probableCause="lossOfSignal" perceivedSeverity="critical" '
        'eventType="communicationsAlarm"]'
        '[smartwire@32473 name="port-down" number="17" remedy="Check the cable \\"A\\" [or B\\]."] ' + TEXT
    )


def test_a_cleared_alarm_is_a_notice_of_its_own_time():
    cleared = Alarm(**vars(ALARM) | {"cleared": 1_764_028_860.0})
    raw = encode(of_alarm(Change(cleared, "It has a carrier.")), "box", 42).decode()
    assert raw.startswith("<133>1 2025-11-25T00:01:00.000000Z box smartwire 42 ALARM_CLEARED ")
    assert 'perceivedSeverity="cleared"' in raw


def test_header_fields_stay_printable_words():
    raw = encode(Message(INFO, "a b\nc", "x", unix_s=0), "", 1).decode()
    assert raw == "<134>1 1970-01-01T00:00:00.000000Z - smartwire 1 a?b?c - x"


def test_a_text_in_utf8_has_a_byte_order_mark_and_ascii_has_none():
    assert encode(Message(INFO, "M", "grün", unix_s=0), "h", 1).endswith(b" - \xef\xbb\xbfgr\xc3\xbcn")
    assert encode(Message(INFO, "M", "two\nlines", unix_s=0), "h", 1).endswith(b" - two lines")


def test_a_text_that_is_too_long_is_cut_between_two_characters():
    raw = encode(Message(INFO, "M", "ü" * 3000, unix_s=0), "h", 1)
    assert syslog.MAX_BYTES - 2 < len(raw) <= syslog.MAX_BYTES
    raw.decode()


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("udp://192.0.2.1", ("udp", "192.0.2.1", 514)),
        ("tcp://[2001:db8::1]:1601", ("tcp", "2001:db8::1", 1601)),
        ("tls://logs.example", ("tls", "logs.example", 6514)),
    ],
)
def test_servers_are_written_as_urls(text, server):
    found = Server.parse(text)
    assert (found.transport, found.host, found.port) == server
    assert Server.parse(str(found)) == found


@pytest.mark.parametrize(
    "text", ["", "192.0.2.1", "http://x", "udp://", "udp://x:99999", "tcp://2001:db8::1", "udp://x:0"]
)
def test_what_is_no_server_is_one_sentence(text):
    with pytest.raises(UsageError, match="write it like"):
        Server.parse(text)


# ---- to rsyslog -----------------------------------------------------------------------------------------------------


def free_port(kind=socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Rsyslog:
    """Debian's rsyslogd in the foreground, with one input; what it understood goes to a file, a field per column."""

    def __init__(self, directory: Path, transport: str, port: int, certificates: dict[str, Path] | None = None) -> None:
        self.directory, self.port, self.log = directory, port, directory / "received"
        module = "imudp" if transport == "udp" else "imtcp"
        tls, files = "", ""
        if certificates:
            tls = ' StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon"'
            names = {"ca": "CA", "certificate": "Cert", "key": "Key"}
            files = " ".join(f'DefaultNetstreamDriver{n}File="{certificates[k]}"' for k, n in names.items())
        fields = "%pri%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%"
        (directory / "conf").write_text(
            f'global(workDirectory="{directory}" {files})\n'
            f'module(load="{module}"{tls})\ninput(type="{module}" port="{port}" address="127.0.0.1")\n'
            f'template(name="t" type="string" string="{fields}\\n")\n'
            f'action(type="omfile" file="{self.log}" template="t")\n'
        )
        self.process: subprocess.Popen | None = None

    def start(self) -> Rsyslog:
        command = ["rsyslogd", "-n", "-f", self.directory / "conf", "-i", self.directory / "pid"]
        out = (self.directory / "out").open("a")
        self.process = subprocess.Popen(command, env=os.environ | {"PATH": PATH}, stdout=out, stderr=out)
        return self

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(timeout=60)
            self.process = None

    def lines(self) -> list[list[str]]:
        if not self.log.exists():
            return []
        return [line.split("|") for line in self.log.read_text().splitlines() if "smartwire" in line]


@pytest.fixture
def rsyslog(tmp_path):
    """Makes rsyslogs: rsyslog("tcp", 1234)."""
    made: list[Rsyslog] = []

    def make(transport: str, port: int, certificates=None) -> Rsyslog:
        made.append(Rsyslog(tmp_path, transport, port, certificates))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def certificates(tmp_path):
    """A certificate for 127.0.0.1, and the authority that signed it."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    paths = {name: tmp_path / f"{name}.pem" for name in ("ca", "ca_key", "certificate", "key")}

    def openssl(*argv) -> None:
        subprocess.run(["openssl", *argv], check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl("req", "-x509", *curve, "-subj", "/CN=test authority", "-keyout", paths["ca_key"], "-out", paths["ca"])
    openssl("req", "-x509", *curve, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
            "-addext", "basicConstraints=critical,CA:FALSE", "-CA", paths["ca"], "-CAkey", paths["ca_key"],
            "-keyout", paths["key"], "-out", paths["certificate"])  # fmt: skip
    return paths


def sender(transport: str, port: int, **more) -> Sender:
    made = Sender(Server(transport, "127.0.0.1", port, **more), host="box")
    made.said = []
    made.say = made.said.append
    return made


EXPECTED = ["129", "box", "smartwire", "ALARM_RAISED",
            '[alarm resource="wire/w/port/core" probableCause="lossOfSignal" perceivedSeverity="critical" '
            'eventType="communicationsAlarm"][smartwire@32473 name="port-down" number="17" '
            'remedy="Check the cable \\"A\\" [or B\\]."]', TEXT]  # fmt: skip


@needs_rsyslog
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_rsyslog_understands_every_field(rsyslog, transport):
    port = free_port(socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    server = rsyslog(transport, port)
    one = sender(transport, port)

    def arrived() -> bool:
        one.tell(Change(ALARM, TEXT))  # a datagram before rsyslog listens is lost, rightly
        time.sleep(0.1)
        return bool(server.lines())

    assert wait_for(arrived), (server.directory / "out").read_text()
    assert server.lines()[0] == EXPECTED
    one.close()


@needs_rsyslog
@pytest.mark.skipif(not GTLS, reason="rsyslog-gnutls is not installed")
def test_rsyslog_understands_it_over_tls_and_a_wrong_authority_stops_it(rsyslog, certificates, tmp_path):
    port = free_port()
    server = rsyslog("tls", port, certificates)
    one = sender("tls", port, ca_file=certificates["ca"])
    one.tell(Change(ALARM, TEXT))
    assert wait_for(server.lines), f"{one.said} {(server.directory / 'out').read_text()}"
    assert server.lines()[0] == EXPECTED
    one.close()
    stranger = sender("tls", port)  # trusts the system's authorities only
    stranger.tell(Change(ALARM, TEXT))
    assert wait_for(lambda: stranger.said)
    assert "does not reach" in stranger.said[0]
    assert len(server.lines()) == 1
    stranger.close(0.1)


@needs_rsyslog
def test_many_messages_at_once_over_tcp_are_counted_octets_and_none_is_merged(rsyslog):
    port = free_port()
    server = rsyslog("tcp", port)
    one = sender("tcp", port)
    for number in range(500):
        one.send(Message(INFO, "COUNT", f"number {number} of\nmany, with a line break"))
    assert wait_for(lambda: len(server.lines()) == 500), (len(server.lines()), one.said)
    assert [line[-1] for line in server.lines()] == [f"number {n} of many, with a line break" for n in range(500)]
    one.close()


@needs_rsyslog
def test_after_a_restart_of_rsyslog_it_connects_again_and_what_waited_arrives(rsyslog, monkeypatch):
    monkeypatch.setattr(syslog, "RETRY_S", (0.1,))
    port = free_port()
    server = rsyslog("tcp", port)
    one = sender("tcp", port)
    one.send(Message(INFO, "M", "before"))
    assert wait_for(lambda: len(server.lines()) == 1)
    server.stop()
    for number in range(3):
        one.send(Message(INFO, "M", f"while {number}"))
    assert wait_for(lambda: one.failing)
    server.start()
    assert wait_for(lambda: len(server.lines()) == 4), (server.lines(), one.said)
    assert [line[-1] for line in server.lines()] == ["before", "while 0", "while 1", "while 2"]
    assert "does not reach" in one.said[0]
    assert "again" in one.said[-1]
    one.close()


# ---- without a server -----------------------------------------------------------------------------------------------


class Listener:
    """A TCP server of the test's own; `lines` is what it read, by counted octets."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_server(("127.0.0.1", port))
        self.lines: list[str] = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        peer, _ = self.socket.accept()
        with peer, peer.makefile("rb") as stream:
            while (digits := b"".join(iter(lambda: stream.read(1).strip(), b""))).isdigit():
                self.lines.append(stream.read(int(digits)).decode())


def test_without_a_server_the_newest_wait_and_the_number_of_those_dropped_is_told(monkeypatch):
    monkeypatch.setattr(syslog, "RETRY_S", (0.05,))
    monkeypatch.setattr(syslog, "BACKLOG", 10)
    port = free_port()
    one = sender("tcp", port)
    for number in range(25):
        one.send(Message(INFO, "M", f"number {number}"))
    assert wait_for(lambda: one.failing)
    assert len(one.waiting) == 10
    server = Listener(port)
    assert wait_for(lambda: len(server.lines) == 11), server.lines
    assert 'DROPPED [smartwire@32473 dropped="15"] 15 messages since' in server.lines[0]
    assert [line.split()[-1] for line in server.lines[1:]] == [str(n) for n in range(15, 25)]
    assert wait_for(lambda: one.dropped == 0)
    one.close()
    server.socket.close()


def test_sending_never_waits_for_a_server_that_does_not_read():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one = sender("tcp", silent.getsockname()[1])
        for number in range(3 * syslog.BACKLOG):
            one.send(Message(INFO, "M", "x" * 2000 + str(number)))
        assert len(one.waiting) <= syslog.BACKLOG
        one.close(0.1)


def test_messages_less_severe_than_wanted_are_not_sent():
    one = sender("tcp", free_port(), least=NOTICE)
    one.send(Message(INFO, "M", "too little"))
    assert len(one.waiting) == 0
    one.send(Message(NOTICE, "M", "enough"))
    assert len(one.waiting) == 1
    one.close(0.1)


def test_a_host_that_cannot_be_found_is_said_once_and_tried_again(monkeypatch):
    monkeypatch.setattr(syslog, "RETRY_S", (0.05,))
    tried = []

    def refuse(*args, **more):
        tried.append(args)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", refuse)
    one = sender("tcp", 601)
    one.send(Message(INFO, "M", "x"))
    assert wait_for(lambda: len(tried) >= 3)
    assert len(one.said) == 1
    assert "Name or service not known" in one.said[0]
    one.close(0.1)


def test_closing_ends_the_thread_though_no_server_is_there():
    one = sender("tcp", free_port())
    one.send(Message(INFO, "M", "x"))
    one.close()
    assert wait_for(lambda: not one.thread.is_alive())
