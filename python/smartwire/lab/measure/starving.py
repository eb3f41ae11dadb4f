"""Never starving anyone over a delay that he did not cause; and a satellite link is filled in time."""

from __future__ import annotations

from smartwire.lab.figures import goodput_mbps
from smartwire.lab.links import constant
from smartwire.lab.plan import BIN_S
from smartwire.lab.session import Session
from smartwire.lab.trial import CUBIC, SMARTWIRE, Mode, Trial

START_S, SETTLE_S = 0.3, 3.0
UDP_MBPS = 10.0
RENO = Mode("unlimited", CUBIC.middle, "reno")
"""Slow start to the end, without CUBIC's early exit: a sender that nothing but the link limits."""


def starving(trial: Trial) -> None:
    """A bulk download beside three things that fill the subscriber's queues without being its fault."""
    seconds = 8.0 if trial.quick else 20.0
    radio = constant(20, up_mbps=5)
    with trial.sessions(radio, CUBIC, SMARTWIRE) as sessions:
        for version in trial.versions:
            for beside in ("upload", "udp", "mptcp"):
                rates = {name: one(trial, s, version, beside, seconds) for name, s in sessions.items()}
                trial.at_least(f"IPv{version}, download beside {beside}: goodput beside what it has without, ratio",
                               rates["smartwire"] / rates["cubic"], 0.9)  # fmt: skip


def one(trial: Trial, session: Session, version: int, beside: str, seconds: float) -> float:
    """Goodput of the download, Mbit/s."""
    who = session.phone(version)
    stop = START_S + seconds
    span = {"start": START_S, "stop": stop}
    plan: dict = {"transfers": [{"kind": "get", "size": 0, "label": "download", **span, **who}]}
    server_plan = None
    if beside == "upload":
        plan["transfers"].append({"kind": "put", "size": 0, "label": "upload", "seed": 2, **span, **who})
    elif beside == "mptcp":
        plan["transfers"].append({"kind": "get", "size": 0, "label": "mptcp", "seed": 2, "mptcp": True, **span, **who})
    else:
        plan["udp_receive"] = [{"label": "udp", **span, **who}]
        server_plan = {"udp_send": [{"mbps": UDP_MBPS, "source": who["target"], "target": who["source"], **span}]}
    outcome = trial.run(session, plan, stop + 1, f"download beside {beside} IPv{version}", server_plan=server_plan,
                        refusal=beside == "mptcp")  # fmt: skip
    rate = {r["label"]: goodput_mbps([r], START_S + SETTLE_S, stop) for r in outcome.results if r.get("bins")}
    trial.row(ip=version, beside=beside, mode=session.mode, download_mbps=rate["download"],
              beside_mbps=rate.get(beside), custody_share=outcome.custody_share)  # fmt: skip
    return rate["download"]


def geo(trial: Trial) -> None:
    """Time until a bulk download fills a satellite link."""
    mbps, seconds = 25.0, 12.0 if trial.quick else 20.0
    radio = constant(mbps, up_mbps=3, rtt_ms=560, queue_bytes=3_000_000).with_internet(40)
    with trial.sessions(radio, RENO, SMARTWIRE) as sessions:
        for version in trial.versions:
            full = {}
            for name, session in sessions.items():
                plan = {"transfers": [{"kind": "get", "size": 0, "label": "download", "start": START_S,
                                       "stop": START_S + seconds, **session.phone(version)}]}  # fmt: skip
                outcome = trial.run(session, plan, START_S + seconds + 1, f"satellite IPv{version}")
                full[name] = filled(outcome.transfer("download")["bins"], mbps) - START_S
                trial.row(ip=version, mode=name, full_after_s=full[name], custody_share=outcome.custody_share,
                          goodput_mbps=goodput_mbps(outcome.transfers, START_S, START_S + seconds))  # fmt: skip
            trial.at_most(f"IPv{version}: time until the link is full, 1.5 times the unlimited sender's, s",
                          full["smartwire"], 1.5 * full["unlimited"])  # fmt: skip


def filled(bins: list[int], mbps: float, window: int = 10) -> float:
    """End of the first second in which 90% of the link's payload rate arrived; infinite if there is none."""
    wanted = 0.9 * mbps * 1e6 / 8 * 1448 / 1500 * window * BIN_S
    for i in range(len(bins) - window + 1):
        if sum(bins[i : i + window]) >= wanted:
            return (i + window) * BIN_S
    return float("inf")
