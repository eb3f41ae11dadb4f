"""A connection that has custody and is silent when the wire's process goes: both ends are told, nobody hangs."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from smartwire.lab.frames import ACK, PSH, RST, SYN, Segment, parse
from smartwire.lab.middle import Wire
from smartwire.lab.net import Lab, run
from smartwire.lab.tap import INBOUND, read_one

from .handmade import FOUR, SIX, A, B, socket_in, tcp, vlan

pytestmark = pytest.mark.root

TAGS = {"plain": lambda f: f, "VLAN": lambda f: vlan(0x8100, 7, f),
        "QinQ": lambda f: vlan(0x88A8, 4000, vlan(0x8100, 1, f))}  # fmt: skip
OPTIONS = bytes.fromhex("020405b4 0402 0101 01030307")
"""MSS 1460, SACK permitted, window scale 7."""
LIMIT = 60.0


@dataclass
class End:
    """One end of a connection, made by hand: it sends what it is told, and acknowledges nothing by itself."""

    sock: socket.socket
    macs: bytes
    pair: tuple[str, str]
    ports: tuple[int, int]
    wrap: object

    def send(self, flags: int, data: bytes = b"", seq: int = 0, ack: int = 0, options: bytes = b"") -> None:
        """Sends a segment."""
        frame = tcp(*self.pair, flags, data, options, ports=self.ports, seq=seq, ack=ack)
        self.sock.send(self.macs + self.wrap(frame))

    def receive(self, wanted) -> Segment:
        """The next segment of this connection for which something is true; its tags must be right."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            try:
                _, direction, frame = read_one(self.sock, 1 << 16)
            except TimeoutError:
                continue
            s = parse(frame)
            if direction != INBOUND or not s or (s.dst, s.src, s.dport, s.sport) != (*self.pair, *self.ports):
                continue
            if wanted(s):
                assert frame[12 : len(s.ethernet)] == self.wrap(tcp(*self.pair, 0, b""))[: len(s.ethernet) - 12]
                assert s.ethernet[:12] == self.macs[6:12] + self.macs[:6]
                return s
        raise AssertionError("it never came")


def ends(lab: Lab, pair: tuple[str, str], tags: str) -> tuple[End, End]:
    """A phone and a server for one connection."""
    port = 40000 + list(TAGS).index(tags)
    phone = End(socket_in(lab, "phone"), B + A, pair, (port, 80), TAGS[tags])
    return phone, End(socket_in(lab, "server"), A + B, pair[::-1], (80, port), TAGS[tags])


def leave_custody(phone: End, server: End) -> None:
    """A request, an answer that the wire acknowledges to the server, and a phone that says nothing of it."""
    phone.send(SYN, seq=999, options=OPTIONS)
    server.receive(lambda s: s.flags == SYN)
    server.send(SYN | ACK, seq=4999, ack=1000, options=OPTIONS)
    phone.receive(lambda s: s.flags == SYN | ACK)
    phone.send(ACK, seq=1000, ack=5000)
    server.receive(lambda s: s.flags == ACK)
    phone.send(ACK | PSH, b"request", seq=1000, ack=5000)
    server.receive(lambda s: s.payload == 7)
    server.send(ACK | PSH, b"a" * 1000, seq=5000, ack=1007)
    server.receive(lambda s: s.ack == 6000)


@pytest.fixture
def lab():
    """A phone and a server, one veth away from the wire host's ports."""
    with Lab(emulated=False) as lab:
        yield lab


def processes(lab: Lab) -> set[int]:
    """What runs in the wire host."""
    return set(map(int, run("ip", "netns", "pids", lab.ns("wire")).split()))


def stop(wire: Wire) -> None:
    """Ends what is left of a wire that was killed or stopped, and takes it off."""
    wire.kill()
    wire.process = None
    wire.lab.run("wire", sys.executable, "-m", "smartwire", "unwire", "access", "core")


@pytest.mark.parametrize("io", ["xdp", "packet"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_silent_connection_is_reset_at_both_ends_when_the_process_dies_or_hangs(lab, io, number):
    wire = Wire("--io", io)
    wire.start(lab)
    all_ends = [ends(lab, pair, tags) for pair in (FOUR, SIX) for tags in TAGS]
    for phone, server in all_ends:
        leave_custody(phone, server)
    wire.signal(number)
    for phone, server in all_ends:
        # Neither of them has sent anything. A reset inside the window is answered with a challenge (RFC 5961), and
        # that with a reset which nobody can doubt.
        for end, nxt, peer in ((phone, 1007, 5000), (server, 6000, 1007)):
            first = end.receive(lambda s: s.flags & RST)
            assert peer <= first.seq < peer + (500 << 7)
            end.send(ACK, seq=nxt, ack=peer)
            assert end.receive(lambda s, exact=peer: s.flags & RST and s.seq == exact)
    stop(wire)


def test_a_process_that_was_stopped_for_long_goes_on_and_gives_up_only_what_had_custody(lab):
    wire = Wire()
    wire.start(lab)
    (held, from_held), (free, from_free) = (ends(lab, pair, "plain") for pair in (FOUR, SIX))
    for phone, server in ((held, from_held), (free, from_free)):
        leave_custody(phone, server)
    free.send(ACK, seq=1007, ack=6000)
    wire.until(lambda c: c["custody_bytes"] == 1000)
    wire.signal(signal.SIGSTOP)
    held.receive(lambda s: s.flags & RST)
    from_held.receive(lambda s: s.flags & RST)
    wire.signal(signal.SIGCONT)
    counters = wire.until(lambda c: c["flows"] == 0)
    assert (counters["resets"], counters["guardian_reset"]) == (1, 1)
    from_free.send(ACK | PSH, b"more", seq=6000, ack=1007)
    free.receive(lambda s: s.payload == 4 and s.seq == 6000)
    # New connections are optimized again, and the guardian still watches.
    again = ends(lab, FOUR, "VLAN")
    leave_custody(*again)
    wire.signal(signal.SIGKILL)
    for end in again:
        end.receive(lambda s: s.flags & RST)
    stop(wire)


def test_the_next_start_resets_what_was_silent_when_even_the_guardian_was_killed(lab):
    wire = Wire()
    wire.start(lab)
    all_ends = [ends(lab, pair, tags) for pair in (FOUR, SIX) for tags in TAGS]
    for phone, server in all_ends:
        leave_custody(phone, server)
    for pid in processes(lab):
        os.kill(pid, signal.SIGKILL)
    wire.process.wait()
    again = Wire()
    again.start(lab)
    for phone, server in all_ends:
        phone.receive(lambda s: s.flags & RST)
        server.receive(lambda s: s.flags & RST)
    again.until(lambda c: c["survivors_reset"] == 6)
    assert again.counters()["guardian_reset"] == 0
    again.stop()


def test_a_guardian_leaves_with_its_wire_and_has_no_capabilities(lab):
    wire = Wire()
    wire.start(lab)
    (guardian,) = processes(lab) - {wire.process.pid}
    end = time.monotonic() + LIMIT
    while "CapEff:\t0000000000000000" not in Path(f"/proc/{guardian}/status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
    assert wire.leave() == 0
    while processes(lab):
        assert time.monotonic() < end
        time.sleep(0.05)
    wire.process = None
