"""What all pages share: the bar with the pages, the keys, the theme, and how a page asks smartwired."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from html import escape
from typing import Any

from nicegui import ui
from starlette.requests import Request

from smartwire.errors import Error, NotThere
from smartwire.web import style
from smartwire.web.logins import Login

PAGES = (
    ("overview", "Overview", "/", "o"),
    ("flows", "Flows", "/flows", "f"),
    ("subscribers", "Subscribers", "/subscribers", "s"),
    ("alarms", "Alarms", "/alarms", "a"),
    ("configuration", "Configuration", "/configuration", "c"),
)
DARK = {"light": False, "dark": True}


class View:
    """A page in a browser."""

    def __init__(self, request: Request, login: Login) -> None:
        self.request, self.login = request, login
        self.shown, self.left = "", False

    async def run(self, line: str, by_itself: bool = True) -> Any:
        """The data of a command; None if it failed, which is then said.

        Args:
            line: as an operator would type it.
            by_itself: the page redraws itself; otherwise the operator did something.
        """
        try:
            data = await self.login.run(line, by_itself)
        except NotThere as e:
            if self.login.over and not self.left:
                self.left = True
                ui.navigate.to("/login")
            self.say(str(e))
        except Error as e:
            self.say(str(e))
        else:
            self.shown = ""
            return data
        return None

    def say(self, sentence: str) -> None:
        """Tells the operator, once."""
        if sentence != self.shown:
            self.shown = sentence
            ui.notify(sentence, position="bottom", color="dark", multi_line=True, timeout=6000)


@contextlib.asynccontextmanager
async def frame(request: Request, here: str) -> AsyncIterator[View]:
    """A page: everything around what the caller puts into it.

    Args:
        request: the browser's.
        here: which of PAGES.
    """
    login: Login = request.scope["state"]["login"]
    view = View(request, login)
    title = next(name for key, name, _, _ in PAGES if key == here)
    host = login.session.identity.get("host_name", "smartwire")
    ui.page_title(f"{title} · {host}")
    ui.add_head_html(f"<style>{style.for_pages()}</style><script>{style.KEYS}</script>")
    ui.dark_mode(DARK.get(request.cookies.get("swtheme", "auto")))
    ui.html(bar(login.user, host, here), sanitize=False, tag="header").classes("top")
    ui.html(help_dialog(), sanitize=False)
    with ui.element("div").props("id=main tabindex=-1").classes("page"), ui.element("div").classes("stack"):
        try:
            yield view
        except NotThere as e:
            ui.html(f'<p class="panel">{escape(str(e))} <a href="/login">Log in</a></p>', sanitize=False)
        except Error as e:
            ui.html(f'<p class="panel">{escape(str(e))}</p>', sanitize=False)
    await badge(view)
    ui.timer(10.0, lambda: badge(view))


def bar(user: str, host: str, here: str) -> str:
    """The bar at the top; on a phone the pages are at the bottom."""
    links = "".join(
        f'<a href="{href}"{" aria-current=page" if key == here else ""} title="Key: {shortcut}">'
        f"{style.svg(style.ICONS[key])}<span>{name}</span>{BADGE if key == 'alarms' else ''}</a>"
        for key, name, href, shortcut in PAGES
    )
    return (
        f'<a class="skip" href="#main">Skip to the page</a><div class="bar">'
        f'<a class="brand" href="/" aria-label="{escape(host)}, overview">{style.WIRE}{escape(host)}</a>'
        f'<nav class="pages" aria-label="Pages">{links}</nav>'
        f'<div class="who"><button class="quiet" id="theme" onclick="swNext()" title="Light or dark (t)" '
        f'aria-label="Light, dark or as the system">{style.svg(THEME)}</button>'
        f'<span class="name">{escape(user)}</span>'
        f'<form method="post" action="/logout"><button class="quiet">Log out</button></form></div></div>'
    )


BADGE = '<i class="badge" id="alarm-count" style="font-style:normal" aria-live="polite"></i>'
THEME = "M12 4a8 8 0 1 0 8 8 6 6 0 0 1-8-8z"


def help_dialog() -> str:
    """What the keys do."""
    keys = "".join(f"<kbd>{k}</kbd><span>{n}</span>" for _, n, _, k in PAGES)
    keys += "<kbd>/</kbd><span>Search</span><kbd>t</kbd><span>Light, dark, as the system</span>"
    return (
        '<dialog id="keys" class="panel" aria-label="Keys"><h2>Keys</h2>'
        f'<div class="keys">{keys}<kbd>?</kbd><span>This list; Esc closes it</span></div></dialog>'
    )


async def badge(view: View) -> None:
    """How many alarms are active, at their page's name."""
    found = await view.run("show alarms")
    if found is not None:
        number = str(len(found)) if found else ""
        ui.run_javascript(f"document.getElementById('alarm-count').textContent = '{number}'")


def panel(title: str = "") -> ui.element:
    """A box with a heading."""
    made = ui.element("section").classes("panel")
    if title:
        with made:
            heading(title)
    return made


def heading(title: str) -> None:
    """A heading of the second level."""
    ui.html(escape(title), sanitize=False, tag="h2")
