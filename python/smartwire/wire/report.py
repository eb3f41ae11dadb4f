"""The status document: what a wire is doing, from two samples of its stats page."""

from __future__ import annotations

import time
from typing import Any

import click

from smartwire.wire.registry import pairs
from smartwire.wire.stats import Sample

SIDES = ("access", "core")


def report(info: dict[str, Any], first: Sample, second: Sample) -> dict[str, Any]:
    """The document that `smartwire status --json` prints.

    Args:
        info: the content of wire.json.
        first: an earlier sample; rates are taken between the two.
        second: the sample whose counters are shown.
    """
    seconds = max((second.now_ns - first.now_ns) / 1e9, 1e-9)
    values = second.values

    def rate(name: str) -> float:
        return (values.get(name, 0) - first.values.get(name, 0)) / seconds if second.now_ns > first.now_ns else 0.0

    ports = port_totals(values)

    def mbps(side: str, copper: str) -> float:
        return round((sum(rate(f"port{p}.rx_bytes") for p in ports[side]) + rate(copper)) * 8e-6, 3)

    under, beside = values.get("accepted_bytes", 0), values.get("not_optimized_bytes", 0)
    return {
        "name": info.get("name"),
        "pid": info.get("pid"),
        "access": info.get("access"),
        "core": info.get("core"),
        "pairs": [{"access": access, "core": core} for access, core in pairs(info)],
        "io": info.get("io"),
        "uptime_s": round(time.time() - info["started"], 1) if "started" in info else None,
        "sample_age_s": round(second.age_s, 3),
        "down_mbps": mbps("core", "copper_down_bytes"),
        "up_mbps": mbps("access", "copper_up_bytes"),
        "frames_per_s": round(rate("frames_in") + rate("copper_frames")),
        "subscribers": values.get("subscribers", 0),
        "flows": values.get("flows", 0),
        "custody_bytes": values.get("custody_bytes", 0),
        "custody_share": round(under / (under + beside), 4) if under + beside else None,
        "retransmitted_share": round(values.get("retransmitted_bytes", 0) / max(1, values.get("sent_bytes", 0)), 5),
        "refused": reasons(values, "refused."),
        "stopped": reasons(values, "stopped."),
        "found": reasons(values, "found."),
        "counters": {k: v for k, v in values.items() if not k.startswith(("refused.", "stopped.", "found."))},
    }


def port_totals(values: dict[str, int]) -> dict[str, list[int]]:
    """Numbers of the ports that the page knows, by side."""
    numbers = {int(n.removeprefix("port").partition(".")[0]) for n in values if n.startswith("port") and "." in n}
    return {side: sorted(n for n in numbers if n % 2 == i) for i, side in enumerate(SIDES)}


def reasons(values: dict[str, int], prefix: str) -> dict[str, int]:
    """Counts by reason, those that happened, most frequent first."""
    counts = {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix) and v}
    return dict(sorted(counts.items(), key=lambda item: -item[1]))


def show(document: dict[str, Any]) -> None:
    """Prints the document for a person."""
    from smartwire.cli.output import size, table

    counters = document["counters"]
    up = document["uptime_s"]
    click.echo(
        f"wire {document['name']}: {document['access']} (access) = {document['core']} (core), "
        + "".join(f"{p['access']} = {p['core']}, " for p in document["pairs"][1:])
        + f"{document['io']}, up {duration(up) if up is not None else '?'}, pid {document['pid']}"
    )
    if document["sample_age_s"] > 2:
        click.echo(
            click.style(f"its counters are {document['sample_age_s']:.0f} s old: the process seems to hang", fg="red")
        )
    share = document["custody_share"]
    rows = [
        ("throughput", f"{document['down_mbps']:.1f} Mbit/s down, {document['up_mbps']:.1f} Mbit/s up"),
        ("subscribers", f"{document['subscribers']:,}"),
        ("connections", f"{document['flows']:,} optimized now, {counters.get('optimized', 0):,} since the start"),
        ("custody", f"{size(document['custody_bytes'])} held now" + (f", {share:.1%} of TCP" if share else "")),
        (
            "retransmitted",
            f"{counters.get('retransmitted', 0):,} segments ({document['retransmitted_share']:.2%} of bytes), "
            f"{counters.get('probes', 0):,} probes",
        ),
        ("resets", f"{counters.get('resets', 0):,} connections"),
        ("wire opened", f"{counters.get('wire_opened', 0):,} times"),
    ]
    for label, text in rows:
        click.echo(f"  {label:<14} {text}")
    for key, title in (("refused", "NOT OPTIMIZED, WHY"), ("stopped", "STOPPED, WHY")):
        if document[key]:
            click.echo()
            table((title, "CONNECTIONS"), [(k, f"{v:,}") for k, v in document[key].items()], right=(1,))
    if document["found"]:
        from smartwire.wire.reasons import tables

        texts = dict(tables()["found"])
        click.echo()
        rows = [(f"{v:,}", texts.get(k, k)) for k, v in document["found"].items()]
        table(("CONNECTIONS", "WRONG WITH A NEIGHBOUR"), rows)


def duration(seconds: float) -> str:
    """A time in its two largest units: 3 d 4 h, 5 m 6 s."""
    seconds = int(seconds)
    units = [("d", 86400), ("h", 3600), ("m", 60), ("s", 1)]
    parts = []
    for name, length in units:
        count, seconds = divmod(seconds, length)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
