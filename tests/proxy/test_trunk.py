"""One port with both sides as VLANs: a frame that arrives in one leaves in the other, through the proxy or past it."""

from __future__ import annotations

import struct

import pytest
from smartwire.lab.frames import ACK, SYN
from smartwire.lab.tap import read_one
from smartwire.pcapng import INBOUND

from .test_tags import ADDRESSES, Router, frame

pytestmark = pytest.mark.root

VLANS = {"access": 10, "core": 20}
SUBSCRIBER, SERVER = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
INNER = {"one tag": b"", "two tags": struct.pack("!HH", 0x8100, 300)}


def tag(side: str, inner: bytes = b"", priority: int = 0) -> bytes:
    """The tags of frames of a side."""
    return struct.pack("!HH", 0x88A8 if inner else 0x8100, priority << 13 | VLANS[side]) + inner


@pytest.fixture(scope="module")
def trunk(request):
    from smartwire.lab.routed import Routed

    with Routed() as lab:
        lab.proxy("up", "--trunk", "access", "--access-vlan", "10", "--core-vlan", "20")
        yield lab


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("inner", INNER)
def test_each_side_of_a_connection_has_its_vlan(trunk, version, inner):
    port = Router(trunk, "router1")
    access, core = tag("access", INNER[inner], 5), tag("core", INNER[inner], 5)
    ports = (40_000 + len(INNER[inner]) + version, 4000)
    port.raw.send(frame(SERVER + SUBSCRIBER + access, version, ports, 1000, 0, SYN))
    answer = port.receives(ports[0], SYN | ACK)
    assert answer.ethernet[:-2] == SUBSCRIBER + SERVER + access
    port.raw.send(frame(SERVER + SUBSCRIBER + access, version, ports, 1001, answer.seq + 1, ACK))
    onward = port.receives(ports[0], SYN)
    assert onward.ethernet[:-2] == SERVER + SUBSCRIBER + core
    assert (onward.src, onward.dst) == ADDRESSES[version]
    port.raw.send(frame(SUBSCRIBER + SERVER + core, version, ports, 7000, onward.seq + 1, SYN | ACK, back=True))
    assert port.receives(ports[0], ACK, core).ack == 7001
    port.raw.send(frame(SUBSCRIBER + SERVER + core, version, ports, 7001, onward.seq + 1, ACK | 1, back=True))
    assert port.receives(ports[0], ACK | 0, access).ethernet[:12] == SUBSCRIBER + SERVER


def passed(port: Router, marked: bytes) -> bytes | None:
    """The next frame that comes back and ends in these bytes."""
    for _ in range(100):
        try:
            _, direction, got = read_one(port.raw, 2000)
        except TimeoutError:
            return None
        if direction == INBOUND and got.endswith(marked):
            return got
    return None


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize(("side", "other"), [("access", "core"), ("core", "access")])
def test_what_is_not_the_proxys_leaves_in_the_other_vlan_as_it_was(trunk, inner, side, other):
    port = Router(trunk, "router1")
    for number, kind in enumerate((b"\x08\x06", b"\x88\xcc", b"\x08\x00")):
        rest = kind + bytes(50) + f"{inner} {side} {number}".encode()
        port.raw.send(SERVER + SUBSCRIBER + tag(side, INNER[inner], 3) + rest)
        assert passed(port, rest) == SERVER + SUBSCRIBER + tag(other, INNER[inner], 3) + rest


@pytest.mark.parametrize("tags", [b"", struct.pack("!HH", 0x8100, 30)])
def test_other_vlans_are_not_ours(trunk, tags):
    port = Router(trunk, "router1")
    rest = b"\x88\xcc" + bytes(50) + b"not ours" + tags
    port.raw.send(SERVER + SUBSCRIBER + tags + rest)
    assert passed(port, rest) is None


def test_a_trunk_goes_on_without_its_proxy_until_it_is_unwired(lab):
    lab.proxy("up", "--trunk", "access", "--access-vlan", "10", "--core-vlan", "20")
    done = lab.smartwire("run", "access", "core")
    assert (done.returncode, "is the trunk of" in done.stderr) == (1, True)
    lab.proxy("down")
    port = Router(lab, "router1")
    rest = b"\x88\xcc" + bytes(60)
    port.raw.send(SERVER + SUBSCRIBER + tag("access") + rest)
    assert passed(port, rest) == SERVER + SUBSCRIBER + tag("core") + rest
    assert lab.smartwire("unwire", "access").returncode == 0
    port.raw.send(SERVER + SUBSCRIBER + tag("access") + rest)
    assert passed(port, rest) is None
    assert "clsact" not in lab.run("box", "tc", "qdisc", "show", "dev", "access")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--trunk", "access", "--access-vlan", "10"), "two different VLANs"),
        (("--trunk", "access", "--access-vlan", "10", "--core-vlan", "10"), "two different VLANs"),
        (("access", "--trunk", "core"), "leave ACCESS CORE out"),
        (("access",), "name two interfaces"),
        (("access", "core", "--core-vlan", "3"), "name it with --trunk"),
    ],
)
def test_half_a_trunk_is_refused_in_a_sentence(options, sentence):
    from click.testing import CliRunner
    from smartwire.cli.proxy import up
    from smartwire.errors import UsageError

    done = CliRunner().invoke(up, options)
    assert isinstance(done.exception, UsageError)
    assert sentence in str(done.exception)
