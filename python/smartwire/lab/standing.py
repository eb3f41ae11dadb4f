"""A lab that stays: ``smartwire lab up`` builds it, ``down`` removes it, ``shell`` enters one of its hosts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time

from smartwire.errors import Error, NotThere, UsageError
from smartwire.lab.links import Radio
from smartwire.lab.middle import Bridge
from smartwire.lab.net import HOSTS, Lab, namespaces, remove_namespace
from smartwire.wire import registry

WIRE_NAME = "lab"
READY_S = 20.0


def standing() -> Lab:
    """The lab that stays, whether it stands or not."""
    return Lab(owner=0)


def hosts() -> list[str]:
    """Hosts of the lab that stands; none if there is none."""
    names = {name for name, owner in namespaces() if owner == 0}
    return [host for host in HOSTS if standing().ns(host) in names]


def up(radio: Radio, middle: str, phones: int) -> Lab:
    """Builds a lab that stays: emulators and a server run in it, and what joins the wire host's ports."""
    if hosts():
        raise Error("A lab is already standing: `smartwire lab down` removes it.")
    lab = Lab(phones=phones, owner=0)
    lab.up()
    try:
        epoch = {"epoch": time.monotonic()}
        groups = [[lab.phone_v4(i), lab.phone_v6(i)] for i in lab.phone_range()]
        for host, near, far, spec in (
            ("radio", "phone0", "radio0", {"down": radio.down, "up": radio.up, "groups": groups}),
            ("internet", "net0", "net1", {"down": radio.core_down, "up": radio.core_up, "shared": True}),
        ):
            task = {"access": near, "core": far, "spec": spec}
            detach(lab, host, "smartwire.lab.emulate", stdin=[task, epoch])
        detach(lab, "server", "smartwire.lab.server")
        if middle == "bridge":
            Bridge().start(lab)
        elif middle == "smartwire":
            detach(lab, "wire", "smartwire", "run", "access", "core", "--name", WIRE_NAME)
    except BaseException:
        down()
        raise
    return lab


def detach(lab: Lab, host: str, module: str, *argv: str, stdin: list[dict] | None = None) -> None:
    """Starts a Python module inside a host that outlives this process; returns once it has printed a line."""
    given, said, complained = (tempfile.TemporaryFile("w+") for _ in range(3))
    given.writelines(json.dumps(line) + "\n" for line in stdin or [])
    given.seek(0)
    process = lab.popen(host, sys.executable, "-m", module, *argv, stdin=given, stdout=said, stderr=complained)
    until = time.monotonic() + READY_S
    while os.fstat(said.fileno()).st_size == 0:
        if process.poll() is not None or time.monotonic() > until:
            complained.seek(0)
            words = complained.read().strip().splitlines()
            raise Error(f"{module} on {host} did not start: {words[-1] if words else 'it gave no reason'}")
        time.sleep(0.02)


def down() -> bool:
    """Removes the lab that stands; False if there was none."""
    found = [name for name, owner in namespaces() if owner == 0]
    with contextlib.suppress(NotThere, ProcessLookupError):
        pid = registry.find(WIRE_NAME).info["pid"]
        os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            os.kill(pid, 0)
            time.sleep(0.05)
    for name in found:
        remove_namespace(name)
    return bool(found)


def enter(host: str, command: tuple[str, ...]) -> None:
    """Becomes a shell, or a command, inside a host."""
    there = hosts()
    if not there:
        raise NotThere("No lab is standing: `smartwire lab up` builds one.")
    if host not in there:
        raise UsageError(f"There is no host {host!r} in the lab: choose one of {', '.join(there)}.")
    sys.stdout.flush()
    argv = command or (os.environ.get("SHELL", "/bin/sh"),)
    os.environ["PS1"] = f"{host}# "
    os.execvp("ip", ["ip", "netns", "exec", standing().ns(host), *argv])
