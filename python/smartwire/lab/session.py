"""One run in the lab: emulators, whatever stands in the middle, endpoints; a plan goes in, results come out."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from smartwire.lab.errors import LabError
from smartwire.lab.middle import Middle, first_line
from smartwire.lab.net import Lab

LEAD_S = 0.4
"""From handing out a plan to its epoch: enough for the client to start."""


@dataclass
class Radio:
    """The links on either side of the middle, as crates/sim's LinkSpec reads them (times in ms).

    Attributes:
        down, up: the radio, towards and from the phone.
        core_down, core_up: the internet leg.
    """

    down: dict
    up: dict
    core_down: dict = field(default_factory=lambda: {"delay_ms": 15.0})
    core_up: dict = field(default_factory=lambda: {"delay_ms": 15.0})


@dataclass
class Outcome:
    """What came of one run."""

    middle: str
    results: list[dict]
    """What the client reported: transfers and probes (smartwire.lab.endpoint)."""
    served: list[dict]
    """What the server said of each connection that ended."""
    radio: dict
    """What the radio emulator counted, per direction."""
    internet: dict
    wire: dict
    """What the middle counted."""

    def transfer(self, label: str) -> dict:
        """The transfer of that label."""
        return next(r for r in self.results if r["label"] == label and r["kind"] != "probe")

    @property
    def transfers(self) -> list[dict]:
        """All transfers."""
        return [r for r in self.results if r["kind"] != "probe"]

    @property
    def probe(self) -> list[tuple[float, float | None]]:
        """(sent at, RTT or None) in seconds of the first echo probe."""
        return next((r["rtt"] for r in self.results if r["kind"] == "probe"), [])

    @property
    def intact(self) -> bool:
        """Whether every byte of every transfer was right."""
        return all(r["intact"] for r in self.transfers)


class Session:
    """Runs plans over one configuration of the lab. A context manager; everything is gone afterwards.

    Args:
        radio: the links.
        middle: what joins the wire host's ports.
        phones: number of subscribers.
        server_cc: congestion control of the server.
        folder: where captures and emulator logs go, None for nowhere.
    """

    def __init__(self, radio: Radio, middle: Middle, phones: int = 1, server_cc: str = "cubic",
                 folder: Path | None = None) -> None:  # fmt: skip
        self.radio, self.middle, self.server_cc, self.folder = radio, middle, server_cc, folder
        self.lab = Lab(phones=phones)
        self.processes: dict[str, subprocess.Popen] = {}
        self.served: list[dict] = []

    def __enter__(self) -> Session:
        self.lab.up()
        try:
            self.lab.congestion("server", self.server_cc)
            self.middle.start(self.lab)
            self.serve()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            process.wait()
        with contextlib.suppress(LabError, AssertionError):
            self.middle.stop()
        self.lab.down()

    def spawn(self, key: str, host: str, *argv: str, ready: str | None = None, stdin: str | None = None) -> None:
        """Starts a Python module inside a host; waits for it to print ``ready`` where one is given."""
        process = self.lab.popen(host, sys.executable, "-m", *argv, stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        self.processes[key] = process
        if stdin is not None:
            assert process.stdin
            process.stdin.write(stdin + "\n")
            process.stdin.flush()
        if ready is not None and first_line(process, 10.0) != ready:
            process.kill()
            complaint = (process.communicate()[1] or "").strip().splitlines()
            raise LabError(f"{argv[0]} did not start in {host}: {complaint[-1] if complaint else 'no answer'}")

    def serve(self) -> None:
        """Starts the server."""
        self.spawn("server", "server", "smartwire.lab.endpoint", "serve", ready="ready")

    def start_emulators(self, epoch: float) -> None:
        """Starts both emulators with fresh queues; a trace begins at ``epoch`` (CLOCK_MONOTONIC, seconds)."""
        groups = [[self.lab.phone_v4(i), self.lab.phone_v6(i)] for i in self.lab.phone_range()]
        radio = {"down": self.radio.down, "up": self.radio.up, "groups": groups}
        if self.folder:
            radio["log"] = str(self.folder / "radio.log")
        internet = {"down": self.radio.core_down, "up": self.radio.core_up, "shared": True}
        for key, access, core, spec in (("radio", "phone0", "radio0", radio), ("internet", "net0", "net1", internet)):
            task = {"access": access, "core": core, "epoch_ns": int(epoch * 1e9), "spec": spec}
            self.spawn(key, key, "smartwire.lab.emulate", ready="ready", stdin=json.dumps(task))

    def order(self, emulator: str, **order: object) -> None:
        """Gives an order to a running emulator, for example ``order("radio", freeze={"ms": 1e4, "down": True})``."""
        pipe = self.processes[emulator].stdin
        assert pipe
        pipe.write(json.dumps(order) + "\n")
        pipe.flush()

    def stop_emulators(self) -> dict[str, dict]:
        """Stops both emulators; returns what each counted."""
        counted = {}
        for key in ("radio", "internet"):
            if process := self.processes.pop(key, None):
                process.send_signal(signal.SIGTERM)
                out, err = process.communicate(timeout=10)
                try:
                    counted[key] = json.loads(out.strip().splitlines()[-1])
                except (IndexError, json.JSONDecodeError):
                    raise LabError(f"the {key} emulator died: {err.strip()[-300:]}") from None
        return counted

    def run(self, plan: dict, seconds: float) -> Outcome:
        """Carries out a plan (smartwire.lab.endpoint) against fresh emulators.

        Args:
            plan: without its epoch, which is set here.
            seconds: after which the plan is over by its own times; it may take 90 s longer before it is given up.
        """
        epoch = time.monotonic() + LEAD_S + 0.3
        self.start_emulators(epoch)
        self.spawn("client", "phone", "smartwire.lab.endpoint", "run", stdin=json.dumps(plan | {"epoch": epoch}))
        client = self.processes.pop("client")
        try:
            out, err = client.communicate(timeout=seconds + 90)
        except subprocess.TimeoutExpired:
            client.kill()
            out, err = client.communicate()
        if client.returncode:
            raise LabError(f"the phone's client died: {err.strip()[-300:]}")
        results = [json.loads(line) for line in out.splitlines()]
        counted = self.stop_emulators()
        wire = self.middle.status() if hasattr(self.middle, "status") else {}
        return Outcome(self.middle.name, results, self._drain_server(), counted["radio"], counted["internet"], wire)

    def _drain_server(self) -> list[dict]:
        """Restarts the server and returns what it said of its connections."""
        process = self.processes.pop("server")
        process.send_signal(signal.SIGINT)
        try:
            out, _ = process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            out, _ = process.communicate()
        self.serve()
        return [json.loads(line) for line in out.splitlines() if line.startswith("{")]
