"""Loss that says nothing about the link's rate is repaired; loss that does is heeded."""

from __future__ import annotations

from smartwire.lab.figures import goodput_mbps, median
from smartwire.lab.links import Radio, constant
from smartwire.lab.radiolog import DOWN
from smartwire.lab.session import Session
from smartwire.lab.trial import BBR, CUBIC, HAPROXY_BBR, SMARTWIRE, Trial

START_S = 0.3
PAYLOAD = 1448 / 1500
"""Share of IP bytes that is payload, at best."""


def bulk(trial: Trial, session: Session, radio: Radio, version: int, seconds: float, title: str) -> tuple[float, float]:
    """(goodput in Mbit/s, share of packets lost on the radio) of one bulk download."""
    plan = {"transfers": [{"kind": "get", "size": 0, "label": "download", "start": START_S, "stop": START_S + seconds,
                           **session.phone(version)}]}  # fmt: skip
    outcome = trial.run(session, plan, START_S + seconds + 1, f"{title} IPv{version}", radio=radio)
    rate, leg = goodput_mbps(outcome.transfers, START_S, START_S + seconds), outcome.log.leg(DOWN, START_S + seconds)
    trial.row(what=title, ip=version, mode=session.mode, goodput_mbps=rate, lost_percent=100 * leg.loss_share,
              again_percent=100 * leg.again_share, custody_share=outcome.custody_share)  # fmt: skip
    return rate, leg.loss_share


def downloads(trial: Trial, session: Session, radio: Radio, version: int, size: int, count: int, every: float,
              title: str) -> float:  # fmt: skip
    """Median time of ``count`` downloads, one every ``every`` s."""
    plan = {"transfers": [{"kind": "get", "size": size, "label": f"{i}", "seed": i, "start": START_S + i * every,
                           **session.phone(version)} for i in range(count)]}  # fmt: skip
    outcome = trial.run(session, plan, START_S + count * every, f"{title} IPv{version}", radio=radio)
    times = [t["finished"] - t["started"] for t in outcome.transfers if t["intact"]]
    trial.row(what=title, ip=version, mode=session.mode, downloads=len(times), median_s=median(times),
              worst_s=max(times, default=float("nan")), custody_share=outcome.custody_share)  # fmt: skip
    return median(times)


def loss(trial: Trial) -> None:
    """1% of all packets are lost at random, both ways."""
    clean = constant(20)
    lossy = clean.but(loss=0.01)
    seconds, count = (6.0, 4) if trial.quick else (20.0, 15)
    others = () if trial.quick else (BBR, HAPROXY_BBR)
    with trial.sessions(clean, CUBIC, SMARTWIRE, *others) as sessions:
        for version in trial.versions:
            lossless, _ = bulk(trial, sessions["cubic"], clean, version, seconds, "lossless bulk")
            for name, session in sessions.items():
                rate, _ = bulk(trial, session, lossy, version, seconds, "1% loss bulk")
                if name == "smartwire":
                    ratio = rate / lossless
                    trial.at_least(f"IPv{version}, 1% loss: bulk goodput beside lossless, ratio", ratio, 0.95)
            plain = downloads(trial, sessions["cubic"], clean, version, 1_000_000, count, 1.8, "lossless 1 MB")
            ours = downloads(trial, sessions["smartwire"], lossy, version, 1_000_000, count, 1.8, "1% loss 1 MB")
            trial.at_most(f"IPv{version}, 1% loss: median 1 MB download, lossless and not optimized, s", ours, plain)


def congestion(trial: Trial) -> None:
    """A policer, and a short buffer behind a tenfold rate step."""
    seconds = 8.0 if trial.quick else 20.0
    half = START_S + seconds / 2
    policed = constant(20).but_down(policer={"mbps": 5.0, "bucket_bytes": 30_000})
    step = constant(20, queue_bytes=64_000).but_down(rate={"steps": [[0.0, 20.0], [half * 1e3, 2.0]]})
    cases = (("policer", policed, 5.0), ("rate step", step, (20.0 + 2.0) / 2))
    with trial.sessions(constant(20), CUBIC, SMARTWIRE) as sessions:
        for version in trial.versions:
            for title, radio, passes in cases:
                bulk(trial, sessions["cubic"], radio, version, seconds, title)
                rate, lost = bulk(trial, sessions["smartwire"], radio, version, seconds, title)
                trial.at_most(f"IPv{version}, {title}: packets lost, %", 100 * lost, 3)
                ratio = rate / (passes * PAYLOAD)
                trial.at_least(f"IPv{version}, {title}: goodput of what passes, ratio", ratio, 0.9)


def first_loss(trial: Trial) -> None:
    """The first 10 data frames of each connection that reach the radio are lost, retransmissions counted."""
    clean = constant(20)
    lossy = clean.but_down(first_loss={"frames": 10})
    count = 3 if trial.quick else 11
    with trial.sessions(clean, CUBIC, SMARTWIRE) as sessions:
        for version in trial.versions:
            downloads(trial, sessions["cubic"], lossy, version, 100_000, count, 4.0, "first 10 lost, 100 kB")
            plain = downloads(trial, sessions["smartwire"], clean, version, 100_000, count, 1.2, "nothing lost, 100 kB")
            ours = downloads(trial, sessions["smartwire"], lossy, version, 100_000, count, 2.5, "first 10 lost, 100 kB")
            trial.at_most(f"IPv{version}, first 10 frames lost: a 100 kB download takes longer by, ms",
                          (ours - plain) * 1e3, 200)  # fmt: skip
