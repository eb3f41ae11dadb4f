"""`smartwire drain`, `bypass` and `resume`: orders to a running wire."""

from __future__ import annotations

from typing import Any

import click

from smartwire.cli.page import DURATION, argument, command, json_option, name_option

target_argument = argument(
    "target",
    required=False,
    help="A subscriber (10.0.0.7, 2001:db8:7::/64) or a connection (ACCESS:PORT-CORE:PORT); the whole wire if absent.",
)
limit_option = click.option(
    "--limit",
    type=DURATION,
    default="60s",
    show_default=True,
    help="Reset, at both ends, what could not be delivered by then.",
)
LIMIT_MET = "the limit was met and some connections were reset"


@command(
    "drain",
    examples=[
        ("smartwire drain", "Hand all connections back to their ends, within a minute"),
        ("smartwire drain 10.0.0.7 --limit 10s", "Those of one subscriber, within ten seconds"),
    ],
    exits={1: LIMIT_MET, 3: "no such wire is running, or nothing matches"},
    see=["bypass", "resume", "status"],
)
@target_argument
@limit_option
@name_option
@json_option
def drain(target: str | None, limit: float, name: str | None, as_json: bool) -> int:
    """Stop optimizing, deliver what is held, lose nothing.

    Nothing more is acknowledged early; what was acknowledged early and is not delivered yet is delivered; then the
    connections go on as if there had never been an optimizer. New connections are optimized as before. A drain that
    meets its limit resets what is left, says how many those were, and exits with 1.
    """
    return order("drain", target, name, as_json, limit_s=limit)


@command(
    "bypass",
    examples=[
        ("smartwire bypass", "Turn the wire into plain copper, connection by connection, without breaking any"),
        ("smartwire bypass 2001:db8:7::/64", "Leave one subscriber alone"),
    ],
    exits={1: LIMIT_MET, 3: "no such wire is running"},
    see=["resume", "drain", "status"],
)
@target_argument
@limit_option
@name_option
@json_option
def bypass(target: str | None, limit: float, name: str | None, as_json: bool) -> int:
    """Drain, and optimize no new connections either.

    As `smartwire drain`, and new connections of the target stay untouched until `smartwire resume`.
    """
    return order("bypass", target, name, as_json, limit_s=limit)


@command(
    "resume",
    examples=[("smartwire resume", "End a bypass of the whole wire")],
    exits={3: "no such wire is running"},
    see=["bypass", "status"],
)
@target_argument
@name_option
@json_option
def resume(target: str | None, name: str | None, as_json: bool) -> int:
    """Optimize new connections again.

    Connections that were handed back stay as they are: an optimizer that did not see a connection begin does not know
    enough about it.
    """
    return order("resume", target, name, as_json)


def order(what: str, target: str | None, name: str | None, as_json: bool, **parameters: Any) -> int:
    """Sends an order, shows how it proceeds, and returns the exit status."""
    from smartwire.cli.output import Progress, emit
    from smartwire.wire import control, registry
    from smartwire.wire import target as targets

    parsed = targets.parse(target)
    wire = registry.find(name)
    with Progress(f"{what} {target or wire.name}", quiet=as_json) as bar:

        def show(document: dict[str, Any]) -> None:
            left, held = document.get("flows_left", 0), document.get("custody_bytes", 0)
            bar.at(0, f"{what}: {left} connections, {held:,} bytes left")

        result = control.ask(wire.socket, what, show, target=parsed, **parameters)
    if as_json:
        emit({"order": what, "target": target or "wire", **result})
    else:
        click.echo(sentence(what, result))
    return 1 if result.get("reset", 0) else 0


def sentence(what: str, result: dict[str, Any]) -> str:
    """What came of the order, for a person."""
    if what == "resume":
        return "New connections are optimized again."
    text = f"{result['handed_back']} connections handed back in {result['seconds']:.1f} s"
    if result.get("reset"):
        text += f"; {result['reset']} could not be delivered within the limit and were reset at both ends"
    if what == "bypass":
        text += "; new ones are left alone until `smartwire resume`"
    return text + "."
