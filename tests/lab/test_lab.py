"""The lab itself: hosts, emulators, endpoints, whatever stands in the middle. Functions, never speed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from smartwire.errors import Error
from smartwire.lab import net
from smartwire.lab.capture import beside_wire, capture
from smartwire.lab.figures import median
from smartwire.lab.frames import ACK, SYN, segments
from smartwire.lab.links import constant, profile
from smartwire.lab.middle import Bridge, Haproxy, Wire
from smartwire.lab.net import Lab, remove_namespace, sweep
from smartwire.lab.radiolog import DOWN
from smartwire.lab.session import Session

pytestmark = pytest.mark.root


def get(session: Session, version: int, size: int, **more) -> dict:
    return {"kind": "get", "size": size, "start": 0.1, "label": f"v{version}"} | session.phone(version) | more


def test_a_lab_is_gone_when_its_block_ends_even_by_an_error(own_namespaces):
    stood = []

    def fails() -> None:
        with Lab():
            stood.extend(own_namespaces())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert len(stood) == len(net.HOSTS)
    assert own_namespaces() == []


def test_offloads_are_off_and_neighbours_permanent_on_every_host():
    with Lab(phones=3) as lab:
        for host in lab.hosts:
            for ifname in json.loads(lab.run(host, "ip", "-j", "link")):
                name = ifname["ifname"]
                if name == "lo":
                    continue
                features = lab.run(host, "ethtool", "-k", name)
                for feature in ("tx-checksumming", "tcp-segmentation-offload", "generic-receive-offload"):
                    assert f"{feature}: off" in features, f"{host} {name}"
        neighbours = lab.run("phone", "ip", "neigh") + lab.run("server", "ip", "neigh")
        assert "PERMANENT" in neighbours
        assert "FAILED" not in neighbours
        assert "tentative" not in lab.run("phone", "ip", "-6", "addr")
        assert lab.run("phone", "ip", "-6", "addr").count("2001:db8:1:") == 3
        assert lab.run("server", "sysctl", "-n", "net.ipv4.tcp_no_metrics_save").strip() == "1"


def test_what_a_killed_run_left_behind_goes_with_the_next():
    child = "from smartwire.lab.net import Lab; Lab().up(); print('up', flush=True); import time; time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "up\n"
    left = [name for name, owner in net.namespaces() if owner == process.pid]
    assert left
    sweep()
    assert [name for name, owner in net.namespaces() if owner == process.pid] == left, "it lives: nothing is swept"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweep() >= len(left)
    assert [name for name, owner in net.namespaces() if owner == process.pid] == []


@pytest.mark.parametrize("middle", [Bridge, Haproxy, Wire])
@pytest.mark.parametrize("version", [4, 6])
def test_transfers_both_ways_are_whole(middle, version):
    with Session("x", constant(50, rtt_ms=4).with_internet(4), middle()) as session:
        put = get(session, version, 200_000) | {"kind": "put", "label": "up", "seed": 5}
        plan = {"transfers": [get(session, version, 300_000), put]}
        outcome = session.run(plan, 2)
    assert outcome.intact, outcome.broken
    assert len(outcome.transfers) == 2
    assert {s["bytes"] for s in outcome.served} == {300_000, 200_000}
    assert outcome.payload == 500_000
    told = (outcome.custody_share, outcome.reasons)
    assert outcome.custody_share == (1.0 if middle is Wire else None), told


def test_a_byte_that_is_corrupted_on_the_way_is_caught():
    """The checksum is made right again, as a broken middlebox would: only the comparison can see it."""
    with Session("x", constant(50, rtt_ms=4).with_internet(4), Bridge()) as session:
        tamper = session.lab.popen("wire", sys.executable, "-c", TAMPER, stdout=subprocess.PIPE, text=True)
        session.lab.batch("wire", ["link set access nomaster", "link set core nomaster"])
        assert tamper.stdout.readline() == "ready\n"
        outcome = session.run({"transfers": [get(session, 4, 300_000)]}, 2)
        tamper.kill()
        tamper.wait()
    assert not outcome.intact
    assert outcome.transfers[0]["wrong_at"] is not None
    assert "wrong byte" in outcome.broken


TAMPER = """
import select, socket
ports = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) for _ in range(2)]
for port, name in zip(ports, ("access", "core")):
    port.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
    port.bind((name, 3))
print("ready", flush=True)
done = False
while True:
    for port in select.select(ports, [], [])[0]:
        frame = bytearray(port.recv(2048))
        if not done and len(frame) > 1400:
            frame[500] ^= 1  # two flips that leave the sum of 16-bit words as it was
            frame[502] ^= 1
            if (frame[500] & 1) != (frame[502] & 1):
                done = True
            else:
                frame[500] ^= 1
                frame[502] ^= 1
        ports[port is ports[0]].send(frame)
"""


def test_an_echo_probe_sees_the_delay_and_a_download_sees_the_rate():
    with Session("x", constant(10, rtt_ms=20).with_internet(10), Bridge()) as session:
        probe = {"start": 0.1, "stop": 0.6, "interval": 0.02, "linger": 3.0, **session.phone(6)}
        outcome = session.run({"transfers": [get(session, 4, 500_000, start=0.8)], "probes": [probe]}, 5)
    answered = [rtt for _, rtt in outcome.probe if rtt is not None]
    assert len(answered) == len(outcome.probe) == 25
    assert median(answered) >= 0.030, "it cannot be faster than the link"
    transfer = outcome.transfer("v4")
    assert transfer["intact"]
    assert transfer["finished"] - transfer["started"] >= 0.4, "500 kB at 10 Mbit/s take 0.4 s"


def test_each_subscriber_has_a_queue_of_its_own():
    """One subscriber's queue is full; the other's echo does not wait behind it, in either IP version."""
    with Session("x", constant(3, rtt_ms=10, queue_bytes=200_000).with_internet(10), Bridge(), phones=2) as session:
        one, two = session.phone(4, 1), session.phone(6, 2)
        bulk = {"kind": "get", "size": 0, "start": 0.1, "stop": 3.0, "label": "bulk", **one}
        probes = [{"label": label, "start": 1.5, "stop": 2.9, "interval": 0.05, "linger": 1.0, **who}
                  for label, who in (("same", {**session.phone(6, 1)}), ("other", two))]  # fmt: skip
        outcome = session.run({"transfers": [bulk], "probes": probes}, 4)
    rtt = {r["label"]: median(x for _, x in r["rtt"] if x is not None) for r in outcome.results if r["kind"] == "probe"}
    assert rtt["same"] > 0.15, "the phone's own IPv6 echo waits behind its IPv4 download"
    assert rtt["other"] < rtt["same"] / 2


def test_the_radio_log_tells_what_crossed_twice_and_what_was_dropped():
    with Session("x", constant(20, rtt_ms=10).but(loss=0.05), Bridge()) as session:
        outcome = session.run({"transfers": [get(session, 4, 300_000)]}, 3)
        lossy = outcome.log.leg(DOWN)
        still = session.run({"transfers": [get(session, 4, 300_000)]}, 3, radio=constant(20, rtt_ms=10))
        clean = still.log.leg(DOWN)
    assert outcome.intact
    assert lossy.lost > 0
    assert lossy.payload - lossy.again == 300_000, "every byte crosses once, some more often"
    assert (clean.lost, clean.dropped, clean.payload - clean.again) == (0, 0, 300_000)
    # Nothing crosses twice that the sender did not send twice, which it only does where the machine stalls.
    assert clean.again <= still.retransmitted_segments * 1448
    assert outcome.retransmitted_segments > 0


def test_a_freeze_stops_the_link_for_as_long_as_it_says():
    """From 1 to 4 s; whoever looks at it may be late by half a second."""
    radio = constant(20, rtt_ms=10).but(freezes=[[1000.0, 3000.0]])
    with Session("x", radio, Bridge()) as session:
        outcome = session.run({"transfers": [get(session, 6, 0, stop=8.0)]}, 9)
    bins = outcome.transfers[0]["bins"]
    assert sum(bins[:10]) > 0
    assert sum(bins[15:40]) == 0
    assert sum(bins[40:80]) > 0


def test_captures_on_both_sides_of_a_bridge_are_the_same():
    with Session("x", constant(50, rtt_ms=4), Bridge()) as session:
        with capture(session.lab, beside_wire(session.lab)) as made:
            outcome = session.run({"transfers": [get(session, 6, 50_000)]}, 2)
        sides = [list(segments(made.files[side])) for side in ("access", "core")]
    assert outcome.intact
    shape = [sorted((s.seq, s.ack, s.flags, s.payload, s.options, s.ttl, s.flow_label) for s in side) for side in sides]
    assert shape[0] == shape[1]
    assert any(s.flags & SYN and s.flags & ACK for s in sides[0])
    assert {s.outbound for s in sides[0]} == {True, False}


def test_a_run_that_hangs_is_given_up_with_a_sentence():
    with Session("x", constant(50).but(loss=1.0), Bridge()) as session, pytest.raises(Error, match="given up after"):
        session.run({"transfers": [get(session, 4, 1000)]}, 1, patience=1)


def test_curl_can_download_from_a_lab_that_stays():
    from smartwire.lab import standing

    if standing.hosts():
        pytest.skip("a lab is standing on this machine")
    lab = standing.up(profile("5g"), "bridge", 1)
    try:
        assert standing.hosts() == list(net.HOSTS)
        with pytest.raises(Error, match="already standing"):
            standing.up(profile("5g"), "bridge", 1)
        fetch = "import urllib.request as u; print(len(u.urlopen('http://10.2.0.1:8080/12345').read()))"
        assert lab.run("phone", sys.executable, "-c", fetch).strip() == "12345"
        assert sweep() == 0 or standing.hosts() == list(net.HOSTS), "sweeping leaves it alone"
    finally:
        assert standing.down()
    assert standing.hosts() == []


def test_a_namespace_goes_with_everything_that_runs_in_it():
    lab = Lab()
    lab.up()
    sleeper = lab.popen("phone", "sleep", "60")
    deadline = time.monotonic() + 60
    while not lab.run("phone", "ip", "netns", "pids", lab.ns("phone")).strip() and time.monotonic() < deadline:
        time.sleep(0.01)
    lab.down()
    assert sleeper.wait(60) == -signal.SIGKILL
    remove_namespace(lab.ns("phone"))
    assert [n for n, owner in net.namespaces() if owner == os.getpid()] == []
