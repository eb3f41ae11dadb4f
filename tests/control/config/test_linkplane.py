"""Link-loss forwarding and bypass relays, on a machine made of files."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from smartwire.config import linkplane
from smartwire.config.linkplane import LinkLossPlane, RelayPlane
from smartwire.config.load import load
from smartwire.config.plane import Setup
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.errors import Error
from smartwire.wire.registry import register

NORTH = "set wires north pair eth1 core eth2\n"


def setup(lines: str) -> Setup:
    return Setup(load(Config(load_schema()), "set", lines))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Ports as files; `machine.link(port, up, carrier)` sets one, `ip link set` is carried out on them."""
    monkeypatch.setattr(linkplane, "SYS", tmp_path)
    monkeypatch.setenv("SMARTWIRE_RUN", str(tmp_path / "run"))

    class Machine:
        said: list[list[str]] = []  # noqa: RUF012 - of one test

        def link(self, port: str, up: bool = True, carrier: bool = True) -> None:
            (tmp_path / port).mkdir(exist_ok=True)
            (tmp_path / port / "flags").write_text("0x1003" if up else "0x1002")
            (tmp_path / port / "carrier").write_text("1" if up and carrier else "0")

    it = Machine()
    it.said = []

    def run(argv):
        it.said.append(argv)
        if argv[:3] == ["ip", "link", "set"]:
            it.link(argv[3], argv[4] == "up")
        return "it is broken" if "broken" in argv[0] else ""

    monkeypatch.setattr(linkplane, "_run", run)
    for port in ("eth1", "eth2"):
        it.link(port)
    return it


@pytest.mark.parametrize(("lost", "other"), [("eth1", "eth2"), ("eth2", "eth1")])
def test_a_lost_link_takes_the_other_port_down_and_up_again(machine, lost, other):
    wanted, plane = setup(NORTH + "set wires north link-loss-forwarding true"), LinkLossPlane()
    assert plane.differences(wanted) == []
    machine.link(lost, carrier=False)
    assert plane.differences(wanted) == [f"{other} is taken down, since {lost} has lost its link."]
    plane.apply(wanted)
    assert machine.said == [["ip", "link", "set", other, "down"]]
    assert LinkLossPlane().differences(wanted) == []
    machine.link(lost)
    assert LinkLossPlane().differences(wanted) == [f"{other} is taken up, since {lost} has its link again."]
    plane.apply(wanted)
    assert plane.differences(wanted) == []


def test_two_lost_links_and_wires_without_it_are_left_alone(machine):
    machine.link("eth1", carrier=False)
    assert LinkLossPlane().differences(setup(NORTH)) == []
    machine.link("eth2", carrier=False)
    assert LinkLossPlane().differences(setup(NORTH + "set wires north link-loss-forwarding true")) == []


def test_the_relay_is_inline_while_a_process_serves_the_wire(machine, tmp_path):
    wanted, plane = setup(NORTH + "set wires north hardware-bypass-hook /usr/bin/relay"), RelayPlane()
    plane.apply(wanted)
    with register("north", access="eth1", core="eth2"):
        assert plane.differences(wanted) == ["the relay of wire north is to be switched to inline."]
        plane.apply(wanted)
        plane.apply(wanted)
        plane.apply(setup(NORTH + "set wires north hardware-bypass-hook /usr/bin/relay mode bypass"))
        plane.apply(wanted)
        assert plane.differences(wanted) == []
    plane.apply(setup(""))
    assert plane.differences(setup("")) == []
    positions = ["bypass", "inline", "bypass", "inline", "bypass"]
    assert machine.said == [["/usr/bin/relay", "north", position] for position in positions]


def test_a_hook_that_fails_fails_the_commit_and_is_called_again(machine):
    wanted, plane = setup(NORTH + "set wires north hardware-bypass-hook /usr/bin/broken"), RelayPlane()
    with pytest.raises(Error, match="/usr/bin/broken north bypass: it is broken"):
        plane.apply(wanted)
    assert plane.differences(wanted) == ["the relay of wire north is to be switched to bypass."]


def test_a_hook_that_is_no_program_is_named(machine):
    [problem] = RelayPlane().check(setup(NORTH + "set wires north hardware-bypass-hook /etc/passwd"))
    assert problem.sentence == "/etc/passwd is no program that can be run."


@pytest.mark.root
def test_the_kernel_tells_at_once_when_a_link_changes():
    code = """if True:
        import select, subprocess
        from smartwire.config.linkplane import changes
        links = changes()
        assert not select.select([links], [], [], 0)[0]
        subprocess.run(["ip", "link", "add", "one", "type", "veth", "peer", "name", "other"], check=True)
        assert select.select([links], [], [], 60)[0]
    """
    if os.geteuid():
        pytest.skip("a network namespace needs root")
    subprocess.run(["unshare", "-n", sys.executable, "-c", code], check=True)
