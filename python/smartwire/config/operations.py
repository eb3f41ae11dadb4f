"""The operational commands of the box: what ``run`` and the operational mode understand."""

from __future__ import annotations

import ipaddress
import time
from pathlib import Path
from typing import Any

from smartwire.cli.output import table_lines
from smartwire.config import wiring
from smartwire.config.commands import (
    Address,
    Answer,
    FileName,
    Number,
    Port,
    Seconds,
    Target,
    UserName,
    WireName,
    command,
)  # fmt: skip
from smartwire.config.policy import Flow, decide, served
from smartwire.errors import Error, NotThere
from smartwire.proxy import registry as proxies
from smartwire.wire import control, copper, registry

HIDDEN = "(hidden)"
PATIENCE_S = 2.0
"""How long a wire may think about a question that others do not wait for."""
WHOLE = {"kind": "wire"}


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Rows in columns."""
    return "".join(f"{line}\n" for line in table_lines(head, rows))


def moment(seconds: float) -> str:
    """A time as it is shown."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def wires(wire: str | None) -> list[registry.Running]:
    """The running wire of that name, or all."""
    return [registry.find(wire)] if wire else registry.running()


@command("show wires")
def show_wires(session: Any, *, wire: WireName = "") -> Answer:
    """Show the wires, what they do and what is not as configured.

    wire: only this one.
    """
    config = session.engine.setup.config
    configured = wiring.wires(config)
    engines = {r.name: r for r in registry.running()}
    beside = {r.name: r for r in proxies.running()}
    wrong = [d for plane in session.engine.planes for d in plane.differences(session.engine.setup)]
    rows = []
    for name in dict.fromkeys((*configured, *engines, *beside)):
        if wire and name != wire:
            continue
        found = engines.get(name) or beside.get(name)
        joined = wiring.pairs(configured[name]) if name in configured else found.pairs if found else []
        mode = configured[name].get("mode", "optimize") if name in configured else "by hand"
        state = "running" if found else "stopped"
        by = [engines[name].info.get("io", "")] if name in engines else []
        io = " + ".join([*by, *(["HAProxy"] if name in beside else [])])
        rows += [(name, *wiring.named(pair), mode, state, io) for pair in joined or [copper.Pair("", "")]]
    text = table(("Wire", "Access", "Core", "Mode", "State", "I/O"), rows) if rows else "No wires.\n"
    text += "".join(f"note: {sentence}\n" for sentence in wrong)
    keys = ("wire", "access", "core", "mode", "state", "io")
    return Answer(text, {"wires": [dict(zip(keys, row, strict=True)) for row in rows], "differences": wrong})


@command("show flows")
def show_flows(session: Any, *, wire: WireName = "", match: Target = None, limit: Number = 50) -> Answer:
    """Show the connections that are being optimized.

    wire: only those of this wire.
    match: only those of a subscriber, or this connection.
    limit: at most this many of each wire.
    """
    session.rights.need_subscribers(match)
    hide = session.rights.hide_subscribers
    found = []
    for running in wires(wire or None):
        for flow in control.ask(running.socket, "flows", target=match or WHOLE, limit=limit)["flows"]:
            found.append(flow | {"wire": running.name} | ({"access_addr": HIDDEN} if hide else {}))
    rows = [
        (f["wire"], f"{f['access_addr']}:{f['access_port']}", f"{f['core_addr']}:{f['core_port']}", f["mode"])
        for f in found
    ]
    return Answer(table(("Wire", "Subscriber", "Server", "Mode"), rows) if rows else "No flows.\n", found)


@command("show subscribers")
def show_subscribers(session: Any, *, wire: WireName = "", limit: Number = 50) -> Answer:
    """Show the subscribers with their rate, round trip and queue.

    wire: only those of this wire.
    limit: at most this many of each wire.
    """
    hide = session.rights.hide_subscribers
    found = []
    for running in wires(wire or None):
        for one in control.ask(running.socket, "subscribers", limit=limit)["subscribers"]:
            found.append(one | {"wire": running.name} | ({"addr": HIDDEN} if hide else {}))
    rows = [
        (s["wire"], s["addr"], s["flows"], f"{s['rate_bytes_per_s'] * 8 / 1e6:.1f}", f"{s['rtt_ns'] / 1e6:.0f}")
        for s in found
    ]
    head = ("Wire", "Subscriber", "Flows", "Mbit/s", "RTT ms")
    return Answer(table(head, rows) if rows else "No subscribers.\n", found)


@command("show policies")
def show_policies(session: Any) -> Answer:
    """Show the policies in the order in which they are tried, and how many connections each decided about."""
    found = session.engine.setup.config.get(("policies",), {})
    decided = _decided()
    rows = [
        (n, name, p.get("engine", "wire"), decided.get(name, 0), _match(p))
        for n, (name, p) in enumerate(found.items(), 1)
    ]
    head = ("#", "Policy", "Engine", "Connections", "Match")
    text = table(head, rows) if rows else "No policies: all is optimized.\n"
    return Answer(text, {name: p | {"connections": decided.get(name, 0)} for name, p in found.items()})


def _decided() -> dict[str, int]:
    """About how many connections each policy decided, over all wires that can be asked."""
    counts: dict[str, int] = {}
    for running in registry.running():
        try:
            said = control.ask(running.socket, "policies", patience_s=PATIENCE_S)["policies"]
        except Error:
            continue  # it is gone, or hangs: `show wires` and the alarms say so
        for policy in said:
            counts[policy["name"]] = counts.get(policy["name"], 0) + policy["connections"]
    return counts


def _match(policy: dict[str, Any]) -> str:
    return ", ".join(f"{k} {' '.join(map(str, v))}" for k, v in policy.get("match", {}).items()) or "everything"


@command("show system commit")
def show_commits(session: Any) -> Answer:
    """Show what was committed, by whom, when and why."""
    found = session.history()
    rows = [(c["n"], moment(c["time"]), c["user"], c["source"], c["method"], c["comment"]) for c in found]
    text = table(("#", "Time", "User", "From", "Method", "Comment"), rows)
    if session.engine.confirm_at is not None:
        left = max(0, session.engine.confirm_at - session.engine.clock.monotonic())
        text += f"Commit 0 is undone in {left / 60:.1f} minutes unless it is confirmed (`commit`).\n"
    return Answer(text, found)


@command("show system rollback")
def show_rollback(session: Any, number: Number) -> Answer:
    """Show a configuration that was committed earlier.

    number: 0 is the running one, 1 the one before.
    """
    from smartwire.config import text

    shown = text.show(session.visible(session.engine.store.rollback(number).config))
    return Answer(shown, shown)


@command("show system users")
def show_users(session: Any) -> Answer:
    """Show who is logged in, and who edits the configuration."""
    found = session.engine.users()
    rows = [(u["user"], u["source"], moment(u["since"]), f"{u['idle_s']} s", u["mode"] or "-") for u in found]
    return Answer(table(("User", "From", "Since", "Idle", "Edits"), rows), found)


@command("show system audit", permission="everything")
def show_audit(session: Any, *, last: Number = 50) -> Answer:
    """Show the audit log: logins, commands and commits.

    last: how many records.
    """
    found = session.engine.audit.last(last)
    rows = [
        (moment(r["time"]), r["user"], r["source"], r["event"], (r.get("text") or "").partition("\n")[0]) for r in found
    ]
    return Answer(table(("Time", "User", "From", "Event", "What"), rows), found)


@command("test policy")
def which_policy(
    session: Any,
    *,
    client: Address,
    server: Address,
    port: Port,
    wire: WireName = "",
    vlan: Number = 0,
) -> Answer:
    """Show which policy counts for a connection, which engine serves it, and why.

    client: the subscriber's address.
    server: the server's address.
    port: the server's port.
    wire: the wire that it is on; each in turn when not given.
    vlan: its outer VLAN.
    """
    setup = session.engine.setup
    configured = wiring.wires(setup.config)
    if wire and wire not in configured:
        raise NotThere(f"There is no wire {wire}; configured: {', '.join(configured) or 'none'}.")
    ends = ipaddress.ip_address(client), ipaddress.ip_address(server), port
    text, data = "", []
    for name in [wire] if wire else configured or [None]:
        verdict = decide(setup, Flow(*ends, name, vlan))
        engine, sentence = served(setup.config, verdict, name)
        if len(configured) > 1:
            text += f"wire {name}:\n"
        text += "".join(f"{why}\n" for why in (*verdict.why, *([sentence] if sentence else [])))
        text += f"engine: {engine}, policy: {verdict.policy or 'none'}\n"
        data.append({"wire": name, "policy": verdict.policy, "engine": engine, "why": [*verdict.why, sentence]})
    return Answer(text, data[0] if len(data) == 1 else data)


@command("request wire drain", permission="operate")
def drain(session: Any, wire: WireName, *, limit: Seconds = 60) -> Answer:
    """Stop optimizing the connections there are, deliver what is held, lose nothing.

    wire: the wire.
    limit: how long it may take; what is left then is reset.
    """
    return _order("drain", wire, limit)


@command("request wire bypass", permission="operate")
def bypass(session: Any, wire: WireName, *, limit: Seconds = 60) -> Answer:
    """Drain, and optimize no new connections either, until resume.

    wire: the wire.
    limit: how long it may take; what is left then is reset.
    """
    return _order("bypass", wire, limit)


def _order(do: str, wire: str, limit: int) -> Answer:
    done = control.ask(registry.find(wire).socket, do, target=WHOLE, limit_s=float(limit))
    return Answer(f"{done['handed_back']} connections handed back, {done['reset']} reset.\n", done)


@command("request wire resume", permission="operate")
def resume(session: Any, wire: WireName) -> Answer:
    """Optimize new connections again.

    wire: the wire.
    """
    done = control.ask(registry.find(wire).socket, "resume", target=WHOLE)
    return Answer(f"{wire} optimizes new connections.\n", done)


HEADERS = 128
"""Bytes of a packet that a capture keeps unless asked for all: the headers of most, no more."""


@command("request wire capture", permission="operate")
def capture(
    session: Any, wire: WireName, file: FileName, *, match: Target = None, seconds: Seconds = 10, payload: bool = False
) -> Answer:
    """Write both sides of connections to a pcapng file, headers only unless asked.

    wire: the wire.
    file: name of the file in the box's directory of captures.
    match: only those of a subscriber, or this connection.
    seconds: how long to capture.
    payload: keep what the packets carry, not only their headers.
    """
    session.rights.need_subscribers(match)
    directory = session.engine.store.directory / "captures"
    directory.mkdir(mode=0o700, exist_ok=True)
    target = directory / Path(file).name
    done = control.ask(
        registry.find(wire).socket, "capture", file=str(target), target=match or WHOLE, seconds=float(seconds),
        snap=1 << 18 if payload else HEADERS,
    )  # fmt: skip
    return Answer(f"{done['packets']} packets in {target}, {done['dropped']} missed.\n", done | {"file": str(target)})


@command("request system configuration rescue save", permission="everything")
def rescue_save(session: Any) -> Answer:
    """Keep the running configuration as the one to come back to (`rollback rescue`)."""
    session.engine.store.save_rescue(session.engine.running)
    return Answer("The running configuration is the rescue configuration.\n")


@command("request system configuration rescue delete", permission="everything")
def rescue_delete(session: Any) -> Answer:
    """Forget the rescue configuration."""
    session.engine.store.rescue()
    session.engine.store.delete_rescue()
    return Answer("There is no rescue configuration any more.\n")


@command("clear system login lockout", permission="everything")
def clear_lockout(session: Any, user: UserName) -> Answer:
    """Let a user log in again who is locked out after wrong passwords.

    user: the user.
    """
    was = session.engine.passwords.unlock(user)
    return Answer(f"{user} {'may log in again' if was else 'was not locked'}.\n")
