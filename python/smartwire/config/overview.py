"""Is it working, and does it help? The first page of every face: figures of now, a verdict in words, curves."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from smartwire.alarms import journal
from smartwire.config.commands import Answer, Number, command
from smartwire.config.operations import table
from smartwire.counters.history import History, Series
from smartwire.counters.names import split
from smartwire.errors import NotThere
from smartwire.wire import registry, roundtrips
from smartwire.wire.reasons import tables
from smartwire.wire.report import port_totals
from smartwire.wire.stats import Sample, StatsPage

SOONEST_S, LATEST_S = 0.5, 15.0
"""Rates are taken against a look that is so old."""
HUNG_S = 2.0
COUNTED = (
    "accepted_bytes", "not_optimized_bytes", "sent_bytes", "retransmitted_bytes", "retransmitted", "optimized",
    "resets", "copper_down_bytes", "copper_up_bytes", "undone", "probes",
)  # fmt: skip


# ---- figures of now --------------------------------------------------------------------------------------------------


@dataclass
class Meter:
    """Turns counters into rates, between a look of up to some seconds ago and now; shared by all who look."""

    looks: dict[tuple[str, Any], list[Sample]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def rates(self, key: tuple[str, Any], page: StatsPage) -> tuple[Sample, dict[str, float]]:
        """(the page now, growth per second of each of its numbers); waits where nobody has looked before."""
        now = page.read()
        with self.lock:
            kept = [s for s in self.looks.get(key, []) if now.now_ns - s.now_ns < LATEST_S * 1e9]
        before = next((s for s in reversed(kept) if now.now_ns - s.now_ns >= SOONEST_S * 1e9), None)
        if before is None:
            before = now
            time.sleep(SOONEST_S + 0.1)
            now = page.read()
        with self.lock:
            self.looks = {k: v for k, v in self.looks.items() if k[0] != key[0] or k == key}
            if not kept or now.now_ns - kept[-1].now_ns >= SOONEST_S * 1e9:
                kept = [*kept, now][-16:]
            self.looks[key] = kept
        seconds = max(1e-9, (now.now_ns - before.now_ns) / 1e9)
        grown = {k: max(0, v - before.values.get(k, v)) / seconds for k, v in now.values.items()}
        return now, grown


METER = Meter()


def wires_now(configured: dict[str, Any]) -> list[dict[str, Any]]:
    """Each wire that runs or is configured, with its figures."""
    there = {r.name: r for r in registry.running()}
    found = []
    for name in dict.fromkeys((*configured, *there)):
        mode = configured[name].get("mode", "optimize") if name in configured else "by hand"
        one: dict[str, Any] = {"name": name, "mode": mode, "state": "stopped", "engine": "wire"}
        if name in configured and mode == "proxy":
            one["engine"] = "proxy"
        if name in there:
            one |= figures(there[name])
        found.append(one)
    return found


def figures(wire: registry.Running) -> dict[str, Any]:
    """What a running wire's page says, rates included."""
    try:
        now, rate = METER.rates((wire.name, wire.info.get("pid")), StatsPage(wire.stats))
    except NotThere:
        return {"state": "starting"}
    values, ports = now.values, port_totals(now.values)

    def per_s(side: str, copper: str) -> float:
        return 8 * (sum(rate.get(f"port{p}.rx_bytes", 0) for p in ports[side]) + rate.get(copper, 0))

    refused = {n.removeprefix("refused."): v for n, v in values.items() if n.startswith("refused.") and v}
    stopped = {n.removeprefix("stopped."): v for n, v in values.items() if n.startswith("stopped.") and v}
    return {
        "state": "hung" if now.age_s > HUNG_S else "running",
        "pairs": [{"access": a, "core": c} for a, c in wire.pairs],
        "io": wire.info.get("io", ""),
        "started": wire.info.get("started"),
        "age_s": round(now.age_s, 1),
        "ports_down": [p for p in range(2 * len(wire.pairs)) if values.get(f"port{p}.up", 1) == 0],
        "down_bit_s": per_s("core", "copper_down_bytes"),
        "up_bit_s": per_s("access", "copper_up_bytes"),
        "flows": values.get("flows", 0),
        "subscribers": values.get("subscribers", 0),
        "custody_bytes": values.get("custody_bytes", 0),
        "refused": refused,
        "stopped": stopped,
        "total": {name: values.get(name, 0) for name in COUNTED},
        "rate": {name: rate.get(name, 0.0) for name in COUNTED}
        | {"refused": sum(v for n, v in rate.items() if n.startswith("refused."))},
        **roundtrips.sample(wire, values.get("flows", 0)),
    }


# ---- the verdict -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """The answer in words.

    Attributes:
        state: good, watch, bad or idle.
        working: a sentence.
        helps: a sentence; empty where there is nothing to help.
    """

    state: str
    working: str
    helps: str = ""


def verdict(wires: list[dict[str, Any]], alarms: list[dict[str, Any]]) -> Verdict:
    """What the figures mean. A pure function: the same figures, the same words."""
    if not wires:
        return Verdict("idle", "No wire is configured yet. To join two ports: set wires NAME pair ACCESS core CORE")
    wrong = [w["name"] for w in wires if w["engine"] == "wire" and w["state"] != "running"]
    if wrong:
        state = {w["name"]: w["state"] for w in wires}[wrong[0]]
        what = {"hung": "hangs", "starting": "is starting"}.get(state, "is not running")
        text = f"Wire {wrong[0]} {what}: its traffic passes over the copper wire, unoptimized."
        return Verdict("watch" if state == "starting" else "bad", text)
    worst = next((a for s in ("critical", "major") for a in alarms if a["severity"] == s), None)
    if worst:
        bad = worst["severity"] == "critical"
        return Verdict("bad" if bad else "watch", f"{worst['text'].rstrip('.')} ({worst['object']}).", helps(wires))
    down, up = (sum(w.get(f"{d}_bit_s", 0) for w in wires) for d in ("down", "up"))
    flows, people = (sum(w.get(k, 0) for w in wires) for k in ("flows", "subscribers"))
    if down + up < 1000 and not flows:
        return Verdict("idle", "Working; nothing to do at the moment.")
    text = f"Working: {count(flows, 'connection')} of {count(people, 'subscriber')}, {bits(down)} down, {bits(up)} up."
    if all(w["mode"] == "observe" for w in wires if w["engine"] == "wire"):
        return Verdict("good", text, "It only observes, as configured: nothing is optimized.")
    return Verdict("good", text, helps(wires))


def helps(wires: list[dict[str, Any]]) -> str:
    """What the optimizer changes for those connections; only what is measured here is said."""
    share = optimized_share(wires)
    if share is None:
        return ""
    if share < 0.05:
        return "It does not help now: the connections there are left alone; the reasons are below."
    said = [f"{share:.0%} of TCP bytes are optimized."]
    near, far = mean(wires, "rtt_access_us"), mean(wires, "rtt_core_us")
    if near and far:
        said.append(f"Servers see a round trip of {ms(far)} instead of {ms(near + far)}.")
    again = sum(w.get("total", {}).get("retransmitted", 0) for w in wires)
    if again:
        said.append(f"{count(again, 'lost segment')} repaired from here, not from the server.")
    return " ".join(said)


def optimized_share(wires: list[dict[str, Any]]) -> float | None:
    """Share of TCP payload under custody, of now where there is traffic, else since the start; None without any."""
    for kind in ("rate", "total"):
        ours = sum(w.get(kind, {}).get("accepted_bytes", 0) for w in wires)
        beside = sum(w.get(kind, {}).get("not_optimized_bytes", 0) for w in wires)
        if ours + beside > 1000:
            return ours / (ours + beside)
    return None


def mean(wires: list[dict[str, Any]], key: str) -> float | None:
    """Mean over the wires that know it, weighted with their connections."""
    known = [(w[key], max(1, w.get("flows", 0))) for w in wires if w.get(key)]
    return sum(v * n for v, n in known) / sum(n for _, n in known) if known else None


def count(number: float, what: str) -> str:
    """``1 connection``, ``1,200 connections``."""
    return f"{number:,.0f} {what}{'' if number == 1 else 's'}"


def bits(bit_s: float) -> str:
    """A rate as 12.3 Mbit/s."""
    from smartwire.cli.output import scaled

    return scaled(round(bit_s, 1), "bit/s")


def ms(us: float) -> str:
    """A round trip, from us."""
    return f"{us / 1000:.1f} ms" if us < 10_000 else f"{us / 1000:.0f} ms"


def explained(counts: dict[str, int], kind: str) -> list[dict[str, Any]]:
    """Reasons with their sentences, the most frequent first."""
    known = dict(tables()[kind])
    return [
        {"reason": name, "count": n, "text": known.get(name, "")}
        for name, n in sorted(counts.items(), key=lambda c: -c[1])
    ]


def summed(wires: Iterable[dict[str, Any]], key: str) -> dict[str, int]:
    """Counts by reason over all wires."""
    total: dict[str, int] = {}
    for wire in wires:
        for name, n in wire.get(key, {}).items():
            total[name] = total.get(name, 0) + n
    return total


@command("show overview")
def show_overview(session: Any) -> Answer:
    """Show whether it works, and whether it helps."""
    wires = wires_now(session.engine.setup.config.get(("wires",), {}))
    alarms = [asdict(a) for a in journal.Journal(journal.journal_path()).noted(journal.active().alarms)]
    said = verdict(wires, alarms)
    down, up = (sum(w.get(f"{d}_bit_s", 0.0) for w in wires) for d in ("down", "up"))
    sent, again = (sum(w.get("rate", {}).get(n, 0) for w in wires) for n in ("sent_bytes", "retransmitted_bytes"))
    refused = explained(summed(wires, "refused"), "refuse")
    data = {
        "unix_s": session.engine.clock.time(),
        "verdict": asdict(said),
        "down_bit_s": down,
        "up_bit_s": up,
        "flows": sum(w.get("flows", 0) for w in wires),
        "subscribers": sum(w.get("subscribers", 0) for w in wires),
        "optimized_share": optimized_share(wires),
        "retransmitted_share": again / sent if sent else 0.0,
        "rtt_access_us": mean(wires, "rtt_access_us"),
        "rtt_core_us": mean(wires, "rtt_core_us"),
        "queue_us": mean(wires, "queue_us"),
        "refused": refused,
        "stopped": explained(summed(wires, "stopped"), "stop"),
        "wires": wires,
        "alarms": alarms,
    }
    text = f"{said.working}\n" + (f"{said.helps}\n" if said.helps else "")
    if wires:
        rows = [
            (w["name"], w["state"], w["mode"], bits(w.get("down_bit_s", 0)), bits(w.get("up_bit_s", 0)),
             w.get("flows", 0), w.get("subscribers", 0))
            for w in wires
        ]  # fmt: skip
        text += table(("Wire", "State", "Mode", "Down", "Up", "Connections", "Subscribers"), rows)
    if refused:
        text += table(("Left alone", "Connections", "Why"), [(r["reason"], r["count"], r["text"]) for r in refused[:5]])
    return Answer(text, data)


# ---- over time -------------------------------------------------------------------------------------------------------

STEPS = (10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
POINTS = 200
"""Of a curve, about."""

RATES = {
    "down_bit_s": (("rx_bytes", "core"), ("copper_down_bytes", None)),
    "up_bit_s": (("rx_bytes", "access"), ("copper_up_bytes", None)),
    "flows": (("flows", None),),
    "subscribers": (("subscribers", None),),
    "sent": (("sent_bytes", None),),
    "again": (("retransmitted_bytes", None),),
}
MEANS = {name: ((name, None),) for name in ("rtt_access_us", "rtt_core_us", "queue_us")}
"""Curves: the metrics that make them, each of a side of the ports or of the whole wire."""


def belongs(series: Series, parts: tuple[tuple[str, str | None], ...]) -> bool:
    """True if a series is one of a curve's."""
    labels, metric = split(series.path)
    if "wire" not in labels or set(labels) - {"wire", "port"}:
        return False
    port = labels.get("port")
    return any(metric == m and (port or "").rstrip("0123456789") == (side or "") for m, side in parts)


def curve(history: History, all_: list[Series], name: str, since: int, until: int, step: int) -> dict[int, float]:
    """A curve's points: sums over wires and ports, means of round trips."""
    parts = RATES.get(name) or MEANS[name]
    sums: dict[int, list[float]] = {}
    for series in all_:
        if belongs(series, parts):
            for b in history.over(series, since, until, step)[1]:
                if b.mean is not None:
                    sums.setdefault(b.start, []).append(b.mean)
    return {at: sum(v) / (len(v) if name in MEANS else 1) for at, v in sorted(sums.items())}


def curves(history: History, hours: int, now: int) -> dict[str, Any]:
    """All curves over the last hours, on one time axis."""
    since = now - hours * 3600
    step = next(s for s in STEPS if hours * 3600 / s <= POINTS or s == STEPS[-1])
    step = max(step, history.retention.raw[0])
    known = history.series()
    found = {name: curve(history, known, name, since, now, step) for name in (*RATES, *MEANS)}
    sent, again = found.pop("sent"), found.pop("again")
    found["retransmitted_share"] = {at: again.get(at, 0.0) / v if v else 0.0 for at, v in sent.items()}
    for name in ("down_bit_s", "up_bit_s"):
        found[name] = {at: 8 * v for at, v in found[name].items()}
    times = range(since // step * step, now, step)
    refused: dict[str, int] = {}
    for series in known:
        labels, metric = split(series.path)
        if metric == "refused" and "reason" in labels:
            n = sum(b.sum for b in history.over(series, since, now, step)[1])
            refused[labels["reason"]] = refused.get(labels["reason"], 0) + n
    return {
        "step_s": step,
        "unix_s": list(times),
        "curves": {name: [points.get(at) for at in times] for name, points in found.items()},
        "refused": {name: n for name, n in refused.items() if n},
    }


@command("show overview-history")
def show_overview_history(session: Any, *, hours: Number = 1) -> Answer:
    """Show the same over time, from the counter database.

    hours: how far back.
    """
    from smartwire.cli.chart import spark

    history = History()
    try:
        data = curves(history, max(1, hours), int(session.engine.clock.time()))
    finally:
        history.close()
    data["refused"] = explained(data["refused"], "refuse")
    rows = []
    for name, points in data["curves"].items():
        there = [p for p in points if p is not None]
        figures = (f"{sum(there) / len(there):,.4g}", f"{max(there):,.4g}") if there else ("-", "-")
        rows.append((name, spark(points[-60:], 60), *figures))
    return Answer(table(("Curve", f"The last {count(max(1, hours), 'hour')}", "Mean", "Most"), rows), data)
