"""Namespaces, links and addresses of the lab: built in a second, taken down without a trace.

The chain is one Ethernet segment, cut in two places by emulators and in one by the wire::

    phone ── phone0  radio  radio0 ── access  wire  core ── net0  internet  net1 ── server
    (N addresses)  (emulator)        (smartwire run)       (emulator)

Each phone is an IPv4 address and an IPv6 /64 on the phone host, hence a subscriber of its own. Neighbours are
permanent, so no ARP or ND crosses the chain; offloads are off everywhere before the first packet; TCP metrics are not
saved between connections; buffers are 16 MB; CUBIC is allowed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from smartwire.errors import Error
from smartwire.proxy.netns import socket_inside
from smartwire.wire import registry

PREFIX = "swlab"
"""Namespaces are named ``swlab-<pid of their owner>-<number>-<host>``, those of a lab that stays ``swlab-0-<host>``."""

WIRE_PREFIX = "lab"
"""Wires that a run of the lab starts are called ``lab-<pid>-<number>``."""

HOSTS = ("phone", "radio", "wire", "internet", "server")

BUFFER_BYTES = 16 << 20

ENDPOINT_SYSCTLS = {
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv4.tcp_rmem": f"4096 131072 {BUFFER_BYTES}",
    "net.ipv4.tcp_wmem": f"4096 131072 {BUFFER_BYTES}",
    "net.ipv4.tcp_slow_start_after_idle": "1",
    "net.ipv4.tcp_fastopen": "3",
    "net.ipv4.ip_local_port_range": "10000 65000",
}

QUIET_IPV6 = {"accept_dad": "0", "dad_transmits": "0", "accept_ra": "0", "router_solicitations": "0"}
"""Before an interface comes up: no address of it is ever tentative, and it asks nobody for a router."""

OFFLOADS = ("rx", "tx", "sg", "tso", "gso", "gro", "lro", "txvlan", "rxvlan",
            "tx-vlan-stag-hw-insert")


@dataclass(frozen=True)
class Link:
    """A veth pair: (host, interface) at either end."""

    left: tuple[str, str]
    right: tuple[str, str]


CHAIN = (
    Link(("phone", "eth0"), ("radio", "phone0")),
    Link(("radio", "radio0"), ("wire", "access")),
    Link(("wire", "core"), ("internet", "net0")),
    Link(("internet", "net1"), ("server", "eth0")),
)

SHORT_CHAIN = (
    Link(("phone", "eth0"), ("wire", "access")),
    Link(("wire", "core"), ("server", "eth0")),
)

PHONE_MAC, SERVER_MAC = "02:00:00:00:01:01", "02:00:00:00:02:01"


@dataclass
class Lab:
    """A running lab. Use as a context manager; leaving it removes everything.

    Args:
        phones: number of subscribers, 1 to 200; phone *i* (from 1) is 10.1.0.i and 2001:db8:1:i::1.
        mtu: of every link, in bytes.
        emulated: without, the phone and the server are one veth away from the wire host's ports.
        owner: process that it belongs to and goes with; 0: it stays (``smartwire lab up``).
    """

    phones: int = 1
    mtu: int = 1500
    emulated: bool = True
    owner: int = field(default_factory=os.getpid)
    number: int = field(default_factory=itertools.count(1).__next__)

    server_v4 = "10.2.0.1"
    server_v6 = "2001:db8:2::1"

    def ns(self, host: str) -> str:
        """The namespace of a host."""
        return f"{PREFIX}-{self.owner}-{self.number}-{host}" if self.owner else f"{PREFIX}-0-{host}"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Its hosts, from the phone to the server."""
        return HOSTS if self.emulated else ("phone", "wire", "server")

    @staticmethod
    def phone_v4(index: int) -> str:
        """IPv4 address of phone ``index`` (from 1)."""
        return f"10.1.0.{index}"

    @staticmethod
    def phone_v6(index: int) -> str:
        """IPv6 address of phone ``index`` (from 1); its /64 is the subscriber."""
        return f"2001:db8:1:{index:x}::1"

    def phone(self, index: int, family: int) -> str:
        """Address of phone ``index`` in IP version ``family`` (4 or 6)."""
        return self.phone_v4(index) if family == 4 else self.phone_v6(index)

    def server(self, family: int) -> str:
        """Address of the server in IP version ``family`` (4 or 6)."""
        return self.server_v4 if family == 4 else self.server_v6

    def __enter__(self) -> Lab:
        self.up()
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()

    def up(self) -> None:
        """Builds the chain. Raises Error with the reason; nothing is left behind then."""
        check_requirements()
        sweep()
        allow_congestion_controls()
        try:
            for host in self.hosts:
                run("ip", "netns", "add", self.ns(host))
                self.batch(host, ["link set lo up"])
            for link in CHAIN if self.emulated else SHORT_CHAIN:
                self._join(link)
            self._address("phone", PHONE_MAC, SERVER_MAC)
            self._address("server", SERVER_MAC, PHONE_MAC)
        except Error:
            self.down()
            raise

    def down(self) -> None:
        """Kills what runs in the lab's namespaces and removes them."""
        for host in self.hosts:
            remove_namespace(self.ns(host))

    def batch(self, host: str, commands: list[str], family: str = "-4") -> None:
        """Runs ``ip`` commands in a host's namespace, in one process."""
        run("ip", "-n", self.ns(host), family, "-batch", "-", stdin="\n".join(commands) + "\n")

    def command(self, host: str, *argv: str) -> list[str]:
        """The argument vector that runs ``argv`` inside a host."""
        return ["ip", "netns", "exec", self.ns(host), *argv]

    def run(self, host: str, *argv: str, check: bool = True) -> str:
        """Runs a command inside a host and returns what it printed."""
        return run(*self.command(host, *argv), check=check)

    def popen(self, host: str, *argv: str, **kwargs: object) -> subprocess.Popen:
        """Starts a command inside a host, in a session of its own."""
        return subprocess.Popen(self.command(host, *argv), start_new_session=True, **kwargs)  # type: ignore[call-overload]

    def socket(self, host: str, family: socket.AddressFamily, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of a host's, for whoever runs outside of it."""
        return socket_inside(Path("/run/netns") / self.ns(host), family, kind)

    def sysctl(self, host: str, settings: dict[str, str]) -> None:
        """Sets sysctls inside a host."""
        self.run(host, "sysctl", "-q", "-w", *(f"{k}={v}" for k, v in settings.items()))

    def congestion(self, host: str, name: str) -> None:
        """Chooses the congestion control of a host's new connections: cubic, bbr or reno."""
        self.sysctl(host, {"net.ipv4.tcp_congestion_control": name})

    def initial_window(self, host: str, segments: int) -> None:
        """Sets a host's initial congestion window."""
        for version in (4, 6):
            routes = self.run(host, "ip", f"-{version}", "route", "show", "dev", "eth0").splitlines()
            chosen = [route.strip() for route in routes if " src " in route]
            lines = [f"route replace {route} dev eth0 initcwnd {segments}" for route in chosen]
            self.batch(host, lines, family=f"-{version}")

    def _join(self, link: Link) -> None:
        (lhost, lif), (rhost, rif) = link.left, link.right
        run("ip", "-n", self.ns(lhost), "link", "add", lif, "mtu", str(self.mtu), "type", "veth",
            "peer", "name", rif, "mtu", str(self.mtu), "netns", self.ns(rhost))
        for host, ifname in (link.left, link.right):
            endpoint = host in ("phone", "server")
            quiet = QUIET_IPV6 if endpoint else {"disable_ipv6": "1"}
            self.sysctl(host, {f"net.ipv6.conf.{ifname}.{key}": value for key, value in quiet.items()})
            self.run(host, "ethtool", "-K", ifname, *(w for o in OFFLOADS for w in (o, "off")), check=False)
            arp = "" if endpoint else " arp off"
            self.batch(host, [f"link set {ifname} txqueuelen 10000 up{arp}"])

    def _address(self, host: str, own_mac: str, peer_mac: str) -> None:
        self.batch(host, ["link set eth0 down", f"link set eth0 address {own_mac} up"])
        self.sysctl(host, ENDPOINT_SYSCTLS)
        self.congestion(host, "cubic")
        phones = {4: [self.phone_v4(i) for i in self.phone_range()], 6: [self.phone_v6(i) for i in self.phone_range()]}
        servers = {4: [self.server_v4], 6: [self.server_v6]}
        own, peers = (phones, servers) if host == "phone" else (servers, phones)
        for version, suffix in ((4, "/32"), (6, "/64")):
            nodad = " nodad" if version == 6 else ""
            lines = [f"addr add {address}{suffix} dev eth0{nodad}" for address in own[version]]
            for peer in peers[version]:
                lines.append(f"route replace {peer} dev eth0 src {own[version][0]}")
                lines.append(f"neigh replace {peer} lladdr {peer_mac} dev eth0 nud permanent")
            self.batch(host, lines, family=f"-{version}")

    def phone_range(self) -> range:
        """The indices of the phones, from 1."""
        return range(1, self.phones + 1)


def run(*argv: str, stdin: str | None = None, check: bool = True) -> str:
    """Runs a command and returns its standard output; Error carries its last line of complaint."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise Error(f"`{' '.join(argv)}` failed: {complaint[-1] if complaint else f'exit {done.returncode}'}")
    return done.stdout


def check_requirements() -> None:
    """Raises Error, naming the fix, where the lab cannot run."""
    if os.geteuid() != 0:
        raise Error("The lab makes network namespaces, which needs root: run it with sudo.")
    for tool, package in (("ip", "iproute2"), ("ethtool", "ethtool"), ("sysctl", "procps")):
        if shutil.which(tool) is None:
            raise Error(f"The lab needs `{tool}`: apt-get install {package}.")


def allow_congestion_controls() -> None:
    """Lets namespaces choose any congestion control that the kernel has (a host-wide setting, only ever widened)."""
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    allowed = Path("/proc/sys/net/ipv4/tcp_allowed_congestion_control")
    if set(available) - set(allowed.read_text().split()):
        allowed.write_text(" ".join(available))


def namespaces() -> Iterator[tuple[str, int]]:
    """The lab's namespaces on this machine, with the process that owns each."""
    for line in run("ip", "netns", "list").splitlines():
        if found := re.match(rf"({PREFIX}-(\d+)-\S+)", line):
            yield found[1], int(found[2])


def sweep() -> int:
    """Removes what killed runs left behind, run directories of wires too; returns the number of namespaces removed."""
    for wire in registry.root().glob(f"{WIRE_PREFIX}-*"):
        if not registry.alive(wire):
            shutil.rmtree(wire, ignore_errors=True)
    stale = [name for name, owner in namespaces() if owner and not Path(f"/proc/{owner}").exists()]
    for name in stale:
        remove_namespace(name)
    return len(stale)


def remove_namespace(name: str) -> None:
    """Kills what runs in a namespace and deletes it; silent if it does not exist."""
    listed = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in listed.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
