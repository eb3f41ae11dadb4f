"""The page of one flow: its figures, what happened to it, and its time-sequence graph from a capture of headers."""

from __future__ import annotations

import asyncio
import base64
import secrets
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from nicegui import ui
from starlette.requests import Request

from smartwire.cli.output import ms, size
from smartwire.config import words
from smartwire.errors import UsageError
from smartwire.web import charts
from smartwire.web.alarms import moment
from smartwire.web.frame import View, frame, panel
from smartwire.web.sequence import Graph, graph
from smartwire.wire import target

EVERY_S = 2.0
SECONDS = 5
"""That a capture takes."""
DOT = "width:7px;height:7px;border-radius:50%"
GONE = "This connection is not optimized now: it has ended, or was never; below is what happened to it."


class Flow:
    """The page in one browser."""

    def __init__(self, view: View, wire: str, connection: str) -> None:
        self.view, self.wire, self.connection = view, words.quote(wire), connection
        self.ends = target.parse(connection)
        if self.ends["kind"] != "flow":
            raise UsageError(f"{connection!r} names no connection.")

    async def build(self) -> None:
        """Everything of the page."""
        ui.html(f'<a href="/flows">Flows</a><h1 class="mono num" style="font-size:18px">{escape(self.connection)}</h1>',
                sanitize=False)  # fmt: skip
        with panel():
            self.facts = ui.html("", sanitize=False)
        with panel():
            with ui.element("div").classes("row"):
                ui.html("<h2>Time and sequence</h2>", sanitize=False).classes("grow")
                self.button = ui.button(f"Capture {SECONDS} s", on_click=self.capture, color=None)
                self.button.classes("button").props("no-caps unelevated")
            text = "Headers only, both sides of the wire. The wire is never slowed by it."
            self.told = ui.html(f'<p class="soft">{text}</p>', sanitize=False)
            self.place = ui.element("div")
        with panel("What happened"):
            self.events = ui.html("", sanitize=False).classes("list")
        await self.refresh()
        ui.timer(EVERY_S, self.refresh, immediate=False)

    async def refresh(self) -> None:
        """Its figures and events."""
        found = await self.view.run(f"show flows wire {self.wire} match {self.connection} limit 1")
        if found is not None:
            self.facts.set_content(facts(found[0]) if found else f'<p class="soft">{GONE}</p>')
        events = await self.view.run(f"show events wire {self.wire} match {self.connection} limit 20")
        if events is not None:
            self.events.set_content(happened(events))

    async def capture(self) -> None:
        """Captures, and draws what came of it."""
        file = f"web-{secrets.token_hex(6)}.pcapng"
        self.button.props("loading")
        try:
            line = f"request wire capture {self.wire} {file} match {self.connection} seconds {SECONDS}"
            if await self.view.run(line, by_itself=False) is None:
                return
            found = await self.view.run(f"show capture {file}")
            await self.view.run(f"clear capture {file}")
            if found is not None:
                self.draw(await asyncio.to_thread(read, found["content"], self.ends), found["bytes"])
        finally:
            self.button.props(remove="loading")

    def draw(self, found: Graph, captured: int) -> None:
        """The graph, and in words what it shows."""
        self.place.clear()
        if found.empty:
            self.told.set_content(f'<p class="soft">It carried nothing in these {SECONDS} s.</p>')
            return
        self.told.set_content(f'<p class="soft">{escape(summary(found))}</p>')
        sender, receiver = ("server", "subscriber") if found.down else ("subscriber", "server")
        parts = [
            (f"Data from the {sender}", charts.ORANGE, "dots", found.arrived),
            (f"Told the {sender}", charts.ORANGE, "line", found.told),
            (f"Data to the {receiver}", charts.BLUE, "dots", found.sent),
            ("Sent again from here", charts.RED, "marks", found.again),
            (f"Acknowledged by the {receiver}", charts.BLUE, "line", found.acked),
        ]
        with self.place:
            names = "".join(
                f'<span><i style="background:{colour};{"" if kind == "line" else DOT}"></i>{escape(name)}</span>'
                for name, colour, kind, _ in parts
            )
            ui.html(names, sanitize=False).classes("legend")
            plot = ui.echart(charts.sequence(parts)).classes("chart tall")  # type: ignore[arg-type]
            plot.props('role=img aria-label="Bytes over time, on both sides of the wire"')


def read(content: str, ends: dict[str, Any]) -> Graph:
    """The graph of a capture that smartwired handed over. Done here, where nothing has any right."""
    with tempfile.NamedTemporaryFile(suffix=".pcapng") as file:
        file.write(base64.b64decode(content))
        file.flush()
        return graph(Path(file.name), ends)


def summary(found: Graph) -> str:
    """What a graph shows."""
    where = "towards the subscriber" if found.down else "towards the server"
    again = f", {len(found.again):,} segments sent again from here" if found.again else ", nothing sent again"
    held = f"; at most {size(found.custody)} were acknowledged ahead" if found.custody else ""
    return f"{size(found.payload)} {where}{again}{held}."


def facts(f: dict[str, Any]) -> str:
    """The figures of a flow; the index of a pair is the side that a stream comes from."""
    shown = (
        ("Wire", f["wire"]),
        ("Mode", f["mode"]),
        ("Down, up", f"{size(f['delivered_bytes'][1])}, {size(f['delivered_bytes'][0])}"),
        ("Custody", size(sum(f["custody_bytes"]))),
        ("In flight to the subscriber", size(f["in_flight_bytes"][1])),
        ("Congestion window", size(f["cwnd_bytes"][1]) if f["cwnd_bytes"][1] else "-"),
        ("RTT on the subscriber's side", ms(f["srtt_ns"][1]) if f["srtt_ns"][1] else "-"),
        ("RTT on the server's side", ms(f["srtt_ns"][0]) if f["srtt_ns"][0] else "-"),
    )
    cells = "".join(f"<div><small>{escape(n)}</small><b class=num>{escape(str(v))}</b></div>" for n, v in shown)
    return f'<div class="facts">{cells}</div>'


def happened(events: list[dict[str, Any]]) -> str:
    """Events, the newest first."""
    if not events:
        return '<p class="note">Nothing is remembered of it.</p>'
    return "".join(
        f'<div class="item"><div class="what"><b>{escape(e["kind"])}</b>'
        f'<span class="soft num">{moment(e["unix_s"])}</span></div><div class="soft">{escape(e["text"])}</div></div>'
        for e in reversed(events)
    )


@ui.page("/flow")
async def show(request: Request, wire: str = "", connection: str = "") -> None:
    """The page."""
    async with frame(request, "flows") as view:
        await Flow(view, wire, connection).build()
