"""Processes that one of ours has started."""

from __future__ import annotations

import contextlib
import subprocess

PATIENCE_S = 5.0


def end(process: subprocess.Popen) -> None:
    """Asks it to end, waits :data:`PATIENCE_S` seconds, and kills it if it does not."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE_S)
    if process.poll() is None:
        process.kill()
        process.wait()
