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
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from smartwire import _native
from smartwire.errors import Error
from smartwire.proxy import answers, registry
from smartwire.proxy.container import Container, Tcp, best_congestion_control, run
from smartwire.proxy.datapath import Datapath, Ports, maps_of_no_wire, maps_of_wire
from smartwire.proxy.haproxy import Haproxy, program
from smartwire.proxy.instance import Instance
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
    cpus: tuple[int, ...] | None = None
    access_cc: str | None = None
    core_cc: str = "cubic"
    initial_window: int = 10
    access_mss: int | None = None
    core_mss: int | None = None
    max_flows: int = 1 << 17
    any_port: str = "sk-lookup"
    vlans: tuple[int, int] | None = None
    """Of a trunk, which is then both ports: access, core."""
    owner: str | None = None
    """Who keeps it as it is, where that is not who started it by hand."""


@dataclass
class Order:
    """Something for the main thread to do, and what it answers."""

    do: Callable[[], dict[str, Any]]
    answer: queue.Queue[dict[str, Any] | Error] = field(default_factory=queue.Queue)


@dataclass
class Supervisor:
    """A running proxy."""

    settings: Settings
    directory: Path
    log: Any
    leaving: list[Instance] = field(default_factory=list)
    """Earlier containers, which finish."""
    deaths: int = 0
    hangs: int = 0
    ended: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    limit_s: float = 0.0
    left: dict[str, int] = field(default_factory=dict)
    orders: queue.Queue[Order] = field(default_factory=queue.Queue)

    def up(self) -> None:
        """Builds everything; raises a sentence, and leaves nothing behind then."""
        s = self.settings
        self.rules: Sequence[Rule] = read_rules(Path(s.rules)) if s.rules else EVERYTHING
        self.remove_leftovers()
        program()
        self.datapath: Datapath | None = None
        self.instance: Instance | None = None
        trunk = socket.if_nametoindex(s.access) if s.vlans else None
        was_joined = _native.proxy_is_on(trunk) if trunk else _native.copper(s.access, s.core)
        try:
            self.build()
        except BaseException:
            self.tear_down()
            if not was_joined:
                with contextlib.suppress(Error):
                    _native.proxy_take_off(trunk) if trunk else _native.unwire(s.access, s.core)
            raise

    def remove_leftovers(self) -> None:
        """Takes down what a killed supervisor of this name left; refuses what is somebody else's."""
        known = registry.record(self.directory).get("namespaces", {})
        for number in (0, 1):
            left = Container(self.settings.name, self.settings.access, number)
            there = left.identity()
            if there is not None:
                if known.get(left.namespace) != there:
                    raise Error(
                        f"There is a network namespace {left.namespace} that no proxy made: remove it with "
                        f"`ip netns del {left.namespace}`, or choose another --name."
                    )
                self.note(f"removing what an earlier proxy left in {left.namespace}")
            left.remove()
        registry.clean(self.directory)

    def build(self) -> None:
        """Programs, container, HAProxy; until the last one runs the programs send nothing to it."""
        s = self.settings
        ports = Ports(socket.if_nametoindex(s.access), socket.if_nametoindex(s.core), s.vlans)
        wire = maps_of_no_wire() if s.vlans else maps_of_wire(ports.access)
        self.datapath = Datapath(ports, exact=not s.http, most_flows=s.max_flows, wire=wire)
        self.datapath.use(self.rules)
        self.instance = self.contained(0)
        self.datapath.attach()
        if s.vlans:
            run("ip", "link", "set", s.access, "promisc", "on")
        self.instance.start()

    def configured(self) -> Haproxy:
        """HAProxy, as the settings are now."""
        s = self.settings
        return Haproxy(self.directory, http=s.http, splice=s.splice, threads=s.threads, cpus=s.cpus)

    def contained(self, number: int) -> Instance:
        """A new container, as the settings are now."""
        assert self.datapath
        s = self.settings
        instance = Instance(
            Container(s.name, s.access, number),
            Tcp(s.access_cc or best_congestion_control(), s.initial_window, s.access_mss),
            Tcp(s.core_cc, s.initial_window, s.core_mss),
            self.configured(),
            self.datapath,
            self.log,
            self.note,
            tproxy=s.any_port == "tproxy",
        )
        try:
            instance.build(mtu_of(s.access))
            self.record(instance.container)
        except BaseException:
            instance.remove()
            raise
        return instance

    def record(self, newest: Container) -> None:
        """Writes down what belongs to this proxy."""
        containers = [newest, *(i.container for i in self.instances())]
        content = asdict(self.settings) | {
            "pid": os.getpid(),
            "started": time.time(),
            "namespaces": {c.namespace: c.identity() for c in containers},
        }
        (self.directory / "proxy.json").write_text(json.dumps(content))

    def instances(self) -> list[Instance]:
        """All containers, the one for new connections first."""
        return [*([self.instance] if self.instance else []), *self.leaving]

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
            assert self.instance
            now = time.monotonic()
            self.instance.health.late(now, max(0.0, now - woke - 2 * PERIOD_S))
            self.look(self.instance)
            self.carry_out()
            self.see_off()
            woke = time.monotonic()

    def look(self, instance: Instance) -> None:
        """Asks HAProxy how it is, and acts on that."""
        assert self.datapath
        process = instance.process
        if not process.alive():
            self.died(instance, f"HAProxy died (exit {process.popen.returncode})")
            return
        info = process.info()
        now = time.monotonic()
        if not info:
            if instance.health.hung(now, process.stopped()):
                self.hangs += 1
                self.died(instance, "HAProxy hangs")
            return
        instance.health.answered(now)
        used = int(info.get("CurrConns", 0)) / max(1, int(info.get("Maxconn", 1)))
        self.datapath.open = used < (BUSY if self.datapath.open else IDLE)
        self.datapath.beat()

    def died(self, instance: Instance, what: str) -> None:
        """Resets the connections of a HAProxy that is dead, or is now, and starts another one."""
        assert self.datapath
        self.datapath.close()
        self.deaths += 1
        reset = instance.reset_all()
        instance.process.kill()
        reset += instance.reset_all()
        self.note(f"{what}; {reset} of its sockets were reset")
        pause = 0.0
        while not self.ended.wait(pause):
            try:
                instance.start()
            except Error as e:
                self.note(str(e))
                instance.refuse()
                pause = min(SLOWEST_RESTART_S, max(0.2, pause * 4))
            else:
                self.note(f"HAProxy runs again (pid {instance.process.pid})")
                return

    def see_off(self) -> None:
        """Earlier containers whose connections have ended, or had to by now."""
        for instance in [i for i in self.leaving if not i.processes() or time.monotonic() > i.until]:
            left = instance.end()
            time.sleep(0.02)  # what the resets set off is still to leave the container
            instance.remove()
            self.leaving.remove(instance)
            self.note(f"container {instance.container.namespace} has finished; {left} of its sockets were reset")

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
            have = set().union(*(i.sockets.keys() for i in self.instances()))
            self.datapath.forget([key for key in quiet if key not in have], before)

    # ---- questions and orders ----

    def handlers(self) -> dict[str, Any]:
        """For the control socket."""
        orders = {"reload": self.reload, "upgrade": self.upgrade, "down": self.down}
        return {"status": self.status, "flows": self.flows} | orders

    def status(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Everything but the flows themselves."""
        yield from ()
        return answers.status(self)

    def flows(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The flows, those with most bytes first."""
        yield from ()
        return answers.flows(self.datapath, request.get("limit", 1000))

    def reload(self, request: dict[str, Any]) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Reads the rules again, and puts a new HAProxy in the place of this one, which keeps its connections."""
        file = request.get("rules") or self.settings.rules
        rules = read_rules(Path(file)) if file else EVERYTHING
        tables, warnings = compile_rules(rules), unreachable(rules)
        done = yield from self.order(lambda: self.reload_now(rules, tables, not request.get("rules_only")))
        return done | {"warnings": warnings}

    def upgrade(self, request: dict[str, Any]) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Starts another container, to which new connections go, and lets this one finish."""
        return (yield from self.order(lambda: self.upgrade_now(request.get("settings", {}), request.get("limit_s"))))

    def order(self, do: Callable[[], dict[str, Any]]) -> Generator[dict[str, Any], None, dict[str, Any]]:
        """Has something done by the main thread: the kernel kills a HAProxy whose starting thread has ended
        (PR_SET_PDEATHSIG)."""
        order = Order(do)
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
            return done

    def carry_out(self) -> None:
        """The orders that have come."""
        with contextlib.suppress(queue.Empty):
            while True:
                order = self.orders.get_nowait()
                try:
                    order.answer.put(order.do())
                except Error as e:
                    order.answer.put(e)

    def reload_now(self, rules: Sequence[Rule], tables: Tables, haproxy: bool) -> dict[str, Any]:
        """What :meth:`reload` says. Nothing has changed if it raises."""
        assert self.datapath
        assert self.instance
        if haproxy:
            self.instance.start(self.instance.process)
        self.datapath.use(rules, tables)
        self.note(f"reloaded: {len(rules)} rules, HAProxy pid {self.instance.process.pid}")
        return {"rules": len(rules), "pid": self.instance.process.pid}

    def upgrade_now(self, changes: dict[str, Any], limit_s: float | None) -> dict[str, Any]:
        """What :meth:`upgrade` says. Nothing has changed if it raises."""
        assert self.datapath
        assert self.instance
        if self.leaving:
            left = self.leaving[0]
            raise Error(
                f"The container {left.container.namespace} of the last upgrade still has {left.sockets.count()} "
                "sockets: wait until it has finished."
            )
        before, self.settings = self.settings, replace(self.settings, **changes)
        old = self.instance
        new = None
        try:
            new = self.contained(1 - old.container.number)
            new.start()
        except BaseException:
            self.settings = before
            if new:
                new.remove()
            raise
        self.instance = new
        self.leaving.append(old)
        if limit_s is not None:
            old.until = time.monotonic() + limit_s
        old.finish()
        self.note(f"new connections go to {new.container.namespace}, {old.container.namespace} finishes")
        sides = {"access_tcp": asdict(new.access), "core_tcp": asdict(new.core)}
        return {"namespace": new.container.namespace, "pid": new.process.pid, "leaving": old.sockets.count()} | sides

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
        for instance in self.instances():
            instance.finish()
        while any(i.processes() for i in self.instances()) and time.monotonic() < until:
            time.sleep(0.05)
        self.left["reset"] = sum(i.end() for i in self.instances())
        time.sleep(0.05)  # what the resets set off is still to leave the container
        self.tear_down()

    def tear_down(self) -> None:
        """Takes everything off and away but the copper wire."""
        if self.datapath:
            self.datapath.detach()
        for instance in self.instances():
            instance.remove()
        registry.clean(self.directory)


def mtu_of(interface: str) -> int:
    """What fits into a frame of it, without the Ethernet header."""
    return int(Path(f"/sys/class/net/{interface}/mtu").read_text())


def serve(settings: Settings) -> int:
    """Runs a proxy; returns the exit status."""
    with registry.claim(settings.name) as directory, (directory / "log").open("ab", buffering=0) as log:
        supervisor = Supervisor(settings, directory, log)

        def on_signal(*_: object) -> None:
            supervisor.ended.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        supervisor.up()
        assert supervisor.instance
        server = Server(directory / "control.sock", supervisor.handlers())
        warnings = unreachable(supervisor.rules)
        supervisor.note(
            f"up: {settings.access} (access) = {settings.core} (core), HAProxy pid {supervisor.instance.process.pid}"
        )
        where = supervisor.instance.container.namespace
        say({"ready": {"pid": os.getpid(), "warnings": warnings, "namespace": where}})
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
