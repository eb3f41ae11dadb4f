"""The live display of `smartwire run` on a terminal."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

from smartwire.cli.output import bits, ms
from smartwire.wire.report import duration, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from smartwire.wire.service import Service

ROWS = 10
"""Subscribers shown."""


def live(
    wire: Any, news: Callable[[], list[str]], service: Service, info: dict[str, Any], asked: threading.Event
) -> None:
    """Redraws once a second until `asked` is set or the wire fails."""
    from rich.live import Live

    last = service.stats.read()
    with Live(auto_refresh=False, transient=True) as screen:
        while not asked.wait(1.0) and not wire.failed():
            for text in news():
                screen.console.print(text)
            sample = service.stats.read()
            subscribers = wire.subscribers()
            screen.update(page(report(info, last, sample), subscribers), refresh=True)
            last = sample


def page(document: dict[str, Any], subscribers: list[dict[str, Any]]) -> RenderableType:
    """One screen: totals, the fastest subscribers, why connections are left alone."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    counters = document["counters"]
    head = Text.assemble(
        (f"{document['access']} = {document['core']}", "bold"),
        f"  {document['io']}  up {duration(document['uptime_s'] or 0)}  {time.strftime('%H:%M:%S')}\n",
        (f"{document['down_mbps']:9.1f} Mbit/s down {document['up_mbps']:9.1f} Mbit/s up\n", "bold green"),
        f"{document['subscribers']:9,} subscribers {document['flows']:9,} connections "
        f"{document['custody_bytes'] / 1e6:9.1f} MB in custody\n",
        f"{counters.get('retransmitted', 0):9,} retransmitted {counters.get('probes', 0):8,} probes      "
        f"{counters.get('resets', 0):9,} resets",
    )
    rows = Table("subscriber", box=None, pad_edge=False, header_style="bold")
    for title in ("flows", "rate", "RTT", "queue"):
        rows.add_column(title, justify="right")
    for s in sorted(subscribers, key=lambda s: -s["rate_bytes_per_s"])[:ROWS]:
        queue = max(0, s["rtt_ns"] - s["min_rtt_ns"])
        rows.add_row(s["addr"], str(s["flows"]), bits(s["rate_bytes_per_s"]), ms(s["rtt_ns"]), ms(queue))
    refused = ", ".join(f"{name} {count:,}" for name, count in list(document["refused"].items())[:4])
    return Group(head, Text(), rows, Text(f"\nnot optimized: {refused or 'none'}", style="dim"))
