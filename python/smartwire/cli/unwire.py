"""`smartwire unwire`: takes everything of Smartwire off two interfaces."""

from __future__ import annotations

import click

from smartwire.cli.page import INTERFACE, argument, command


@command(
    "unwire",
    examples=[("smartwire unwire eth1 eth2", "Give both interfaces back")],
    exits={1: "a wire is still running on them, or something could not be taken off", 3: "no such interface"},
    see=["run"],
)
@argument("access", type=INTERFACE, help="The interface towards the subscribers.")
@argument("core", type=INTERFACE, required=False, help="The interface towards the internet; none for a trunk.")
@click.option("--owner", hidden=True, help="The mark of smartwired, which gives back ports that are no pair any more.")
def unwire(access: str, core: str | None, owner: str | None) -> None:
    """Take everything of Smartwire off two interfaces.

    Removes the copper wire and all other programs, and gives the interfaces back the settings that they had before
    `smartwire run`. Frames are no longer passed between them.
    """
    from smartwire import _native
    from smartwire.cli.run import already, already_proxied
    from smartwire.wire import ownership, ports, registry

    if core is None:
        unwire_trunk(access, owner)
        return
    ports.check_pair(access, core)
    ports.check_machine()
    if owner is None:
        ownership.refuse(access, core, "unwire")
    already(access, core)
    already_proxied(access, core)
    found = _native.unwire(access, core)
    registry.forget(access, core)
    click.echo(f"{access} and {core} are two interfaces again." if found else f"{access} and {core} were not a wire.")


def unwire_trunk(trunk: str, owner: str | None) -> None:
    """The same of a port that a proxy had as its trunk."""
    import socket

    from smartwire import _native
    from smartwire.cli.run import already_proxied
    from smartwire.proxy.container import run
    from smartwire.wire import ownership, ports

    ports.check_port(trunk)
    ports.check_machine()
    if owner is None:
        ownership.refuse(trunk, trunk, "unwire")
    already_proxied(trunk, trunk)
    found = _native.proxy_take_off(socket.if_nametoindex(trunk))
    if found:
        run("ip", "link", "set", trunk, "promisc", "off")
    click.echo(f"{trunk} is no trunk any more." if found else f"{trunk} was not a trunk; a wire has two interfaces.")
