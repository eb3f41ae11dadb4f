"""The radio stops for ten seconds: nobody retransmits for it, and the rate is back at once."""

from __future__ import annotations

from smartwire.lab.links import constant
from smartwire.lab.plan import BIN_S
from smartwire.lab.session import Session
from smartwire.lab.trial import CUBIC, SMARTWIRE, Trial

BEFORE_S, AFTER_S = 6.0, 8.0
QUIET_S = 1.0
"""After this long in a freeze what was under way has arrived or is stuck: from here on only probes may be sent."""


def freeze(trial: Trial) -> None:
    """Both directions, the downlink, the uplink."""
    length = 4.0 if trial.quick else 10.0
    radio = constant(20)
    with trial.sessions(radio, CUBIC, SMARTWIRE) as sessions:
        for version in trial.versions:
            for title, down, up in (("both", True, True), ("down", True, False), ("up", False, True)):
                for session in sessions.values():
                    one(trial, session, version, title, down, up, length)


def one(trial: Trial, session: Session, version: int, title: str, down: bool, up: bool, length: float) -> None:
    """One bulk download with one freeze in it."""
    stop = BEFORE_S + length + AFTER_S
    freezes = [[BEFORE_S * 1e3, length * 1e3]]
    assert session.radio
    radio = session.radio.but_down(freezes=freezes if down else []).but_up(freezes=freezes if up else [])
    counters: list[dict] = []
    looks = [(moment, lambda: counters.append(session.middle.counters()))
             for moment in (BEFORE_S + QUIET_S, BEFORE_S + length - 0.2)]  # fmt: skip
    plan = {"transfers": [{"kind": "get", "size": 0, "label": "download", "start": 0.3, "stop": stop,
                           **session.phone(version)}]}  # fmt: skip
    outcome = trial.run(session, plan, stop + 1, f"freeze {title} IPv{version}", radio=radio, actions=looks)
    bins = outcome.transfer("download")["bins"]
    back = recovery(bins, BEFORE_S, BEFORE_S + length)
    server = sum(s["retransmitted_segments"] for s in outcome.served)
    first, second = counters
    grown = {k: second.get(k, 0) - first.get(k, 0) for k in ("sent", "retransmitted", "probes")}
    trial.row(ip=version, freeze=title, mode=session.mode, back_after_ms=back * 1e3,
              server_retransmitted_segments=server, sent_in_freeze=grown["sent"],
              retransmitted_in_freeze=grown["retransmitted"], probes_in_freeze=grown["probes"],
              custody_share=outcome.custody_share, bins_mbps=[round(b * 8e-6 / BIN_S, 2) for b in bins])  # fmt: skip
    if session.mode == "smartwire":
        name = f"IPv{version}, freeze {title}"
        trial.at_most(f"{name}: server's retransmitted segments", server, 0)
        sent = grown["sent"] + grown["retransmitted"]
        trial.at_most(f"{name}: segments sent by the engine that are no probes", sent, 0)
        trial.at_most(f"{name}: 90% of the earlier rate is back after, ms", back * 1e3, 1000)


def recovery(bins: list[int], start: float, end: float, window: int = 5) -> float:
    """Seconds from the thaw until half a second in which 90% of the earlier rate arrived has begun."""
    earlier = bins[int((start - 2) / BIN_S) : int(start / BIN_S)]
    wanted = 0.9 * sum(earlier) / max(1, len(earlier))
    first = round(end / BIN_S)
    for i in range(first, len(bins) - window + 1):
        if sum(bins[i : i + window]) / window >= wanted > 0:
            return (i - first) * BIN_S
    return float("inf")
