"""Capture files: writes pcapng, reads pcapng and pcap.

Formats: draft-ietf-opsawg-pcapng and draft-ietf-opsawg-pcap. Only what a capture of Ethernet or raw IP needs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from smartwire.errors import Error, NotThere

SECTION, INTERFACE, SIMPLE, ENHANCED = 0x0A0D0D0A, 1, 3, 6
BYTE_ORDER = 0x1A2B3C4D
ETHERNET, RAW_IP, RAW_IPV4, RAW_IPV6, SLL = 1, 101, 228, 229, 113
OPT_END, IF_NAME, IF_TSRESOL, IF_TSOFFSET, EPB_FLAGS = 0, 2, 9, 14, 2
INBOUND, OUTBOUND = 1, 2
PCAP_MAGICS = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
"""Magic number of a pcap file and the ns per unit of its fractions."""
LONGEST_BLOCK = 1 << 26


@dataclass(frozen=True)
class Packet:
    """One captured frame.

    Attributes:
        unix_ns: when, ns since 1970.
        interface: number of the interface within the file.
        direction: INBOUND, OUTBOUND or 0 where the file does not say.
        frame: from the Ethernet destination on; cut if the capture was.
        length: bytes on the wire.
    """

    unix_ns: int
    interface: int
    direction: int
    frame: bytes
    length: int


class Writer:
    """Writes a pcapng file with nanosecond timestamps.

    Args:
        path: where; an existing file is replaced.
        interfaces: their names; packets refer to them by index.
    """

    def __init__(self, path: Path, interfaces: list[str]) -> None:
        try:
            self.file: BinaryIO = path.open("wb")
        except OSError as e:
            raise Error(f"{path} cannot be written: {e.strerror}.") from None
        self.packets = 0
        self.block(SECTION, struct.pack("<IHHq", BYTE_ORDER, 1, 0, -1))
        for name in interfaces:
            options = option(IF_NAME, name.encode()) + option(IF_TSRESOL, b"\x09") + struct.pack("<HH", OPT_END, 0)
            self.block(INTERFACE, struct.pack("<HHI", ETHERNET, 0, 0) + options)

    def block(self, kind: int, body: bytes) -> None:
        """Writes a block with its length before and after."""
        body += bytes(-len(body) % 4)
        length = struct.pack("<I", len(body) + 12)
        self.file.write(struct.pack("<I", kind) + length + body + length)

    def packet(self, interface: int, unix_ns: int, frame: bytes, direction: int = 0, length: int | None = None) -> None:
        """Appends a frame."""
        head = struct.pack("<IIIII", interface, unix_ns >> 32, unix_ns & 0xFFFFFFFF, len(frame), length or len(frame))
        options = option(EPB_FLAGS, struct.pack("<I", direction)) + struct.pack("<HH", OPT_END, 0) if direction else b""
        self.block(ENHANCED, head + frame + bytes(-len(frame) % 4) + options)
        self.packets += 1

    def close(self) -> None:
        """Writes everything out."""
        self.file.close()


def option(code: int, value: bytes) -> bytes:
    """An option, padded to 32 bits."""
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def options(body: bytes, order: str) -> dict[int, bytes]:
    """The options at the end of a block."""
    found, at = {}, 0
    while at + 4 <= len(body):
        code, length = struct.unpack_from(order + "HH", body, at)
        if code == OPT_END:
            break
        found[code] = body[at + 4 : at + 4 + length]
        at += 4 + length + (-length % 4)
    return found


def read(path: Path) -> Iterator[Packet]:
    """Frames of a pcap or pcapng file, in the order of the file; raw IP gets an Ethernet header of zeros.

    Raises:
        NotThere: there is no such file.
        Error: it is no capture, or of a link type that is neither Ethernet nor raw IP.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise NotThere(f"There is no file {path}.") from None
    except OSError as e:
        raise Error(f"{path} cannot be read: {e.strerror}.") from None
    with file:
        try:
            yield from _read(file, path)
        except (struct.error, IndexError):
            raise Error(f"{path} is damaged: a block ends before its content does.") from None


def _read(file: BinaryIO, path: Path) -> Iterator[Packet]:
    """Frames of either format."""
    magic = file.read(4)
    file.seek(0)
    for order in "<>":
        if len(magic) == 4 and struct.unpack(order + "I", magic)[0] in PCAP_MAGICS:
            yield from read_pcap(file, order, path)
            return
    if magic != struct.pack("<I", SECTION):
        raise Error(f"{path} is neither pcap nor pcapng: tcpdump -w and `smartwire capture` write such files.")
    yield from read_pcapng(file, path)


def read_pcap(file: BinaryIO, order: str, path: Path) -> Iterator[Packet]:
    """Frames of a classic pcap file."""
    magic, _, _, _, _, _, link = struct.unpack(order + "IHHiIII", file.read(24).ljust(24, b"\0"))
    unit = PCAP_MAGICS[magic]
    check_link(link & 0xFFFF, path)
    while len(head := file.read(16)) == 16:
        seconds, fraction, kept, length = struct.unpack(order + "IIII", head)
        if kept > LONGEST_BLOCK:
            raise Error(f"{path} is damaged: it claims a packet of {kept} bytes.")
        frame = file.read(kept)
        yield Packet(seconds * 10**9 + fraction * unit, 0, 0, ethernet(frame, link & 0xFFFF), length)


def read_pcapng(file: BinaryIO, path: Path) -> Iterator[Packet]:
    """Frames of a pcapng file."""
    order, links = "<", []
    while len(head := file.read(8)) == 8:
        if struct.unpack("<I", head[:4])[0] == SECTION:
            mark = file.read(4)
            if sorted(mark) != sorted(struct.pack("<I", BYTE_ORDER)):
                raise Error(f"{path} is damaged: a section has no byte order.")
            order = "<" if mark == struct.pack("<I", BYTE_ORDER) else ">"
            file.seek(-len(mark), 1)
            links = []
        kind, length = struct.unpack(order + "II", head)
        if not 12 <= length <= LONGEST_BLOCK:
            raise Error(f"{path} is damaged: it claims a block of {length} bytes.")
        body = file.read(length - 8)[:-4]
        if kind == INTERFACE:
            link = struct.unpack_from(order + "H", body)[0]
            check_link(link, path)
            found = options(body[8:], order)
            (offset,) = struct.unpack(order + "q", found[IF_TSOFFSET]) if IF_TSOFFSET in found else (0,)
            links.append((link, found.get(IF_TSRESOL, b"\x06")[0], offset))
        elif kind == ENHANCED and len(body) >= 20:
            interface, high, low, kept, wire = struct.unpack_from(order + "IIIII", body)
            if interface >= len(links):
                raise Error(f"{path} is damaged: a packet names interface {interface}, which it does not describe.")
            link, resolution, offset = links[interface]
            found = options(body[20 + kept + (-kept % 4) :], order)
            flags = struct.unpack(order + "I", found[EPB_FLAGS])[0] & 3 if EPB_FLAGS in found else 0
            when = to_ns(high << 32 | low, resolution) + offset * 10**9
            yield Packet(when, interface, flags, ethernet(body[20 : 20 + kept], link), wire)


def to_ns(units: int, resolution: int) -> int:
    """A timestamp of an interface's resolution (if_tsresol) in ns."""
    if resolution & 0x80:
        return (units * 10**9) >> (resolution & 0x7F)
    return units * 10 ** (9 - resolution) if resolution <= 9 else units // 10 ** (resolution - 9)


def check_link(link: int, path: Path) -> None:
    """Raises a sentence unless frames of this link type can be read."""
    if link not in (ETHERNET, RAW_IP, RAW_IPV4, RAW_IPV6, SLL):
        raise Error(f"{path} has link type {link}: capture on an Ethernet interface.")


def ethernet(frame: bytes, link: int) -> bytes:
    """The frame with an Ethernet header, one of zeros where it had another or none."""
    if link == ETHERNET:
        return frame
    if link == SLL:
        return bytes(12) + frame[14:]
    kind = b"\x86\xdd" if frame[:1] and frame[0] >> 4 == 6 else b"\x08\x00"
    return bytes(12) + kind + frame
