"""Prometheus: every number of the running wires' stats pages, and the alarms, in the text exposition format.

They are read when Prometheus asks, from shared memory; no worker notices. Names follow the metric naming rules: a
prefix, base units, ``_total`` on what only grows. Subscribers and flows are not exported: their number has no bound.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

import smartwire
from smartwire.alarms import journal
from smartwire.alarms.catalogue import KINDS, SEVERITIES
from smartwire.counters.names import COUNTER, LABELS, about, split
from smartwire.counters.sources import Proxies, Wires, WireView
from smartwire.counters.store import Reading
from smartwire.errors import Error

PREFIX = "smartwire"
PORT = 9469
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATES = ("free", "filled", "held", "sending", "away")
"""Of a packet buffer, each with a gauge frames_STATE on the page; together they are frames_total."""


def family_of(path: str) -> tuple[str, dict[str, str]]:
    """The name (without _total) and the labels of a series: wire/w/port/access/rx_bytes is smartwire_port_rx_bytes."""
    labels, metric = split(path)
    unnamed = ("wire", "reason", "proxy")  # these say nothing about what is counted
    scope = next((label for label in reversed(LABELS) if label in labels and label not in unnamed), None)
    if scope is None and metric.startswith("frames_"):
        state = metric.removeprefix("frames_")
        if state in STATES:
            return f"{PREFIX}_buffers", labels | {"state": state}
        if state in ("total", "kept", "keepable"):
            return f"{PREFIX}_buffers_{'limit' if state == 'total' else state}", labels
    return "_".join(filter(None, (PREFIX, scope, metric))), labels


@dataclass(eq=False)
class Exporter:
    """A custom collector of the Prometheus client.

    Args:
        look: the running wires.
        proxies: readings of the running proxies.
        alarms: the active alarms.
    """

    look: Callable[[], list[WireView]] = field(default_factory=lambda: Wires().look)
    proxies: Callable[[], Iterable[Reading]] = field(default_factory=Proxies)
    alarms: Callable[[], journal.Active] = journal.active

    def collect(self) -> Iterable[Any]:
        """All metric families; called for each scrape."""
        views = self.look()
        yield from self.wires(views)
        yield from self.numbers(views)
        yield from self.alarm_families()

    def wires(self, views: list[WireView]) -> Iterable[Any]:
        """What wires there are, and whether they live."""
        up = GaugeMetricFamily(
            f"{PREFIX}_up", "1 while the wire's process lives and does not hang, else 0.", labels=["wire"]
        )
        started = GaugeMetricFamily(f"{PREFIX}_start_time_seconds", "When the wire was started.", labels=["wire"])
        labels = ["wire", "access", "core", "io", "version"]
        info = GaugeMetricFamily(f"{PREFIX}_info", "What joins what; always 1.", labels=labels)
        for view in views:
            up.add_metric([view.name], int(view.fresh))
            about_it = [str(view.info.get(key, "")) for key in ("access", "core", "io")]
            info.add_metric([view.name, *about_it, smartwire.__version__], 1)
            if isinstance(view.info.get("started"), int | float):
                started.add_metric([view.name], view.info["started"])
        return (up, started, info)

    def numbers(self, views: list[WireView]) -> Iterable[Any]:
        """Everything that wires and proxies count; nothing of a wire that hangs."""
        families: dict[str, Any] = {}
        for _, _, paths, values in (*Wires().readings(views), *self.proxies()):
            for path, value in zip(paths, values, strict=True):
                name, labels = family_of(path)
                if name not in families:
                    families[name] = self.family(name, split(path)[1], list(labels))
                families[name].add_metric(list(labels.values()), value)
        return families.values()

    def family(self, name: str, metric: str, labels: list[str]) -> Any:
        """A family with its help text."""
        known = about(metric)
        text = "Packet buffers by what they do." if name == f"{PREFIX}_buffers" else f"{known.text}."
        make = CounterMetricFamily if known.kind == COUNTER else GaugeMetricFamily
        return make(name, text, labels=labels)

    def alarm_families(self) -> Iterable[Any]:
        """The active alarms, and how many there are of each severity."""
        found = self.alarms()
        one = GaugeMetricFamily(
            f"{PREFIX}_alarm_active", "1 for each alarm that is active now.", labels=["alarm", "object", "severity"]
        )
        count = GaugeMetricFamily(f"{PREFIX}_alarms", "Active alarms by severity.", labels=["severity"])
        seen = GaugeMetricFamily(
            f"{PREFIX}_alarms_checked_timestamp_seconds", "When alarms were judged last; 0 if nobody does."
        )
        for alarm in found.alarms:
            if alarm.name in KINDS:
                one.add_metric([alarm.name, alarm.object, alarm.severity], 1)
        for severity in SEVERITIES:
            count.add_metric([severity], sum(alarm.severity == severity for alarm in found.alarms))
        seen.add_metric([], found.unix_s or 0)
        return (one, count, seen)


def exposition(exporter: Exporter | None = None) -> str:
    """The text that a scrape gets."""
    return generate_latest(registry(exporter or Exporter())).decode()


def registry(exporter: Exporter) -> CollectorRegistry:
    """A registry with nothing but the exporter."""
    made = CollectorRegistry(auto_describe=False)
    made.register(exporter)
    return made


class Server(ThreadingMixIn, WSGIServer):
    """HTTP on IPv4 or IPv6, a thread per scrape."""

    daemon_threads = True


class Server6(Server):
    """The same on IPv6."""

    address_family = socket.AF_INET6


class Silent(WSGIRequestHandler):
    """Logs no requests, and hangs up on who connects and says nothing."""

    timeout = 10

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


def application(text: Callable[[], str], allowed: Sequence[str]) -> Callable[..., Iterable[bytes]]:
    """The WSGI application; who is not in one of the allowed prefixes, where there are any, is refused.

    Args:
        text: what is served: the exposition.
        allowed: prefixes of those who may read.
    """
    prefixes = [ipaddress.ip_network(prefix) for prefix in allowed]

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        client = ipaddress.ip_address(environ["REMOTE_ADDR"].partition("%")[0])
        if prefixes and not any(client in prefix for prefix in prefixes):
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"This address may not read the metrics.\n"]
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start("405 Method Not Allowed", [("Content-Type", "text/plain"), ("Allow", "GET, HEAD")])
            return [b"Metrics are only read.\n"]
        if environ.get("PATH_INFO") not in ("/", "/metrics"):
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"There is nothing here: ask for /metrics.\n"]
        body = text().encode()
        start("200 OK", [("Content-Type", CONTENT_TYPE), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    return answer


def listen(host: str, port: int, text: Callable[[], str], allowed: Sequence[str] = ()) -> WSGIServer:
    """A server of /metrics over HTTP that listens; it answers once it runs.

    Args:
        host: address or name to listen on.
        port: TCP port; 0 for any.
        text: what is served: the exposition.
        allowed: prefixes of those who may read; everyone if empty.

    Raises:
        Error: the address cannot be listened on.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        kind = Server6 if family == socket.AF_INET6 else Server
        return make_server(host, port, application(text, allowed), kind, Silent)
    except (OSError, OverflowError, UnicodeError) as e:
        reason = getattr(e, "strerror", None) or str(e)
        raise Error(f"{host} port {port} cannot be listened on ({reason}): choose another with --listen.") from None


def serve(
    host: str, port: int, text: Callable[[], str], allowed: Sequence[str] = ()
) -> tuple[WSGIServer, threading.Thread]:
    """Serves /metrics from a thread, until the server is shut down; as :func:`listen`."""
    server = listen(host, port, text, allowed)
    return server, run(server)


def run(server: WSGIServer) -> threading.Thread:
    """The thread in which a server answers."""
    thread = threading.Thread(target=server.serve_forever, name="prometheus", daemon=True)
    thread.start()
    return thread
