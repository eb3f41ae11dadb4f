"""What may stand in the middle of the lab: a Linux bridge, Smartwire, or a terminating HAProxy to compare with."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Protocol

from smartwire.lab.endpoint import PORT
from smartwire.lab.errors import LabError
from smartwire.lab.net import PHONE_MAC, SERVER_MAC, Lab


class Middle(Protocol):
    """Joins the wire host's two ports, ``access`` and ``core``."""

    name: str

    def start(self, lab: Lab) -> None:
        """Begins to forward; returns when packets flow."""

    def stop(self) -> dict:
        """Takes itself off the ports; returns what it counted."""


class Bridge:
    """A Linux bridge: the link without any optimizer."""

    name = "bridge"

    def start(self, lab: Lab) -> None:
        """Builds the bridge."""
        self.lab = lab
        lab.batch("wire", ["link add br0 type bridge mcast_snooping 0 ageing_time 0", "link set access master br0",
                           "link set core master br0", "link set br0 up"])  # fmt: skip
        lab.sysctl("wire", {"net.ipv6.conf.br0.disable_ipv6": "1"})

    def stop(self) -> dict:
        """Removes the bridge."""
        self.lab.batch("wire", ["link del br0"])
        return {}


class Wire:
    """``smartwire run access core`` in the wire host.

    Args:
        options: further arguments of ``smartwire run``, such as ``--io packet`` or ``--observe``.
        name: of the wire, unique on this machine.
    """

    def __init__(self, *options: str, name: str | None = None) -> None:
        self.options = options
        self.name = "smartwire"
        self.wire = name or f"lab{os.getpid()}"
        self.process: subprocess.Popen | None = None

    def start(self, lab: Lab) -> None:
        """Starts the wire and waits for the line that says that packets flow."""
        self.lab = lab
        self.errors = tempfile.TemporaryFile("w+")
        self.process = lab.popen("wire", sys.executable, "-m", "smartwire", "run", "access", "core",
                                 "--name", self.wire, *self.options, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=self.errors, text=True)  # fmt: skip
        self.greeting = first_line(self.process, 10.0)
        if not self.greeting:
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            complaint = self.errors.read().strip().splitlines()
            raise LabError(f"smartwire run did not start: {complaint[-1] if complaint else 'it printed nothing'}")

    def ask(self, *command: str) -> dict:
        """Runs a ``smartwire`` command about this wire, with --json."""
        done = subprocess.run([sys.executable, "-m", "smartwire", *command, "--name", self.wire, "--json"],
                              capture_output=True, text=True, check=False)  # fmt: skip
        try:
            return json.loads(done.stdout)
        except json.JSONDecodeError:
            raise LabError(f"smartwire {command[0]}: {(done.stderr or done.stdout).strip()[-300:]}") from None

    def status(self) -> dict:
        """``smartwire status --json``."""
        return self.ask("status")

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the wire's process."""
        assert self.process
        os.kill(self.process.pid, number)

    def stop(self) -> dict:
        """Reads the counters, drains and leaves; raises LabError if it did not exit with 0."""
        assert self.process
        counted = {}
        if self.process.poll() is None:
            with contextlib.suppress(LabError):
                counted = self.status()
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(75)
            except subprocess.TimeoutExpired:
                self.process.kill()
                raise LabError("smartwire run did not leave within 75 s of SIGTERM.") from None
            counted["exit_code"] = code
        subprocess.run([*self.lab.command("wire"), sys.executable, "-m", "smartwire", "unwire", "access", "core"],
                       capture_output=True, check=False)  # fmt: skip
        return counted


class Haproxy:
    """A terminating proxy: HAProxy that keeps the client's address, with a congestion control towards the radio.

    The wire host routes here, and its ports wear the other end's MAC address, so neither neighbour needs to know.
    """

    def __init__(self, radio_cc: str = "bbr", core_cc: str = "cubic") -> None:
        self.name = f"haproxy-{radio_cc}"
        self.radio_cc, self.core_cc = radio_cc, core_cc

    def start(self, lab: Lab) -> None:
        """Turns the wire host into a router with a transparent proxy in it."""
        if shutil.which("haproxy") is None:
            raise LabError("This comparison needs HAProxy: apt-get install haproxy.")
        self.lab = lab
        self._route(lab)
        self.folder = tempfile.TemporaryDirectory(prefix="smartwire-lab-")
        config = Path(self.folder.name) / "haproxy.cfg"
        config.write_text(haproxy_config())
        self.process = lab.popen("wire", "haproxy", "-db", "-f", str(config),
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)  # fmt: skip
        time.sleep(0.5)
        if self.process.poll() is not None:
            raise LabError(f"haproxy did not start: {self.process.stderr.read().strip()[-300:]}")

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
                      "rule add iif access ipproto tcp lookup 100", "rule add iif core ipproto tcp lookup 100",
                      "route add local default dev lo table 100"]  # fmt: skip
            lab.batch("wire", lines, family=f"-{version}")

    def stop(self) -> dict:
        """Stops HAProxy; the wire host stays a router, so the lab must be built anew for another middle."""
        self.process.terminate()
        self.process.wait(10)
        self.folder.cleanup()
        return {}


def haproxy_config() -> str:
    """HAProxy that accepts for every address on the lab's port and connects onwards as the client."""
    return f"""global
    maxconn 2000
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h
    option splice-auto
frontend any
    bind 0.0.0.0:{PORT} transparent
    bind [::]:{PORT} transparent v6only
    default_backend origin
backend origin
    source 0.0.0.0 usesrc clientip
    server four 0.0.0.0:0
    use-server six if {{ src -m ip ::/0 }} !{{ src -m ip 0.0.0.0/0 }}
    server six [::]:0 source [::] usesrc clientip
"""


def first_line(process: subprocess.Popen, seconds: float) -> str:
    """The first line that a process prints, or "" if none comes in time."""
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline().strip() if ready else ""
