"""`smartwire demo --appliance`: smartwired, its wire, its web pages and real traffic, until Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from smartwire.cli.output import emit
from smartwire.config import client
from smartwire.errors import Error
from smartwire.lab.links import Radio, describe
from smartwire.lab.net import Lab
from smartwire.lab.session import Session
from smartwire.web.certificate import fingerprint
from smartwire.wire import ownership, registry
from smartwire.wire.stats import StatsPage

USER, WIRE = "demo", "edge"
PHONES = 6
ROUND_S = 90.0
"""Length of a round of traffic; the next one follows it."""
PATIENCE_S = 60.0


class Appliance:
    """A middle of the lab that smartwired drives, as it would a box's two ports.

    Args:
        directory: for its state, its sockets and its logs.
        lines: more configuration, as ``set`` lines.
    """

    def __init__(self, directory: Path, *lines: str) -> None:
        self.directory, self.lines = directory, lines
        self.daemon: subprocess.Popen[bytes] | None = None

    def start(self, lab: Lab) -> None:
        """Starts smartwired on the wire host, and commits a wire."""
        self.lab = lab
        self.begin()
        with self.session() as session:
            session.configure("private")
            session.load("set", "\n".join((f"set wires {WIRE} pair access core core", *self.lines)))
            session.commit(comment="the demo's wire")

    def begin(self) -> None:
        """Starts smartwired, and waits until it answers."""
        log = self.directory / "smartwired.log"
        with log.open("ab") as out:
            argv = (sys.executable, "-m", "smartwire", "daemon")
            self.daemon = self.lab.popen("wire", *argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        end = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(Error), self.session():
                return
            if self.daemon.poll() is not None or time.monotonic() > end:
                said = log.read_text(errors="replace").strip().splitlines()
                raise Error(f"smartwired did not start: {said[-1] if said else 'it did not say why'}")
            time.sleep(0.05)

    def session(self) -> client.Client:
        """Root's, of smartwired."""
        return client.connect(source="demo", path=ownership.directory() / "api.sock")

    def counters(self) -> dict[str, int]:
        """Of its wire."""
        return StatsPage(registry.find(WIRE).stats).read().values

    def stop(self) -> None:
        """The wire leaves, then smartwired."""
        if self.daemon is None or self.daemon.poll() is not None:
            return
        with self.session() as session:
            session.configure("private")
            session.delete("wires")
            session.commit(comment="the demo is over")
        self.daemon.terminate()
        self.daemon.wait(PATIENCE_S)


def traffic(lab: Lab) -> dict[str, Any]:
    """What the phones do in a round: pages, downloads, uploads, a chat, and some Multipath TCP that is left alone."""
    transfers: list[dict[str, Any]] = []
    pages: list[dict[str, Any]] = []
    for n in lab.phone_range():
        who = {version: {"source": lab.phone(n, version), "target": lab.server(version)} for version in (4, 6)}
        page = [60_000, *(5_000 * (1 + (n + i) % 9) for i in range(8))]
        pages += [
            {"objects": page, "start": start, "parallel": 4, "label": f"page{n}", **who[6 if n % 2 else 4]}
            for start in range(n, int(ROUND_S) - 12, 11)
        ]
        for i, start in enumerate(range(2 * n, int(ROUND_S) - 25, 14)):
            size = (3_000_000, 1_000_000, 8_000_000)[(i + n) % 3]
            transfers.append({"kind": "get", "size": size, "start": start, "seed": n % 8, **who[4 if i % 2 else 6]})
        transfers.append({"kind": "get", "size": 0, "start": 1.0, "stop": ROUND_S - 8, "seed": n % 8, **who[4]})
        transfers.append({"kind": "put", "size": 2_000_000, "start": 10.0 + 5 * n, "seed": n % 8, **who[6]})
        transfers.append({"kind": "rest", "size": 120, "start": 3.0, "seed": n % 8, **who[4]})
        if n % 3 == 1:
            transfers.append({"kind": "get", "size": 300_000, "start": 4.0 + n, "mptcp": True, "seed": 1, **who[4]})
    return {"transfers": transfers, "pages": pages}


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A directory of its own for run directory and state, for as long as the context lasts."""
    kept = {name: os.environ.get(name) for name in ("SMARTWIRE_RUN", "SMARTWIRE_STATE")}
    with tempfile.TemporaryDirectory(prefix="smartwire-demo-") as made:
        directory = Path(made)
        directory.chmod(0o755)  # the web pages' process is not root
        os.environ["SMARTWIRE_RUN"], os.environ["SMARTWIRE_STATE"] = str(directory / "run"), str(directory / "state")
        try:
            yield directory
        finally:
            for name, value in kept.items():
                os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


class Pages:
    """`smartwire web` of the appliance, where this machine's browser reaches it.

    Args:
        directory: for its log.
        port: TCP port on loopback.
    """

    def __init__(self, directory: Path, port: int) -> None:
        self.log, self.url = directory / "web.log", f"https://127.0.0.1:{port}/"
        with self.log.open("wb") as out:
            argv = [sys.executable, "-m", "smartwire", "web", f"--port={port}", "--with-parent"]
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)

    def ready(self) -> None:
        """Waits until it serves."""
        end = time.monotonic() + PATIENCE_S
        while b"serving" not in self.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > end:
                said = self.log.read_text(errors="replace").strip().splitlines()
                raise Error(f"The web pages did not start: {said[-1].removeprefix('smartwire: ') if said else '?'}")
            time.sleep(0.05)

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(20)


def show(radio: Radio, port: int, as_json: bool) -> None:
    """Runs everything until Ctrl-C."""
    password = secrets.token_urlsafe(9)
    lines = (
        "set system host-name smartwire-demo",
        "set counters interval 2",
        f"set wires {WIRE} drain-limit 1",
        f"set system login user {USER} class super-user",
        f"set system login user {USER} password {password}",
        "set system login idle-timeout 0",
    )
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(scratch())
        pages = Pages(directory, port)
        stack.callback(pages.close)
        session = stack.enter_context(Session("appliance", radio, Appliance(directory, *lines), PHONES, log=False))
        pages.ready()
        certificate = fingerprint(directory / "state" / "web" / "certificate.pem")
        if as_json:
            emit({"url": pages.url, "user": USER, "password": password, "certificate_sha256": certificate})
        else:
            click.echo(
                f"\n  {pages.url}\n\n  user {USER}, password {password} (for this run only)\n\n"
                f"{PHONES} phones on {describe(radio)}, smartwired with a wire, a server.\n"
                f"The certificate is the box's own, so your browser asks once; its SHA-256: {certificate}\n"
                "Ctrl-C ends all of it and leaves nothing behind."
            )
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                session.run(traffic(session.lab), ROUND_S, patience=120.0)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if not as_json:
            click.echo("\nremoving it all")
