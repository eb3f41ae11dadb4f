"""Many connections, floods, deaths under load. All of it is slow: ``pytest tests/proxy/test_load.py -m long -s``."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartwire.lab.frames import SYN
from smartwire.proxy import registry
from smartwire.proxy.bench_frames import PACKET_QDISC_BYPASS, SOL_PACKET
from smartwire.wire import control

from .conftest import PORT, Ends, content, read_all, wait_for
from .test_tags import frame

pytestmark = [pytest.mark.root, pytest.mark.long]

SIZE = 1000


@contextlib.contextmanager
def server(lab) -> Iterator[None]:
    """The lab's server of small objects."""
    lab.run("client", "sysctl", "-qw", "net.ipv4.ip_local_port_range=2000 65000")
    argv = ["ip", "netns", "exec", lab.ns("server"), sys.executable, "-m", "smartwire.lab.load", "serve"]
    process = subprocess.Popen([*argv, lab.server(4), "80"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        process.stdout.readline()
        yield
    finally:
        process.kill()
        process.wait()


def driver(lab, seconds: float, connections: int | str) -> subprocess.Popen:
    """A client that keeps connections busy, or begins them at a rate."""
    argv = ["ip", "netns", "exec", lab.ns("client"), sys.executable, "-m", "smartwire.lab.load", "drive"]
    options = [lab.server(4), "80", str(SIZE), str(seconds), str(connections)]
    return subprocess.Popen([*argv, *options], stdout=subprocess.PIPE, text=True)


def drive(lab, seconds: float, connections: int) -> dict:
    return json.loads(driver(lab, seconds, connections).communicate()[0])


def judged(lab) -> int:
    """Connections that were seen at the box, wherever they went."""
    c = lab.proxy("status")["counters"]
    return sum(c[name] for name in ("proxied", "no_rule", "no_listener", "closed", "full", "strange"))


def test_twenty_thousand_connections_from_fifty_ports(lab):
    lab.proxy("up")
    ends, failed = Ends(lab), []

    def one(source: int) -> None:
        for round_ in range(400):
            if ends.get(4, 500 + round_, source=source) != content(500 + round_):
                failed.append((source, round_))

    threads = [threading.Thread(target=one, args=(20_000 + n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    c = lab.proxy("status")["counters"]
    print({name: c[name] for name in ("proxied", "repeated", "stale", "lost", "resets")})
    assert c["proxied"] + c["closed"] + c["no_listener"] == 20_000
    assert c["lost"] == 0


def test_five_thousand_connections_at_a_time(lab, record_property):
    lab.proxy("up")
    door = lab.socket("server")
    door.bind((lab.server(4), PORT))
    door.listen(4096)
    held: list[socket.socket] = []
    accepting = threading.Thread(target=lambda: [held.append(door.accept()[0]) for _ in range(5000)], daemon=True)
    accepting.start()
    pid = lab.proxy("status")["haproxy"]["pid"]
    before = memory(pid)
    clients = []
    for _ in range(5000):
        client = lab.socket("client")
        client.settimeout(30)
        client.connect((lab.server(4), PORT))
        client.sendall(b"x")
        clients.append(client)
    accepting.join(60)
    assert len(held) == 5000
    for client, connection in zip(random.sample(clients, 100), random.sample(held, 100), strict=True):
        client.sendall(b"y")
        connection.sendall(b"z")
    after = memory(pid)
    status = lab.proxy("status")
    assert status["haproxy"]["connections"] == 5000
    assert status["flows"] == 5000
    each = {name: round((after[name] - before[name]) / 5000) for name in before}
    print("bytes per connection:", each)
    record_property("bytes_per_connection", each)
    for s in (*clients, *held):
        s.close()


def memory(pid: int) -> dict[str, int]:
    """HAProxy's resident memory and the kernel's slabs, bytes; of these, those of all connections' ends too."""
    status = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]
    slab = Path("/proc/meminfo").read_text().split("Slab:")[1].split()[0]
    return {"haproxy": int(status) * 1024, "kernel": int(slab) * 1024}


def test_a_flood_of_syns_is_bounded_and_harms_no_connection(lab):
    lab.proxy("up", "--max-flows", "4096")
    ends = Ends(lab)
    with ends.connect(4) as client:
        client.sendall(b"slow 500\n")
        assert client.recv(1)
        sent, seconds = flood(lab, 5.0)
        print(f"{sent / seconds:,.0f} SYNs a second")
        status = lab.proxy("status")
        assert status["flows"] <= 4096
        assert status["counters"]["full"] > 0
        assert status["sockets"] <= 4096 + 2
        assert len(read_all(client)) == 500 * 1000 - 1
    wait_for(lambda: ends.get(4, 1000) == content(1000))
    wait_for(lambda: lab.proxy("status")["flows"] < 100, 120)
    before = lab.proxy("status")["counters"]["proxied"]
    assert ends.get(6, 1000) == content(1000)
    assert lab.proxy("status")["counters"]["proxied"] == before + 1
    assert lab.proxy("status")["deaths"] == 0


def flood(lab, seconds: float) -> tuple[int, float]:
    """SYNs from random addresses, as fast as this process can; how many in how many seconds. What they set off ends at
    the routers, so that the machine's time goes into the box."""
    lab.run("router1", "ip", "route", "add", "blackhole", "10.1.0.0/16")
    lab.run("router2", "ip", "route", "add", "blackhole", "10.2.0.99")
    raw = lab.socket("router1", socket.AF_PACKET, socket.SOCK_RAW, 0)
    raw.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
    raw.bind(("out", 0))
    head = lab.mac("router2", "out") + lab.mac("router1", "out")
    base, chance = bytearray(frame(head, 4, (1, 80), 1, 0, SYN)), random.Random(1)
    base[30:34] = socket.inet_aton("10.2.0.99")
    frames = []
    for _ in range(20_000):
        base[26:30] = struct.pack("!BBBB", 10, 1, chance.randrange(1, 256), chance.randrange(256))
        base[34:36] = struct.pack("!H", chance.randrange(1024, 1 << 16))
        frames.append(fixed(bytes(base)))
    began, sent = time.monotonic(), 0
    while time.monotonic() < began + seconds:
        for f in frames[:1000]:
            with contextlib.suppress(OSError):
                raw.send(f)
                sent += 1
        frames = frames[1000:] + frames[:1000]
    return sent, time.monotonic() - began


def fixed(f: bytes) -> bytes:
    """The frame with right checksums."""
    from .test_tags import checksum

    ip = f[14:24] + b"\0\0" + f[26:34]
    tcp = f[34:50] + b"\0\0" + f[52:]
    pseudo = f[26:34] + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp))
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return f[:14] + ip + tcp[:16] + struct.pack("!H", checksum(pseudo + tcp)) + tcp[18:]


def test_haproxy_killed_ten_times_loses_few_connections_beside_those_it_had(lab):
    lab.proxy("up")
    where = registry.directory_of(lab.proxy_name) / "control.sock"
    killed: list[float] = []
    with server(lab):
        load = driver(lab, 40, "1000/s")  # whatever becomes of them
        for n in range(10):
            time.sleep(2)
            wait_for(lambda n=n: (s := control.ask(where, "status"))["deaths"] == n and s["state"] == "open")
            pid = control.ask(where, "status")["haproxy"]["pid"]
            killed.append(time.monotonic())
            os.kill(pid, signal.SIGKILL)
        found = json.loads(load.communicate()[0])
    lost = [sum(then < began < then + 1 for began in found["failed_began"]) for then in killed]
    per_second = found["transactions"] / found["seconds"]
    print(f"{per_second:.0f} a second, {found['transactions']} succeeded, {found['failed']} failed, of which began")
    print(f"after HAProxy was killed: {lost}")
    assert max(lost) <= 3
    assert all(any(then - 1 < began < then + 1 for then in killed) for began in found["failed_began"])
    assert judged(lab) == found["transactions"] + found["failed"]


def test_nothing_is_left_of_a_hundred_thousand_connections(lab):
    lab.proxy("up")
    total = failed = 0
    with server(lab):
        while total < 100_000:
            found = drive(lab, 20, 32)
            total += found["transactions"]
            failed += found["failed"]
            print(f"{total} connections, {failed} failed", flush=True)
    assert failed == 0
    assert judged(lab) == total
    wait_for(lambda: lab.proxy("status")["sockets"] == 0 and lab.proxy("status")["flows"] == 0, 120)


def test_rules_are_changed_a_thousand_times_under_load_without_a_loss(lab, tmp_path):
    lab.proxy("up")
    files = []
    for n, port in enumerate((80, 81)):
        files.append(tmp_path / f"{n}.toml")
        files[n].write_text(f'[[rule]]\nname = "web"\naction = "proxy"\nport = {port}\n')
    where = registry.directory_of(lab.proxy_name) / "control.sock"
    with server(lab):
        load = driver(lab, 60, 16)
        for n in range(1000):
            control.ask(where, "reload", rules=str(files[n % 2]), rules_only=True)
        found = json.loads(load.communicate()[0])
    c = lab.proxy("status")["counters"]
    print(f"{found['transactions']} connections, {c['proxied']} proxied, {c['no_rule']} direct, {c['lost']} lost")
    assert found["failed"] == c["lost"] == 0
    assert min(c["proxied"], c["no_rule"]) > 0
    assert judged(lab) == found["transactions"]


def test_a_server_that_cannot_be_reached_is_a_reset_and_not_an_end(lab):
    lab.proxy("up")
    client = lab.socket("client")
    client.settimeout(40)
    client.connect(("10.2.0.99", PORT))
    with pytest.raises(ConnectionError):
        client.recv(1)


def test_a_client_that_vanishes_is_given_up(lab):
    lab.proxy("up")
    ends = Ends(lab)
    client = ends.connect(4)
    client.sendall(b"slow 100000\n")
    assert client.recv(1)
    lab.run("client", "ip", "link", "set", "eth0", "down")
    wait_for(lambda: ends.ended, 300)
    wait_for(lambda: lab.proxy("status")["sockets"] == 0, 120)
    client.close()


def test_silence_is_no_end_and_a_vanished_end_is_found_in_it(lab):
    """Two hours, 300 times as fast: the ends are asked after a second instead of five minutes, and a silence of 24
    times that is survived. Then the client is gone, which nobody would ever notice but for being asked."""
    lab.proxy("up")
    pid = str(lab.proxy("status")["haproxy"]["pid"])
    faster = [f"net.ipv4.tcp_keepalive_{what}" for what in ("time=1", "intvl=1", "probes=3")]
    lab.run("box", "nsenter", "-t", pid, "-n", "sysctl", "-qw", *faster)
    ends = Ends(lab)
    with ends.connect(4) as client, ends.connect(6) as other:
        for one in (client, other):
            one.sendall(b"digest\n")
        time.sleep(24)
        assert not ends.ended
        assert lab.proxy("status")["flows"] == 2
        other.shutdown(socket.SHUT_WR)
        assert len(read_all(other)) == 64
        lab.run("client", "ip", "link", "set", "eth0", "down")
        wait_for(lambda: ends.ended, 60)
        wait_for(lambda: lab.proxy("status")["sockets"] == 0, 120)  # TIME-WAIT too
