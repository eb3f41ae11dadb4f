"""The same load direct, through the wire engine and through the proxy, by size of objects: the paper's future work."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smartwire.lab.figures import median
from smartwire.proxy.bench import BEST, SCENARIOS, WIRE, against, orders, prepared

OBJECTS = {
    "1 kB": "1000",
    "10 kB": "10000",
    "100 kB": "100000",
    "1 MB": "1000000",
    "10 MB": "10000000",
    "web-like": "1000*40,8000*30,30000*20,150000*9,1000000*1",
    "long tail": "1000*60,10000*25,100000*10,1000000*4,10000000*1",
}
COLUMNS = ("OBJECTS", "THROUGH", "TPS", "MBIT/S", "TTFB P50 MS", "MBIT/S TO DIRECT", "HAPROXY CPU US")


def object_figures(
    rounds: int, seconds: float, connections: int, seed: int, directory: Path, tell: Callable[[int, str], None]
) -> list[dict[str, Any]]:
    """All kinds of objects by all three ways, in turn. `tell` is told how many runs are done, and what is next."""
    ways = [next(s for s in SCENARIOS if s.name == name) for name in ("direct", BEST)]
    ways.insert(1, WIRE)
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with contextlib.ExitStack() as stack:
        benches = [stack.enter_context(prepared(way, directory)) for way in ways]
        done = 0
        for order in orders(rounds, len(benches), seed):
            for what, sizes in OBJECTS.items():
                for which in order:
                    bench = benches[which]
                    tell(done, f"{what}, {bench.scenario.text}")
                    row = bench.run(sizes, seconds, connections)
                    found.setdefault((what, bench.scenario.name), []).append(row)
                    done += 1
    return [
        {
            "objects": what,
            "mix": OBJECTS[what],
            "through": name,
            "tps": median(r["tps"] for r in rows),
            "mbps": median(r["mbps"] for r in rows),
            "ttfb_p50_ms": median(r["ttfb_ms"]["p50"] for r in rows),
            "failed": sum(r["failed"] for r in rows),
            "haproxy_cpu_us": median(r["haproxy_cpu_us"] for r in rows) if rows[0]["haproxy_cpu_us"] else None,
            "mbps_to_direct": against([r["mbps"] for r in rows], [r["mbps"] for r in found[what, "direct"]]),
        }
        for (what, name), rows in found.items()
    ]
