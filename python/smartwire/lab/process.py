"""A Python module that runs inside a host of the lab and speaks lines of JSON."""

from __future__ import annotations

import contextlib
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time

from smartwire.errors import Error
from smartwire.lab.net import Lab


class Process:
    """Starts ``python -m MODULE ARGV...`` inside a host; returns once it says that it is ready.

    Args:
        first: sent to it before it has to be ready.
    """

    def __init__(self, lab: Lab, host: str, module: str, *argv: str, first: dict | None = None) -> None:
        self.name = f"{module} on {host}"
        self.errors = tempfile.TemporaryFile("w+")
        self.lines: queue.Queue[dict | None] = queue.Queue()
        self.popen = lab.popen(host, sys.executable, "-m", module, *argv, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=self.errors, text=True)  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if first is not None:
            self.send(first)

    def _read(self) -> None:
        assert self.popen.stdout
        for line in self.popen.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                self.lines.put(json.loads(line))
        self.lines.put(None)

    def ready(self, seconds: float = 20.0) -> None:
        """Waits until it is ready; raises Error with its last words if it never is."""
        document = self.receive(seconds)
        if document is None or "ready" not in document:
            self.kill()
            raise Error(f"{self.name} did not start: {self.last_words()}.")

    def send(self, document: dict) -> None:
        """Sends one line."""
        assert self.popen.stdin
        with contextlib.suppress(BrokenPipeError):
            self.popen.stdin.write(json.dumps(document) + "\n")
            self.popen.stdin.flush()

    def receive(self, seconds: float) -> dict | None:
        """The next line; None when it ended; raises Error when nothing comes in time."""
        try:
            return self.lines.get(timeout=max(0.0, seconds))
        except queue.Empty:
            raise Error(f"{self.name} said nothing for {seconds:.0f} s: {self.last_words()}.") from None

    def waiting(self) -> list[dict]:
        """What it has said by now."""
        found = []
        with contextlib.suppress(queue.Empty):
            while (document := self.lines.get_nowait()) is not None:
                found.append(document)
        return found

    def stop(self, seconds: float = 15.0) -> list[dict]:
        """SIGTERM; returns the lines that are left."""
        self.signal(signal.SIGTERM)
        found, until = [], time.monotonic() + seconds
        while (document := self.receive(until - time.monotonic())) is not None:
            found.append(document)
        self.popen.wait()
        return found

    def signal(self, number: int) -> None:
        """Sends a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(number)

    def kill(self) -> None:
        """Ends it at once."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def last_words(self) -> str:
        """The last line of what it complained about."""
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines()
        return said[-1].rstrip(".") if said else "it gave no reason"
