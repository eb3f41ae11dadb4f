"""The proxy engine's part of the wires: ``smartwire proxy up`` instead of, or beside, ``smartwire run``.

What a running proxy is set to, and by whom, stands in its own proxy.json; which rules it has read, in a small file
beside them. A running proxy reads new rules without losing a connection; another TCP is that of a second container, to
which new connections go while the first one finishes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from smartwire.config import wiring
from smartwire.config.plane import Setup
from smartwire.config.schema import Problem
from smartwire.errors import Error
from smartwire.proxy import registry
from smartwire.proxy.layout import RULES
from smartwire.wire import control

UP_S = 90.0
OWNER = "smartwired"
OPTIONS = {
    "access_cc": "--access-cc", "core_cc": "--core-cc", "initial_window": "--initial-window",
    "access_mss": "--access-mss", "core_mss": "--core-mss", "max_flows": "--max-flows", "threads": "--threads",
}  # fmt: skip
"""Settings of a proxy with a value of their own, and the options that they are on the command line."""
UPGRADED = {"access_cc", "core_cc", "initial_window", "access_mss", "core_mss", "threads", "splice"}
"""Settings that a second container may have: they are changed without ending a connection."""


class Wanted(NamedTuple):
    """What a proxy is to be."""

    settings: dict[str, Any]
    """As its proxy.json has them; the rules are left out."""
    rules: str
    """Content of its file of rules."""

    def arguments(self) -> list[str]:
        """After ``smartwire proxy up``, without the rules."""
        s = self.settings
        given = [s["access"], s["core"]]
        if s["vlans"]:
            access, core = s["vlans"]
            given = ["--trunk", s["access"], "--access-vlan", str(access), "--core-vlan", str(core)]
        given += ["--name", s["name"], "--mode", "http" if s["http"] else "tcp"]
        given += ["--splice" if s["splice"] else "--no-splice"]
        return given + [part for key, option in OPTIONS.items() if s[key] is not None for part in (option, str(s[key]))]

    def changes(self, running: registry.Running) -> dict[str, Any]:
        """What is to be other than it is."""
        return {key: value for key, value in self.settings.items() if running.info.get(key) != value}


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text)


def rules(setup: Setup, wire: str, lists: Path) -> str:
    """The policies that concern a wire, as the proxy's rules. Files of prefix lists are named by their content."""
    parts = []
    used: set[str] = set()
    for name, policy in wiring.up_to_the_last_proxied(setup.config, wire).items():
        match = policy.get("match", {})
        action = "proxy" if policy.get("engine") == "proxy" else "direct"
        lines = ["[[rule]]", f"name = {quoted(name)}", f"action = {quoted(action)}"]
        for side in ("access", "core"):
            lines += _side(setup, match, side, used)
        if ports := match.get("core-port"):
            lines.append(f"port = {json.dumps(list(ports))}")
        if vlans := match.get("vlan"):
            lines.append(f"vlan = {json.dumps([v or 'none' for v in vlans])}")
        parts.append("\n".join(lines))
    if not parts:
        parts = ['[[rule]]\nname = "none"\naction = "direct"']
    if used:
        files = [f"{quoted(n)} = {quoted(str(lists / setup.lists[n].digest))}" for n in sorted(used)]
        parts.append("\n".join(["[prefix-list]", *files]))
    return "\n\n".join(parts) + "\n"


def _side(setup: Setup, match: dict[str, Any], side: str, used: set[str]) -> list[str]:
    """What a policy says about the addresses of one side."""
    prefixes = list(match.get(f"{side}-prefix", ()))
    named = match.get(f"{side}-prefix-list", ())
    for name in named:
        prefixes += setup.config.get(("prefix-lists", name, "prefix"), ())
    files = [name for name in named if name in setup.lists]
    used.update(files)
    lines = [f"{side} = {json.dumps(prefixes)}"] if prefixes else []
    return lines + ([f"{side}-list = {json.dumps(files)}"] if files else [])


class Proxies:
    """Starts, reloads and ends proxies.

    Args:
        directory: where rules and what proxies were started with are kept.
        lists: where contents of prefix lists are, by hash.
        launch: how the command line is started.
    """

    def __init__(
        self, directory: Path, lists: Path, launch: tuple[str, ...] = (sys.executable, "-m", "smartwire")
    ) -> None:
        self.directory, self.lists, self.launch = directory, lists, launch

    def wanted(self, setup: Setup) -> dict[str, Wanted]:
        """All proxies that the setup asks for, by the wire's name."""
        config = setup.config
        common = {key: config.value(("proxy", leaf)) for key, leaf in (
            ("access_cc", "access-congestion-control"), ("core_cc", "core-congestion-control"),
            ("initial_window", "initial-window"), ("access_mss", "access-mss"), ("core_mss", "core-mss"),
            ("max_flows", "max-connections"), ("splice", "splice"),
        )}  # fmt: skip
        common["http"] = config.value(("proxy", "mode")) == "http"
        found = {}
        for name, entry in wiring.by_proxy(config).items():
            access, core, vlans = wiring.pairs(entry)[0]
            own = {"name": name, "access": access, "core": core, "vlans": list(vlans) if vlans else None}
            own["threads"] = config.value(("wires", name, "workers"))
            found[name] = Wanted(common | own, rules(setup, name, self.lists))
        return found

    def check(self, setup: Setup) -> list[Problem]:
        """A machine without HAProxy, a name that a proxy cannot have, more policies than it has room for."""
        found = []
        for name, wanted in self.wanted(setup).items():
            path = ("wires", name)
            if shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
                found.append(Problem(path, "the proxy engine needs HAProxy: apt-get install haproxy."))
            if not re.fullmatch(registry.NAME, name):
                found.append(Problem(path, f"a wire with a proxy has a name without @, of at most {registry.LONGEST}."))
            if (count := wanted.rules.count("[[rule]]\n")) > RULES:
                text = f"{count} policies concern its proxy and {RULES} are possible: join some with prefix lists."
                found.append(Problem(path, text))
        return found

    def differences(self, setup: Setup) -> list[str]:
        """What is not as the setup says."""
        wanted, there = self.wanted(setup), self.ours()
        found = [f"the proxy of wire {n} is not running." for n in wanted if n not in there]
        found += [f"the proxy of wire {n} runs, and is not configured." for n in there if n not in wanted]
        return found + [
            f"the proxy of wire {n} does not run as configured."
            for n, w in wanted.items()
            if n in there and (w.changes(there[n]) or not self.has_rules(there[n], w))
        ]

    def ours(self) -> dict[str, registry.Running]:
        """Running proxies that smartwired started, by the wire's name."""
        return {r.name: r for r in registry.running() if r.info.get("owner") == OWNER}

    def has_rules(self, running: registry.Running, wanted: Wanted) -> bool:
        """True if a proxy is known to have read its rules as they are wanted."""
        try:
            noted = json.loads((self.directory / f"{running.name}.json").read_text())
        except (OSError, ValueError):
            return False
        return noted == self.noted(running, wanted)

    @staticmethod
    def noted(running: registry.Running, wanted: Wanted) -> dict[str, Any]:
        """What is put down when a proxy has read its rules: which process has, and their hash."""
        return {"pid": running.info.get("pid"), "rules": hashlib.sha256(wanted.rules.encode()).hexdigest()}

    def retire(self, setup: Setup) -> list[str]:
        """Ends proxies that are not wanted, or in a way that cannot be changed as they run; the copper wire stays."""
        wanted = self.wanted(setup)
        done = []
        for name, running in self.ours().items():
            if name in wanted and wanted[name].changes(running).keys() <= UPGRADED:
                continue
            kept = name in setup.config.get(("wires",), {})
            self.end(running, setup.config.value(("wires", name, "drain-limit")) if kept else 60)
            done.append(f"the proxy of wire {name} was ended.")
        return done

    def end(self, running: registry.Running, limit_s: float) -> dict[str, Any]:
        """Ends a proxy: what it has may finish; says how many connections there were, and how many were reset."""
        done = control.ask(running.socket, "down", limit_s=float(limit_s), patience_s=UP_S)
        registry.wait_for_end(running.directory)
        return done

    def bring_up(self, name: str, wanted: Wanted) -> list[str]:
        """Starts a proxy that is missing; gives one that runs another container, or other rules."""
        running = self.ours().get(name)
        if running is None:
            self.tell("up", *wanted.arguments(), "--rules", str(self.write(name, wanted)), "--owner", OWNER)
            self.note(registry.find(name), wanted)
            return [f"the proxy of wire {name} was started."]
        done = []
        if changes := wanted.changes(running):
            control.ask(running.socket, "upgrade", settings=changes, patience_s=UP_S)
            done.append(f"the proxy of wire {name} has a new container for new connections.")
        if not self.has_rules(running, wanted):
            file = str(self.write(name, wanted))
            control.ask(running.socket, "reload", rules=file, rules_only=True, patience_s=UP_S)
            self.note(running, wanted)
            done.append(f"the proxy of wire {name} has new rules.")
        return done

    def write(self, name: str, wanted: Wanted) -> Path:
        """Puts down the rules for the proxy to read."""
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.directory / f"{name}.toml"
        file.write_text(wanted.rules)
        return file

    def note(self, running: registry.Running, wanted: Wanted) -> None:
        """Puts down which rules a proxy has read."""
        (self.directory / f"{running.name}.json").write_text(json.dumps(self.noted(running, wanted)))

    def tell(self, *argv: str, patience_s: float = UP_S) -> None:
        """Runs ``smartwire proxy``; raises its sentence if it fails."""
        try:
            done = subprocess.run(
                [*self.launch, "proxy", *argv], capture_output=True, text=True, timeout=patience_s, check=False
            )
        except subprocess.TimeoutExpired:
            raise Error(f"smartwire proxy {argv[0]} did not end within {patience_s:.0f} s.") from None
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.strip()] or ["it failed without a word."]
            raise Error(lines[-1].removeprefix("smartwire: "))
