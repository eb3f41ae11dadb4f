"""What people do: web pages, downloads, uploads and a bulk download together, with an echo probe."""

from __future__ import annotations

import random

from smartwire.lab.figures import median, quantile
from smartwire.lab.links import profile
from smartwire.lab.session import Session
from smartwire.lab.trial import CUBIC, SMARTWIRE, Trial


def mixture(trial: Trial) -> None:
    """Both modes over the same seconds."""
    radio = trial.links[0] if trial.links else profile("lte-still", trial.seed)
    seconds = 10.0 if trial.quick else 30.0
    with trial.sessions(radio, CUBIC, SMARTWIRE) as sessions:
        for version in trial.versions:
            for session in sessions.values():
                outcome = trial.run(session, plan(session, version, seconds, trial.seed), seconds + 5, f"IPv{version}")
                pages = [r["finished"] - r["started"] for r in outcome.results if r["kind"] == "page"]
                puts = [t["finished"] - t["started"] for t in outcome.transfers if t["kind"] == "put" and t["intact"]]
                rtts = [1e3 * rtt for _, rtt in outcome.probe if rtt is not None]
                trial.row(ip=version, mode=session.mode, pages=len(pages), page_s_p50=median(pages),
                          page_s_p95=quantile(pages, 0.95), upload_s_p50=median(puts), echo_ms_p50=median(rtts),
                          echo_ms_p95=quantile(rtts, 0.95), checked_bytes=outcome.payload,
                          custody_share=outcome.custody_share)  # fmt: skip


def plan(session: Session, version: int, seconds: float, seed: int) -> dict:
    """A page of 21 objects every two seconds, sizes log-normal; an upload every four; one bulk download."""
    who, chance = session.phone(version), random.Random(seed)
    pages = [{"start": at, "label": f"page{i}", "parallel": 6, **who,
              "objects": [30_000, *(max(200, int(chance.lognormvariate(9.2, 1.3))) for _ in range(20))]}
             for i, at in enumerate(steps(1.0, seconds - 2, 2.0))]  # fmt: skip
    puts = [{"kind": "put", "size": 500_000, "start": at, "label": f"photo{i}", "seed": i, **who}
            for i, at in enumerate(steps(1.5, seconds - 3, 4.0))]  # fmt: skip
    bulk = {"kind": "get", "size": 0, "start": 0.3, "stop": seconds, "label": "bulk", **who}
    probe = {"start": 0.3, "stop": seconds, "interval": 0.02, **who}
    return {"pages": pages, "transfers": [bulk, *puts], "probes": [probe]}


def steps(first: float, last: float, every: float) -> list[float]:
    """Moments from ``first`` to ``last``."""
    return [first + i * every for i in range(int((last - first) / every) + 1)]
