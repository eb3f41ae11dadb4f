"""Ten thousand malformed requests to each face that parses what others send: no crash, no traceback, no change."""

from __future__ import annotations

import contextlib
import io
import os
import random
import socket
import ssl

import pytest
from smartwire.alarms.journal import Active
from smartwire.north.prometheus import application, serve
from smartwire.north.snmp import Agent

from .conftest import in_a_loop

SEED = int(os.environ.get("SEED", "20261125"))
COUNT = 10_000
WORDS = (
    b"GET", b"POST", b"HEAD", b"PUT", b"\x00", b"/", b"/login", b"/flows", b"?next=", b"//", b"..", b"%00", b"%ff",
    b"%", b"HTTP/1.1", b"HTTP/9", b" ", b"\r\n", b"\n", b":", b"Host", b"Cookie: smartwire=", b"Content-Length: ",
    b"-1", b"99999999999", b"Transfer-Encoding: chunked", b"user=", b"&", b"password=", b"\xff\xfe", b"<script>",
    b"{", b"Upgrade: websocket", b"/_nicegui_ws/socket.io/?EIO=4&transport=websocket", b"Accept: text/html",
    b"Origin: null", b"A" * 300,
)  # fmt: skip


@pytest.fixture
def rng():
    print(f"SEED={SEED}")
    return random.Random(SEED)


def junk(rng: random.Random, most: int = 12) -> bytes:
    """Some words in a row, or bytes."""
    if rng.random() < 0.2:
        return rng.randbytes(rng.randrange(40))
    return b"".join(rng.choice(WORDS) for _ in range(rng.randrange(most)))


def test_the_web_pages(rng):
    """Through the whole application, as the server hands requests to it: heads and bodies of any bytes."""
    pytest.importorskip("nicegui", reason="NiceGUI is not installed: ./smartwire test installs it")
    from smartwire.errors import NotThere
    from smartwire.web.entry import Entry, local
    from smartwire.web.guard import Guard
    from smartwire.web.logins import Logins
    from starlette.requests import Request

    class NoDaemon(Logins):
        async def open(self, user: str, password: str, source: str) -> str:
            raise NotThere("smartwired is not running.")

        async def greeting(self) -> dict:
            return {"host_name": "x", "message": None}

    logins = NoDaemon()
    entry = Entry(logins)

    async def app(scope, receive, send):
        assert scope["path"] == "/login", "let through without a login"
        do = entry.enter if scope["method"] == "POST" else entry.show
        await (await do(Request(scope, receive)))(scope, receive, send)

    guard, seen = Guard(app, logins, ["192.0.2.0/24"]), set()

    async def one() -> None:
        body, sent = junk(rng), []
        names = (b"cookie", b"host", b"origin", b"accept", b"content-type", b"content-length")
        scope = {
            "type": "http", "method": rng.choice(("GET", "POST", "HEAD", "DELETE", "")), "query_string": junk(rng, 4),
            "path": rng.choice(("/login", "/login", "/", junk(rng).decode("latin-1"))), "scheme": "https",
            "headers": [(rng.choice(names), junk(rng, 3)) for _ in range(rng.randrange(5))], "http_version": "1.1",
            "client": rng.choice((("192.0.2.7", 5), ("203.0.113.1", 5), ("junk", 0), None)), "server": ("x", 1),
            "root_path": "", "raw_path": b"", "asgi": {"version": "3.0"},
        }  # fmt: skip

        async def receive():
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message):
            sent.append(message)

        await guard(scope, receive, send)
        status, said = sent[0]["status"], b"".join(m.get("body", b"") for m in sent[1:])
        assert status in (200, 303, 400, 401, 403, 405, 503), (status, scope)
        assert b"Traceback" not in said
        assert b"<script>" not in said
        seen.add(status)

    async def all_() -> None:
        for _ in range(COUNT):
            await one()

    in_a_loop(all_())
    assert {200, 303, 401, 403, 405} <= seen
    assert logins.by_token == {}
    for _ in range(COUNT):
        assert local(junk(rng, 4).decode("latin-1")).startswith("/")


def test_the_web_server_over_tls(rng, box):
    """Bytes on the wire, through the server's own parser; a tenth of the number, since each is a connection."""
    before = box.engine.running.about.number, len(box.engine.sessions)
    unchecked = ssl._create_unverified_context()
    for _ in range(COUNT // 50):
        with socket.create_connection(("127.0.0.1", box.port), 30) as raw:
            if rng.random() < 0.3:
                raw.sendall(junk(rng))
                continue
            with unchecked.wrap_socket(raw) as tls:
                for _ in range(20):
                    try:
                        tls.sendall(junk(rng) + rng.choice((b"", b"\r\n\r\n")))
                    except OSError:
                        break
                tls.settimeout(0.02)
                try:
                    said = tls.recv(65536)
                except OSError:
                    continue
                assert b"Traceback" not in said
    assert box.answers()
    assert (box.engine.running.about.number, len(box.engine.sessions)) == before
    assert "Traceback" not in (box.directory / "web.log").read_text()


def test_the_metrics(rng):
    def text() -> str:
        return "smartwire_up 1\n"

    served, seen = application(text, ["192.0.2.0/24"]), set()
    for _ in range(COUNT):
        environ = {
            "REMOTE_ADDR": rng.choice(("192.0.2.7", "203.0.113.1", "2001:db8::1%eth0")),
            "REQUEST_METHOD": rng.choice(("GET", "HEAD", "POST", junk(rng).decode("latin-1"))),
            "PATH_INFO": rng.choice(("/", "/metrics", junk(rng).decode("latin-1"))),
            "QUERY_STRING": junk(rng).decode("latin-1"),
            "HTTP_ACCEPT": junk(rng).decode("latin-1"),
        }
        body = b"".join(served(environ, lambda status, headers: seen.add(status)))
        assert body in (b"", b"smartwire_up 1\n") or body.endswith(b".\n")
    assert {s[:3] for s in seen} == {"200", "403", "404", "405"}


def test_the_metrics_server(rng, capfd):
    """Bytes on the wire, through the server's own parser; fewer, since each is a connection."""
    server, thread = serve("127.0.0.1", 0, lambda: "smartwire_up 1\n")
    for _ in range(COUNT // 50):
        with socket.create_connection(server.server_address, 30) as raw:
            raw.sendall(junk(rng) + rng.choice((b"", b"\r\n\r\n")))
            raw.shutdown(socket.SHUT_WR)
            said = b""
            with contextlib.suppress(OSError):  # what it did not read it answers with a reset
                while part := raw.recv(65536):
                    said += part
            assert b"Traceback" not in said
    with socket.create_connection(server.server_address, 30) as raw:
        raw.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert raw.makefile("rb").read().endswith(b"smartwire_up 1\n")
    server.shutdown()
    server.server_close()
    thread.join(10)
    assert "Traceback" not in capfd.readouterr().err


def test_the_snmp_agent(rng):
    def lines():
        for _ in range(COUNT):
            yield rng.choice((
                "get\n", "getnext\n", "set\n", "PING\n", ".1.3.6.1.4.1.32473.1\n", ".\n", "\n", "1..2\n", ".-1\n",
                f".1.3.6.1.4.1.{rng.randrange(1 << 40)}\n", junk(rng).decode("latin-1") + "\n",
            ))  # fmt: skip

    out, agent, left = io.StringIO(), Agent(look=list, alarms=lambda: Active((), None)), lines()
    while next(left, None) is not None:  # an empty line ends it; snmpd then starts it again
        agent.answer(left, out)
    known = {"PONG", "NONE", "not-writable"}
    told = out.getvalue().splitlines()
    assert known <= set(told)
    assert "Traceback" not in out.getvalue()
