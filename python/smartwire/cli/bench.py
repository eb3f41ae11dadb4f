"""`smartwire bench`: how fast the engine, and a whole wire, are on this machine."""

from __future__ import annotations

import os
from typing import Any

import click

from smartwire.cli.page import command, json_option


@click.group("bench", context_settings={"help_option_names": ["-h", "--help"]})
def bench() -> None:
    """Measure the engine, or a whole wire, on this machine."""


@command(
    "engine",
    examples=[
        ("smartwire bench engine --flows 1000000", "A million connections resident"),
        ("smartwire bench engine --flows 1000 --json", "Connections that fit the caches, for a program"),
    ],
    see=["bench wire"],
)
@click.option(
    "--flows",
    type=click.IntRange(2, 1 << 24),
    default=1_000_000,
    show_default=True,
    help="Connections resident; half of them IPv6.",
)
@click.option(
    "--packets",
    type=click.IntRange(1000),
    default=4_000_000,
    show_default=True,
    help="Packets to measure in mixed batches, and again by class.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of everything random.")
@json_option
def engine(flows: int, packets: int, seed: int, as_json: bool) -> None:
    """Nanoseconds per packet and bytes per connection of the engine alone.

    From RX to TX without I/O, on one core. Every connection is opened by its handshake and used once; then two thirds
    of the packets are data of 1,448 bytes and one third acknowledgements, drawn uniformly from all connections, half
    of them IPv6. Payload is written in the same batch, checksums are verified, one data segment in 200 is lost on the
    radio, and timers, pacing and budgets are on.

    The figures are of the engine's calls. Writing packets, playing the endpoints, and checking every frame that leaves
    happen between the measured stretches; their time is printed apart.
    """
    from smartwire._native import bench_engine
    from smartwire.cli.output import emit

    on_one_core()
    document = bench_engine(flows, packets, seed)
    if as_json:
        emit(document)
    else:
        show_engine(document)


def on_one_core() -> None:
    """Keeps this process on the core that it is on, so that caches and clock stay the same."""
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {allowed[-1]})


LABELS = {
    "data_ipv4": "data, IPv4",
    "data_ipv6": "data, IPv6",
    "ack_ipv4": "acknowledgement, IPv4",
    "ack_ipv6": "acknowledgement, IPv6",
    "timers": "timers, pacing, retransmission (per packet of any kind)",
    "handshake": "packet of a handshake",
}


def show_engine(d: dict[str, Any]) -> None:
    """The figures for a person."""
    lines = [
        ("engine, per received packet", f"{d['ns_per_packet']:.0f} ns"),
        *((f"  {LABELS[name]}", f"{ns:.0f} ns") for name, ns in d["ns_per_packet_by_class"].items()),
        ("memory per established IPv6 connection", f"{d['bytes_per_flow']:.0f} bytes"),
        ("generator and endpoints, per packet (not in the above)", f"{d['ns_per_packet_generator']:.0f} ns"),
        ("acknowledged before the client did", f"{d['acknowledged_early_share']:.1%}"),
        ("data segments lost on the radio", f"{d['data_segments_lost']:,} of {d['data_segments_out']:,}"),
        ("sent again, probes", f"{d['retransmitted']:,}, {d['probes']:,}"),
        ("payload copied, frames damaged, resets", f"{d['payload_copies']}, {d['damaged']}, {d['resets']}"),
    ]
    click.secho(f"{d['flows']:,} connections resident, each used; {d['packets']:,} packets on one core", bold=True)
    width = max(len(label) for label, _ in lines)
    for label, value in lines:
        click.echo(f"{label.ljust(width)}  {value}")


bench.add_command(engine)
