"""`smartwire status`, `flows`, `subscribers` and `events`: what is happening, and why."""

from __future__ import annotations

import time
from typing import Any

import click

from smartwire.cli.page import DURATION, argument, command, json_option, name_option

limit_option = click.option(
    "--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="Rows at most."
)
RUNNING_EXITS = {3: "no such wire is running"}


@command(
    "status",
    examples=[
        ("smartwire status", "One page about the running wire"),
        ("smartwire status --json | jq .refused", "Why connections are left alone, for a program"),
    ],
    exits=RUNNING_EXITS,
    see=["flows", "subscribers", "events"],
)
@click.option("--interval", type=DURATION, default="0.5s", show_default=True, help="Time over which rates are taken.")
@name_option
@json_option
def status(interval: float, name: str | None, as_json: bool) -> None:
    """What a wire is doing, and why it leaves connections alone.

    Throughput, connections, custody, retransmissions, and counts per reason of refusal and of stopping. The counters
    are read from shared memory; no worker notices.
    """
    from smartwire.cli.output import emit
    from smartwire.wire import registry
    from smartwire.wire.report import report, show
    from smartwire.wire.stats import StatsPage

    wire = registry.find(name)
    page = StatsPage(wire.stats)
    first = page.read()
    deadline = time.monotonic() + max(interval, 0.05)
    while (second := page.read()).now_ns == first.now_ns or time.monotonic() < deadline:
        if time.monotonic() > deadline + 1.0:
            break
        time.sleep(0.02)
    document = report(wire.info, first, second)
    if as_json:
        emit(document)
    else:
        show(document)


@command(
    "flows",
    examples=[
        ("smartwire flows", "The connections that hold most"),
        ("smartwire flows 10.0.0.7", "Those of one subscriber"),
    ],
    exits=RUNNING_EXITS,
    see=["subscribers", "events", "drain"],
)
@argument("target", required=False, help="A subscriber or a connection; all if absent.")
@limit_option
@name_option
@json_option
def flows(target: str | None, limit: int, name: str | None, as_json: bool) -> None:
    """The connections that are being optimized.

    One row per connection, those with most in custody first. Custody is what the wire has acknowledged to the sender
    and the receiver has not acknowledged yet; in flight is what was sent and not acknowledged. Down is towards the
    access side.
    """
    from smartwire.cli.output import bits, ms, size, table
    from smartwire.wire.target import parse, show

    answer = question(name, "flows", target=parse(target))
    found = sorted(answer["flows"], key=lambda f: -sum(f["custody_bytes"]))[:limit]
    if as_json:
        from smartwire.cli.output import emit

        emit({"total": answer["total"], "flows": found})
        return
    rows = []
    for f in found:
        up, down = 0, 1  # the index of a pair is the side that the stream comes from
        rows.append(
            (
                show(f["access_addr"], f["access_port"], f["core_addr"], f["core_port"]),
                f["mode"],
                size(f["delivered_bytes"][down]),
                size(f["delivered_bytes"][up]),
                size(sum(f["custody_bytes"])),
                size(f["in_flight_bytes"][down]),
                size(f["cwnd_bytes"][down]) if f["cwnd_bytes"][down] else "-",
                ms(f["srtt_ns"][down]),
                bits(f["cwnd_bytes"][down] * 1e9 / f["srtt_ns"][down]) if f["srtt_ns"][down] else "-",
            )
        )
    heads = ("CONNECTION", "MODE", "DOWN", "UP", "CUSTODY", "IN FLIGHT", "WINDOW", "RADIO RTT", "WINDOW/RTT")
    table(heads, rows, right=range(2, 9))
    footer(len(found), answer["total"], "connections")


@command(
    "subscribers",
    examples=[("smartwire subscribers --json", "Everything known about each, for a program")],
    exits=RUNNING_EXITS,
    see=["flows", "status"],
)
@limit_option
@name_option
@json_option
def subscribers(limit: int, name: str | None, as_json: bool) -> None:
    """Whose connections they are, with rate, RTT and queue.

    One row per subscriber, the fastest first. The queue is how much longer a round trip over the radio takes now than
    at its recent best.
    """
    from smartwire.cli.output import bits, emit, ms, size, table

    answer = question(name, "subscribers")
    found = sorted(answer["subscribers"], key=lambda s: -s["rate_bytes_per_s"])[:limit]
    if as_json:
        emit({"total": answer["total"], "subscribers": found})
        return
    rows = [
        (
            s["addr"],
            str(s["flows"]),
            bits(s["rate_bytes_per_s"]),
            ms(s["rtt_ns"]),
            ms(max(0, s["rtt_ns"] - s["min_rtt_ns"])),
            size(s["in_flight_bytes"]),
            size(s["budget_bytes"]),
        )
        for s in found
    ]
    table(("SUBSCRIBER", "FLOWS", "RATE", "RTT", "QUEUE", "IN FLIGHT", "BUDGET"), rows, right=range(1, 7))
    footer(len(found), answer["total"], "subscribers")


@command(
    "events",
    examples=[
        ("smartwire events --follow", "Watch what happens, until Ctrl-C"),
        ("smartwire events --kind refused --json", "The latest refusals with their reasons"),
    ],
    exits=RUNNING_EXITS,
    see=["status", "flows"],
)
@click.option("--follow", "-f", is_flag=True, help="Go on printing events as they happen.")
@click.option(
    "--kind",
    type=click.Choice(["refused", "optimizing", "draining", "handed-back", "reset", "closed", "found"]),
    multiple=True,
    help="Only these kinds (may be given several times).",
)
@limit_option
@name_option
@json_option
def events(follow: bool, kind: tuple[str, ...], limit: int, name: str | None, as_json: bool) -> None:
    """What happened to connections, with reasons.

    The latest events, oldest first: refused, optimizing, draining, handed-back, reset, closed, and found: something
    that is wrong with a neighbour. With --json, one
    document per line.
    """
    import json

    from smartwire.wire import reasons, registry
    from smartwire.wire.stats import EventRing
    from smartwire.wire.target import show

    wire = registry.find(name)
    ring = EventRing(wire.events)
    # CLOCK_MONOTONIC to the wall clock, for people.
    offset_s = time.time() - time.monotonic()

    def put(event: Any) -> None:
        reason = reasons.of(event.kind, event.reason)
        flow = show(event.access, event.access_port, event.core, event.core_port)
        when = event.now_ns / 1e9 + offset_s
        if as_json:
            text = {"number": event.number, "unix_s": round(when, 6), "kind": event.kind, "flow": flow}
            click.echo(json.dumps(text | ({"reason": reason[0], "text": reason[1]} if reason else {})))
        else:
            clock = time.strftime("%H:%M:%S", time.localtime(when)) + f".{int(when % 1 * 1000):03d}"
            click.echo(f"{clock}  {event.kind:<11}  {flow}" + (f"  {reason[0]}: {reason[1]}" if reason else ""))

    wanted = [e for e in ring.read() if not kind or e.kind in kind]
    for event in wanted[-limit:]:
        put(event)
    at = ring.written()
    while follow:
        for event in ring.read(at):
            at = event.number + 1
            if not kind or event.kind in kind:
                put(event)
        if not registry.alive(wire.directory):
            return
        time.sleep(0.1)


def question(name: str | None, do: str, **parameters: Any) -> dict[str, Any]:
    """Asks a running wire."""
    from smartwire.wire import control, registry

    return control.ask(registry.find(name).socket, do, **parameters)


def footer(shown: int, total: int, what: str) -> None:
    """Says how much was left off."""
    if total > shown:
        click.echo(f"... and {total - shown} more {what} (-n {total} shows all)")
    elif not total:
        click.echo(f"(no {what})")
