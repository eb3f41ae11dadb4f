"""`smartwire lab`: hosts in namespaces, a radio emulator, scenarios."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from smartwire.cli.page import Page, argument, command
from smartwire.lab.scenarios import SCENARIOS

LINK_HELP = "A built-in profile, a mahimahi .down file, a .json description, or a rate such as 20mbit."


class Name(click.ParamType):
    """A name out of a list that is completed."""

    def __init__(self, name: str, known: Any) -> None:
        self.name, self.known = name, known

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
        """Names that begin with what was typed."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(n) for n in self.known() if n.startswith(incomplete)]


@click.group("lab", context_settings={"help_option_names": ["-h", "--help"]})
def lab() -> None:
    """Hosts in namespaces, a radio emulator, scenarios.

    The lab is five hosts on one machine: phone, radio, wire, internet, server. Phone and server are Linux with its own
    TCP; radio and internet are link emulators; the wire host joins its two ports with Smartwire, a bridge, or a proxy
    to compare with. Needs root.
    """


@command("list", see=["lab run", "lab up"])
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of tables.")
def list_(as_json: bool) -> None:
    """The scenarios, and the links that they can use."""
    import json

    from smartwire import _native
    from smartwire.cli.output import emit, table

    profiles = {name: json.loads(_native.profile(name))["text"] for name in _native.profile_names()}
    if as_json:
        scenarios = {n: {"text": e.text, "minutes": e.minutes} for n, e in SCENARIOS.items()}
        emit({"scenarios": scenarios, "links": profiles})
        return
    table(("SCENARIO", "ABOUT", "WHAT IT SHOWS"), [(n, f"{e.minutes:g} min", e.text) for n, e in SCENARIOS.items()])
    click.echo()
    table(("LINK", "WHAT IT IS"), profiles.items())
    click.echo("\nOther links: a mahimahi trace (NAME.down with NAME.up beside it), a rate such as 20mbit, or a .json")
    click.echo('file with any fault: {"down": {"rate": {"mbps": 20}, "delay_ms": 25, "loss": 0.01}, "up": {}}')


@command(
    "run",
    synopsis=["smartwire lab run SCENARIO... [OPTIONS]"],
    examples=[
        ("smartwire lab run queue", "Queueing delay, beside CUBIC, BBR and a terminating proxy"),
        ("smartwire lab run loss --quick --ip 4", "A short look at 1% of loss, IPv4 only"),
        ("smartwire lab run queue --link trace.down --json", "The same on a trace of your own; figures for a program"),
        ("smartwire lab run all --save results", "Everything; the figures of each scenario in a file"),
    ],
    exits={
        0: "all bounds hold",
        1: "a bound was missed, or a byte was wrong, or the run proves nothing",
        3: "no such scenario",
    },
    see=["lab list", "demo"],
)
@argument("names", nargs=-1, required=True, metavar="SCENARIO...", type=Name("scenario", lambda: [*SCENARIOS, "all"]),
          help="Of `smartwire lab list`; all: every one.")
@click.option("--quick", is_flag=True, help="Short and coarse, to see that it works; its figures are no measurement.")
@click.option("--ip", "version", type=click.Choice(["4", "6", "both"]), default="both", show_default=True)
@click.option("--link", "links", multiple=True,
              help=f"Instead of the scenario's own links; may be given several times. {LINK_HELP}")
@click.option("--seed", default=1, show_default=True, help="Of everything random.")
@click.option("--io", type=click.Choice(["auto", "xdp", "packet"]), help="How the wire gets its packets.")
@click.option("--save", type=click.Path(file_okay=False, path_type=Path),
              help="Also write each scenario's document to a file in this directory.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per scenario instead of tables.")
def run(names: tuple[str, ...], quick: bool, version: str, links: tuple[str, ...], seed: int, io: str | None,
        save: Path | None, as_json: bool) -> int:  # fmt: skip
    """Carry out scenarios and hold their figures against their bounds.

    Builds a lab for each thing that is compared, runs them in turn over the same seconds of the same link, takes all
    down again. Every byte is checked, and a run in which less than 95% of the TCP payload was under custody has
    failed, unless it is about connections that are left alone.
    """
    import json

    from smartwire.cli.output import emit
    from smartwire.lab.links import link
    from smartwire.lab.net import check_requirements, sweep
    from smartwire.lab.scenarios import find

    chosen = {name: find(name) for name in (SCENARIOS if "all" in names else names)}
    radios = [link(text, seed) for text in links]
    check_requirements()
    if save:
        save.mkdir(parents=True, exist_ok=True)
    sweep()
    passed = True
    for name, function in chosen.items():
        versions = (4, 6) if version == "both" else (int(version),)
        trial = carry_out(name, function, as_json, quick=quick, versions=versions, seed=seed, links=radios,
                          options=("--io", io) if io else ())  # fmt: skip
        passed = passed and trial.passed
        if save:
            (save / f"{name}.json").write_text(json.dumps(trial.document(), indent=1))
        if as_json:
            emit(trial.document())
        else:
            show(trial)
    return 0 if passed else 1


def carry_out(name: str, function: Callable, quiet: bool, quick: bool, versions: tuple[int, ...], **knobs: Any) -> Any:
    """Runs one scenario; returns its Trial, whatever came of it."""
    from smartwire.errors import Error
    from smartwire.lab.progress import Story
    from smartwire.lab.trial import Trial

    entry = SCENARIOS[name]
    minutes = (entry.quick_minutes if quick else entry.minutes) * len(versions) / 2
    with Story(f"{name}: building the lab", minutes * 60, quiet) as story:
        story.say(f"{name}: {entry.text}; about {minutes:.2g} min")
        trial = Trial(name, story, quick, versions, **knobs)
        try:
            function(trial)
        except Error as problem:  # what was measured before it still stands
            trial.faults.append(str(problem).rstrip("."))
    return trial


def show(trial: Any) -> None:
    """Figures and verdicts on the terminal."""
    from smartwire.cli.output import table
    from smartwire.lab.trial import show as cell

    shapes: dict[tuple[str, ...], list[dict]] = {}
    for row in trial.figures:
        plain = {k: v for k, v in row.items() if not isinstance(v, list | dict)}
        shapes.setdefault(tuple(plain), []).append(plain)
    for columns, rows in shapes.items():
        click.echo()
        numeric = [i for i, c in enumerate(columns) if isinstance(rows[0][c], int | float)]
        table([c.replace("_", " ") for c in columns], [[cell(r[c]) for c in columns] for r in rows], right=numeric)
    click.echo()
    for verdict in trial.verdicts:
        mark = click.style("ok    ", fg="green") if verdict.passed else click.style("MISSED", fg="red")
        click.echo(f"{mark}  {verdict.text()}")
    if trial.shares:
        click.echo(f"custody: at least {min(trial.shares):.1%} of the TCP payload in each of {len(trial.shares)} runs")
    for fault in trial.faults:
        click.echo(click.style(f"FAULT   {fault}", fg="red"))
    if trial.quick:
        click.echo("(--quick: these figures show that it works, and measure nothing)")


@command("up", see=["lab shell", "lab down"],
         examples=[("smartwire lab up", "A stationary LTE link with Smartwire in the middle"),
                   ("smartwire lab up --link geo --middle none", "A satellite; join the wire host's ports yourself")])
@click.option("--link", "link_text", default="lte-still", show_default=True, help=LINK_HELP)
@click.option("--middle", type=click.Choice(["smartwire", "bridge", "none"]), default="smartwire", show_default=True,
              help="What joins the wire host's ports.")
@click.option("--phones", type=click.IntRange(1, 200), default=1, show_default=True, help="Subscribers.")
@click.option("--seed", default=1, show_default=True, help="Of everything random in the link.")
def up(link_text: str, middle: str, phones: int, seed: int) -> None:
    """Build a lab that stays, to try things by hand."""
    from smartwire.lab import standing
    from smartwire.lab.links import describe, link
    from smartwire.lab.net import sweep

    radio = link(link_text, seed)
    sweep()
    made = standing.up(radio, middle, phones)
    click.echo(f"The lab stands: {describe(radio)}; {middle} in the middle.")
    click.echo(f"Phone: {made.phone_v4(1)}, {made.phone_v6(1)}. Server: {made.server_v4}, {made.server_v6}. Try:")
    click.echo(f"  smartwire lab shell phone -- curl -o /dev/null http://{made.server_v4}:8080/10000000")
    if middle == "smartwire":
        click.echo(f"  smartwire status --name {standing.WIRE_NAME}")
    elif middle == "none":
        click.echo("  smartwire lab shell wire -- smartwire run access core")
    click.echo("  smartwire lab down")


def host_names() -> list[str]:
    """Hosts of the lab, for completion."""
    from smartwire.lab.net import HOSTS

    return list(HOSTS)


@command("shell", see=["lab up"], synopsis=["smartwire lab shell HOST [-- COMMAND...]"],
         examples=[("smartwire lab shell phone", "A shell on the phone"),
                   ("smartwire lab shell phone -- curl -O http://10.2.0.1:8080/1000000", "One command on it")])
@argument("host", type=Name("host", host_names), help="phone, radio, wire, internet or server.")
@argument("argv", nargs=-1, type=click.UNPROCESSED, help="What to run there; a shell if absent.")
def shell(host: str, argv: tuple[str, ...]) -> None:
    """Enter a host of the lab that stands."""
    from smartwire.lab import standing

    standing.enter(host, argv)


@command("down", see=["lab up"])
def down() -> None:
    """Remove the lab that stands, and what killed runs left behind."""
    from smartwire.lab import standing
    from smartwire.lab.net import check_requirements, sweep

    check_requirements()
    stood, swept = standing.down(), sweep()
    what = ["The lab is gone." if stood else "No lab was standing."]
    if swept:
        what.append(f"{swept} namespaces of killed runs were removed.")
    click.echo(" ".join(what))


for page in (list_, run, up, shell, down):
    assert isinstance(page, Page)
    lab.add_command(page)
