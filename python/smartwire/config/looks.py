"""Operational commands about what happened to connections, and about captures."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

from smartwire.config.commands import Answer, FileName, Number, Target, WireName, command
from smartwire.config.operations import HIDDEN, moment, table, wires
from smartwire.errors import NotThere, UsageError
from smartwire.wire import reasons
from smartwire.wire.stats import KINDS, Event, EventRing
from smartwire.wire.target import show, within

LARGEST = 8 << 20
"""Bytes of a capture that a face is given."""


@command("show events")
def show_events(
    session: Any, *, wire: WireName = "", match: Target = None, kind: str = "", limit: Number = 50
) -> Answer:
    """Show what happened to connections, with reasons, the oldest first.

    wire: only those of this wire.
    match: only those of a subscriber or a connection.
    kind: refused, optimizing, draining, handed-back, reset or closed.
    limit: at most this many, the newest.
    """
    if kind and kind not in KINDS:
        raise UsageError(f"{kind!r} is none of {', '.join(KINDS)}.")
    session.rights.need_subscribers(match)
    # CLOCK_MONOTONIC to the wall clock, for people.
    offset_s, hide = time.time() - time.monotonic(), session.rights.hide_subscribers
    found = []
    for running in wires(wire or None):
        for event in EventRing(running.events).read():
            if (not kind or event.kind == kind) and (match is None or within(ends(event), match)):
                found.append(told(event, running.name, offset_s, hide))
    found = sorted(found, key=lambda e: e["unix_s"])[-limit:] if limit else []
    rows = [(moment(e["unix_s"]), e["wire"], e["kind"], e["connection"], e["text"]) for e in found]
    return Answer(table(("Time", "Wire", "Event", "Connection", "Why"), rows) if rows else "No events.\n", found)


def ends(event: Event) -> dict[str, Any]:
    """An event's connection under the names of a flow's."""
    return {
        "access_addr": event.access, "access_port": event.access_port,
        "core_addr": event.core, "core_port": event.core_port,
    }  # fmt: skip


def told(event: Event, wire: str, offset_s: float, hide: bool) -> dict[str, Any]:
    """An event as it is shown."""
    reason = reasons.of(event.kind, event.reason)
    access = HIDDEN if hide else event.access
    return {
        "unix_s": event.now_ns / 1e9 + offset_s,
        "wire": wire,
        "kind": event.kind,
        "connection": show(access, event.access_port, event.core, event.core_port),
        "reason": reason[0] if reason else "",
        "text": f"{reason[0]}: {reason[1]}" if reason else "",
    }


def captures(session: Any) -> Path:
    """Where captures are."""
    return session.engine.store.directory / "captures"


@command("show captures", permission="operate")
def show_captures(session: Any) -> Answer:
    """Show the captures that are kept on the box."""
    directory = captures(session)
    found = [
        {"file": p.name, "bytes": p.stat().st_size, "unix_s": p.stat().st_mtime}
        for p in sorted(directory.glob("*"))
        if p.is_file()
    ]
    rows = [(f["file"], f"{f['bytes']:,}", moment(f["unix_s"])) for f in found]
    return Answer(table(("File", "Bytes", "Written"), rows) if rows else "No captures.\n", found)


@command("show capture", permission="operate")
def show_capture(session: Any, file: FileName) -> Answer:
    """Give a capture to a face or a program: its content is in the data, base64.

    file: name of the file, as `show captures` says.
    """
    if session.rights.hide_subscribers:
        raise NotThere("A capture names subscribers, which your class does not see.")
    path = captures(session) / Path(file).name
    if not path.is_file():
        raise NotThere(f"There is no capture {Path(file).name}: `show captures` shows which there are.")
    content = path.read_bytes()[:LARGEST]
    whole = path.stat().st_size
    return Answer(
        f"{path.name}: {whole:,} bytes.\n",
        {"file": path.name, "bytes": whole, "content": base64.b64encode(content).decode()},
    )


@command("clear capture", permission="operate")
def clear_capture(session: Any, file: FileName) -> Answer:
    """Delete a capture.

    file: name of the file, as `show captures` says.
    """
    path = captures(session) / Path(file).name
    if not path.is_file():
        raise NotThere(f"There is no capture {path.name}: `show captures` shows which there are.")
    path.unlink()
    return Answer(f"{path.name} was deleted.\n")
