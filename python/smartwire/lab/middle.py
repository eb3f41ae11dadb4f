"""What may stand in the middle of the lab: a Linux bridge, Smartwire, or a terminating HAProxy to compare with."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from smartwire.errors import Error, NotThere
from smartwire.lab.net import PHONE_MAC, SERVER_MAC, WIRE_PREFIX, Lab, run
from smartwire.lab.plan import PORT
from smartwire.wire import registry
from smartwire.wire.stats import StatsPage

FRESH_NS = 500_000_000
"""How long to wait for counters that are not older than the question."""

NUMBERS = itertools.count(1)


class Middle(Protocol):
    """Joins the wire host's two ports, ``access`` and ``core``."""

    def start(self, lab: Lab) -> None:
        """Begins to forward; returns when packets flow."""

    def counters(self) -> dict[str, int]:
        """What it has counted so far; empty if it counts nothing."""

    def stop(self) -> None:
        """Leaves; nothing happens if it never started."""


class Bridge:
    """A Linux bridge: the link without any optimizer."""

    def start(self, lab: Lab) -> None:
        """Builds the bridge."""
        lab.batch("wire", ["link add br0 type bridge mcast_snooping 0 ageing_time 0", "link set access master br0",
                           "link set core master br0", "link set br0 up"])  # fmt: skip
        lab.sysctl("wire", {"net.ipv6.conf.br0.disable_ipv6": "1"})

    def counters(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def stop(self) -> None:
        """Goes with the lab."""


class Bare:
    """A forwarder without an engine, over the same sockets as the wire's: what user space costs by itself."""

    process: subprocess.Popen | None = None

    def start(self, lab: Lab) -> None:
        """Starts it and waits until frames flow."""
        self.lab = lab
        self.process = lab.popen("wire", sys.executable, "-m", "smartwire.lab.bare", "access", "core",
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)  # fmt: skip
        if not first_line(self.process, 20.0):
            raise Error("The bare forwarder of the lab did not start.")

    def counters(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def stop(self) -> None:
        """Leaves and takes everything off the ports."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
            run(*self.lab.command("wire", sys.executable, "-m", "smartwire", "unwire", "access", "core"))


class Wire:
    """``smartwire run access core`` in the wire host.

    Args:
        options: further arguments of ``smartwire run``, such as ``--io packet`` or ``--observe``.
    """

    def __init__(self, *options: str) -> None:
        self.options = options
        self.name = f"{WIRE_PREFIX}-{os.getpid()}-{next(NUMBERS)}"
        self.process: subprocess.Popen | None = None
        self.page: StatsPage | None = None

    def start(self, lab: Lab) -> None:
        """Starts the wire and waits for the line that says that packets flow."""
        self.lab = lab
        self.errors = tempfile.TemporaryFile("w+")
        self.process = lab.popen("wire", sys.executable, "-m", "smartwire", "run", "access", "core",
                                 "--name", self.name, *self.options, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=self.errors, text=True)  # fmt: skip
        self.greeting = first_line(self.process, 60.0)
        if not self.greeting:
            self.kill()
            raise Error(f"The wire of the lab did not start: {self.last_words()}")
        self.page = StatsPage(registry.find(self.name).stats)

    def complaints(self) -> str:
        """All that it has said on its standard error."""
        return os.pread(self.errors.fileno(), 1 << 20, 0).decode()

    def last_words(self) -> str:
        """The last line that it complained with."""
        said = self.complaints().strip().splitlines()
        return said[-1].removeprefix("smartwire: ") if said else "it printed nothing."

    def counters(self) -> dict[str, int]:
        """All counters of its stats page, as they are now: the page is some 100 ms old when it is read."""
        if self.process and self.process.poll() is not None:
            raise Error(f"The wire of the lab ended by itself: {self.last_words()}")
        assert self.page
        asked = time.monotonic_ns()
        while (sample := self.page.read()).now_ns < asked and time.monotonic_ns() < asked + FRESH_NS:
            time.sleep(0.01)
        return sample.values

    def until(self, true: Callable[[dict[str, int]], bool], seconds: float = 60.0) -> dict[str, int]:
        """Waits until something is true of the counters; returns them."""
        end = time.monotonic() + seconds
        while not true(values := self.counters()):
            if time.monotonic() > end:
                raise Error(f"The wire of the lab did not get there within {seconds:.0f} s: {self.last_words()}")
            time.sleep(0.02)
        return values

    def until_said(self, words: str, seconds: float = 60.0) -> None:
        """Waits until its standard error says something."""
        end = time.monotonic() + seconds
        while words not in self.complaints():
            if time.monotonic() > end:
                raise Error(f"The wire of the lab never said {words!r}: {self.last_words()}")
            time.sleep(0.02)

    def ask(self, *command: str) -> dict:
        """Runs a ``smartwire`` command about this wire, with --json."""
        done = subprocess.run([sys.executable, "-m", "smartwire", *command, "--name", self.name, "--json"],
                              capture_output=True, text=True, check=False)  # fmt: skip
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            raise Error(f"smartwire {command[0]}: {(done.stderr or done.stdout).strip()[-300:]}") from None

    def signal(self, number: int) -> None:
        """Sends a signal to the wire's process."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Ends its process at once, as a crash would."""
        self.signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def leave(self, seconds: float = 75.0) -> int:
        """SIGTERM: it delivers what it holds and goes; returns its exit status."""
        assert self.process
        self.signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Error(f"The wire of the lab did not leave within {seconds:.0f} s of SIGTERM.") from None

    def stop(self) -> None:
        """Leaves and takes everything off the ports; raises Error if it did not leave with 0."""
        if not self.process:
            return
        alive = self.process.poll() is None
        code = self.leave() if alive else 0
        self.process = None
        with contextlib.suppress(Error, NotThere):
            run(*self.lab.command("wire", sys.executable, "-m", "smartwire", "unwire", "access", "core"))
        if code:
            raise Error(f"The wire of the lab left with exit status {code}: {self.last_words()}")


class Haproxy:
    """A terminating proxy: HAProxy that keeps the client's address, with a congestion control towards the radio.

    The wire host routes here, and its ports wear the other end's MAC address, so neither neighbour needs to know.
    """

    def __init__(self, radio_cc: str = "bbr", core_cc: str = "cubic") -> None:
        self.radio_cc, self.core_cc = radio_cc, core_cc
        self.process: subprocess.Popen | None = None

    def start(self, lab: Lab) -> None:
        """Turns the wire host into a router with a transparent proxy in it."""
        if shutil.which("haproxy") is None:
            raise Error("This comparison needs HAProxy: apt-get install haproxy.")
        self._route(lab)
        self.folder = tempfile.TemporaryDirectory(prefix="smartwire-lab-")
        config = Path(self.folder.name) / "haproxy.cfg"
        config.write_text(HAPROXY_CONFIG)
        self.process = lab.popen("wire", "haproxy", "-db", "-f", str(config),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
        for _ in range(100):
            if self.process.poll() is not None:
                raise Error(f"haproxy did not start: {self.process.stderr.read().strip()[-300:]}")
            if f":{PORT} " in lab.run("wire", "ss", "-Hltn"):
                return
            time.sleep(0.05)
        raise Error("haproxy did not listen within 5 s.")

    def _route(self, lab: Lab) -> None:
        lab.batch("wire", ["link set access down", f"link set access address {SERVER_MAC}", "link set access up arp on",
                           "link set core down", f"link set core address {PHONE_MAC}", "link set core up arp on"])
        for port in ("access", "core", "all"):
            lab.sysctl("wire", {f"net.ipv6.conf.{port}.disable_ipv6": "0", f"net.ipv4.conf.{port}.rp_filter": "0",
                                f"net.ipv6.conf.{port}.accept_dad": "0"})  # fmt: skip
        lab.sysctl("wire", {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1",
                            "net.ipv4.tcp_no_metrics_save": "1", "net.ipv4.tcp_rmem": "4096 131072 16777216",
                            "net.ipv4.tcp_wmem": "4096 131072 16777216"})  # fmt: skip
        for version in (4, 6):
            lines = []
            for phone in lab.phone_range():
                address = lab.phone(phone, version)
                lines += [f"route replace {address} dev access congctl {self.radio_cc}",
                          f"neigh replace {address} lladdr {PHONE_MAC} dev access nud permanent"]  # fmt: skip
            server = lab.server(version)
            lines += [f"route replace {server} dev core congctl {self.core_cc}",
                      f"neigh replace {server} lladdr {SERVER_MAC} dev core nud permanent",
                      # TCP by its number: the name is in /etc/protocols, which a minimal Debian lacks.
                      "rule add iif access ipproto 6 lookup 100", "rule add iif core ipproto 6 lookup 100",
                      "route add local default dev lo table 100"]  # fmt: skip
            lab.batch("wire", lines, family=f"-{version}")

    def counters(self) -> dict[str, int]:
        """Nothing."""
        return {}

    def stop(self) -> None:
        """Stops HAProxy; the rest goes with the lab."""
        if self.process:
            self.process.terminate()
            self.process.wait(10)
            self.process = None
            self.folder.cleanup()


HAPROXY_CONFIG = f"""global
    maxconn 2000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option splice-auto
frontend four
    bind 0.0.0.0:{PORT} transparent
    default_backend four
frontend six
    bind [::]:{PORT} transparent v6only
    default_backend six
backend four
    source 0.0.0.0 usesrc client
    server any 0.0.0.0:0
backend six
    source [::] usesrc client
    server any [::]:0
"""
"""HAProxy that accepts for every address on the lab's port and connects onwards as the client."""


def first_line(process: subprocess.Popen, seconds: float) -> str:
    """The first line that a process prints, or "" if none comes in time."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline().strip() if ready else ""
