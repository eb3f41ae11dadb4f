"""The `smartwire` command."""

import click

import smartwire


@click.group()
@click.version_option(smartwire.__version__)
def main() -> None:
    """A transparent TCP optimizer."""
