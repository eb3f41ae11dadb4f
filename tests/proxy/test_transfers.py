"""Connections through the proxy: real TCP, client and server each behind a router."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import threading
import time

import pytest
from smartwire.lab.net import run
from smartwire.proxy import registry

from .conftest import PORT, Ends, content, read_all, reset, wait_for

pytestmark = pytest.mark.root
BOTH = pytest.mark.parametrize("version", [4, 6])


def counters(lab) -> dict[str, int]:
    return lab.proxy("status")["counters"]


def test_downloads_and_uploads_arrive_byte_for_byte_and_the_server_sees_the_client(proxied, ends):
    size, before = 3_000_000, counters(proxied)
    for version in (4, 6):
        assert ends.get(version, size) == content(size)
        assert ends.put(version, content(size)) == hashlib.sha256(content(size)).hexdigest()
        with ends.connect(version) as client:
            client.sendall(b"get 1\n")
            read_all(client)
            assert client.getsockname()[:2] == ends.peers[-1]
    more = {name: value - before[name] for name, value in counters(proxied).items()}
    assert more["proxied"] == 6
    assert more["in_bytes"] > 4 * size
    assert more["resets"] == more["lost"] == 0


@BOTH
def test_a_half_closed_connection_goes_on_in_the_other_direction(ends, version):
    with ends.connect(version) as client:
        client.sendall(b"get 500000\n")
        client.shutdown(socket.SHUT_WR)
        assert read_all(client) == content(500_000)


@BOTH
def test_a_closed_server_port_resets_the_client(ends, version):
    with pytest.raises(ConnectionError):
        ends.get(version, 1, port=9)


@BOTH
def test_the_servers_reset_is_the_clients(ends, version):
    with ends.connect(version) as client:
        client.sendall(b"reset 100000\n")
        with pytest.raises(ConnectionResetError):
            read_all(client)


@BOTH
def test_the_clients_reset_is_the_servers(ends, version):
    client = ends.connect(version)
    client.sendall(b"wait\n")
    time.sleep(0.2)
    reset(client)
    wait_for(lambda: ends.ended)
    assert ends.ended.pop() == "ConnectionResetError"


def test_ports_are_used_again_at_once(proxied, ends):
    before = counters(proxied)["proxied"]
    for round_ in range(30):
        for source in range(20_000, 20_005):
            assert ends.get(4, 1000 + round_, source=source) == content(1000 + round_)
    assert counters(proxied)["proxied"] == before + 150


@BOTH
@pytest.mark.parametrize("narrow", ["router1", "router2"])
def test_a_narrow_hop_beyond_either_side_is_found(proxied, ends, version, narrow):
    network = {"router1": ("10.1.0.0/24", "fd00:1::/64"), "router2": ("10.2.0.0/24", "fd00:2::/64")}[narrow]
    route = [network[version == 6], "dev", "in"]
    proxied.run(narrow, "ip", f"-{version}", "route", "del", *route)
    proxied.run(narrow, "ip", f"-{version}", "route", "add", *route, "mtu", "lock", "1400")
    before, data = counters(proxied)["icmp"], content(400_000)
    assert ends.get(version, len(data)) == data
    assert ends.put(version, data) == hashlib.sha256(data).hexdigest()
    assert counters(proxied)["icmp"] > before


def test_frames_at_the_ports_are_the_routers_own(lab):
    watched = {"router1": lab.mac("router2", "out"), "router2": lab.mac("router1", "out")}
    seen: dict[str, set[bytes]] = {host: set() for host in watched}
    taps = []
    for host in watched:
        tap = lab.socket(host, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        tap.bind(("out", 3))
        taps.append(tap)
        threading.Thread(target=note_sources, args=(tap, seen[host]), daemon=True).start()
    lab.proxy("up")
    ends = Ends(lab)
    for version in (4, 6):
        assert ends.get(version, 300_000) == content(300_000)
        with pytest.raises(ConnectionError):
            ends.get(version, 1, port=9)
    time.sleep(2.5)  # for what an interface says when it comes up
    lab.proxy("down")
    for tap in taps:
        tap.close()
    assert {host: {mac} for host, mac in watched.items()} == seen


def note_sources(tap: socket.socket, seen: set[bytes]) -> None:
    """The source MAC addresses of what arrives."""
    while True:
        try:
            frame, about = tap.recvfrom(100)
        except OSError:
            return
        if about[2] != socket.PACKET_OUTGOING:
            seen.add(frame[6:12])


def test_a_hundred_connections_at_a_time(proxied, ends):
    results: list[bool] = []

    def one(n: int) -> None:
        results.append(ends.get(4 + 2 * (n % 2), 20_000 + n) == content(20_000 + n))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 100
    flows = proxied.proxy("flows", "-n", "10000")
    assert flows["total"] == len(flows["flows"]) >= 100
    assert PORT in {f["core_port"] for f in flows["flows"]}


def test_connections_go_to_the_thread_of_their_cpu_also_after_a_reload(lab):
    lab.proxy("up", "--threads", "2")
    ends = Ends(lab)
    for reloads in range(2):
        for version in (4, 6):
            for size in (1, 100, 50_000):
                assert ends.get(version, size) == content(size)
        assert counters(lab)["proxied"] == 6 * (reloads + 1)
        lab.proxy("reload")


@pytest.mark.skipif(not shutil.which("nft"), reason="nftables is not installed")
def test_tproxy_does_what_sk_lookup_does(lab):
    lab.proxy("up", "--any-port", "tproxy")
    ends = Ends(lab, 443)
    for version in (4, 6):
        for port in (PORT, 443):
            assert ends.get(version, 50_000, port=port) == content(50_000)
        with pytest.raises(ConnectionError):
            ends.get(version, 1, port=9)
    assert counters(lab)["proxied"] == 6


def test_a_silent_connection_is_kept_for_two_hours_and_its_ends_are_asked_every_five_minutes(proxied, ends):
    with ends.connect(4) as client:
        client.sendall(b"digest\n")  # answered when there is no more
        time.sleep(0.5)
        pid = str(proxied.proxy("status")["haproxy"]["pid"])
        shown = run("nsenter", "-t", pid, "-n", "ss", "-tnoH", "state", "established")
        asked_in = [int(m) * 60 + int(s or 0) for m, s in re.findall(r"keepalive,(\d)min(?:(\d+)sec)?,0", shown)]
        assert len(asked_in) == 2, shown
        assert all(240 < seconds <= 300 for seconds in asked_in)
        with socket.socket(socket.AF_UNIX) as haproxy:
            haproxy.connect(str(registry.directory_of(proxied.proxy_name) / "haproxy.sock"))
            haproxy.sendall(b"show sess\n")
            (session,) = [line for line in read_all(haproxy).decode().splitlines() if "fe=four" in line]
        assert re.findall(r"rx=(\w+)", session) == ["2h3m", "2h3m"]


def test_status_and_flows_are_shown_to_a_person_and_to_a_program(proxied, ends):
    with ends.connect(4) as client:
        client.sendall(b"digest\n")
        for command, seen in (("status", "container swproxy-"), ("flows", "10.1.0.2")):
            shown = proxied.smartwire("proxy", command, "--name", proxied.proxy_name)
            assert shown.returncode == 0, shown.stderr
            assert seen in shown.stdout
            told = proxied.smartwire("proxy", command, "--name", proxied.proxy_name, "--json")
            assert json.loads(told.stdout).keys() == proxied.proxy(command).keys()
