"""The web pages follow the configuration: served as a commit says, where it says, and nowhere else."""

from __future__ import annotations

import socket
import ssl
import urllib.request

import pytest
from smartwire.config import checks
from smartwire.config.load import load
from smartwire.config.plane import Setup
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.errors import Error
from smartwire.web import plane as web
from smartwire.web.certificate import fingerprint, own

pytest.importorskip("nicegui", reason="NiceGUI is not installed: ./smartwire test installs it")
SCHEMA = load_schema()


def setup(*lines: str) -> Setup:
    """A configuration with the pages switched on."""
    said = [f"set system services web {line}" for line in ("enabled true", *lines)]
    return Setup(load(Config(SCHEMA), "set", "\n".join(said)))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def plane(tmp_path, monkeypatch):
    monkeypatch.setenv("SMARTWIRE_RUN", str(tmp_path / "run"))
    monkeypatch.setenv("SMARTWIRE_STATE", str(tmp_path / "state"))
    made = web.WebPlane(tmp_path / "web")
    yield made
    made.close()


def test_they_are_served_while_configured_with_the_given_certificate_and_started_again(plane, tmp_path):
    port, (certificate, key) = free_port(), own(tmp_path / "mine", "edge-9")
    made = setup(f"port {port}", "listen 127.0.0.1", f"certificate {certificate}", f"key {key}")
    assert plane.check(made) == []
    assert plane.differences(made) == ["web pages are not as configured."]
    assert plane.apply(made) == [f"web pages are served on 127.0.0.1 port {port}."]
    trusting = ssl.create_default_context(cafile=str(certificate))
    with urllib.request.urlopen(f"https://127.0.0.1:{port}/login", context=trusting, timeout=30) as page:
        assert b"Log in" in page.read()
    assert fingerprint(certificate) in (tmp_path / "web" / "log").read_text()
    pid = plane.process.pid
    assert plane.apply(made) == []
    assert plane.process.pid == pid
    plane.process.kill()
    plane.process.wait()
    assert plane.differences(made) == ["the process of the web pages has ended."]
    taken = socket.create_server(("127.0.0.1", port))
    with pytest.raises(Error, match="they could not be served: 127"):
        plane.apply(made)
    taken.close()
    off = Setup(Config(SCHEMA))
    assert plane.differences(off) == []
    assert plane.process is None


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("listen 0.0.0.0", "0.0.0.0 is every interface: name addresses of this box."),
        ("listen ::", ":: is every interface: name addresses of this box."),
        ("listen box1.example", "box1.example is no address."),
        ("listen 192.0.2.1", "192.0.2.1 is the address of a wire's port."),
    ],
)
def test_they_listen_on_addresses_of_management_alone(plane, monkeypatch, line, sentence):
    monkeypatch.setattr(web, "_of_ports", lambda setup: {"192.0.2.1"})
    assert [p.sentence for p in plane.check(setup(line))] == [sentence]


def test_a_certificate_needs_its_key_and_both_must_be_there(plane):
    assert "a certificate needs its key" in str(checks.problems(setup("certificate /no/where").config)[0])
    found = plane.check(setup("certificate /no/certificate", "key /no/key"))
    assert [p.sentence for p in found] == ["there is no file /no/certificate.", "there is no file /no/key."]


def test_by_default_there_are_none(plane):
    off = Setup(Config(SCHEMA))
    assert plane.check(off) == []
    assert plane.apply(off) == []
    assert plane.differences(off) == []
