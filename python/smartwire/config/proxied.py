"""Operational commands about proxies: what they do, who is in them, and a new container without ending a connection."""

from __future__ import annotations

from typing import Any

from smartwire.config.commands import Answer, Number, Seconds, WireName, command
from smartwire.config.operations import HIDDEN, PATIENCE_S, table
from smartwire.errors import Error
from smartwire.proxy import registry
from smartwire.wire import control

ORDER_S = 60.0
"""How long a proxy may take with an order."""


def proxies(wire: str) -> list[registry.Running]:
    """The proxy of a wire, or all that run."""
    return [registry.find(wire)] if wire else registry.running()


@command("show proxies")
def show_proxies(session: Any, *, wire: WireName = "") -> Answer:
    """Show the proxies: HAProxy, connections, containers, and how many connections each rule decided about.

    wire: only the one of this wire.
    """
    found, rows, lines = [], [], []
    for running in proxies(wire):
        try:
            said = control.ask(running.socket, "status", patience_s=PATIENCE_S)
        except Error as e:
            lines.append(f"{running.name}: {e}\n")
            continue
        found.append(said)
        haproxy = said["haproxy"]
        rows.append((said["name"], said["state"], haproxy["version"], said["flows"], said["namespace"]))
        for old in said["leaving"]:
            rows.append((said["name"], "finishing", "", old["sockets"], old["namespace"]))
        lines += [f"{said['name']}: rule {r['name']}: {r['action']}, {r['connections']}\n" for r in said["rules"]]
        lines.append(f"{said['name']}: no rule: direct, {said['no_rule']}\n")
        lines.append(f"{said['name']}: HAProxy died {said['deaths']} times, hung {said['hangs']} times\n")
    head = ("Wire", "State", "HAProxy", "Connections", "Container")
    text = table(head, rows) if rows else "" if lines else "No proxies.\n"
    return Answer(text + "".join(lines), found)


@command("show proxy-flows")
def show_proxy_flows(session: Any, *, wire: WireName = "", limit: Number = 50) -> Answer:
    """Show the connections in the proxies, those with most bytes first.

    wire: only those of this wire.
    limit: at most this many of each proxy.
    """
    hide = session.rights.hide_subscribers
    found = []
    for running in proxies(wire):
        for flow in control.ask(running.socket, "flows", limit=limit, patience_s=PATIENCE_S)["flows"]:
            found.append(flow | {"wire": running.name} | ({"access_addr": HIDDEN} if hide else {}))
    rows = [
        (
            f["wire"], f"{f['access_addr']}:{f['access_port']}", f"{f['core_addr']}:{f['core_port']}",
            f["rule"] or "(earlier rules)", f"{f['age_s']:.0f} s", f"{f['down_bytes']:,}", f"{f['up_bytes']:,}",
        )
        for f in found
    ]  # fmt: skip
    head = ("Wire", "Subscriber", "Server", "Policy", "Age", "Bytes down", "Bytes up")
    return Answer(table(head, rows) if rows else "No connections.\n", found)


@command("request proxy upgrade", permission="operate")
def upgrade(session: Any, wire: WireName, *, limit: Seconds = 0) -> Answer:
    """Start a second container with a new HAProxy for new connections; the first one finishes.

    wire: the wire whose proxy it is.
    limit: reset what has not finished by then; 0 waits for it.
    """
    done = control.ask(
        registry.find(wire).socket, "upgrade", settings={}, limit_s=float(limit) or None, patience_s=ORDER_S
    )
    where, left = done["namespace"], done["leaving"]
    text = f"New connections go to container {where}; {left} sockets of before stay where they are until they end.\n"
    return Answer(text, done)


@command("request proxy reload", permission="operate")
def reload(session: Any, wire: WireName) -> Answer:
    """Start HAProxy anew in its container, which keeps the connections that there are.

    wire: the wire whose proxy it is.
    """
    done = control.ask(registry.find(wire).socket, "reload", patience_s=ORDER_S)
    return Answer(f"HAProxy is process {done['pid']} now.\n", done)
