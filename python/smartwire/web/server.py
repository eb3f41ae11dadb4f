"""The process that serves the pages: takes its ports and its key, gives up every right, and serves."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from smartwire.errors import Error
from smartwire.web.logins import Logins

PORT = 8443
LONGEST_HEADERS = 32 << 10


def application(logins: Logins, allowed: Sequence[str] = (), secure: bool = True) -> object:
    """The ASGI application.

    Args:
        logins: who is logged in.
        allowed: prefixes of those who may connect.
        secure: it is served over TLS.
    """
    # The pages' library would keep files here; nothing of ours does.
    os.environ.setdefault("NICEGUI_STORAGE_PATH", "/nonexistent/smartwire-web")
    from fastapi import FastAPI
    from nicegui import ui

    from smartwire.web import alarms, configuration, flow, overview, style, tables  # noqa: F401 - most are pages
    from smartwire.web.entry import Entry
    from smartwire.web.guard import Guard

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    entry = Entry(logins, secure)
    app.add_api_route("/login", entry.show, methods=["GET"])
    app.add_api_route("/login", entry.enter, methods=["POST"])
    app.add_api_route("/logout", entry.leave, methods=["POST"])
    ui.run_with(
        app, title="Smartwire", show_welcome_message=False, tailwind=False, favicon=style.ICON, reconnect_timeout=10.0
    )
    return Guard(app, logins, allowed)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        Error: the address cannot be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError, UnicodeError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise Error(f"{host} port {port} cannot be listened on ({reason}): choose another.") from None
    made.setblocking(False)
    return made


def serve(
    hosts: Sequence[str], port: int, certificate: Path, key: Path, allowed: Sequence[str] = (),
    path: Path | None = None, with_parent: bool = False,
) -> None:  # fmt: skip
    """Serves until SIGTERM or SIGINT.

    Args:
        hosts: addresses to listen on.
        port: TCP port.
        certificate, key: PEM files.
        allowed: prefixes of those who may connect; everyone if empty.
        path: of smartwired's socket.
        with_parent: end when the process that started this one ends.
    """
    import nicegui
    import uvicorn

    from smartwire import privileges
    from smartwire.web.certificate import context
    from smartwire.wire import ownership

    secure = context(certificate, key)
    sockets = [listen(host, port) for host in hosts]
    config = uvicorn.Config(
        application(Logins(path), allowed), log_level="warning", access_log=False, server_header=False,
        ws_max_size=1 << 20, h11_max_incomplete_event_size=LONGEST_HEADERS, timeout_keep_alive=30,
        limit_concurrency=256, timeout_graceful_shutdown=2,
    )  # fmt: skip
    config.load()
    config.ssl = secure
    asked = path or ownership.directory() / "api.sock"
    needed = [os.__file__, nicegui.__file__, __file__, *([str(asked)] if asked.exists() else [])]
    print(privileges.drop(needed), flush=True)
    if with_parent:  # a change of user forgets it, so not before
        privileges.die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=sockets)
