"""The proxy engine's part of the wires: mode proxy is ``smartwire proxy up`` instead of ``smartwire run``.

What such a proxy was started with stands in a small file beside its rules, with its process: the next smartwired knows
from it whether the proxy is as configured. New rules are read by a running proxy, which loses no connection.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from smartwire.config.plane import Setup
from smartwire.config.schema import Problem
from smartwire.errors import Error
from smartwire.proxy import registry
from smartwire.proxy.layout import RULES

UP_S = 90.0


class Wanted(NamedTuple):
    """What a proxy is to be."""

    arguments: list[str]
    """After ``smartwire proxy up``, without the rules."""
    rules: str
    """Content of its file of rules."""


def quoted(text: str) -> str:
    """A TOML string."""
    return json.dumps(text)


def rules(setup: Setup, wire: str, lists: Path) -> str:
    """The policies that concern a wire, as the proxy's rules. Files of prefix lists are named by their content."""
    parts = []
    used: set[str] = set()
    for name, policy in setup.config.get(("policies",), {}).items():
        match = policy.get("match", {})
        if wire not in match.get("wire", (wire,)):
            continue
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
        found = {}
        for name, entry in setup.config.get(("wires",), {}).items():
            if entry.get("mode") != "proxy":
                continue
            access, pair = next(iter(entry["pair"].items()))
            given = [access, pair["core"], "--name", name]
            for option, leaf in (("--access-cc", "access"), ("--core-cc", "core")):
                given += [option, setup.config.value(("proxy", f"{leaf}-congestion-control"))]
            given += ["--max-flows", str(setup.config.value(("proxy", "max-connections")))]
            given += ["--threads", str(setup.config.value(("wires", name, "workers")))]
            found[name] = Wanted(given, rules(setup, name, self.lists))
        return found

    def check(self, setup: Setup) -> list[Problem]:
        """A machine without HAProxy, and more policies than a proxy has room for."""
        found = []
        for name, wanted in self.wanted(setup).items():
            path = ("wires", name, "mode")
            if shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
                found.append(Problem(path, "mode proxy needs HAProxy: apt-get install haproxy."))
            if (count := wanted.rules.count("[[rule]]\n")) > RULES:
                text = f"{count} policies concern it and {RULES} are possible: join some with prefix lists."
                found.append(Problem(path, text))
        return found

    def differences(self, setup: Setup) -> list[str]:
        """What is not as the setup says."""
        wanted, there = self.wanted(setup), self.ours()
        found = [f"the proxy of wire {n} is not running." for n in wanted if n not in there]
        found += [f"the proxy of wire {n} runs, and is not configured." for n in there if n not in wanted]
        same = {n: self.started(n) for n in there}
        return found + [
            f"the proxy of wire {n} does not run as configured."
            for n, w in wanted.items()
            if n in there and same[n] != {"up": _hash(w.arguments), "rules": _hash(w.rules)}
        ]

    def ours(self) -> dict[str, registry.Running]:
        """Running proxies that smartwired started, by the wire's name."""
        return {r.name: r for r in registry.running() if self.noted(r.name).get("pid") == r.info.get("pid")}

    def noted(self, name: str) -> dict[str, Any]:
        """What was written down when a proxy was started."""
        try:
            return dict(json.loads((self.directory / f"{name}.json").read_text()))
        except (OSError, ValueError):
            return {}

    def started(self, name: str) -> dict[str, Any]:
        """What a proxy was started with."""
        noted = self.noted(name)
        return {"up": noted.get("up"), "rules": noted.get("rules")}

    def retire(self, setup: Setup) -> list[str]:
        """Ends proxies that are not wanted, or not as they are; the copper wire stays."""
        wanted = self.wanted(setup)
        done = []
        for name, running in self.ours().items():
            if name in wanted and self.started(name)["up"] == _hash(wanted[name].arguments):
                continue
            limit = setup.config.value(("wires", name, "drain-limit")) if name in wanted else 60
            self.tell("down", "--name", running.name, "--limit", f"{limit}s", patience_s=limit + UP_S)
            done.append(f"the proxy of wire {name} was ended.")
        return done

    def bring_up(self, name: str, wanted: Wanted) -> list[str]:
        """Starts a proxy that is missing, or gives new rules to one that runs."""
        there = name in self.ours()
        if there and self.started(name)["rules"] == _hash(wanted.rules):
            return []
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self.directory / f"{name}.toml"
        file.write_text(wanted.rules)
        if there:
            self.tell("reload", "--name", name, "--rules", str(file), "--rules-only")
            said = f"the proxy of wire {name} has new rules."
        else:
            self.tell("up", *wanted.arguments, "--rules", str(file), "--owner", "smartwired")
            said = f"the proxy of wire {name} was started."
        note = {"pid": registry.find(name).info["pid"], "up": _hash(wanted.arguments), "rules": _hash(wanted.rules)}
        (self.directory / f"{name}.json").write_text(json.dumps(note))
        return [said]

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


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
