"""Captures what passes an interface, both ways: ``python -m smartwire.lab.tap IFNAME FILE SNAPLEN`` inside a host.

Prints ``{"ready": true}``; on SIGTERM writes the rest and prints ``{"packets": n, "dropped": n}``. Tags that the
kernel strips are put back, so a frame in the file is what was on the wire.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import sys
from pathlib import Path

from smartwire.pcapng import INBOUND, OUTBOUND, Writer

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
PACKET_OUTGOING = 4
TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID = 1 << 4, 1 << 6
AUXDATA = struct.Struct("IIIHHHH")
BUFFER_BYTES = 64 << 20


def open_tap(ifname: str) -> socket.socket:
    """A packet socket that sees every frame of an interface in both directions, with times and tags."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    sock.bind((ifname, ETH_P_ALL))
    sock.settimeout(0.05)
    return sock


def read_one(sock: socket.socket, snaplen: int) -> tuple[int, int, bytes]:
    """(unix ns, direction, frame) of the next frame; raises TimeoutError when none comes."""
    frame, extra, _, address = sock.recvmsg(snaplen, 256)
    unix_ns = 0
    for level, kind, data in extra:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, ns = struct.unpack("qq", data[:16])
            unix_ns = seconds * 1_000_000_000 + ns
        elif level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = AUXDATA.unpack(data[: AUXDATA.size])
            if status & TP_STATUS_VLAN_VALID:
                tpid = tpid if status & TP_STATUS_VLAN_TPID_VALID else 0x8100
                frame = frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return unix_ns, OUTBOUND if address[2] == PACKET_OUTGOING else INBOUND, frame


def main() -> None:
    """Captures until SIGTERM."""
    ifname, path, snaplen = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    sock, writer, leave = open_tap(ifname), Writer(path, [ifname]), []
    signal.signal(signal.SIGTERM, lambda *_: leave.append(True))
    print(json.dumps({"ready": True}), flush=True)
    while True:
        try:
            unix_ns, direction, frame = read_one(sock, snaplen)
        except TimeoutError:
            if leave:
                break
            continue
        writer.packet(0, unix_ns, frame, direction)
    _, dropped = struct.unpack("II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    writer.close()
    print(json.dumps({"packets": writer.packets, "dropped": dropped}), flush=True)


if __name__ == "__main__":
    main()
