"""`smartwire daemon`: smartwired, in the foreground."""

from __future__ import annotations

from smartwire.cli.page import command


@command(
    "daemon",
    examples=[
        ("smartwire daemon", "Own the configuration of this machine, and drive its wires"),
        ("SMARTWIRE_STATE=/tmp/try smartwire daemon", "With a configuration of its own, for a try"),
    ],
    exits={1: "another one is running, or the state cannot be read or written", 0: "it was told to stop; wires go on"},
    see=["run", "status"],
)
def daemon() -> None:
    """Be smartwired: own the configuration, drive wires.

    It also collects counters and raises alarms.

    Stays in the foreground until SIGINT (Ctrl-C) or SIGTERM. Wires are processes of their own: they go on forwarding
    and optimizing when smartwired ends or dies, and the next one finds them again. While it runs, the ports in its
    configuration are its own: `smartwire run` and `unwire` refuse them, and say what to configure instead.

    The configuration is in /var/lib/smartwire (SMARTWIRE_STATE), its socket in /run/smartwire (SMARTWIRE_RUN).
    """
    from smartwire.config.daemon import serve

    serve()
