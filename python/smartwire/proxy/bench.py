"""`smartwire bench proxy`: what the paper measured, as far as this machine can show it, in interleaved runs.

The paper: "Building a highly scalable transparent PEP with HAProxy, TC and containers" (netdev; 8 kB objects, one TCP
connection each; its best case made 97,000 transactions a second at 2.8 ms to the first byte).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

from smartwire.errors import Error
from smartwire.lab.figures import median, quantile
from smartwire.lab.routed import Routed
from smartwire.proxy.container import nft_rules, run
from smartwire.proxy.datapath import Datapath, Ports, maps_of_no_wire
from smartwire.proxy.haproxy import die_with_parent, program
from smartwire.proxy.layout import PLACE
from smartwire.proxy.report import WHY_DIRECT
from smartwire.proxy.rules import Rule

PORT = 80
TRIES = 10
STUDENT_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Student's t for a two-sided 95% interval, by degrees of freedom from 1; beyond, near enough 1.96 + 2.6 / freedom."""
TICK = os.sysconf("SC_CLK_TCK")
CPUCLOCK_SCHED = 2
"""With the complement of a process id above it: the clock of that process's processor time, ns (posix-timers.h)."""

PLAIN_CONFIG = """global
    maxconn 6000
    maxpipes 3000
    tune.pipesize 1048576
    nbthread 1
defaults
    mode tcp
    maxconn 6000
    backlog 65535
    retries 0
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option splice-request
    option splice-response
    option clitcpka
    option srvtcpka
frontend four
    bind 10.9.0.6:80
    default_backend four
backend four
    server any 10.2.0.2:80
"""


@dataclass(frozen=True)
class Scenario:
    """Something between client and server.

    Attributes:
        text: for a person.
        options: of ``smartwire proxy up``; None: no proxy of ours.
        paper: the paper's transactions per second in its like, as a ratio to its best case.
    """

    name: str
    text: str
    options: tuple[str, ...] | None
    paper: float | None = None
    conntrack: bool = False


BEST = "tcp-splice"
SCENARIOS = (
    Scenario(BEST, "the proxy, TCP mode, splicing", (), 1.0),
    Scenario("tcp-copy", "the proxy, TCP mode, no splicing", ("--no-splice",), 0.97),
    Scenario("http-splice", "the proxy, HTTP mode, splicing", ("--mode", "http"), 0.763),
    Scenario("http-copy", "the proxy, HTTP mode, no splicing", ("--mode", "http", "--no-splice"), 0.763),
    Scenario("tproxy", "the proxy, any port by nftables", ("--any-port", "tproxy"), 0.97),
    Scenario("conntrack", "the same, with connection tracking", ("--any-port", "tproxy"), None, conntrack=True),
    Scenario("plain", "HAProxy without container or transparency", None),
    Scenario("direct", "no proxy: the copper wire", None),
)
WIRE = Scenario("wire", "the wire engine", None)
LEFT_OUT = {
    "NO-NF": "needs a kernel without netfilter; here no hook is registered in any namespace of the lab",
    "RSS mode": "needs network cards with several queues",
    "NUMA binding": "needs several nodes",
}


@dataclass
class Bench:
    """A lab with one scenario in its box."""

    scenario: Scenario
    lab: Routed
    pid: int | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def target(self) -> str:
        """Where the client connects to."""
        return "10.9.0.6" if self.scenario.name == "plain" else self.lab.server(4)

    def run(self, sizes: str, seconds: float, connections: int) -> dict[str, Any]:
        """One run: its figures; `sizes` as :mod:`smartwire.lab.load` has them. One in which connections went direct
        measured something else, and is done again."""
        for _ in range(TRIES):
            row = self.attempt(sizes, seconds, connections)
            if not row["direct"]:
                self.rows.append(row)
                return row
        raise Error(
            f"In each of {TRIES} runs of {self.scenario.text} connections went direct: this machine is too busy."
        )

    def attempt(self, sizes: str, seconds: float, connections: int) -> dict[str, Any]:
        """A run."""
        before, cpu, idle = self.seen(), self.cpu(), idle_s()
        argv = ["drive", self.target, str(PORT), sizes, str(seconds), str(connections)]
        found = json.loads(self.lab.run("client", sys.executable, "-m", "smartwire.lab.load", *argv))
        used, count, idle = self.cpu() - cpu, found["transactions"], idle_s() - idle
        if not count:
            raise Error(f"No transaction succeeded with {self.scenario.text}; `smartwire proxy logs` may say why.")
        proxied, direct = (now - then for now, then in zip(self.seen(), before, strict=True))
        if self.scenario.options is not None and proxied + direct != count + found["failed"]:
            raise Error(f"The box saw {proxied + direct} SYNs and the client made {count + found['failed']}.")
        return {
            "direct": direct,
            "tps": count / found["seconds"],
            "failed": found["failed"],
            "ttfb_ms": {"p50": median(found["ttfb_ms"]), "p99": quantile(found["ttfb_ms"], 0.99)},
            "haproxy_cpu_us": used / count * 1e6 if self.pid else None,
            "mbps": found["bytes"] * 8e-6 / found["seconds"],
            "client_cpu_share": found["cpu_s"] / found["seconds"],
            "haproxy_cpu_share": used / found["seconds"],
            "idle_share": idle / found["seconds"] / os.cpu_count(),
        }

    def seen(self) -> tuple[int, int]:
        """Connections that went to the proxy so far, and that went direct."""
        if self.scenario.options is None:
            return 0, 0
        counted = self.lab.proxy("status")["counters"]
        return counted["proxied"], sum(counted[why] for why in WHY_DIRECT)

    def cpu(self) -> float:
        """Processor time of HAProxy, s."""
        if not self.pid:
            return 0.0
        return time.clock_gettime(~self.pid << 3 | CPUCLOCK_SCHED)


def idle_s() -> float:
    """Time for which the machine's CPUs had nothing to do, s."""
    return int(Path("/proc/stat").read_text().split()[4]) / TICK


@contextlib.contextmanager
def prepared(scenario: Scenario, directory: Path) -> Iterator[Bench]:
    """A lab with this scenario and a server."""
    with Routed() as lab, contextlib.ExitStack() as stack:
        lab.run("client", "sysctl", "-qw", "net.ipv4.ip_local_port_range=2000 65000")
        argv = ["ip", "netns", "exec", lab.ns("server"), sys.executable, "-m", "smartwire.lab.load", "serve"]
        server = subprocess.Popen([*argv, lab.server(4), str(PORT)], stdout=subprocess.PIPE, text=True)
        stack.callback(server.wait)
        stack.callback(server.kill)
        assert server.stdout
        server.stdout.readline()
        bench = Bench(scenario, lab)
        if scenario.options is not None:
            lab.proxy("up", *scenario.options)
            bench.pid = lab.proxy("status")["haproxy"]["pid"]
            if scenario.conntrack:
                rules = nft_rules("input priority 0", "ct state established accept")
                run("nsenter", "-t", str(bench.pid), "-n", "nft", "-f", "-", stdin=rules)
        elif scenario is WIRE:
            wire = optimizing(lab)
            stack.callback(wire.wait)
            stack.callback(wire.kill)
        elif scenario.name == "direct":
            lab.proxy("up")  # whose copper wire stays
            lab.proxy("down")
        else:
            haproxy = plain(lab, directory)
            stack.callback(haproxy.wait)
            stack.callback(haproxy.kill)
            bench.pid = haproxy.pid
        yield bench


def optimizing(lab: Routed) -> subprocess.Popen:
    """The wire engine on the box's ports; the routers' super-packets, which no link has, are off for it."""
    for host in ("router1", "router2"):
        lab.run(host, "ethtool", "-K", "out", "tso", "off", "gso", "off", "gro", "off")
    argv = ["ip", "netns", "exec", lab.ns("box"), sys.executable, "-m", "smartwire", "run", "access", "core"]
    process = subprocess.Popen(
        [*argv, "--mend", "--fill-checksums", "--name", lab.proxy_name],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, preexec_fn=die_with_parent,
    )  # fmt: skip
    assert process.stdout
    for line in process.stdout:
        if line.startswith("packets flow"):
            return process
    raise Error(f"The wire to compare with did not start (exit {process.wait()}).")


def plain(lab: Routed, directory: Path) -> subprocess.Popen:
    """HAProxy on the box itself, with addresses, for clients that connect to it."""
    for ifname, own, neighbour, network in (
        ("access", "10.9.0.6/32", "10.9.0.1", "10.1.0.0/24"),
        ("core", "10.9.0.5/32", "10.9.0.2", "10.2.0.0/24"),
    ):
        lab.run("box", "ip", "addr", "add", own, "dev", ifname)
        lab.run("box", "ip", "route", "add", neighbour, "dev", ifname)
        lab.run("box", "ip", "route", "add", network, "via", neighbour)
    config = directory / "plain.cfg"
    config.write_text(PLAIN_CONFIG)
    argv = ["ip", "netns", "exec", lab.ns("box"), program(), "-db", "-f", str(config)]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
    )
    for _ in range(200):
        if f":{PORT} " in lab.run("box", "ss", "-Hltn"):
            return process
        time.sleep(0.05)
    process.kill()
    raise Error("The HAProxy to compare with did not listen within 10 s.")


def against(mine: list[float], best: list[float]) -> dict[str, Any]:
    """The ratio of paired runs, at least two: geometric mean with a 95% confidence interval."""
    logs = [math.log(a / b) for a, b in zip(mine, best, strict=True)]
    mean = statistics.fmean(logs)
    freedom = len(logs) - 1
    t = STUDENT_95[freedom - 1] if freedom <= len(STUDENT_95) else 1.96 + 2.6 / freedom
    half = t * statistics.stdev(logs) / math.sqrt(len(logs))
    low, high = math.exp(mean - half), math.exp(mean + half)
    return {"ratio": math.exp(mean), "low": low, "high": high, "distinguishable": not low <= 1 <= high}


def figures(benches: list[Bench]) -> list[dict[str, Any]]:
    """Each scenario's, beside the best case's of the same rounds."""
    best = next(b for b in benches if b.scenario.name == BEST)
    found = []
    for b in benches:
        row = {
            "scenario": b.scenario.name,
            "text": b.scenario.text,
            "tps": median(r["tps"] for r in b.rows),
            "ttfb_ms": {q: median(r["ttfb_ms"][q] for r in b.rows) for q in ("p50", "p99")},
            "failed": sum(r["failed"] for r in b.rows),
            "haproxy_cpu_us": median(r["haproxy_cpu_us"] for r in b.rows) if b.pid else None,
            "mbps": median(r["mbps"] for r in b.rows),
            "client_cpu_share": median(r["client_cpu_share"] for r in b.rows),
            "haproxy_cpu_share": median(r["haproxy_cpu_share"] for r in b.rows),
            "idle_share": median(r["idle_share"] for r in b.rows),
            "paper_tps_ratio": b.scenario.paper,
            "runs": b.rows,
        }
        if b is not best:
            row["tps_to_best"] = against([r["tps"] for r in b.rows], [r["tps"] for r in best.rows])
            if b.pid:
                cpu = [[max(1.0, r["haproxy_cpu_us"]) for r in x.rows] for x in (b, best)]
                row["cpu_to_best"] = against(*cpu)
        found.append(row)
    return found


def syn_cost(prefixes: int, seed: int, syns: int = 2000) -> dict[str, Any]:
    """Nanoseconds that the port's program takes for a SYN, by BPF_PROG_TEST_RUN, with so many prefixes in a rule.

    Each SYN is another one and runs once, after a system call: caches are as cold as that leaves them. Prefixes have
    nine lengths in IPv4 and seven in IPv6; addresses are uniformly random over them, for the misses over all addresses.
    """
    chance = random.Random(seed)
    nets: set[Any] = set()
    while len(nets) < prefixes:
        bits, length, base = chance.choice(
            [(32, n, 0) for n in (9, 12, 16, 20, 22, 23, 24, 28, 32)]
            + [(128, n, 0x2001 << 112) for n in (32, 40, 44, 48, 56, 64, 128)]
        )
        kind, top = (IPv4Network, 0) if bits == 32 else (IPv6Network, 16)
        first = base | chance.getrandbits(length - top) << bits - length
        nets.add(kind((first, length)))
    path = Datapath(Ports(1, 1), exact=True, most_flows=1024, wire=maps_of_no_wire(), open=True)
    path.use((Rule("other", proxy=False, ports=((22, 22),)), Rule("list", proxy=False, core=frozenset(nets))))
    program = path.program("port", PLACE.pack(0, 0, 0, 0, 0, 0))
    choice = sorted(nets, key=lambda n: (n.version, int(n.network_address), n.prefixlen))
    found: dict[str, list[int]] = {"hit": [], "miss": []}
    for number in range(syns):
        net = chance.choice(choice)
        inside = net[chance.randrange(min(net.num_addresses, 1 << 32))]
        anywhere = type(inside)(chance.getrandbits(inside.max_prefixlen))
        for what, address in (("hit", inside), ("miss", anywhere)):
            found[what].append(program.time(syn(address, 2 * number + (what == "miss")), 1)[1])
    return {"prefixes": prefixes} | {f"{what}_ns": median(ns) for what, ns in found.items()}


def syn(core: IPv4Address | IPv6Address, number: int) -> bytes:
    """A frame that begins a connection, each another one."""
    tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60_000, 80, number, 0, 0x50, 2, 1000, 0, 0)
    if core.version == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, socket.IPPROTO_TCP, 0) + bytes([10, 0, 0, 1]) + core.packed
        return bytes(12) + b"\x08\x00" + ip + tcp
    ip = struct.pack("!IHBB", 6 << 28, 20, socket.IPPROTO_TCP, 64) + bytes([0x20, 1] + [0] * 14) + core.packed
    return bytes(12) + b"\x86\xdd" + ip + tcp


def orders(rounds: int, count: int, seed: int) -> Iterator[list[int]]:
    """Another order of the scenarios for each round, so that none always follows the same one."""
    chance = random.Random(seed)
    for _ in range(rounds):
        order = list(range(count))
        chance.shuffle(order)
        yield order
