"""An emulator as a process of its own, inside a host: ``python -m smartwire.lab.emulate``.

Reads one line of JSON: ``{"access": ifname, "core": ifname, "spec": EmulatorSpec}``; prints ``{"ready": true}``; reads
``{"epoch": seconds}`` (CLOCK_MONOTONIC), the moment at which its links and the traces in them begin. Further lines are
orders to the running emulator. On SIGTERM it prints a summary and leaves.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

import smartwire
from smartwire import _native


def obey(emulator: _native.Emulator) -> None:
    """Hands orders from standard input to the emulator."""
    for line in sys.stdin:
        try:
            emulator.order(line)
        except smartwire.Error as problem:
            print(problem, file=sys.stderr, flush=True)


def main() -> None:
    """Runs until SIGTERM."""
    task = json.loads(sys.stdin.readline())
    emulator = _native.Emulator(json.dumps(task["spec"]), task["access"], task["core"])
    leave = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leave.set())
    summary: list[str] = []
    print(json.dumps({"ready": True}), flush=True)
    epoch = json.loads(sys.stdin.readline() or "{}").get("epoch", 0.0)

    def forward() -> None:
        time.sleep(max(0.0, epoch - time.monotonic()))
        try:
            summary.append(emulator.run())
        except smartwire.Error as problem:
            print(problem, file=sys.stderr, flush=True)
        leave.set()

    runner = threading.Thread(target=forward)
    runner.start()
    threading.Thread(target=obey, args=(emulator,), daemon=True).start()
    leave.wait()
    emulator.stop()
    runner.join()
    if not summary:
        sys.exit(1)
    print(summary[0], flush=True)


if __name__ == "__main__":
    main()
