"""A flow's time-sequence graph, from a capture: what arrived, what left, what was told, what was acknowledged."""

from __future__ import annotations

import contextlib
import random

import pytest
from smartwire.pcapng import INBOUND, OUTBOUND, Writer
from smartwire.web.sequence import MOST, graph

from .fakebox import segment, write_capture

FLOW = {"access_addr": "100.64.3.10", "access_port": 40000, "core_addr": "203.0.113.5", "core_port": 443}
FLOW6 = {"access_addr": "2001:db8:7::2", "access_port": 40000, "core_addr": "2001:db8:ff::1", "core_port": 443}


@pytest.mark.parametrize("flow", [FLOW, FLOW6])
def test_it_tells_what_arrived_from_what_was_sent_again(tmp_path, flow):
    write_capture(tmp_path / "c", flow)
    found = graph(tmp_path / "c", flow)
    assert found.down
    assert found.payload == 900 * 1448
    assert [len(found.arrived), len(found.sent), len(found.again)] == [900, 900, 6]
    assert found.told[-1][1] == found.arrived[-1][1]
    assert found.acked[-1][1] == 900 * 1448
    assert found.custody >= 10 * 1448


def test_what_was_in_custody_before_the_capture_is_not_taken_for_sent_again(tmp_path):
    writer = Writer(tmp_path / "c", ["eth1", "eth2"])
    access, core = (FLOW["access_addr"], FLOW["access_port"]), (FLOW["core_addr"], FLOW["core_port"])
    far, near = 2_000_000, 1_000_000
    for n in range(100):  # a megabyte lies between what comes in and what leaves
        for port, way, src, dst, seq, ack, payload in (
            (1, INBOUND, core, access, far + 1000 * n, 1, 1000),
            (1, OUTBOUND, access, core, 1, far + 1000 * (n + 1), 0),
            (0, OUTBOUND, core, access, near + 1000 * n, 1, 1000),
            (0, INBOUND, access, core, 1, near + 1000 * n, 0),
        ):
            frame, length = segment(src, dst, seq, ack, payload)
            writer.packet(port, 1_000_000 * n, frame, way, length)
    writer.close()
    found = graph(tmp_path / "c", FLOW)
    assert (len(found.sent), len(found.again)) == (100, 0)
    assert found.custody == 1_002_000
    assert min(offset for _, offset in found.acked) == 0


def test_another_connection_is_not_in_it(tmp_path):
    write_capture(tmp_path / "c", FLOW)
    assert graph(tmp_path / "c", FLOW | {"access_port": 40001}).empty


def test_sequence_numbers_may_wrap(tmp_path, monkeypatch):
    from . import fakebox

    whole = fakebox.segment

    def late(src, dst, seq, ack, payload):
        near = 2**32 - 500_000
        return whole(src, dst, (seq + near) % 2**32, (ack + near) % 2**32, payload)

    monkeypatch.setattr(fakebox, "segment", late)
    write_capture(tmp_path / "c", FLOW)
    found = graph(tmp_path / "c", FLOW)
    assert max(at for _, at in found.arrived) - min(at for _, at in found.arrived) == 899 * 1448


def test_a_long_capture_is_thinned_and_a_damaged_one_does_no_harm(tmp_path):
    from smartwire.errors import Error
    from smartwire.web.sequence import thinned

    assert len(thinned([(0.0, 0)] * 100_000)) <= MOST
    write_capture(tmp_path / "c", FLOW)
    whole = (tmp_path / "c").read_bytes()
    rng = random.Random(5)
    for _ in range(60):
        damaged = bytearray(whole[: rng.randrange(20_000)])
        for _ in range(rng.randrange(30)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "d").write_bytes(damaged)
        with contextlib.suppress(Error):  # one sentence; whatever else comes is a fault
            graph(tmp_path / "d", FLOW)
