"""Frames that a TCP optimizer has no business with: made here, sent from one end of the lab, caught at the other."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys

from smartwire.lab.capture import beside_wire, capture
from smartwire.lab.net import Lab
from smartwire.pcapng import INBOUND, read

TCP, UDP, ICMP, ICMP6, FRAGMENT = 6, 17, 1, 58, 44


def mac(text: str) -> bytes:
    """Six bytes."""
    return bytes.fromhex(text.replace(":", ""))


def ethernet(kind: int, payload: bytes, to: str = "02:00:00:00:09:09") -> bytes:
    """A frame to somebody who is not there, so that no kernel answers it."""
    return mac(to) + mac("02:00:00:00:09:01") + struct.pack("!H", kind) + payload


def ipv4(protocol: int, payload: bytes, fragment: int = 0, options: bytes = b"", ttl: int = 61) -> bytes:
    """An IPv4 packet with a right header checksum; ``fragment`` is the whole field, flags included."""
    length = 20 + len(options)
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | length // 4, 0x28, length + len(payload), 4711, fragment, ttl, protocol,
                       0, socket.inet_aton("10.7.0.1"), socket.inet_aton("10.7.0.2")) + options  # fmt: skip
    total = sum(struct.unpack(f"!{length // 2}H", head))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack("!H", ~total & 0xFFFF) + head[12:] + payload


def ipv6(following: int, payload: bytes, hops: int = 61) -> bytes:
    """An IPv6 packet with a flow label."""
    ends = socket.inet_pton(socket.AF_INET6, "2001:db8:7::1") + socket.inet_pton(socket.AF_INET6, "2001:db8:7::2")
    return struct.pack("!IHBB", 6 << 28 | 0x5 << 20 | 0xABCDE, len(payload), following, hops) + ends + payload


def tcp(flags: int = 16, data: bytes = b"data", offset: int = 5) -> bytes:
    """A TCP segment with a wrong checksum."""
    return struct.pack("!HHIIBBHHH", 40000, 8080, 1000, 2000, offset << 4, flags, 1000, 0xBEEF, 0) + data


def udp(port: int, data: bytes) -> bytes:
    """A UDP datagram without a checksum."""
    return struct.pack("!HHHH", 40000, port, 8 + len(data), 0) + data


FOREIGN: dict[str, bytes] = {
    "ARP request": ethernet(0x0806, struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + bytes(20) + bytes(18), "ff" * 6),
    "LLDP": ethernet(0x88CC, bytes.fromhex("0207040200000009010403313233060200780000"), "01:80:c2:00:00:0e"),
    "spanning tree": ethernet(38, b"\x42\x42\x03" + bytes(35), "01:80:c2:00:00:00"),
    "slow protocols (LACP)": ethernet(0x8809, b"\x01\x01" + bytes(108), "01:80:c2:00:00:02"),
    "CFM": ethernet(0x8902, b"\x60\x01\x00\x46" + bytes(70), "01:80:c2:00:00:35"),
    "PTP": ethernet(0x88F7, b"\x00\x02\x00\x2c" + bytes(40), "01:1b:19:00:00:00"),
    "OSPF": ethernet(0x0800, ipv4(89, b"\x02\x01\x00\x2c" + bytes(40), ttl=1), "01:00:5e:00:00:05"),
    "unknown EtherType": ethernet(0x88B5, b"nobody knows what this is" * 4),
    "VLAN, ICMP": ethernet(0x8100, struct.pack("!HH", 0x6064, 0x0800) + ipv4(ICMP, b"\x08\x00" + bytes(62))),
    "VLAN, UDP over IPv6": ethernet(0x8100, struct.pack("!HH", 0x0065, 0x86DD) + ipv6(UDP, udp(9, b"x" * 50))),
    "ICMP echo": ethernet(0x0800, ipv4(ICMP, b"\x08\x00\x12\x34" + bytes(60))),
    "neighbour solicitation": ethernet(0x86DD, ipv6(ICMP6, b"\x87\x00\x12\x34" + bytes(28), 255), "33:33:ff:00:00:02"),
    "ICMPv6 packet too big": ethernet(0x86DD, ipv6(ICMP6, b"\x02\x00\x12\x34" + struct.pack("!I", 1280) + bytes(48))),
    "BFD": ethernet(0x0800, ipv4(UDP, udp(3784, bytes(24)), ttl=255)),
    "QUIC": ethernet(0x0800, ipv4(UDP, udp(443, bytes(range(256)) * 4))),
    "UDP over IPv6": ethernet(0x86DD, ipv6(UDP, udp(443, b"y" * 900))),
    "SCTP": ethernet(0x0800, ipv4(132, bytes(64))),
    "IPv4 with options": ethernet(0x0800, ipv4(UDP, udp(9, b"z" * 40), options=b"\x94\x04\x00\x00")),
    "first fragment of TCP": ethernet(0x0800, ipv4(TCP, tcp() + bytes(100), fragment=0x2000)),
    "later fragment of TCP": ethernet(0x0800, ipv4(TCP, bytes(124), fragment=3)),
    "fragment of TCP over IPv6": ethernet(0x86DD, ipv6(FRAGMENT, struct.pack("!BBHI", TCP, 0, 1, 77) + tcp())),
    "TCP in mid-stream, wrong checksum": ethernet(0x0800, ipv4(TCP, tcp())),
    "TCP over IPv6 in mid-stream": ethernet(0x86DD, ipv6(TCP, tcp())),
    "TCP with an impossible header length": ethernet(0x0800, ipv4(TCP, tcp(offset=2))),
    "TCP header cut short": ethernet(0x0800, ipv4(TCP, tcp()[:9])),
    "TCP with all flags": ethernet(0x0800, ipv4(TCP, tcp(flags=255))),
    "TCP with no flags": ethernet(0x86DD, ipv6(TCP, tcp(flags=0))),
    "IPv4 that says it is longer": ethernet(0x0800, ipv4(UDP, udp(9, bytes(30)))[:-10]),
    "IPv4 with a trailer": ethernet(0x0800, ipv4(UDP, udp(9, bytes(30))) + b"trailer"),
    "IP version 5": ethernet(0x0800, b"\x55" + bytes(50)),
    "PPPoE, LCP": ethernet(0x8864, b"\x11\x00\x00\x01\x00\x06\xc0\x21\x09\x01\x00\x08" + bytes(30)),
    "MPLS, IPv4": ethernet(0x8847, struct.pack("!I", 0x000641FF) + ipv4(UDP, udp(9, bytes(30)))),
    "full-sized UDP": ethernet(0x0800, ipv4(UDP, udp(443, bytes(1472)))),
}
"""By name; all within an MTU of 1,500 bytes."""

SENDER = """
import json, socket, sys, time
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
sock.bind((sys.argv[1], 0))
for frame in json.load(sys.stdin):
    sock.send(bytes.fromhex(frame))
    time.sleep(0.005)
"""


def send_and_catch(lab: Lab, here: str, there: str) -> dict[str, int]:
    """How often each of :data:`FOREIGN` arrived, bit by bit as it was sent from ``here``, at ``there``."""
    side = "access" if there == "phone" else "core"
    with capture(lab, {side: beside_wire(lab)[side]}, snaplen=65_535) as made:
        sender = lab.popen(here, sys.executable, "-c", SENDER, "eth0", stdin=subprocess.PIPE, text=True)
        sender.communicate(json.dumps([frame.hex() for frame in FOREIGN.values()]))
    arrived = [packet.frame for packet in read(made.files[side]) if packet.direction == INBOUND]
    return {name: arrived.count(frame) for name, frame in FOREIGN.items()}

