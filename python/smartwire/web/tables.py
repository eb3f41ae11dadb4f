"""The pages of flows and of subscribers: tables with a search."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nicegui import ui
from starlette.requests import Request

from smartwire.config.operations import HIDDEN
from smartwire.errors import UsageError
from smartwire.web.frame import View, frame
from smartwire.wire import target

EVERY_S = 3.0
ROWS = 500
"""Rows that are asked for of each wire; the search is done by the wire, so it finds the others, too."""
LINK = (
    '<q-td :props="props"><a v-if="props.row.href" :href="props.row.href">{{ props.value }}</a>'
    "<span v-else>{{ props.value }}</span></q-td>"
)


def column(name: str, label: str, field: str = "", wide: bool = False, **more: Any) -> dict[str, Any]:
    """A column; `wide` ones are left out on a phone."""
    hidden = {"classes": "wide", "headerClasses": "wide"} if wide else {}
    return {"name": name, "label": label, "field": field or name, "sortable": True, **hidden, **more}


def unit(expression: str) -> str:
    """A column's format: JavaScript that writes `v`."""
    return f"v => v ? {expression} : '-'"


SIZE = unit(
    "v >= 1e9 ? (v/1e9).toFixed(2) + ' GB' : v >= 1e6 ? (v/1e6).toFixed(1) + ' MB' : "
    "v >= 1e3 ? (v/1e3).toFixed(1) + ' kB' : v + ' B'"
)
MS = unit("(v/1e6).toFixed(v < 1e7 ? 1 : 0) + ' ms'")
RATE = unit("v >= 1.25e8 ? (v*8/1e9).toFixed(2) + ' Gbit/s' : v >= 1.25e5 ? (v*8/1e6).toFixed(1) + ' Mbit/s' : "
            "(v*8/1e3).toFixed(0) + ' kbit/s'")  # fmt: skip

FLOWS = [
    column("subscriber", "Subscriber", align="left"),
    column("server", "Server", align="left", wide=True),
    column("wire", "Wire", align="left", wide=True),
    column("mode", "Mode", align="left", wide=True),
    column("down", "Down", **{":format": SIZE}),
    column("up", "Up", wide=True, **{":format": SIZE}),
    column("custody", "Custody", wide=True, **{":format": SIZE}),
    column("near", "RTT subscriber", **{":format": MS}),
    column("far", "RTT server", wide=True, **{":format": MS}),
]
SUBSCRIBERS = [
    column("addr", "Subscriber", align="left"),
    column("wire", "Wire", align="left", wide=True),
    column("flows", "Flows", wide=True),
    column("rate", "Rate", **{":format": RATE}),
    column("rtt", "RTT", **{":format": MS}),
    column("queue", "Queue", **{":format": MS}),
    column("in_flight", "In flight", wide=True, **{":format": SIZE}),
    column("budget", "Budget", wide=True, **{":format": SIZE}),
]


def flow_row(f: dict[str, Any]) -> dict[str, Any]:
    """A flow as a row; the index of a pair is the side that a stream comes from."""
    name = target.show(f["access_addr"], f["access_port"], f["core_addr"], f["core_port"])
    return {
        "key": f"{f['wire']} {name}",
        "href": f"/flow?wire={quote(f['wire'])}&connection={quote(name)}" if f["access_addr"] != HIDDEN else None,
        "subscriber": f"{target.bracket(f['access_addr'])}:{f['access_port']}",
        "server": f"{target.bracket(f['core_addr'])}:{f['core_port']}",
        "wire": f["wire"],
        "mode": f["mode"],
        "up": f["delivered_bytes"][0],
        "down": f["delivered_bytes"][1],
        "custody": sum(f["custody_bytes"]),
        "near": f["srtt_ns"][1],
        "far": f["srtt_ns"][0],
    }


def subscriber_row(s: dict[str, Any]) -> dict[str, Any]:
    """A subscriber as a row."""
    return {
        "key": f"{s['wire']} {s['addr']}",
        "href": f"/flows?search={quote(s['addr'])}" if s["addr"] != HIDDEN else None,
        "addr": s["addr"],
        "wire": s["wire"],
        "flows": s["flows"],
        "rate": s["rate_bytes_per_s"],
        "rtt": s["rtt_ns"],
        "queue": max(0, s["rtt_ns"] - s["min_rtt_ns"]),
        "in_flight": s["in_flight_bytes"],
        "budget": s["budget_bytes"],
    }


class Table:
    """Either page in one browser.

    Args:
        view: the browser's.
        command: what is asked.
        columns: of the table.
        row: makes a row of an entry.
        search: what is looked for at first.
        sort: the column that it is sorted by at first.
    """

    def __init__(
        self, view: View, command: str, columns: list[dict[str, Any]], row: Any, search: str, sort: str
    ) -> None:
        self.view, self.command, self.columns, self.row, self.sought = view, command, columns, row, search
        self.sort = sort

    async def build(self, title: str, hint: str) -> None:
        """Everything of the page."""
        with ui.element("div").classes("row"):
            ui.html(f"<h1>{title}</h1>", sanitize=False).classes("grow")
            box = ui.input(placeholder=hint, value=self.sought, on_change=self.search)
            box.props('outlined dense clearable type=search debounce=300 aria-label="Search"').style(
                "width:min(100%,330px)"
            )
        with ui.element("section").classes("panel"):
            first = {"rowsPerPage": 25, "sortBy": self.sort, "descending": True}
            self.table = ui.table(columns=self.columns, rows=[], row_key="key", pagination=first).props("flat")
            self.table.add_slot(f"body-cell-{self.columns[0]['name']}", LINK)
            self.table.add_slot("no-data", '<span class="soft">None at the moment.</span>')
        await self.refresh()
        ui.timer(EVERY_S, self.refresh, immediate=False)

    async def search(self, event: Any) -> None:
        """Something else is looked for."""
        self.sought = (event.value or "").strip()
        await self.refresh(by_itself=False)

    async def refresh(self, by_itself: bool = True) -> None:
        """What is there now."""
        line, rest = self.question()
        found = await self.view.run(line, by_itself)
        if found is None:
            return
        rows = [self.row(each) for each in found]
        for n, row in enumerate(rows):
            row["key"] += f" {n}" if HIDDEN in row["key"] else ""
        if rest:
            rows = [
                r for r in rows if rest in " ".join(str(v) for k, v in r.items() if k not in ("href", "key")).lower()
            ]
        self.table.rows = rows
        self.table.update()

    def question(self) -> tuple[str, str]:
        """(the command, what its rows must have in them): addresses and connections are looked for by the wire."""
        line = f"{self.command} limit {ROWS}"
        if self.sought and self.command == "show flows":
            try:
                target.parse(self.sought)
            except UsageError:
                return line, self.sought.lower()
            return f"{line} match {self.sought}", ""
        return line, self.sought.lower()


@ui.page("/flows")
async def flows(request: Request, search: str = "") -> None:
    """The page of flows."""
    async with frame(request, "flows") as view:
        page = Table(view, "show flows", FLOWS, flow_row, search, "down")
        await page.build("Flows", "Subscriber, server or connection")


@ui.page("/subscribers")
async def subscribers(request: Request, search: str = "") -> None:
    """The page of subscribers."""
    async with frame(request, "subscribers") as view:
        page = Table(view, "show subscribers", SUBSCRIBERS, subscriber_row, search, "rate")
        await page.build("Subscribers", "Address")
