"""Upgrades: a wheel is unpacked beside the others; wires and proxies end in order and return with it.

``/opt/smartwire`` (or $SMARTWIRE_SOFTWARE) has a directory per version that was added, with the packages that it needs
and the box has not, and two links: ``current``, which smartwired, its wires and proxies run from, and ``previous``.
Without ``current`` they run from where they were installed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import smartwire
from smartwire.config.commands import Answer, FileName, command
from smartwire.config.operations import WHOLE
from smartwire.config.proxypart import OWNER
from smartwire.errors import Error, NotThere
from smartwire.proxy import registry as proxies
from smartwire.wire import control, registry

LARGEST = 512 << 20
"""Bytes that a wheel may unpack to."""
LEAVE_S = 90.0
"""That a wire may take to leave once it has handed its connections back."""
PROBE = "import smartwire._native, smartwire.config.daemon, smartwire.cli.run; print(smartwire.__file__)"


def directory() -> Path:
    """Where versions are."""
    return Path(os.environ.get("SMARTWIRE_SOFTWARE", "/opt/smartwire"))


def link(name: str) -> Path | None:
    """The directory of the current or the previous version; None if there is none."""
    path = directory() / name
    return path.resolve() if path.is_dir() else None


def environment() -> dict[str, str]:
    """The environment in which the current version runs."""
    known = outside(os.environ.get("PYTHONPATH", "").split(":"))
    here = link("current")
    return os.environ | {"PYTHONPATH": ":".join([str(here), *known] if here else known)}


def outside(paths: list[str]) -> list[str]:
    """Those that are no version's that was added."""
    return [p for p in paths if p and not Path(p).is_relative_to(directory())]


def enter() -> None:
    """Becomes the current version's smartwired, unless this is it; does not return then."""
    env = environment()
    if env["PYTHONPATH"] != os.environ.get("PYTHONPATH", ""):
        os.execve(sys.executable, [sys.executable, "-m", "smartwire", "daemon"], env)


@command("show system software")
def show_software(session: Any) -> Answer:
    """Show which version runs, which was added, and which comes back with a rollback."""
    found = {"running": smartwire.__version__, "from": str(Path(smartwire.__file__).parents[1])}
    for name in ("current", "previous"):
        there = link(name)
        found[name] = there.name if there else None
    return Answer("".join(f"{name:<10}{value or 'as installed'}\n" for name, value in found.items()), found)


@command("request system software add", permission="everything")
def add(session: Any, file: FileName, *, keep_proxies: bool = False) -> Answer:
    """Upgrade from a wheel: wires hand connections back and return with it, without a reset; proxies finish and return.

    file: the wheel, a path on the box; what it needs may lie beside it.
    keep-proxies: leave proxies, and what is in them, with the version that they were started with.
    """
    wheel = Path(file)
    place = unpack(wheel)
    before = link("current")
    try:
        fetch(wheel, place)
        probe(place)
    except Error:
        if place != before:
            shutil.rmtree(place, ignore_errors=True)
        raise
    point("previous", before)
    point("current", place)
    return swap(session, place.name, keep_proxies)


@command("request system software rollback", permission="everything")
def rollback(session: Any, *, keep_proxies: bool = False) -> Answer:
    """Go back to the version before, in the same way.

    keep-proxies: leave proxies, and what is in them, with the version that they were started with.
    """
    if not (directory() / "current").is_symlink():
        raise NotThere("No version was added: this is the one that was installed.")
    before, now = link("previous"), link("current")
    point("previous", now)
    point("current", before)
    return swap(session, before.name if before else "the installed version", keep_proxies)


def unpack(wheel: Path) -> Path:
    """Unpacks a wheel into a directory of its own, whole or not at all.

    Raises:
        Error: it is no wheel of Smartwire's.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            about = [n for n in names if re.fullmatch(r"smartwire-[^/]+\.dist-info/METADATA", n)]
            if not about or "smartwire/__init__.py" not in names:
                raise Error(f"{wheel.name} is no wheel of Smartwire: there is no package smartwire in it.")
            if sum(i.file_size for i in archive.infolist()) > LARGEST or any(".." in n.split("/") for n in names):
                raise Error(f"{wheel.name} is no wheel of Smartwire: it would unpack to more than one has.")
            found = re.search(r"^Version: ([\w.+!-]{1,64})$", archive.read(about[0]).decode(), re.M)
            if not found:
                raise Error(f"{wheel.name} is no wheel of Smartwire: it does not say its version.")
            place = directory() / found[1]
            draft = directory() / f".{found[1]}.new"
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            archive.extractall(draft)
    except FileNotFoundError:
        raise NotThere(f"There is no file {wheel}.") from None
    except (OSError, zipfile.BadZipFile, UnicodeDecodeError) as e:
        raise Error(f"{wheel.name} could not be unpacked into {directory()}: {e}.") from None
    shutil.rmtree(place, ignore_errors=True)
    draft.rename(place)
    return place


def fetch(wheel: Path, place: Path) -> None:
    """Puts the packages that a version needs, and this box has not, beside it: from the wheel's directory, or PyPI.

    Raises:
        Error: they cannot be had.
    """
    about = next(place.glob("smartwire-*.dist-info/METADATA"))
    needs = sorted(re.findall(r"^Requires-Dist: (.+)$", about.read_text(), re.M))
    installed = importlib.metadata.distributions(name="smartwire", path=outside(sys.path))
    if not needs or needs in [sorted(each.requires or []) for each in installed]:
        return
    named = f"{wheel}[web]" if importlib.util.find_spec("nicegui") else str(wheel)
    found = json.loads(pip(place.name, "--dry-run", "--report", "-", "--find-links", str(wheel.parent), named))
    missing = [
        f"{m['name']}=={m['version']}"
        for m in (one["metadata"] for one in found["install"])
        if m["name"] != "smartwire"
    ]
    if missing:
        pip(place.name, "--no-deps", "--target", str(place), "--find-links", str(wheel.parent), *missing)


def pip(version: str, *argv: str) -> str:
    """What ``pip install`` says; raises Error with its last words if it fails."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "15", *argv]
    env = os.environ | {"PYTHONPATH": ":".join(outside(os.environ.get("PYTHONPATH", "").split(":")))}
    env |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        said = next((line for line in reversed(done.stderr.splitlines()) if line.startswith("ERROR")), "pip failed")
        said = said.removeprefix("ERROR: ").rstrip(".")
        raise Error(f"What {version} needs cannot be had ({said}): put its wheels beside it. Nothing was changed.")
    return done.stdout


def probe(place: Path) -> None:
    """Raises Error, with its last words, unless the version in a directory starts on this machine."""
    env = os.environ | {"PYTHONPATH": str(place)}
    done = subprocess.run([sys.executable, "-c", PROBE], env=env, capture_output=True, text=True, check=False)
    if done.returncode or not done.stdout.startswith(str(place)):
        said = (done.stderr.strip().splitlines() or ["it is not what Python finds"])[-1]
        raise Error(f"{place.name} does not start on this box ({said}): nothing was changed.")


def point(name: str, to: Path | None) -> None:
    """Makes a link name a version, or none, at once."""
    path, draft = directory() / name, directory() / f".{name}.new"
    draft.unlink(missing_ok=True)
    if to is None:
        path.unlink(missing_ok=True)
        return
    draft.symlink_to(to.name)
    draft.replace(path)


def swap(session: Any, version: str, keep_proxies: bool) -> Answer:
    """Each wire hands its connections back, leaves, and returns with the current version; proxies, then smartwired."""
    engine = session.engine
    os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
    handed = reset = 0
    wires = [w for w in registry.running() if str(w.info.get("owner", "")).startswith("smartwired")]
    for wire in wires:
        limit = float(wire.info.get("limit_s", 60.0))
        done = control.ask(wire.socket, "drain", target=WHOLE, limit_s=limit)
        handed, reset = handed + done["handed_back"], reset + done["reset"]
        leave(wire)
        bring_back(engine, f"wire {wire.name}", lambda name=wire.name: is_there(registry.running(), name))
    text = f"{version}: {len(wires)} wires have returned with it, {handed} connections handed back, {reset} reset; "
    kept = [p for p in proxies.running() if p.info.get("owner") == OWNER]
    moved = {} if keep_proxies else {proxy.name: move(engine, proxy) for proxy in kept}
    if moved:
        text += f"{len(moved)} proxies have, {sum(moved.values())} of their sockets were reset; "
    elif kept:
        text += f"{len(kept)} proxies go on as they are; "
    engine.begin_anew()
    data = {
        "version": version,
        "wires": [w.name for w in wires],
        "handed_back": handed,
        "reset": reset,
        "proxies": moved,
    }
    return Answer(f"{text}smartwired starts anew, log in again.\n", data)


def move(engine: Any, proxy: proxies.Running) -> int:
    """Ends a proxy, whose connections may finish meanwhile, and has it started again; returns how many did not."""
    limit = float(engine.setup.config.value(("wires", proxy.name, "drain-limit")))
    done = control.ask(proxy.socket, "down", limit_s=limit)
    proxies.wait_for_end(proxy.directory)
    bring_back(engine, f"the proxy of wire {proxy.name}", lambda: is_there(proxies.running(), proxy.name))
    return int(done["reset"])


def is_there(running: Iterable[Any], name: str) -> bool:
    """True if one of that name runs."""
    return any(one.name == name for one in running)


def bring_back(engine: Any, what: str, there: Callable[[], bool]) -> None:
    """Has a wire or a proxy started again, and waits until it runs.

    Raises:
        Error: it does not come back; the copper wire carries its traffic, and it is tried again.
    """
    end = time.monotonic() + LEAVE_S
    while not there():
        said = engine.reconcile()
        if time.monotonic() > end:
            raise Error(f"{what} does not come back ({'; '.join(said)}): request system software rollback.")
        time.sleep(0.05)


def leave(wire: registry.Running) -> None:
    """Ends a wire's process, and waits until it is gone: the copper wire carries all meanwhile.

    Raises:
        Error: it does not go.
    """
    try:
        os.kill(wire.info["pid"], signal.SIGTERM)
    except ProcessLookupError:
        return
    end = time.monotonic() + LEAVE_S
    while any(w.info.get("pid") == wire.info["pid"] for w in registry.running()):
        if time.monotonic() > end:
            raise Error(f"wire {wire.name} does not leave: it goes on with its old version.")
        time.sleep(0.05)
