"""Upgrades without a reset: a wheel is unpacked beside the others; wires hand connections back and return with it.

``/opt/smartwire`` (or $SMARTWIRE_SOFTWARE) has a directory per version that was added, and two links: ``current``,
which smartwired and its wires run from, and ``previous``. Without ``current`` they run from where they were installed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import smartwire
from smartwire.config.commands import Answer, FileName, command
from smartwire.config.operations import WHOLE
from smartwire.errors import Error, NotThere
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
    known = [p for p in os.environ.get("PYTHONPATH", "").split(":") if p and not Path(p).is_relative_to(directory())]
    here = link("current")
    return os.environ | {"PYTHONPATH": ":".join([str(here), *known] if here else known)}


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
def add(session: Any, file: FileName) -> Answer:
    """Upgrade from a wheel: wires hand their connections back one after the other, and return with it; no resets.

    file: the wheel, a path on the box.
    """
    place = unpack(Path(file))
    before = link("current")
    try:
        probe(place)
    except Error:
        if place != before:
            shutil.rmtree(place, ignore_errors=True)
        raise
    point("previous", before)
    point("current", place)
    return swap(session, place.name)


@command("request system software rollback", permission="everything")
def rollback(session: Any) -> Answer:
    """Go back to the version before, in the same way."""
    if not (directory() / "current").is_symlink():
        raise NotThere("No version was added: this is the one that was installed.")
    before, now = link("previous"), link("current")
    point("previous", now)
    point("current", before)
    return swap(session, before.name if before else "the installed version")


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


def swap(session: Any, version: str) -> Answer:
    """Each wire hands its connections back, leaves, and returns with the current version; then smartwired does."""
    engine = session.engine
    os.environ["PYTHONPATH"] = environment()["PYTHONPATH"]
    handed = reset = 0
    wires = [w for w in registry.running() if str(w.info.get("owner", "")).startswith("smartwired")]
    for wire in wires:
        limit = float(wire.info.get("limit_s", 60.0))
        done = control.ask(wire.socket, "drain", target=WHOLE, limit_s=limit)
        handed, reset = handed + done["handed_back"], reset + done["reset"]
        leave(wire)
        bring_back(engine, wire.name)
    engine.begin_anew()
    data = {"version": version, "wires": [w.name for w in wires], "handed_back": handed, "reset": reset}
    return Answer(
        f"{version}: {len(wires)} wires have returned with it, {handed} connections handed back, {reset} reset; "
        "smartwired starts anew, log in again. Proxies go on as they are.\n",
        data,
    )


def bring_back(engine: Any, name: str) -> None:
    """Has a wire started again, and waits until it runs.

    Raises:
        Error: it does not come back; the copper wire carries its traffic, and it is tried again.
    """
    end = time.monotonic() + LEAVE_S
    while not any(w.name == name for w in registry.running()):
        said = engine.reconcile()
        if time.monotonic() > end:
            raise Error(f"wire {name} does not come back ({'; '.join(said)}): request system software rollback.")
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
