"""The lab's scenarios by name; each is a function of a Trial, imported only when it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import NamedTuple

from smartwire.errors import NotThere
from smartwire.lab.trial import Trial


class Entry(NamedTuple):
    """A scenario.

    Attributes:
        where: module:function.
        minutes: that it takes, about; and its quick variant.
        text: what it shows.
    """

    where: str
    minutes: float
    quick_minutes: float
    text: str


MEASURE = "smartwire.lab.measure"
SCENARIOS: dict[str, Entry] = {
    "queue": Entry(f"{MEASURE}.queue:queue", 16, 1.5,
                   "Echo RTT beside two bulk downloads: CUBIC, BBR, HAProxy-BBR, Smartwire; LTE profiles and traces"),
    "starving": Entry(f"{MEASURE}.starving:starving", 6, 1.5,
                      "A bulk download beside an upload, a UDP flow, and TCP that is not optimized"),
    "geo": Entry(f"{MEASURE}.starving:geo", 2, 1, "How soon a link with 600 ms of round trip is full"),
    "loss": Entry(f"{MEASURE}.loss:loss", 15, 1.5, "1% random loss both ways: bulk goodput, and 1 MB downloads"),
    "congestion": Entry(f"{MEASURE}.loss:congestion", 4, 1,
                        "Loss that means a full link: a policer, and a short buffer behind a rate step"),
    "first-loss": Entry(f"{MEASURE}.loss:first_loss", 2, 0.5, "The first 10 data frames of a flow are lost"),
    "freeze": Entry(f"{MEASURE}.freeze:freeze", 4, 1.5, "The radio stops for 10 s: both ways, down, up"),
    "speedup": Entry(f"{MEASURE}.speedup:speedup", 25, 1.5, "Download times from 10 kB to 10 MB, medians of pairs"),
    "harm": Entry(f"{MEASURE}.harm:harm", 9, 1, "No emulator: throughput and one-byte RTT beside a bridge"),
    "leave": Entry(f"{MEASURE}.leave:leave", 20, 2, "Drain, bypass, resume, SIGTERM and restart under 500 transfers"),
    "crash": Entry(f"{MEASURE}.leave:crash", 3, 1, "kill -9 and SIGSTOP under load"),
    "transparency": Entry(f"{MEASURE}.transparency:transparency", 2, 1,
                          "What the neighbours see: every header field, odd connections, frames that are not TCP"),
    "options": Entry(f"{MEASURE}.options:options", 25, 0.4,
                     "SACK, timestamps, window scaling, ECN, MTU probing on and off at each end: all combinations"),
    "smallbox": Entry(f"{MEASURE}.smallbox:smallbox", 2, 1, "2,000 frames of memory and 200 bulk flows"),
    "mixture": Entry(f"{MEASURE}.mixture:mixture", 3, 1, "Web pages, downloads, uploads and a bulk flow together"),
}  # fmt: skip


def find(name: str) -> Callable[[Trial], None]:
    """The scenario of that name."""
    entry = SCENARIOS.get(name)
    if entry is None:
        raise NotThere(f"There is no scenario {name!r}: `smartwire lab list` shows them ({', '.join(SCENARIOS)}).")
    module, _, function = entry.where.partition(":")
    return getattr(importlib.import_module(module), function)
