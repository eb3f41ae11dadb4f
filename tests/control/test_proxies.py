"""Proxies as sources: what they count is recorded and exported, and an HAProxy that does not serve raises its alarm."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path

import pytest
from smartwire.alarms.journal import Journal, journal_path
from smartwire.alarms.watch import Watcher
from smartwire.counters import sources
from smartwire.counters.collect import Collector
from smartwire.counters.history import History
from smartwire.counters.names import PROXY
from smartwire.counters.sources import Proxies, Wires
from smartwire.north.prometheus import exposition
from smartwire.proxy.registry import claim
from smartwire.wire.control import Server

from .conftest import DAY0, FakeClock

ROOT = Path(__file__).resolve().parents[2]


class FakeProxy:
    """A proxy's run directory and control socket, without a proxy."""

    def __init__(self) -> None:
        names = [name.removeprefix("proxy_") for name in PROXY]
        self.answer = {"state": "open", "flows": 5, "haproxy": {"connections": 10}, "deaths": 0, "hangs": 0}
        self.answer["counters"] = dict.fromkeys(names, 100)

    def status(self, request):
        yield from ()
        return self.answer


@pytest.fixture
def proxy(run_dir):
    """A proxy called p."""
    fake = FakeProxy()
    with claim("p") as directory:
        (directory / "proxy.json").write_text(json.dumps({"name": "p", "pid": 1, "started": 2.0}))
        server = Server(directory / "control.sock", {"status": fake.status})
        fake.directory, fake.server = directory, server
        yield fake
        server.close()


@pytest.fixture
def watched(proxy, tmp_path):
    """A tick of 10 s at each call; returns the names of active alarms."""
    proxies, wires, clock = Proxies(), Wires(), FakeClock()
    collector = Collector(tmp_path / "state/counters.db", [wires, proxies], clock=clock)
    watcher = Watcher(wires, Journal(journal_path()), proxies=proxies)

    def tick(times: int = 1) -> list[str]:
        for _ in range(times):
            clock.pass_(10)
            proxy.answer["counters"]["in_bytes"] += 5000
            collector.tick()
            watcher(collector)
        return [alarm.name for alarm in watcher.active]

    yield tick
    collector.close()


def test_every_counter_of_the_proxys_programs_is_known():
    header = (ROOT / "bpf/proxy.h").read_text()
    block = re.search(r"struct px_counters \{(.+?)\};", header, re.S)[1]
    names = {f"proxy_{name}" for name in re.findall(r"__u64 (\w+);", block)}
    assert len(names) > 10
    assert names <= set(PROXY)


def test_what_a_proxy_counts_is_recorded(watched, tmp_path):
    assert watched(3) == []
    history = History(tmp_path / "state/counters.db")
    _, found = history.over(history.series("proxy/p/proxy_in_bytes")[0], DAY0, DAY0 + 60, 10)
    assert [bucket.mean for bucket in found] == [500.0, 500.0]
    assert history.series("proxy/p/proxy_flows")[0].kind == "gauge"


def test_what_a_proxy_counts_is_exported(proxy):
    text = exposition()
    assert 'smartwire_proxy_in_bytes_total{proxy="p"} 100.0' in text
    assert 'smartwire_proxy_flows{proxy="p"} 5.0' in text


def test_an_haproxy_that_does_not_serve_raises_its_alarm_until_it_has_served_for_a_while(watched, proxy):
    assert watched(2) == []
    proxy.answer |= {"state": "closed", "hangs": 1}
    assert watched() == []  # a start, or a quick restart, is no alarm
    assert watched() == ["haproxy-down"]
    proxy.answer["state"] = "open"
    assert watched(2) == ["haproxy-down"]
    assert watched(3) == []


def test_a_supervisor_that_says_nothing_is_not_waited_for(watched, proxy, monkeypatch):
    monkeypatch.setattr(sources, "PATIENCE_S", 0.2)
    assert watched(1) == []
    proxy.server.close()
    (proxy.directory / "control.sock").unlink()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(proxy.directory / "control.sock"))
        silent.listen()
        assert watched(2) == ["haproxy-down"]


def test_a_supervisor_that_died_raises_the_alarm(run_dir):
    with claim("q") as directory:
        (directory / "proxy.json").write_text(json.dumps({"name": "q", "pid": 1, "started": 2.0}))
        (directory / "log").write_text("it has said something, so its directory stays\n")
    assert [(view.name, view.serving) for view in Proxies().look()] == [("q", False)]
