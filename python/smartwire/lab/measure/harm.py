"""Do no harm: no emulator, one veth from each end, beside a Linux bridge on the same interfaces."""

from __future__ import annotations

from smartwire.lab.figures import goodput_mbps, median, quantile
from smartwire.lab.trial import CUBIC, OBSERVE, SMARTWIRE, Mode, Trial

START_S = 0.3
BRIDGE = Mode("bridge", CUBIC.middle)


def harm(trial: Trial) -> None:
    """Throughput of one download and the round trip of one-byte requests, the modes in turn."""
    seconds, rounds, requests = (2.0, 1, 300) if trial.quick else (8.0, 5, 2000)
    with trial.sessions(None, BRIDGE, SMARTWIRE, OBSERVE) as sessions:
        for version in trial.versions:
            rates: dict[str, list[float]] = {name: [] for name in sessions}
            rtts: dict[str, list[float]] = {name: [] for name in sessions}
            for _ in range(rounds):
                for name, session in sessions.items():
                    who = session.phone(version)
                    bulk = {"kind": "get", "size": 0, "label": "bulk", "start": START_S, "stop": START_S + seconds}
                    outcome = trial.run(session, {"transfers": [bulk | who]}, START_S + seconds, f"bulk IPv{version}")
                    rates[name].append(goodput_mbps(outcome.transfers, START_S + 0.2, START_S + seconds))
                    pings = {"kind": "ping", "size": requests, "label": "ping", "start": START_S}
                    outcome = trial.run(session, {"transfers": [pings | who]}, 2.0, f"one-byte requests IPv{version}")
                    rtts[name] += [rtt * 1e6 for rtt in outcome.transfer("ping")["rtt"]]
            judge(trial, version, rates, rtts)


def judge(trial: Trial, version: int, rates: dict[str, list[float]], rtts: dict[str, list[float]]) -> None:
    """Rows and bounds of one IP version."""
    for name in rates:
        trial.row(ip=version, mode=name, goodput_mbps=median(rates[name]), rtt_us_p50=median(rtts[name]),
                  rtt_us_p99=quantile(rtts[name], 0.99), requests=len(rtts[name]))  # fmt: skip
    bridge = median(rates["bridge"])
    for name, limit in (("smartwire", 0.75), ("observe", 0.95)):
        ratio = median(rates[name]) / bridge
        trial.at_least(f"IPv{version}: throughput beside the bridge, {name}, ratio", ratio, limit)
    for q, name, limit in ((0.5, "median", 100), (0.99, "p99", 1000)):
        more = quantile(rtts["smartwire"], q) - quantile(rtts["bridge"], q)
        trial.at_most(f"IPv{version}: one-byte round trip, {name} above the bridge's, us", more, limit)
