"""What the process of a running wire answers to orders and questions."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

from smartwire.errors import NotThere
from smartwire.files import read_text
from smartwire.wire.control import Handler
from smartwire.wire.stats import EventRing, StatsPage
from smartwire.wire.target import within

POLL_S = 0.05
STALE_S = 0.15
"""How far the stats page may be behind: it is rewritten some ten times a second."""


class Wire(Protocol):
    """The part of the Rust core's wire that the service needs; a fake one serves the tests."""

    def order(self, do: str, target: dict[str, Any], limit_s: float) -> int:
        """Carries out an order; returns how many connections it concerns."""

    def flows(self) -> list[dict[str, Any]]:
        """All connections."""

    def subscribers(self) -> list[dict[str, Any]]:
        """All subscribers."""

    def policies(self) -> list[list[tuple[str, int]]]:
        """The policies in force, and the classes, each with how many connections it had."""

    def set_policies(self, document: str) -> None:
        """Puts others in force."""

    def drained(self) -> bool:
        """True when nothing is optimized any more."""

    def capture(self, path: Path, target: dict[str, Any], *, snap: int, packets: int | None) -> None:
        """Begins to capture to a file."""

    def captured(self) -> tuple[int, int, bool] | None:
        """(packets, dropped, done) of the running capture."""

    def capture_end(self) -> tuple[int, int, bool] | None:
        """Ends the capture; its file is complete then."""


class Service:
    """The handlers of a wire's control socket.

    Args:
        wire: the running wire.
        directory: its run directory.
    """

    def __init__(self, wire: Wire, directory: Path) -> None:
        self.wire = wire
        self.info = directory / "wire.json"
        self.stats = StatsPage(directory / "stats")
        self.ring = EventRing(directory / "events")
        self.rewriting = threading.Lock()

    def handlers(self) -> dict[str, Handler]:
        """Request names and what answers them."""
        return {
            "flows": self.flows,
            "subscribers": self.subscribers,
            "drain": self.drain,
            "bypass": self.drain,
            "resume": self.resume,
            "capture": self.capture,
            "capture-end": self.capture_end,
            "policies": self.policies,
            "set-policies": self.set_policies,
        }

    def note(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Puts facts into wire.json, which is always whole; returns all of it."""
        with self.rewriting:
            info: dict[str, Any] = json.loads(self.info.read_text()) | facts
            fresh = self.info.with_suffix(".new")
            fresh.write_text(json.dumps(info))
            fresh.replace(self.info)
        return info

    def policies(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The policies in force, and the classes, in their order, each with how many connections it had."""
        yield from ()
        policies, classes = ([{"name": n, "connections": c} for n, c in counts] for counts in self.wire.policies())
        digest = json.loads(self.info.read_text()).get("policies", "")
        return {"digest": digest, "policies": policies, "classes": classes}

    def set_policies(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Puts the policies of a file in force, all at once."""
        yield from ()
        document = read_text(Path(request["file"]))
        self.wire.set_policies(document or "{}")
        self.note({"policies": digest(document)})
        return {"digest": digest(document)}

    def flows(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Connections of a target, at most `limit`."""
        yield from ()
        target = request.get("target") or {"kind": "wire"}
        found = [f for f in self.wire.flows() if within(f, target)]
        return {"total": len(found), "flows": found[: request.get("limit", len(found))]}

    def subscribers(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Subscribers, at most `limit`."""
        yield from ()
        found = self.wire.subscribers()
        return {"total": len(found), "subscribers": found[: request.get("limit", len(found))]}

    def resume(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ends a bypass."""
        yield from ()
        return {"flows": self.wire.order("resume", request["target"], 0.0)}

    def drain(self, request: dict[str, Any]) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Drains or bypasses a target; yields what is left, returns what came of it."""
        target = request["target"]
        limit_s = float(request["limit_s"])
        whole = target["kind"] == "wire"
        before, mark, began = self.counters(), self.ring.written(), time.monotonic()
        concerned = self.wire.order(request["do"], target, limit_s)
        if not concerned and not whole and request["do"] == "drain":
            raise NotThere("Nothing that is being optimized matches: `smartwire flows` shows what is.")
        if whole and not self.wire.drained():
            time.sleep(STALE_S)
        while time.monotonic() < began + limit_s + 2.0:
            left = self.left(request["do"], target)
            if not left:
                break
            yield {"flows_left": left, "custody_bytes": self.counters().get("custody_bytes", 0)}
            time.sleep(POLL_S)
        seconds = time.monotonic() - began
        if whole:
            time.sleep(STALE_S)
            after = self.counters()
            handed, reset = (after.get(k, 0) - before.get(k, 0) for k in ("handed_back", "resets"))
        else:
            ended = [e.kind for e in self.ring.read(mark) if within(vars_of(e), target)]
            handed, reset = ended.count("handed-back"), ended.count("reset")
        return {"flows": concerned, "handed_back": handed, "reset": reset, "seconds": round(seconds, 3)}

    def capture(self, request: dict[str, Any]) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Captures a target's frames to a file until it has enough, or somebody else ends it, or the client leaves."""
        seconds, packets = request.get("seconds"), request.get("packets")
        self.wire.capture(Path(request["file"]), request["target"], snap=request.get("snap", 1 << 18), packets=packets)
        end = time.monotonic() + seconds if seconds is not None else None
        last = (0, 0, False)
        try:
            while (now := self.wire.captured()) is not None:
                last = now
                if now[2] or (end is not None and time.monotonic() >= end):
                    break
                yield {"packets": now[0], "dropped": now[1]}
                time.sleep(POLL_S)
        finally:
            last = self.wire.capture_end() or last
        return {"packets": last[0], "dropped": last[1]}

    def capture_end(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ends the running capture."""
        yield from ()
        packets, dropped, _ = self.wire.capture_end() or (0, 0, False)
        return {"packets": packets, "dropped": dropped}

    def left(self, do: str, target: dict[str, Any]) -> int:
        """Connections of the target that an order still concerns: those that drain; of a bypass all that are optimized.

        A drain leaves new connections to the wire, so the wire need not be empty when it is over.
        """
        if target["kind"] == "wire":
            counters = self.counters()
            if self.wire.drained():
                return 0
            return counters.get("draining", 0) if do == "drain" else max(1, counters.get("flows", 1))
        modes = [f["mode"] for f in self.wire.flows() if within(f, target)]
        return modes.count("drain") if do == "drain" else len(modes) - modes.count("observe")

    def counters(self) -> dict[str, int]:
        """The stats page's values."""
        return self.stats.read().values


def digest(document: str) -> str:
    """What a document of policies is known by; empty for none."""
    return hashlib.sha256(document.encode()).hexdigest()[:16] if document else ""


def vars_of(event: Any) -> dict[str, Any]:
    """An event's connection under the names of a flow's JSON."""
    return {
        "access_addr": event.access,
        "access_port": event.access_port,
        "core_addr": event.core,
        "core_port": event.core_port,
    }
