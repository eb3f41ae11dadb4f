"""smartwired: the process that owns the configuration. Wires are processes of their own, and go on when it dies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from smartwire.config import linkplane
from smartwire.config.api import LONGEST, Answerer, peer_of
from smartwire.config.engine import NOT_CONFIRMED, Engine
from smartwire.config.plane import Plane
from smartwire.config.schema import load as load_schema
from smartwire.config.store import Store
from smartwire.errors import Error
from smartwire.wire import ownership

TICK_S = 1.0
RECONCILE_S = 2.0
SOONEST_S = 0.1
"""Between two looks at least, however often links change."""
LOGIN_S = 30.0
"""How long a connection may wait with its login."""
SHORT = 1 << 16
"""Bytes of a request of somebody who is not logged in."""
SELDOM = 15
"""Looks that are left out at most between two tries at the same trouble."""
ANSWERED_S = 0.5
CONNECTIONS = 64
"""Sessions at a time; the next one is refused with a sentence."""


def state() -> Path:
    """Where configurations and counters are kept: /var/lib/smartwire, or $SMARTWIRE_STATE."""
    return Path(os.environ.get("SMARTWIRE_STATE", "/var/lib/smartwire"))


class Daemon:
    """Serves an engine on a socket, and keeps the planes equal to the configuration.

    Args:
        engine: not yet started.
        path: of the socket.
        say: takes sentences for the log.
    """

    def __init__(self, engine: Engine, path: Path, say: Callable[[str], None]) -> None:
        self.engine, self.path, self.say = engine, path, say
        self.writers: set[asyncio.StreamWriter] = set()
        self.served: set[asyncio.Task[None]] = set()
        # A session waits for what it asked; so there must be a thread for each, and some for the daemon itself.
        self.threads = ThreadPoolExecutor(CONNECTIONS + 4, "session")
        self.said: list[str] = []
        self.changed = asyncio.Event()
        """A link has changed: what is, is to be looked at now."""
        self.anew = False
        """Whether smartwired is to start again once it has left."""
        self.again = self.rest = 0
        """Looks that are left out after one that changed nothing, and those of them to come."""

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop`."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self.threads)
        self.engine.log = self.say
        self.engine.tell = lambda sentence: loop.call_soon_threadsafe(self.tell, sentence)
        self.engine.begin_anew = lambda: loop.call_soon_threadsafe(self.begin_anew, loop, stop)
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
        await asyncio.to_thread(self.engine.start)
        server = await asyncio.start_unix_server(self.serve, str(self.path))
        self.path.chmod(0o666)  # whoever connects has to log in
        self.say(f"smartwired serves {self.path}, configuration {self.engine.running.about.number}")
        keepers = [
            asyncio.create_task(self.every(TICK_S, self.engine.tick)),
            asyncio.create_task(self.every(RECONCILE_S, self.reconcile, self.changed)),
        ]
        links = self.watch_links(loop)
        await stop.wait()
        if links:
            loop.remove_reader(links)
            links.close()
        for keeper in keepers:
            keeper.cancel()
        server.close()
        for writer in list(self.writers):
            writer.close()
        await asyncio.gather(*self.served, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def begin_anew(self, loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
        """Leaves, to start again; whoever asked for it has the answer by then."""
        self.anew = True
        loop.call_later(ANSWERED_S, stop.set)

    def watch_links(self, loop: asyncio.AbstractEventLoop) -> socket.socket | None:
        """Looks at once when a link changes; None where the kernel does not tell."""
        try:
            links = linkplane.changes()
        except OSError as e:
            self.say(
                f"the kernel does not tell about links ({e.strerror}): looking every {RECONCILE_S:.0f} s"
            )
            return None

        def told() -> None:
            with contextlib.suppress(OSError):  # too many to keep (ENOBUFS) is a change, too
                while links.recv(SHORT):
                    pass
            self.rest = 0
            self.changed.set()

        loop.add_reader(links, told)
        return links

    async def every(self, seconds: float, do: Callable[[], Any], sooner: asyncio.Event | None = None) -> None:
        """Does something again and again, whatever it raises; `sooner` cuts a pause short."""
        sooner = sooner or asyncio.Event()
        while True:
            await asyncio.sleep(SOONEST_S)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(sooner.wait(), seconds - SOONEST_S)
            sooner.clear()
            try:
                await asyncio.to_thread(do)
            except Exception as e:
                self.say(f"internal error: {type(e).__name__}: {e}")

    def reconcile(self) -> None:
        """Puts right what has changed by itself or by hand.

        What cannot be put right is said once, not at each look, and tried ever more seldom.
        """
        if self.rest > 0:
            self.rest -= 1
            return
        said = self.engine.reconcile()
        self.again = min(2 * self.again + 1, SELDOM) if said and said == self.said else 0
        self.rest = self.again
        if said != self.said:
            for sentence in said:
                self.say(sentence)
        self.said = said

    def tell(self, sentence: str) -> None:
        """Says something to everybody who is connected, and to the log."""
        self.say(sentence)
        line = json.dumps({"tell": sentence}).encode() + b"\n"
        for writer in self.writers:
            writer.write(line)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, which is one session."""
        if len(self.writers) >= CONNECTIONS:
            writer.write(_refusal(f"{CONNECTIONS} sessions are open: end one."))
            writer.close()
            return
        user, pid = peer_of(writer.get_extra_info("socket"))
        answerer = Answerer(self.engine, user, f"pid {pid}")
        task = asyncio.current_task()
        assert task
        self.served.add(task)
        self.writers.add(writer)
        try:
            async for line in lines(reader, lambda: answerer.session is not None):
                writer.write(await asyncio.to_thread(answerer.answer, line))
                await writer.drain()
        except ValueError:
            writer.write(_refusal("The request is too long."))
        except TimeoutError:
            writer.write(_refusal(f"Nobody has logged in within {LOGIN_S:.0f} s."))
        except OSError:
            pass  # the other end is gone
        finally:
            self.writers.discard(writer)
            await asyncio.to_thread(answerer.close)
            writer.close()
            self.served.discard(task)


def _refusal(sentence: str) -> bytes:
    return json.dumps({"error": sentence, "exit_code": 1}).encode() + b"\n"


async def lines(reader: asyncio.StreamReader, known: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The lines that come in. Who is not logged in has little time and little room.

    Raises:
        ValueError: a line is longer than it may be.
        TimeoutError: nobody has logged in.
    """
    buffer, searched = bytearray(), 0
    while True:
        end = buffer.find(b"\n", searched)
        if end >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            searched = 0
            yield line
            continue
        searched = len(buffer)
        if len(buffer) > (LONGEST if known() else SHORT):
            raise ValueError("too long")
        chunk = await asyncio.wait_for(reader.read(SHORT), None if known() else LOGIN_S)
        if not chunk:
            return
        buffer += chunk


def build(planes: Iterable[Plane], directory: Path) -> Engine:
    """The engine of this machine."""
    try:
        return Engine(Store(directory / "config", load_schema()), planes)
    except OSError as e:
        raise Error(f"{directory} cannot be used ({e.strerror}): run it with sudo, or set SMARTWIRE_STATE.") from None


def rolled_back(engine: Engine) -> str | None:
    """Why the running configuration is not the one that was last committed; None if it is."""
    running = getattr(engine, "running", None)  # not there before the start
    return NOT_CONFIRMED if running and running.about.comment == NOT_CONFIRMED else None


def serve() -> None:
    """Is smartwired until SIGTERM or SIGINT."""
    from smartwire.config import software
    from smartwire.config.collectplane import CollectPlane
    from smartwire.config.linkplane import LinkLossPlane, RelayPlane
    from smartwire.config.wireplane import WirePlane
    from smartwire.north.plane import NorthPlane
    from smartwire.web.plane import WebPlane

    def say(sentence: str) -> None:
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')}  {sentence}", file=sys.stderr, flush=True)

    def log(sentence: str) -> None:
        say(sentence)
        north.log(sentence)

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        daemon = Daemon(engine, place / "api.sock", log)
        await daemon.run(stop)
        anew.append(daemon.anew)

    software.enter()
    anew: list[bool] = []
    with ownership.claim() as place:
        north = NorthPlane(say, state())
        collector = CollectPlane(say, north.sinks, lambda: rolled_back(engine))
        web = WebPlane(state() / "web")
        planes = [WirePlane(state() / "logs"), RelayPlane(), LinkLossPlane(), collector, north, web]
        engine = build(planes, state())
        try:
            asyncio.run(main())
        except OSError as e:
            raise Error(f"smartwired cannot go on ({e}); its wires do.") from None
        finally:
            web.close()
            collector.close()
            north.close()
    say("smartwired has left; its wires go on")
    if any(anew):
        os.execve(sys.executable, [sys.executable, "-m", "smartwire", "daemon"], software.environment())


def main() -> None:
    """The `smartwired` program."""
    from smartwire.cli.main import main as cli

    cli(["daemon", *sys.argv[1:]])
