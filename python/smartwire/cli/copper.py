"""`smartwire copper`: joins interfaces by plain copper wire."""

from __future__ import annotations

import click

from smartwire.cli.page import INTERFACE, command


@command(
    "copper",
    synopsis=["smartwire copper [ACCESS CORE]"],
    examples=[
        ("smartwire copper eth1 eth2", "Pass every frame between the two, optimize nothing"),
        ("smartwire copper", "Join what smartwired had joined: at boot, before it starts"),
    ],
    exits={1: "some could not be joined; a sentence each says why", 3: "no such interface"},
    see=["run", "unwire", "daemon"],
)
@click.argument("access", type=INTERFACE, required=False)
@click.argument("core", type=INTERFACE, required=False)
def copper(access: str | None, core: str | None) -> int:
    """Join two interfaces by plain copper wire.

    Frames pass between them in the kernel, untouched, until `smartwire unwire ACCESS CORE`. No process stays. Without
    arguments it joins the pairs that smartwired has written down, which needs no configuration and no smartwired.
    """
    from smartwire.errors import Error
    from smartwire.wire import copper, ports

    if (access is None) != (core is None):
        raise click.UsageError("Name both interfaces, or none.")
    ports.check_machine()
    if access and core:
        ports.check_pair(access, core)
    status = 0
    for pair in [copper.Pair(access, core)] if access and core else copper.remembered():
        try:
            done = copper.join(pair)
        except Error as e:
            click.echo(f"smartwire: {pair}: {e}", err=True)
            status = e.exit_code
            continue
        click.echo(f"{pair} are joined by copper wire." if done else f"{pair} are a running wire already.")
    return status
