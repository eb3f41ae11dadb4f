"""The comparison of captures sees every field that a box in the middle could spoil."""

from __future__ import annotations

from dataclasses import replace

import pytest
from smartwire.lab.foreign import FOREIGN
from smartwire.lab.frames import ACK, PSH, SYN, parse
from smartwire.lab.measure.transparency import differences

TIMESTAMPS = b"\x01\x01\x08\x0a" + bytes(8)
HANDSHAKE = b"\x02\x04\x05\xb4\x04\x02\x08\x0a" + bytes(8) + b"\x01\x03\x03\x07"


def segments():
    """What the phone sent and what the server saw of it: a SYN, data, a pure ACK."""
    base = parse(FOREIGN["TCP in mid-stream, wrong checksum"], 0, True)
    sent = [
        replace(base, flags=SYN, seq=99, ack=0, payload=0, options=HANDSHAKE),
        replace(base, flags=ACK | PSH, seq=100, payload=1000, options=TIMESTAMPS, ip_id=5),
        replace(base, flags=ACK, seq=1100, payload=0, options=TIMESTAMPS, ip_id=6),
    ]
    return sent, [replace(s, outbound=False) for s in sent]


def test_untouched_segments_show_no_difference_even_if_ack_and_window_changed():
    sent, seen = segments()
    seen[1] = replace(seen[1], ack=12345, window=1)
    assert not differences(sent, seen)
    assert not differences(seen, sent), "the other direction as well"


@pytest.mark.parametrize(("which", "changes"), [
    (1, {"ttl": 60}), (1, {"tos": 0}), (1, {"ip_id": 9}), (1, {"flow_label": 1}), (1, {"ethernet": b"x" * 14}),
    (1, {"options": b""}), (0, {"options": HANDSHAKE[:4]}), (0, {"window": 7}), (0, {"flags": SYN | 0x40}),
    (2, {"ttl": 64}), (2, {"ethernet": b"x" * 14}), (2, {"options": b""}), (2, {"ip_id": 0}), (2, {"tos": 4}),
])  # fmt: skip
def test_a_changed_field_is_seen(which, changes):
    sent, seen = segments()
    seen[which] = replace(seen[which], **changes)
    assert sum(differences(sent, seen).values()) >= 1


def test_a_lost_or_resegmented_segment_is_seen():
    sent, seen = segments()
    assert differences(sent, [seen[0], seen[2]])
    halves = [replace(seen[1], payload=500), replace(seen[1], seq=600, payload=500)]
    assert differences(sent, [seen[0], *halves, seen[2]])


def test_repeated_data_and_swallowed_acks_are_the_wires_business():
    sent, seen = segments()
    assert not differences(sent, [seen[0], seen[1], seen[1]])


def test_foreign_frames_fit_the_mtu_and_none_is_like_another():
    assert len(set(FOREIGN.values())) == len(FOREIGN)
    assert all(len(frame) <= 1514 for frame in FOREIGN.values())
