"""`smartwire script`: packet scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from smartwire.cli.page import argument, command, json_option
from smartwire.errors import Error, NotThere
from smartwire.files import read_text

SUFFIX = ".pkt"


@click.group("script", context_settings={"help_option_names": ["-h", "--help"]})
def script() -> None:
    """Packet scripts: what each end of a connection receives.

    A script says what client and server send, when, and what each of them must receive from the wire between them, and
    nothing else. It runs in virtual time, as IPv4 and IPv6, with numbers that wrap, with roles swapped and through
    tunnels. docs/packet-scripts.md describes the dialect; tests/tcp holds the scripts.
    """


@command(
    "run",
    synopsis=["smartwire script run FILE... [OPTIONS]"],
    examples=[
        ("smartwire script run tests/tcp", "All scripts below a directory"),
        ("smartwire script run tests/tcp/close -v", "Those of a directory, with both time lines of each"),
        ("smartwire script run my.pkt --variant v6+wrap -v", "One script in one variant, with both time lines"),
    ],
    exits={1: "a script failed, or passed though it says that it fails", 3: "there is no such file"},
    see=["script rules", "replay"],
)
@argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path),
          help=f"Scripts, or directories with {SUFFIX} files in them.")
@click.option("--variant", metavar="NAME", help="Only one, such as v4, v6+wrap+tswrap, v4+swap (default: all).")
@click.option("-v", "--verbose", is_flag=True, help="Show both time lines of scripts that pass too.")
@json_option
def run(files: tuple[Path, ...], variant: str | None, verbose: bool, as_json: bool) -> int:
    """Run packet scripts in all variants.

    A script that fails is shown with what was expected (-) and what came (+), on the time lines of client and server,
    and with the command that runs it again.
    """
    from smartwire.cli.output import emit

    began = time.monotonic()
    reports = {str(path): report(path, variant, verbose) for path in scripts(files)}
    failed = [path for path, one in reports.items() if not one["ok"]]
    if as_json:
        emit(reports)
        return 1 if failed else 0
    for path, one in reports.items():
        if verbose or not one["ok"]:
            click.echo(click.style(f"{path}: {one['title']}", bold=True))
            click.echo(one["text"])
    runs = sum(one["variants"] for one in reports.values())
    took = f"{runs:,} runs in {time.monotonic() - began:.1f} s"
    click.echo(f"{len(reports) - len(failed)} scripts passed, {len(failed)} failed ({took})")
    return 1 if failed else 0


def report(path: Path, variant: str | None = None, verbose: bool = False) -> dict[str, Any]:
    """Runs one script.

    Returns:
        ok, xfail, title, rules, variants (how many), failed (names of variants), text (for a person).
    """
    from smartwire import _native

    text = read_text(path)
    if variant and variant not in _native.script_variants():
        raise Error(f"There is no variant {variant}; they are {', '.join(_native.script_variants())}.")
    return json.loads(_native.run_script(str(path), text, variant, verbose))


def scripts(paths: Iterable[Path]) -> list[Path]:
    """The scripts themselves, in order; directories give those below them."""
    found: list[Path] = []
    for path in paths:
        below = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]
        if not below:
            raise NotThere(f"There is no {SUFFIX} file in {path}.")
        found += below
    return found


@command(
    "rules",
    examples=[
        ("smartwire script rules", "The table of this checkout"),
        ("smartwire script rules > docs/tcp-rules.md", "Bring the document up to date"),
    ],
    exits={1: "a rule has no script", 3: "there are no rules in the directory"},
    see=["script run"],
)
@argument("directory", default="tests/tcp", metavar="[DIR]", type=click.Path(path_type=Path),
          help="Scripts, and a file RULES (default: tests/tcp).")
def rules(directory: Path) -> int:
    """Print which scripts hold which rule of the specification.

    The rules are those of the file RULES; a script names the ones that it holds in its `rule` lines. The table is
    Markdown.
    """
    click.echo(table(directory), nl=False)
    return 0 if set(known(directory)) <= set(held(directory)) else 1


def table(directory: Path) -> str:
    """The table of rules and scripts, in Markdown."""
    holders = held(directory)
    lines = [TABLE_HEAD]
    for name, text in known(directory).items():
        found = [f"[{p.stem}](../{p})" for p in holders.get(name, [])]
        lines.append(f"| `{name}` | {text} | {'<br>'.join(found) or '**none**'} |")
    return "\n".join(lines) + "\n"


TABLE_HEAD = """# The rules and their scripts

What the engine must do, and the packet scripts that hold it to that. Made by `smartwire script rules`; the rules are in
[tests/tcp/RULES](../tests/tcp/RULES), the dialect in [packet-scripts.md](packet-scripts.md).

| rule | what it says | scripts |
| --- | --- | --- |"""


def known(directory: Path) -> dict[str, str]:
    """The rules of a directory: identifier and text."""
    try:
        lines = (directory / "RULES").read_text(encoding="utf-8").splitlines()
    except OSError:
        raise NotThere(f"There is no file {directory / 'RULES'}.") from None
    return dict(line.split(None, 1) for line in lines if line and not line.startswith("#"))


def held(directory: Path) -> dict[str, list[Path]]:
    """The scripts that hold each rule, by its identifier."""
    holders: dict[str, list[Path]] = {}
    for path in scripts([directory]):
        for line in path.read_text(encoding="utf-8").splitlines():
            for name in line.split()[1:] if line.startswith("rule ") else ():
                holders.setdefault(name, []).append(path)
    return holders


@command(
    "from",
    synopsis=["smartwire script from FILE [OPTIONS]"],
    examples=[
        ("smartwire script from one.pcapng", "The script of the only connection in a capture"),
        ("smartwire script from all.pcapng --flow 3 > tests/tcp/NAME.pkt", "That of the third, into a file"),
    ],
    exits={1: "there is no script to be had of it", 3: "there is no such file"},
    see=["capture", "script run"],
)
@argument("file", metavar="FILE", type=click.Path(path_type=Path), help="A pcapng or pcap file.")
@click.option("--flow", type=click.IntRange(1), help="Which connection, by the order of their first packets.")
@click.option("--packets", type=click.IntRange(3), default=400, show_default=True, help="How many packets to take.")
def from_(file: Path, flow: int | None, packets: int) -> int:
    """Turn a connection in a capture into a packet script.

    What came in at the wire is sent again at the same times, with the payload replaced by a pattern; what the engine
    does about it today is written down as what it must do. Captures of `smartwire capture` and `smartwire sim
    --capture` hold both sides of the wire. The script goes to standard output; edit it until it says one thing.
    """
    from smartwire import _native, pcapng

    frames = [(max(p.unix_ns, 0), p.interface, p.direction, p.frame, p.length) for p in pcapng.read(file)]
    click.echo(_native.script_from(file.name, frames, flow, packets), nl=False)
    return 0


script.add_command(run)
script.add_command(from_)
script.add_command(rules)
