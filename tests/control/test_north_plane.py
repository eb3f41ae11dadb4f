"""Protocols follow the configuration: what a commit says is served and told, and nothing else."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from smartwire.alarms.evaluate import Alarm, Change
from smartwire.config.load import load
from smartwire.config.plane import Setup
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.errors import Error
from smartwire.north.plane import NorthPlane, addresses, wanted
from smartwire.north.prometheus import exposition, serve

SCHEMA = load_schema()
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ALARM = Alarm(1, "port-down", "wire/w/port/core", "critical", "No carrier.", "Check the cable.", 1_764_028_800.0)


def setup(*lines: str) -> Setup:
    return Setup(load(Config(SCHEMA), "set", "\n".join(f"set {line}" for line in lines)))


def free_port(kind=socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def scrape(port: int, host: str = "127.0.0.1") -> int:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code
    except OSError:
        return 0


def wait_for(what, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not (done := what()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(done)


@pytest.fixture
def plane(run_dir, tmp_path):
    said: list[str] = []
    made = NorthPlane(said.append, tmp_path / "state", free_port(socket.SOCK_DGRAM))
    made.said = said
    yield made
    made.close()


def follow(plane: NorthPlane, made: Setup) -> None:
    assert plane.check(made) == []
    plane.apply(made)
    assert plane.differences(made) == []


def test_by_default_nothing_listens_and_nobody_is_told(plane):
    follow(plane, setup())
    assert (plane.front, plane.sinks, plane.snmpd) == (None, [], None)


def test_prometheus_is_served_while_it_is_configured(plane, page_wire):
    port = free_port()
    on = setup("protocols prometheus enabled true", f"protocols prometheus port {port}")
    assert plane.differences(on) == ["protocols are not as configured."]
    follow(plane, on)
    assert scrape(port) == 200
    follow(plane, setup())
    assert scrape(port) == 0


def test_only_allowed_prefixes_may_scrape(plane):
    port = free_port()
    base = ("protocols prometheus enabled true", f"protocols prometheus port {port}")
    follow(plane, setup(*base, "system management allowed-prefix 192.0.2.0/24"))
    assert scrape(port) == 403
    follow(plane, setup(*base, "system management allowed-prefix 127.0.0.0/8"))
    assert scrape(port) == 200


def test_an_address_without_a_match_in_its_own_family_is_refused():
    server, thread = serve("::1", 0, exposition, allowed=["127.0.0.0/8"])
    assert scrape(server.server_port, "[::1]") == 403
    server.shutdown()
    server.server_close()
    thread.join()


def test_syslog_servers_are_told_of_alarms_and_events_while_they_are_configured(plane):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        follow(plane, setup(f"system syslog 127.0.0.1 port {server.getsockname()[1]}"))
        before = list(plane.sinks)
        plane.sinks[0].tell(Change(ALARM, "No carrier."))
        assert b"ALARM_RAISED" in server.recv(4096)
        plane.log("smartwired did something.")
        assert b" EVENT - smartwired did something." in server.recv(4096)
        follow(plane, setup(f"system syslog 127.0.0.1 port {server.getsockname()[1]}", "system host-name x"))
        assert plane.sinks == before  # what did not change was not interrupted
    follow(plane, setup())
    assert plane.sinks == []


def test_ports_and_severities_have_their_defaults():
    asked = wanted(setup("system syslog 192.0.2.1 transport tls", "system syslog logs.example"))
    assert [str(server) for server in asked.syslog] == ["tls://192.0.2.1:6514", "udp://logs.example:514"]
    assert {server.least for server in asked.syslog} == {5}


@pytest.mark.skipif(not shutil.which("snmptrap"), reason="snmptrap is not installed (apt: snmp)")
def test_trap_receivers_are_told_of_alarms(plane):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(60)
        target = "protocols snmp trap-target 127.0.0.1"
        follow(plane, setup(f"{target} port {server.getsockname()[1]}", f"{target} community hidden"))
        plane.sinks[0].tell(Change(ALARM, "No carrier."))
        received = server.recv(4096)
    assert b"hidden" in received
    assert b"port-down" in received


SNMP = (
    "protocols snmp enabled true",
    "protocols snmp contact noc@example.net",
    "protocols snmp community c community seen",
    "protocols snmp user watcher authentication-password first-secret",
    "protocols snmp user watcher privacy-password second-secret",
)


@pytest.mark.skipif(not shutil.which("snmpd", path=PATH), reason="snmpd is not installed (apt: snmpd snmp)")
def test_an_snmpd_that_cannot_have_its_port_is_one_sentence(plane):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", plane.snmp_port))
        with pytest.raises(Error, match=f"{plane.snmp_port}.*systemctl disable --now snmpd"):
            plane.apply(setup(*SNMP))
    follow(plane, setup(*SNMP))
    assert plane.snmpd.poll() is None


@pytest.mark.skipif(not shutil.which("snmpd", path=PATH), reason="snmpd is not installed (apt: snmpd snmp)")
def test_snmpd_answers_while_it_is_configured_and_is_started_again(plane, page_wire):
    def get(*credentials: str, oid: str = "1.3.6.1.4.1.32473.1.1.1.0") -> str:
        argv = ["snmpget", "-t", "0.5", "-r", "0", "-Oqv", *credentials, f"127.0.0.1:{plane.snmp_port}", oid]
        return subprocess.run(argv, capture_output=True, text=True).stdout.strip()

    v2c = ("-v2c", "-c", "seen")
    follow(plane, setup(*SNMP))
    assert wait_for(lambda: get(*v2c) == '"0.1.0"')
    v3 = (
        "-v3",
        "-u",
        "watcher",
        "-l",
        "authPriv",
        "-a",
        "SHA",
        "-A",
        "first-secret",
        "-x",
        "AES",
        "-X",
        "second-secret",
    )
    assert wait_for(lambda: get(*v3) == '"0.1.0"')
    assert get("-v2c", "-c", "public") == ""
    assert get(*v2c, oid="1.3.6.1.2.1.1.4.0") == '"noc@example.net"'
    plane.snmpd.kill()
    plane.snmpd.wait()
    assert plane.differences(setup(*SNMP)) == ["snmpd has ended."]
    follow(plane, setup(*SNMP))
    assert wait_for(lambda: get(*v2c) == '"0.1.0"')
    follow(plane, setup())
    assert plane.snmpd is None
    assert get(*v2c) == ""


def test_the_snmpd_file_holds_passwords_and_only_its_owner_reads_it(plane, monkeypatch, tmp_path):
    (tmp_path / "snmpd").write_text('#!/bin/sh\necho "NET-SNMP version 0" > "$6"\nexec sleep 60\n')
    (tmp_path / "snmpd").chmod(0o755)
    monkeypatch.setattr("smartwire.north.plane.PATH", f"{tmp_path}:/bin:/usr/bin")
    follow(plane, setup(*SNMP, "protocols snmp community c client 192.0.2.0/24",
                        "protocols snmp community c client 2001:db8::/32"))  # fmt: skip
    file = plane.state / "snmpd/snmpd.conf"
    text = file.read_text()
    assert "rocommunity seen 192.0.2.0/24 .1" in text
    assert "rocommunity6 seen 2001:db8::/32 .1" in text
    assert 'createUser watcher SHA "first-secret" AES "second-secret"' in text
    assert file.stat().st_mode & 0o077 == 0


def test_what_cannot_be_done_is_said_before_anything_is_done(plane, monkeypatch):
    monkeypatch.setattr("smartwire.north.plane.PATH", "/nowhere")
    found = plane.check(setup(*SNMP, "protocols snmp trap-target 192.0.2.1"))
    assert ["apt-get install snmpd" in p.sentence for p in found] == [True, False]
    assert "apt-get install snmp." in found[1].sentence
    absent = plane.check(setup("protocols prometheus enabled true", "system management interface nowhere0"))
    assert "has no address" in absent[0].sentence
    assert plane.check(setup("system management interface nowhere0")) == []


def test_the_addresses_of_loopback_are_found():
    assert addresses("lo")[0] == "127.0.0.1"


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def test_whoever_parses_requests_for_metrics_has_no_right_and_gets_nothing_else(plane, page_wire):
    port = free_port()
    follow(plane, setup("protocols prometheus enabled true", f"protocols prometheus port {port}"))
    threads = [int(p.name) for p in Path(f"/proc/{plane.front.process.pid}/task").iterdir()]
    assert len(threads) > 1
    for thread in threads:
        shown = status_of(thread)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert f"{kind}:\t0000000000000000" in shown
        assert "NoNewPrivs:\t1" in shown
        assert "Uid:\t0" not in shown
    ours, theirs = socket.socketpair()
    plane.front.ours, kept = ours, plane.front.ours
    with theirs:
        theirs.sendall(b"passwd\nmetrics\n")
        plane.front.answer()
        assert theirs.recv(100) == b""
    plane.front.ours = kept
    ours.close()
    assert scrape(port) == 200


def test_a_process_of_the_metrics_that_dies_is_started_again(plane, page_wire):
    port = free_port()
    made = setup("protocols prometheus enabled true", f"protocols prometheus port {port}")
    follow(plane, made)
    plane.front.process.kill()
    plane.front.process.wait()
    assert plane.differences(made) == ["the process that serves metrics has ended."]
    follow(plane, made)
    assert scrape(port) == 200


@pytest.mark.root
def test_faces_listen_in_the_namespace_of_management(plane, page_wire, tmp_path):
    from smartwire.web.plane import WebPlane

    space = f"swmgmt{os.getpid()}"
    if subprocess.run(["ip", "netns", "add", space], capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    web = WebPlane(tmp_path / "web")
    try:
        subprocess.run(["ip", "-n", space, "link", "set", "lo", "up"], check=True)
        port = free_port()
        lines = [f"system management namespace {space}", "protocols prometheus enabled true"]
        made = setup(*lines, f"protocols prometheus port {port}", "system services web enabled true")
        follow(plane, made)
        assert scrape(port) == 0
        ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/metrics').status)"
        done = subprocess.run(["ip", "netns", "exec", space, sys.executable, "-c", ask], capture_output=True, text=True)
        assert done.stdout == "200\n", done.stderr
        if web.check(made) == []:
            web.apply(made)
            listening = ["ip", "netns", "exec", space, "ss", "-tlnH"]
            assert "127.0.0.1:8443" in subprocess.run(listening, capture_output=True, text=True).stdout
        gone = setup(*lines, "system management namespace nowhere")
        assert "no address" in str(plane.check(gone)[0])
    finally:
        web.close()
        plane.close()
        subprocess.run(["ip", "netns", "del", space], check=False)
