"""A flow's time-sequence graph, from a capture: what arrived, what left, what was told, what was acknowledged."""

from __future__ import annotations

import contextlib
import random

import pytest
from smartwire.web.sequence import MOST, graph

from .fakebox import write_capture

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
