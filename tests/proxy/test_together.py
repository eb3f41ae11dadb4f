"""A wire and a proxy on the same ports: each has its connections, and neither cares whether the other lives."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from .conftest import PORT, Ends, content, ended, read_all, wait_for

pytestmark = pytest.mark.root

RULES = f"""
[[rule]]
name = "web"
action = "proxy"
port = {PORT}
"""
OTHER = 443
"""Port of the connections that no rule chooses."""


class Running:
    """`smartwire run` in the box."""

    def __init__(self, lab, io: str) -> None:
        self.lab, self.name = lab, lab.proxy_name
        argv = ["ip", "netns", "exec", lab.ns("box"), sys.executable, "-m", "smartwire", "run", "access", "core"]
        self.process = subprocess.Popen(
            [*argv, "--io", io, "--mend", "--fill-checksums", "--name", self.name],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert self.process.stdout
        lines = iter(self.process.stdout.readline, "")
        said = []
        for line in lines:
            said.append(line)
            if line.startswith("packets flow"):
                break
        else:
            raise AssertionError("".join(said))

    def status(self) -> dict:
        return json.loads(self.lab.smartwire("status", "--name", self.name, "--json").stdout)

    def end(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        self.process.wait(30)


@contextlib.contextmanager
def both(lab, io: str, first: str, directory: Path):
    """A wire and a proxy on the ports, one after the other."""
    for host in ("router1", "router2"):  # super-packets are no frames that a link has
        lab.run(host, "ethtool", "-K", "out", "tso", "off", "gso", "off", "gro", "off")
    rules = directory / "rules.toml"
    rules.write_text(RULES)
    if first == "proxy":
        lab.proxy("up", "--rules", str(rules))
    wire = Running(lab, io)
    try:
        if first == "wire":
            lab.proxy("up", "--rules", str(rules))
        yield wire, Ends(lab, OTHER)
    finally:
        wire.end(signal.SIGKILL)


def transfers(ends: Ends, port: int) -> None:
    """A download and an upload, of each IP version."""
    data = content(400_000)
    for version in (4, 6):
        assert ends.get(version, len(data), port=port) == data
        assert ends.put(version, data, port=port) == hashlib.sha256(data).hexdigest()


def datagram(lab) -> None:
    """What is no TCP passes by both."""
    server, client = (lab.socket(host, kind=socket.SOCK_DGRAM) for host in ("server", "client"))
    with server, client:
        server.settimeout(10)
        server.bind((lab.server(4), 5000))
        client.sendto(b"hello", (lab.server(4), 5000))
        assert server.recv(10) == b"hello"


SLOW = pytest.mark.long


@pytest.mark.parametrize(
    ("first", "io"),
    [
        ("wire", "xdp"),
        ("proxy", "packet"),
        pytest.param("wire", "packet", marks=SLOW),
        pytest.param("proxy", "xdp", marks=SLOW),
    ],
)
def test_each_has_its_connections_whichever_came_first(lab, io, first, tmp_path):
    with both(lab, io, first, tmp_path) as (wire, ends):
        transfers(ends, PORT)
        transfers(ends, OTHER)
        datagram(lab)
        proxied, seen = lab.proxy("status")["counters"], wire.status()
        assert (proxied["proxied"], proxied["lost"]) == (4, 0)
        assert seen["counters"]["optimized"] == 4
        assert not any(seen["refused"].values())
        assert seen["counters"]["not_optimized"] == 2 * 4  # the handshakes' two; no frame of the proxy's
        lab.proxy("down")
        transfers(ends, PORT)
        assert wire.status()["counters"]["optimized"] == 8
        wire.end(signal.SIGTERM)
        assert wire.process.returncode == 0


class Download(threading.Thread):
    """A download that is under way, and how it ended."""

    def __init__(self, ends: Ends, port: int) -> None:
        super().__init__(daemon=True)
        self.client = ends.connect(4, port=port)
        self.client.sendall(b"slow 100\n")
        assert self.client.recv(1)
        self.got: object = None
        self.start()

    def run(self) -> None:
        try:
            self.got = 1 + len(read_all(self.client))
        except OSError as e:
            self.got = type(e).__name__

    def outcome(self) -> object:
        self.join(60)
        return self.got


@pytest.mark.parametrize("io", ["packet", pytest.param("xdp", marks=SLOW)])
def test_the_death_of_either_is_nothing_to_the_other(lab, io, tmp_path):
    with both(lab, io, "wire", tmp_path) as (wire, ends):
        mine, others = Download(ends, PORT), Download(ends, OTHER)
        pid = lab.proxy("status")["haproxy"]["pid"]
        os.kill(pid, signal.SIGKILL)
        assert mine.outcome() == "ConnectionResetError"
        wait_for(lambda: lab.proxy("status")["state"] == "open" and lab.proxy("status")["deaths"] == 1)
        transfers(ends, PORT)
        assert others.outcome() == 100_000
        mine = Download(ends, PORT)
        wire.end(signal.SIGKILL)
        transfers(ends, OTHER)
        transfers(ends, PORT)
        assert mine.outcome() == 100_000


@SLOW
@pytest.mark.parametrize("io", ["xdp", "packet"])
def test_what_the_proxy_does_not_take_while_it_is_dead_the_wire_optimizes(lab, io, tmp_path):
    with both(lab, io, "proxy", tmp_path) as (wire, ends):
        pid = lab.proxy("status")["haproxy"]["pid"]
        supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)
        wait_for(lambda: ended(pid, supervisor))
        time.sleep(0.5)  # until the proxy's silence is noticed
        transfers(ends, PORT)
        assert wire.status()["counters"]["optimized"] == 4
        lab.proxy("up")
        transfers(ends, OTHER)
        assert lab.proxy("status")["counters"]["proxied"] == 4
