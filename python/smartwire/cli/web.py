"""`smartwire web`: the web pages, in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from smartwire.cli.page import command

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@command(
    "web",
    examples=[
        ("smartwire web", "Serve the pages on https://127.0.0.1:8443/"),
        ("smartwire web --listen 192.0.2.10 --allow 192.0.2.0/24", "On a management address, for a network"),
    ],
    exits={0: "it was told to stop (SIGINT, SIGTERM)", 1: "the address, or the certificate, cannot be used"},
    see=["cli", "daemon"],
)
@click.option("--listen", "hosts", multiple=True, default=("127.0.0.1",), show_default=True,
              help="Address to listen on; may be given several times.")  # fmt: skip
@click.option("--port", type=click.IntRange(1, 65535), default=8443, show_default=True, help="TCP port.")
@click.option("--certificate", type=FILE, help="Certificate chain, PEM (default: one that the box makes for itself).")
@click.option("--key", type=FILE, help="Its private key, PEM.")
@click.option("--allow", "allowed", multiple=True, metavar="PREFIX",
              help="Addresses that may connect (default: all); may be given several times.")  # fmt: skip
@click.option("--with-parent", is_flag=True, hidden=True, help="End with the process that started it.")
def web(
    hosts: tuple[str, ...], port: int, certificate: Path | None, key: Path | None, allowed: tuple[str, ...],
    with_parent: bool,
) -> None:  # fmt: skip
    """The box's web pages: does it work, does it help.

    A face of smartwired (`smartwire daemon`), which also starts it by itself: set system services web enabled true.
    Users, passwords and what they may do are those of the configuration. As root, it gives up every right before it
    reads anything.
    """
    import importlib.util
    import ipaddress

    from smartwire.counters.history import state_directory
    from smartwire.errors import Error, UsageError
    from smartwire.web import certificate as certificates
    from smartwire.web import server

    if importlib.util.find_spec("nicegui") is None:
        raise Error("The web pages need NiceGUI: pip install 'smartwire[web]'; in a checkout ./smartwire web does it.")
    if (certificate is None) != (key is None):
        raise UsageError("--certificate and --key belong together: give both.")
    for prefix in allowed:
        try:
            ipaddress.ip_network(prefix)
        except ValueError:
            raise UsageError(f"{prefix!r} is no prefix: write it like 192.0.2.0/24 or 2001:db8::/32.") from None
    if certificate is None or key is None:
        try:
            certificate, key = certificates.own(state_directory() / "web", "smartwire", numbers(hosts))
        except OSError as e:
            raise Error(f"{state_directory() / 'web'} cannot be written ({e.strerror}): run it with sudo.") from None
    for host in hosts:
        click.echo(f"https://{f'[{host}]' if ':' in host else host}:{port}/")
    click.echo(f"certificate {certificates.fingerprint(certificate)}")
    server.serve(hosts, port, certificate, key, allowed, with_parent=with_parent)


def numbers(hosts: tuple[str, ...]) -> tuple[str, ...]:
    """Those that are IP addresses a certificate can be good for."""
    import ipaddress

    found = []
    for host in hosts:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            continue
        if not address.is_unspecified:
            found.append(str(address))
    return tuple(found)
