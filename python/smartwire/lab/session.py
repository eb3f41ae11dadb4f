"""One run in the lab: emulators, whatever stands in the middle, endpoints; a plan goes in, an outcome comes out."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from smartwire.errors import Error
from smartwire.lab.links import Radio
from smartwire.lab.middle import Middle
from smartwire.lab.net import Lab
from smartwire.lab.process import Process
from smartwire.lab.radiolog import RadioLog

CUSTODY_BOUND = 0.95
"""A run in which less of the TCP payload was delivered under custody has failed: it did not test the optimizer."""

TCP_KINDS = ("get", "put", "ping", "rest")


def reasons(grown: dict[str, int]) -> str:
    """Why a wire left connections alone, stopped optimizing them, or reset them: by how much these counters grew."""
    told = {k: v for k, v in grown.items() if v and (k.startswith(("refused.", "stopped.")) or k == "resets")}
    return ", ".join(f"{k} {v}" for k, v in told.items())


Action = tuple[float, Callable[[], object]]
"""Something to do at a moment of the plan, seconds since its epoch."""


@dataclass
class Outcome:
    """What came of one run."""

    mode: str
    results: list[dict]
    """What the clients reported: transfers, pages and probes (smartwire.lab.plan)."""
    served: list[dict]
    """What the server said of each connection that ended."""
    radio: dict
    """What the radio emulator counted, per direction."""
    internet: dict
    wire: dict[str, int] = field(default_factory=dict)
    """By how much the middle's counters grew."""
    log: RadioLog | None = None
    """Every packet that reached the radio, if the session keeps a log."""

    def transfer(self, label: str) -> dict:
        """The transfer of that label."""
        return next(r for r in self.transfers if r["label"] == label)

    @property
    def transfers(self) -> list[dict]:
        """All TCP transfers."""
        return [r for r in self.results if r["kind"] in TCP_KINDS]

    @property
    def probe(self) -> list[tuple[float, float | None]]:
        """(sent at, RTT or None) in seconds of the first echo probe."""
        return next((r["rtt"] for r in self.results if r["kind"] == "probe"), [])

    @property
    def intact(self) -> bool:
        """Whether every byte of every transfer was right and every connection ended as it should."""
        return all(r["intact"] for r in self.transfers)

    @property
    def broken(self) -> str:
        """What went wrong with the first transfer that was not intact; "" if all were."""
        for r in self.transfers:
            if not r["intact"]:
                wrong = f"a wrong byte at or after {r['wrong_at']:,}" if r["wrong_at"] is not None else None
                why = r["error"] or wrong or f"{r['received']:,} of {r['size']:,} bytes arrived"
                told = f" (the wire: {self.reasons})" if self.reasons else ""
                return f"{r['kind']} {r['label']} of {r['source']}: {why}{told}"
        return ""

    @property
    def payload(self) -> int:
        """TCP payload bytes that arrived at their receiving ends."""
        at_server = {(s["peer"], s["port"]): s["bytes"] for s in self.served}
        return sum(at_server.get((r["source"], r["local_port"]), 0) if r["kind"] == "put" else r["received"]
                   for r in self.transfers)  # fmt: skip

    @property
    def custody_share(self) -> float | None:
        """Share of the payload that arrived which the wire delivered under custody; None where no wire counts it."""
        if "delivered_bytes" not in self.wire:
            return None
        return min(1.0, self.wire["delivered_bytes"] / max(1, self.payload))

    @property
    def reasons(self) -> str:
        """Why the wire left connections alone, stopped optimizing them, or reset them, with counts."""
        return reasons(self.wire)

    @property
    def retransmitted_segments(self) -> int:
        """Sent again, by the server, the phone, or the wire."""
        ends = sum(r["retransmitted_segments"] for r in [*self.transfers, *self.served])
        return ends + self.wire.get("retransmitted", 0)


class Session:
    """Runs plans over one configuration of the lab. A context manager; everything is gone afterwards.

    Args:
        mode: what results are called.
        radio: the links; None for none: the endpoints are one veth away from the middle's ports.
        middle: what joins the wire host's ports.
        phones: number of subscribers.
        server_cc: congestion control of the server.
        server_initcwnd: its initial window in segments, None for the kernel's own.
        log: keep the radio's log of every packet.
        seed: of everything random in the radio.
    """

    def __init__(self, mode: str, radio: Radio | None, middle: Middle, phones: int = 1, server_cc: str = "cubic",
                 server_initcwnd: int | None = None, log: bool = True, seed: int = 1) -> None:  # fmt: skip
        self.mode, self.radio, self.middle, self.server_cc, self.seed = mode, radio, middle, server_cc, seed
        self.server_initcwnd = server_initcwnd
        self.lab = Lab(phones=phones, emulated=radio is not None)
        self.folder = tempfile.TemporaryDirectory(prefix="smartwire-lab-") if log and radio else None
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Session:
        self.lab.up()
        try:
            self.lab.congestion("server", self.server_cc)
            if self.server_initcwnd:
                self.lab.initial_window("server", self.server_initcwnd)
            self.middle.start(self.lab)
            self.processes["server"] = Process(self.lab, "server", "smartwire.lab.server")
            self.processes["server"].ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        self.close(quiet=kind is not None)

    def close(self, quiet: bool = True) -> None:
        """Takes everything down; a middle that does not leave properly is an error unless ``quiet``."""
        for process in self.processes.values():
            process.kill()
        try:
            with contextlib.suppress(Error) if quiet else contextlib.nullcontext():
                self.middle.stop()
        finally:
            self.lab.down()
            if self.folder:
                self.folder.cleanup()

    def phone(self, version: int, index: int = 1) -> dict[str, str]:
        """The ``source`` and ``target`` of a transfer of a phone in an IP version."""
        return {"source": self.lab.phone(index, version), "target": self.lab.server(version)}

    def run(self, plan: dict, seconds: float, actions: Iterable[Action] = (), server_plan: dict | None = None,
            radio: Radio | None = None, on_tick: Callable[[dict], object] = lambda tick: None,
            patience: float = 60.0) -> Outcome:  # fmt: skip
        """Carries out a plan against fresh emulators.

        Args:
            plan: of the phones (smartwire.lab.client).
            seconds: after which it is over by its own times.
            actions: what to do meanwhile.
            server_plan: what the server does by itself, for UDP towards the phones.
            radio: links for this run, instead of the session's.
            on_tick: gets what the client says every half second.
            patience: how much longer it may take before it is given up, seconds.
        """
        emulators = self._emulators(radio or self.radio) if self.radio else {}
        clients = {"client": Process(self.lab, "phone", "smartwire.lab.client", first=plan)}
        if server_plan:
            clients["udp"] = Process(self.lab, "server", "smartwire.lab.client", first=server_plan)
        started = {**emulators, **clients}
        self.processes |= started
        try:
            for process in started.values():
                process.ready()
            before = self.middle.counters()
            epoch = time.monotonic() + 0.05
            for process in started.values():
                process.send({"epoch": epoch})
            agenda = sorted(actions, key=lambda a: a[0])
            results = self._follow(clients["client"], emulators, epoch, seconds + patience, agenda, on_tick)
            served = self._served(sum(r["kind"] in TCP_KINDS for r in results))
            after = self.middle.counters()
            counted = {key: process.stop()[-1] for key, process in emulators.items()}
        except IndexError:
            raise Error(f"An emulator died: {emulators['radio'].last_words()}.") from None
        finally:
            for key, process in started.items():
                process.kill()
                self.processes.pop(key)
        log = RadioLog(Path(self.folder.name) / "radio.log", epoch) if self.folder else None
        wire = {key: value - before.get(key, 0) for key, value in after.items()}
        return Outcome(self.mode, results, served, counted.get("radio", {}), counted.get("internet", {}), wire, log)

    @contextlib.contextmanager
    def links(self, radio: Radio | None = None) -> Iterator[None]:
        """Fresh emulators alone, as long as the block lasts: for traffic of one's own between the hosts."""
        wanted = radio or self.radio
        assert wanted
        emulators = self._emulators(wanted)
        self.processes |= emulators
        try:
            for process in emulators.values():
                process.ready()
            epoch = time.monotonic()
            for process in emulators.values():
                process.send({"epoch": epoch})
            yield
        finally:
            for key, process in emulators.items():
                process.kill()
                self.processes.pop(key)

    def _emulators(self, radio: Radio) -> dict[str, Process]:
        groups = [[self.lab.phone_v4(i), self.lab.phone_v6(i)] for i in self.lab.phone_range()]
        access = {"down": radio.down, "up": radio.up, "groups": groups, "seed": self.seed}
        if self.folder:
            access["log"] = str(Path(self.folder.name) / "radio.log")
        internet = {"down": radio.core_down, "up": radio.core_up, "shared": True, "seed": self.seed}
        return {
            key: Process(self.lab, key, "smartwire.lab.emulate", first={"access": near, "core": far, "spec": spec})
            for key, near, far, spec in (("radio", "phone0", "radio0", access), ("internet", "net0", "net1", internet))
        }

    @staticmethod
    def _follow(client: Process, emulators: dict[str, Process], epoch: float, limit: float, actions: list[Action],
                on_tick: Callable[[dict], object]) -> list[dict]:  # fmt: skip
        """Gathers results, and carries out actions in time, until the client has ended."""
        results = []
        while True:
            now = time.monotonic() - epoch
            for key, emulator in emulators.items():
                if emulator.popen.poll() is not None:
                    raise Error(f"The {key} emulator ended: {emulator.last_words()}.")
            if now > limit:
                raise Error(f"A run was given up after {limit:.0f} s: its transfers did not end.")
            while actions and actions[0][0] <= now:
                actions.pop(0)[1]()
            wait = min(limit - now + 0.1, actions[0][0] - now) if actions else limit - now + 0.1
            try:
                document = client.receive(wait)
            except Error:
                continue
            if document is None:
                if client.popen.wait():
                    raise Error(f"The phone's client died: {client.last_words()}.")
                return results
            if "tick" in document:
                on_tick(document)
            else:
                results.append(document)

    def _served(self, expected: int) -> list[dict]:
        """What the server said of its connections, once all have ended or two seconds are over."""
        served, until = [], time.monotonic() + 2.0
        while len(served) < expected and time.monotonic() < until:
            served += self.processes["server"].waiting()
            time.sleep(0.02)
        return served + self.processes["server"].waiting()

    def order(self, emulator: str, **order: object) -> None:
        """Gives an order to a running emulator, for example ``order("radio", freeze={"ms": 1e4, "down": True})``."""
        self.processes[emulator].send(order)


def check_custody(outcome: Outcome) -> str | None:
    """Why a run proves nothing: a byte was wrong, or too little was under custody; None if it does."""
    if not outcome.intact:
        return outcome.broken
    share = outcome.custody_share
    if share is not None and share < CUSTODY_BOUND:
        told = f"; the wire: {outcome.reasons}" if outcome.reasons else ""
        return f"only {share:.1%} of the TCP payload was under custody, and {CUSTODY_BOUND:.0%} is needed{told}"
    return None
