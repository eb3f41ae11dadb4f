"""The Prometheus listener: a process without any right that speaks HTTP, and asks smartwired in one word what to say.

``{"fd", "hosts", "port", "allowed"}`` is its argument. On the socket pair ``fd`` it writes ``metrics``, a line, and
reads a length of eight bytes and so many bytes of text. :class:`Front` is the other end: whatever else comes is
answered with nothing, so who takes over the process that parses requests gets metrics, and no more.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from smartwire import privileges, processes
from smartwire.errors import Error
from smartwire.north import prometheus

WORD = b"metrics\n"
LENGTH = struct.Struct("<Q")
READY_S = 60.0


class Front:
    """The process, and the thread of smartwired that answers it.

    Args:
        hosts, port: where it listens.
        allowed: prefixes of those who may ask; everyone if empty.
        namespace: network namespace to listen in; None for this one.
        text: what is served.

    Raises:
        Error: it does not come up, with its last words.
    """

    def __init__(
        self, hosts: tuple[str, ...], port: int, allowed: tuple[str, ...] = (), namespace: str | None = None,
        text: Callable[[], str] = prometheus.exposition,
    ) -> None:  # fmt: skip
        self.text = text
        self.ours, theirs = socket.socketpair()
        task = {"fd": theirs.fileno(), "hosts": hosts, "port": port, "allowed": allowed}
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        argv = [*inside, sys.executable, "-m", "smartwire.north.front", json.dumps(task)]
        with theirs:
            self.process = subprocess.Popen(
                argv, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        self.thread = threading.Thread(target=self.answer, name="metrics", daemon=True)
        self.thread.start()
        self.await_ready()

    def await_ready(self) -> None:
        """Waits until it serves."""
        assert self.process.stdout
        watch = threading.Timer(READY_S, self.process.kill)
        watch.start()
        said = self.process.stdout.readline().strip()
        watch.cancel()
        if not said.startswith("serving"):
            self.close()
            raise Error(said.removeprefix("smartwire: ") or "The metrics are not served: their process did not start.")

    def answer(self) -> None:
        """Answers until the process is gone, or says anything but the word."""
        with contextlib.suppress(OSError, ValueError), self.ours.makefile("rb") as asked:
            while asked.readline(len(WORD)) == WORD:
                body = self.text().encode()
                self.ours.sendall(LENGTH.pack(len(body)) + body)
        with contextlib.suppress(OSError):
            self.ours.shutdown(socket.SHUT_RDWR)

    @property
    def alive(self) -> bool:
        """True while it serves."""
        return self.process.poll() is None

    def close(self) -> None:
        """Ends it."""
        processes.end(self.process)
        if self.process.stdout:
            self.process.stdout.close()
        self.thread.join(10)
        self.ours.close()


class Asker:
    """The process's end of the socket pair."""

    def __init__(self, fd: int) -> None:
        self.socket = socket.socket(fileno=fd)
        self.stream = self.socket.makefile("rb")
        self.lock = threading.Lock()

    def __call__(self) -> str:
        """The metrics, as smartwired has them now."""
        with self.lock:
            self.socket.sendall(WORD)
            head = self.stream.read(LENGTH.size)
            if len(head) < LENGTH.size:
                raise Error("smartwired is gone.")
            return self.stream.read(LENGTH.unpack(head)[0]).decode()


def main() -> None:
    """Listens, gives up every right, and serves until it is told to stop or smartwired is gone."""
    task = json.loads(sys.argv[1])
    asker = Asker(task["fd"])
    try:
        servers = [prometheus.listen(host, task["port"], asker, task["allowed"]) for host in task["hosts"]]
    except Error as e:
        sys.exit(f"smartwire: {e}")
    said = privileges.drop([contextlib.__file__, __file__])
    privileges.die_with_parent()
    for server in servers:
        prometheus.run(server)
    print(said, flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
