"""What `smartwire bench proxy` found, as a table for the terminal and as an HTML page."""

from __future__ import annotations

from typing import Any

from smartwire.proxy.bench_objects import COLUMNS as OBJECT_COLUMNS
from smartwire.report.page import heading, page, paragraph, table
from smartwire.report.svg import Axis, Plot

COLUMNS = (
    "SCENARIO",
    "TPS",
    "TTFB P50",
    "P99 MS",
    "HAPROXY CPU US",
    "TPS TO BEST",
    "PAPER",
    "CPU TO BEST",
    "CLIENT CPU",
)


def rows(d: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row per scenario."""
    return [
        (
            f["text"],
            f"{f['tps']:,.0f}",
            f"{f['ttfb_ms']['p50']:.2f}",
            f"{f['ttfb_ms']['p99']:.2f}",
            "-" if f["haproxy_cpu_us"] is None else f"{f['haproxy_cpu_us']:.0f}",
            ratio(f.get("tps_to_best")),
            "-" if f["paper_tps_ratio"] is None else f"{f['paper_tps_ratio']:.2f}",
            ratio(f.get("cpu_to_best")),
            f"{f['client_cpu_share']:.0%}",
        )
        for f in d["figures"]
    ]


def object_rows(d: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row per kind of object and way."""
    return [
        (
            o["objects"],
            o["through"],
            f"{o['tps']:,.0f}",
            f"{o['mbps']:,.1f}",
            f"{o['ttfb_p50_ms']:.2f}",
            ratio(o["mbps_to_direct"]) if o["through"] != "direct" else "-",
            "-" if o["haproxy_cpu_us"] is None else f"{o['haproxy_cpu_us']:,.0f}",
        )
        for o in d["objects"]
    ]


FRAME_COLUMNS = ("BYTES", "PREFIXES", "NS PER FRAME", "COPPER WIRE ALONE", "FRAMES/S", "RATE TO COPPER")


def frame_rows(d: dict[str, Any]) -> list[tuple[str, ...]]:
    """A row per size and number of prefixes."""
    return [
        (
            f"{f['bytes']:,}",
            f"{f['prefixes']:,}",
            f"{f['ns']:,.0f}",
            f"{f['copper_ns']:,.0f}",
            f"{f['frames_per_second']:,.0f}",
            ratio(f["rate_to_copper"]),
        )
        for f in d["frames"]
    ]


def bottleneck(d: dict[str, Any]) -> str:
    """What kept the proxy's best case from more."""
    best = next(f for f in d["figures"] if f["scenario"] == "tcp-splice")
    used = {"the client": best["client_cpu_share"], "HAProxy": best["haproxy_cpu_share"]}
    who = max(used, key=lambda name: used[name])
    shares = ", ".join(f"{name} {share:.0%} of a CPU" for name, share in used.items())
    if used[who] > 0.9:
        text = f"{who} was the bottleneck"
    elif best["idle_share"] < 0.1:
        text = "the machine's CPUs, which all share, were the bottleneck"
    else:
        text = "no CPU was the bottleneck: waiting was"
    return f"In the best case {text} ({shares}; {best['idle_share']:.0%} of the machine was idle)."


def ratio(r: dict[str, Any] | None) -> str:
    """A ratio with its confidence interval."""
    if not r:
        return "-"
    same = "" if r["distinguishable"] else " (not distinguishable)"
    return f"{r['ratio']:.2f} [{r['low']:.2f}, {r['high']:.2f}]{same}"


def title(d: dict[str, Any]) -> str:
    """What was done."""
    return f"{d['rounds']} rounds of {d['seconds']:g} s, {d['size']:,} bytes, {d['connections']} connections at a time"


def notes(d: dict[str, Any]) -> list[str]:
    """What else is to be said."""
    syns = [
        f"a SYN with {s['prefixes']:,} prefixes: {s['hit_ns']:.0f} ns if it hits one, {s['miss_ns']:.0f} if not"
        for s in d["syn"]
    ]
    limit = [bottleneck(d)] if d["figures"] else []
    return [*syns, *limit, *(f"left out: {what} ({why})" for what, why in d["left_out"].items())]


def html(d: dict[str, Any]) -> str:
    """The page."""
    parts = ["<h1>The proxy engine</h1>", paragraph(title(d))]
    if d["figures"]:
        parts += [scenario_plot(d), table(COLUMNS, rows(d))]
    if d["objects"]:
        parts += [heading("By size of the objects"), table(OBJECT_COLUMNS, object_rows(d))]
    if d["frames"]:
        parts += [heading("Frames that are not the proxy's"), table(FRAME_COLUMNS, frame_rows(d))]
    parts += [heading("Besides"), *(paragraph(note) for note in notes(d))]
    return page("Smartwire: bench proxy", parts)


def scenario_plot(d: dict[str, Any]) -> str:
    """The scenarios beside the paper's."""
    shown = [f for f in d["figures"] if "tps_to_best" in f]
    names = tuple(f["scenario"] for f in shown)
    plot = Plot(
        "Transactions per second, as a ratio to the best case",
        Axis("ratio to the proxy in TCP mode with splicing", 0.0),
        Axis("", -0.5, len(names) - 0.5, names=names),
        height=60 + 40 * len(names),
        left=110,
    )
    for at, f in enumerate(shown):
        r = f["tps_to_best"]
        plot.line([(r["low"], at), (r["high"], at)], "with", "95% confidence interval")
        plot.dots([(r["ratio"], at)], "with", "here", radius=4)
        if f["paper_tps_ratio"] is not None:
            plot.dots([(f["paper_tps_ratio"], at)], "without", "the paper's", radius=4)
    return plot.svg()
