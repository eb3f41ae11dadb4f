"""A client and a server, each behind a router of its own, and between the routers two ports without addresses::

    client ── eth0  in  router1  out ── access  box  core ── out  router2  in ── eth0 ── server
    10.1.0.2                 10.9.0.1                  10.9.0.2                  10.2.0.2

Routers speak ARP and ND across the box and have MAC addresses that must be seen there, as in a real network; the ends
have neither. Everything keeps its default offloads. IPv6 is the same with fd00:1::2 and fd00:2::2.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from smartwire.errors import Error
from smartwire.lab.net import PREFIX, check_requirements, remove_namespace, run, sweep
from smartwire.proxy.container import Container
from smartwire.proxy.netns import socket_inside
from smartwire.proxy.registry import directory_of
from smartwire.wire.control import ask

HOSTS = ("client", "router1", "box", "router2", "server")
LINKS = (
    ("client", "eth0", "router1", "in"),
    ("router1", "out", "box", "access"),
    ("box", "core", "router2", "out"),
    ("router2", "in", "server", "eth0"),
)
ADDRESSES = (
    ("client", "eth0", "10.1.0.2/24", "fd00:1::2/64"),
    ("router1", "in", "10.1.0.1/24", "fd00:1::1/64"),
    ("router1", "out", "10.9.0.1/24", "fd00:9::1/64"),
    ("router2", "out", "10.9.0.2/24", "fd00:9::2/64"),
    ("router2", "in", "10.2.0.1/24", "fd00:2::1/64"),
    ("server", "eth0", "10.2.0.2/24", "fd00:2::2/64"),
)
ROUTES = (
    ("client", "default", "10.1.0.1", "default", "fd00:1::1"),
    ("router1", "10.2.0.0/24", "10.9.0.2", "fd00:2::/64", "fd00:9::2"),
    ("router2", "10.1.0.0/24", "10.9.0.1", "fd00:1::/64", "fd00:9::1"),
    ("server", "default", "10.2.0.1", "default", "fd00:2::1"),
)
NUMBERS = itertools.count(1)


@dataclass
class Routed:
    """The hosts, as long as the context lasts, and a proxy in the box if one is started."""

    owner: int = field(default_factory=os.getpid)
    number: int = field(default_factory=NUMBERS.__next__)
    proxied: bool = False

    def ns(self, host: str) -> str:
        """The namespace of a host; the lab's names, so that the lab sweeps up what a killed run left."""
        return f"{PREFIX}-{self.owner}-{self.number}r-{host}"

    @property
    def proxy_name(self) -> str:
        """What its proxy is called."""
        return f"lab-{self.owner}-{self.number}"

    @staticmethod
    def server(version: int) -> str:
        """The server's address."""
        return "10.2.0.2" if version == 4 else "fd00:2::2"

    @staticmethod
    def client(version: int) -> str:
        """The client's address."""
        return "10.1.0.2" if version == 4 else "fd00:1::2"

    def __enter__(self) -> Routed:
        check_requirements()
        sweep()
        try:
            self._build()
        except Error:
            self.remove()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def _build(self) -> None:
        run("ip", "-batch", "-", stdin="".join(f"netns add {self.ns(host)}\n" for host in HOSTS))
        # Or its ports would speak before there is a proxy.
        self.run("box", "sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.all.disable_ipv6=1")
        for host in ("router1", "router2"):
            self.run(host, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1")
        for host in HOSTS:
            links = [(lif, right, rif) for left, lif, right, rif in LINKS if left == host]
            self.batch(host, [f"link add {i} type veth peer name {o} netns {self.ns(to)}" for i, to, o in links])
        for host in HOSTS:
            lines = ["link set lo up"]
            for left, lif, right, rif in LINKS:
                lines += [f"link set {ifname} up" for at, ifname in ((left, lif), (right, rif)) if at == host]
            for at, ifname, v4, v6 in ADDRESSES:
                lines += [f"addr add {v4} dev {ifname}", f"addr add {v6} dev {ifname} nodad"] if at == host else []
            for at, to4, via4, to6, via6 in ROUTES:
                lines += [f"route add {to4} via {via4}", f"route add {to6} via {via6}"] if at == host else []
            self.batch(host, lines)

    def batch(self, host: str, commands: list[str]) -> None:
        """Runs ``ip`` commands inside a host, in one process."""
        run("ip", "-n", self.ns(host), "-batch", "-", stdin="\n".join(commands) + "\n")

    def remove(self) -> None:
        """Removes all of it."""
        with contextlib.suppress(Error):
            if self.proxied:
                self.proxy("down", "--limit", "0")
        for host in HOSTS:
            remove_namespace(self.ns(host))
        remove_namespace(Container(self.proxy_name, "access").namespace)  # if its supervisor could not
        shutil.rmtree(directory_of(self.proxy_name), ignore_errors=True)

    def run(self, host: str, *argv: str, check: bool = True) -> str:
        """Runs a command inside a host and returns what it printed."""
        return run("ip", "netns", "exec", self.ns(host), *argv, check=check)

    def smartwire(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs ``smartwire`` in the box."""
        argv = ["ip", "netns", "exec", self.ns("box"), sys.executable, "-m", "smartwire", *command]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def proxy(self, command: str, *options: str) -> dict:
        """Runs ``smartwire proxy COMMAND`` on its proxy and returns the JSON; raises its sentence.

        A mere question is asked without the command, which takes long to start.
        """
        if command in ("status", "flows") and not options:
            return ask(directory_of(self.proxy_name) / "control.sock", command)
        ports = ("access", "core") if command == "up" and "--trunk" not in options else ()
        done = self.smartwire("proxy", command, *ports, "--name", self.proxy_name, *options, "--json")
        if done.returncode:
            raise Error(done.stderr.strip().removeprefix("smartwire: "))
        self.proxied = command != "down"
        return json.loads(done.stdout)

    def socket(
        self, host: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM, protocol: int = 0
    ) -> socket.socket:
        """A socket of a host's."""
        return socket_inside(Path("/run/netns") / self.ns(host), family, kind, protocol)

    def mac(self, host: str, ifname: str) -> bytes:
        """The MAC address of an interface."""
        link = json.loads(run("ip", "-n", self.ns(host), "-j", "link", "show", "dev", ifname))[0]
        return bytes.fromhex(link["address"].replace(":", ""))
