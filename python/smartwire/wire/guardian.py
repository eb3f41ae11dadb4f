"""The guardian: a process that resets the connections which would hang when the wire's own process is gone.

``python -m smartwire.wire.guardian PORT FD``: watches over the wire that PORT belongs to for as long as the other end
of the pipe FD is open. It is in a session of its own, sleeps, and gives up all capabilities once its sockets are open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

PATIENCE_S = 10.0
"""A guardian that ended is replaced, but not more often than this."""


class Guardian:
    """The guardian of this process's wire; it ends with the wire.

    Args:
        port: one of the wire's interfaces.
    """

    def __init__(self, port: str) -> None:
        self.port = port
        self.start()

    def start(self) -> None:
        """Starts the process; it knows that this one lives by the pipe whose other end is here."""
        end, self.lifeline = os.pipe()
        argv = [sys.executable, "-m", "smartwire.wire.guardian", self.port, str(end)]
        self.process = subprocess.Popen(
            argv, pass_fds=(end,), start_new_session=True, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        os.close(end)
        self.started = time.monotonic()

    def news(self) -> list[str]:
        """What an operator should hear: that the guardian ended before its time. Another one is started then."""
        if self.process.poll() is None or time.monotonic() < self.started + PATIENCE_S:
            return []
        assert self.process.stderr
        said = self.process.stderr.read().strip().splitlines()
        why = said[-1] if said else f"exit status {self.process.returncode}"
        self.leave()
        self.start()
        return [f"the guardian of this wire ended ({why}); another one watches now"]

    def leave(self) -> None:
        """Lets it go: it finds nothing to watch over, unless the wire was not given back."""
        os.close(self.lifeline)
        assert self.process.stderr
        self.process.stderr.close()


def main() -> int:
    """Watches until there is nothing left to watch over."""
    from smartwire import Error, _native

    # Who ends a service ends all that is left of it: this one must outlive it by some seconds, and then goes by itself.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        _native.guard_wire(sys.argv[1], int(sys.argv[2]))
    except Error as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
