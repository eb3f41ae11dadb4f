"""`smartwire bench proxy`: transactions per second, time to first byte and processor time of the proxy engine."""

from __future__ import annotations

from pathlib import Path

import click

from smartwire.cli.page import DURATION, command, json_option


@command(
    "proxy",
    examples=[
        ("smartwire bench proxy", "All scenarios, 30 times in turn"),
        ("smartwire bench proxy --rounds 5 --seconds 1s --json", "A short look, for a program"),
    ],
    exits={1: "it failed, or the proxy did not see as many connections as there were transactions"},
    see=["proxy up", "bench wire"],
)
@click.option("--rounds", type=click.IntRange(2), default=30, show_default=True, help="How often all take their turn.")
@click.option("--seconds", type=DURATION, default="2s", show_default=True, help="Length of each run.")
@click.option("--size", type=click.IntRange(1, 100_000_000), default=8192, show_default=True, help="Bytes per object.")
@click.option("--connections", type=click.IntRange(1, 5000), default=32, show_default=True, help="At a time.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the order in each round.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTML page with a plot, too.")
@json_option
def proxy(
    rounds: int, seconds: float, size: int, connections: int, seed: int, report: Path | None, as_json: bool
) -> None:
    """Transactions per second, time to first byte and processor time of the proxy engine.

    Client and server each behind a router, in network namespaces, with the box between them: the proxy in TCP and HTTP
    mode, with and without splicing; the same HAProxy without transparency or container; and no proxy. All take turns in
    an order of chance, and each is compared with the best case of the same round. A transaction is one TCP connection
    for one object. The client is a single process in Python: where it uses a whole CPU, it is the bottleneck, and
    HAProxy's processor time per transaction is the figure to look at. Needs root and HAProxy.
    """
    import contextlib
    import tempfile

    from smartwire.cli.output import Progress, emit, table
    from smartwire.proxy.bench import LEFT_OUT, SCENARIOS, figures, orders, prepared, syn_cost
    from smartwire.proxy.bench_report import COLUMNS, html, notes, rows, title
    from smartwire.proxy.haproxy import program
    from smartwire.wire.ports import check_machine

    check_machine()
    program()
    with tempfile.TemporaryDirectory() as directory, contextlib.ExitStack() as stack:
        benches = [stack.enter_context(prepared(s, size, Path(directory))) for s in SCENARIOS]
        with Progress("measuring", rounds * len(benches), quiet=as_json) as progress:
            for done, order in enumerate(orders(rounds, len(benches), seed)):
                for n, which in enumerate(order):
                    progress.at(done * len(benches) + n, benches[which].scenario.text)
                    benches[which].run(seconds, connections)
        document = {
            "rounds": rounds,
            "seconds": seconds,
            "size": size,
            "connections": connections,
            "figures": figures(benches),
            "syn": [syn_cost(prefixes, seed) for prefixes in (1, 1000, 1 << 17)],
            "left_out": LEFT_OUT,
        }
    if report:
        report.write_text(html(document))
    if as_json:
        emit(document)
        return
    click.echo(title(document))
    table(COLUMNS, rows(document), right=(1, 2, 3, 4, 6, 8))
    for note in notes(document):
        click.echo(note)
