"""Queueing delay: two bulk downloads and an echo probe, beside the idle link and what else one could do about it."""

from __future__ import annotations

from smartwire.lab.figures import goodput_mbps, loaded_minus_idle, median, quantile
from smartwire.lab.links import Radio, profile
from smartwire.lab.radiolog import DOWN
from smartwire.lab.session import Outcome, Session
from smartwire.lab.trial import BBR, CUBIC, HAPROXY_BBR, SMARTWIRE, Trial

START_S, LINGER_S, PROBE_S = 0.5, 5.0, 0.02
OUTAGE_MS = 100.0
"""A link whose idle echo was ever slower than its median by more than this has outages."""


def queue(trial: Trial) -> None:
    """Runs every mode over every link."""
    links = trial.links or [profile("lte-still", trial.seed), profile("lte-driving", trial.seed)]
    seconds = 8.0 if trial.quick else 40.0
    modes = (CUBIC, SMARTWIRE) if trial.quick else (CUBIC, BBR, HAPROXY_BBR, SMARTWIRE)
    for radio in links[:1] if trial.quick else links:
        with trial.sessions(radio, *modes) as sessions:
            for version in trial.versions:
                title = f"{radio.name} IPv{version}"
                idle = trial.run(sessions["cubic"], plan(sessions["cubic"], version, seconds, bulk=False),
                                 START_S + seconds + LINGER_S, f"{title}, idle")  # fmt: skip
                rows = {name: one(trial, s, radio, version, seconds, idle) for name, s in sessions.items()}
                judge(trial, title, radio, rows, idle)


def plan(session: Session, version: int, seconds: float, bulk: bool) -> dict:
    """Two downloads without end, if ``bulk``, and the probe."""
    who = session.phone(version)
    times = {"start": START_S, "stop": START_S + seconds}
    downloads = [{"kind": "get", "size": 0, "label": f"bulk{i}", "seed": i, **times, **who} for i in range(2)]
    return {"transfers": downloads if bulk else [],
            "probes": [{"interval": PROBE_S, "linger": LINGER_S, **times, **who}]}  # fmt: skip


def one(trial: Trial, session: Session, radio: Radio, version: int, seconds: float, idle: Outcome) -> dict:
    """One loaded run as a line of figures."""
    outcome = trial.run(session, plan(session, version, seconds, bulk=True), START_S + seconds + LINGER_S,
                        f"{radio.name} IPv{version}")  # fmt: skip
    extra = [1e3 * x for x in loaded_minus_idle(outcome.probe, idle.probe, lost_s=LINGER_S)]
    rtts = [1e3 * (rtt if rtt is not None else LINGER_S) for _, rtt in outcome.probe]
    leg = outcome.log.leg(DOWN, START_S + seconds)
    row = {
        "link": radio.name,
        "ip": version,
        "mode": session.mode,
        "echo_ms_p50": median(rtts),
        "echo_ms_p95": quantile(rtts, 0.95),
        "loaded_minus_idle_ms_p95": quantile(extra, 0.95),
        "goodput_mbps": goodput_mbps(outcome.transfers, START_S, START_S + seconds),
        "again_bytes": leg.again,
        "again_percent": 100 * leg.again_share,
        "dropped_packets": leg.dropped + leg.lost,
        "custody_share": outcome.custody_share,
    }
    trial.row(**row)
    return row


def judge(trial: Trial, title: str, radio: Radio, rows: dict[str, dict], idle: Outcome) -> None:
    """Smartwire beside the others."""
    ours, cubic, haproxy = rows["smartwire"], rows["cubic"], rows.get("haproxy-bbr")
    key = "loaded_minus_idle_ms_p95"
    what = f"{title}: p95 of loaded minus idle RTT, ms"
    trial.at_most(f"{what}, a fifth of CUBIC's", ours[key], 0.2 * cubic[key])
    if haproxy:
        trial.at_most(f"{what}, half of HAProxy-BBR's", ours[key], 0.5 * haproxy[key])
        trial.at_least(f"{title}: goodput beside HAProxy-BBR, ratio", ours["goodput_mbps"] / haproxy["goodput_mbps"], 1)
    answered = [rtt * 1e3 for _, rtt in idle.probe if rtt is not None]
    if max(answered) - median(answered) <= OUTAGE_MS:
        trial.at_most(f"{what}, link without outages", ours[key], 150)
    if radio.name.startswith(("lte-", "Verizon")) or radio.name.endswith("Mbit/s"):
        ratio = ours["goodput_mbps"] / cubic["goodput_mbps"]
        trial.at_least(f"{title}: goodput beside CUBIC, ratio", ratio, 0.97)
    if not ours["dropped_packets"]:
        trial.at_most(f"{title}: bytes that crossed the radio twice, %", ours["again_percent"], 0.1)
    else:
        limit = max(0.1, 0.3 * cubic["again_percent"])
        trial.at_most(f"{title}: bytes that crossed the radio twice, 0.3 of CUBIC's, %", ours["again_percent"], limit)
