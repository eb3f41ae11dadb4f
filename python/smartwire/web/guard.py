"""Stands before all pages: addresses that may connect, who is logged in, where requests come from, safe headers."""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import quote, urlsplit

from smartwire.web.logins import COOKIE, Login, Logins

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/login",)
"""What can be asked for without a login."""
METHODS = ("GET", "HEAD", "POST")
# Everything is of the box itself; the pages' own library makes functions of templates, hence unsafe-eval.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)


class Guard:
    """An ASGI application around another.

    Args:
        app: the other.
        logins: who is logged in.
        allowed: prefixes of those who may connect; everyone if empty.
    """

    def __init__(self, app: App, logins: Logins, allowed: Sequence[str] = ()) -> None:
        self.app, self.logins = app, logins
        self.allowed = [ipaddress.ip_network(prefix) for prefix in allowed]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers, or lets the application."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        refused = self.refusal(scope)
        if refused:
            await refuse(scope, send, *refused)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = {name for name, _ in HEADERS}
                kept = [h for h in message.get("headers", []) if h[0].lower() not in ours and h[0].lower() != b"server"]
                message["headers"] = [*kept, *HEADERS]
            await send(message)

        await self.app(scope, receive, guarded)

    def refusal(self, scope: Scope) -> tuple[int, str, str] | None:
        """(status, sentence, where to go instead); None if it may pass."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not self.may_connect(scope):
            return 403, "This address may not connect: set system management allowed-prefix.", ""
        if scope["type"] == "http" and scope["method"] not in METHODS:
            return 405, "This is not done here.", ""
        if (scope["type"] == "websocket" or scope["method"] == "POST") and not same_origin(headers):
            return 403, "This request comes from another site's page.", ""
        scope.setdefault("state", {})["login"] = login = self.login(headers)
        if login or scope["path"] in OPEN:
            return None
        if scope["type"] == "http" and "text/html" in headers.get(b"accept", ""):
            query = scope["query_string"].decode("latin-1")
            wanted = f"{scope['path']}?{query}" if query else scope["path"]
            return 303, "Log in first.", f"/login?next={quote(wanted, safe='/')}"
        return 401, "Log in first.", ""

    def login(self, headers: dict[bytes, str]) -> Login | None:
        """Whose request it is, by its cookie."""
        return self.logins.of(cookie(headers.get(b"cookie", ""), COOKIE))

    def may_connect(self, scope: Scope) -> bool:
        """True if the other end's address is in one of the prefixes."""
        if not self.allowed:
            return True
        try:
            client = ipaddress.ip_address((scope.get("client") or ("", 0))[0].partition("%")[0])
        except ValueError:
            return False
        client = getattr(client, "ipv4_mapped", None) or client
        return any(client in prefix for prefix in self.allowed)


def cookie(header: str, name: str) -> str | None:
    """The value of a cookie; None if it is not there, or the header is none."""
    try:
        found = SimpleCookie(header[:4096]).get(name)
    except CookieError:
        return None
    return found.value if found else None


def same_origin(headers: dict[bytes, str]) -> bool:
    """True if a browser sends this from a page of ours; other programs need not say where from."""
    origin = headers.get(b"origin")
    return origin is None or urlsplit(origin).netloc == headers.get(b"host")


async def refuse(scope: Scope, send: Send, status: int, sentence: str, instead: str) -> None:
    """Answers by itself."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 4403, "reason": sentence})
        return
    body = f"{sentence}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode()), *HEADERS]
    if instead:
        headers.append((b"location", instead.encode("latin-1")))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
