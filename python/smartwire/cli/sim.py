"""`smartwire sim`: connections over a link model in virtual time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from smartwire.cli.fuzz import fuzz
from smartwire.cli.page import DURATION, Page, json_option, section
from smartwire.errors import NotThere


class Sim(Page, click.Group):
    """A command that has subcommands, and does something without one."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Its own page, then the subcommands."""
        super().format_help(ctx, formatter)
        with section(formatter, "SUBCOMMANDS"):
            formatter.write_dl([(name, sub.get_short_help_str()) for name, sub in self.commands.items()])


@click.group(
    "sim",
    cls=Sim,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    synopsis=["smartwire sim [OPTIONS]", "smartwire sim fuzz [OPTIONS]"],
    examples=[
        ("smartwire sim --down lte-driving", "One download through the wire over a built-in profile"),
        ("smartwire sim --down lte-driving --no-optimize", "The same over a plain wire"),
        (
            "smartwire sim --down Verizon.down --up Verizon.up --flows 2 --cc bbr",
            "Two downloads over a trace, from BBR",
        ),
        ("smartwire sim --down umts --flows 0 --json | jq .rtt_ms", "The idle link"),
    ],
    exits={1: "it failed, or a byte was not the one that was sent", 3: "there is no such profile or file"},
    see=["sim fuzz", "replay", "bench", "lab"],
)
@click.option("--down", default="lte-still", show_default=True, help="Link to the phone: a profile or a trace file.")
@click.option("--up", help="Link from the phone (default: that of the profile, or the .up file beside a .down file).")
@click.option(
    "--flows", type=click.IntRange(0, 4000), default=1, show_default=True, help="Bulk downloads of one phone."
)
@click.option("--seconds", type=DURATION, default="30", show_default=True, help="How long, in virtual time.")
@click.option("--cc", type=click.Choice(("cubic", "bbr", "reno")), default="cubic", show_default=True,
              help="Congestion control of the servers.")  # fmt: skip
@click.option("--no-optimize", is_flag=True, help="A plain wire instead of the engine.")
@click.option("--family", type=click.Choice(("v4", "v6", "both")), default="v4", show_default=True,
              help="Addresses of the flows; both takes them in turn.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another seed, another instance.")
@click.option("--rtt-ms", type=click.FloatRange(0, 10_000), help="Round trip without queues (default: radio + 30).")
@click.option(
    "--queue-bytes", type=click.IntRange(1500), help="Queue towards the phone (default: the profile's, 2 MB)."
)
@click.option(
    "--loss", type=click.FloatRange(0, 1, max_open=True), default=0.0, help="Random loss on the radio, each way."
)
@click.option("--offset", type=DURATION, default="0", help="Where in a trace file the run begins.")
@click.option("--capture", type=click.Path(dir_okay=False), help="Write both sides of the wire to a pcapng file.")
@json_option
@click.pass_context
def sim(
    ctx: click.Context, down: str, up: str | None, as_json: bool, no_optimize: bool, offset: float, **numbers: Any
) -> None:
    """Connections over a link model in virtual time.

    A phone downloads from servers through a radio link with a deep queue, the wire, and the internet; all of it is
    computed, packet by packet, with model TCP ends, so a run takes a fraction of its length and gives the same figures
    each time. A UDP echo every 20 ms shares the queue: its round trip is what everything else of the subscriber
    suffers. Every byte is compared with what was sent.

    Links are built-in profiles (lte-still, lte-driving, umts, 5g, geo, leo, wifi-lossy) or mahimahi trace files: one
    time in ms per line at which 1,500 bytes may leave.
    """
    if ctx.invoked_subcommand:
        return
    from smartwire import _native
    from smartwire.cli.output import Progress, emit

    for name in filter(None, (down, up)):
        if name not in _native.profile_names() and not Path(name).exists():
            profiles = ", ".join(_native.profile_names())
            raise NotThere(f"There is neither a link profile nor a trace file {name}; the profiles are {profiles}.")
    plan = {"down": down, "up": up, "optimize": not no_optimize, "offset_ms": offset * 1000} | numbers
    with Progress("simulating", 1.0, quiet=as_json) as bar:
        report = json.loads(_native.simulate(json.dumps(plan), bar.at))
    if as_json:
        emit(report)
    else:
        show(report)


def show(report: dict[str, Any]) -> None:
    """Prints the report for a person."""
    from smartwire.cli.output import table

    what = f"optimized, {report['custody_share']:.1%} of payload under custody" if report["optimized"] else "plain wire"
    click.echo(
        f"{report['down']}, {len(report['flows'])} flows from {report['cc']} servers, {report['seconds']:g} s: {what}"
    )
    capacity, used = report["capacity_mbps"], report["utilisation"]
    of = f" of {capacity:.2f} ({used:.1%} of the link)" if capacity else ""
    rows = [("goodput", f"{report['goodput_mbps']:.2f} Mbit/s{of}")]
    spreads = (("queue", "queue_ms"), ("self-inflicted", "self_inflicted_ms"), ("echo RTT", "rtt_ms"))
    rows += [(label, spread(report[key])) for label, key in spreads]
    again = (
        f"{report['retransmitted_packets']:,} packets sent again, {report['dropped_packets']:,} dropped on the radio"
    )
    rows += [("retransmitted", again), ("integrity", report["integrity"])]
    for label, text in rows:
        click.echo(f"  {label:<15} {text}")
    if report["flows"]:
        click.echo()
        flows = enumerate(report["flows"], 1)
        cells = [
            (str(i), f["family"], f"{f['goodput_mbps']:.2f}", f"{f['rtt_ms']['p50']:.0f}", f"{f['rtt_ms']['p95']:.0f}",
             f"{f['retransmitted_packets']:,}", f"{f['timeouts']:,}") for i, f in flows
        ]  # fmt: skip
        heads = ("FLOW", "FAMILY", "MBIT/S", "SERVER RTT P50", "P95 MS", "SENT AGAIN", "TIMEOUTS")
        table(heads, cells, right=range(2, 7))


def spread(times: dict[str, float]) -> str:
    """Percentiles on one line."""
    return f"p50 {times['p50']:.0f}, p95 {times['p95']:.0f}, p99 {times['p99']:.0f} ms"


sim.add_command(fuzz)
