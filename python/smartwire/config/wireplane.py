"""The real wires as a plane: each is a ``smartwire run`` process of its own, which goes on when smartwired dies.

A process carries the mark of the setup that it was started with (``--owner``, in its wire.json), so the next smartwired
finds it by :mod:`smartwire.wire.registry`, and knows whether it is as configured. Processes without a mark were started
by hand, and are left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from smartwire.config import wiring
from smartwire.config.plane import Setup
from smartwire.config.proxypart import Proxies
from smartwire.config.rulings import Rulings
from smartwire.config.schema import Problem
from smartwire.errors import Error
from smartwire.wire import control, copper, ownership, ports, registry

MARK = "smartwired "
IPV6_PREFIX_LENGTH = 64
"""What `smartwire run` takes without being told."""
START_S = 30.0
"""How long a wire may take until packets flow."""
GRACE_S = 5.0
"""What a wire that leaves may take beyond its drain limit."""
PATIENCE_S = 10.0
"""How long a wire may say nothing when it is told something."""
POLL_S = 0.05


class WirePlane:
    """Starts, stops and orders wires.

    Args:
        logs: directory of the wires' output.
        launch: how the command line is started; tests give another.
        lists: where contents of prefix lists are, by hash.
    """

    name = "wires"

    def __init__(
        self, logs: Path, launch: tuple[str, ...] = (sys.executable, "-m", "smartwire"), lists: Path | None = None
    ) -> None:
        self.logs, self.launch = logs, launch
        self.rulings = Rulings(logs.parent / "policies")
        self.proxies = Proxies(logs.parent / "proxy", lists or logs.parent / "config" / "lists", launch)
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.bypassed: dict[str, int] = {}
        """Wires that the configuration bypassed, with the process that was told."""

    # ---- what should be -------------------------------------------------------------------------------------------

    @staticmethod
    def arguments(name: str, setup: Setup) -> list[str]:
        """The command line of a wire, after ``smartwire run``."""

        def value(leaf: str) -> Any:
            return setup.config.value(("wires", name, leaf))

        pairs = wiring.pairs(setup.config.get(("wires", name)))
        given = [port for pair in pairs for port in (pair.access, pair.core)]
        given += ["--name", name, "--io", value("io"), "--workers", str(value("workers"))]
        given += ["--max-flows", str(value("max-flows")), "--limit", f"{value('drain-limit')}s"]
        length = setup.config.value(("subscribers", "identification", "ipv6-prefix-length"))
        if length != IPV6_PREFIX_LENGTH:
            given += ["--ipv6-prefix-length", str(length)]
        if setup.config.value(("subscribers", "identification", "by")) == "outer-vlan":
            given += ["--subscribers-by", "outer-vlan"]
        if frames := value("frames"):
            given += ["--frames", str(frames)]
        flags = {"--mend": value("mend-offloads"), "--fill-checksums": value("fill-checksums")}
        flags["--observe"] = value("mode") == "observe"
        return given + [flag for flag, on in flags.items() if on]

    def mark(self, name: str, setup: Setup) -> str:
        """What the process of a wire that is as configured carries."""
        return MARK + hashlib.sha256("\0".join(self.arguments(name, setup)).encode()).hexdigest()[:16]

    def check(self, setup: Setup) -> list[Problem]:
        """Ports that are not there or that a wire has which was started by hand; wires whose end parts two ports."""
        found = []
        here = ports.interfaces()
        taken = {p: r for r in registry.running() if not _ours(r) for p in r.ports()}
        for _, (port, path) in wiring.places(setup.config):
            if port not in here:
                others = ", ".join(i for i in here if i != "lo") or "none"
                found.append(Problem(path, f"there is no interface {port} here (there are: {others})."))
            elif port in taken:
                by = taken[port]
                text = f"{port} is part of wire {by.name}, started by hand (pid {by.info.get('pid')}): stop that."
                found.append(Problem(path, text))
        found += self.proxies.check(setup)
        for pair in self.joined():
            if pair not in _pairs(setup):
                text = f"{pair} are parted, and no traffic passes between them."
                found.append(Problem(("wires",), text, "warning"))
        return found

    # ---- what is --------------------------------------------------------------------------------------------------

    def differences(self, setup: Setup) -> list[str]:
        """What is not as the setup says."""
        there = {r.name: r for r in registry.running()}
        wanted = wiring.by_wire_engine(setup.config)
        found = []
        for name in wanted:
            running = there.get(name)
            if running is None:
                found.append(f"wire {name} is not running.")
            elif not _ours(running):
                found.append(f"wire {name} runs, but was started by hand (pid {running.info.get('pid')}).")
            elif running.info["owner"] != self.mark(name, setup):
                found.append(f"wire {name} does not run as configured.")
            elif running.info.get("policies", "") != self.rulings.of(name, setup).digest:
                found.append(f"wire {name} has other policies than configured.")
            elif (wanted[name].get("mode") == "bypass") != (self.bypassed.get(name) == running.info["pid"]):
                found.append(f"wire {name} is {'' if name in self.bypassed else 'not '}bypassed.")
        found += [f"wire {n} runs, and is not configured." for n, r in there.items() if _ours(r) and n not in wanted]
        if ownership.read() != _owned(setup):
            found.append("the list of owned ports is not the configured one.")
        return found + self.proxies.differences(setup)

    # ---- making it so ---------------------------------------------------------------------------------------------

    def apply(self, setup: Setup) -> list[str]:
        """Stops, starts and orders until all wires are as the setup says; ports that stay a pair stay joined.

        Raises:
            Error: some could not be made so, a sentence for each; all others are.
        """
        ownership.write(_owned(setup))
        before, after = self.joined(), _pairs(setup)
        done = self.remember(setup)
        wanted = wiring.by_wire_engine(setup.config)
        for running in registry.running():
            known = running.name in wanted and running.info.get("owner") == self.mark(running.name, setup)
            if _ours(running) and not known:
                done.append(self.stop(running))
        done += self.proxies.retire(setup)
        failed: list[str] = []
        steps: list[Callable[[], list[str]]] = [partial(self.part, pair) for pair in before if pair not in after]
        steps += [partial(self.bring_up, name, setup) for name in wanted]
        steps += [partial(self.proxies.bring_up, name, each) for name, each in self.proxies.wanted(setup).items()]
        for step in steps:
            try:
                done += step()
            except Error as e:
                failed.append(str(e).rstrip("."))
        if failed:
            raise Error(f"{'; '.join(failed)}.")
        return done

    def bring_up(self, name: str, setup: Setup) -> list[str]:
        """Starts a wire if it is missing, and bypasses it or ends its bypass."""
        done = []
        current = {r.name: r for r in registry.running()}.get(name)
        if current is None:
            current = self.start(name, setup)
            done.append(f"wire {name} was started (pid {current.info['pid']}).")
        elif not _ours(current):
            by_hand = f"a wire {name} is running that was started by hand (pid {current.info.get('pid')})"
            raise Error(f"{by_hand}: stop it.")
        elif current.info.get("policies", "") != self.rulings.of(name, setup).digest:
            file = str(self.rulings.file(name, setup))
            control.ask(current.socket, "set-policies", file=file, patience_s=PATIENCE_S)
            done.append(f"wire {name} has new policies.")
        bypass = setup.config.value(("wires", name, "mode")) == "bypass"
        return done + self.order(current, bypass, setup.config.value(("wires", name, "drain-limit")))

    @staticmethod
    def joined() -> list[copper.Pair]:
        """The pairs that were to be joined until now."""
        try:
            return copper.remembered()
        except Error:
            return []  # they stay joined; `smartwire unwire` parts them

    @staticmethod
    def remember(setup: Setup) -> list[str]:
        """Leaves the pairs for the next boot, which joins them before anything else (`smartwire copper`)."""
        try:
            copper.remember(_pairs(setup))
        except OSError as e:
            return [f"the pairs for the next boot could not be written ({e.strerror})."]
        return []

    def start(self, name: str, setup: Setup) -> registry.Running:
        """Starts a wire and waits until its packets flow.

        Raises:
            Error: with the wire's own sentence.
        """
        self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        log = self.logs / f"{name}.log"
        argv = [*self.launch, "run", *self.arguments(name, setup)]
        if self.rulings.of(name, setup).digest:
            argv += ["--policies", str(self.rulings.file(name, setup))]
        argv += ["--owner", self.mark(name, setup)]
        with log.open("wb") as output:
            # A session of its own: what ends smartwired, Ctrl-C included, does not end its wires.
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.children[name] = child
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if child.poll() is not None:
                raise Error(f"wire {name} did not start: {_last_sentence(log)}")
            for running in registry.running():
                if running.name == name and running.info.get("pid") == child.pid and "io" in running.info:
                    return running
            time.sleep(POLL_S)
        child.kill()
        child.wait()
        raise Error(f"wire {name} did not start within {START_S:.0f} s; its output is in {log}.")

    def stop(self, running: registry.Running) -> str:
        """Tells a wire to deliver what it holds and leave, and waits until it has."""
        pid = running.info["pid"]
        limit = float(running.info.get("limit_s", 60.0)) + GRACE_S
        self.bypassed.pop(running.name, None)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if not self._left(running, limit):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._left(running, GRACE_S)
            return f"wire {running.name} did not leave within {limit:.0f} s and was killed; its connections are reset."
        return f"wire {running.name} was stopped."

    def _left(self, running: registry.Running, limit: float) -> bool:
        """Waits until the process of a wire is gone; False if it is not."""
        deadline = time.monotonic() + limit
        while registry.alive(running.directory):
            if time.monotonic() > deadline:
                return False
            self.reap()
            time.sleep(POLL_S)
        self.reap()
        return True

    def reap(self) -> None:
        """Forgets children that have ended."""
        self.children = {name: child for name, child in self.children.items() if child.poll() is None}

    def part(self, pair: copper.Pair) -> list[str]:
        """Gives ports that are no longer joined back to the machine."""
        named = list(dict.fromkeys((pair.access, pair.core)))
        if gone := set(named) - set(ports.interfaces()):
            return [f"{pair} are no wire any more: there is no {' nor '.join(sorted(gone))} here."]
        done = subprocess.run(
            [*self.launch, "unwire", *named, "--owner", MARK.strip()],
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )
        if done.returncode:
            raise Error(f"{pair} could not be parted: {done.stderr.strip().removeprefix('smartwire: ')}")
        return [f"{pair} are not joined any more." if pair.vlans else f"{pair} are two interfaces again."]

    def order(self, running: registry.Running, bypass: bool, limit_s: float) -> list[str]:
        """Bypasses a wire, or ends the bypass that the configuration had ordered."""
        pid = running.info["pid"]
        told: Callable[..., dict[str, Any]] = control.ask
        if bypass and self.bypassed.get(running.name) != pid:
            told(running.socket, "bypass", target={"kind": "wire"}, limit_s=float(limit_s), patience_s=PATIENCE_S)
            self.bypassed[running.name] = pid
            return [f"wire {running.name} was bypassed."]
        if not bypass and self.bypassed.pop(running.name, None) == pid:
            told(running.socket, "resume", target={"kind": "wire"}, patience_s=PATIENCE_S)
            return [f"wire {running.name} optimizes again."]
        return []


def _ours(running: registry.Running) -> bool:
    """True if smartwired started the wire, whichever of its lives."""
    return str(running.info.get("owner") or "").startswith(MARK)


def _pairs(setup: Setup) -> list[copper.Pair]:
    """All that is joined."""
    return [pair for entry in wiring.wires(setup.config).values() for pair in wiring.pairs(entry)]


def _owned(setup: Setup) -> dict[str, str]:
    """The wire of each configured port."""
    return {place.port: wire for wire, place in wiring.places(setup.config)}


def _last_sentence(log: Path) -> str:
    """What a process complained of last."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1].removeprefix("smartwire: ") if lines else f"it said nothing; see {log}."
