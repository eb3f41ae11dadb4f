"""`smartwire cli`: the box's command line, as Junos users know it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from smartwire.cli.page import command

if TYPE_CHECKING:
    from smartwire.config.client import Client


@command(
    "cli",
    examples=[
        ("smartwire cli", "Log in; ? shows what can be typed, at any point"),
        ('smartwire cli -c "show wires"', "Run one command and leave"),
        ('smartwire cli -c configure -c "set wires north mode observe" -c commit', "Several, in one session"),
        ("smartwire cli < commands", "Those of a file; the first that fails ends it"),
    ],
    exits={1: "a command failed, or the login did", 3: "smartwired is not running"},
    see=["daemon", "status"],
)
@click.option("--command", "-c", "commands", multiple=True, help="Run this and leave; may be given several times.")
@click.option("--user", default="", help="Log in as this user of the configuration, by password.")
def cli(commands: tuple[str, ...], user: str) -> int:
    """The box's command line: look, configure, commit.

    Two modes, as in Junos: operational (>) and configuration (#). Tab and space complete; ? shows what may come next,
    without Enter; commands may be abbreviated. It is a face of smartwired, which must be running (`smartwire daemon`),
    and can be a user's login shell: what is allowed is decided there.
    """
    from smartwire.shell import front
    from smartwire.shell.shell import Shell

    with login(user) as session:
        shell = Shell(session, session.identity["user"], lambda: session.identity["host_name"])
        if commands:
            return front.script(shell, commands)
        if not sys.stdin.isatty():
            return front.script(shell, (line.rstrip("\n") for line in sys.stdin))
        return front.interactive(shell)


def login(user: str) -> Client:
    """A session of smartwired; asks for the password on a terminal where one is needed."""
    from smartwire.config import client

    source = f"cli {os.path.basename(os.ttyname(0)) if sys.stdin.isatty() else ''}".strip()
    told = lambda sentence: print(f"\n{sentence}", file=sys.stderr)  # noqa: E731
    try:
        return client.connect(user, source=source, tell=told)
    except client.LoginNeeded:
        if not sys.stdin.isatty():
            raise
    if banner := client.greeting()["message"]:
        click.echo(banner)
    name = user or click.prompt("login")
    return client.connect(name, click.prompt("password", hide_input=True), source, told)
