"""What the proxy costs frames that are not its own: processor time per frame at a port, with few rules and with many.

A process sends frames through the box (AF_PACKET, no queueing discipline) as fast as it can. On virtual links all that
happens to a frame, up to where the next router drops it, happens in the sender's own time: that time per frame is the
figure, and what a copper wire without a proxy takes is what it is compared with. Cases take turns.
"""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import time
from pathlib import Path
from typing import Any

from smartwire.lab.figures import median
from smartwire.lab.routed import Routed
from smartwire.proxy.bench import against

SIZES = (78, 256, 800, 900, 1500)
"""Bytes of an IP packet, as in the paper."""
RULES = (1, 1000, 1 << 17)
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
FRAMES = 2000


def segment(macs: bytes, size: int) -> bytes:
    """A frame of a TCP connection that nobody knows, of `size` bytes of IP."""
    tcp = struct.pack("!HHIIBBHHH", 1024, 81, 1, 1, 0x50, 0x10, 1000, 0, 0)
    addresses = socket.inet_aton("10.1.0.2") + socket.inet_aton("10.2.0.2")
    ip = struct.pack("!BBHHHBBH", 0x45, 0, size, 1, 0x4000, 64, socket.IPPROTO_TCP, 0) + addresses
    return macs + b"\x08\x00" + ip + tcp + bytes(size - len(ip) - len(tcp))


def rule_file(path: Path, prefixes: int, seed: int) -> Path:
    """Rules of which none meets the frames: so many prefixes."""
    chance = random.Random(seed)
    names = {f"{chance.randrange(11, 224)}.{n >> 8 & 255}.{n & 255}.{n >> 16 << 5}/27" for n in range(prefixes)}
    (path / f"{prefixes}.txt").write_text("\n".join(names))
    rules = path / f"{prefixes}.toml"
    rules.write_text(
        f'[[rule]]\naction = "proxy"\nport = 80\ncore-list = "many"\n[prefix-list]\nmany = "{prefixes}.txt"\n'
    )
    return rules


def sender(lab: Routed) -> tuple[socket.socket, bytes]:
    """A socket on the access router's side, and the MAC addresses of its frames."""
    raw = lab.socket("router1", socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    raw.bind(("out", 0))
    return raw, lab.mac("router2", "out") + lab.mac("router1", "out")


def burst(raw: socket.socket, frame: bytes) -> float:
    """Processor time per frame, ns."""
    began = time.thread_time_ns()
    for _ in range(FRAMES):
        raw.send(frame)
    return (time.thread_time_ns() - began) / FRAMES


def frame_cost(rounds: int, seed: int, directory: Path) -> list[dict[str, Any]]:
    """For each size: ns per frame on the bare copper wire, and beside it with a proxy of so many prefixes."""
    with contextlib.ExitStack() as stack:
        labs: list[tuple[int, socket.socket, bytes]] = []
        for prefixes in (0, *RULES):
            lab = stack.enter_context(Routed())
            lab.proxy("up", *(["--rules", str(rule_file(directory, prefixes, seed))] if prefixes else []))
            if not prefixes:
                lab.proxy("down")
            labs.append((prefixes, *sender(lab)))
        times: dict[tuple[int, int], list[float]] = {}
        for _ in range(rounds):
            for size in SIZES:
                for prefixes, raw, macs in labs:
                    times.setdefault((size, prefixes), []).append(burst(raw, segment(macs, size)))
    return [
        {
            "bytes": size,
            "prefixes": prefixes,
            "ns": median(times[size, prefixes]),
            "copper_ns": median(times[size, 0]),
            "frames_per_second": 1e9 / median(times[size, prefixes]),
            "rate_to_copper": against(times[size, 0], times[size, prefixes]),
        }
        for size in SIZES
        for prefixes in RULES
    ]
