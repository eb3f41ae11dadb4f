"""What `smartwire run` refuses, with the fix in the sentence; and that it leaves nothing half done behind."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
from smartwire.lab.middle import Wire
from smartwire.lab.net import Lab

pytestmark = pytest.mark.root

PORTS = ("access", "core")


@pytest.fixture
def lab():
    """A phone and a server, one veth away from the wire host's ports."""
    with Lab(emulated=False) as lab:
        yield lab


def smartwire(lab: Lab, *words: str, seconds: float = 120.0) -> subprocess.CompletedProcess:
    """Runs the command line in the wire host."""
    argv = lab.command("wire", sys.executable, "-m", "smartwire", *words)
    return subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)


def state(lab: Lab) -> str:
    """All of the ports that a wire changes."""
    shown = [lab.run("wire", "ip", "-d", "link", "show", port) for port in PORTS]
    shown += [lab.run("wire", "tc", "qdisc", "show", "dev", port) for port in PORTS]
    shown += [lab.run("wire", "ethtool", "-k", port) for port in PORTS]
    shown += [
        lab.run("wire", "sysctl", f"net.ipv6.conf.{p}.disable_ipv6", f"net.ipv6.conf.{p}.accept_ra") for p in PORTS
    ]
    return re.sub(r"(qlen|mtime|promiscuity|allmulti) \d+", "", "\n".join(shown))


def refused(lab: Lab, *words: str, status: int = 1) -> str:
    """The one sentence that `run` refuses with; the ports are as they were."""
    before = state(lab)
    done = smartwire(lab, "run", "access", "core", *words)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith("smartwire: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert state(lab) == before
    return done.stderr


def test_unequal_mtus_are_refused_with_the_command(lab):
    lab.batch("wire", ["link set core mtu 1400"])
    assert "`ip link set dev access mtu 1400`" in refused(lab)


def test_a_jumbo_mtu_is_refused_with_the_largest_that_works(lab):
    for host, ports in (("wire", PORTS), ("phone", ("eth0",)), ("server", ("eth0",))):
        lab.batch(host, [f"link set {port} mtu 9000" for port in ports])
    assert re.search(r"`ip link set dev (access|core) mtu \d{4}`", refused(lab))


def test_an_interface_with_an_address_is_left_alone(lab):
    lab.batch("wire", ["addr add 10.77.0.1/24 dev core"])
    assert "`ip addr flush dev core`" in refused(lab)


def test_an_interface_of_a_bridge_is_left_alone(lab):
    lab.batch("wire", ["link add br0 type bridge", "link set access master br0"])
    assert "`ip link set dev access nomaster`" in refused(lab)


def test_too_many_frames_for_the_memory_are_refused_with_a_number_that_fits(lab):
    assert re.search(r"give at most \d+ with --frames", refused(lab, "--frames", str(1 << 24)))


def test_too_few_frames_are_refused_with_a_number_that_works(lab):
    sentence = refused(lab, "--frames", "300")
    frames = re.search(r"give at least (\d+) with --frames", sentence)[1]
    wire = Wire("--frames", frames)
    wire.start(lab)
    wire.stop()


@pytest.mark.parametrize("io", ["xdp", "packet"])
def test_offloads_are_refused_with_the_commands_that_mend_them(lab, io):
    for host in ("phone", "server"):
        lab.run(host, "ethtool", "-K", "eth0", "tx", "on", "tso", "on", "txvlan", "on")
    commands = re.findall(r"`([^`]+)`", refused(lab, "--io", io))
    assert len(commands) == 2
    for command in commands:
        subprocess.run(shlex.split(command), check=True, capture_output=True)
    wire = Wire("--io", io)
    wire.start(lab)
    wire.stop()


def test_offloads_are_mended_when_asked_and_restored_by_unwire(lab):
    for host in ("phone", "server"):
        lab.run(host, "ethtool", "-K", "eth0", "tx", "on", "tso", "on", "txvlan", "on")
    before = [lab.run(host, "ethtool", "-k", "eth0") for host in ("phone", "server")], state(lab)
    wire = Wire("--mend")
    wire.start(lab)
    assert "tcp-segmentation-offload: off" in lab.run("phone", "ethtool", "-k", "eth0")
    wire.stop()
    assert ([lab.run(host, "ethtool", "-k", "eth0") for host in ("phone", "server")], state(lab)) == before


def test_ports_are_silent_and_promiscuous_until_unwire_gives_back_what_they_had(lab):
    lab.sysctl("wire", {"net.ipv6.conf.core.disable_ipv6": "0"})
    lab.batch("wire", ["link set access arp on"])
    before = state(lab)
    wire = Wire()
    wire.start(lab)
    for port in PORTS:
        flags = lab.run("wire", "ip", "link", "show", port)
        assert "NOARP" in flags
        assert "PROMISC" in flags
        assert lab.run("wire", "sysctl", "-n", f"net.ipv6.conf.{port}.disable_ipv6").strip() == "1"
    assert wire.leave() == 0
    wire.process = None
    assert "NOARP" in lab.run("wire", "ip", "link", "show", "core"), "the copper wire stays, and stays silent"
    done = smartwire(lab, "unwire", "access", "core")
    assert (done.returncode, done.stdout) == (0, "access and core are two interfaces again.\n")
    assert state(lab) == before
    assert "were not a wire" in smartwire(lab, "unwire", "access", "core").stdout


def test_two_interfaces_that_are_a_wire_already_are_refused_and_stay_one(lab):
    wire = Wire()
    wire.start(lab)
    done = smartwire(lab, "run", "core", "access", "--name", "other")
    assert done.returncode == 1
    assert f"are already a wire ({wire.name}, pid {wire.process.pid})" in done.stderr
    assert "stop that one first" in smartwire(lab, "unwire", "access", "core").stderr
    assert wire.counters()["wire_opened"] == 0
    wire.stop()


def test_a_wire_can_be_started_again_on_its_copper_and_after_a_kill(lab):
    for end in ("leave", "kill", "leave"):
        wire = Wire()
        wire.start(lab)
        getattr(wire, end)()


def test_an_interface_that_vanishes_ends_the_wire_with_a_sentence(lab):
    wire = Wire()
    wire.start(lab)
    lab.batch("wire", ["link del access"])
    assert wire.process.wait(60) == 1
    assert wire.last_words() == "The interface access is gone; the wire cannot go on without it."
    wire.process = None


def test_where_xdp_finds_offloads_in_the_way_packets_are_chosen_and_the_reason_said(lab):
    for host in ("phone", "server"):
        lab.run(host, "ethtool", "-K", "eth0", "tx", "on", "tso", "off", "tx-udp-segmentation", "off")
    wire = Wire()
    wire.start(lab)
    assert "AF_PACKET" in wire.greeting
    wire.until_said("not used: XDP in the stack: The other end of access")
    wire.stop()
