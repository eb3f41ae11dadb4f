"""`smartwire run`: joins two interfaces into a wire, in the foreground."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smartwire.cli.page import DURATION, INTERFACE, argument, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from smartwire.wire.service import Service


@command(
    "run",
    synopsis=[
        "smartwire run ACCESS CORE [ACCESS CORE]... [--io auto|xdp|packet] [--workers N] [--observe] [--mend] "
        "[--name NAME]"
    ],
    examples=[
        ("smartwire run eth1 eth2", "Subscribers behind eth1, the internet behind eth2"),
        ("smartwire run eth1 eth2 eth3 eth4", "Two links that carry the same connections, one each way perhaps"),
        ("smartwire run eth1 eth2 --mend", "The same, switching off by itself the offloads that are in the way"),
        ("smartwire run eth1 eth2 --observe", "Only watch: count what could be optimized, touch nothing"),
    ],
    exits={
        0: "it was told to stop (SIGINT, SIGTERM), delivered what it held, and left",
        1: "it could not start, or had to reset connections when it left; a sentence says which",
        3: "no such interface",
    },
    see=["status", "drain", "unwire"],
)
@argument("access", type=INTERFACE, help="The interface towards the subscribers (phones, radio).")
@argument("core", type=INTERFACE, help="The interface towards the internet.")
@argument("more", type=INTERFACE, nargs=-1, metavar="[ACCESS CORE]...", help="Further pairs of ports of the same wire.")
@click.option(
    "--io",
    type=click.Choice(["auto", "xdp", "packet"]),
    default="auto",
    show_default=True,
    help="How packets come in: AF_XDP, AF_PACKET, or the better one that works on both interfaces.",
)
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Threads that optimize.")
@click.option("--observe", is_flag=True, help="Watch and count, never touch a packet: they stay in the kernel, "
              "whatever --io and --workers say.")  # fmt: skip
@click.option("--mend", is_flag=True, help="Switch off offloads that are in the way (restored on leaving).")
@click.option(
    "--fill-checksums",
    is_flag=True,
    help="Complete the checksums that virtual neighbours leave undone (never needed on a real link).",
)
@click.option(
    "--frames",
    type=click.IntRange(256, 1 << 24),
    help="Packet buffers (default: a sixteenth of the free memory, at most 131072).",
)
@click.option(
    "--max-flows",
    type=click.IntRange(16, 1 << 26),
    help="Connections that may be optimized at a time (default: 262144).",
)
@click.option(
    "--policies",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Which connections to optimize, and how: a document that smartwired writes (docs/operations.md).",
)
@click.option(
    "--ipv6-prefix-length",
    type=click.IntRange(32, 128),
    help="IPv6 addresses that share so many bits are one subscriber (default: 64).",
)
@click.option(
    "--subscribers-by",
    type=click.Choice(["address", "outer-vlan"]),
    default="address",
    show_default=True,
    help="What the packets of one subscriber share; without a VLAN tag always the address.",
)
@click.option("--name", help="What to call this wire (default: ACCESS-CORE).")
@click.option("--limit", type=DURATION, default="60s", show_default=True, help="How long leaving may take.")
@click.option(
    "--every",
    type=DURATION,
    default="60s",
    show_default=True,
    help="Where output is no terminal: how often to print a line.",
)
@click.option(
    "--journal", type=click.Path(dir_okay=False, path_type=Path), help="Record all input for `smartwire replay`."
)
@click.option("--owner", hidden=True, help="The mark of smartwired, which starts its wires with it.")
def run(
    access: str,
    core: str,
    more: tuple[str, ...],
    name: str | None,
    limit: float,
    every: float,
    owner: str | None,
    policies: Path | None,
    **options: Any,
) -> int:
    """Join two interfaces into a smart wire.

    Stays in the foreground until SIGINT (Ctrl-C) or SIGTERM. It then hands all connections back to their ends and
    exits; the two interfaces stay joined by plain copper wire in the kernel, so no connection notices. A second
    signal leaves at once and resets what is still held.

    It prints one line when packets flow. On a terminal it then shows throughput, subscribers, connections, RTT and
    queue; elsewhere it prints a line now and then.

    Both interfaces carry only the wire: they are made silent (no ARP, no IPv6 of their own) and promiscuous, and get
    back what they had by `smartwire unwire ACCESS CORE`.

    Several pairs of interfaces form one wire where a connection may use one pair in one direction and another in the
    other, as with equal-cost routes; each pair has its own `unwire`.
    """
    from smartwire.files import read_text
    from smartwire.wire import ownership, ports, registry

    document = read_text(policies) if policies else ""
    pairs = ports.pairs(access, core, *more)
    for pair in pairs:
        ports.check_pair(*pair)
    ports.check_machine()
    for pair in pairs:
        if owner is None:
            ownership.refuse(*pair, "run")
        already(*pair)
        not_a_trunk(*pair)
    name = name or f"{access}-{core}"
    asked = threading.Event()
    urgent = threading.Event()

    def on_signal(*_: object) -> None:
        (urgent if asked.is_set() else asked).set()

    about = {"access": access, "core": core, "pairs": pairs, "started": time.time(), "owner": owner, "limit_s": limit}
    with registry.register(name, **about) as directory:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        return serve(directory, pairs, document, options, limit, every, asked, urgent)


def already(access: str, core: str) -> None:
    """Raises a sentence if one of the interfaces is part of a running wire."""
    from smartwire.errors import Error
    from smartwire.wire import registry

    for wire in registry.running():
        if {access, core} & wire.ports() and same_namespace(wire.info.get("pid")):
            raise Error(
                f"{wire.info['access']} and {wire.info['core']} are already a wire ({wire.name}, pid "
                f"{wire.info['pid']}): stop that one first."
            )

def not_a_trunk(access: str, core: str) -> None:
    """Raises a sentence if one of the interfaces is the trunk of a running proxy."""
    from smartwire.errors import Error
    from smartwire.proxy import registry as proxies

    for proxy in proxies.running():
        trunk = proxy.info["access"]
        if proxy.info.get("vlans") and trunk in (access, core) and same_namespace(proxy.info["pid"]):
            raise Error(f"{trunk} is the trunk of the proxy {proxy.name}: `smartwire proxy down` and unwire it first.")


def already_proxied(access: str, core: str) -> None:
    """Raises a sentence if one of the interfaces is a port of a running proxy."""
    from smartwire.errors import Error
    from smartwire.proxy import registry as proxies

    for proxy in proxies.running():
        if {access, core} & {proxy.info["access"], proxy.info["core"]} and same_namespace(proxy.info["pid"]):
            raise Error(
                f"{proxy.info['access']} and {proxy.info['core']} are ports of the proxy {proxy.name}: "
                f"`smartwire proxy down --name {proxy.name}` first."
            )


def same_namespace(pid: int | None) -> bool:
    """True unless process `pid` is known to be in another network namespace than this one."""
    try:
        return Path(f"/proc/{pid}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    except OSError:
        return True


def serve(
    directory: Path,
    pairs: list[tuple[str, str]],
    policies: str,
    options: dict[str, Any],
    limit: float,
    every: float,
    asked: threading.Event,
    urgent: threading.Event,
) -> int:
    """Opens the wire, serves until a signal, drains; returns the exit status."""
    from smartwire import _native
    from smartwire.wire.control import Server
    from smartwire.wire.guardian import Guardian
    from smartwire.wire.service import Service, digest

    wire = _native.Wire(pairs, directory / "stats", directory / "events", policies=policies or None, **options)
    guardian = Guardian(pairs[0][0])
    try:
        about = wire.describe()
        service = Service(wire, directory)
        info = service.note(about | {"policies": digest(policies)})
        server = Server(directory / "control.sock", service.handlers())
        mode = ", observing only" if options["observe"] else ""
        joined = " and ".join(f"{access} (access) = {core} (core)" for access, core in pairs)
        what = f"{joined}, {about['io']}{mode}"
        click.echo(f"packets flow: {what}; Ctrl-C drains and leaves")
        for reason in about.get("why", []):
            click.echo(f"not used: {reason}", err=True)
        sys.stdout.flush()
        watch(wire, lambda: wire.news() + guardian.news(), service, info, every, asked)
        status = leave(wire, service, limit, urgent)
        for news in wire.news():
            click.echo(news, err=True)
        server.close()
        return status
    finally:
        wire.stop()
        guardian.leave()


def watch(
    wire: Any,
    news: Callable[[], list[str]],
    service: Service,
    info: dict[str, Any],
    every: float,
    asked: threading.Event,
) -> None:
    """Shows what the wire does until a signal asks to leave; raises the wire's sentence if it fails."""
    from smartwire.errors import Error

    if sys.stdout.isatty():
        from smartwire.cli.live import live

        live(wire, news, service, info, asked)
    else:
        from smartwire.wire.report import report

        last, next_line = service.stats.read(), time.monotonic() + every
        while not asked.wait(0.5):
            if sentence := wire.failed():
                raise Error(sentence)
            for text in news():
                click.echo(text, err=True)
            if time.monotonic() >= next_line:
                sample = service.stats.read()
                click.echo(line(report(info, last, sample)))
                sys.stdout.flush()
                last, next_line = sample, next_line + every
    if sentence := wire.failed():
        raise Error(sentence)


def line(document: dict[str, Any]) -> str:
    """A status document as one line of a log."""
    return (
        f"{document['down_mbps']:.1f} Mbit/s down, {document['up_mbps']:.1f} up, "
        f"{document['subscribers']} subscribers, "
        f"{document['flows']} connections, {document['custody_bytes']:,} bytes in custody, "
        f"{document['counters'].get('retransmitted', 0)} segments retransmitted"
    )


def leave(wire: Any, service: Service, limit: float, urgent: threading.Event) -> int:
    """Bypasses the whole wire so that it can be left; 1 if connections had to be reset."""
    request = {"do": "bypass", "target": {"kind": "wire"}, "limit_s": limit}
    click.echo("leaving: delivering what is held (another signal leaves at once)", err=True)
    work = service.drain(request)
    try:
        while not urgent.is_set():
            next(work)
    except StopIteration as end:
        result = end.value
        click.echo(f"left: {result['handed_back']} connections handed back, {result['reset']} reset", err=True)
        return 1 if result["reset"] else 0
    before = service.counters().get("resets", 0)
    for _ in service.drain(request | {"limit_s": 0}):
        pass
    click.echo(f"left at once: {service.counters().get('resets', 0) - before} connections reset", err=True)
    return 1
