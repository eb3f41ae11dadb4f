"""What the data plane's numbers are called, and what they mean.

A series is named by a path: pairs of a label and its value, then the metric. ``wire/w/port/access/rx_bytes`` is the
metric ``rx_bytes`` with the labels wire = w and port = access; ``wire/w/reason/mptcp/refused`` counts the connections
that wire w left alone because of Multipath TCP.
"""

from __future__ import annotations

import re
from typing import NamedTuple

COUNTER, GAUGE = "counter", "gauge"


class Metric(NamedTuple):
    """One number of the data plane.

    Attributes:
        kind: COUNTER (only grows while its process lives) or GAUGE.
        unit: in the plural; bytes, frames, segments, connections, ...
        text: what is counted, for help texts: no full stop.
        kept: a counter in the kernel, which goes on when the wire's process restarts.
    """

    kind: str
    unit: str
    text: str
    kept: bool = False


def counter(unit: str, text: str, kept: bool = False) -> Metric:
    """A metric that only grows."""
    return Metric(COUNTER, unit, text, kept)


def gauge(unit: str, text: str) -> Metric:
    """A metric that goes up and down."""
    return Metric(GAUGE, unit, text)


METRICS: dict[str, Metric] = {
    # Of the engine: crates/engine/src/stats.rs.
    "frames_in": counter("frames", "Frames received by the engine"),
    "bytes_in": counter("bytes", "Bytes received by the engine"),
    "frames_out": counter("frames", "Frames sent by the engine, forwarded ones included"),
    "bytes_out": counter("bytes", "Bytes sent by the engine"),
    "forwarded": counter("frames", "Frames forwarded untouched by the engine"),
    "not_tcp": counter("frames", "Frames that are not TCP to the engine's eyes"),
    "malformed": counter("frames", "TCP frames whose header could not be parsed"),
    "not_optimized": counter("frames", "TCP frames of connections that are not optimized"),
    "not_optimized_bytes": counter("bytes", "TCP payload of connections that are not optimized"),
    "syns": counter("segments", "SYN segments seen"),
    "optimized": counter("connections", "Connections that began to be optimized"),
    "closed": counter("connections", "Connections closed by both ends while optimized"),
    "handed_back": counter("connections", "Connections handed back to their endpoints"),
    "resets": counter("connections", "Connections reset by the engine, both ways"),
    "rst_out": counter("segments", "Resets sent by the engine"),
    "half_open_evicted": counter("handshakes", "Half-open handshakes forgotten because the table was full"),
    "bad_checksum": counter("frames", "Frames of optimized connections with a wrong TCP checksum"),
    "accepted_bytes": counter("bytes", "Payload taken from senders under custody"),
    "delivered_bytes": counter("bytes", "Payload acknowledged by receivers"),
    "duplicate_segments": counter("segments", "Segments dropped because their bytes had been sent before"),
    "overlaps": counter("segments", "Segments with other content for bytes already held"),
    "out_of_order": counter("segments", "Segments kept out of order"),
    "paws_dropped": counter("segments", "Segments dropped by the timestamp test (PAWS)"),
    "unacceptable": counter("segments", "Segments dropped because they lay outside the window"),
    "no_frame": counter("segments", "Segments dropped because no frame could be held"),
    "acks_consumed": counter("segments", "Pure ACKs consumed"),
    "acks_made": counter("segments", "Pure ACKs made by the engine"),
    "sent": counter("segments", "Data segments sent for the first time"),
    "sent_bytes": counter("bytes", "Payload sent for the first time"),
    "retransmitted": counter("segments", "Data segments sent again because they were found lost"),
    "retransmitted_bytes": counter("bytes", "Payload sent again"),
    "probes": counter("segments", "Probes of a tail, a zero length or a zero window"),
    "cuts": counter("cuts", "Congestion windows cut"),
    "undone": counter("cuts", "Cuts undone because the loss was not one"),
    "challenges": counter("segments", "Challenge ACKs sent"),
    "resegmented": counter("segments", "Segments cut because the path's MTU shrank"),
    "icmp": counter("errors", "ICMP errors that quoted an optimized connection"),
    "datagrams_waited": counter("packets", "Datagrams that waited for their subscriber's rate"),
    "datagrams_dropped": counter("packets", "Datagrams dropped because what waited for their rate filled its queue"),
    "events_lost": counter("events", "Events dropped because nobody read them"),
    "wire_opened": counter("times", "Times that the copper wire opened behind the engine's back"),
    "flows": gauge("connections", "Connections resident"),
    "active": gauge("connections", "Connections with active state"),
    "half_open": gauge("handshakes", "Half-open handshakes remembered"),
    "draining": gauge("connections", "Connections draining"),
    "subscribers": gauge("subscribers", "Subscribers known"),
    "segments": gauge("segments", "Segments held"),
    "custody_bytes": gauge("bytes", "Payload acknowledged to its sender and not yet by its receiver"),
    "promised_bytes": gauge("bytes", "Window promised beyond what is held"),
    # By reason.
    "refused": counter("connections", "Connections never optimized, by reason"),
    "stopped": counter("connections", "Connections that stopped being optimized, by reason"),
    "found": counter("connections", "Connections with something wrong at a neighbour, by what"),
    # Of a policy, and of a class of subscribers: crates/engine/src/policy/mod.rs.
    "connections": counter("connections", "Connections that the policy decided about, or of subscribers of the class"),
    # Of a port: crates/worker/src/page.rs.
    "rx_frames": counter("frames", "Frames received from the port"),
    "rx_bytes": counter("bytes", "Bytes received from the port"),
    "tx_frames": counter("frames", "Frames sent to the port"),
    "tx_bytes": counter("bytes", "Bytes sent to the port"),
    "rx_dropped": counter("frames", "Received frames dropped"),
    "tx_dropped": counter("frames", "Frames to be sent dropped"),
    "rx_merged": counter("frames", "Received frames dropped because something had merged packets (LRO, GRO)"),
    "rx_too_long": counter("frames", "Received frames dropped because they were longer than a buffer"),
    "up": gauge("state", "1 while the port has a carrier, else 0"),
    # Of the process: crates/worker/src/house.rs.
    "frames_total": gauge("frames", "Packet buffers"),
    "frames_free": gauge("frames", "Packet buffers free"),
    "frames_filled": gauge("frames", "Packet buffers with the kernel for receiving"),
    "frames_held": gauge("frames", "Packet buffers held by the engine"),
    "frames_sending": gauge("frames", "Packet buffers being sent"),
    "frames_away": gauge("frames", "Packet buffers lent to another worker"),
    "frames_kept": gauge("frames", "Packet buffers kept under custody"),
    "frames_keepable": gauge("frames", "Packet buffers that may be kept under custody at most"),
    "ledger_faults": counter("faults", "Audits of the packet buffers that did not add up: each is a bug"),
    "bad_sends": counter("faults", "Sends of a frame that was not there to send: each is a bug"),
    "queue_dropped": counter("frames", "Frames that found no room in a queue between threads"),
    "copper_frames": counter("frames", "Frames forwarded by the copper wire in the kernel", kept=True),
    "copper_bytes": counter("bytes", "Bytes forwarded by the copper wire in the kernel", kept=True),
    "copper_down_bytes": counter("bytes", "Bytes that the copper wire forwarded towards the subscribers", kept=True),
    "copper_up_bytes": counter("bytes", "Bytes that the copper wire forwarded from the subscribers", kept=True),
    "copper_resets": counter("segments", "Segments answered with resets for a dead engine", kept=True),
    "claimed_frames": counter("frames", "Frames handed to the engine by the kernel", kept=True),
    "oversize_frames": counter("frames", "Frames too long for the other port", kept=True),
    "no_socket_frames": counter("frames", "Frames claimed for an engine that had no socket", kept=True),
    "opened": counter("times", "Times that the copper wire opened under a live wire"),
    "survivors_reset": counter("connections", "Connections of an earlier process reset at the start"),
    "guardian_reset": counter("connections", "Connections reset by the guardian of a dead or hung process", kept=True),
    "stalls": counter("times", "Times that the machine did not run the heartbeat when it was due"),
}

SAMPLED: dict[str, Metric] = {
    # By the collector: wire/roundtrips.py.
    "rtt_access_us": gauge("us", "Median round trip over the access side"),
    "rtt_core_us": gauge("us", "Median round trip over the core side"),
    "queue_us": gauge("us", "Median of how much longer the access side's round trip is than at its recent best"),
}

PROXY: dict[str, Metric] = {
    # Of a proxy: bpf/proxy.h, and its supervisor.
    "proxy_proxied": counter("connections", "Connections that went to the proxy"),
    "proxy_no_rule": counter("connections", "Connections that no rule wanted in the proxy"),
    "proxy_no_listener": counter("connections", "Connections that went direct because HAProxy was not there"),
    "proxy_closed": counter("connections", "Connections that went direct because the proxy took no more"),
    "proxy_full": counter("connections", "Connections that went direct because the table of flows was full"),
    "proxy_strange": counter("connections", "Connections that went direct because of more than two VLAN tags"),
    "proxy_repeated": counter("segments", "SYNs that came again and went where the first went"),
    "proxy_stale": counter("connections", "Left-over flows that a direct SYN removed"),
    "proxy_in_packets": counter("packets", "Packets handed to HAProxy"),
    "proxy_in_bytes": counter("bytes", "Bytes handed to HAProxy"),
    "proxy_out_packets": counter("packets", "Packets from HAProxy"),
    "proxy_out_bytes": counter("bytes", "Bytes from HAProxy"),
    "proxy_icmp": counter("errors", "ICMP errors handed to HAProxy"),
    "proxy_kept_in": counter("frames", "Frames of the container that are no connection's, dropped"),
    "proxy_resets": counter("connections", "Ends turned into resets because bytes would have been missing"),
    "proxy_lost": counter("frames", "Frames that could not be handed over"),
    "proxy_own_cpu": counter("frames", "Frames that arrived on the CPU of their connection's SYN"),
    "proxy_other_cpu": counter("frames", "Frames that arrived on another CPU than their connection's SYN"),
    "proxy_early": counter("segments", "SYNs dropped because the earlier connection of their ends was not quite over"),
    "proxy_deaths": counter("times", "Times that HAProxy died"),
    "proxy_hangs": counter("times", "Times that HAProxy hung"),
    "proxy_flows": gauge("connections", "Connections in the proxy"),
    "proxy_connections": gauge("connections", "Connections that HAProxy has"),
}

LABELS = ("wire", "port", "reason", "worker", "policy", "class", "proxy")
"""The labels that a path may have, in the order in which they stand."""

OBJECTS = r"port(?P<port>\d+)|worker(?P<worker>\d+)|policy\.(?P<policy>.+)|class\.(?P<class>.+)"
PAGE_NAME = re.compile(rf"(?:{OBJECTS})\.(\w+)")


def about(metric: str) -> Metric:
    """What is known of a metric; one of a newer data plane is taken for a counter."""
    return (
        METRICS.get(metric)
        or PROXY.get(metric)
        or SAMPLED.get(metric)
        or counter("", f"{metric.replace('_', ' ').capitalize()} (of a newer data plane)")
    )


def port_name(number: int) -> str:
    """What port `number` of a stats page is called: access and core, then access1 and core1, ..."""
    return ("access", "core")[number % 2] + (str(number // 2) if number > 1 else "")


def path_of(wire: str, name: str) -> str:
    """The path of a stats page's `name` on a wire: port0.rx_bytes becomes wire/W/port/access/rx_bytes."""
    for prefix in ("refused", "stopped", "found"):
        if name.startswith(prefix + "."):
            return f"wire/{wire}/reason/{name[len(prefix) + 1 :]}/{prefix}"
    found = PAGE_NAME.fullmatch(name)
    if not found:
        return f"wire/{wire}/{name}"
    metric = found[found.re.groups]
    for label, value in found.groupdict().items():
        if value is not None:
            value = port_name(int(value)) if label == "port" else value.replace("/", "_")
            return f"wire/{wire}/{label}/{value}/{metric}"
    raise AssertionError(name)


def split(path: str) -> tuple[dict[str, str], str]:
    """The labels and the metric of a path."""
    *pairs, metric = path.split("/")
    return dict(zip(pairs[::2], pairs[1::2], strict=True)), metric


def source_of(path: str) -> str:
    """The object whose restart makes the path's counter begin anew: its first label and value."""
    return "/".join(path.split("/", 2)[:2])
