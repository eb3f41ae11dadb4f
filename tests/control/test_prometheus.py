"""The Prometheus exporter, judged by promtool and read by Prometheus itself; the dashboard that is shipped."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from smartwire.alarms import journal
from smartwire.alarms.evaluate import Alarm
from smartwire.counters.names import path_of
from smartwire.north.prometheus import exposition, family_of, serve

from .conftest import PageWire

DASHBOARD = Path(__file__).resolve().parents[2] / "python/smartwire/share/grafana/smartwire.json"
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed (apt: prometheus)")


def samples(text: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


@pytest.fixture
def alarm(run_dir):
    """One active alarm, with what must be escaped in its object."""
    one = Alarm(
        3, "port-down", 'wire/w/port/"core"\\', "critical", "The port has no carrier.", "Check it.", time.time()
    )
    journal.publish([one], time.time())
    return one


def test_every_number_of_a_page_is_exported_under_its_name(page_wire):
    page_wire.publish(**{"port0.rx_bytes": 77, "refused.mptcp": 5, "frames_free": 12, "worker1.frames_in": 9})
    found = samples(exposition())
    assert found['smartwire_port_rx_bytes_total{port="access",wire="w"}'] == 77
    assert found['smartwire_refused_total{reason="mptcp",wire="w"}'] == 5
    assert found['smartwire_buffers{state="free",wire="w"}'] == 12
    assert found['smartwire_worker_frames_in_total{wire="w",worker="1"}'] == 9
    names = {family_of(path_of("w", name))[0] for name in page_wire.values}
    for name in names:
        assert any(key.startswith((name + "{", name + "_total{")) for key in found), name


def test_connections_are_exported_by_policy_and_by_class(page_wire):
    page_wire.decide({"web": 5}, {"gold": 2})
    found = samples(exposition())
    assert found['smartwire_policy_connections_total{policy="web",wire="w"}'] == 5
    assert found['smartwire_class_connections_total{class="gold",wire="w"}'] == 2


def test_two_wires_share_their_families(page_wire, run_dir):
    other = PageWire(run_dir, "x")
    other.publish(flows=11)
    text = exposition()
    assert text.count("# TYPE smartwire_flows gauge") == 1
    assert samples(text)['smartwire_flows{wire="x"}'] == 11
    other.die()


def test_a_wire_that_hangs_is_down_and_shows_no_old_numbers(page_wire):
    page_wire.publish(age_s=9)
    found = samples(exposition())
    assert found['smartwire_up{wire="w"}'] == 0
    assert not any(key.startswith("smartwire_flows") for key in found)


def test_active_alarms_are_exported(page_wire, alarm):
    found = samples(exposition())
    assert found['smartwire_alarms{severity="critical"}'] == 1
    assert [v for k, v in found.items() if k.startswith('smartwire_alarm_active{alarm="port-down"')] == [1]


def test_without_any_wire_the_exposition_is_still_whole(run_dir):
    assert samples(exposition())['smartwire_alarms{severity="major"}'] == 0


@needs_promtool
def test_promtool_finds_nothing_to_say(page_wire, alarm, run_dir):
    page_wire.publish(**{"worker0.frames_in": 1, "policy.video.sent_bytes": 2, "class.gold.flows": 3, "newer_thing": 4})
    other = PageWire(run_dir, "x")  # its lock is held for as long as it is
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition(), text=True, capture_output=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    other.die()


def test_it_answers_over_http_on_ipv4_and_ipv6(page_wire):
    for host in ("127.0.0.1", "::1"):
        server, thread = serve(host, 0, exposition)
        shown = f"[{host}]" if ":" in host else host
        with urllib.request.urlopen(f"http://{shown}:{server.server_port}/metrics") as answer:
            assert b"smartwire_flows" in answer.read()
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_address_that_cannot_be_listened_on_is_one_sentence(smartwire):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = smartwire("export", "prometheus", "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert done.status == 1
    assert "choose another with --listen" in done.err
    assert smartwire("export", "prometheus", "--listen", "a:b:c").status == 2
    assert smartwire("export", "prometheus", "--listen", "127.0.0.1:99999").status == 2


def test_once_prints_the_metrics(smartwire, page_wire):
    done = smartwire("export", "prometheus", "--once")
    assert done.status == 0
    assert 'smartwire_up{wire="w"} 1.0' in done.out


def test_the_command_serves_until_it_is_stopped(page_wire):
    command = [sys.executable, "-m", "smartwire", "export", "prometheus", "--listen", f"127.0.0.1:{free_port()}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ, text=True) as process:
        url = process.stdout.readline().split(";")[0]
        with urllib.request.urlopen(url) as answer:
            assert b"smartwire_up" in answer.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [q.replace("$__rate_interval", "1m").replace("$wire", ".*") for q in found]


def test_the_dashboard_asks_only_for_metrics_that_there_are(page_wire, alarm):
    names = {key.partition("{")[0] for key in samples(exposition())}
    asked = {name for query in dashboard_queries() for name in re.findall(r"smartwire_\w+", query)}
    assert len(asked) > 15
    assert asked - names == set()


@needs_promtool
@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_prometheus_scrapes_it_and_understands_every_query_of_the_dashboard(page_wire, alarm, tmp_path):
    server, thread = serve("127.0.0.1", 0, exposition)
    port = free_port()
    (tmp_path / "p.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: s, static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]}}]\n"
    )
    command = ["prometheus", f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/tsdb",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with subprocess.Popen(command, stderr=(tmp_path / "log").open("w")) as process:
        try:
            end = time.monotonic() + 60
            while not (found := ask(port, 'smartwire_flows{wire="w"}')) and time.monotonic() < end:
                page_wire.publish()
                time.sleep(0.1)
            assert found, (tmp_path / "log").read_text()[-2000:]
            assert found[0]["value"][1] == "3"
            for query in dashboard_queries():
                assert ask(port, query) is not None, query
        finally:
            process.terminate()
            process.wait(timeout=60)
            server.shutdown()
            server.server_close()
            thread.join()


def ask(port: int, query: str) -> list | None:
    """What Prometheus answers; None where it does not understand, or is not there yet."""
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url) as answer:
            return json.loads(answer.read())["data"]["result"]
    except OSError:
        return None
