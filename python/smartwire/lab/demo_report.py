"""The demo's report: one HTML file with its plots."""

from __future__ import annotations

import os
import platform
import time
from html import escape

import smartwire
from smartwire.lab import demo as d
from smartwire.lab.demo import TITLES, WITH, WITHOUT, Demo
from smartwire.lab.figures import median, quantile
from smartwire.lab.frames import ACK, SYN, Segment, segments
from smartwire.lab.links import describe
from smartwire.lab.plan import BIN_S, PORT
from smartwire.report import page as p
from smartwire.report.svg import Axis, Plot

SHOWN_BYTES = 1_000_000
"""Size of the download whose segments are drawn."""


def html(demo: Demo) -> str:
    """The whole report."""
    title = "Smartwire: with and without"
    about = (f"{describe(demo.radio)}. The same downloads over the same seconds of the same emulated link, between "
             "real Linux TCP stacks; only the box in the middle differs.")  # fmt: skip
    parts = [f"<h1>{escape(title)}</h1>", p.paragraph(about, "soft"), *verdict(demo), chain(), *tables(demo),
             *rtt_plots(demo), *goodput_plot(demo), *size_plot(demo), *sequence_plots(demo),
             *method(demo)]  # fmt: skip
    return p.page(title, parts)


def verdict(demo: Demo) -> list[str]:
    """What came out, in one look."""
    rtt = {m: quantile(demo.rtts_ms(m), 0.95) for m in TITLES}
    mid = {m: median(demo.times(m, SHOWN_BYTES)) for m in TITLES}
    rate = {m: demo.goodput_mbps(m) for m in TITLES}
    again = {m: a / max(1, b) for m in TITLES for b, a in [demo.again(m)]}
    idle = median([*demo.rtts_ms(WITHOUT, loaded=False), *demo.rtts_ms(WITH, loaded=False)])
    out = [p.paragraph(f"This run proves nothing: {fault}.", "bad") for fault in demo.faults()]
    out.append(p.cards([
        p.card("Echo RTT under load, ms", f"{rtt[WITHOUT]:,.0f}", f"{rtt[WITH]:,.0f}", f"p95; {idle:.0f} when idle"),
        p.card("Two downloads, Mbit/s", f"{rate[WITHOUT]:.1f}", f"{rate[WITH]:.1f}", "goodput together"),
        p.card("Download of 1 MB, s", f"{mid[WITHOUT]:.2f}", f"{mid[WITH]:.2f}",
               f"median; {d.change(mid[WITHOUT], mid[WITH])}"),
        p.card("Crossed the radio twice", f"{again[WITHOUT]:.2%}", f"{again[WITH]:.2%}", "of the payload"),
    ]))  # fmt: skip
    return out


def chain() -> str:
    """A picture of the lab."""
    boxes = (("phone", "Linux TCP"), ("radio", "emulator"), ("the middle", "bridge or wire"), ("internet", "emulator"),
             ("server", "Linux TCP, CUBIC"))  # fmt: skip
    width, gap, drawn = 132, 44, []
    for i, (name, what) in enumerate(boxes):
        x = 10 + i * (width + gap)
        hot = " hot" if i == 2 else ""
        if i:
            drawn.append(f'<line class="wire" x1="{x - gap}" x2="{x}" y1="38" y2="38"/>')
        drawn.append(f'<rect class="box{hot}" x="{x}" y="10" width="{width}" height="56" rx="8"/>'
                     f'<text class="strong" x="{x + width / 2}" y="34" text-anchor="middle">{name}</text>'
                     f'<text x="{x + width / 2}" y="53" text-anchor="middle">{what}</text>')  # fmt: skip
    total = 10 + len(boxes) * (width + gap) - gap + 10
    return (f'<svg viewBox="0 0 {total} 76" role="img" aria-label="phone, radio, the middle, internet, server" '
            f'style="width:100%;max-width:{total}px;display:block">{"".join(drawn)}</svg>')  # fmt: skip


def tables(demo: Demo) -> list[str]:
    """The same table as on the terminal."""
    return [p.table(("", *TITLES.values(), ""), d.rows(demo))]


def rtt_plots(demo: Demo) -> list[str]:
    """Echo RTT over time, each round."""
    out = [p.heading("Round trip time while downloading"),
           p.paragraph(f"One small UDP datagram every {d.PROBE_S * 1e3:.0f} ms, echoed by the server. Two downloads "
                       f"begin at {d.IDLE_S:.1f} s. What they put into the radio's queue, all else of this subscriber "
                       "waits behind: a call, a game, the next page.")]  # fmt: skip
    for this in demo.rounds:
        title = f"Echo RTT over time, IPv{this.version}"
        plot = Plot(title, Axis("time, s", 0.0, d.BULK_S), Axis("echo RTT, ms", 0.0))
        for mode in TITLES:
            pairs = [(at, rtt * 1e3 if rtt is not None else None) for at, rtt in this.bulk[mode].probe]
            plot.line(pairs, mode, f"{TITLES[mode]}, IPv{this.version}")
        out.append(plot.svg())
    return out


def goodput_plot(demo: Demo) -> list[str]:
    """Goodput over time of the first round."""
    this = demo.rounds[0]
    plot = Plot("Goodput over time", Axis("time, s", 0.0, d.BULK_S), Axis("goodput, Mbit/s", 0.0), height=240)
    wide = 5
    for mode in TITLES:
        bins = [sum(column) for column in zip_longest([t["bins"] for t in this.bulk[mode].transfers])]
        sums = [sum(bins[i : i + wide]) * 8e-6 / (wide * BIN_S) for i in range(0, len(bins), wide)]
        last = int(d.BULK_S / (wide * BIN_S))
        plot.line([((i + 0.5) * wide * BIN_S, s) for i, s in enumerate(sums[:last])], mode,
                  f"{TITLES[mode]}, IPv{this.version}")  # fmt: skip
    return [p.heading("Goodput meanwhile"), p.paragraph("Both downloads together, means of half a second."), plot.svg()]


def zip_longest(rows: list[list[int]]) -> list[list[int]]:
    """Columns of rows of unequal length, missing values 0."""
    length = max(map(len, rows), default=0)
    return [[row[i] if i < len(row) else 0 for row in rows] for i in range(length)]


def size_plot(demo: Demo) -> list[str]:
    """Every download's time, by size."""
    sizes = sorted({size for _, size in d.DOWNLOADS})
    names = [d.size_text(s) for s in sizes]
    plot = Plot("Download time by size", Axis("time from the first SYN to the last byte, s", log=True),
                Axis("", -0.5, len(sizes) - 0.5, names=names), height=230)  # fmt: skip
    for shift, mode in ((0.14, WITHOUT), (-0.14, WITH)):
        for i, size in enumerate(sizes):
            times = demo.times(mode, size)
            plot.dots([(t, i + shift) for t in times], mode, f"{TITLES[mode]} (bar: median)", 4.0)
            if times:
                plot.line([(median(times), i + shift - 0.13), (median(times), i + shift + 0.13)], mode)
    return [p.heading("Download times"), plot.svg()]


def flow(demo: Demo, mode: str) -> tuple[list[Segment], list[Segment], int] | None:
    """Segments at the access side and at the core side of the first 1 MB download, and its first sequence number."""
    if mode not in demo.captures:
        return None
    wanted = next((t for t in demo.rounds[0].downloads[mode].transfers if t["size"] == SHOWN_BYTES), None)
    if wanted is None or not wanted["finished"]:
        return None
    sides = []
    for side in ("access", "core"):
        ports = (wanted["local_port"], PORT)
        sides.append([s for s in segments(demo.captures[mode].files[side]) if (s.dport, s.sport) == ports
                      or (s.sport, s.dport) == ports])  # fmt: skip
    start = next((s for s in sides[1] if s.flags & SYN and s.flags & ACK), None)
    return (sides[0], sides[1], start.seq) if start else None


def sequence_plots(demo: Demo) -> list[str]:
    """Time-sequence graphs of one download, both modes on the same scale."""
    flows = {mode: found for mode in TITLES if (found := flow(demo, mode))}
    if not flows:
        return []
    out = [p.heading("One download of 1 MB, seen on both sides of the middle"),
           p.paragraph("Each dot is a segment, each line the highest byte acknowledged. Towards the server (core side) "
                       "Smartwire acknowledges at once, so the server's window opens after the internet's round trip "
                       "alone. What it has acknowledged and the phone has not yet is in its custody: the shaded area. "
                       "Without it, the server waits for the phone's acknowledgments.")]  # fmt: skip
    longest = max(t["finished"] - t["started"] for m in flows for t in demo.rounds[0].downloads[m].transfers
                  if t["size"] == SHOWN_BYTES and t["finished"])  # fmt: skip
    out += [sequence_plot(mode, found, longest) for mode, found in flows.items()]
    return out


def sequence_plot(mode: str, found: tuple[list[Segment], list[Segment], int], longest: float) -> str:
    """One time-sequence graph."""
    access, core, first = found
    began = min(s.unix_ns for s in access)

    def offset(number: int) -> float:
        return ((number - first - 1 + (1 << 31)) % (1 << 32) - (1 << 31)) / 1e3

    def data(side: list[Segment]) -> list:
        return [((s.unix_ns - began) / 1e9, offset(s.seq + s.payload)) for s in side if s.sport == PORT and s.payload]

    def acks(side: list[Segment]) -> list:
        points, best = [], 0.0
        for s in side:
            if s.dport == PORT and s.flags & ACK and not s.flags & SYN:
                best = max(best, min(offset(s.ack), SHOWN_BYTES / 1e3))
                points.append(((s.unix_ns - began) / 1e9, best))
        return [*points, (max(points[-1][0], longest), best)] if points else []

    title = TITLES[mode]
    plot = Plot(f"Time-sequence graph, {title}", Axis(f"time since the SYN, s ({title})", 0.0, longest * 1.03),
                Axis("stream offset, kB", 0.0, SHOWN_BYTES / 1e3 * 1.04), height=360)  # fmt: skip
    told, had = acks(core), acks(access)
    if told and had and mode == WITH:
        plot.area(told, had, "with", "custody")
    if mode == WITH:
        plot.dots(data(core), "a", "segments from the server (core side)", 1.3)
        plot.line(told, "a", "acknowledged to the server", step=True)
        plot.dots(data(access), "b", "segments to the phone (access side)", 1.3)
    else:
        plot.dots(data(access), "b", "segments (the same on both sides)", 1.3)
    plot.line(had, "b", "acknowledged by the phone", step=True)
    return plot.svg()


def method(demo: Demo) -> list[str]:
    """How it was measured, so that a reader can do it again."""
    versions = " and ".join(f"IPv{r.version}" for r in demo.rounds)
    machine = f"Linux {platform.release()}, {os.cpu_count()} CPUs, {time.strftime('%Y-%m-%d %H:%M')}"
    custody = demo.custody_share()
    share = "" if custody is None else f" In every optimized run at least {custody:.1%} of it was under custody."
    total = sum(demo.checked(m) for m in TITLES) / 1e6
    return [
        p.heading("How this was measured"),
        p.paragraph(f"Five hosts in network namespaces of one machine, joined by veth pairs, offloads off, TCP metrics "
                    f"not saved. Modes alternate; every run starts the link at the same second. {versions}. The "
                    f"internet leg takes 30 ms of each round trip. {total:,.0f} MB of payload "
                    f"were compared byte by byte.{share} The whole took {demo.seconds:.0f} s."),
        p.paragraph(f"Smartwire {smartwire.__version__}; {machine}.", "soft"),
        f"<pre>{escape(demo.command)}</pre>",
    ]  # fmt: skip
