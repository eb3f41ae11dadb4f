"""`smartwire demo --appliance`: the pages over a real wire and real traffic, and nothing left afterwards."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from smartwire.errors import Error
from smartwire.lab import net

from .conftest import Operator

pytestmark = pytest.mark.root


@pytest.fixture
def scratch():
    """A directory whose name is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="sw-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def demo(scratch):
    """The demo, running: (its process, what it said)."""
    if find_spec("smartwire._native") is None:
        pytest.skip("the Rust core is not built (./smartwire builds it)")
    pytest.importorskip("nicegui", reason="NiceGUI is not installed: ./smartwire test installs it")
    try:
        net.check_requirements()
        net.run("ip", "netns", "list")
    except Error as problem:
        pytest.skip(str(problem))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    argv = [sys.executable, "-m", "smartwire", "demo", "--appliance", "--json", "--port", str(port)]
    env = os.environ | {"TMPDIR": str(scratch)}
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = ""
    while not said.rstrip().endswith("}"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        said += line
    yield process, json.loads(said)
    if process.poll() is None:
        process.kill()
        process.wait()


def left(pid: int) -> list[str]:
    """Namespaces that belong to a process."""
    return [name for name, owner in net.namespaces() if owner == pid]


def test_a_browser_shows_live_figures_of_real_flows_and_afterwards_nothing_is_left(demo, chromium, scratch):
    process, said = demo
    assert len(said["password"]) >= 12
    browser = Operator(chromium, said["url"].rstrip("/"), viewport={"width": 1280, "height": 860})
    browser.log_in(said["user"], said["password"])
    browser.page.get_by_text(re.compile(r"Working: \d+ connections of \d+ subscribers, .*Mbit/s down")).wait_for()
    browser.page.get_by_text(re.compile(r"Servers see a round trip of .* ms instead of .* ms")).wait_for()
    browser.until("running, optimize")
    before = browser.text(".tile b >> nth=0")
    browser.page.wait_for_function("t => document.querySelector('.tile b').innerText != t", arg=before)
    browser.go("/flows")
    browser.page.locator("tbody td a").first.click()
    browser.until("RTT on the subscriber's side")
    browser.page.get_by_role("button", name="Capture").click()
    browser.page.get_by_text(re.compile("towards the (subscriber|server)|carried nothing")).wait_for()
    browser.context.close()
    assert left(process.pid)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 0
    assert left(process.pid) == []
    assert list(scratch.glob("smartwire-demo-*")) == []
    assert [p for p in Path("/proc").glob("[0-9]*/environ") if mentions(p, scratch)] == []


def mentions(environ: Path, directory: Path) -> bool:
    """True for a process that lives in the directory."""
    try:
        return str(directory).encode() in environ.read_bytes()
    except OSError:
        return False
