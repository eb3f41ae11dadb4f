"""A small box: 2,000 frames of memory and 200 bulk flows; nothing is lost, reset or stalled."""

from __future__ import annotations

from smartwire.lab.links import constant
from smartwire.lab.middle import Wire
from smartwire.lab.plan import BIN_S
from smartwire.lab.trial import Mode, Trial

FRAMES, PHONES, FLOWS_EACH = 2_000, 20, 10
SMALL = Mode("smartwire", lambda *options: Wire("--frames", str(FRAMES), *options))
STALL_S = 3.0


def smallbox(trial: Trial) -> None:
    """200 downloads of 20 subscribers that share too little memory."""
    seconds = 6.0 if trial.quick else 20.0
    size = 60_000 if trial.quick else 250_000
    with trial.sessions(constant(3), SMALL, phones=PHONES) as sessions:
        session = sessions["smartwire"]
        for version in trial.versions:
            plan = {"transfers": [{"kind": "get", "size": size, "start": 0.3, "label": f"p{phone}.{flow}", "seed": flow,
                                   **session.phone(version, phone)}
                                  for phone in range(1, PHONES + 1) for flow in range(FLOWS_EACH)]}  # fmt: skip
            outcome = trial.run(session, plan, seconds, f"{FRAMES} frames IPv{version}", refusal=True, patience=60)
            broken = [t for t in outcome.transfers if not t["intact"]]
            stalls = [longest_gap(t["bins"]) for t in outcome.transfers]
            trial.row(ip=version, flows=len(outcome.transfers), broken=len(broken), worst_s=max(
                t["finished"] - t["started"] for t in outcome.transfers if t["finished"]),
                longest_stall_s=max(stalls), resets=outcome.wire.get("resets", 0),
                no_frame=outcome.wire.get("no_frame", 0), custody_share=outcome.custody_share)  # fmt: skip
            trial.at_most(f"IPv{version}: connections that broke, of {len(outcome.transfers)}", len(broken), 0)
            trial.at_most(f"IPv{version}: connections reset by the wire", outcome.wire.get("resets", 0), 0)
            trial.at_most(f"IPv{version}: longest time without a byte, s", max(stalls), STALL_S)


def longest_gap(bins: list[int]) -> float:
    """Longest run of empty bins after the first byte, seconds."""
    longest = current = 0
    begun = False
    for count in bins:
        begun = begun or count > 0
        current = current + 1 if begun and not count else 0
        longest = max(longest, current)
    return longest * BIN_S
