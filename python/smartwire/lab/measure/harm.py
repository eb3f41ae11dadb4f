"""Do no harm: no emulator, one veth from each end, beside a Linux bridge on the same interfaces."""

from __future__ import annotations

from smartwire.lab.figures import goodput_mbps, median, quantile
from smartwire.lab.middle import Bare, Wire
from smartwire.lab.net import Lab
from smartwire.lab.trial import CUBIC, OBSERVE, SMARTWIRE, Mode, Trial

START_S = 0.3


class Bypassed(Wire):
    """A wire that was told to leave all connections alone."""

    def start(self, lab: Lab) -> None:
        """Starts the wire and gives the order."""
        super().start(lab)
        self.ask("bypass")


BRIDGE = Mode("bridge", CUBIC.middle)
BARE = Mode("bare", Bare)
"""Every frame through user space and nothing else: what is left to gain in the optimizer itself."""
BYPASS = Mode("bypass", Bypassed)


def harm(trial: Trial) -> None:
    """Throughput of one download and the round trip of one-byte requests, the modes in turn."""
    seconds, rounds, requests = (2.0, 1, 300) if trial.quick else (4.0, 7, 1500)
    with trial.sessions(None, BRIDGE, SMARTWIRE, OBSERVE, BYPASS, BARE) as sessions:
        for version in trial.versions:
            rates: dict[str, list[float]] = {name: [] for name in sessions}
            rtts: dict[str, list[float]] = {name: [] for name in sessions}
            for _ in range(rounds):
                for name, session in sessions.items():
                    who = session.phone(version)
                    left_alone = name in (BYPASS.name, BARE.name)
                    bulk = {"kind": "get", "size": 0, "label": "bulk", "start": START_S, "stop": START_S + seconds}
                    outcome = trial.run(session, {"transfers": [bulk | who]}, START_S + seconds, f"bulk IPv{version}",
                                        refusal=left_alone)  # fmt: skip
                    rates[name].append(goodput_mbps(outcome.transfers, START_S + 0.2, START_S + seconds))
                    pings = {"kind": "ping", "size": requests, "label": "ping", "start": START_S}
                    outcome = trial.run(session, {"transfers": [pings | who]}, 2.0, f"one-byte requests IPv{version}",
                                        refusal=left_alone)  # fmt: skip
                    rtts[name] += [rtt * 1e6 for rtt in outcome.transfer("ping")["rtt"]]
            judge(trial, version, rates, rtts)


def judge(trial: Trial, version: int, rates: dict[str, list[float]], rtts: dict[str, list[float]]) -> None:
    """Rows and bounds of one IP version. Ratios are of runs that followed each other."""
    beside = {name: median([a / b for a, b in zip(rates[name], rates["bridge"], strict=True)]) for name in rates}
    for name in rates:
        rtt = {"rtt_us_p50": median(rtts[name]), "rtt_us_p99": quantile(rtts[name], 0.99)}
        rate = {"goodput_mbps": median(rates[name]), "beside_bridge": beside[name]}
        trial.row(ip=version, mode=name, **rate, **rtt, requests=len(rtts[name]))
    for name, limit in (("smartwire", 0.75), ("observe", 0.95), ("bypass", 0.95)):
        trial.at_least(f"IPv{version}: throughput beside the bridge, {name}, ratio", beside[name], limit)
    for q, name, limit in ((0.5, "median", 100), (0.99, "p99", 1000)):
        more = quantile(rtts["smartwire"], q) - quantile(rtts["bridge"], q)
        trial.at_most(f"IPv{version}: one-byte round trip, {name} above the bridge's, us", more, limit)
