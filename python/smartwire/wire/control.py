"""Orders and questions to a running wire: a Unix socket that carries one JSON document per line.

A request is ``{"do": NAME, ...}``. The answer is any number of ``{"progress": {...}}`` lines and then one of
``{"ok": {...}}`` or ``{"error": SENTENCE, "exit_code": N}``. Durations are in seconds, sizes in bytes.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from smartwire.errors import Error, NotThere, UsageError

Handler = Callable[[dict[str, Any]], Iterator[dict[str, Any]]]
"""Answers one request: yields progress documents, returns the result (the generator's return value)."""

LONGEST_REQUEST = 1 << 16
KINDS_BY_CODE: dict[int, type[Error]] = {1: Error, 2: UsageError, 3: NotThere}


class Server:
    """Answers on a socket, a thread per client."""

    def __init__(self, path: Path, handlers: dict[str, Handler]) -> None:
        self.handlers = handlers
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        path.chmod(0o600)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.accept, name="control", daemon=True)
        self.thread.start()

    def accept(self) -> None:
        """Takes clients until the socket is closed."""
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), name="control client", daemon=True).start()

    def serve(self, client: socket.socket) -> None:
        """Answers one client until it leaves."""
        # Outermost, because closing the stream of a client that has left fails too.
        with contextlib.suppress(OSError, ValueError), client, client.makefile("rw", encoding="utf-8") as stream:
            while line := stream.readline(LONGEST_REQUEST):
                for document in self.answer(line):
                    stream.write(json.dumps(document) + "\n")
                    stream.flush()

    def answer(self, line: str) -> Iterator[dict[str, Any]]:
        """The documents that answer one request line."""
        try:
            request = json.loads(line)
            handler = self.handlers[request["do"]]
        except (json.JSONDecodeError, KeyError, TypeError):
            yield {"error": "The running wire does not know this request: it is of another version.", "exit_code": 1}
            return
        work = handler(request)
        try:
            while True:
                yield {"progress": next(work)}
        except StopIteration as end:
            yield {"ok": end.value or {}}
        except Error as e:
            yield {"error": str(e), "exit_code": e.exit_code}
        except Exception as e:
            yield {"error": f"internal error in the running wire: {type(e).__name__}: {e}", "exit_code": 1}

    def close(self) -> None:
        """Takes no more clients."""
        # Closing alone does not wake a thread that waits in accept().
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def ask(
    path: Path,
    do: str,
    progress: Callable[[dict[str, Any]], None] | None = None,
    patience_s: float | None = None,
    **parameters: Any,
) -> dict[str, Any]:
    """Sends one request to a running wire and returns its result.

    Args:
        path: the wire's control socket.
        do: name of the request.
        progress: called with each progress document.
        patience_s: how long the wire may say nothing; None for ever.

    Raises:
        Error: with the wire's sentence, or one that says why it cannot be asked.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(str(path))
        except PermissionError:
            raise Error("Only root can talk to a running wire: run it with sudo.") from None
        except OSError:
            raise NotThere("The wire is not running any more: its control socket does not answer.") from None
        client.settimeout(patience_s)
        with patient(patience_s), client.makefile("rw", encoding="utf-8") as stream:
            stream.write(json.dumps({"do": do, **parameters}) + "\n")
            stream.flush()
            for line in stream:
                document = json.loads(line)
                if "progress" in document:
                    if progress:
                        progress(document["progress"])
                elif "ok" in document:
                    return document["ok"]
                else:
                    raise KINDS_BY_CODE.get(document.get("exit_code", 1), Error)(document["error"])
    raise Error("The wire stopped while it was answering.")


@contextlib.contextmanager
def patient(seconds: float | None) -> Iterator[None]:
    """Makes a sentence of a wire that says nothing for too long."""
    try:
        yield
    except TimeoutError:
        raise Error(f"The wire has not answered within {seconds:.0f} s: it hangs.") from None
