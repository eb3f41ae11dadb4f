"""The container: a network namespace in which everything that comes in is local, and has a way out.

::

    host                                container
    access port ═► veth_access ──── vc   default via 169.254.1.1 dev vc onlink metric 100 congctl bbr
    core port   ═► veth_core   ──── vs   default via 169.254.1.2 dev vs onlink metric 200 congctl cubic
                                         rule iif vc|vs lookup 100; table 100: local default dev lo

The gateways do not exist: their neighbours are permanent with a made-up MAC address, which the program on the host's
end of the veth replaces with the real one (bpf/proxy_veth.bpf.c). What HAProxy sends to a client takes the first
route; what it sends to a server is bound to vs. The same in IPv6 with fe80::1 and fe80::2. No netfilter, no address.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from smartwire.errors import Error

PREFIX = "swproxy-"
NETNS = Path("/run/netns")
GATEWAY_MAC = "02:53:57:00:00:01"
SIDES = (("vc", "169.254.1.1", "fe80::1", 100), ("vs", "169.254.1.2", "fe80::2", 200))
BUFFER_BYTES = 16 << 20

SYSCTLS = {
    "net.core.somaxconn": "65535",
    "net.ipv4.tcp_max_syn_backlog": "65535",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_rmem": f"4096 131072 {BUFFER_BYTES}",
    "net.ipv4.tcp_wmem": f"4096 87380 {BUFFER_BYTES}",
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.tcp_mtu_probing": "1",
    # Towards servers the program on the veth takes it back where the client did not ask for it.
    "net.ipv4.tcp_ecn": "1",
    # A client may reuse a port within the minute that the leg to the server is in TIME-WAIT.
    "net.ipv4.tcp_tw_reuse": "1",
    "net.ipv4.tcp_tw_reuse_delay": "1",
    # An end that does not acknowledge is given up after some 100 s (RFC 9293 section 3.8.3, R2), not 15 minutes.
    "net.ipv4.tcp_retries2": "8",
    # Of a connection that was cut off, only what the kernel still has to say.
    "net.ipv4.tcp_orphan_retries": "4",
    # A silent end is asked after five minutes whether it is there. HAProxy could say this too, with six more system
    # calls per connection.
    "net.ipv4.tcp_keepalive_time": "300",
    "net.ipv4.tcp_keepalive_intvl": "30",
    "net.ipv4.tcp_keepalive_probes": "8",
    "net.ipv4.conf.all.rp_filter": "0",
    "net.ipv4.conf.default.rp_filter": "0",
}
SYSCTLS_OF_INTERFACE = {
    "net.ipv4.conf.{}.rp_filter": "0",
    "net.ipv6.conf.{}.accept_ra": "0",
    "net.ipv6.conf.{}.router_solicitations": "0",
    "net.ipv6.conf.{}.accept_dad": "0",
    "net.ipv6.conf.{}.addr_gen_mode": "1",
}


@dataclass(frozen=True)
class Tcp:
    """TCP of one side of the container, as attributes of its routes.

    Args:
        congestion: name of its congestion control.
        initial_window: segments.
        mss: to announce, in bytes; None leaves it to the MTU.
    """

    congestion: str
    initial_window: int = 10
    mss: int | None = None

    @property
    def attributes(self) -> str:
        """For ``ip route``."""
        mss = f" advmss {self.mss}" if self.mss else ""
        return f" congctl {self.congestion} initcwnd {self.initial_window}{mss}"


@dataclass(frozen=True)
class Container:
    """A proxy's namespace and its veths.

    Args:
        name: of the proxy.
        access: name of the access port, whose index the host's veths carry in their names.
        number: 0 or 1; an upgrade has two.
    """

    name: str
    access: str
    number: int = 0

    @property
    def namespace(self) -> str:
        """Name of the network namespace."""
        return PREFIX + self.name + ("+" if self.number else "")  # which no name of a proxy has

    @property
    def path(self) -> Path:
        """Its file."""
        return NETNS / self.namespace

    @property
    def veths(self) -> tuple[str, str]:
        """The host's ends: access, core."""
        index = socket.if_nametoindex(self.access)
        sides = "bd" if self.number else "ac"
        return f"swp{sides[0]}{index}", f"swp{sides[1]}{index}"

    def identity(self) -> int | None:
        """What tells this namespace from another of its name; None: there is none.

        The name of one that ended with the mount namespace it was made in is a plain file.
        """
        with contextlib.suppress(OSError):
            found = self.path.stat()
            if found.st_dev == Path("/proc/self/ns/net").stat().st_dev:
                return found.st_ino
        return None

    def build(self, mtu: int, access: Tcp, core: Tcp) -> None:
        """Builds it. Raises a sentence; what was built by then is for :meth:`remove`."""
        allow(access.congestion, core.congestion)
        run("ip", "netns", "add", self.namespace)
        for host, (inside, *_) in zip(self.veths, SIDES, strict=True):
            run("ip", "link", "add", host, "mtu", str(mtu), "type", "veth", "peer", "name", inside, "mtu", str(mtu),
                "netns", self.namespace)  # fmt: skip
            write_sysctl(f"net.ipv6.conf.{host}.disable_ipv6", "1")
            run("ip", "link", "set", host, "txqueuelen", "10000", "arp", "off", "up")
        settings = SYSCTLS | {
            key.format(inside): value for inside, *_ in SIDES for key, value in SYSCTLS_OF_INTERFACE.items()
        }
        # Those that this kernel does not have (IPv6 may be off) are no loss.
        run(
            "ip",
            "netns",
            "exec",
            self.namespace,
            "sysctl",
            "-e",
            "-q",
            "-w",
            *(f"{k}={v}" for k, v in settings.items()),
        )
        self.batch(["link set lo up", *(f"link set {inside} up" for inside, *_ in SIDES)])
        for version in (4, 6):
            lines = ["route add local default dev lo table 100"]
            for (inside, v4, v6, metric), tcp in zip(SIDES, (access, core), strict=True):
                gateway = v4 if version == 4 else v6
                lines += [
                    f"neigh replace {gateway} lladdr {GATEWAY_MAC} dev {inside} nud permanent",
                    f"route add default via {gateway} dev {inside} onlink metric {metric}{tcp.attributes}",
                    f"rule add iif {inside} lookup 100",
                ]
            self.batch(lines, f"-{version}")

    def take_any_port(self, port: int) -> None:
        """By nftables: connections to whatever port go to a listener on `port`. Frames from servers meet no rule."""
        rule = f'iifname "{SIDES[0][0]}" meta l4proto tcp tproxy to :{port} accept'
        rules = nft_rules("prerouting priority mangle", rule)
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", stdin=rules)

    def batch(self, commands: list[str], family: str = "-4") -> None:
        """Runs ``ip`` commands inside."""
        run("ip", "-n", self.namespace, family, "-batch", "-", stdin="\n".join(commands) + "\n")

    def link(self, name: str, inside: bool = False) -> dict:
        """What ``ip link`` knows about an interface."""
        where = ("-n", self.namespace) if inside else ()
        return json.loads(run("ip", *where, "-j", "link", "show", "dev", name))[0]

    def nsid(self) -> int:
        """The number by which the ports' namespace knows the container."""
        return int(self.link(self.veths[0])["link_netnsid"])

    def command(self, *argv: str) -> list[str]:
        """The argument vector that runs ``argv`` inside."""
        return ["ip", "netns", "exec", self.namespace, *argv]

    def remove(self) -> None:
        """Takes it down with everything that runs in it; silent if it is not there."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True, check=False)
        for pid in listed.stdout.split():
            if int(pid) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        with contextlib.suppress(OSError):
            for host in self.veths:
                subprocess.run(["ip", "link", "del", host], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "del", self.namespace], capture_output=True, check=False)


def nft_rules(hook: str, rule: str) -> str:
    """One rule at a hook, for ``nft -f``."""
    chain = f"chain {hook.split()[0]} {{\ntype filter hook {hook};\n{rule}\n}}"
    return f"table inet smartwire {{\n{chain}\n}}\n"


def congestion_controls(*wanted: str) -> list[str]:
    """Those that the kernel has, after it was given the chance to load the modules of some."""
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control")
    for name in wanted:
        if name not in available.read_text().split() and shutil.which("modprobe"):
            subprocess.run(["modprobe", f"tcp_{name}"], capture_output=True, check=False)
    return available.read_text().split()


def best_congestion_control() -> str:
    """BBR towards a radio, where the kernel has it."""
    return "bbr" if "bbr" in congestion_controls("bbr") else "cubic"


def allow(*congestion: str) -> None:
    """Raises a sentence unless the kernel has these congestion controls."""
    known = congestion_controls(*congestion)
    for name in congestion:
        if name not in known:
            raise Error(f"This kernel has no congestion control {name!r}; it has {', '.join(known)}.")


def write_sysctl(key: str, value: str) -> None:
    """Sets a sysctl of this namespace that may be missing."""
    with contextlib.suppress(FileNotFoundError):
        Path("/proc/sys", *key.split(".")).write_text(value)


def missing(program: str) -> Error:
    """Which package has it."""
    package = {"sysctl": "procps", "nft": "nftables"}.get(program, "iproute2")
    return Error(f"The proxy needs `{program}`: apt-get install {package}.")


def run(*argv: str, stdin: str | None = None) -> str:
    """Runs a command and returns its standard output; Error carries its last line of complaint."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise missing(argv[0]) from None
    if done.returncode == 255 and argv[:3] == ("ip", "netns", "exec") and "exec of" in done.stderr:
        raise missing(argv[4])
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines()
        raise Error(f"`{' '.join(argv)}` failed: {complaint[0] if complaint else f'exit {done.returncode}'}")
    return done.stdout
