"""An operator's first hour with a box, in the lab: real phones, a real wire, smartwired, and its command line.

Only waiting is cut short: a commit is confirmed within a second, and yesterday's counters are written beforehand.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import smartwire
from smartwire.errors import Error

pytestmark = [pytest.mark.root, pytest.mark.slow]
DAY = 86_400


def cli(*lines: str) -> str:
    """What the command line prints for these lines, typed in one session."""
    argv = [sys.executable, "-m", "smartwire", "cli", *(word for line in lines for word in ("-c", line))]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{lines}: {done.stderr}"
    return done.stdout


def data(line: str):
    """The same as a program gets it."""
    return json.loads(cli(f"{line} | display json"))


def until(true, what: str, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.1)
    return found


def write_yesterday() -> None:
    """What a collector recorded 24 hours ago."""
    from smartwire.counters.history import database
    from smartwire.counters.store import Reading, Store

    begin = int(time.time()) // 10 * 10 - DAY - 1800
    store = Store(database())
    paths = ["wire/edge/flows", "wire/edge/port/core/rx_bytes"]
    for n in range(60):
        store.append(begin + 10 * n, [Reading("wire/edge", "yesterday", paths, [42, 12_500_000 * n])])
    store.close()


def wheel_of_this(place: Path, version: str) -> Path:
    """The package as it runs here, as a wheel of another version."""
    made, root = place / f"smartwire-{version}-cp311-abi3-linux_x86_64.whl", Path(smartwire.__file__).parents[1]
    with zipfile.ZipFile(made, "w") as archive:
        for file in (root / "smartwire").rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, file.relative_to(root))
        archive.writestr(
            f"smartwire-{version}.dist-info/METADATA", f"Metadata-Version: 2.4\nName: smartwire\nVersion: {version}\n"
        )
    return made


@pytest.fixture
def lab(monkeypatch):
    """(a session of the lab whose middle is an unconfigured box, a directory)."""
    if find_spec("smartwire._native") is None:
        pytest.skip("the Rust core is not built (./smartwire builds it)")
    from smartwire.lab import net
    from smartwire.lab.appliance import Appliance
    from smartwire.lab.links import link
    from smartwire.lab.session import Session

    try:
        net.check_requirements()
        net.run("ip", "netns", "list")
    except Error as problem:
        pytest.skip(str(problem))

    class Empty(Appliance):
        """Nothing is configured yet."""

        def start(self, lab):
            self.lab = lab
            self.begin()

    with tempfile.TemporaryDirectory(prefix="sw-") as made:
        directory = Path(made)
        for name in ("RUN", "STATE", "SOFTWARE"):
            monkeypatch.setenv(f"SMARTWIRE_{name}", str(directory / name.lower()))
        (directory / "state").mkdir()
        write_yesterday()
        with Session("first hour", link("20mbit"), Empty(directory), phones=2, log=False) as session:
            yield session, directory


def test_an_operators_first_hour(lab):
    session, directory = lab
    who = session.phone(4)

    # Installed: it answers, and says what to do first.
    assert "No wire is configured yet. To join two ports: set wires" in cli("show overview")

    # Join two ports.
    cli("configure", "set wires edge pair access core core", "set wires edge drain-limit 20", "commit comment first")
    assert "running" in cli("show wires")

    see_traffic(session, who)

    # Set a policy, commit confirmed, let it expire.
    test = f"test policy client {who['source']} server {who['target']} port 8080"
    with session.middle.session() as operator:
        operator.configure("private")
        operator.load("set", "set policies hands-off match core-port 8080\nset policies hands-off engine none")
        operator.commit(confirmed=0.02)
        assert "engine: none, policy: hands-off" in cli(test)
        until(lambda: "hands-off" not in cli("show configuration | match hands-off"), "the commit did not expire")
    assert "engine: wire" in cli(test)
    assert "Commit was not confirmed" in cli("show system commit")

    # Commit for good, then roll back.
    cli("configure", "set policies hands-off match core-port 8080", "set policies hands-off engine none", "commit")
    assert "engine: none" in cli(test)
    assert "-   policies" in cli("configure", "rollback 1", "show | compare")
    cli("configure", "rollback 1", "commit comment back")
    assert "engine: wire" in cli(test)

    upgrade_under_a_download(session, directory, who)

    # Read the counters of yesterday.
    yesterday = data("show overview-history hours 26")
    there = [v for v in yesterday["curves"]["flows"] if v is not None]
    assert there[0] == 42
    assert max(v for v in yesterday["curves"]["down_bit_s"] if v is not None) > 9e6

    # And go back.
    assert "the installed version: 1 wires" in cli("request system software rollback")
    installed = str(Path(smartwire.__file__).parents[1])
    until(lambda: (answered("show system software") or {}).get("from") == installed, "no way back")


def see_traffic(session, who) -> None:
    """See traffic; capture a flow; read why one was refused: all in one session of the command line."""
    capture = f"request wire capture edge first.pcapng match {who['source']} seconds 1"
    said: list[str] = []

    def look() -> None:
        said.append(cli("show overview", "show flows", capture, "show captures", "show events kind refused"))

    odd = {"kind": "get", "size": 20_000, "start": 0.5, "mptcp": True, **who}
    plan = {"transfers": [{"kind": "get", "size": 0, "start": 0.1, "stop": 9.0, **who}, odd]}
    outcome = session.run(plan, 9.0, actions=[(2.0, look)])
    assert outcome.intact, outcome.broken
    assert "Working:" in said[0]
    assert "of TCP bytes are optimized" in said[0]
    assert f"{who['source']}:" in said[0]
    assert re.search(r"^[1-9]\d* packets in .*first\.pcapng", said[0], re.M)
    assert re.search(r"^first\.pcapng +[1-9]", said[0], re.M)
    assert "Multipath TCP was requested." in said[0]


def upgrade_under_a_download(session, directory, who) -> None:
    """Without a reset, and with a smartwired and a wire that come from the new version."""
    wheel = wheel_of_this(directory, "9.9.9")
    plan = {"transfers": [{"kind": "get", "size": 24_000_000, "start": 0.1, **who}]}
    done: dict[str, str] = {}
    upgrade = (2.0, lambda: done.update(said=cli(f"request system software add {wheel}")))
    outcome = session.run(plan, 15.0, actions=[upgrade], patience=120.0)
    assert outcome.intact, outcome.broken
    assert "9.9.9: 1 wires have returned with it" in done["said"]
    assert ", 0 reset" in done["said"]
    assert ", 0 connections" not in done["said"]
    software = until(lambda: answered("show system software"), "smartwired did not come back")
    assert software["from"] == str(directory / "software" / "9.9.9")
    assert software["previous"] is None
    assert data("show wires")["wires"][0]["state"] == "running"
    assert str(directory / "software" / "9.9.9") in maps_of_wire(directory)
    assert session.middle.counters()["resets"] == 0


def answered(line: str):
    """The answer; None while smartwired starts anew."""
    try:
        return data(line)
    except AssertionError:
        return None


def maps_of_wire(directory: Path) -> str:
    """What the wire's process has loaded."""
    pid = json.loads((directory / "run" / "edge" / "wire.json").read_text())["pid"]
    return Path(f"/proc/{pid}/maps").read_text()


def test_a_wheel_that_is_none_or_does_not_start_changes_nothing(tmp_path, monkeypatch):
    from smartwire.config import software

    monkeypatch.setenv("SMARTWIRE_SOFTWARE", str(tmp_path / "software"))
    other = tmp_path / "other-1.0-py3-none-any.whl"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("other/__init__.py", "")
    broken = tmp_path / "smartwire-9.9.8-py3-none-any.whl"
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("smartwire/__init__.py", "raise RuntimeError('broken')")
        archive.writestr("smartwire-9.9.8.dist-info/METADATA", "Version: 9.9.8\n")
    climbs = tmp_path / "smartwire-9.9.7-py3-none-any.whl"
    with zipfile.ZipFile(climbs, "w") as archive:
        archive.writestr("smartwire/__init__.py", "")
        archive.writestr("smartwire/../../x", "")
        archive.writestr("smartwire-9.9.7.dist-info/METADATA", "Version: 9.9.7\n")
    (tmp_path / "text.whl").write_text("no zip")
    for name, words in (
        (other.name, "there is no package smartwire"), (broken.name, "does not start on this box (RuntimeError"),
        (climbs.name, "is no wheel"), ("text.whl", "could not be unpacked"), ("absent.whl", "There is no file"),
    ):  # fmt: skip
        with pytest.raises(Error) as e:
            software.add(None, str(tmp_path / name))
        assert words in str(e.value)
    assert software.link("current") is None
    assert [p.name for p in (tmp_path / "software").iterdir()] == []
    assert not (tmp_path / "x").exists()


def wheel(place: Path, name: str, version: str, needs: str = "", module: str = "") -> Path:
    """A wheel of a package that is one file."""
    made = place / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr(f"{name}/__init__.py", module)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return made


def test_what_a_new_version_needs_comes_from_beside_its_wheel_and_where_it_is_not_nothing_changes(
    tmp_path, monkeypatch
):
    from smartwire.config import software

    monkeypatch.setenv("SMARTWIRE_SOFTWARE", str(tmp_path / "software"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    made = wheel(tmp_path, "smartwire", "9.9.6", "Requires-Dist: swneeded>=2\n", "import swneeded\n")
    with pytest.raises(Error, match=r"What 9\.9\.6 needs cannot be had .*swneeded.*put its wheels beside it"):
        software.add(None, str(made))
    assert [p.name for p in (tmp_path / "software").iterdir()] == []
    wheel(tmp_path, "swneeded", "2.1")
    place = software.unpack(made)
    software.fetch(made, place)
    assert (place / "swneeded" / "__init__.py").exists()
    assert not (place / "click").exists()  # that is installed
