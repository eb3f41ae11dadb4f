"""What a supervisor answers when it is asked how things are, as JSON; report.py shows it to a person."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from smartwire.proxy.layout import RULES, Flow

if TYPE_CHECKING:
    from smartwire.proxy.datapath import Datapath
    from smartwire.proxy.supervisor import Supervisor


def status(of: Supervisor) -> dict[str, Any]:
    """Everything but the flows themselves."""
    s, instance, datapath = of.settings, of.instance, of.datapath
    info = instance.process.info()
    hits = datapath.hits()
    rules = [
        {"name": r.name, "action": "proxy" if r.proxy else "direct", "connections": n}
        for r, n in zip(datapath.rules, hits, strict=False)
    ]
    return {
        "name": s.name,
        "access": s.access,
        "core": s.core,
        "state": "open" if datapath.open else "closed",
        "mode": "http" if s.http else "tcp",
        "splice": s.splice,
        "any_port": s.any_port,
        "vlans": s.vlans,
        "access_tcp": asdict(instance.access),
        "core_tcp": asdict(instance.core),
        "namespace": instance.container.namespace,
        "leaving": [{"namespace": i.container.namespace, "sockets": i.sockets.count()} for i in of.leaving],
        "flows": datapath.count(),
        "most_flows": s.max_flows,
        "sockets": sum(i.sockets.count() for i in of.instances()),
        "rules": rules,
        "no_rule": hits[-1],
        "counters": datapath.counters(),
        "haproxy": {
            "pid": instance.process.pid,
            "version": info.get("Version"),
            "connections": int(info.get("CurrConns", 0)),
            "most_connections": int(info.get("Maxconn", 0)),
            "uptime_s": int(info.get("Uptime_sec", 0)),
            "finishing": len(instance.processes()) - 1,
        },
        "deaths": of.deaths,
        "hangs": of.hangs,
    }


def flows(datapath: Datapath, limit: int) -> dict[str, Any]:
    """The flows, those with most bytes first."""
    found = datapath.flows()
    found.sort(key=lambda f: -sum(f.bytes))
    now = time.monotonic_ns()
    return {"total": len(found), "flows": [describe(f, datapath, now) for f in found[:limit]]}


def describe(f: Flow, datapath: Datapath, now: int) -> dict[str, Any]:
    """A flow."""
    current = f.generation == datapath.generation and f.rule < RULES
    return {
        "access_addr": str(f.key.access),
        "access_port": f.key.access_port,
        "core_addr": str(f.key.core),
        "core_port": f.key.core_port,
        "vlans": list(f.vlans),
        "rule": datapath.rules[f.rule].name if current else None,
        "age_s": round((now - f.born_ns) / 1e9, 1),
        "idle_s": max(0.0, round((now - f.seen_ns) / 1e9, 1)),
        "up_bytes": f.bytes[0],
        "down_bytes": f.bytes[1],
    }
