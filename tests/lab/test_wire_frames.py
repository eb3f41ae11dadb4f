"""Every kind of frame crosses a running wire as it was, in both directions, on AF_XDP and AF_PACKET alike."""

from __future__ import annotations

import random
import socket
import struct
import time

import pytest
from smartwire.lab.middle import Wire
from smartwire.lab.net import Lab
from smartwire.lab.tap import INBOUND, read_one

from .handmade import FOUR, SIX, A, B, ip, socket_in, tcp, vlan

pytestmark = pytest.mark.root

PAYLOAD = bytes(range(256)) * 4


def kinds() -> dict[str, bytes]:
    """Frames without their addresses, by what they are."""
    rand = random.Random(7)
    found = {
        "ARP": b"\x08\x06" + struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + rand.randbytes(20),
        "LLDP": b"\x88\xcc" + rand.randbytes(60),
        "unknown EtherType": b"\x88\xb5" + rand.randbytes(300),
        "IEEE 802.3 length": b"\x00\x40" + rand.randbytes(64),
        "MPLS": b"\x88\x47" + struct.pack("!I", 100 << 12 | 0x140) + tcp(*FOUR, 16, PAYLOAD)[2:],
        "PPPoE session": b"\x88\x64"
        + struct.pack("!BBHHH", 0x11, 0, 9, 2 + 40 + 256, 0x21)
        + tcp(*FOUR, 16, PAYLOAD[:256])[2:],
        "IP options": ip(*FOUR, 6, rand.randbytes(40), options=b"\x94\x04\x00\x00"),
        "broken IPv4 header": b"\x08\x00\x45" + rand.randbytes(60),
        "broken TCP offset": ip(*FOUR, 6, struct.pack("!HHIIBBHHH", 1, 2, 3, 4, 0xF0, 16, 5, 6, 7)),
        "GTP-U": ip(
            *FOUR,
            17,
            struct.pack("!HHHH", 2152, 2152, 8 + 8 + 40, 0)
            + struct.pack("!BBHI", 0x30, 255, 40, 77)
            + tcp(*FOUR, 16, b"")[2:],
        ),
    }
    for name, pair, icmp in (("IPv4", FOUR, 1), ("IPv6", SIX, 58)):
        syn = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + rand.randbytes(8) + b"\x01\x03\x03\x07"
        found |= {
            f"{name} SYN": tcp(*pair, 2, b"", syn),
            f"{name} mid-stream data": tcp(*pair, 24, PAYLOAD),
            f"{name} wrong TCP checksum": tcp(*pair, 24, PAYLOAD, bad=True),
            f"{name} RST": tcp(*pair, 4, b""),
            f"{name} full size": tcp(*pair, 16, rand.randbytes(1460 if name == "IPv4" else 1440)),
            f"{name} UDP": ip(*pair, 17, struct.pack("!HHHH", 53, 53, 108, 0x1234) + rand.randbytes(100)),
            f"{name} ICMP": ip(*pair, icmp, b"\x08\x00" + rand.randbytes(30)),
            f"{name} GRE": ip(*pair, 47, rand.randbytes(90)),
        }
    found["IPv4 first fragment"] = ip(*FOUR, 6, PAYLOAD[:400], fragment=0x2000)
    found["IPv4 later fragment"] = ip(*FOUR, 6, PAYLOAD[:400], fragment=0x2032)
    found["IPv6 fragment"] = ip(*SIX, 44, struct.pack("!BBHI", 6, 0, 0x191, 99) + PAYLOAD[:400])
    for name in ("ARP", "IPv4 mid-stream data", "IPv6 mid-stream data", "IPv6 UDP"):
        found[f"VLAN {name}"] = vlan(0x8100, 0xA007, found[name])
        found[f"QinQ {name}"] = vlan(0x88A8, 0x2005, vlan(0x8100, 0x6007, found[name]))
    return found


def crossed(tx: socket.socket, rx: socket.socket, frames: list[bytes]) -> list[bytes]:
    """Sends frames on one socket; what of their sender comes in at the other, within reason."""
    src, got = frames[0][6:12], []
    for frame in frames:
        tx.send(frame)
    end = time.monotonic() + 5
    while len(got) < len(frames) and time.monotonic() < end:
        try:
            _, direction, frame = read_one(rx, 1 << 16)
        except TimeoutError:
            continue
        if direction == INBOUND and frame[6:12] == src:
            got.append(frame)
    return got


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--observe",)], ids=["one", "two workers", "observe"])
@pytest.mark.parametrize("io", ["xdp", "packet"])
def test_frames_of_every_kind_cross_unharmed_in_order_in_both_directions(io, options):
    wire = Wire("--io", io, *options)
    with Lab(emulated=False) as lab:
        wire.start(lab)
        try:
            phone, server = socket_in(lab, "phone"), socket_in(lab, "server")
            for tx, rx, macs in ((phone, server, B + A), (server, phone, A + B)):
                for name, rest in kinds().items():
                    frame = macs + rest
                    assert crossed(tx, rx, [frame, frame]) == [frame, frame], name
                burst = [macs + b"\x08\x00" + tcp(*FOUR, 16, n.to_bytes(2, "big") * 300)[2:] for n in range(500)]
                assert crossed(tx, rx, burst) == burst
            assert wire.counters()["ledger_faults"] == 0
        finally:
            wire.stop()


@pytest.mark.parametrize("io", ["xdp", "packet"])
def test_frames_are_counted_on_the_ports_that_they_crossed(io):
    wire = Wire("--io", io)
    with Lab(emulated=False) as lab:
        wire.start(lab)
        try:
            phone, server = socket_in(lab, "phone"), socket_in(lab, "server")
            frame = B + A + tcp(*FOUR, 24, PAYLOAD)
            assert len(crossed(phone, server, [frame] * 100)) == 100
            time.sleep(0.3)
            counters = wire.counters()
            assert counters["port0.rx_frames"] == counters["port1.tx_frames"] == 100
            assert counters["port0.rx_bytes"] == 100 * len(frame)
            assert counters["port0.rx_dropped"] == counters["port1.tx_dropped"] == 0
        finally:
            wire.stop()
