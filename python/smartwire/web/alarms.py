"""The page of alarms: what is wrong, since when, what to do; and what was."""

from __future__ import annotations

import time
from html import escape
from typing import Any

from nicegui import ui
from starlette.requests import Request

from smartwire.web.frame import View, frame, panel

EVERY_S = 5.0
PILLS = {"critical": "bad", "major": "bad", "minor": "watch", "warning": "watch"}


def items(found: list[dict[str, Any]]) -> str:
    """Active alarms."""
    if not found:
        return '<p class="note">Nothing is wrong.</p>'
    return "".join(
        f'<div class="item"><div class="what"><b>{escape(a["text"])}</b>'
        f'<span class="pill {PILLS.get(a["severity"], "")}">{escape(a["severity"])}</span></div>'
        f'<div class="soft">{escape(a["object"])}, since {moment(a["raised"])}'
        f"{noted(a)}</div><div>{escape(a['remedy'])}</div></div>"
        for a in found
    )


def noted(alarm: dict[str, Any]) -> str:
    """Who has taken note."""
    return f", acknowledged by {escape(alarm['acknowledged_by'])}" if alarm["acknowledged"] else ""


def moment(seconds: float) -> str:
    """A time of today, or a date and a time."""
    at, now = time.localtime(seconds), time.localtime()
    today = (at.tm_year, at.tm_yday) == (now.tm_year, now.tm_yday)
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M", at)


COLUMNS = [
    {"name": "raised", "label": "Raised", "field": "raised_text", "align": "left"},
    {"name": "cleared", "label": "Cleared", "field": "cleared_text", "align": "left", "classes": "wide",
     "headerClasses": "wide"},
    {"name": "severity", "label": "Severity", "field": "severity", "align": "left"},
    {"name": "alarm", "label": "Alarm", "field": "name", "align": "left"},
    {"name": "object", "label": "Object", "field": "object", "align": "left"},
    {"name": "text", "label": "What", "field": "text", "align": "left", "classes": "wide", "headerClasses": "wide"},
]  # fmt: skip


class Alarms:
    """The page in one browser."""

    def __init__(self, view: View) -> None:
        self.view = view

    async def build(self) -> None:
        """Everything of the page."""
        with panel("Now"):
            self.active = ui.html("", sanitize=False).classes("list")
            self.noting = ui.element("div").classes("row")
        with panel("Before"):
            self.past = ui.table(columns=COLUMNS, rows=[], row_key="number", pagination=20).props("flat")
            self.past.add_slot("no-data", "No alarm has been raised before.")
        await self.refresh()
        ui.timer(EVERY_S, self.refresh, immediate=False)

    async def refresh(self) -> None:
        """What is so now."""
        found = await self.view.run("show alarms")
        if found is None:
            return
        self.active.set_content(items(found))
        self.noting.clear()
        with self.noting:
            for alarm in (a for a in found if not a["acknowledged"]):
                number = alarm["number"]
                button = ui.button(f"Acknowledge {alarm['name']}", on_click=lambda n=number: self.note(n), color=None)
                button.props("flat no-caps dense").classes("plain")
        past = await self.view.run("show alarms history limit 200")
        for a in past or []:
            a["raised_text"] = moment(a["raised"])
            a["cleared_text"] = moment(a["cleared"]) if a["cleared"] else "not yet"
        self.past.rows = past or []
        self.past.update()

    async def note(self, number: int) -> None:
        """Takes note of one."""
        if await self.view.run(f"request alarm acknowledge {number}", by_itself=False) is not None:
            await self.refresh()


@ui.page("/alarms")
async def show(request: Request) -> None:
    """The page."""
    async with frame(request, "alarms") as view:
        await Alarms(view).build()
