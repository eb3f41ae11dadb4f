"""smartwired with real wires in a network namespace: what it starts outlives it, and is found and put right again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from smartwire.config import client
from smartwire.config.engine import CommitFailed

pytestmark = [pytest.mark.root, pytest.mark.slow]
PATIENCE_S = 120


class Appliance:
    """A namespace with two pairs of virtual ports, and smartwired in it."""

    def __init__(self, directory: Path) -> None:
        self.space = f"swcfg{os.getpid()}"
        self.directory = directory
        self.env = os.environ | {"SMARTWIRE_RUN": str(directory / "run"), "SMARTWIRE_STATE": str(directory / "state")}
        self.log = directory / "daemon.log"
        self.daemon: subprocess.Popen | None = None

    def inside(self, *argv: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["ip", "netns", "exec", self.space, *argv], env=self.env, capture_output=True, text=True, check=False
        )

    def smartwire(self, *argv: str) -> subprocess.CompletedProcess:
        return self.inside(sys.executable, "-m", "smartwire", *argv)

    def up(self) -> None:
        subprocess.run(["ip", "netns", "add", self.space], check=True, capture_output=True)
        for n in range(1, 5):
            self.inside("ip", "link", "add", f"e{n}", "type", "veth", "peer", "name", f"p{n}")
            for port in (f"e{n}", f"p{n}"):
                self.inside("ip", "link", "set", port, "up")

    def start(self) -> None:
        argv = ["ip", "netns", "exec", self.space, sys.executable, "-m", "smartwire", "daemon"]
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(argv, env=self.env, stderr=log, stdout=log)
        wait(lambda: self.socket.exists() and self.pid_of_daemon() == self.daemon.pid, self.log)
        wait(self.answers, self.log)

    def answers(self) -> bool:
        with contextlib.suppress(Exception), self.session():
            return True
        return False

    @property
    def socket(self) -> Path:
        return self.directory / "run" / "smartwired" / "api.sock"

    def pid_of_daemon(self) -> int:
        return int((self.directory / "run" / "smartwired" / "lock").read_text() or 0)

    def session(self) -> client.Client:
        return client.connect(source="test", path=self.socket)

    def wire(self, name: str) -> dict:
        try:
            file = "proxy.json" if name.startswith("proxy@") else "wire.json"
            return json.loads((self.directory / "run" / name / file).read_text())
        except (OSError, ValueError):
            return {}

    def down(self) -> None:
        if self.daemon:
            self.daemon.kill()
            self.daemon.wait()
        for name in ("north", "south", "proxy@north"):
            with contextlib.suppress(KeyError, ProcessLookupError):
                os.kill(self.wire(name)["pid"], signal.SIGKILL)
        subprocess.run(["ip", "netns", "del", self.space], check=False, capture_output=True)


def wait(until, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.fixture
def appliance(tmp_path):
    if find_spec("smartwire._native") is None:
        pytest.skip("the Rust core is not built (./smartwire builds it)")
    box = Appliance(tmp_path)
    try:
        box.up()
    except (OSError, subprocess.CalledProcessError) as e:
        pytest.skip(f"no network namespaces here ({e})")
    yield box
    box.down()


def test_an_appliance_from_its_first_wire_to_its_last(appliance):
    appliance.start()
    with appliance.session() as session:
        session.configure("private")
        session.set("wires north pair e1 core e2")
        session.commit()
        first = appliance.wire("north")
        assert session.run("show wires")["data"]["wires"][0]["state"] == "running"

        refused = appliance.smartwire("run", "e1", "e2")
        assert refused.returncode == 1
        assert "e1 belongs to wire north of smartwired" in refused.stderr
        assert "delete wires north" in appliance.smartwire("unwire", "e1", "e2").stderr

        session.set("wires south pair e3 core e9")
        with pytest.raises(CommitFailed) as e:
            session.commit()
        assert "there is no interface e9 here" in str(e.value.problems[0])
        session.rollback(0)

    appliance.daemon.kill()
    appliance.daemon.wait()
    os.kill(first["pid"], 0)  # the wire goes on without smartwired
    appliance.start()
    assert appliance.wire("north")["pid"] == first["pid"]

    os.kill(first["pid"], signal.SIGKILL)  # and smartwired puts right what died
    wait(lambda: appliance.wire("north").get("pid") not in (None, first["pid"]), appliance.log)
    wait(lambda: "wire north was started" in appliance.log.read_text(), appliance.log)

    with appliance.session() as session:
        session.configure("private")
        session.set("wires south pair e3 core e4")
        session.commit(confirmed=0.05)
        assert appliance.wire("south")
        wait(lambda: not appliance.wire("south"), appliance.log)
        wait(lambda: "automatic rollback complete" in appliance.log.read_text(), appliance.log)
        assert json.loads((appliance.directory / "state" / "copper.json").read_text()) == [["e1", "e2"]]
        session.rollback(0)
        session.load("set", "delete wires north pair e1\nset wires north pair e1 core e3")
        assert session.commit().done[1] == "e1 and e2 are two interfaces again."
        session.delete("wires")
        session.commit()
    assert not appliance.wire("north")
    appliance.daemon.terminate()
    assert appliance.daemon.wait(PATIENCE_S) == 0
    assert "were not a wire" in appliance.smartwire("unwire", "e1", "e2").stdout


def test_a_lost_link_is_forwarded_and_the_relay_follows_the_wire(appliance, tmp_path):
    relay = tmp_path / "relay"
    relay.write_text(f"#!/bin/sh\necho $1 $2 >> {tmp_path}/switched\n")
    relay.chmod(0o755)

    def up(port: str) -> bool:
        return "state UP" in appliance.inside("ip", "link", "show", port).stdout

    appliance.start()
    with appliance.session() as session:
        session.configure("private")
        session.load("set", "set wires north pair e1 core e2\nset wires north link-loss-forwarding true\n"
                            f"set wires north hardware-bypass-hook {relay}")  # fmt: skip
        session.commit()
        assert (tmp_path / "switched").read_text() == "north inline\n"
        appliance.inside("ip", "link", "set", "p1", "down")
        wait(lambda: not up("p2"), appliance.log)
        appliance.inside("ip", "link", "set", "p1", "up")
        wait(lambda: up("p2"), appliance.log)
        session.delete("wires")
        session.commit()
    assert (tmp_path / "switched").read_text() == "north inline\nnorth bypass\n"


def test_a_proxy_beside_a_wire_then_alone_then_on_one_port(appliance):
    if shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip("haproxy is not installed")
    appliance.start()
    with appliance.session() as session:
        session.configure("private")
        session.load("set", "set wires north pair e1 core e2\nset policies web match core-port 80\n"
                            "set policies web engine proxy\nset proxy access-congestion-control cubic")  # fmt: skip
        done = session.commit().done
        assert done[0].startswith("wire north was started")
        assert done[1:] == ["the proxy of wire north was started."]
        wire, proxy = appliance.wire("north")["pid"], appliance.wire("proxy@north")["pid"]
        assert "belongs to wire north" in appliance.smartwire("proxy", "up", "e1", "e2").stderr
        assert session.run("show wires")["data"]["wires"][0]["io"].endswith("+ HAProxy")

        session.load("set", "set policies web match core-port 8080\nset proxy access-congestion-control reno")
        assert session.commit().done == [
            "wire north has new policies.",
            "the proxy of wire north has a new container for new connections.",
            "the proxy of wire north has new rules.",
        ]
        [said] = session.run("show proxies")["data"]
        assert (said["access_tcp"]["congestion"], said["namespace"]) == ("reno", "swproxy-north+")
        assert said["rules"] == [{"name": "web", "action": "proxy", "connections": 0}]
        assert appliance.wire("north")["pid"] == wire

        session.set("wires north mode proxy")
        assert session.commit().done == ["wire north was stopped."]
        assert appliance.wire("proxy@north")["pid"] == proxy

        session.delete("wires north pair")
        session.set("wires north trunk e1 access-vlan 10 core-vlan 20")
        assert session.commit().done == [
            "the proxy of wire north was ended.",
            "e1 and e2 are two interfaces again.",
            "the proxy of wire north was started.",
        ]
        assert session.run("show wires")["data"]["wires"][0]["access"] == "e1.10"
        assert json.loads((appliance.directory / "state" / "copper.json").read_text()) == [["e1", "e1", 10, 20]]
        session.delete("wires")
        assert session.commit().done[-1] == "VLANs 10 and 20 of e1 are not joined any more."
    assert "filter" not in appliance.inside("tc", "filter", "show", "dev", "e1", "ingress").stdout


def test_at_boot_the_copper_wire_needs_no_configuration(appliance):
    state = appliance.directory / "state"
    state.mkdir()
    (state / "copper.json").write_text('[["e1", "e2"], ["e3", "e9"]]')
    done = appliance.smartwire("copper")
    assert "e1 and e2 are joined by copper wire." in done.stdout
    assert "There is no interface e9 here." in done.stderr
    assert done.returncode == 3
    assert "filter" in appliance.inside("tc", "filter", "show", "dev", "e1", "ingress").stdout
    assert "two interfaces again" in appliance.smartwire("unwire", "e1", "e2").stdout
    (state / "copper.json").write_text('[["e3", "e3", 10, 20]]')
    assert "VLANs 10 and 20 of e3 are joined by copper wire." in appliance.smartwire("copper").stdout
    assert "filter" in appliance.inside("tc", "filter", "show", "dev", "e3", "ingress").stdout
    assert "no trunk any more" in appliance.smartwire("unwire", "e3").stdout
