"""A container with the HAProxy in it. An upgrade has two for a while: one takes new connections, the other finishes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO

from smartwire.errors import Error
from smartwire.proxy.container import Container, Tcp
from smartwire.proxy.datapath import Datapath
from smartwire.proxy.haproxy import PORT, Haproxy, Listeners, Process, close, listen, refuse
from smartwire.proxy.health import Health
from smartwire.proxy.netns import Sockets

ACCEPTED_S = 0.05
"""Within so long HAProxy has accepted what came before."""


@dataclass
class Instance:
    """One container, with the TCP of each of its sides."""

    container: Container
    access: Tcp
    core: Tcp
    haproxy: Haproxy
    datapath: Datapath
    log: IO[bytes]
    note: Callable[[str], None]
    tproxy: bool = False
    """HAProxy gets connections to any port by nftables, not by sk_lookup."""
    old: list[Process] = field(default_factory=list)
    """Earlier HAProxies in the same container, which finish."""
    listeners: Listeners = field(default_factory=list)
    """Of whichever HAProxy runs; they outlive it."""
    until: float = float("inf")
    """When it has to have finished, once it is no longer the one for new connections (time.monotonic)."""

    def build(self, mtu: int) -> None:
        """The namespace and the programs that only it meets."""
        self.container.build(mtu, self.access, self.core)
        veths = [socket.if_nametoindex(v) for v in self.container.veths]
        if self.tproxy:
            self.container.take_any_port(PORT)
        with self.container.path.open() as namespace:
            netns = None if self.tproxy else namespace.fileno()
            self.datapath.enter(self.container.number, self.container.nsid(), veths, netns)
        self.listeners = listen(self.container.path, self.haproxy.threads)
        self.haproxy.write(self.listeners)
        self.sockets = Sockets(self.container.path, int(self.container.link("vs", inside=True)["ifindex"]))

    def start(self, old: Process | None = None) -> None:
        """Starts HAProxy and directs new connections to it; `old` finishes."""
        process = self.haproxy.start(self.container.command(), self.log, self.listeners, old)
        self.datapath.listen(self.container.number, self.listeners, self.haproxy.cpus)
        if old:
            self.old.append(old)
        self.process = process
        threading.Thread(target=self.see_die, args=(process,), name="death", daemon=True).start()
        self.health = Health(process.pid, time.monotonic())
        self.datapath.open = True
        self.datapath.beat()

    def see_die(self, process: Process) -> None:
        """Sends new connections direct from the moment when a HAProxy that has the listeners dies."""
        process.wait_for_death()
        if process is self.process and self.datapath.container == self.container.number:
            self.datapath.close()

    def processes(self) -> list[Process]:
        """All HAProxies in it that live."""
        self.old = [p for p in self.old if p.alive()]
        return [p for p in (self.process, *self.old) if p.alive()]

    def reset_all(self) -> int:
        """Resets all its connections; returns how many. A failure is no reason to go no further."""
        try:
            return self.sockets.reset_all()
        except Error as e:
            self.note(str(e))
            return 0

    def refuse(self) -> None:
        """Resets what waits for a HAProxy that does not come."""
        self.note(f"{refuse(self.listeners)} connections that waited for HAProxy were reset")

    def finish(self) -> None:
        """Takes no more connections, of which none come any more; HAProxy ends when it has none."""
        time.sleep(ACCEPTED_S)
        for process in self.processes():
            process.finish()
        close(self.listeners)

    def end(self) -> int:
        """Resets what is left and ends; returns how many connections that were."""
        close(self.listeners)
        left = self.reset_all()
        for process in (self.process, *self.old):
            process.kill()
        self.reset_all()
        return left

    def remove(self) -> None:
        """Takes the container down."""
        close(self.listeners)
        self.datapath.leave(self.container.number)
        self.container.remove()
