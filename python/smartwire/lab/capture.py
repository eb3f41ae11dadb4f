"""Captures on both sides of the wire, or anywhere else in the lab, while something runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from smartwire.errors import Error
from smartwire.lab.net import Lab
from smartwire.lab.process import Process

HEADERS = 128
"""Enough of each frame for all headers, bytes."""


class Capture:
    """Files by place; complete once the block that captured is over, gone with this object."""

    def __init__(self, folder: tempfile.TemporaryDirectory, places: list[str]) -> None:
        self.folder = folder
        self.files = {place: Path(folder.name) / f"{place}.pcapng" for place in places}


@contextlib.contextmanager
def capture(lab: Lab, places: dict[str, tuple[str, str]], snaplen: int = HEADERS) -> Iterator[Capture]:
    """Captures at ``places``, each a (host, interface), until the block ends.

    Raises:
        Error: the kernel dropped frames, so the capture is not complete.
    """
    folder = tempfile.TemporaryDirectory(prefix="smartwire-lab-")
    made = Capture(folder, list(places))
    taps: dict[str, Process] = {}
    try:
        for place, (host, ifname) in places.items():
            arguments = (ifname, str(made.files[place]), str(snaplen))
            taps[place] = Process(lab, host, "smartwire.lab.tap", *arguments)
        for tap in taps.values():
            tap.ready()
        yield made
        for place, tap in taps.items():
            said = tap.stop()
            if not said or said[-1]["dropped"]:
                raise Error(f"The capture at {place} is not complete: {said or tap.last_words()}.")
    finally:
        for tap in taps.values():
            tap.kill()


def beside_wire(lab: Lab) -> dict[str, tuple[str, str]]:
    """The places next to the wire's two ports, at its neighbours."""
    if lab.emulated:
        return {"access": ("radio", "radio0"), "core": ("internet", "net0")}
    return {"access": ("phone", "eth0"), "core": ("server", "eth0")}
