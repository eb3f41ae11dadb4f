"""The `smartwire` command: finds the subcommand, runs it, and turns every failure into one sentence."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

import click

import smartwire


class Entry(NamedTuple):
    """Where a subcommand lives, so that `--help` imports none of them."""

    where: str
    short: str


GROUPS: dict[str, dict[str, Entry]] = {
    "The wire": {
        "run": Entry("smartwire.cli.run:run", "Join two interfaces into a smart wire"),
        "drain": Entry("smartwire.cli.order:drain", "Stop optimizing, deliver what is held, lose nothing"),
        "bypass": Entry("smartwire.cli.order:bypass", "Drain, and optimize no new connections either"),
        "resume": Entry("smartwire.cli.order:resume", "Optimize new connections again"),
        "copper": Entry("smartwire.cli.copper:copper", "Join two interfaces by plain copper wire"),
        "unwire": Entry("smartwire.cli.unwire:unwire", "Take everything of Smartwire off two interfaces"),
    },
    "The proxy": {
        "proxy": Entry("smartwire.cli.proxy:proxy", "Terminate chosen connections in a transparent HAProxy"),
    },
    "The box": {
        "cli": Entry("smartwire.cli.shell:cli", "The box's command line: look, configure, commit"),
        "web": Entry("smartwire.cli.web:web", "The box's web pages: does it work, does it help"),
        "daemon": Entry("smartwire.cli.daemon:daemon", "Be smartwired: own the configuration, drive wires"),
    },
    "Looking": {
        "status": Entry("smartwire.cli.look:status", "What a wire is doing, and why it leaves connections alone"),
        "flows": Entry("smartwire.cli.look:flows", "The connections that are being optimized"),
        "subscribers": Entry("smartwire.cli.look:subscribers", "Whose connections they are, with rate, RTT and queue"),
        "events": Entry("smartwire.cli.look:events", "What happened to connections, with reasons"),
        "alarms": Entry("smartwire.cli.alarms:alarms", "What is wrong now, since when, and what to do"),
        "counters": Entry("smartwire.cli.counters:counters", "Counters over time: collect, list, show"),
        "export": Entry("smartwire.cli.export:export", "Give counters and alarms to Prometheus or SNMP"),
        "capture": Entry("smartwire.cli.capture:capture", "Write both sides of chosen connections to a pcapng file"),
    },
    "Trying and measuring": {
        "demo": Entry("smartwire.lab.demo:demo", "See real downloads over an emulated radio link, with and without"),
        "lab": Entry("smartwire.lab.cli:lab", "Hosts in namespaces, a radio emulator, scenarios"),
        "sim": Entry("smartwire.cli.sim:sim", "Connections over a link model in virtual time"),
        "replay": Entry("smartwire.cli.replay:replay", "Run a capture through the engine in virtual time"),
        "script": Entry("smartwire.cli.script:script", "Packet scripts: what each end of a connection receives"),
        "bench": Entry("smartwire.cli.bench:bench", "Measure the engine, or a whole wire, on this machine"),
        "test": Entry("smartwire.cli.selftest:test", "Run every test of this checkout"),
    },
    "Shell": {
        "completion": Entry("smartwire.cli.completion:completion", "Print the completion script for your shell"),
    },
}
COMMANDS = {name: entry for group in GROUPS.values() for name, entry in group.items()}


class LazyGroup(click.Group):
    """A group that imports a subcommand only when it is run, or asked for its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports the subcommand."""
        entry = COMMANDS.get(cmd_name)
        if not entry:
            return None
        module, _, attribute = entry.where.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as e:
            if e.name and module.startswith(e.name):
                raise smartwire.Error(f"This build of Smartwire has no {cmd_name!r} command.") from None
            need = f"The {cmd_name!r} command needs the Python package {e.name!r}: pip install {e.name}"
            raise smartwire.Error(need) from e

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """As click's, with a hint for a misspelt name."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f"did you mean {close[0]!r}?" if close else "smartwire --help lists them."
            raise click.UsageError(f"There is no command {args[0]!r}: {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of subcommands, by what they are for."""
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, entry.short) for name, entry in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list:
        """Subcommands that begin with what was typed, without importing any."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(n, help=e.short) for n, e in COMMANDS.items() if n.startswith(incomplete)]
        return found or click.Command.shell_complete(self, ctx, incomplete)


EPILOG = "Each command has a page of its own: smartwire COMMAND --help. Start with: smartwire demo"


@click.group(cls=LazyGroup, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(smartwire.__version__, message="smartwire %(version)s")
def cli() -> None:
    """A transparent TCP optimizer for mobile, satellite and fixed-wireless networks: a very smart piece of wire.

    It joins two interfaces, makes TCP between them faster and the queues shorter, has no address of its own, and can
    be taken out at any moment without breaking a connection.
    """


def main(args: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 failed, 2 usage, 3 not there, 130 interrupted."""
    sys.exit(run(args))


def run(args: list[str] | None = None) -> int:
    """Runs the command line and returns its exit status; failures are one sentence on standard error."""
    try:
        status = cli.main(args, prog_name="smartwire", standalone_mode=False)
        sys.stdout.flush()
        return status if isinstance(status, int) else 0
    except click.exceptions.Exit as e:
        return e.exit_code
    except click.UsageError as e:
        where = f" (see: {e.ctx.command_path} --help)" if e.ctx else ""
        return complain(f"{e.format_message().rstrip('.')}{where}", e.exit_code)
    except click.ClickException as e:
        return complain(e.format_message(), e.exit_code)
    except smartwire.Error as e:
        return complain(str(e), e.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return complain("interrupted", 130)
    except BrokenPipeError:
        # Whoever read our output has gone, as `head` does: no reason to complain, nor to flush into the void.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as e:
        if os.environ.get("SMARTWIRE_DEBUG"):
            raise
        what = f"internal error: {type(e).__name__}: {e}"
        return complain(f"{what}. Please report it; SMARTWIRE_DEBUG=1 shows where it comes from.", 1)


def complain(sentence: str, status: int) -> int:
    """Prints the sentence; returns the status."""
    print(f"smartwire: {sentence}", file=sys.stderr)
    return status
