"""A scenario being carried out: its modes, its figures, its verdicts."""

from __future__ import annotations

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from smartwire.lab.links import Radio
from smartwire.lab.middle import Bridge, Haproxy, Middle, Wire
from smartwire.lab.progress import Story
from smartwire.lab.session import Outcome, Session, check_custody


@dataclass(frozen=True)
class Mode:
    """What stands in the middle, and what congestion control the server has."""

    name: str
    middle: Callable[..., Middle]
    server_cc: str = "cubic"


CUBIC = Mode("cubic", Bridge)
BBR = Mode("bbr", Bridge, "bbr")
HAPROXY_BBR = Mode("haproxy-bbr", Haproxy)
SMARTWIRE = Mode("smartwire", Wire)
OBSERVE = Mode("observe", lambda *options: Wire("--observe", *options))
WIRES = (SMARTWIRE, OBSERVE)


@dataclass
class Verdict:
    """A figure held against its bound.

    Attributes:
        what: the figure, in words, with its unit.
        value: the figure.
        limit: the bound.
        sense: "at most" or "at least".
    """

    what: str
    value: float
    limit: float
    sense: str

    @property
    def passed(self) -> bool:
        """Whether the bound holds; a figure that could not be had does not."""
        return self.value <= self.limit if self.sense == "at most" else self.value >= self.limit

    def text(self) -> str:
        """One line for a person."""
        return f"{self.what}: {number(self.value)}, {self.sense} {number(self.limit)}"


def number(value: float) -> str:
    """Up to four significant digits."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


@dataclass
class Trial:
    """What a scenario works with.

    Attributes:
        name: of the scenario.
        quick: shorter and with fewer repetitions, for CI; its figures are no measurement.
        versions: IP versions, of 4 and 6.
        seed: of everything random.
        options: further arguments of ``smartwire run``.
        links: what the user asked for instead of the scenario's own links; empty for those.
    """

    name: str
    story: Story
    quick: bool = False
    versions: tuple[int, ...] = (4, 6)
    seed: int = 1
    options: tuple[str, ...] = ()
    links: list[Radio] = field(default_factory=list)
    figures: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """Why the run proves nothing."""
    shares: list[float] = field(default_factory=list)
    """Custody share of each run with a wire that optimizes."""
    began: float = field(default_factory=time.monotonic)

    @contextlib.contextmanager
    def sessions(self, radio: Radio | None, *modes: Mode, **more: Any) -> Iterator[dict[str, Session]]:
        """A lab for each mode, all standing at the same time, so that runs can alternate."""
        with contextlib.ExitStack() as stack:
            found = {}
            for mode in modes:
                middle = mode.middle(*self.options) if mode in WIRES else mode.middle()
                session = Session(mode.name, radio, middle, server_cc=mode.server_cc, seed=self.seed, **more)
                found[mode.name] = stack.enter_context(session)
            yield found

    def run(self, session: Session, plan: dict, seconds: float, title: str, refusal: bool = False,
            **more: Any) -> Outcome:  # fmt: skip
        """Carries out a plan; a run that broke a byte, or tested no optimizer, becomes a fault.

        Args:
            title: what progress shows.
            refusal: that connections are left alone is what this run is about.
        """
        self.story.step(f"{title}, {session.mode}", seconds + 1)
        outcome = session.run(plan, seconds, on_tick=self.story.tick, **more)
        if session.mode == SMARTWIRE.name and outcome.custody_share is not None and not refusal:
            self.shares.append(outcome.custody_share)
        problem = outcome.broken or (None if refusal or session.mode == OBSERVE.name else check_custody(outcome))
        if problem:
            self.faults.append(f"{title}, {session.mode}: {problem}")
            self.story.say(f"  FAULT {self.faults[-1]}")
        return outcome

    def row(self, **figures: Any) -> None:
        """Adds a line of figures, units in the names, and shows it."""
        self.figures.append(figures)
        self.story.say("  " + "  ".join(f"{k} {show(v)}" for k, v in figures.items() if not isinstance(v, list | dict)))

    def at_most(self, what: str, value: float, limit: float) -> None:
        """A bound from above."""
        self.verdicts.append(Verdict(what, value, limit, "at most"))

    def at_least(self, what: str, value: float, limit: float) -> None:
        """A bound from below."""
        self.verdicts.append(Verdict(what, value, limit, "at least"))

    @property
    def passed(self) -> bool:
        """Whether all bounds hold and nothing was at fault."""
        return not self.faults and all(v.passed for v in self.verdicts)

    def document(self) -> dict[str, Any]:
        """Everything as one JSON document."""
        return {
            "scenario": self.name,
            "quick": self.quick,
            "ip_versions": list(self.versions),
            "seed": self.seed,
            "kernel": platform.release(),
            "cpus": os.cpu_count(),
            "seconds": round(time.monotonic() - self.began, 1),
            "figures": self.figures,
            "custody_share": min(self.shares, default=None),
            "verdicts": [asdict(v) | {"passed": v.passed} for v in self.verdicts],
            "faults": self.faults,
            "passed": self.passed,
        }


def show(value: Any) -> str:
    """A figure as a cell of a table."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
