"""`smartwire replay`: a capture, or a wire's journal, through the engine in virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from smartwire.cli.page import argument, command, json_option
from smartwire.errors import Error, NotThere

JOURNAL_MAGIC = b"SWJRNL01"
LAYOUTS = {
    "ports": "both sides of a wire, with directions",
    "interfaces": "two interfaces; the side of the first SYN is the access side",
    "one-point": "one interface; whoever opens a connection is on the access side",
}


@command(
    "replay",
    examples=[
        ("smartwire replay trouble.pcapng", "What the engine would have done with a capture"),
        ("smartwire replay trouble.pcapng --json | jq '.flows[] | select(.findings != [])'", "What is odd about whom"),
        ("smartwire replay wire.journal", "A recording of `smartwire run --journal`, byte for byte"),
    ],
    exits={1: "it failed, or a journal's output differs from what was recorded", 3: "there is no such file"},
    see=["capture", "sim", "run"],
)
@argument("file", type=click.Path(path_type=Path), help="A pcap or pcapng file, or a journal.")
@json_option
def replay(file: Path, as_json: bool) -> int:
    """Run a capture through the engine in virtual time.

    Says for each connection whether it would have been optimized, or why not; how many acknowledgements the engine
    would have sent before the receiver's own, and how far ahead; and what is odd about the ends: no window scaling, a
    small initial window, segments larger than the other end takes. The ends in a capture can't react, so it does not
    say how much faster they would have become: `smartwire sim` and `smartwire lab` do.

    A capture of both ports of a wire is told apart by interface and direction, one of two interfaces by which saw a
    frame first, one of a single interface by who opens each connection.

    A journal, which `smartwire run --journal` records, is run again as it was, and its output compared with what went
    out then.
    """
    from smartwire.cli.output import emit

    if is_journal(file):
        report = replay_journal(file)
        emit(report) if as_json else show_journal(report)
        return 0 if report["identical"] else 1
    report = replay_capture(file, quiet=as_json)
    emit(report) if as_json else show(report)
    return 0


def is_journal(file: Path) -> bool:
    """Whether the file begins as a journal does."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(JOURNAL_MAGIC)) == JOURNAL_MAGIC
    except FileNotFoundError:
        raise NotThere(f"There is no file {file}.") from None
    except OSError as e:
        raise Error(f"{file} cannot be read: {e.strerror}.") from None


def replay_journal(file: Path) -> dict[str, Any]:
    """Runs a journal again."""
    from smartwire import _native

    return _native.replay_journal(file)


def replay_capture(file: Path, quiet: bool) -> dict[str, Any]:
    """Runs a capture."""
    from smartwire import _native, pcapng
    from smartwire.cli.output import Progress

    with Progress(f"reading {file.name}", quiet=quiet) as bar:
        frames = [(max(p.unix_ns, 0), p.interface, p.direction, p.frame, p.length) for p in pcapng.read(file)]
        if not frames:
            raise Error(f"{file} holds no packets.")
        bar.at(0, f"running {len(frames):,} packets")
        return json.loads(_native.replay(frames))


def show(report: dict[str, Any]) -> None:
    """Prints the report of a capture for a person."""
    from smartwire.cli.output import size, table

    flows = report["flows"]
    click.echo(
        f"{report['packets']:,} packets in {report['seconds']:.1f} s, {report['packets_in']:,} of them into the wire "
        f"({LAYOUTS[report['layout']]}); {len(flows):,} connections"
    )
    if report["packets_cut"]:
        cut = f"{report['packets_cut']:,} packets are cut short and were left out: capture whole packets (tcpdump -s 0)"
        click.echo(click.style(cut, fg="yellow"))
    why = ", ".join(f"{n} {reason}" for reason, n in report["refused"].items()) or "none"
    click.echo(f"  optimized       {report['optimized']:,} connections, {report['custody_share']:.1%} of payload")
    click.echo(f"  refused         {why}")
    made = f"{report['acks_made']:,} ACKs, {report['retransmitted_packets']:,} segments sent again"
    click.echo(f"  engine          {made}, {report['probes']:,} probes")
    if not flows:
        return
    click.echo()
    cells = [
        (
            f"{end(f['access_addr'], f['access_port'])} {end(f['core_addr'], f['core_port'])}",
            f["verdict"] + (f" ({f['reason']})" if f["reason"] else ""),
            size(f["down_bytes"]),
            size(f["up_bytes"]),
            size(f["repeated_bytes"]),
            f"{f['early_acks']:,}",
            size(f["furthest_ahead_bytes"]),
        )
        for f in flows
    ]
    table(("CONNECTION", "VERDICT", "DOWN", "UP", "SENT TWICE", "EARLY ACKS", "AHEAD"), cells, right=range(2, 7))
    found = [(f, finding) for f in flows for finding in f["findings"]]
    if found:
        click.echo()
        for f, finding in found:
            click.echo(f"{end(f['access_addr'], f['access_port'])}: {finding}")


def end(address: str, port: int) -> str:
    """Address and port, as they are written."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def show_journal(report: dict[str, Any]) -> None:
    """Prints the report of a journal for a person."""
    verdict = "the output is the one recorded" if report["identical"] else "THE OUTPUT DIFFERS"
    click.echo(f"{report['calls']:,} batches in {report['duration_s']:.1f} s: {verdict}")
    if not report["identical"]:
        click.echo(f"  first difference at {report['first_difference']}")
    click.echo(
        f"  frames          {report['frames_in']:,} in, {report['frames_out']:,} out ({report['bytes_out']:,} bytes)"
    )
    click.echo(f"  digest          {report['digest']}")
    if report["cut_off"]:
        click.echo("  the journal ends in the middle of a batch: its wire was killed")
    for name, value in report["counters"].items():
        if value:
            click.echo(f"  {name:<24} {value:,}")
