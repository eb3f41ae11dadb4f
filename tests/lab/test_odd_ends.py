"""Two kernels with the wire between them do what is rarely tried, and notice nothing."""

from __future__ import annotations

import socket
import struct
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from smartwire.lab.ends import Connection, join
from smartwire.lab.links import constant
from smartwire.lab.middle import Wire
from smartwire.lab.plan import family
from smartwire.lab.session import Session, reasons

from .handmade import A, B, socket_in, tcp

pytestmark = pytest.mark.root
VERSIONS = pytest.mark.parametrize("version", [4, 6])
NOWHERE = {4: "10.3.0.1", 6: "2001:db8:3::1"}
FLOOD = 10_000


@pytest.fixture(scope="module")
def session():
    with Session("x", constant(100, rtt_ms=10).with_internet(6), Wire(), log=False) as made, made.links():
        yield made
        made.middle.stop()  # while there are links over which it can deliver what it holds


@pytest.fixture
def grown(session):
    """By how much a counter has grown since the test began, once it has grown at all or never will."""
    before = session.middle.counters()

    def by(name: str) -> int:
        until = time.monotonic() + 5
        while (now := session.middle.counters()[name]) == before[name] and time.monotonic() < until:
            pass
        return now - before[name]

    return by


def exchanged(ends: dict, size: int = 300_000) -> list[str]:
    """What goes wrong where both ends send at once."""
    connection = Connection(ends, dict.fromkeys(ends, size))
    with ThreadPoolExecutor(4) as pool:
        for future in [connection.begin(pool, do, end) for end in ends for do in (connection.send, connection.receive)]:
            future.result()
    connection.close()
    return connection.problems


def dial(session: Session, address: str, port: int) -> None:
    with session.lab.socket("phone", family(address)) as phone:
        phone.settimeout(20)
        phone.connect((address, port))


@VERSIONS
def test_a_closed_port_refuses_as_the_server_does(session, version):
    with pytest.raises(ConnectionRefusedError):
        dial(session, session.lab.server(version), 9)


@VERSIONS
def test_the_error_about_an_unreachable_host_comes_back(session, version):
    """The server stands for a router that knows no way: nobody but it may answer, and with ICMP."""
    lab, to = session.lab, NOWHERE[version]
    lab.sysctl("server", {"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"})
    lab.batch("server", [f"route replace unreachable {to}"], family=f"-{version}")
    via = {4: "via inet 10.2.0.1 dev eth0 onlink", 6: f"via {lab.server(6)} dev eth0 onlink"}[version]
    lab.batch("phone", [f"route replace {to} {via} src {lab.phone(1, version)}"], family=f"-{version}")
    with pytest.raises(OSError, match=r"No route to host|Network is unreachable"):
        dial(session, to, 80)


@VERSIONS
def test_the_wire_is_no_hop(session, version, grown):
    """Packets that may make one hop only get to the other end."""
    ends = join(session.lab, version)
    hops = {4: (socket.IPPROTO_IP, socket.IP_TTL), 6: (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS)}[version]
    for sock in ends.values():
        sock.setsockopt(*hops, 1)
    assert exchanged(ends) == []
    assert grown("delivered_bytes") >= 600_000


@VERSIONS
def test_a_server_that_answers_with_cookies_is_optimized_too(session, version, grown):
    session.lab.sysctl("server", {"net.ipv4.tcp_syncookies": "2"})
    try:
        assert exchanged(join(session.lab, version)) == []
    finally:
        session.lab.sysctl("server", {"net.ipv4.tcp_syncookies": "1"})
    assert grown("delivered_bytes") >= 600_000, reasons(session.middle.counters())


@VERSIONS
def test_an_urgent_byte_arrives_as_one(session, version, grown):
    ends = join(session.lab, version)
    ends["server"].setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 0)
    ends["phone"].sendall(b"before")
    ends["phone"].send(b"!", socket.MSG_OOB)
    ends["phone"].sendall(b"after")
    ends["phone"].shutdown(socket.SHUT_WR)
    got, urgent = b"", b""
    while data := ends["server"].recv(100):
        got += data
        if not urgent:
            urgent = ends["server"].recv(1, socket.MSG_OOB)
    assert (got, urgent) == (b"beforeafter", b"!")
    assert exchanged(join(session.lab, version)) == []
    assert grown("stopped.urgent") == 1


@VERSIONS
def test_a_reader_that_pauses_gets_everything_in_the_end(session, version):
    """Buffers fill up, the window shuts, and opens again."""
    ends = join(session.lab, version)
    ends["phone"].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 30_000)
    connection = Connection(ends, {"phone": 0, "server": 3_000_000})
    with ThreadPoolExecutor(2) as pool:
        sending = connection.begin(pool, connection.send, "server")
        time.sleep(1)
        connection.begin(pool, connection.receive, "phone").result()
        sending.result()
    connection.close()
    assert connection.problems == []


def test_keepalives_find_the_other_end_alive(session):
    """The connections would be given up after two that are not answered."""
    both = [join(session.lab, version) for version in (4, 6)]
    for sock in [sock for ends in both for sock in ends.values()]:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 1), (socket.TCP_KEEPINTVL, 1), (socket.TCP_KEEPCNT, 2)):
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
    time.sleep(4)
    assert [exchanged(ends) for ends in both] == [[], []]


@VERSIONS
def test_a_connection_that_is_reset_is_reset_at_the_other_end(session, version):
    ends = join(session.lab, version)
    ends["server"].sendall(b"x")
    assert ends["phone"].recv(1) == b"x"
    ends["server"].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ends["server"].close()
    with pytest.raises(ConnectionResetError):
        ends["phone"].recv(1)


@VERSIONS
def test_a_flood_of_syns_harms_no_connection(session, version, grown):
    """From as many ports and addresses as there are SYNs; the table of half-open handshakes holds fewer."""
    ends = join(session.lab, version)
    flood = socket_in(session.lab, "phone")
    to = session.lab.server(version)
    over = threading.Event()

    def send() -> None:
        for n in range(FLOOD):
            source = f"10.9.{n >> 8 & 255}.{n & 255}" if version == 4 else f"2001:db8:9:{n:x}::1"
            flood.send(B + A + tcp(source, to, 2, b"", ports=(1024 + n % 60_000, 9), seq=n))
        over.set()

    flooder = threading.Thread(target=send)
    flooder.start()
    assert exchanged(ends, 2_000_000) == []
    flooder.join()
    flood.close()
    assert over.is_set()
    assert grown("syns") > FLOOD / 2
    assert exchanged(join(session.lab, version)) == [], "nor one that comes later"
