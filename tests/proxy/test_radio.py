"""Bulk over links that are a bottleneck, and how segments are cut: ``pytest tests/proxy/test_radio.py -m long -s``."""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import struct
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartwire.lab import links
from smartwire.lab.net import Lab, run
from smartwire.lab.radiolog import DOWN
from smartwire.lab.session import Session
from smartwire.proxy.netns import socket_inside

from .conftest import PORT, Ends, content

pytestmark = [pytest.mark.root, pytest.mark.long]

SIZE = 10_000_000
MSS = [(1380, 1460), (1460, 1380)]
TIMESTAMPS = 12


class Proxied:
    """The proxy between the lab's two ports."""

    name = "lab-radio"

    def __init__(self, *options: str) -> None:
        self.options = options

    def start(self, lab: Lab) -> None:
        self.lab = lab
        self.smartwire("up", "access", "core", *self.options)

    def smartwire(self, *command: str) -> dict:
        argv = [sys.executable, "-m", "smartwire", "proxy", *command, "--name", self.name, "--json"]
        return json.loads(self.lab.run("wire", *argv))

    def congestion_controls(self) -> list[str]:
        """What `ss` says that the container's connections have."""
        pid = self.smartwire("status")["haproxy"]["pid"]
        said = run("nsenter", "-t", str(pid), "-n", "ss", "-tinH", "state", "established").split()
        return sorted(word for word in said if word in ("bbr", "cubic"))

    def counters(self) -> dict[str, int]:
        return {}

    def stop(self) -> None:
        self.smartwire("down", "--limit", "0")


@contextlib.contextmanager
def payloads(namespaces: dict[str, str], ifname: str) -> Iterator[dict[str, list[int]]]:
    """The TCP payload lengths of frames from the server's port, in some places."""
    sizes: dict[str, list[int]] = {place: [] for place in namespaces}
    with contextlib.ExitStack() as stack:
        for place, namespace in namespaces.items():
            protocol = socket.htons(3)
            tap = socket_inside(Path("/run/netns") / namespace, socket.AF_PACKET, socket.SOCK_RAW, protocol)
            stack.enter_context(tap)
            tap.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
            tap.bind((ifname, 3))
            threading.Thread(target=note_payloads, args=(tap, sizes[place]), daemon=True).start()
        yield sizes
        time.sleep(1)


def note_payloads(tap: socket.socket, found: list[int]) -> None:
    while True:
        try:
            got = tap.recv(100)
        except OSError:
            return
        if got[12:14] == b"\x08\x00" and got[23] == socket.IPPROTO_TCP and got[34:36] == struct.pack("!H", PORT):
            size = struct.unpack("!H", got[16:18])[0] - 20 - (got[46] >> 4) * 4
            if size > 0:
                found.append(size)


def check_segments(sizes: dict[str, list[int]], mss: tuple[int, int]) -> None:
    """At most 1% of segments are below the MSS, of which the first is the client's: it is the server's too, if it is
    the smaller one, so that what the server sends fits the client's path."""
    access, _core = mss
    for (where, found), most in zip(sizes.items(), (access, min(access, 1460)), strict=True):
        full = most - TIMESTAMPS
        segments = sum(-(-size // full) for size in found)  # a frame may be several, where an offload cuts it later
        partial = sum(size % full != 0 for size in found)
        print(f"{where}: {segments} segments, {partial} below the MSS of {most}: {partial / segments:.2%}")
        assert segments >= SIZE // full
        assert partial <= 0.01 * segments


@pytest.mark.parametrize("splice", ["--splice", "--no-splice"])
@pytest.mark.parametrize("mss", MSS)
def test_over_a_link_that_is_a_bottleneck_segments_are_full_on_either_leg(mss, splice):
    with Session("segments", links.constant(50), Proxied(splice), log=False) as session:
        lab = session.lab
        for host, own, other, advertised in (
            ("phone", lab.phone_v4(1), lab.server_v4, mss[0]),
            ("server", lab.server_v4, lab.phone_v4(1), mss[1]),
        ):
            lab.batch(host, [f"route replace {other} dev eth0 src {own} advmss {advertised}"])
        with payloads({host: lab.ns(host) for host in ("phone", "server")}, "eth0") as sizes:
            outcome = session.run({"transfers": [get(session, SIZE)]}, 30)
        assert outcome.intact, outcome.broken
        check_segments(sizes, mss)


@pytest.mark.parametrize("mss", MSS)
def test_where_nothing_is_a_bottleneck_but_the_box_segments_are_full_on_either_leg(lab, mss):
    for host, ifname in (("client", "eth0"), ("server", "eth0"), ("router1", "out"), ("router2", "out")):
        lab.run(host, "ethtool", "-K", ifname, "tso", "off", "gso", "off", "gro", "off")
    lab.run("client", "ip", "route", "replace", "default", "via", "10.1.0.1", "advmss", str(mss[0]))
    lab.run("server", "ip", "route", "replace", "default", "via", "10.2.0.1", "advmss", str(mss[1]))
    lab.proxy("up")
    ends = Ends(lab)
    with payloads({host: lab.ns(host) for host in ("router1", "router2")}, "out") as sizes:
        assert ends.get(4, SIZE) == content(SIZE)
    check_segments(sizes, mss)


def get(session: Session, size: int, stop: float | None = None) -> dict:
    return {"kind": "get", "size": size, "start": 0.1, "stop": stop, "label": "bulk", **session.phone(4)}


def bulk(congestion: str, **radio) -> tuple[float, int, int]:
    """A download of 15 s through a moving car's LTE: the median wait in the radio's queue (ms), packets that the queue
    dropped, and segments that the server had to send again."""
    proxied, shown = Proxied("--access-cc", congestion), []
    link = links.profile("lte-driving").but_down(**radio)
    with Session("bulk", link, proxied) as session:
        plan = {"transfers": [get(session, 0, stop=15.0)]}
        outcome = session.run(plan, 16, actions=[(7.0, lambda: shown.extend(proxied.congestion_controls()))])
        assert outcome.log
        leg = outcome.log.leg(DOWN, 15.0)
    assert sorted(shown) == sorted([congestion, "cubic"])
    again = sum(s["retransmitted_segments"] for s in outcome.served)
    print(
        f"{congestion}: {outcome.transfers[0]['received'] / 15e6 * 8:.1f} Mbit/s, {leg.dropped} dropped, {again} again"
    )
    return statistics.median(leg.waits_ms), leg.dropped, again


def test_over_a_driving_radio_the_client_has_the_congestion_control_that_was_chosen():
    waits = {}
    for congestion in ("bbr", "cubic"):
        waits[congestion], _, again = bulk(congestion)
        assert again == 0
    print("median wait in the radio's queue, ms:", waits)
    assert waits["bbr"] < waits["cubic"] / 2  # CUBIC fills any queue, BBR keeps it short


@pytest.mark.parametrize("congestion", ["bbr", "cubic"])
def test_the_server_sees_nothing_of_what_is_lost_in_the_radios_queue(congestion):
    _, dropped, again = bulk(congestion, queue_bytes=150_000)
    assert dropped > 0
    assert again == 0
