"""`smartwire bench`: how fast the engine, and a whole wire, are on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartwire.cli.bench_proxy import proxy
from smartwire.cli.page import DURATION, command, json_option
from smartwire.errors import Error

if TYPE_CHECKING:
    from smartwire.lab.trial import Trial


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


@command(
    "wire",
    examples=[
        ("smartwire bench wire", "Beside a Linux bridge, IPv4 and IPv6"),
        ("smartwire bench wire --io packet --seconds 2s --json", "Without XDP, for a program"),
    ],
    exits={1: "it failed, or a byte was not the one that was sent"},
    see=["bench engine", "lab"],
)
@click.option("--seconds", type=DURATION, default="4s", show_default=True, help="Length of each download.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True, help="How often all take their turn.")
@click.option("--ip", "version", type=click.Choice(["4", "6", "both"]), default="both", show_default=True)
@click.option("--io", type=click.Choice(["auto", "xdp", "packet"]), help="How the wire gets its packets.")
@json_option
def wire(seconds: float, rounds: int, version: str, io: str | None, as_json: bool) -> int:
    """Throughput, round trip and processor time of a whole wire on this machine.

    Two hosts in network namespaces, one virtual link from each to whatever stands between them: a Linux bridge, the
    wire, and the wire in observe mode, in turn. Each carries one download, of which every byte is checked, and one-byte
    requests. There is no radio: this is about what the wire costs. Needs root.
    """
    from smartwire.cli.output import emit
    from smartwire.lab.net import check_requirements, sweep
    from smartwire.lab.progress import Story
    from smartwire.lab.trial import Trial

    check_requirements()
    sweep()
    versions = (4, 6) if version == "both" else (int(version),)
    with Story("building the lab", 20 + rounds * len(versions) * 3 * (seconds + 4), as_json) as story:
        trial = Trial("bench wire", story, versions=versions, options=("--io", io) if io else ())
        document = measure_wire(trial, seconds, rounds)
    if trial.faults:
        raise Error(trial.faults[0].rstrip(".") + ".")
    if as_json:
        emit(document)
    else:
        show_wire(document)
    return 0


START_S = 0.3
REQUESTS = 1000


def measure_wire(trial: Trial, seconds: float, rounds: int) -> dict[str, Any]:
    """Runs the modes in turn; the document of `bench wire --json`."""
    from smartwire.lab.figures import goodput_mbps, median, quantile
    from smartwire.lab.measure.harm import BRIDGE
    from smartwire.lab.trial import OBSERVE, SMARTWIRE

    rows = []
    with trial.sessions(None, BRIDGE, SMARTWIRE, OBSERVE) as sessions:
        for version in trial.versions:
            found: dict[str, dict[str, list[float]]] = {}
            for _ in range(rounds):
                for name, session in sessions.items():
                    got = found.setdefault(name, {"rate": [], "rtt": [], "cpu": [], "machine": []})
                    who = session.phone(version)
                    bulk = {"kind": "get", "size": 0, "label": "bulk", "start": START_S, "stop": START_S + seconds}
                    clock = CpuClock(getattr(session.middle, "process", None))
                    outcome = trial.run(session, {"transfers": [bulk | who]}, START_S + seconds, f"bulk IPv{version}")
                    process, machine = clock.seconds()
                    rate = goodput_mbps(outcome.transfers, START_S + 0.2, START_S + seconds)
                    gigabits = rate * seconds / 1000
                    got["rate"].append(rate)
                    got["cpu"].append(process / gigabits)
                    got["machine"].append(machine / gigabits)
                    pings = {"kind": "ping", "size": REQUESTS, "label": "ping", "start": START_S}
                    outcome = trial.run(session, {"transfers": [pings | who]}, 2.0, f"one-byte requests IPv{version}")
                    got["rtt"] += [rtt * 1e6 for rtt in outcome.transfer("ping")["rtt"]]
            bridge = median(found["bridge"]["rate"])
            rows += [
                {
                    "ip": version,
                    "mode": name,
                    "goodput_mbps": median(got["rate"]),
                    "ratio_to_bridge": median(got["rate"]) / bridge,
                    "rtt_us": {"p50": median(got["rtt"]), "p99": quantile(got["rtt"], 0.99)},
                    "wire_cpu_s_per_gbit": None if name == "bridge" else median(got["cpu"]),
                    "machine_cpu_s_per_gbit": median(got["machine"]),
                }
                for name, got in found.items()
            ]
    return {"seconds": seconds, "rounds": rounds, "cpus": os.cpu_count(), "custody_share": min(trial.shares),
            "figures": rows}  # fmt: skip


class CpuClock:
    """Processor time since it was made: of a process with all its threads, and of the whole machine, idle apart."""

    def __init__(self, process: Any) -> None:
        self.pid = process.pid if process else None
        self.began = self.read()

    def seconds(self) -> tuple[float, float]:
        """(of the process, of the machine); 0 of a process that is none."""
        now = self.read()
        return now[0] - self.began[0], now[1] - self.began[1]

    def read(self) -> tuple[float, float]:
        """Both counts, seconds."""
        tick = os.sysconf("SC_CLK_TCK")
        process = 0
        if self.pid:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            process = int(fields[11]) + int(fields[12])
        user, nice, system, _idle, _iowait, *interrupts = Path("/proc/stat").read_text().split("\n")[0].split()[1:8]
        return process / tick, sum(map(int, (user, nice, system, *interrupts))) / tick


def show_wire(document: dict[str, Any]) -> None:
    """The figures for a person."""
    from smartwire.cli.output import table

    columns = ("IP", "BETWEEN", "MBIT/S", "TO BRIDGE", "RTT P50", "P99 US", "WIRE CPU", "MACHINE CPU S/GBIT")
    rows = [
        (
            f["ip"],
            f["mode"],
            f"{f['goodput_mbps']:,.0f}",
            f"{f['ratio_to_bridge']:.2f}",
            f"{f['rtt_us']['p50']:.0f}",
            f"{f['rtt_us']['p99']:.0f}",
            "-" if f["wire_cpu_s_per_gbit"] is None else f"{f['wire_cpu_s_per_gbit']:.2f}",
            f"{f['machine_cpu_s_per_gbit']:.2f}",
        )
        for f in document["figures"]
    ]
    table(columns, rows, right=range(2, 8))
    click.echo(f"{document['custody_share']:.1%} of the payload or more was under custody in each run of the wire.")


bench.add_command(engine)
bench.add_command(wire)
bench.add_command(proxy)
