"""Download times by size, in pairs; a server with a small initial window; a phone with a small receive window."""

from __future__ import annotations

from smartwire.lab.figures import median
from smartwire.lab.links import constant
from smartwire.lab.trial import CUBIC, SMARTWIRE, Trial

SIZES = ((0.3, 10_000), (1.0, 100_000), (2.2, 1_000_000), (4.4, 10_000_000))
"""Start in seconds and size in bytes of one pass."""
PASS_S = 10.0
BOUNDS = {10_000: 1.02, 100_000: 0.85, 1_000_000: 0.85, 10_000_000: 1.0}
"""Time with over time without, at most."""


def speedup(trial: Trial) -> None:
    """15 pairs each."""
    pairs = 2 if trial.quick else 15
    radio = constant(30).with_internet(100)
    with trial.sessions(radio, CUBIC, SMARTWIRE) as sessions:
        for version in trial.versions:
            times, firsts = passes(trial, sessions, version, pairs, SIZES, "", None)
            for size, limit in BOUNDS.items():
                verdict(trial, f"IPv{version}, {size:,} bytes", times, size, limit)
            verdict(trial, f"IPv{version}, first byte", firsts, 10_000, 1.02)
            times, _ = passes(trial, sessions, version, pairs, ((0.3, 1_000_000),), "64 kB window", 65_535)
            verdict(trial, f"IPv{version}, 1 MB, phone with a 64 kB window", times, 1_000_000, 0.75)
    with trial.sessions(radio, CUBIC, SMARTWIRE, server_initcwnd=2) as sessions:
        for version in trial.versions:
            times, _ = passes(trial, sessions, version, pairs, ((0.3, 1_000_000),), "initial window 2", None)
            verdict(trial, f"IPv{version}, 1 MB, server with an initial window of 2", times, 1_000_000, 0.75)


Times = dict[str, dict[int, list[float]]]


def passes(trial: Trial, sessions: dict, version: int, pairs: int, sizes: tuple[tuple[float, int], ...], title: str,
           window: int | None) -> tuple[Times, Times]:  # fmt: skip
    """(download times, times to the first byte) by mode and size, the modes in turn."""
    times: Times = {name: {size: [] for _, size in sizes} for name in sessions}
    firsts: Times = {name: {size: [] for _, size in sizes} for name in sessions}
    seconds = PASS_S if len(sizes) > 1 else 4.0
    for number in range(pairs):
        for name in list(sessions) if number % 2 == 0 else list(reversed(sessions)):
            session = sessions[name]
            plan = {"transfers": [{"kind": "get", "size": size, "start": start, "label": f"{size}", "seed": number,
                                   "window": window, **session.phone(version)} for start, size in sizes]}  # fmt: skip
            what = f"pair {number + 1} of {pairs} IPv{version} {title}".strip()
            outcome = trial.run(session, plan, seconds, what)
            for t in outcome.transfers:
                if t["intact"]:
                    times[name][t["size"]].append(t["finished"] - t["started"])
                    firsts[name][t["size"]].append(t["first_byte"] - t["started"])
    for name in sessions:
        for _, size in sizes:
            trial.row(ip=version, what=title or "plain", bytes=size, mode=name, pairs=len(times[name][size]),
                      median_s=median(times[name][size]), first_byte_s=median(firsts[name][size]),
                      times_s=[round(t, 4) for t in times[name][size]])  # fmt: skip
    return times, firsts


def verdict(trial: Trial, what: str, times: Times, size: int, limit: float) -> None:
    """The ratio of the medians."""
    ratio = median(times["smartwire"][size]) / median(times["cubic"][size])
    trial.at_most(f"{what}: median time with over without", ratio, limit)
