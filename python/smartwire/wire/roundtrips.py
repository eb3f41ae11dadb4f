"""Round trips on either side of a wire, sampled from what it knows of its connections and subscribers.

Each question makes the worker copy its tables between two batches, so a wire with many connections is not asked.
"""

from __future__ import annotations

import statistics
from typing import Any

from smartwire.errors import Error
from smartwire.wire import control, registry

MOST = 5_000
"""Connections of a wire that is still asked."""
SAMPLE = 500
"""Rows that an answer has at most."""
PATIENCE_S = 1.0


def sample(wire: registry.Running, flows: int) -> dict[str, int]:
    """Medians in us, by metric: what is not known is left out.

    Args:
        wire: a running wire.
        flows: connections that it has.
    """
    if not 0 < flows <= MOST:
        return {}
    try:
        there = control.ask(wire.socket, "flows", patience_s=PATIENCE_S, target={"kind": "wire"}, limit=SAMPLE)
        people = control.ask(wire.socket, "subscribers", patience_s=PATIENCE_S, limit=SAMPLE)
    except (Error, OSError, ValueError):
        return {}
    return medians(there["flows"], people["subscribers"])


def medians(flows: list[dict[str, Any]], subscribers: list[dict[str, Any]]) -> dict[str, int]:
    """Of the answers of a wire; the index of a pair is the side that a stream comes from: 0 access, 1 core."""
    found = {
        "rtt_core_us": [f["srtt_ns"][0] for f in flows if f["srtt_ns"][0]],
        "rtt_access_us": [s["rtt_ns"] for s in subscribers if s["rtt_ns"]],
        "queue_us": [max(0, s["rtt_ns"] - s["min_rtt_ns"]) for s in subscribers if s["rtt_ns"] and s["min_rtt_ns"]],
    }
    return {name: round(statistics.median(values) / 1000) for name, values in found.items() if values}
