"""VLAN tags: frames of a flow leave each side with the tags and MAC addresses that its own frames have there."""

from __future__ import annotations

import socket
import struct
import time

import pytest
from smartwire.lab.frames import ACK, SYN, Segment, parse
from smartwire.lab.tap import ETH_P_ALL, PACKET_AUXDATA, SOL_PACKET, read_one
from smartwire.pcapng import INBOUND

from .conftest import content, read_all

pytestmark = pytest.mark.root

TAGS = {
    "untagged": b"",
    "one tag": struct.pack("!HH", 0x8100, 5 << 13 | 100),
    "two tags": struct.pack("!HHHH", 0x88A8, 200, 0x8100, 4094),
}
CLASSES = {False: 0xB8, True: 0x28}
"""Traffic class of the client's frames (EF, RFC 3246), and of the server's (AF11, RFC 2597)."""
ADDRESSES = {4: ("10.1.0.77", "10.2.0.77"), 6: ("fd00:1::77", "fd00:2::77")}


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def frame(
    head: bytes, version: int, ports: tuple[int, int], seq: int, ack: int, flags: int, back: bool = False
) -> bytes:
    """A TCP segment without payload; from the server if `back`."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    source, target = (socket.inet_pton(family, a) for a in ADDRESSES[version][:: -1 if back else 1])
    sport, dport = ports[:: -1 if back else 1]

    def tcp(sum_: int) -> bytes:
        return struct.pack("!HHIIBBHHH", sport, dport, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, 0x50, flags, 60_000, sum_, 0)

    segment = tcp(checksum(source + target + struct.pack("!HH", socket.IPPROTO_TCP, 20) + tcp(0)))
    if version == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, CLASSES[back], 40, 0, 0x4000, 64, socket.IPPROTO_TCP, 0) + source + target
        return head + b"\x08\x00" + ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:] + segment
    return (
        head
        + b"\x86\xdd"
        + struct.pack("!IHBB", 6 << 28 | CLASSES[back] << 20, 20, socket.IPPROTO_TCP, 64)
        + source
        + target
        + segment
    )


class Router:
    """A router's interface towards the box, by hand."""

    def __init__(self, lab, host: str) -> None:
        self.raw = lab.socket(host, socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.raw.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.raw.bind(("out", ETH_P_ALL))
        self.raw.settimeout(0.2)

    def receives(self, port: int, flags: int, tags: bytes | None = None) -> Segment:
        """The next segment with these flags from or to a port, with these tags if any are named."""
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                _, direction, got = read_one(self.raw, 2000)
            except TimeoutError:
                continue
            found = parse(got) if direction == INBOUND else None
            if not found or port not in (found.sport, found.dport) or found.flags & (SYN | ACK) != flags:
                continue
            if tags is None or found.ethernet[12:-2] == tags:
                return found
        raise AssertionError("nothing came")


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("tags", TAGS)
def test_tags_and_addresses_of_frames_are_those_of_their_side(proxied, version, tags):
    access, core = Router(proxied, "router1"), Router(proxied, "router2")
    mac1, mac2 = proxied.mac("router1", "out"), proxied.mac("router2", "out")
    virtual = bytes.fromhex("00005e000101")  # a virtual router's, to which the access side sends (RFC 9568)
    tag, ports = TAGS[tags], (30_000 + len(TAGS[tags]) + version, 4000)
    access.raw.send(frame(virtual + mac1 + tag, version, ports, 1000, 0, SYN))
    answer = access.receives(ports[0], SYN | ACK)
    assert answer.ethernet[:-2] == mac1 + virtual + tag  # the server's router has not been seen yet
    assert answer.ack == 1001
    access.raw.send(frame(virtual + mac1 + tag, version, ports, 1001, answer.seq + 1, ACK))
    onward = core.receives(ports[0], SYN)
    assert onward.ethernet[:-2] == virtual + mac1 + tag
    assert onward.tos == CLASSES[False]
    assert (onward.src, onward.dst, onward.sport, onward.dport) == (*ADDRESSES[version], *ports)
    core.raw.send(frame(mac1 + mac2 + tag, version, ports, 7000, onward.seq + 1, SYN | ACK, back=True))
    assert core.receives(ports[0], ACK).ack == 7001
    # Now it has: what goes to the access side comes from its own MAC address.
    core.raw.send(frame(mac1 + mac2 + tag, version, ports, 7001, onward.seq + 1, ACK | 1, back=True))
    end = access.receives(ports[0], ACK)
    assert end.ethernet[:-2] == mac1 + mac2 + tag
    assert end.flags & 1
    assert end.tos == CLASSES[True]
    flow = next(f for f in proxied.proxy("flows", "-n", "1000")["flows"] if f["access_port"] == ports[0])
    assert len(flow["vlans"]) == len(tag) // 4


def test_connections_of_equal_addresses_in_another_vlan_pass_by(proxied):
    access, core = Router(proxied, "router1"), Router(proxied, "router2")
    head = proxied.mac("router2", "out") + proxied.mac("router1", "out")
    ports = (31_000, 4001)
    access.raw.send(frame(head + TAGS["one tag"], 4, ports, 1000, 0, SYN))
    assert access.receives(ports[0], SYN | ACK)
    access.raw.send(frame(head + TAGS["two tags"], 4, ports, 55, 66, ACK))
    passed = core.receives(ports[0], ACK)
    assert (passed.seq, passed.ethernet[:-2]) == (55, head + TAGS["two tags"])


@pytest.mark.parametrize("version", [4, 6])
def test_a_traffic_class_is_carried_over_and_checksums_stay_right(proxied, ends, version):
    core = Router(proxied, "router2")
    with ends.connect(version) as client:
        name = client.getsockname()[1]
        option = (socket.IPPROTO_IP, socket.IP_TOS) if version == 4 else (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
        client.setsockopt(*option, 0xB8)
        client.sendall(b"get 100000\n")
        assert read_all(client) == content(100_000)
    until = time.monotonic() + 20
    while core.receives(name, ACK).tos != 0xB8:
        assert time.monotonic() < until


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("asked", [0, 0xC0])
def test_the_server_is_asked_for_ecn_where_the_client_asks(proxied, version, asked):
    access, core = Router(proxied, "router1"), Router(proxied, "router2")
    head = proxied.mac("router2", "out") + proxied.mac("router1", "out")
    ports = (32_000 + version + asked, 4002)
    access.raw.send(frame(head, version, ports, 1000, 0, SYN | asked))
    answer = access.receives(ports[0], SYN | ACK)
    assert bool(answer.flags & 0x40) == bool(asked)  # ECE (RFC 3168 section 6.1.1)
    access.raw.send(frame(head, version, ports, 1001, answer.seq + 1, ACK))
    assert core.receives(ports[0], SYN).flags & 0xC0 == asked
