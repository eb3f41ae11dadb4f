"""`smartwire bench proxy`: transactions per second, time to first byte and processor time of the proxy engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from smartwire.cli.page import DURATION, command, json_option

PARTS = ("scenarios", "objects", "frames", "rules")


@command(
    "proxy",
    examples=[
        ("smartwire bench proxy", "All scenarios, 30 times in turn"),
        ("smartwire bench proxy --rounds 5 --seconds 1s --json", "A short look, for a program"),
        ("smartwire bench proxy --part frames --part rules", "Only what it costs those that are not proxied"),
    ],
    exits={1: "it failed, or the proxy did not see as many connections as there were transactions"},
    see=["proxy up", "bench wire"],
)
@click.option("--rounds", type=click.IntRange(2), default=30, show_default=True, help="How often all take their turn.")
@click.option("--seconds", type=DURATION, default="2s", show_default=True, help="Length of each run.")
@click.option("--size", type=click.IntRange(1, 100_000_000), default=8192, show_default=True, help="Bytes per object.")
@click.option("--connections", type=click.IntRange(1, 5000), default=32, show_default=True, help="At a time.")
@click.option(
    "--part",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    default=PARTS,
    help="Only this part, which may be given several times: the scenarios, the sizes of objects, the cost of frames "
    "that are not proxied, the cost of rules.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the order in each round.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page with a plot, too.")
@json_option
def proxy(
    rounds: int, seconds: float, size: int, connections: int, parts: tuple[str, ...], seed: int, report: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Transactions per second, time to first byte and processor time of the proxy engine.

    Client and server each behind a router, in network namespaces, with the box between them. Scenarios: the proxy
    in TCP and HTTP mode, with and without splicing, with sk_lookup, nftables and connection tracking; the same
    HAProxy without transparency or container; and no proxy. Objects: sizes from 1 kB to 10 MB and two mixes,
    direct, through the wire engine and through the proxy. All take turns in an order of chance, and each is
    compared with the best case, or with direct, of the same round. A transaction is one TCP connection for one
    object. The client is a single process in Python: where it uses a whole CPU, it is the bottleneck, and HAProxy's
    processor time per transaction is the figure to look at. Needs root, HAProxy and nftables.
    """
    import tempfile

    from smartwire.cli.output import Progress, emit
    from smartwire.proxy.bench import LEFT_OUT, syn_cost
    from smartwire.proxy.bench_frames import frame_cost
    from smartwire.proxy.bench_report import html
    from smartwire.proxy.haproxy import program
    from smartwire.wire.ports import check_machine

    check_machine()
    program()
    asked = {"rounds": rounds, "seconds": seconds, "size": size, "connections": connections}
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        document = asked | {
            "figures": scenarios(asked, seed, where, as_json) if "scenarios" in parts else [],
            "objects": objects(asked, seed, where, as_json) if "objects" in parts else [],
            "frames": [],
            "syn": [],
            "left_out": LEFT_OUT,
        }
        if "frames" in parts:
            with Progress("frames that are not proxied", 1, quiet=as_json):
                document["frames"] = frame_cost(rounds, seed, where)
        if "rules" in parts:
            document["syn"] = [syn_cost(prefixes, seed) for prefixes in (1, 1000, 1 << 17)]
    if report:
        report.write_text(html(document))
    emit(document) if as_json else show(document)


def scenarios(asked: dict[str, Any], seed: int, where: Path, quiet: bool) -> list[dict[str, Any]]:
    """The paper's."""
    import contextlib

    from smartwire.cli.output import Progress
    from smartwire.proxy.bench import SCENARIOS, figures, orders, prepared

    with contextlib.ExitStack() as stack:
        benches = [stack.enter_context(prepared(s, where)) for s in SCENARIOS]
        with Progress("scenarios", asked["rounds"] * len(benches), quiet=quiet) as progress:
            for done, order in enumerate(orders(asked["rounds"], len(benches), seed)):
                for n, which in enumerate(order):
                    progress.at(done * len(benches) + n, benches[which].scenario.text)
                    benches[which].run(str(asked["size"]), asked["seconds"], asked["connections"])
        return figures(benches)


def objects(asked: dict[str, Any], seed: int, where: Path, quiet: bool) -> list[dict[str, Any]]:
    """By size."""
    from smartwire.cli.output import Progress
    from smartwire.proxy.bench_objects import OBJECTS, object_figures

    rounds = max(2, asked["rounds"] // 5)
    with Progress("objects", rounds * len(OBJECTS) * 3, quiet=quiet) as progress:
        return object_figures(rounds, asked["seconds"], asked["connections"], seed, where, progress.at)


def show(document: dict[str, Any]) -> None:
    """For a person."""
    from smartwire.cli.output import table
    from smartwire.proxy import bench_report as shown

    click.echo(shown.title(document))
    if document["figures"]:
        table(shown.COLUMNS, shown.rows(document), right=(1, 2, 3, 4, 6, 8))
    if document["objects"]:
        table(shown.OBJECT_COLUMNS, shown.object_rows(document), right=(2, 3, 4, 6))
    if document["frames"]:
        table(shown.FRAME_COLUMNS, shown.frame_rows(document), right=(0, 1, 2, 3, 4))
    for note in shown.notes(document):
        click.echo(note)
