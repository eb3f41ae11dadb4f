"""Capture files survive writing and reading, and foreign tools read them."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest
from smartwire import Error
from smartwire.errors import NotThere
from smartwire.pcapng import INBOUND, OUTBOUND, Packet, Writer, read

FRAME = bytes(range(14)) + b"x" * 47


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "c.pcapng"
    writer = Writer(path, ["eth1", "eth2"])
    when = 1_790_000_000_123_456_789
    writer.packet(0, when, FRAME, INBOUND)
    writer.packet(1, when + 1, FRAME[:20], OUTBOUND, length=1514)
    writer.packet(1, when + 2, b"")
    writer.close()
    assert list(read(path)) == [
        Packet(when, 0, INBOUND, FRAME, len(FRAME)),
        Packet(when + 1, 1, OUTBOUND, FRAME[:20], 1514),
        Packet(when + 2, 1, 0, b"", 0),
    ]


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
def test_tcpdump_reads_what_is_written(tmp_path):
    path = tmp_path / "c.pcapng"
    writer = Writer(path, ["eth1"])
    writer.packet(0, 10**18, bytes(12) + b"\x88\xb5" + bytes(46))
    writer.close()
    done = subprocess.run(["tcpdump", "-nr", str(path)], capture_output=True, text=True, check=False)
    assert "0x88b5" in done.stdout


@pytest.mark.parametrize(("order", "magic", "fraction", "ns"), [
    ("<", 0xA1B2C3D4, 5, 5000), (">", 0xA1B2C3D4, 5, 5000), ("<", 0xA1B23C4D, 5, 5),
])  # fmt: skip
def test_pcap_of_either_byte_order_and_resolution_is_read(tmp_path, order, magic, fraction, ns):
    path = tmp_path / "c.pcap"
    head = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(head + struct.pack(order + "IIII", 7, fraction, len(FRAME), 99) + FRAME)
    assert list(read(path)) == [Packet(7 * 10**9 + ns, 0, 0, FRAME, 99)]


def test_raw_ip_gets_an_ethernet_header(tmp_path):
    path = tmp_path / "c.pcap"
    packet = b"\x60" + bytes(39)
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    path.write_bytes(head + struct.pack("<IIII", 0, 0, 40, 40) + packet)
    (found,) = read(path)
    assert found.frame == bytes(12) + b"\x86\xdd" + packet


def test_what_is_no_capture_is_refused_with_a_sentence(tmp_path):
    with pytest.raises(NotThere, match="There is no file"):
        list(read(tmp_path / "none"))
    path = tmp_path / "text"
    for content in (b"", b"hello, world", struct.pack("<II", 0x0A0D0D0A, 4)):
        path.write_bytes(content)
        with pytest.raises(Error, match=r"neither pcap|damaged"):
            list(read(path))
    path.write_bytes(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 127))
    with pytest.raises(Error, match="link type 127"):
        list(read(path))
