"""`smartwire capture`: both sides of chosen connections in a pcapng file."""

from __future__ import annotations

import os
from pathlib import Path

import click

from smartwire.cli.page import DURATION, argument, command, json_option, name_option


@command(
    "capture",
    synopsis=["smartwire capture [TARGET] -w FILE [--seconds TIME] [--packets N] [--snap BYTES] [--name NAME]"],
    examples=[
        ("smartwire capture -w all.pcapng --seconds 10s", "Everything that the wire sees for ten seconds"),
        ("smartwire capture 10.0.0.7 -w one.pcapng", "One subscriber, until Ctrl-C"),
        ("smartwire capture -w - | tshark -r -", "To another program"),
    ],
    exits={3: "no such wire is running"},
    see=["flows", "replay"],
)
@argument(
    "target", required=False, help="A subscriber (10.0.0.7) or a connection (ACCESS:PORT-CORE:PORT); all if absent."
)
@click.option(
    "-w", "--write", "path", required=True, metavar="FILE", help="The file (pcapng), or - for standard output."
)
@click.option("--seconds", type=DURATION, help="End after this long (default: Ctrl-C ends it).")
@click.option("--packets", type=click.IntRange(1), help="End after this many packets.")
@click.option(
    "--snap", type=click.IntRange(64, 1 << 18), default=1 << 18, help="Bytes kept of each packet (default: all)."
)
@name_option
@json_option
def capture(
    target: str | None,
    path: str,
    seconds: float | None,
    packets: int | None,
    snap: int,
    name: str | None,
    as_json: bool,
) -> None:
    """Write both sides of chosen connections to a pcapng file.

    Each packet is in the file as it came in (inbound on one port) and as it left (outbound on the other), with what the
    wire itself sent. Wireshark shows the direction as frame.packet_flags_direction. A port of a wire shows tcpdump next
    to nothing, so this is the way to look. The wire is never slowed: packets that the disk does not take in time are
    left out and counted.
    """
    from smartwire.cli.output import Progress, emit
    from smartwire.wire import control, registry
    from smartwire.wire import target as targets

    parsed = targets.parse(target)
    wire = registry.find(name)
    to_stdout = path == "-"
    file = f"/proc/{os.getpid()}/fd/1" if to_stdout else str(Path(path).absolute())
    with Progress("capture", quiet=as_json or to_stdout) as bar:

        def show(document: dict[str, int]) -> None:
            bar.at(0, f"capture: {document['packets']:,} packets, {document['dropped']:,} dropped")

        try:
            result = control.ask(
                wire.socket, "capture", show, target=parsed, file=file, seconds=seconds, packets=packets, snap=snap
            )
        except KeyboardInterrupt:
            result = control.ask(wire.socket, "capture-end")
    if as_json and not to_stdout:
        emit({"file": path, **result})
    elif not to_stdout:
        dropped = f", {result['dropped']:,} dropped" if result["dropped"] else ""
        click.echo(f"{result['packets']:,} packets in {path}{dropped}")
