"""The login page: plain HTML, no script; and what it posts."""

from __future__ import annotations

from html import escape
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from smartwire.errors import Error, NotThere
from smartwire.web import style
from smartwire.web.logins import COOKIE, Logins

LONGEST = 4096
"""Bytes of a login form."""

STYLE = """
main{min-height:100vh;display:grid;place-items:center;padding:20px}
.box{width:100%;max-width:380px;padding:30px 28px}
.brand{display:flex;gap:10px;align-items:center;color:var(--accent);margin-bottom:20px}
.brand svg{width:30px;height:30px}
.brand h1{color:var(--fg);font-size:20px}
label{display:block;margin-top:14px;font-size:14px;color:var(--soft)}
input{display:block;width:100%;margin-top:5px;padding:9px 12px;font:inherit;color:var(--fg);background:var(--bg);
border:1px solid var(--rule);border-radius:9px}
button{width:100%;margin-top:22px;padding:10px;font:inherit;font-weight:600;color:var(--panel);background:var(--accent);
border:0;border-radius:9px;cursor:pointer}
.banner{white-space:pre-wrap;color:var(--soft);font-size:14px;border-left:3px solid var(--rule);padding-left:12px}
.wrong{color:var(--bad);background:var(--bad-bg);border-radius:9px;padding:9px 12px;margin-top:16px;font-size:14px}
"""


def page(greeting: dict[str, Any], next_: str, theme: str = "auto", wrong: str = "", user: str = "") -> str:
    """The whole document."""
    dark = style.COLOURS.partition("DARK")[2]
    colours = style.COLOURS.partition("DARK")[0]
    if theme == "dark":
        colours += ":root" + dark
    elif theme == "auto":
        colours += "@media(prefers-color-scheme:dark){:root" + dark + "}"
    host = escape(greeting["host_name"])
    banner = f'<p class="banner">{escape(greeting["message"])}</p>' if greeting.get("message") else ""
    told = f'<p class="wrong" role="alert">{escape(wrong)}</p>' if wrong else ""
    first, second = ("", " autofocus") if user else (" autofocus", "")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{host}: log in</title>'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" href="{style.ICON}">'
        f"<style>{colours}{style.RULES}{STYLE}</style></head><body><main>"
        f'<form class="panel box" method="post" action="/login?next={quote(next_, safe="/")}">'
        f'<div class="brand">{style.WIRE}<h1>{host}</h1></div>{banner}{told}'
        f'<label>User<input name="user" value="{escape(user)}" autocomplete="username" autocapitalize="none" '
        f'spellcheck="false" maxlength="32" required{first}></label>'
        f'<label>Password<input name="password" type="password" autocomplete="current-password" maxlength="255" '
        f"required{second}></label>"
        f"<button>Log in</button></form></main></body></html>\n"
    )


def local(path: str | None) -> str:
    """Where to go after the login: a path of ours, else the first page."""
    fine = path and path.startswith("/") and not path.startswith(("//", "/\\", "/login")) and path.isprintable()
    return path if path and fine else "/"


class Entry:
    """Logging in and out.

    Args:
        logins: who is logged in.
        secure: the pages are served over TLS.
    """

    def __init__(self, logins: Logins, secure: bool = True) -> None:
        self.logins, self.secure = logins, secure

    async def show(self, request: Request) -> Response:
        """GET /login."""
        next_ = local(request.query_params.get("next"))
        theme = request.cookies.get("swtheme", "auto")
        return HTMLResponse(page(await self.logins.greeting(), next_, theme), headers={"cache-control": "no-store"})

    async def enter(self, request: Request) -> Response:
        """POST /login."""
        next_ = local(request.query_params.get("next"))
        form = await posted(request)
        if form is None:
            return Response("This is no login form.\n", 400, media_type="text/plain")
        user, password = form.get("user", ""), form.get("password", "")
        source = request.client.host if request.client else ""
        try:
            if not user:
                raise Error("The user or the password is wrong.")
            token = await self.logins.open(user, password, source)
        except Error as e:
            status = 503 if isinstance(e, NotThere) else 403
            theme = request.cookies.get("swtheme", "auto")
            shown = page(await self.logins.greeting(), next_, theme, str(e), user)
            return HTMLResponse(shown, status, headers={"cache-control": "no-store"})
        answer = RedirectResponse(next_, 303)
        answer.set_cookie(COOKIE, token, httponly=True, secure=self.secure, samesite="strict", path="/")
        return answer

    async def leave(self, request: Request) -> Response:
        """POST /logout."""
        await self.logins.close(request.cookies.get(COOKIE))
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE, path="/")
        return answer


async def posted(request: Request) -> dict[str, str] | None:
    """The fields of a form; None if it is none, or too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST:
            return None
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=8, errors="strict")
    except ValueError:
        return None
    return {name: values[0] for name, values in fields.items()}
