"""Transparency: what the neighbours on either side of the wire see, compared field by field and frame by frame."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from smartwire.lab.capture import beside_wire, capture
from smartwire.lab.foreign import FOREIGN, send_and_catch
from smartwire.lab.frames import ACK, FIN, RST, SYN, Segment, segments
from smartwire.lab.session import Session
from smartwire.lab.trial import SMARTWIRE, Trial

SIZE = 400_000
WHOLE = 65_535
"""Enough of each frame to hold all of it."""
OPT_TIMESTAMPS, OPT_SACK = 8, 5
CASES: dict[str, dict[str, str]] = {
    "plain": {},
    "no SACK": {"net.ipv4.tcp_sack": "0"},
    "no timestamps": {"net.ipv4.tcp_timestamps": "0"},
    "no window scale": {"net.ipv4.tcp_window_scaling": "0"},
    "ECN": {"net.ipv4.tcp_ecn": "1"},
}
"""Connections that must be optimized, and the phone's settings that make them."""
USUAL = {"net.ipv4.tcp_sack": "1", "net.ipv4.tcp_timestamps": "1", "net.ipv4.tcp_window_scaling": "1",
         "net.ipv4.tcp_ecn": "2"}  # fmt: skip


def transparency(trial: Trial) -> None:
    """Every case on both ways of getting packets, unless one is asked for."""
    ways = [trial.options] if trial.options else [("--io", "xdp"), ("--io", "packet")]
    for options in ways:
        trial.options = options
        with trial.sessions(None, SMARTWIRE) as sessions:
            session = sessions["smartwire"]
            session.lab.sysctl("server", {"net.ipv4.tcp_ecn": "1"})
            for version in trial.versions:
                for case, settings in CASES.items():
                    one_case(trial, session, version, case, settings, options[-1])
                odd_cases(trial, session, version, options[-1])
            foreign(trial, session, options[-1])


def one_case(trial: Trial, session: Session, version: int, case: str, settings: dict[str, str], way: str) -> None:
    """A download and an upload of one kind of connection."""
    session.lab.sysctl("phone", USUAL | settings)
    who = session.phone(version)
    plan = {"transfers": [{"kind": kind, "size": SIZE, "start": 0.1, "label": kind, "seed": i, **who}
                          for i, kind in enumerate(("get", "put"))]}  # fmt: skip
    with capture(session.lab, beside_wire(session.lab), snaplen=WHOLE) as made:
        outcome = trial.run(session, plan, 2.0, f"{case}, IPv{version}, {way}")
    session.lab.sysctl("phone", USUAL)
    sides = [list(segments(made.files[side])) for side in ("access", "core")]
    found = differences(*sides)
    trial.row(io=way, ip=version, connection=case, segments=sum(map(len, sides)), differences=sum(found.values()),
              custody_share=outcome.custody_share, found=dict(found))  # fmt: skip
    trial.at_most(f"{way}, IPv{version}, {case}: header fields that differ{told(found)}", sum(found.values()), 0)


def told(found: Counter) -> str:
    """The differences in words."""
    return f" ({', '.join(f'{what} {count}' for what, count in found.most_common(4))})" if found else ""


def odd_cases(trial: Trial, session: Session, version: int, way: str) -> None:
    """Multipath TCP and TCP Fast Open pass and work; they are left alone."""
    who = session.phone(version)
    common = {"kind": "get", "size": SIZE, **who}
    plan = {"transfers": [common | {"start": 0.1, "label": "MPTCP", "mptcp": True},
                          common | {"start": 0.3, "label": "TFO, the first", "tfo": True},
                          common | {"start": 0.9, "label": "TFO, the second", "tfo": True}]}  # fmt: skip
    with capture(session.lab, beside_wire(session.lab), snaplen=WHOLE) as made:
        outcome = trial.run(session, plan, 2.0, f"MPTCP and TFO, IPv{version}, {way}", refusal=True)
    with_data = [sum(s.flags & SYN > 0 and not s.flags & ACK and s.payload > 0 for s in segments(made.files[side]))
                 for side in ("access", "core")]  # fmt: skip
    trial.row(io=way, ip=version, connection="MPTCP, TFO", intact=outcome.intact, syns_with_data=with_data[1],
              refused=outcome.reasons or "-")  # fmt: skip
    trial.at_least(f"{way}, IPv{version}: MPTCP and TFO transfers that were right, of 3",
                   sum(t["intact"] for t in outcome.transfers), 3)  # fmt: skip
    trial.at_least(f"{way}, IPv{version}: SYNs with data (TFO) that passed, of {with_data[0]}", with_data[1],
                   max(1, with_data[0]))  # fmt: skip


def differences(access: list[Segment], core: list[Segment]) -> Counter:
    """Fields that are not what the far endpoint sent, over all TCP segments, with counts.

    Whatever an endpoint sent must be in the far capture unless it is a pure acknowledgment, a repetition, or a
    keepalive; a segment that the endpoint did not send in this form must look as one of its own.
    """
    found: Counter = Counter()
    for sent_side, seen_side in ((access, core), (core, access)):
        sent = [s for s in sent_side if s.outbound]
        seen = [s for s in seen_side if not s.outbound]
        found += lost_or_changed(sent, seen)
        found += made_up(sent, seen)
    return found


def flow(s: Segment) -> tuple:
    """Addresses and ports of a segment, in its direction."""
    return s.src, s.sport, s.dst, s.dport


def lost_or_changed(sent: Iterable[Segment], seen: Iterable[Segment]) -> Counter:
    """Handshakes must be identical; data and FIN keep all but ACK, window, timestamps, SACK blocks and ECN echo."""
    found: Counter = Counter()
    there: dict[tuple, list[Segment]] = defaultdict(list)
    for s in seen:
        there[(*flow(s), s.seq, s.payload, s.flags & (SYN | FIN))].append(s)
    known = set()
    for s in sent:
        key = (*flow(s), s.seq, s.payload, s.flags & (SYN | FIN))
        if key in known or s.flags & RST or not (s.payload or s.flags & (SYN | FIN)):
            continue
        known.add(key)
        if key not in there:
            found["segments with other boundaries, or lost"] += 1
            continue
        first = there[key][0]
        for name in ("ethernet", "ttl", "tos", "ip_id", "flow_label"):
            if getattr(s, name) != getattr(first, name):
                found[name] += 1
        if s.flags & SYN:
            for name in ("ack", "flags", "window", "options"):
                if getattr(s, name) != getattr(first, name):
                    found[f"handshake {name}"] += 1
        elif layout(s) != layout(first):
            found["options"] += 1
    return found


def layout(s: Segment) -> list[tuple[int, int]]:
    """Kinds and lengths of the options that the wire must leave in place."""
    return [(kind, len(content)) for kind, content in s.kinds() if kind != OPT_SACK]


def made_up(sent: list[Segment], seen: list[Segment]) -> Counter:
    """Segments of the wire's own must wear what the endpoint wears: MAC, TTL, DSCP, flow label, kinds of options."""
    found: Counter = Counter()
    looks: dict[tuple, set] = defaultdict(set)
    for s in sent:
        if not s.flags & SYN:
            looks[flow(s)].add(look(s))
    for s in seen:
        if not s.flags & (SYN | RST) and look(s) not in looks[flow(s)]:
            found["looks of segments made by the wire"] += 1
    return found


def look(s: Segment) -> tuple:
    """What is the endpoint's own in each of its segments; the zero IP-ID rule included (RFC 6864)."""
    dscp = s.tos >> 2
    return s.ethernet, s.ttl, dscp, s.flow_label, s.ip_id == 0, OPT_TIMESTAMPS in [kind for kind, _ in s.kinds()]


def foreign(trial: Trial, session: Session, way: str) -> None:
    """Frames that are no business of a TCP optimizer pass bit by bit, in both directions."""
    for here, there in (("phone", "server"), ("server", "phone")):
        arrived = send_and_catch(session.lab, here, there)
        wrong = [name for name in FOREIGN if arrived.get(name) != 1]
        trial.row(io=way, frames_from=here, sent=len(FOREIGN), arrived_as_they_were=len(FOREIGN) - len(wrong),
                  wrong=", ".join(wrong) or "-")  # fmt: skip
        trial.at_most(f"{way}: frames from the {here} that did not arrive as they were", len(wrong), 0)


