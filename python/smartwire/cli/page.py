"""Commands whose --help reads like a manual page, and the options that several of them share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

EXIT_OK = "done"
EXIT_FAILED = "it failed; one sentence on standard error says why"
EXIT_USAGE = "the command line makes no sense"
EXIT_NOT_THERE = "what it is about does not exist"


class Page(click.Command):
    """A command with the sections of a manual page.

    Args:
        synopsis: lines that replace the generated one.
        examples: (command line, what it does).
        exits: exit status and its meaning, in addition to 0 and 2.
        see: names of related commands.
    """

    def __init__(
        self,
        *args: Any,
        synopsis: Iterable[str] = (),
        examples: Iterable[tuple[str, str]] = (),
        exits: dict[int, str] | None = None,
        see: Iterable[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.synopsis = tuple(synopsis)
        self.examples = tuple(examples)
        self.exits = {0: EXIT_OK, 1: EXIT_FAILED, 2: EXIT_USAGE} | (exits or {})
        self.see = tuple(see)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the whole page."""
        path = ctx.command_path
        with section(formatter, "NAME"):
            formatter.write_text(f"{path} - {self.get_short_help_str(200).rstrip('.')}")
        with section(formatter, "SYNOPSIS"):
            for line in self.synopsis or (" ".join([path, *self.collect_usage_pieces(ctx)]),):
                formatter.write_text(line)
        description = (self.help or "").partition("\n")[2].strip()
        if description:
            with section(formatter, "DESCRIPTION"):
                for paragraph in re.split(r"\n\s*\n", description):
                    formatter.write_text(re.sub(r"\s+", " ", paragraph))
                    formatter.write_paragraph()
        records = [r for p in self.get_params(ctx) if (r := argument_or_option(p, ctx))]
        with section(formatter, "OPTIONS"):
            formatter.write_dl(records)
        if self.examples:
            with section(formatter, "EXAMPLES"):
                for command, meaning in self.examples:
                    formatter.write_text(f"{meaning}:")
                    formatter.indent()
                    formatter.write_text(f"$ {command}")
                    formatter.dedent()
        with section(formatter, "EXIT STATUS"):
            formatter.write_dl([(str(code), meaning) for code, meaning in sorted(self.exits.items())])
        if self.see:
            with section(formatter, "SEE ALSO"):
                formatter.write_text(", ".join(f"smartwire {name}" for name in self.see))


class section:
    """An indented block under a heading in capitals."""

    def __init__(self, formatter: click.HelpFormatter, title: str) -> None:
        self.formatter, self.title = formatter, title

    def __enter__(self) -> None:
        """Writes the heading."""
        self.formatter.write_paragraph()
        self.formatter.write(f"{self.title}\n")
        self.formatter.indent()

    def __exit__(self, *_: object) -> None:
        """Back to the margin."""
        self.formatter.dedent()


def argument_or_option(param: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    """The two columns of a parameter in OPTIONS; arguments are explained there too."""
    if isinstance(param, Argument):
        return (param.make_metavar(ctx), param.help)
    return param.get_help_record(ctx)


class Argument(click.Argument):
    """An argument with a help text."""

    def __init__(self, *args: Any, help: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = help


def argument(*args: Any, help: str, **kwargs: Any) -> Callable:
    """Like click.argument, with a help text."""
    return click.argument(*args, cls=Argument, help=help, **kwargs)


def command(name: str, **kwargs: Any) -> Callable[[Callable], Page]:
    """Declares a command: like click.command, with the sections of :class:`Page`."""
    return click.command(name, cls=Page, context_settings={"help_option_names": ["-h", "--help"]}, **kwargs)


class Duration(click.ParamType):
    """A time such as 500ms, 90, 90s, 5m, 2h or 30d; converted to seconds (float)."""

    name = "time"
    UNITS = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d|)\s*", value)
        if not match:
            self.fail(f"{value!r} is not a time: write it like 500ms, 90s, 5m or 2h.", param, ctx)
        return float(match[1]) * self.UNITS[match[2]]


class Interface(click.ParamType):
    """The name of a network interface; completes those of this network namespace."""

    name = "interface"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Interfaces that begin with what was typed, loopback apart."""
        from click.shell_completion import CompletionItem

        from smartwire.wire.ports import interfaces

        taken = [v for v in ctx.params.values() if isinstance(v, str)]
        return [CompletionItem(i) for i in interfaces() if i.startswith(incomplete) and i != "lo" and i not in taken]


class WireName(click.ParamType):
    """The name of a running wire."""

    name = "name"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Running wires that begin with what was typed."""
        from click.shell_completion import CompletionItem

        from smartwire.wire.registry import running

        return [CompletionItem(w.name) for w in running() if w.name.startswith(incomplete)]


DURATION = Duration()
INTERFACE = Interface()

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
name_option = click.option(
    "--name",
    type=WireName(),
    help="Which wire, where several run on this machine (default: the only one).",
)
