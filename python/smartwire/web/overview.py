"""The first page: is it working, and does it help?"""

from __future__ import annotations

import time
from collections import deque
from html import escape
from typing import Any

from nicegui import ui
from starlette.requests import Request

from smartwire.web import charts, style
from smartwire.web.alarms import items
from smartwire.web.frame import View, frame, heading, panel

EVERY_S = 2.0
LIVE_S, LEAST_S = 300, 60
"""That live curves show at most, and at least, however little is known yet."""
RANGES = {"live": "Live", "1": "1 h", "24": "1 day", "360": "15 days"}
Chart = tuple[str, str, list[tuple[str, str, str, float, bool]]]
CHARTS: list[Chart] = [
    ("Throughput", charts.BIT_S, [
        ("Down", "down_bit_s", charts.BLUE, 1, True), ("Up", "up_bit_s", charts.ORANGE, 1, False)]),
    ("Round trips", charts.MS, [
        ("Subscribers' side", "rtt_access_us", charts.BLUE, 1e-3, False),
        ("Servers' side", "rtt_core_us", charts.GREEN, 1e-3, False),
        ("Queue", "queue_us", charts.PURPLE, 1e-3, True)]),
    ("Connections and subscribers", charts.NUMBER, [
        ("Connections", "flows", charts.BLUE, 1, True), ("Subscribers", "subscribers", charts.PURPLE, 1, False)]),
    ("Sent again from here", charts.PERCENT, [("Share of bytes", "retransmitted_share", charts.RED, 100, True)]),
]  # fmt: skip
"""Title, unit, and the curves: name, key of the figures, colour, factor, filled."""
KEYS = [key for _, _, curves in CHARTS for _, key, _, _, _ in curves]


class Overview:
    """The page in one browser."""

    def __init__(self, view: View, hours: str) -> None:
        self.view, self.hours = view, hours if hours in RANGES else "live"
        self.live: deque[tuple[float, dict[str, Any]]] = deque(maxlen=int(LIVE_S / EVERY_S) + 1)
        self.plots: list[tuple[ui.echart, Chart]] = []
        self.old: tuple[float, str] = (0.0, "")

    async def build(self) -> None:
        """Everything of the page."""
        self.verdict = ui.html("", sanitize=False).props('role=status aria-live=polite aria-label="Verdict"')
        self.tiles = ui.html("", sanitize=False).classes("tiles").props('aria-label="Figures of now"')
        with ui.element("div").classes("row"):
            ui.html("<h2>Over time</h2>", sanitize=False).classes("grow")
            toggle = ui.toggle(RANGES, value=self.hours, on_change=self.choose)
            toggle.props(
                'no-caps unelevated dense toggle-color=plain toggle-text-color=plain aria-label="Range of the curves"'
            ).classes("ranges")
        with ui.element("div").classes("two"):
            for chart in CHARTS:
                self.chart(chart)
        with ui.element("div").classes("two"):
            with panel("Left alone, and why"):
                self.refused = ui.html("", sanitize=False).classes("list")
            with panel("Alarms"):
                self.alarms = ui.html("", sanitize=False).classes("list")
        with panel("Wires"):
            self.wires = ui.html("", sanitize=False).classes("list")
        await self.begin()
        ui.timer(EVERY_S, self.refresh, immediate=False)

    def chart(self, chart: Chart) -> None:
        """One panel with curves."""
        title, unit, curves = chart
        with ui.element("section").classes("panel"):
            with ui.element("div").classes("row"):
                heading(title)
                names = "".join(f'<span><i style="background:{c}"></i>{escape(n)}</span>' for n, _, c, _, _ in curves)
                ui.html(names if len(curves) > 1 else "", sanitize=False).classes("legend")
            options = charts.lines([(n, c, filled) for n, _, c, _, filled in curves], unit)
            plot = ui.echart(options, renderer="svg").classes("chart")
            plot.props(f'role=img aria-label="{title} over time: {", ".join(n for n, *_ in curves)}"')
            self.plots.append((plot, chart))

    async def begin(self) -> None:
        """The first figures; the last minutes of the store, so that live curves do not begin with nothing."""
        if self.hours == "live":
            found = await self.view.login.run("show overview-history hours 1", True) if await self.stored() else None
            if found:
                for n, at in enumerate(found["unix_s"]):
                    row = {key: found["curves"][key][n] for key in KEYS}
                    if time.time() - at < LIVE_S and any(v is not None for v in row.values()):
                        self.live.append((at, row))
        await self.refresh()
        await self.redraw()

    async def stored(self) -> bool:
        """True if there is a counter store."""
        try:
            await self.view.login.run("show overview-history hours 1", True)
        except Exception:
            return False
        return True

    async def choose(self, event: Any) -> None:
        """Another range."""
        self.hours, self.old = event.value, (0.0, "")
        await self.redraw()

    async def refresh(self) -> None:
        """The figures of now."""
        now = await self.view.run("show overview")
        if now is None:
            return
        self.live.append((now["unix_s"], now))
        self.verdict.set_content(verdict(now))
        self.verdict.classes(replace=f"panel verdict {now['verdict']['state']}")
        self.tiles.set_content(tiles(now))
        if self.hours == "live":
            self.refused.set_content(refusals(now["refused"]))
        self.alarms.set_content(items(now["alarms"]))
        self.wires.set_content(wires(now["wires"]))
        await self.redraw()

    async def redraw(self) -> None:
        """The curves of the range: live ones each time, others when they have a new point."""
        if self.hours == "live":
            until = self.live[-1][0] if self.live else time.time()
            times = [at for at, _ in self.live]
            since = max(until - LIVE_S, min([until - LEAST_S, *times]))
            found = {key: [row.get(key) for _, row in self.live] for key in KEYS}
        else:
            if time.time() - self.old[0] < 20:
                return
            data = await self.view.run(f"show overview-history hours {self.hours}")
            if data is None:
                return
            self.old = (time.time(), self.hours)
            times, found = data["unix_s"], data["curves"]
            self.refused.set_content(refusals(data["refused"]))
            since, until = times[0], times[-1] + data["step_s"]
        for plot, (_, _, curves) in self.plots:
            scaled = [[v if v is None else round(v * f, 4) for v in found[key]] for _, key, _, f, _ in curves]
            charts.fill(plot.options, times, scaled, since, until)
            plot.update()


def verdict(now: dict[str, Any]) -> str:
    """The answer in words."""
    said = now["verdict"]
    return (
        f'<div class="mark">{style.svg(style.MARKS[said["state"]])}</div><div><h1>{escape(said["working"])}</h1>'
        f'<p class="helps">{escape(said["helps"])}</p></div>'
    )


def tiles(now: dict[str, Any]) -> str:
    """Six figures."""
    share = now["optimized_share"]
    near, far, queue = (now[k] for k in ("rtt_access_us", "rtt_core_us", "queue_us"))
    shown = (
        ("Down", *bits(now["down_bit_s"]), "towards the subscribers"),
        ("Up", *bits(now["up_bit_s"]), "towards the servers"),
        ("Optimized", *(("-", "") if share is None else (f"{100 * share:.0f}", "%")), "of TCP bytes"),
        ("Subscribers' side", *ms(near), f"round trip, {' '.join(ms(queue))} of it queue" if queue else "round trip"),
        ("Servers' side", *ms(far), "round trip"),
        ("Sent again", f"{100 * now['retransmitted_share']:.2f}", "%", "of bytes, from here"),
    )
    return "".join(
        f'<div class="panel tile"><small>{name}</small><b>{value}<span>{unit}</span></b><small>{about}</small></div>'
        for name, value, unit, about in shown
    )


def bits(bit_s: float) -> tuple[str, str]:
    """A rate and its unit."""
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if bit_s < 999.5 or unit == "Gbit/s":
            break
        bit_s /= 1000
    return (f"{bit_s:.0f}" if bit_s >= 100 or unit == "bit/s" else f"{bit_s:.1f}"), unit


def ms(us: float | None) -> tuple[str, str]:
    """A round trip and its unit."""
    if not us:
        return ("-", "")
    return (f"{us / 1000:.1f}" if us < 10_000 else f"{us / 1000:.0f}"), "ms"


def refusals(found: list[dict[str, Any]]) -> str:
    """Reasons as bars."""
    if not found:
        return '<p class="note">No connection was left alone.</p>'
    total = sum(r["count"] for r in found)
    return "".join(
        f'<div class="item"><div class="what"><b>{escape(r["reason"])}</b>'
        f'<span class="num soft">{r["count"]:,}</span></div>'
        f'<div class="soft">{escape(r["text"])}</div>'
        f'<div class="share"><i style="width:{100 * r["count"] / total:.1f}%"></i></div></div>'
        for r in found[:6]
    )


STATES = {"running": "good", "hung": "bad", "stopped": "bad", "starting": "watch"}


def wires(found: list[dict[str, Any]]) -> str:
    """The wires, a line each."""
    if not found:
        return '<p class="note">No wire is configured: <code>set wires NAME pair ACCESS core CORE</code></p>'
    out = ""
    for w in found:
        pairs = ", ".join(f"{p['access']} = {p['core']}" for p in w.get("pairs", []))
        state = "running" if w["engine"] == "proxy" and w["state"] == "stopped" else w["state"]
        down = " ".join(bits(w.get("down_bit_s", 0)))
        out += (
            f'<div class="item"><div class="what"><span><b>{escape(w["name"])}</b> '
            f'<span class="soft">{escape(pairs)}</span></span>'
            f'<span class="num soft wide">{w.get("flows", 0):,} connections, {down} down</span>'
            f'<span class="pill {STATES[state]}">{escape(state)}, {escape(w["mode"])}</span></div></div>'
        )
    return out


@ui.page("/")
async def show(request: Request, hours: str = "live") -> None:
    """The page."""
    async with frame(request, "overview") as view:
        await Overview(view, hours).build()
