"""The lab's access links: built-in profiles, mahimahi trace files, or a constant rate."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from smartwire import _native
from smartwire.errors import Error, NotThere

QUEUE_BYTES = 2_000_000
RADIO_MS, INTERNET_MS = 50.0, 30.0
"""Round trips of the standard lab: 80 ms together."""


def internet(rtt_ms: float = INTERNET_MS) -> dict[str, Any]:
    """An internet leg without limits but for its delay, one direction."""
    return {"delay_ms": rtt_ms / 2}


@dataclass(frozen=True)
class Radio:
    """The links on either side of the middle, as crates/sim's LinkSpec reads them (times in ms).

    Attributes:
        name: what it is called in tables.
        down, up: the radio, towards and from the phone.
        core_down, core_up: the internet leg.
    """

    name: str
    down: dict[str, Any]
    up: dict[str, Any]
    core_down: dict[str, Any] = field(default_factory=internet)
    core_up: dict[str, Any] = field(default_factory=internet)

    def but(self, **changes: Any) -> Radio:
        """The same with changes to both directions of the radio."""
        return self.but_down(**changes).but_up(**changes)

    def but_down(self, **changes: Any) -> Radio:
        """The same with changes to the direction towards the phone."""
        return replace(self, down=self.down | changes)

    def but_up(self, **changes: Any) -> Radio:
        """The same with changes to the direction from the phone."""
        return replace(self, up=self.up | changes)

    def with_internet(self, rtt_ms: float) -> Radio:
        """The same with another internet round trip, ms."""
        return replace(self, core_down=internet(rtt_ms), core_up=internet(rtt_ms))


def constant(mbps: float, up_mbps: float | None = None, rtt_ms: float = RADIO_MS,
             queue_bytes: int = QUEUE_BYTES) -> Radio:  # fmt: skip
    """A radio of constant rate."""
    common = {"queue_bytes": queue_bytes, "delay_ms": rtt_ms / 2}
    down = {"rate": {"mbps": mbps}} | common
    return Radio(f"{mbps:g} Mbit/s", down, down | {"rate": {"mbps": up_mbps or mbps}})


def profile(name: str, seed: int = 1) -> Radio:
    """A built-in profile (crates/sim/src/profiles.rs)."""
    found = json.loads(_native.profile(name, seed))
    return Radio(name, found["down"], found["up"])


def trace(down: Path, up: Path | None = None, offset_s: float = 0.0) -> Radio:
    """A mahimahi trace, with the file of the same name that ends in .up beside it for the other direction."""
    up = up or down.with_suffix(".up")
    for file in (down, up):
        if not file.is_file():
            raise NotThere(f"There is no trace file {file}: a link needs NAME.down and NAME.up (mahimahi's format).")

    def direction(file: Path) -> dict[str, Any]:
        rate = {"trace": {"file": str(file.resolve()), "offset_ms": offset_s * 1e3}}
        return {"rate": rate, "queue_bytes": QUEUE_BYTES, "delay_ms": RADIO_MS / 2}

    return Radio(down.stem, direction(down), direction(up))


def described(file: Path) -> Radio:
    """A link of one's own, with everything that the emulator can do: ``{"down": LinkSpec, "up": LinkSpec}``, and
    ``core_down`` and ``core_up`` for another internet leg (crates/sim/src/link/spec.rs has the fields)."""
    try:
        found = json.loads(file.read_text())
    except FileNotFoundError:
        raise NotThere(f"There is no file {file}.") from None
    except (OSError, ValueError) as problem:
        raise Error(f"{file} is no description of a link: {problem}.") from None
    if not isinstance(found, dict) or not {"down", "up"} <= set(found) <= {"down", "up", "core_down", "core_up"}:
        raise Error(f'{file} must hold {{"down": ..., "up": ...}}, and may hold "core_down" and "core_up".')
    return Radio(file.stem, **found)


def link(text: str, seed: int = 1) -> Radio:
    """What a person may write for a link: a profile's name, a .down or .json file, or a rate such as 20mbit."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)\s*(?:mbit|mbps|M)(?:/s)?", text, re.IGNORECASE):
        return constant(float(found[1]))
    if text in _native.profile_names():
        return profile(text, seed)
    if text.endswith(".json"):
        return described(Path(text))
    if "/" in text or text.endswith(".down"):
        return trace(Path(text))
    names = ", ".join(_native.profile_names())
    raise Error(f"There is no link {text!r}: use one of {names}, a .down or .json file, or a rate such as 20mbit.")


def describe(radio: Radio) -> str:
    """One line about a link."""
    if radio.name in _native.profile_names():
        return json.loads(_native.profile(radio.name))["text"]
    return f"{radio.name}; {radio.down.get('queue_bytes', 0) / 1e6:g} MB queue, {RADIO_MS + INTERNET_MS:.0f} ms"
