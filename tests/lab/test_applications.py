"""Programs that everybody uses work across the wire, whatever becomes of it or of the radio, as they do without it.

All programs run at the same time, in IPv4 and IPv6, again and again until what is done to them is over, and once more.
In CI all that can happen on the air happens at once, and a wire is bypassed, killed and started again; ``-m long`` has
each fault by itself, and orders, all in both IP versions.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet
from smartwire.lab.links import constant
from smartwire.lab.middle import Wire
from smartwire.lab.session import CUSTODY_BOUND, Session, reasons

from .programs import PROGRAMS, Wrong, idle_and_resumed, missing
from .servers import Stand

pytestmark = pytest.mark.root
RADIO = constant(60, rtt_ms=20).with_internet(10)
VERSIONS = (4, 6)
FREEZE_S = 2.5
PAUSE_S = 1.0
"""Between two uses: what is tested is not how busy a machine can be."""
OPENED = "the copper wire was open"
HANDED_BACK_S = 130.0
"""Longer than the idle time after which a connection is handed back."""


def wire_of(session: Session) -> Wire:
    assert isinstance(session.middle, Wire)
    return session.middle


def freeze(session: Session) -> None:
    time.sleep(1)
    session.order("radio", freeze={"ms": FREEZE_S * 1e3, "down": True, "up": True})
    time.sleep(FREEZE_S)


def loaded(session: Session) -> None:
    """Returns while the wire holds something."""
    wire_of(session).until(lambda c: c["custody_bytes"] > 20_000)


def drain(session: Session) -> None:
    """Hands all connections back; those to come are optimized."""
    loaded(session)
    wire_of(session).ask("drain")


def bypass_and_resume(session: Session) -> None:
    """Hands all back, leaves those that come meanwhile alone, and is there again for those that come later."""
    loaded(session)
    wire_of(session).ask("bypass")
    time.sleep(PAUSE_S)
    wire_of(session).ask("resume")


def crash(session: Session) -> str:
    """kill -9 of a wire that has given up all custody, and a new one; returns what the killed one has said."""
    wire = wire_of(session)
    loaded(session)
    wire.ask("bypass")
    said = wire.complaints()
    wire.kill()
    time.sleep(PAUSE_S)
    wire.start(session.lab)
    loaded(session)
    return said


@dataclass(frozen=True)
class Fault:
    """What the air does all the time, and what is done meanwhile."""

    air: dict = field(default_factory=dict)
    deeds: tuple[Callable[[Session], str | None], ...] = ()


LOSS, REORDERING, DUPLICATION = {"loss": 0.01}, {"reorder": {"chance": 0.02, "late_ms": 30.0}}, {"duplicate": 0.02}
FAULTS = {
    "the air": Fault(LOSS | REORDERING | DUPLICATION, (freeze,)),
    "bypass, crash, restart": Fault({}, (crash,)),
    "nothing": Fault(),
    "loss": Fault(LOSS),
    "reordering": Fault(REORDERING),
    "duplication": Fault(DUPLICATION),
    "a freeze": Fault({}, (freeze,)),
    "orders, with loss": Fault(LOSS, (drain, bypass_and_resume, drain)),
    "crashes, with loss": Fault(LOSS, (crash, crash)),
}
IN_CI = ("the air",)


def uses(fault: str) -> list[tuple[str, int]]:
    """Programs and IP versions; in CI each program once."""
    if fault not in IN_CI:
        return list(itertools.product(PROGRAMS, VERSIONS))
    return [(name, VERSIONS[n % 2]) for n, name in enumerate(PROGRAMS)]


def case(fault: str, *use: str | int) -> ParameterSet:
    """The parameters of a test."""
    return pytest.param(fault, *use, marks=() if fault in IN_CI else (pytest.mark.long, pytest.mark.slow))


@dataclass
class Run:
    """What came of all programs under one fault."""

    problems: dict[tuple[str, int], str] = field(default_factory=dict)
    uses: dict[tuple[str, int], int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    said: str = ""
    """What the wire complained about."""

    def again_and_again(self, stand: Stand, name: str, version: int, over: threading.Event) -> None:
        """Uses a program until a use began when everything was over."""
        done = False
        while not done and (name, version) not in self.problems:
            done = over.is_set()
            try:
                PROGRAMS[name].use(stand, version)
            except Exception as problem:  # whatever it is, it is this program's, and the others go on
                self.problems[name, version] = f"{type(problem).__name__}: {problem}"
            self.uses[name, version] = self.uses.get((name, version), 0) + 1
            over.wait(PAUSE_S)


@functools.cache
def run(name: str) -> Run:
    """All programs at the same time under one fault; the first test of a fault carries it out.

    Once more if the machine let the wire wait for so long that the kernel took over: that is no fault of a program's.
    """
    found = attempt(name)
    return attempt(name) if OPENED in found.said else found


def attempt(name: str) -> Run:
    """Carries it out."""
    fault, made, over = FAULTS[name], Run(), threading.Event()
    wanted = [(program, version) for program, version in uses(name) if not missing(PROGRAMS[program].needs)]
    with (
        Session("x", RADIO.but(**fault.air), Wire(), log=False) as session,
        tempfile.TemporaryDirectory(prefix="smartwire-lab-") as folder,
        Stand(session.lab, Path(folder)) as stand,
        session.links(),
        ThreadPoolExecutor(len(wanted)) as pool,
    ):
        try:
            working = [pool.submit(made.again_and_again, stand, *each, over) for each in wanted]
            for deed in fault.deeds:
                made.said += deed(session) or ""
        finally:
            over.set()
        for future in working:
            future.result()
        made.counters = wire_of(session).counters()
        made.said += wire_of(session).complaints()
    return made


@pytest.mark.parametrize(("fault", "name", "version"), [case(fault, *use) for fault in FAULTS for use in uses(fault)])
def test_a_program_works_as_without_a_wire(fault, name, version):
    if packages := missing(PROGRAMS[name].needs):
        pytest.skip(f"install {' '.join(packages)}")
    found = run(fault)
    assert found.problems.get((name, version)) is None, f"the wire: {reasons(found.counters)}; {found.said}"
    assert found.uses[name, version] >= 1


@pytest.mark.parametrize("fault", [case(fault) for fault in FAULTS])
def test_the_wire_optimizes_them_all_and_resets_none(fault):
    counters = run(fault).counters
    share = counters["delivered_bytes"] / max(1, counters["delivered_bytes"] + counters["not_optimized_bytes"])
    assert counters["optimized"] > 0
    assert counters["resets"] == 0
    assert (counters["ledger_faults"], counters["bad_sends"]) == (0, 0)
    if not any(name.startswith("refused.") or name == "stopped.operator" for name, n in counters.items() if n):
        assert share >= CUSTODY_BOUND, reasons(counters)


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_connection_that_was_handed_back_after_minutes_goes_on(version, tmp_path):
    with Session("x", RADIO, Wire(), log=False) as session, session.links():
        try:
            idle_and_resumed(Stand(session.lab, tmp_path), version, HANDED_BACK_S)
        except Wrong as problem:
            pytest.fail(str(problem))
        assert wire_of(session).counters()["stopped.idle"] >= 1
