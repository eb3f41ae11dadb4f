"""The web pages as a plane of smartwired: a process of their own that follows the configuration."""

from __future__ import annotations

import contextlib
import importlib.util
import ipaddress
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from smartwire import processes
from smartwire.config import wiring
from smartwire.config.plane import Setup
from smartwire.config.schema import Problem
from smartwire.errors import Error
from smartwire.north.plane import addresses

WEB = ("system", "services", "web")
READY_S = 60.0
MISSING = "the web pages need NiceGUI: pip install 'smartwire[web]'."


@dataclass(frozen=True)
class Wanted:
    """What the configuration asks for.

    Attributes:
        hosts: addresses to listen on.
        port: TCP port.
        files: certificate and key; empty for the box's own.
        allowed: prefixes of those who may connect.
        namespace: network namespace to listen in; None for the box's own.
    """

    hosts: tuple[str, ...]
    port: int
    files: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    namespace: str | None = None

    def command(self) -> list[str]:
        """The process."""
        inside = ["ip", "netns", "exec", self.namespace] if self.namespace else []
        options = [f"--listen={host}" for host in self.hosts] + [f"--allow={prefix}" for prefix in self.allowed]
        options += [f"--{name}={file}" for name, file in zip(("certificate", "key"), self.files, strict=False)]
        return [*inside, sys.executable, "-m", "smartwire", "web", f"--port={self.port}", "--with-parent", *options]


def wanted(setup: Setup) -> Wanted | None:
    """What a setup asks for; None for no pages.

    Raises:
        Error: the management interface has no address.
    """
    config = setup.config
    if not config.value((*WEB, "enabled")):
        return None
    namespace = config.get(("system", "management", "namespace"))
    hosts = tuple(config.get((*WEB, "listen"), ()))
    hosts = hosts or addresses(config.value(("system", "management", "interface")), namespace)
    files = tuple(config.get((*WEB, name)) for name in ("certificate", "key") if config.get((*WEB, name)))
    allowed = tuple(config.get(("system", "management", "allowed-prefix"), ()))
    return Wanted(hosts, config.value((*WEB, "port")), files, allowed, namespace)


class WebPlane:
    """Serves the pages as configured.

    Args:
        state: a directory that is kept over restarts.
    """

    name = "web pages"

    def __init__(self, state: Path) -> None:
        self.state = state
        self.now: Wanted | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def check(self, setup: Setup) -> list[Problem]:
        """What is not installed, addresses that are none or are a wire's, files that are not there."""
        try:
            asked = wanted(setup)
        except Error as e:
            return [Problem(("system", "management", "interface"), str(e))]
        if asked is None:
            return []
        found = []
        if importlib.util.find_spec("nicegui") is None:
            found.append(Problem((*WEB, "enabled"), MISSING))
        data = _of_ports(setup)
        for host in setup.config.get((*WEB, "listen"), ()):
            try:
                address = ipaddress.ip_address(host)
            except ValueError:
                found.append(Problem((*WEB, "listen"), f"{host} is no address."))
                continue
            if address.is_unspecified:
                found.append(Problem((*WEB, "listen"), f"{host} is every interface: name addresses of this box."))
            elif host in data:
                found.append(Problem((*WEB, "listen"), f"{host} is the address of a wire's port."))
        for name, file in zip(("certificate", "key"), asked.files, strict=False):
            if not Path(file).is_file():
                found.append(Problem((*WEB, name), f"there is no file {file}."))
        return found

    def differences(self, setup: Setup) -> list[str]:
        """Pages that are not served as configured, or whose process has ended."""
        if self.process and self.process.poll() is not None:
            self.process = self.now = None
            return ["the process of the web pages has ended."]
        return [] if self.now == wanted(setup) else ["web pages are not as configured."]

    def apply(self, setup: Setup) -> list[str]:
        """Serves as the setup says; a process that serves so already goes on."""
        asked = wanted(setup)
        if asked == self.now and (asked is None or (self.process and self.process.poll() is None)):
            return []
        self.close()
        if asked is None:
            return ["web pages are not served."]
        self.begin(asked)
        self.now = asked
        return [f"web pages are served on {' '.join(asked.hosts)} port {asked.port}."]

    def begin(self, asked: Wanted) -> None:
        """Starts the process, and waits until it serves.

        Raises:
            Error: it ended instead, with its last words.
        """
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = self.state / "log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(asked.command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        end = time.monotonic() + READY_S
        while b"serving" not in (said := log.read_bytes()):
            if self.process.poll() is not None:
                self.close()
                last = said.decode(errors="replace").strip().splitlines()
                why = last[-1].removeprefix("smartwire: ") if last else "it did not say why"
                raise Error(f"they could not be served: {why}")
            if time.monotonic() > end:
                self.close()
                raise Error(f"they were not served within {READY_S:.0f} s: {log} may say why.")
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the process."""
        if self.process:
            processes.end(self.process)
        self.process = self.now = None


def _of_ports(setup: Setup) -> set[str]:
    """Addresses of the ports of all wires."""
    found: set[str] = set()
    for _, place in wiring.places(setup.config):
        with contextlib.suppress(Error):
            found |= set(addresses(place.port))
    return found
