"""The radio emulator's log: every packet that reached the radio (crates/sim/src/emulator/record.rs has the format)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from smartwire.errors import Error

HEADER = struct.Struct("<8sQ")
RECORD = struct.Struct("<QQIIIIIIQBBBBI")
DOWN, UP = 0, 1
CROSSED, QUEUE_FULL, POLICED = 0, 1, 2


@dataclass(frozen=True)
class Leg:
    """One direction of the radio, all subscribers together.

    Attributes:
        packets: that reached it.
        dropped: of these, packets that its queue or policer dropped.
        lost: of these, packets lost on the air.
        payload: TCP payload bytes that crossed.
        again: of these, bytes that had crossed before, whoever sent them.
        waits_ms: of each packet that crossed, the wait behind others: its time in the queue less what it would have had
            in an empty one.
    """

    packets: int
    dropped: int
    lost: int
    payload: int
    again: int
    waits_ms: list[float]

    @property
    def again_share(self) -> float:
        """Share of the crossing payload that had crossed before."""
        return self.again / self.payload if self.payload else 0.0

    @property
    def loss_share(self) -> float:
        """Share of packets dropped or lost."""
        return (self.dropped + self.lost) / self.packets if self.packets else 0.0


class RadioLog:
    """A log, read into memory: the emulator's next run writes over the file.

    Args:
        path: the file.
        epoch: of the plan, CLOCK_MONOTONIC, seconds.
    """

    def __init__(self, path: Path, epoch: float) -> None:
        self.epoch_ns = int(epoch * 1e9)
        data = path.read_bytes()
        magic, size = HEADER.unpack_from(data)
        if magic != b"SWLOG\0\0\x01" or size != RECORD.size:
            raise Error(f"{path} is no radio log of this version.")
        whole = (len(data) - HEADER.size) // size * size
        self.data = memoryview(data)[HEADER.size : HEADER.size + whole]

    def leg(self, direction: int, stop: float = float("inf")) -> Leg:
        """Sums of one direction (DOWN or UP) over the packets that came before ``stop``, seconds since the epoch.

        What comes later is the rest of connections that were given up, and of no interest to anybody.
        """
        last_ns = self.epoch_ns + stop * 1e9
        packets = dropped = lost = payload = again = 0
        waits = []
        for enqueued, left, empty_us, _, _, _, bytes_, twice, _, d, fate, tcp, *_ in RECORD.iter_unpack(self.data):
            if d != direction or enqueued > last_ns:
                continue
            packets += 1
            if fate == CROSSED:
                payload, again = payload + tcp * bytes_, again + twice
                waits.append((left - enqueued) / 1e6 - empty_us / 1e3)
            elif fate in (QUEUE_FULL, POLICED):
                dropped += 1
            else:
                lost += 1
        return Leg(packets, dropped, lost, payload, again, waits)
