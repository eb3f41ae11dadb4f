"""Who gets in: over TLS, with a password, from an allowed address, from a page of ours; and what is sent back."""

from __future__ import annotations

import http.client
import ssl
import urllib.parse
from pathlib import Path

import pytest
from smartwire.web.certificate import context, fingerprint, own

from .conftest import in_a_loop
from .fakebox import PASSWORD, USER


@pytest.fixture
def ask(box):
    """One request over TLS: (status, headers, body)."""

    def send(method: str, path: str, body: bytes | str | None = None, **headers: str):
        unchecked = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", box.port, context=unchecked, timeout=30)
        connection.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        found = (answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode())
        connection.close()
        return found

    return send


def log_in(ask, user: str = USER, password: str = PASSWORD, next_: str = "/", **headers: str):
    form = urllib.parse.urlencode({"user": user, "password": password})
    return ask("POST", f"/login?next={urllib.parse.quote(next_)}", form, **headers)


def test_without_a_login_there_is_the_login_page_and_nothing_else(ask):
    status, headers, _ = ask("GET", "/flows", accept="text/html")
    assert (status, headers["location"]) == (303, "/login?next=/flows")
    for path in ("/", "/flows", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", "/docs", "/openapi.json"):
        assert ask("GET", path)[0] == 401
    status, _, body = ask("GET", "/login")
    assert status == 200
    assert "edge-7" in body
    assert "Authorized use only." in body


def test_a_login_gets_a_cookie_that_scripts_and_other_sites_do_not(ask):
    status, headers, _ = log_in(ask, next_="/alarms")
    assert (status, headers["location"]) == (303, "/alarms")
    assert all(word in headers["set-cookie"].lower() for word in ("httponly", "secure", "samesite=strict"))
    cookie = headers["set-cookie"].partition(";")[0]
    assert ask("GET", "/alarms", cookie=cookie, accept="text/html")[0] == 200
    assert ask("POST", "/logout", cookie=cookie)[0] == 303
    assert ask("GET", "/alarms", cookie=cookie)[0] == 401


WRONG = [(USER, "wrong"), ("nobody", PASSWORD), ("root", ""), ("", ""), ("root", "x")]


@pytest.mark.parametrize(("user", "password"), WRONG)
def test_a_wrong_login_is_refused_with_one_sentence_also_for_root_whom_the_socket_knows(ask, user, password):
    status, headers, body = log_in(ask, user, password)
    assert status == 403
    assert "The user or the password is wrong." in body
    assert "set-cookie" not in headers


def test_after_the_login_one_only_goes_to_pages_of_the_box(ask):
    for elsewhere in ("https://example.com/", "//example.com/", "/\\example.com", "javascript:alert(1)"):
        assert log_in(ask, next_=elsewhere)[1]["location"] == "/"


def test_what_comes_from_another_sites_page_is_refused(ask, box):
    assert log_in(ask, origin="https://example.com")[0] == 403
    assert log_in(ask, origin="null")[0] == 403
    assert log_in(ask, origin=f"https://127.0.0.1:{box.port}")[0] == 303


def test_every_answer_forbids_what_is_not_of_the_box(ask):
    for path in ("/login", "/flows"):
        headers = ask("GET", path)[1]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_plain_http_and_old_tls_are_not_answered(box):
    connection = http.client.HTTPConnection("127.0.0.1", box.port, timeout=10)
    connection.request("GET", "/login")
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        connection.getresponse()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    connection = http.client.HTTPSConnection("127.0.0.1", box.port, context=old, timeout=10)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.connect()


def test_only_allowed_addresses_may_connect():
    from smartwire.web.guard import Guard
    from smartwire.web.logins import Logins

    async def app(scope, receive, send):
        raise AssertionError("let through")

    def status(client: str, allowed: list[str]) -> int:
        sent = []

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "client": (client, 1)}
        in_a_loop(Guard(app, Logins(), allowed)(scope, None, send))
        return sent[0]["status"]

    assert status("192.0.2.7", ["192.0.2.0/24"]) == 401
    assert status("::ffff:192.0.2.7", ["192.0.2.0/24"]) == 401
    assert status("192.0.3.7", ["192.0.2.0/24"]) == 403
    assert status("2001:db8::1", ["192.0.2.0/24", "2001:db8::/32"]) == 401


def test_the_certificate_is_made_once_is_good_for_its_addresses_and_its_key_is_for_its_owner_alone(tmp_path):
    certificate, key = own(tmp_path / "web", "edge-7", ("192.0.2.10", "2001:db8::10"))
    assert own(tmp_path / "web", "edge-7") == (certificate, key)
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(fingerprint(certificate)) == 95
    server, client = context(certificate, key), ssl.create_default_context(cafile=str(certificate))
    for name in ("192.0.2.10", "2001:db8::10", "edge-7", "127.0.0.1"):
        handshake(server, client, name)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, client, "192.0.2.11")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Both ends in memory."""
    ways = [ssl.MemoryBIO(), ssl.MemoryBIO()]
    far = server.wrap_bio(ways[1], ways[0], server_side=True)
    ends = [client.wrap_bio(ways[0], ways[1], server_hostname=name), far]
    done: set[int] = set()
    while len(done) < 2:
        for n, end in enumerate(ends):
            try:
                end.do_handshake()
                done.add(n)
            except ssl.SSLWantReadError:
                continue


def test_whoever_serves_has_no_right_left(box):
    status = Path(f"/proc/{box.web.pid}/status").read_text()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert f"{kind}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
