"""Two boxes side by side between routers that hash on the subscriber's address alone; see docs/proxy.md.

Slow: ``pytest tests/proxy/test_scale.py -m long``.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartwire.errors import Error
from smartwire.lab.net import remove_namespace, run

from .conftest import PORT, Ends, content, read_all, wait_for

pytestmark = [pytest.mark.root, pytest.mark.long]

SUBSCRIBERS = [f"10.1.0.{n}" for n in range(10, 34)]


class Second:
    """Another box, beside the lab's own."""

    def __init__(self, lab) -> None:
        self.lab, self.name = lab, f"{lab.proxy_name}-b"
        self.ns = lab.ns("boxb")

    def build(self) -> None:
        run("ip", "netns", "add", self.ns)
        run("ip", "netns", "exec", self.ns, "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        for router, address, inside in (("router1", "10.8.0.1/24", "access"), ("router2", "10.8.0.2/24", "core")):
            host = self.lab.ns(router)
            run("ip", "-n", host, "link", "add", "out2", "type", "veth", "peer", "name", inside, "netns", self.ns)
            run("ip", "-n", host, "addr", "add", address, "dev", "out2")
            run("ip", "-n", host, "link", "set", "out2", "up")
            run("ip", "-n", self.ns, "link", "set", inside, "up")

    def proxy(self, command: str, *options: str) -> dict:
        ports = ("access", "core") if command == "up" else ()
        argv = ["ip", "netns", "exec", self.ns, sys.executable, "-m", "smartwire", "proxy", command, *ports]
        done = subprocess.run([*argv, "--name", self.name, *options, "--json"], capture_output=True, text=True)
        if done.returncode:
            raise Error(done.stderr)
        return json.loads(done.stdout)


def balance(lab) -> None:
    """Equal-cost routes on both routers, chosen by the subscriber's address with one seed."""
    for host, network, gateways, fields in (
        ("router1", "10.2.0.0/24", ("10.9.0.2", "10.8.0.2"), "0x1"),  # source address
        ("router2", "10.1.0.0/24", ("10.9.0.1", "10.8.0.1"), "0x2"),  # destination address
    ):
        settings = {"hash_policy": "3", "hash_fields": fields, "hash_seed": "4711"}
        lab.run(host, "sysctl", "-qw", *(f"net.ipv4.fib_multipath_{k}={v}" for k, v in settings.items()))
        lab.run(host, "sysctl", "-qw", "net.ipv4.conf.all.ignore_routes_with_linkdown=1")
        lab.run(host, "ip", "route", "del", network)
        hops = [word for gateway in gateways for word in ("nexthop", "via", gateway)]
        lab.run(host, "ip", "route", "add", network, *hops)


@contextlib.contextmanager
def two_boxes(lab) -> Iterator[Second]:
    second = Second(lab)
    try:
        second.build()
        lab.proxy("up")
        second.proxy("up")
        balance(lab)
        for address in SUBSCRIBERS:
            lab.run("client", "ip", "addr", "add", f"{address}/24", "dev", "eth0")
        yield second
    finally:
        with contextlib.suppress(Error):
            second.proxy("down", "--limit", "0")
        remove_namespace(second.ns)


def connect(lab, address: str) -> socket.socket:
    client = lab.socket("client")
    client.settimeout(20)
    client.bind((address, 0))
    client.connect((lab.server(4), PORT))
    return client


def download(lab, address: str) -> bytes:
    with connect(lab, address) as client:
        client.sendall(b"get 100000\n")
        return read_all(client)


def subscribers(box) -> list[str]:
    """Who has had connections in a box within the last minute."""
    return sorted({flow["access_addr"] for flow in box.proxy("flows", "-n", "1000")["flows"]})


def proxied(box) -> int:
    return box.proxy("status")["counters"]["proxied"]


def test_each_subscriber_has_one_box_and_the_death_of_one_is_nothing_to_the_others(lab):
    with two_boxes(lab) as second:
        assert Ends(lab)
        for _ in range(2):
            for address in SUBSCRIBERS:
                assert download(lab, address) == content(100_000)
        mine, others = subscribers(lab), subscribers(second)
        assert min(len(mine), len(others)) > 3
        assert sorted(mine + others) == sorted(SUBSCRIBERS)  # each in one box, again and again
        assert (proxied(lab), proxied(second)) == (2 * len(mine), 2 * len(others))
        # The second box's proxy dies: its connections are reset, the first box's go on, new ones pass it directly.
        safe, lost = connect(lab, mine[0]), connect(lab, others[0])
        for client in (safe, lost):
            client.sendall(b"slow 150\n")
            assert client.recv(1)
        haproxy = second.proxy("status")["haproxy"]["pid"]
        supervisor = int(Path(f"/proc/{haproxy}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(supervisor, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            read_all(lost)
        assert len(read_all(safe)) == 150 * 1000 - 1
        assert download(lab, others[1]) == content(100_000)
        # Its links are lost: every subscriber has the first box.
        before = proxied(lab)
        for ifname in ("access", "core"):
            run("ip", "-n", second.ns, "link", "set", ifname, "down")
        wait_for(lambda: download(lab, others[2]) == content(100_000))
        assert download(lab, others[3]) == content(100_000)
        assert proxied(lab) >= before + 2
