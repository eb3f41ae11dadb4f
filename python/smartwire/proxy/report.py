"""`smartwire proxy status` for a person."""

from __future__ import annotations

from typing import Any

import click

from smartwire.cli.output import size, table

WHY_DIRECT = {
    "no_rule": "no rule wants them in the proxy",
    "no_listener": "HAProxy was not there",
    "closed": "the proxy takes no more: drained, overloaded or silent",
    "full": "the table of flows was full",
    "strange": "more than two VLAN tags",
}


def show(d: dict[str, Any]) -> None:
    """One page."""
    h, c = d["haproxy"], d["counters"]
    splice = "splicing" if d["splice"] else "copying"
    click.echo(f"{d['name']}: {joined(d)}, {d['state']}, {d['mode']} mode, {splice}")
    sides = [f"{side} {d[f'{side}_tcp']['congestion']}" for side in ("access", "core")]
    click.echo(f"container {d['namespace']}: TCP towards {', towards '.join(sides)}")
    click.echo(
        f"HAProxy {h['version'] or '(no answer)'}: pid {h['pid']}, "
        f"{h['connections']} of {h['most_connections']} connections, died {d['deaths']} times ({d['hangs']} hung)"
        + (f", {h['finishing']} earlier ones finish" if h["finishing"] else "")
    )
    for left in d["leaving"]:
        click.echo(f"container {left['namespace']} of before the upgrade finishes: {left['sockets']} sockets")
    click.echo(
        f"flows: {d['flows']} of {d['most_flows']}, {d['sockets']} sockets; "
        f"{size(c['in_bytes'])} into the container, {size(c['out_bytes'])} out"
    )
    click.echo(
        f"{c['resets']} ends turned into resets, {c['icmp']} ICMP errors handed on, {c['kept_in']} frames kept in, "
        f"{c['lost']} lost"
    )
    if arrived := c["own_cpu"] + c["other_cpu"]:
        click.echo(f"{c['own_cpu'] / arrived:.1%} of frames arrived on the CPU where their connection began")
    click.echo()
    rows = [(r["name"], r["action"], str(r["connections"])) for r in d["rules"]]
    table(("RULE", "ACTION", "CONNECTIONS"), [*rows, ("(none)", "direct", str(d["no_rule"]))], right=[2])
    direct = [(str(c[name]), why) for name, why in WHY_DIRECT.items() if c[name]]
    if direct:
        click.echo()
        table(("DIRECT", "WHY"), direct, right=[0])


def joined(d: dict[str, Any]) -> str:
    """Which ports, or VLANs of a trunk, are joined."""
    if d["vlans"]:
        access, core = d["vlans"]
        return f"trunk {d['access']}, VLAN {access} (access) = VLAN {core} (core)"
    return f"{d['access']} (access) = {d['core']} (core)"
