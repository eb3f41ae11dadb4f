"""The process behind a proxy: builds the container, runs HAProxy, watches it, and takes everything down.

``python -m smartwire.proxy.supervisor SETTINGS`` (JSON) is started by ``smartwire proxy up``. It prints one JSON line,
{"ready": ...} or {"error": sentence, "exit_code": n}, and goes on until ``smartwire proxy down`` or a signal.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from smartwire import _native
from smartwire.errors import Error
from smartwire.proxy import registry
from smartwire.proxy.container import Container, Tcp, best_congestion_control
from smartwire.proxy.datapath import Datapath, Ports, maps_of_wire
from smartwire.proxy.haproxy import Haproxy, Process, listening
from smartwire.proxy.health import Health
from smartwire.proxy.layout import RULES, Flow
from smartwire.proxy.netns import Sockets
from smartwire.proxy.rules import EVERYTHING, Rule, Tables, compile_rules, read_rules, unreachable
from smartwire.wire.control import Server

PERIOD_S = 0.05
SWEEP_S = 1.0
QUIET_NS = 3_000_000_000
"""A flow that was quiet for so long and has no socket is over; entries know the time to a second."""
BUSY, IDLE = 0.98, 0.9
"""Shares of HAProxy's limit of connections at which new ones begin to go direct, and cease to."""
SLOWEST_RESTART_S = 5.0


@dataclass(frozen=True)
class Settings:
    """What ``smartwire proxy up`` was told; see its options."""

    name: str
    access: str
    core: str
    rules: str | None = None
    http: bool = False
    splice: bool = True
    threads: int = 1
    access_cc: str | None = None
    core_cc: str = "cubic"
    initial_window: int = 10
    access_mss: int | None = None
    core_mss: int | None = None
    max_flows: int = 1 << 17


@dataclass
class Reload:
    """An order to the main thread, and what it answers."""

    rules: Sequence[Rule]
    tables: Tables
    haproxy: bool
    answer: queue.Queue[dict[str, Any] | Error] = field(default_factory=queue.Queue)


@dataclass
class Supervisor:
    """A running proxy."""

    settings: Settings
    directory: Path
    log: Any
    old: list[Process] = field(default_factory=list)
    deaths: int = 0
    hangs: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    limit_s: float = 0.0
    left: dict[str, int] = field(default_factory=dict)
    orders: queue.Queue[Reload] = field(default_factory=queue.Queue)

    def up(self) -> None:
        """Builds everything; raises a sentence, and leaves nothing behind then."""
        s = self.settings
        self.rules: Sequence[Rule] = read_rules(Path(s.rules)) if s.rules else EVERYTHING
        self.container = Container(s.name, s.access)
        self.access = Tcp(s.access_cc or best_congestion_control(), s.initial_window, s.access_mss)
        self.core = Tcp(s.core_cc, s.initial_window, s.core_mss)
        self.haproxy = Haproxy(self.directory, http=s.http, splice=s.splice, threads=s.threads)
        self.remove_leftovers()
        self.haproxy.write()
        was_copper = _native.copper(s.access, s.core)
        self.datapath: Datapath | None = None
        try:
            self.build()
        except BaseException:
            self.tear_down()
            if not was_copper:
                with contextlib.suppress(Error):
                    _native.unwire(s.access, s.core)
            raise

    def remove_leftovers(self) -> None:
        """Takes down what a killed supervisor of this name left; refuses what is somebody else's."""
        there = self.container.identity()
        if there is not None:
            if registry.record(self.directory).get("namespace") != there:
                raise Error(
                    f"There is a network namespace {self.container.namespace} that no proxy made: remove it with "
                    f"`ip netns del {self.container.namespace}`, or choose another --name."
                )
            self.note(f"removing what an earlier proxy left in {self.container.namespace}")
        self.container.remove()
        registry.clean(self.directory)

    def build(self) -> None:
        """Container, programs, HAProxy, in this order; until the last one runs the programs send nothing to it."""
        s = self.settings
        mtu = int(self.container.link(s.access)["mtu"])
        self.container.build(mtu, self.access, self.core)
        self.record()
        veths = [socket.if_nametoindex(v) for v in self.container.veths]
        ports = Ports(socket.if_nametoindex(s.access), socket.if_nametoindex(s.core), *veths)
        wire = maps_of_wire(ports.access)
        self.datapath = Datapath(ports, self.container.nsid(), exact=not s.http, most_flows=s.max_flows, wire=wire)
        self.datapath.use(self.rules)
        with self.container.path.open() as namespace:
            self.datapath.load(namespace.fileno())
        self.sockets = Sockets(self.container.path, int(self.container.link("vs", inside=True)["ifindex"]))
        self.datapath.attach()
        self.process = self.start()

    def record(self) -> None:
        """Writes down what belongs to this proxy."""
        content = asdict(self.settings) | {
            "pid": os.getpid(),
            "started": time.time(),
            "namespace": self.container.identity(),
        }
        (self.directory / "proxy.json").write_text(json.dumps(content))

    def start(self, old: Process | None = None) -> Process:
        """Starts HAProxy and directs connections to it."""
        assert self.datapath
        process = self.haproxy.start(self.container.command(), self.log, old)
        with listening(process) as pairs:
            self.datapath.listen(pairs)
        self.health = Health(process.pid, time.monotonic())
        self.datapath.open = True
        self.datapath.beat()
        return process

    def note(self, text: str) -> None:
        """A line of the log."""
        self.log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} smartwire: {text}\n".encode())
        self.log.flush()

    # ---- watching ----

    def watch(self) -> None:
        """Until it is told to end."""
        # By another thread: with many flows it takes longer than a beat may be late.
        threading.Thread(target=self.keep_sweeping, name="sweep", daemon=True).start()
        woke = time.monotonic()
        while not self.ended.wait(PERIOD_S):
            now = time.monotonic()
            self.health.late(now, max(0.0, now - woke - 2 * PERIOD_S))
            self.look()
            self.carry_out()
            self.old = [p for p in self.old if p.alive()]
            woke = time.monotonic()

    def look(self) -> None:
        """Asks HAProxy how it is, and acts on that."""
        assert self.datapath
        if not self.process.alive():
            self.died(f"HAProxy died (exit {self.process.popen.returncode})")
            return
        info = self.process.info()
        now = time.monotonic()
        if not info:
            if self.health.hung(now, self.process.stopped()):
                self.hangs += 1
                self.died("HAProxy hangs")
            return
        self.health.answered(now)
        used = int(info.get("CurrConns", 0)) / max(1, int(info.get("Maxconn", 1)))
        self.datapath.open = used < (BUSY if self.datapath.open else IDLE)
        self.datapath.beat()

    def died(self, what: str) -> None:
        """Resets the connections of a HAProxy that is dead, or is now, and starts another one."""
        assert self.datapath
        self.datapath.close()
        self.deaths += 1
        reset = self.reset_all()
        self.process.kill()
        reset += self.reset_all()
        self.note(f"{what}; {reset} of its sockets were reset")
        pause = 0.05
        while not self.ended.wait(pause):
            try:
                self.process = self.start()
            except Error as e:
                self.note(str(e))
                pause = min(SLOWEST_RESTART_S, pause * 4)
            else:
                self.note(f"HAProxy runs again (pid {self.process.pid})")
                return

    def reset_all(self) -> int:
        """Resets all connections in the container; returns how many. A failure is no reason to go no further."""
        try:
            return self.sockets.reset_all()
        except Error as e:
            self.note(str(e))
            return 0

    def keep_sweeping(self) -> None:
        """Forgets flows every second, or less often where that would take more than a tenth of the time."""
        pause = SWEEP_S
        while not self.ended.wait(pause):
            began = time.monotonic()
            try:
                self.sweep()
            except Error as e:
                self.note(str(e))
            pause = max(SWEEP_S, 10 * (time.monotonic() - began))

    def sweep(self) -> None:
        """Forgets flows that have no socket any more."""
        assert self.datapath
        before = time.monotonic_ns() - QUIET_NS
        if quiet := self.datapath.quiet(before):
            have = self.sockets.keys()
            self.datapath.forget([key for key in quiet if key not in have], before)

    # ---- questions and orders ----

    def handlers(self) -> dict[str, Any]:
        """For the control socket."""
        return {"status": self.status, "flows": self.flows, "reload": self.reload, "down": self.down}

    def status(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Everything but the flows themselves."""
        yield from ()
        assert self.datapath
        s = self.settings
        info = self.process.info()
        hits = self.datapath.hits()
        rules = [
            {"name": r.name, "action": "proxy" if r.proxy else "direct", "connections": n}
            for r, n in zip(self.datapath.rules, hits, strict=False)
        ]
        return {
            "name": s.name,
            "access": s.access,
            "core": s.core,
            "state": "open" if self.datapath.open else "closed",
            "mode": "http" if s.http else "tcp",
            "splice": s.splice,
            "access_tcp": asdict(self.access),
            "core_tcp": asdict(self.core),
            "namespace": self.container.namespace,
            "flows": self.datapath.count(),
            "most_flows": s.max_flows,
            "sockets": self.sockets.count(),
            "rules": rules,
            "no_rule": hits[-1],
            "counters": self.datapath.counters(),
            "haproxy": {
                "pid": self.process.pid,
                "version": info.get("Version"),
                "connections": int(info.get("CurrConns", 0)),
                "most_connections": int(info.get("Maxconn", 0)),
                "uptime_s": int(info.get("Uptime_sec", 0)),
                "finishing": len(self.old),
            },
            "deaths": self.deaths,
            "hangs": self.hangs,
        }

    def flows(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The flows, those with most bytes first."""
        yield from ()
        assert self.datapath
        found = self.datapath.flows()
        found.sort(key=lambda f: -sum(f.bytes))
        now = time.monotonic_ns()
        return {"total": len(found), "flows": [self.describe(f, now) for f in found[: request.get("limit", 1000)]]}

    def describe(self, f: Flow, now: int) -> dict[str, Any]:
        """A flow as JSON."""
        assert self.datapath
        current = f.generation == self.datapath.generation and f.rule < RULES
        return {
            "access_addr": str(f.key.access),
            "access_port": f.key.access_port,
            "core_addr": str(f.key.core),
            "core_port": f.key.core_port,
            "vlans": list(f.vlans),
            "rule": self.datapath.rules[f.rule].name if current else None,
            "age_s": round((now - f.born_ns) / 1e9, 1),
            "idle_s": max(0.0, round((now - f.seen_ns) / 1e9, 1)),
            "up_bytes": f.bytes[0],
            "down_bytes": f.bytes[1],
        }

    def reload(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Reads the rules again, and puts a new HAProxy in the place of this one, which keeps its connections."""
        file = request.get("rules") or self.settings.rules
        rules = read_rules(Path(file)) if file else EVERYTHING
        order = Reload(rules, compile_rules(rules), not request.get("rules_only"))
        warnings = unreachable(rules)
        # By the main thread: the kernel kills a HAProxy whose starting thread has ended (PR_SET_PDEATHSIG).
        self.orders.put(order)
        while True:
            try:
                done = order.answer.get(timeout=0.1)
            except queue.Empty:
                if self.ended.is_set():
                    raise Error("The proxy is going down.") from None
                yield {}
                continue
            if isinstance(done, Error):
                raise done
            return done | {"warnings": warnings}

    def carry_out(self) -> None:
        """The orders that have come."""
        assert self.datapath
        with contextlib.suppress(queue.Empty):
            while True:
                order = self.orders.get_nowait()
                try:
                    order.answer.put(self.reload_now(order))
                except Error as e:
                    order.answer.put(e)

    def reload_now(self, order: Reload) -> dict[str, Any]:
        """What :meth:`reload` says. Nothing has changed if it raises."""
        assert self.datapath
        if order.haproxy:
            self.haproxy.write()
            old, self.process = self.process, self.start(self.process)
            self.old.append(old)
        self.datapath.use(order.rules, order.tables)
        self.note(f"reloaded: {len(order.rules)} rules, HAProxy pid {self.process.pid}")
        return {"rules": len(order.rules), "pid": self.process.pid}

    def down(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Ends the proxy; goes on if whoever asked goes away."""
        assert self.datapath
        self.limit_s = float(request.get("limit_s", 30))
        self.ended.set()
        while not self.gone.wait(0.1):
            yield {}
        return self.left

    def leave(self) -> None:
        """New connections go direct; those that are there may finish within the limit and are reset then."""
        assert self.datapath
        self.datapath.close()
        until = time.monotonic() + self.limit_s
        self.left = {"connections": self.datapath.count(), "reset": 0}
        processes = [self.process, *self.old]
        for process in processes:
            process.finish()
        while any(p.alive() for p in processes) and time.monotonic() < until:
            time.sleep(0.05)
        self.left["reset"] = self.reset_all()
        for process in processes:
            process.kill()
        self.reset_all()
        time.sleep(0.05)  # what the resets set off is still to leave the container
        self.tear_down()

    def tear_down(self) -> None:
        """Takes everything off and away but the copper wire."""
        if self.datapath:
            self.datapath.detach()
            self.datapath.link = None
        self.container.remove()
        registry.clean(self.directory)


def serve(settings: Settings) -> int:
    """Runs a proxy; returns the exit status."""
    with registry.claim(settings.name) as directory, (directory / "log").open("ab", buffering=0) as log:
        supervisor = Supervisor(settings, directory, log)

        def on_signal(*_: object) -> None:
            supervisor.ended.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        supervisor.up()
        server = Server(directory / "control.sock", supervisor.handlers())
        warnings = unreachable(supervisor.rules)
        supervisor.note(
            f"up: {settings.access} (access) = {settings.core} (core), HAProxy pid {supervisor.process.pid}"
        )
        say({"ready": {"pid": os.getpid(), "warnings": warnings, "namespace": supervisor.container.namespace}})
        supervisor.watch()
        supervisor.leave()
        supervisor.gone.set()
        time.sleep(0.3)  # whoever asked for it is still to be told
        server.close()
        return 0


def say(document: dict[str, Any]) -> None:
    """The one line for who started this."""
    print(json.dumps(document), flush=True)


def main() -> int:
    """The process."""
    try:
        return serve(Settings(**json.loads(sys.argv[1])))
    except Error as e:
        say({"error": str(e), "exit_code": e.exit_code})
        return e.exit_code
    except Exception as e:
        say({"error": f"internal error: {type(e).__name__}: {e}. Please report it.", "exit_code": 1})
        if os.environ.get("SMARTWIRE_DEBUG"):
            raise
        return 1


if __name__ == "__main__":
    sys.exit(main())
