"""`smartwire completion`: what makes the Tab key work."""

from __future__ import annotations

import click

from smartwire.cli.page import argument, command


@command(
    "completion",
    examples=[
        ("smartwire completion bash > /etc/bash_completion.d/smartwire", "For every bash user of this machine"),
        ('eval "$(smartwire completion zsh)"', "For this zsh (put it in ~/.zshrc to keep it)"),
        ("smartwire completion fish > ~/.config/fish/completions/smartwire.fish", "For fish"),
    ],
)
@argument("shell", type=click.Choice(["bash", "zsh", "fish"]), help="Your shell.")
def completion(shell: str) -> None:
    """Print the completion script for your shell.

    Commands, options, network interfaces and the names of running wires complete with the Tab key, for `smartwire` and
    for `./smartwire` alike.
    """
    from click.shell_completion import get_completion_class

    from smartwire.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    # The class's own source() would run the shell to ask for its version, which is not ours to refuse.
    script = kind(cli, {}, "smartwire", "_SMARTWIRE_COMPLETE")
    click.echo(script.source_template % script.source_vars())
