"""Leaving at any time: orders, signals and restarts under load break nothing; a crash breaks only what held custody."""

from __future__ import annotations

import itertools
import random
import signal
import threading
import time

from smartwire.errors import Error
from smartwire.lab.links import constant
from smartwire.lab.middle import Wire
from smartwire.lab.session import Outcome, Session
from smartwire.lab.trial import SMARTWIRE, Trial

PHONES = 5
GREAT_CUSTODY = 64_000
DEEDS = ("drain", "bypass", "restart")


class Operator:
    """Somebody who does things to a wire at random moments, in a thread of its own, while a run lasts.

    Attributes:
        custody: bytes that each deed met.
        problems: what went wrong with a deed.
    """

    def __init__(self, session: Session, seconds: float, seed: int) -> None:
        self.session, self.seconds, self.random = session, seconds, random.Random(seed)
        self.custody: list[int] = []
        self.deeds: dict[str, int] = dict.fromkeys(DEEDS, 0)
        self.problems: list[str] = []
        self.thread = threading.Thread(target=self.work)

    @property
    def wire(self) -> Wire:
        """The wire."""
        assert isinstance(self.session.middle, Wire)
        return self.session.middle

    def work(self) -> None:
        """One deed after the other."""
        until = time.monotonic() + self.seconds
        while time.monotonic() + 4 < until:
            time.sleep(self.random.uniform(1.0, 3.0))
            deed = self.random.choice(DEEDS)
            try:
                self.custody.append(self.wire.counters().get("custody_bytes", 0))
                self.do(deed)
                self.deeds[deed] += 1
            except Error as problem:
                self.problems.append(f"{deed}: {problem}")

    def do(self, deed: str) -> None:
        """Drain; or bypass, a pause, and resume; or SIGTERM and a new start."""
        if deed == "drain":
            self.wire.ask("drain")
        elif deed == "bypass":
            self.wire.ask("bypass")
            time.sleep(self.random.uniform(0.1, 1.0))
            self.wire.ask("resume")
        else:
            code = self.wire.leave()
            if code:
                self.problems.append(f"SIGTERM: the wire left with exit status {code}: {self.wire.last_words()}")
            time.sleep(self.random.uniform(0.0, 0.5))
            self.wire.start(self.session.lab)


def leave(trial: Trial) -> None:
    """Transfers in both directions, 1% loss, freezes of 3 s, and an operator who never rests."""
    transfers, runs = (30, 1) if trial.quick else (125, 2)
    radio = constant(12, rtt_ms=50).but(loss=0.01, random_freeze={"every_ms": 15e3, "min_ms": 3e3, "max_ms": 3e3})
    with trial.sessions(radio, SMARTWIRE, phones=PHONES) as sessions:
        session = sessions["smartwire"]
        custody, problems, broken, done = [], [], 0, 0
        for version in trial.versions:
            for number in range(runs):
                seed = trial.seed * 100 + version * 10 + number
                seconds, plan = many(session, version, transfers, seed)
                operator = Operator(session, seconds, seed)
                title = f"IPv{version}, run {number + 1}, seed {seed}"
                outcome = trial.run(session, plan, seconds, title, refusal=True, patience=180,
                                    actions=[(0.5, operator.thread.start)])  # fmt: skip
                operator.thread.join()
                custody += operator.custody
                problems += operator.problems
                broken += sum(not t["intact"] for t in outcome.transfers)
                done += len(outcome.transfers)
                trial.row(ip=version, transfers=len(outcome.transfers), checked_bytes=outcome.payload,
                          broken=sum(not t["intact"] for t in outcome.transfers), **operator.deeds,
                          met_great_custody=sum(c >= GREAT_CUSTODY for c in operator.custody))  # fmt: skip
        after_empty(trial, session)
    trial.faults += problems
    trial.at_most(f"transfers that broke, of {done}", broken, 0)
    great = sum(c >= GREAT_CUSTODY for c in custody) / max(1, len(custody))
    trial.at_least(f"share of {len(custody)} deeds that met at least 64 kB of custody", great, 0.5)


def many(session: Session, version: int, count: int, seed: int) -> tuple[float, dict]:
    """(seconds, plan) of transfers of 0.2 to 3 MB that begin all the time, over all phones, half of them uploads."""
    chance, transfers, at = random.Random(seed), [], 0.3
    for i in range(count):
        transfers.append({"kind": chance.choice(("get", "put")), "size": chance.randint(200_000, 3_000_000),
                          "start": round(at, 3), "label": f"t{i}", "seed": i,
                          **session.phone(version, 1 + i % PHONES)})  # fmt: skip
        at += chance.uniform(0.1, 0.5)
    return at + 8.0, {"transfers": transfers}


def after_empty(trial: Trial, session: Session) -> None:
    """Bypass the whole wire; once it reports empty, kill -9: every transfer still ends right."""
    wire = session.middle
    assert isinstance(wire, Wire)
    version = trial.versions[-1]
    plan = {"transfers": [{"kind": kind, "size": 4_000_000, "start": 0.2, "label": kind, "seed": i,
                           **session.phone(version, 1 + i)} for i, kind in enumerate(("get", "put"))]}  # fmt: skip

    def empty_and_kill() -> None:
        wire.ask("bypass")
        wire.kill()

    thread = threading.Thread(target=empty_and_kill)
    outcome = run_without_counters(trial, session, plan, 8.0, "bypass, then kill -9", [(1.5, thread.start)])
    thread.join()
    broken = sum(not t["intact"] for t in outcome.transfers)
    trial.row(what="bypass reported empty, kill -9", ip=version, transfers=len(outcome.transfers), broken=broken)
    trial.at_most("transfers that broke after bypass and kill -9", broken, 0)
    wire.start(session.lab)


def run_without_counters(trial: Trial, session: Session, plan: dict, seconds: float, title: str,
                         actions: list) -> Outcome:  # fmt: skip
    """A run whose wire is killed on the way, so that its counters end with it."""
    counters, session.middle.counters = session.middle.counters, dict  # type: ignore[method-assign]
    try:
        return session.run(plan, seconds, actions=actions, patience=60, on_tick=trial.story.tick)
    finally:
        session.middle.counters = counters  # type: ignore[method-assign]


def crash(trial: Trial) -> None:
    """kill -9 and SIGSTOP under load, each on its own wire."""
    with trial.sessions(constant(20), SMARTWIRE) as sessions:
        session = sessions["smartwire"]
        for version in trial.versions:
            for name, number in (("kill -9", signal.SIGKILL), ("SIGSTOP", signal.SIGSTOP)):
                one_crash(trial, session, version, name, number)


def one_crash(trial: Trial, session: Session, version: int, name: str, number: int) -> None:
    """Two downloads that hold custody, one idle connection that holds none, and an echo probe every 5 ms."""
    wire = session.middle
    assert isinstance(wire, Wire)
    crash_s, stop = 3.0, 12.0
    who = session.phone(version)
    bulk = [{"kind": "get", "size": 0, "start": 0.2, "stop": stop, "label": f"bulk{i}", "seed": i, **who}
            for i in range(2)]  # fmt: skip
    later = {"kind": "get", "size": 300_000, "start": crash_s + 0.5, "label": "later", "seed": 3, **who}
    idle = {"kind": "rest", "size": 18, "start": 0.2, "label": "idle", "seed": 4, **who}
    probe = {"start": 0.2, "stop": stop, "interval": 0.005, "linger": 1.0, **who}
    plan = {"transfers": [*bulk, later, idle], "probes": [probe]}
    held: list[int] = []
    counters = wire.counters

    def strike() -> None:
        held.append(counters().get("custody_bytes", 0))
        wire.signal(number)

    outcome = run_without_counters(trial, session, plan, stop, f"{name} IPv{version}", [(crash_s, strike)])
    wire.kill()
    wire.start(session.lab)
    gap = 1e3 * silence(outcome.probe, crash_s)
    ends = [(t["finished"] or t["ended"]) - crash_s for t in outcome.transfers if t["label"].startswith("bulk")]
    resets = [t for t in outcome.transfers if t["label"].startswith("bulk") and t["error"]]
    bystanders = [t for t in outcome.transfers if t["label"] in ("later", "idle")]
    whole = [t for t in bystanders if t["intact"]]
    for t in bystanders:
        if not t["intact"]:
            trial.story.say(f"  {t['label']}: {t['error']} after {t['received']} of {t['size']} bytes")
    trial.row(ip=version, crash=name, custody_bytes=held[0], echo_gap_ms=gap, resets=len(resets),
              longest_end_s=max(ends), untouched=len(whole))  # fmt: skip
    what = f"IPv{version}, {name}"
    trial.at_most(f"{what}: longest time between echoes that arrived, beyond the link's own, ms", gap, 100)
    trial.at_most(f"{what}: connections with custody that hung for more than 5 s", sum(e > 5 for e in ends), 0)
    trial.at_least(f"{what}: connections without custody that never noticed, of 2", len(whole), 2)


def silence(probe: list[tuple[float, float | None]], around: float) -> float:
    """The longest time without an answered probe sent in the second around a moment, seconds."""
    answered = [at for at, rtt in probe if rtt is not None and around - 1 <= at <= around + 2]
    return max((b - a for a, b in itertools.pairwise(answered)), default=float("inf"))
