"""HAProxy dies, hangs, is replaced, leaves; its supervisor is killed; names are taken."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from smartwire.errors import Error
from smartwire.lab.net import run
from smartwire.proxy import registry

from .conftest import Ends, content, ended, read_all, wait_for

pytestmark = pytest.mark.root


def haproxy(lab) -> int:
    return lab.proxy("status")["haproxy"]["pid"]


def truncated(ends: Ends, results: list, stop: threading.Event) -> None:
    """Downloads until told to stop; notes every one that ended cleanly before its end."""
    while not stop.is_set():
        with contextlib.suppress(ConnectionError, TimeoutError):
            found = ends.get(4, 200_000, seconds=20)
            results.append(len(found))


def read_slowly(ends: Ends, got: list[int], begun: threading.Event) -> None:
    with ends.connect(4) as client:
        client.sendall(b"slow 100\n")
        first = client.recv(1)
        begun.set()
        got.append(len(first + read_all(client)))


def succeeds(ends: Ends, version: int) -> bool:
    with contextlib.suppress(ConnectionError):
        return ends.get(version, 1000) == content(1000)
    return False


def test_killed_under_load_it_truncates_nothing_and_the_next_connections_succeed(proxied, ends):
    results: list[int] = []
    stop = threading.Event()
    threads = [threading.Thread(target=truncated, args=(ends, results, stop)) for _ in range(8)]
    for thread in threads:
        thread.start()
    deaths = proxied.proxy("status")["deaths"]
    for n in range(3):
        wait_for(lambda n=n: proxied.proxy("status")["deaths"] == deaths + n)
        wait_for(lambda: proxied.proxy("status")["state"] == "open")
        time.sleep(0.3)
        os.kill(haproxy(proxied), signal.SIGKILL)
        # Direct, or by the next HAProxy; one may have been the last of the dead.
        assert any(succeeds(ends, 6) for _ in range(3))
    stop.set()
    for thread in threads:
        thread.join()
    assert set(results) == {200_000}


def test_one_that_hangs_is_killed_and_its_clients_are_reset(proxied, ends):
    wait_for(lambda: proxied.proxy("status")["state"] == "open")
    hangs, pid = proxied.proxy("status")["hangs"], haproxy(proxied)
    with ends.connect(4) as client:
        client.sendall(b"slow 3000\n")
        assert client.recv(1)
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(ConnectionResetError):
            read_all(client)
    wait_for(lambda: proxied.proxy("status")["hangs"] == hangs + 1)
    wait_for(lambda: proxied.proxy("status")["state"] == "open")
    assert haproxy(proxied) != pid
    assert ends.get(6, 1000) == content(1000)


def test_connections_that_a_dead_one_had_not_accepted_wait_for_the_next(proxied, ends):
    wait_for(lambda: proxied.proxy("status")["state"] == "open")
    pid = haproxy(proxied)
    os.kill(pid, signal.SIGSTOP)
    with ends.connect(4) as first, ends.connect(6) as second:
        os.kill(pid, signal.SIGKILL)
        for client in (first, second):
            client.sendall(b"get 10000\n")
            assert read_all(client) == content(10_000)


def test_where_no_other_one_starts_what_waits_is_reset_and_the_next_goes_direct(proxied, ends):
    wait_for(lambda: proxied.proxy("status")["state"] == "open")
    pid, file = haproxy(proxied), registry.directory_of(proxied.proxy_name) / "haproxy.cfg"
    good = file.read_text()
    os.kill(pid, signal.SIGSTOP)
    file.write_text("nonsense\n")
    with ends.connect(4) as client:
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    before = proxied.proxy("status")["counters"]
    assert ends.get(4, 1000) == content(1000)
    assert proxied.proxy("status")["counters"]["closed"] == before["closed"] + 1
    file.write_text(good)
    wait_for(lambda: proxied.proxy("status")["state"] == "open")


def test_a_reload_keeps_connections_and_takes_new_ones(proxied, ends):
    with ends.connect(4) as client:
        client.sendall(b"slow 100\n")
        assert client.recv(1)
        before = haproxy(proxied)
        deaths = proxied.proxy("status")["deaths"]
        assert proxied.proxy("reload")["pid"] != before
        assert ends.get(4, 1000) == content(1000)
        assert len(read_all(client)) == 100 * 1000 - 1
    assert proxied.proxy("status")["deaths"] == deaths


def test_down_lets_connections_finish_and_leaves_the_copper_wire(lab):
    lab.proxy("up")
    ends = Ends(lab)
    got: list[int] = []
    begun = threading.Event()
    reader = threading.Thread(target=read_slowly, args=(ends, got, begun))
    reader.start()
    begun.wait(30)
    assert lab.proxy("down", "--limit", "60")["reset"] == 0
    reader.join()
    assert got == [100 * 1000]
    for version in (4, 6):
        assert ends.get(version, 100_000) == content(100_000)
    links = lab.run("box", "ip", "-br", "link").split()
    assert not [name for name in links if name.startswith("swp")]
    assert lab.smartwire("unwire", "access", "core").returncode == 0
    assert "smartwire" not in lab.run("box", "tc", "filter", "show", "dev", "access", "ingress")


def test_after_a_killed_supervisor_connections_go_direct_and_up_takes_over(lab):
    lab.proxy("up")
    ends = Ends(lab)
    pid = lab.proxy("status")["haproxy"]["pid"]
    supervisor = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    with ends.connect(4) as client:
        client.sendall(b"slow 3000\n")
        assert client.recv(1)
        os.kill(supervisor, signal.SIGKILL)
        with pytest.raises(ConnectionResetError):
            read_all(client)
    wait_for(lambda: ended(pid, supervisor))
    for version in (4, 6):
        assert ends.get(version, 10_000) == content(10_000)
    lab.proxy("up")
    assert ends.get(4, 10_000) == content(10_000)
    assert lab.proxy("status")["counters"]["proxied"] == 1


def test_what_is_taken_is_refused_in_a_sentence_and_nothing_is_left(lab):
    name = f"swproxy-{lab.proxy_name}"
    run("ip", "netns", "add", name)
    try:
        with pytest.raises(Error, match="that no proxy made"):
            lab.proxy("up")
        assert "clsact" not in lab.run("box", "tc", "qdisc", "show", "dev", "access")
    finally:
        run("ip", "netns", "del", name)
    with pytest.raises(Error, match="no congestion control 'nonesuch'"):
        lab.proxy("up", "--access-cc", "nonesuch")
    assert "clsact" not in lab.run("box", "tc", "qdisc", "show", "dev", "access")
    lab.proxy("up")
    done = lab.smartwire("unwire", "access", "core")
    assert (done.returncode, "ports of the proxy" in done.stderr) == (1, True)
    with pytest.raises(Error, match="are ports of the proxy"):
        lab.proxy("up")


def test_without_a_haproxy_that_will_do_a_sentence_says_so(tmp_path, monkeypatch):
    from smartwire.proxy import haproxy

    old = tmp_path / "haproxy"
    old.write_text("#!/bin/sh\necho HAProxy version 1.8.19 2019/02/11\n")
    old.chmod(0o755)
    monkeypatch.setattr(haproxy.shutil, "which", lambda *_, **__: str(old))
    with pytest.raises(Error, match=r"HAProxy 1\.8 is here"):
        haproxy.program()
    monkeypatch.setattr(haproxy.shutil, "which", lambda *_, **__: None)
    with pytest.raises(Error, match="apt-get install haproxy"):
        haproxy.program()


def test_congestion_control_is_the_sides_own(lab):
    lab.proxy("up", "--core-cc", "reno", "--initial-window", "20")
    wanted = lab.proxy("status")["access_tcp"]["congestion"]
    ends = Ends(lab)
    with ends.connect(4) as client:
        client.sendall(b"slow 200\n")
        assert client.recv(1)
        pid = haproxy(lab)
        shown = run("nsenter", "-m", "-n", "-t", str(pid), "ss", "-Htinm", "state", "established")
    legs = [leg for leg in shown.replace("\n\t", " ").splitlines() if "10.2.0.2:8080" in leg]
    towards_client = next(leg for leg in legs if leg.split()[2].startswith("10.2.0.2"))
    towards_server = next(leg for leg in legs if leg.split()[3].startswith("10.2.0.2"))
    assert f" {wanted} " in towards_client
    assert " reno " in towards_server


def test_an_upgrade_sends_new_connections_to_a_second_container_and_lets_the_first_finish(lab):
    lab.proxy("up")
    ends = Ends(lab)
    first = lab.proxy("status")
    with ends.connect(4) as client:
        client.sendall(b"slow 150\n")
        assert client.recv(1)
        done = lab.proxy("upgrade", "--access-cc", "reno")
        assert done["namespace"] != first["namespace"]
        assert done["access_tcp"]["congestion"] == "reno"
        with pytest.raises(Error, match=r"still has .* sockets"):
            lab.proxy("upgrade")
        for version in (4, 6):
            assert ends.get(version, 100_000) == content(100_000)
        now = lab.proxy("status")
        assert [left["namespace"] for left in now["leaving"]] == [first["namespace"]]
        assert now["counters"]["proxied"] == 3
        assert len(read_all(client)) == 150 * 1000 - 1
    wait_for(lambda: not lab.proxy("status")["leaving"])
    assert first["namespace"] not in run("ip", "netns", "list").replace(done["namespace"], "")
    assert ends.get(4, 1000) == content(1000)
    again = lab.proxy("upgrade", "--limit", "0")
    assert again["namespace"] == first["namespace"]
    assert ends.get(6, 1000) == content(1000)
    assert lab.proxy("status")["deaths"] == 0
    lab.proxy("down")
    assert f"swproxy-{lab.proxy_name}" not in run("ip", "netns", "list")
