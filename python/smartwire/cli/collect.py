"""`smartwire counters collect`: the collector and the alarms of wires that run alone, in the foreground."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartwire.cli.address import Address
from smartwire.cli.page import DURATION, command

if TYPE_CHECKING:
    from smartwire.alarms.watch import Sink

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@command(
    "collect",
    synopsis=["smartwire counters collect [--syslog URL]... [--trap HOST]... [OPTIONS]"],
    examples=[
        ("smartwire counters collect", "Collect from every wire of this machine, until Ctrl-C"),
        ("smartwire counters collect --syslog tls://logs.example --trap 192.0.2.7", "Tell others of alarms, too"),
    ],
    exits={0: "it was told to stop (SIGINT, SIGTERM)", 1: "another process collects already, or it may not write"},
    see=["counters list", "counters show", "alarms"],
)
@click.option("--step", type=click.IntRange(1, 60), default=10, show_default=True, help="Seconds between two readings.")
@click.option("--keep", type=DURATION, default="48h", show_default=True, help="How long single readings are kept.")
@click.option("--keep-minutes", type=DURATION, default="15d", show_default=True, help="How long minutes are kept.")
@click.option("--keep-quarters", type=DURATION, default="396d", show_default=True, help="The same of quarter hours.")
@click.option("--drop-newer", is_flag=True, help="First delete records that are newer than the clock (it was wrong).")
@click.option(
    "--reset-rate",
    type=click.FloatRange(0.1),
    default=100.0,
    show_default=True,
    help="Resets per second of a wire that raise an alarm.",
)
@click.option("--bypass-on-reset-rate", is_flag=True, help="Bypass a wire by itself when that alarm is raised.")
@click.option(
    "--syslog",
    "servers",
    metavar="URL",
    multiple=True,
    help="Tell a syslog server of alarms: udp://HOST[:PORT], tcp://... or tls://... (may be given several times).",
)
@click.option("--syslog-ca", type=FILE, help="Certificates that a syslog server's must descend from (tls).")
@click.option(
    "--trap",
    "receivers",
    type=Address(162),
    multiple=True,
    metavar="HOST[:PORT]",
    help="Send SNMP traps to this receiver (may be given several times).",
)
@click.option("--trap-community", type=FILE, help="A file with the v2c community of traps (default: public).")
@click.option(
    "--trap-user",
    type=FILE,
    help="A file with user, authentication password and privacy password, a line each, for v3 traps.",
)
def collect(
    step: int, keep: float, keep_minutes: float, keep_quarters: float, drop_newer: bool, **options: Any
) -> None:
    """Collect the counters of all wires of this machine, and raise alarms.

    Stays in the foreground until SIGINT (Ctrl-C) or SIGTERM. Wires may come and go. A full disk, a wire that hangs or
    a clock that is set costs readings and is said; it never ends the collector. Not needed where smartwired runs, which
    does the same.

    A series (a counter of a wire, a port, a reason) takes about 3.2 MB of disk once it has been collected for 13
    months with the default times; a wire has about a hundred.
    """
    import signal
    import threading

    from smartwire.alarms.catalogue import Settings
    from smartwire.alarms.journal import Journal, journal_path
    from smartwire.alarms.watch import Watcher
    from smartwire.counters.collect import Collector
    from smartwire.counters.history import database
    from smartwire.counters.sources import Proxies, Wires
    from smartwire.counters.store import Retention
    from smartwire.wire import roundtrips

    retention = Retention((step, int(keep)), (60, int(keep_minutes)), (900, int(keep_quarters)))
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    wires, proxies = Wires(roundtrips.sample), Proxies()
    collector = Collector(database(), [wires, proxies], retention, say=say, drop_newer=drop_newer)
    settings = Settings(reset_rate=options["reset_rate"], bypass_on_reset_rate=options["bypass_on_reset_rate"])
    told: list[Any] = []
    try:
        told = sinks(options)
        watcher = Watcher(wires, Journal(journal_path()), settings, told, say, proxies=proxies)
        click.echo(f"collecting into {collector.path} every {step} s; Ctrl-C stops")
        sys.stdout.flush()
        collector.run(stop, watcher)
    finally:
        for sink in told:
            sink.close()
        collector.close()


def say(sentence: str) -> None:
    """One line of the log, on standard error."""
    click.echo(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {sentence}", err=True)


def sinks(options: dict[str, Any]) -> list[Sink]:
    """Whoever is told of alarms, by the command's options."""
    from smartwire.counters.history import state_directory
    from smartwire.north.syslog import Sender, Server
    from smartwire.north.traps import Target, Traps

    servers = [Server.parse(text, options["syslog_ca"]) for text in options["servers"]]
    secrets: dict[str, str] = {}
    if options["trap_user"]:
        secrets = user_of(options["trap_user"])
    elif options["trap_community"]:
        secrets = {"community": options["trap_community"].read_text().strip()}
    targets = [Target(host, port, **secrets) for host, port in options["receivers"]]
    return [
        *(Sender(server, say) for server in servers),
        *(Traps(target, state_directory() / "snmp", say) for target in targets),
    ]


def user_of(file: Path) -> dict[str, str]:
    """A v3 user from its file."""
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    if len(lines) not in (2, 3) or any(len(password) < 8 for password in lines[1:]):
        raise click.UsageError(
            f"{file} must have a user and one or two passwords of at least 8 characters, a line each."
        )
    return dict(zip(("user", "authentication", "privacy"), lines, strict=False))
