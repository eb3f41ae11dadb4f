"""The page of the configuration: as it is, its history, and what any two commits differ in. Nothing is changed here."""

from __future__ import annotations

from html import escape
from typing import Any

from nicegui import ui
from starlette.requests import Request

from smartwire.errors import Error
from smartwire.web.alarms import moment
from smartwire.web.frame import View, frame, panel

FORMS = {"text": "Text", "set": "Set", "json": "JSON", "xml": "XML"}
WIDE = {"classes": "wide", "headerClasses": "wide"}
COLUMNS = [
    {"name": "n", "label": "#", "field": "n", "align": "left"},
    {"name": "time", "label": "When", "field": "when", "align": "left"},
    {"name": "user", "label": "Who", "field": "user", "align": "left"},
    {"name": "source", "label": "From", "field": "source", "align": "left", **WIDE},
    {"name": "method", "label": "How", "field": "method", "align": "left", **WIDE},
    {"name": "comment", "label": "Why", "field": "comment", "align": "left", **WIDE},
    {"name": "see", "label": "", "field": "n", "align": "right"},
]
SEE = (
    '<q-td :props="props"><q-btn flat dense no-caps class="plain" label="Compare" v-if="props.row.n" '
    ":aria-label=\"'Compare the running configuration with number ' + props.row.n\" "
    "@click=\"() => $parent.$emit('compare', props.row.n)\"/></q-td>"
)


class Configuration:
    """The page in one browser."""

    def __init__(self, view: View) -> None:
        self.view = view

    async def ask(self, do: str, *args: Any, **kw: Any) -> Any:
        """A question; None if it failed, which is then said."""
        try:
            return await self.view.login.ask(do, *args, **kw)
        except Error as e:
            self.view.say(str(e))
        return None

    async def build(self) -> None:
        """Everything of the page."""
        with ui.element("div").classes("row"):
            ui.html("<h1>Configuration</h1>", sanitize=False).classes("grow")
            forms = ui.toggle(FORMS, value="text", on_change=lambda e: self.show(e.value))
            forms.props(
                'no-caps unelevated dense toggle-color=plain toggle-text-color=plain aria-label="Form"'
            ).classes("ranges")
        with panel():
            self.text = ui.html("", sanitize=False)
        self.differs = panel()
        self.differs.props("aria-live=polite id=differs tabindex=-1")
        with panel("History"):
            self.table = ui.table(columns=COLUMNS, rows=[], row_key="n", pagination=15).props("flat")
            self.table.add_slot("body-cell-see", SEE)
            self.table.on("compare", lambda e: self.compare(int(e.args)))
        self.differs.set_visibility(False)
        await self.show("text")
        for row in (rows := await self.ask("history") or []):
            row["when"] = moment(row["time"])
        self.table.rows = rows
        self.table.update()

    async def show(self, form: str) -> None:
        """The running configuration in a form."""
        text = await self.ask("show", "", form)
        if text is not None:
            empty = '<p class="note">It is empty: nothing is configured yet.</p>'
            self.text.set_content(f'<pre class="config" tabindex=0>{escape(text)}</pre>' if text.strip() else empty)

    async def compare(self, n: int) -> None:
        """What the running configuration changed in an earlier one."""
        text = await self.ask("compare", n)
        if text is None:
            return
        self.differs.clear()
        with self.differs:
            ui.html(f"<h2>What has changed since number {n}</h2>", sanitize=False)
            ui.html(f'<pre class="config" tabindex=0>{marked(text)}</pre>' if text else
                    '<p class="note">Nothing differs.</p>', sanitize=False)  # fmt: skip
        self.differs.set_visibility(True)
        ui.run_javascript("document.getElementById('differs').focus()")


def marked(text: str) -> str:
    """A comparison with its lines in colour."""
    kinds = {"+": "add", "-": "del", "[": "at"}
    lines = text.splitlines()
    return "\n".join(f'<span class="{kinds.get(line[:1], "")}">{escape(line)}</span>' for line in lines)


@ui.page("/configuration")
async def show(request: Request) -> None:
    """The page."""
    async with frame(request, "configuration") as view:
        await Configuration(view).build()
