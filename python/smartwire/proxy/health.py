"""Is HAProxy well, late or hung?"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from pathlib import Path

SILENCE_S = 0.4
"""Without an answer for so long it hangs, unless the machine is what is slow."""
WAITED_S = 0.1
"""Waiting for a CPU for so long within the silence is the machine's fault."""


@dataclass
class Health:
    """Judges one HAProxy by its answers.

    A process that is kept from running is not hung: neither where this one was late itself, nor where HAProxy has
    waited for a CPU. A stopped one waits for nothing.
    """

    pid: int
    heard: float
    waited: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.waited = waited_for_cpu(self.pid)

    def answered(self, now: float) -> None:
        """It answered at `now` (s)."""
        self.heard = now
        self.waited = waited_for_cpu(self.pid)

    def late(self, now: float, by: float) -> None:
        """This process ran `by` seconds later than it wanted to: that was no silence of HAProxy's."""
        self.heard = min(now, self.heard + by)

    def hung(self, now: float, stopped: bool) -> bool:
        """True if it hangs."""
        if now - self.heard < SILENCE_S:
            return False
        return stopped or waited_for_cpu(self.pid) - self.waited < WAITED_S


def waited_for_cpu(pid: int) -> float:
    """Seconds that the threads of a process could have run and had no CPU (proc_pid_schedstat)."""
    total = 0.0
    with contextlib.suppress(OSError, ValueError, IndexError):
        for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):
                total += int(file.read_text().split()[1]) / 1e9
    return total
