"""Who is logged in with a browser: a cookie's token, and the session of smartwired that belongs to it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import threading
import time
from pathlib import Path
from typing import Any

from smartwire.config import client
from smartwire.errors import Error, NotThere

COOKIE = "smartwire"
LOGINS_AT_A_TIME = 4
"""Passwords that are tried at the same time: each costs smartwired 64 MB and some ms."""
GREETING_S = 2.0


class Login:
    """One user in one browser."""

    def __init__(self, session: client.Client) -> None:
        self.session = session
        self.lock = threading.Lock()
        self.over: str | None = None
        """Why it ended."""

    @property
    def user(self) -> str:
        """Who."""
        return self.session.identity["user"]

    async def run(self, line: str, by_itself: bool = False) -> Any:
        """The data of an operational command.

        Raises:
            NotThere: smartwired is gone, or has ended the session.
            Error: its sentence.
        """
        return (await asyncio.to_thread(self.call, "run", line, by_itself=by_itself))["data"]

    async def ask(self, do: str, *args: Any, **kw: Any) -> Any:
        """Another question of :data:`smartwire.config.api.VERBS`."""
        return await asyncio.to_thread(self.call, do, *args, **kw)

    def call(self, do: str, *args: Any, **kw: Any) -> Any:
        """One request, in this thread."""
        with self.lock:
            if self.over:
                raise NotThere(self.over)
            try:
                return self.session.call(do, *args, **kw)
            except Error as e:
                if "session" in str(e) and ("ended" in str(e) or "over" in str(e)):
                    self.over = str(e)
                    self.session.close()
                    raise NotThere(self.over) from None
                raise

    def close(self) -> None:
        """Logs out."""
        with self.lock:
            self.over = self.over or "You have logged out."
            self.session.close()


class Logins:
    """All of them.

    Args:
        path: of smartwired's socket; None for the machine's.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.by_token: dict[str, Login] = {}
        self.trying = asyncio.Semaphore(LOGINS_AT_A_TIME)
        self.greeted: tuple[float, dict[str, Any]] | None = None

    def of(self, token: str | None) -> Login | None:
        """The login of a cookie's token; None if there is none any more."""
        login = self.by_token.get(token or "")
        if login and login.over:
            del self.by_token[token or ""]
            return None
        return login

    async def open(self, user: str, password: str, source: str) -> str:
        """Logs in; returns the token.

        Raises:
            Error: smartwired's sentence.
        """
        async with self.trying:
            session = await asyncio.to_thread(
                client.connect, user, password, f"web {source}", path=self.path, by_password=True
            )
        for old in [t for t, login in self.by_token.items() if login.over]:
            del self.by_token[old]
        token = secrets.token_urlsafe(32)
        self.by_token[token] = Login(session)
        return token

    async def close(self, token: str | None) -> None:
        """Logs out."""
        login = self.by_token.pop(token or "", None)
        if login:
            await asyncio.to_thread(login.close)

    async def greeting(self) -> dict[str, Any]:
        """What the box says before a login: host_name, message."""
        if self.greeted is None or time.monotonic() - self.greeted[0] > GREETING_S:
            said = {"host_name": "smartwire", "message": None}
            with contextlib.suppress(Error):
                said = await asyncio.to_thread(client.greeting, self.path)
            self.greeted = (time.monotonic(), said)
        return self.greeted[1]
