"""`smartwire proxy`: HAProxy as a transparent proxy between two ports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from smartwire.cli.page import DURATION, INTERFACE, argument, command, json_option

NAME = click.option("--name", help="Which proxy, where several run on this machine (default: the only one).")
RUNNING_EXITS = {3: "no such proxy is running"}
START_S = 60


@click.group("proxy", context_settings={"help_option_names": ["-h", "--help"]})
def proxy() -> None:
    """Terminate chosen connections in a transparent HAProxy, in a container of its own.

    Clients and servers see each other's addresses and ports, and TCP of either side has a congestion control of its
    own. All that no rule chooses passes by the copper wire.
    """


@command(
    "up",
    synopsis=[
        "smartwire proxy up ACCESS CORE [--rules FILE] [--mode tcp|http] [--access-cc NAME] [--core-cc NAME]",
        "smartwire proxy up --trunk PORT --access-vlan N --core-vlan M [...]",
    ],
    examples=[
        ("smartwire proxy up eth1 eth2", "All TCP of the subscribers behind eth1 goes through the proxy"),
        ("smartwire proxy up eth1 eth2 --rules web.toml", "Only what the rules say"),
        ("smartwire proxy up --trunk eth1 --access-vlan 10 --core-vlan 20", "One port with a VLAN for each side"),
    ],
    exits={1: "it could not start; nothing is left behind", 3: "no such interface or file"},
    see=["proxy status", "proxy reload", "proxy down"],
)
@argument("access", type=INTERFACE, required=False, help="The interface towards the subscribers (phones, radio).")
@argument("core", type=INTERFACE, required=False, help="The interface towards the internet.")
@click.option("--trunk", type=INTERFACE, help="One interface instead, which has both sides as VLANs.")
@click.option("--access-vlan", type=click.IntRange(1, 4094), help="The trunk's VLAN towards the subscribers.")
@click.option("--core-vlan", type=click.IntRange(1, 4094), help="The trunk's VLAN towards the internet.")
@click.option("--rules", type=click.Path(dir_okay=False), help="Which connections (a TOML file; default: all TCP).")
@click.option("--mode", type=click.Choice(["tcp", "http"]), default="tcp", show_default=True, help="HAProxy's mode.")
@click.option("--splice/--no-splice", default=True, show_default=True, help="Move bytes within the kernel.")
@click.option("--threads", type=click.IntRange(1, 64), default=1, show_default=True, help="Of HAProxy, a CPU each.")
@click.option(
    "--any-port",
    type=click.Choice(["sk-lookup", "tproxy"]),
    default="sk-lookup",
    show_default=True,
    help="How HAProxy gets connections to whatever port: by BPF, or by nftables.",
)
@click.option("--cpus", help="A thread of HAProxy on each of these CPUs (as 0-3,8), instead of --threads.")
@click.option(
    "--access-cc",
    help="Congestion control towards the subscribers (default: bbr, or cubic where the kernel has no bbr).",
)
@click.option("--core-cc", default="cubic", show_default=True, help="Congestion control towards the internet.")
@click.option("--initial-window", type=click.IntRange(1, 1000), default=10, show_default=True, help="Segments.")
@click.option("--access-mss", type=click.IntRange(88, 65495), help="MSS to announce to subscribers (default: by MTU).")
@click.option("--core-mss", type=click.IntRange(88, 65495), help="MSS to announce to servers (default: by MTU).")
@click.option(
    "--max-flows", type=click.IntRange(16, 1 << 24), default=1 << 17, show_default=True, help="In the proxy at a time."
)
@click.option("--name", help="What to call this proxy (default: ACCESS-CORE).")
@click.option("--owner", hidden=True, help="The mark of smartwired, which starts its proxies with it.")
@json_option
def up(
    access: str | None, core: str | None, trunk: str | None, access_vlan: int | None, core_vlan: int | None,
    name: str | None, mode: str, rules: str | None, owner: str | None, cpus: str | None, as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Join two interfaces, with a transparent proxy for chosen connections.

    Returns when connections can go to the proxy; a process in the background watches HAProxy. If HAProxy dies or hangs,
    its connections are reset and new ones go direct until it runs again.

    Without rules all TCP that the access side begins goes to the proxy. Rules are an ordered list in a TOML file, of
    which the first that matches decides: see docs/proxy.md.

    With --trunk, one interface has both sides: frames of one VLAN that are not the proxy's leave by the same interface
    in the other VLAN, and those of all other VLANs are left to the machine.
    """
    from smartwire.cli.run import already, already_proxied
    from smartwire.errors import Error
    from smartwire.proxy import report
    from smartwire.wire import ownership, ports

    ends = (trunk, trunk) if trunk else (access, core)
    vlans = check_ends(access, core, trunk, access_vlan, core_vlan)
    ports.check_machine()
    if owner is None:
        ownership.refuse(*ends, "run")
    if trunk:
        already(*ends)
    already_proxied(*ends)
    name = name or (trunk or f"{access}-{core}")
    if cpus:
        options["cpus"] = check_cpus(cpus)
        options["threads"] = len(options["cpus"])
    settings = options | {
        "name": name,
        "access": ends[0],
        "core": ends[1],
        "vlans": vlans,
        "http": mode == "http",
        "rules": str(Path(rules).resolve()) if rules else None,
        "owner": owner,
    }
    started = start(settings)
    if as_json:
        click.echo(json.dumps({"name": name} | started, indent=2))
        return
    for warning in started["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    joined = report.joined({"access": ends[0], "core": ends[1], "vlans": vlans})
    click.echo(f"connections can go to the proxy: {joined}, container {started['namespace']}")
    if not started["pid"]:
        raise Error("The proxy has no process; this is a bug, please report it.")


def check_ends(
    access: str | None, core: str | None, trunk: str | None, access_vlan: int | None, core_vlan: int | None
) -> tuple[int, int] | None:
    """The VLANs of a trunk, None of two interfaces; raises a sentence unless it is the one or the other."""
    from smartwire.errors import UsageError
    from smartwire.wire import ports

    if not trunk:
        if access_vlan or core_vlan:
            raise UsageError("--access-vlan and --core-vlan are those of one port: name it with --trunk.")
        if not access or not core:
            raise UsageError("name two interfaces, ACCESS CORE, or one port that has both sides with --trunk.")
        ports.check_pair(access, core)
        return None
    if access or core:
        raise UsageError("--trunk is the only interface of its proxy: leave ACCESS CORE out.")
    if not access_vlan or not core_vlan or access_vlan == core_vlan:
        raise UsageError("a trunk needs two different VLANs: --access-vlan and --core-vlan.")
    ports.check_port(trunk)
    return access_vlan, core_vlan


def check_cpus(text: str) -> list[int]:
    """CPUs as the kernel lists them; raises a sentence."""
    import os

    from smartwire.errors import UsageError
    from smartwire.proxy.placement import numbers

    try:
        found = sorted(set(numbers(text)))
    except ValueError:
        raise UsageError(f"{text!r} is no list of CPUs: write 0-3,8.") from None
    if not found or not set(found) <= os.sched_getaffinity(0) or found[-1] > 127:
        here = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        raise UsageError(f"not all of the CPUs {text} are here: this machine has {here}.")
    return found


def start(settings: dict[str, Any]) -> dict[str, Any]:
    """Starts the supervisor; returns what it says when it is ready, raises its sentence otherwise."""
    import os
    import select

    from smartwire.errors import Error
    from smartwire.wire.control import KINDS_BY_CODE

    environment = os.environ | {"PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"}
    process = subprocess.Popen(
        [sys.executable, "-m", "smartwire.proxy.supervisor", json.dumps(settings)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True,
        env=environment, cwd="/",
    )  # fmt: skip
    assert process.stdout
    ready, _, _ = select.select([process.stdout], [], [], START_S)
    line = process.stdout.readline() if ready else ""
    try:
        document = json.loads(line)
    except json.JSONDecodeError:
        process.terminate()
        what = "ended without a word" if ready else f"was not ready after {START_S} s and was told to end"
        raise Error(f"The proxy's process {what}; `smartwire proxy logs` may show why.") from None
    if "error" in document:
        raise KINDS_BY_CODE.get(document.get("exit_code", 1), Error)(document["error"])
    return document["ready"]


@command(
    "down",
    examples=[("smartwire proxy down --limit 5m", "Give connections five minutes to finish")],
    exits=RUNNING_EXITS,
    see=["proxy up", "unwire"],
)
@click.option("--limit", type=DURATION, default="30s", show_default=True, help="How long connections may finish.")
@NAME
@json_option
def down(limit: float, name: str | None, as_json: bool) -> None:
    """End a proxy: its connections may finish, new ones go direct, then the copper wire is left.

    Connections that are not finished within the limit are reset. `smartwire unwire` takes the copper wire off, too.
    """
    from smartwire.proxy import registry

    running = registry.find(name)
    done = ask(running.name, "down", limit_s=limit)
    registry.wait_for_end(running.directory)
    if as_json:
        click.echo(json.dumps(done, indent=2))
    else:
        click.echo(f"down: {done['connections']} connections were there, {done['reset']} sockets were reset")


@command(
    "status", examples=[("smartwire proxy status --json", "For a program")], exits=RUNNING_EXITS, see=["proxy flows"]
)
@NAME
@json_option
def status(name: str | None, as_json: bool) -> None:
    """What a proxy does: connections, rules, HAProxy, counters."""
    from smartwire.proxy.report import show

    document = ask(name, "status")
    click.echo(json.dumps(document, indent=2)) if as_json else show(document)


@command("flows", examples=[("smartwire proxy flows -n 10", "The ten with most bytes")], exits=RUNNING_EXITS)
@click.option("--limit", "-n", type=click.IntRange(1), default=50, show_default=True, help="Rows at most.")
@NAME
@json_option
def flows(limit: int, name: str | None, as_json: bool) -> None:
    """The connections in a proxy, those with most bytes first."""
    from smartwire.cli.look import footer
    from smartwire.cli.output import size, table
    from smartwire.wire.target import show

    found = ask(name, "flows", limit=limit)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (
            show(f["access_addr"], f["access_port"], f["core_addr"], f["core_port"]),
            "/".join(map(str, f["vlans"])) or "-",
            f["rule"] or "(earlier rules)",
            f"{f['age_s']:.0f} s",
            f"{f['idle_s']:.0f} s",
            size(f["down_bytes"]),
            size(f["up_bytes"]),
        )
        for f in found["flows"]
    ]
    table(("CONNECTION", "VLAN", "RULE", "AGE", "QUIET", "DOWN", "UP"), rows, right=range(3, 7))
    footer(len(rows), found["total"], "connections")


@command(
    "reload",
    examples=[("smartwire proxy reload --rules-only", "Only read the rules again")],
    exits=RUNNING_EXITS,
    see=["proxy up"],
)
@click.option(
    "--rules", type=click.Path(dir_okay=False), help="Another file of rules (default: the one of `proxy up`)."
)
@click.option("--rules-only", is_flag=True, help="Leave HAProxy as it is.")
@NAME
@json_option
def reload(rules: str | None, rules_only: bool, name: str | None, as_json: bool) -> None:
    """Read the rules again and start HAProxy anew, without losing a connection.

    The rules are exchanged as a whole. The new HAProxy takes over the listening sockets; the old one stays until its
    connections have ended. If anything is wrong, all stays as it was.
    """
    done = ask(name, "reload", rules=str(Path(rules).resolve()) if rules else None, rules_only=rules_only)
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    for warning in done["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    click.echo(f"{done['rules']} rules are in force, HAProxy is process {done['pid']}")


@command(
    "upgrade",
    examples=[
        ("smartwire proxy upgrade", "After `apt-get install haproxy`: the new one, in a container of its own"),
        ("smartwire proxy upgrade --access-cc cubic --limit 1h", "Another TCP; after an hour, resets of what is left"),
    ],
    exits=RUNNING_EXITS,
    see=["proxy reload"],
)
@click.option("--access-cc", help="Congestion control towards the subscribers from now on.")
@click.option("--core-cc", help="Congestion control towards the internet from now on.")
@click.option("--initial-window", type=click.IntRange(1, 1000), help="Segments, from now on.")
@click.option("--limit", type=DURATION, help="Reset what has not finished by then (default: wait for it).")
@NAME
@json_option
def upgrade(limit: float | None, name: str | None, as_json: bool, **settings: Any) -> None:
    """Start a second container, to which new connections go, and let the first one finish.

    Everything of it is new: namespace, TCP settings, HAProxy's program. Connections that there are stay where they are;
    when the last one has ended, the first container is taken down. If anything is wrong, all stays as it was.
    """
    changes = {key: value for key, value in settings.items() if value is not None}
    done = ask(name, "upgrade", settings=changes, limit_s=limit)
    if as_json:
        click.echo(json.dumps(done, indent=2))
        return
    click.echo(
        f"new connections go to container {done['namespace']} (HAProxy is process {done['pid']}); "
        f"{done['leaving']} sockets of before stay where they are until they have ended"
    )


@command(
    "placement",
    examples=[
        ("smartwire proxy placement eth1 eth2", "What would be set, and what this machine has not"),
        ("smartwire proxy placement eth1 eth2 --apply", "Set it; then `proxy up --cpus` as it says"),
    ],
    exits={1: "something was refused", 3: "no such interface"},
    see=["proxy up"],
)
@argument("access", type=INTERFACE, help="The interface towards the subscribers, or the trunk.")
@argument("core", type=INTERFACE, required=False, help="The interface towards the internet; none for a trunk.")
@click.option("--apply", "set_it", is_flag=True, help="Set it.")
@json_option
def placement(access: str, core: str | None, set_it: bool, as_json: bool) -> int:
    """Queues, interrupts, hashing, CPUs: how both sides of a connection and its HAProxy come to be on one CPU.

    Without --apply nothing is touched.
    """
    from smartwire.proxy.placement import apply, place, read_machine
    from smartwire.wire import ports

    core = core or access
    for name in {access, core}:
        ports.check_port(name)
    found = place(read_machine((access, core)), access, core)
    cpus = ",".join(map(str, found.cpus))
    if set_it:
        ports.check_machine()
    refused = apply(found) if set_it else []
    if as_json:
        settings = [{"setting": str(s), "why": s.why} for s in found.settings]
        document = {"cpus": found.cpus, "settings": settings, "missing": found.missing, "refused": refused}
        click.echo(json.dumps(document, indent=2))
        return 1 if refused else 0
    for setting in found.settings:
        click.echo(f"{setting}   # {setting.why}")
    for text in found.missing:
        click.echo(f"not here: {text}")
    for text in refused:
        click.echo(f"refused: {text}", err=True)
    click.echo(f"HAProxy: a thread on each of CPUs {cpus}: `smartwire proxy up ... --cpus {cpus}`")
    return 1 if refused else 0


@command(
    "logs", examples=[("smartwire proxy logs -n 20", "The last lines")], exits={3: "no such proxy was ever started"}
)
@click.option("--lines", "-n", type=click.IntRange(1), default=100, show_default=True, help="Lines at most.")
@NAME
@json_option
def logs(lines: int, name: str | None, as_json: bool) -> None:
    """What a proxy and its HAProxy have said, also after their end."""
    from smartwire.errors import NotThere
    from smartwire.proxy import registry

    directory = registry.directory_of(name) if name else None
    if directory is None:
        kept = sorted(registry.root().glob(f"{registry.PREFIX}*/log"), key=lambda p: p.stat().st_mtime)
        directory = kept[-1].parent if kept else None
    if directory is None or not (directory / "log").exists():
        raise NotThere("There is no log of a proxy: none was started since this machine was.")
    found = (directory / "log").read_text(errors="replace").splitlines()[-lines:]
    click.echo(json.dumps({"name": directory.name.removeprefix(registry.PREFIX), "lines": found}, indent=2) if as_json
               else "\n".join(found))  # fmt: skip


def ask(name: str | None, do: str, **parameters: Any) -> dict[str, Any]:
    """Asks a running proxy."""
    from smartwire.proxy import registry
    from smartwire.wire import control

    return control.ask(registry.find(name).socket, do, **parameters)


for each in (up, down, status, flows, reload, upgrade, placement, logs):
    proxy.add_command(each)
