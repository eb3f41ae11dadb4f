"""A forwarder without an engine, as a process of its own: ``python -m smartwire.lab.bare ACCESS CORE``.

Prints a line when frames flow, and forwards until SIGTERM.
"""

from __future__ import annotations

import signal
import sys
import threading
import time

import smartwire
from smartwire import _native


def main() -> None:
    """Runs until SIGTERM."""
    bare = _native.Bare(sys.argv[1], sys.argv[2])
    problems: list[str] = []

    def forward() -> None:
        try:
            bare.run()
        except smartwire.Error as problem:
            problems.append(str(problem))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: bare.stop())
    runner = threading.Thread(target=forward)
    runner.start()
    while runner.is_alive() and not bare.ready:
        time.sleep(0.01)
    if bare.ready:
        print("frames flow", flush=True)
    while runner.is_alive():
        runner.join(0.1)
    if problems:
        sys.exit(f"smartwire: {problems[0]}")


if __name__ == "__main__":
    main()
