"""Reason codes of events: their names and one sentence each, as crates/engine/src/reason.rs defines them."""

from __future__ import annotations

from functools import cache


@cache
def tables() -> dict[str, list[tuple[str, str]]]:
    """{"refuse": [(name, text), ...], "stop": ..., "found": ...} in the order of the codes, from the Rust core."""
    from smartwire import _native

    refuse, stop, found = _native.reasons()
    return {"refuse": refuse, "stop": stop, "found": found}


def of(kind: str, code: int) -> tuple[str, str] | None:
    """(name, sentence) of an event's reason; None for kinds of event that have none."""
    stop = dict.fromkeys(("draining", "handed-back", "reset"), "stop")
    table = ({"refused": "refuse", "found": "found"} | stop).get(kind)
    if table is None:
        return None
    known = tables()[table]
    return known[code] if code < len(known) else (f"reason-{code}", "A reason of another version of Smartwire.")
