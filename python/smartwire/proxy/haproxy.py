"""HAProxy: its configuration from a typed model, its process, its listeners, its statistics."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from smartwire.errors import Error
from smartwire.proxy.netns import socket_inside

OLDEST = (2, 6)
PORT = 1
"""Where HAProxy listens; the sk_lookup program gives it all other ports."""
BACKLOG = 65535
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
OTHER_FILES = 500
PIPE_BYTES = 1 << 20
"""What HAProxy passes on at a time ends in a segment below the MSS, unless more is waiting before it. So it has to be
much: at most what Linux allows (fs.pipe-max-size). An empty pipe holds no memory but its list of pages."""
SPLICE = "    option splice-request\n    option splice-response"
"""From the first byte: splice-auto copies 16 kB at a time until it has seen a few full buffers in a row."""
PR_SET_PDEATHSIG = 1
PROBE_S = 0.3

Listeners = list[tuple[socket.socket, socket.socket]]
"""A pair for each of HAProxy's threads: IPv4 and IPv6."""


@dataclass(frozen=True)
class Haproxy:
    """What HAProxy is told.

    Args:
        directory: for its configuration and its socket.
        http: HTTP mode, which reads requests and answers; else it passes bytes.
        splice: bytes go from socket to socket within the kernel where that is possible.
        threads: of HAProxy, each on a CPU of its own.
        cpus: which, a thread on each; None: from 0 on, if there are several threads.
        connect_s, idle_s: how long a server may take to answer, and a connection may say nothing.
    """

    directory: Path
    http: bool = False
    splice: bool = True
    threads: int = 1
    cpus: tuple[int, ...] | None = None
    connect_s: int = 10
    idle_s: int = 7440

    @property
    def socket(self) -> Path:
        """Where it answers questions."""
        return self.directory / "haproxy.sock"

    @property
    def file(self) -> Path:
        """Its configuration."""
        return self.directory / "haproxy.cfg"

    @property
    def pipes(self) -> int:
        """Pipes for splicing; a connection without one is copied."""
        return self.connections // 2 if self.splice else 0

    @property
    def connections(self) -> int:
        """At a time: two files each, and with splicing half of them a pipe, which is two more."""
        files = file_limit() - OTHER_FILES
        return max(100, files // (3 if self.splice else 2))

    @property
    def cpu_map(self) -> str:
        """A thread on each CPU, where a connection's SYN chooses the thread by its CPU (bpf/proxy_pick.bpf.c)."""
        cpus = self.cpus or (tuple(range(self.threads)) if self.threads > 1 else ())
        if not cpus or not set(cpus) <= os.sched_getaffinity(0):
            return ""
        return f"    cpu-map auto:1/1-{self.threads} {' '.join(map(str, cpus))}"

    def text(self, listeners: Listeners) -> str:
        """The configuration file."""
        mode = "http" if self.http else "tcp"
        four, six = (
            "\n".join(f"    bind fd@{pair[version].fileno()} thread 1/{n}" for n, pair in enumerate(listeners, 1))
            for version in (0, 1)
        )
        # retries 0: another attempt would make a refused client wait for seconds. No "log global" for the proxies:
        # HAProxy would compose a line for each connection, and then not write it.
        return f"""# made by smartwire proxy; changes are lost
global
    maxconn {self.connections}
    nbthread {self.threads}
{self.cpu_map}
{f"    maxpipes {self.pipes}" if self.splice else "    nosplice"}
{f"    tune.pipesize {PIPE_BYTES}" if self.splice else ""}
    stats socket {self.socket} mode 600 level admin
    stats timeout 1h
    log stdout format raw daemon notice
defaults
    mode {mode}
    maxconn {self.connections}
    backlog {BACKLOG}
    retries 0
    timeout connect {self.connect_s}s
    timeout client {self.idle_s}s
    timeout server {self.idle_s}s
{"    timeout http-request 60s" if self.http else ""}
    option clitcpka
    option srvtcpka
{SPLICE if self.splice else ""}
{"    http-reuse never" if self.http else ""}
frontend four
{four}
    default_backend four
frontend six
{six}
    default_backend six
backend four
    source 0.0.0.0 usesrc client interface vs
    server any 0.0.0.0:0
backend six
    source [::] usesrc client interface vs
    server any [::]:0
"""

    def write(self, listeners: Listeners) -> None:
        """Writes the configuration and lets HAProxy check it; raises its complaint."""
        self.file.write_text(self.text(listeners))
        argv = [program(), "-c", "-f", str(self.file)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, pass_fds=files_of(listeners))
        if done.returncode:
            said = [line for line in (done.stderr + done.stdout).splitlines() if "[ALERT]" in line]
            raise Error(f"HAProxy refuses its configuration {self.file}: {said[0] if said else 'it does not say why'}")

    def start(self, command: list[str], log: IO[bytes], listeners: Listeners, old: Process | None = None) -> Process:
        """Starts it in the container (`command` goes before its own) with the listeners that its configuration names;
        `old` takes no more connections then, and finishes what it has."""
        argv = [*command, program(), "-db", "-f", str(self.file)]
        if old:
            argv += ["-sf", str(old.pid)]
        popen = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent,
            pass_fds=files_of(listeners),
        )  # fmt: skip
        process = Process(popen, self.socket)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            if popen.poll() is not None:
                raise Error(f"HAProxy did not start (exit {popen.returncode}); see `smartwire proxy logs`.")
            if process.info().get("Pid") == str(popen.pid):
                return process
            time.sleep(0.02)
        process.kill()
        raise Error("HAProxy did not answer within 10 s of its start; `smartwire proxy logs` shows what it said.")


class Process:
    """A running HAProxy."""

    def __init__(self, popen: subprocess.Popen, path: Path) -> None:
        self.popen, self.path = popen, path

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.popen.pid

    def alive(self) -> bool:
        """True while it runs."""
        return self.popen.poll() is None

    def wait_for_death(self) -> None:
        """Returns when it has died, and leaves it to :meth:`alive` to see how."""
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)

    def ask(self, question: str, seconds: float = PROBE_S) -> str | None:
        """What it answers to a command of its own command line; None: nothing in time."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as client:
            client.settimeout(seconds)
            client.connect(str(self.path))
            client.sendall(question.encode() + b"\n")
            answer = bytearray()
            while some := client.recv(1 << 16):
                answer += some
            return answer.decode(errors="replace")
        return None

    def info(self, seconds: float = PROBE_S) -> dict[str, str]:
        """`show info`; empty: no answer in time."""
        lines = (self.ask("show info", seconds) or "").splitlines()
        return dict(line.split(": ", 1) for line in lines if ": " in line)

    def finish(self) -> None:
        """Takes no more connections; ends when it has none."""
        self.signal(signal.SIGUSR1)

    def kill(self) -> None:
        """Ends it at once."""
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def signal(self, number: int) -> None:
        """Sends a signal."""
        with contextlib.suppress(ProcessLookupError):
            self.popen.send_signal(number)

    def stopped(self) -> bool:
        """True if the process is stopped, as by SIGSTOP or a debugger."""
        with contextlib.suppress(OSError, IndexError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] in "tT"
        return False


def listen(namespace: Path, count: int) -> Listeners:
    """HAProxy's listeners in a container.

    They are the supervisor's, so that they outlive a HAProxy: what came while it died waits for the next one.
    """
    return [(listener(namespace, socket.AF_INET), listener(namespace, socket.AF_INET6)) for _ in range(count)]


def listener(namespace: Path, family: int) -> socket.socket:
    """One of them."""
    made = socket_inside(namespace, family, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET:
        made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    else:
        made.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind(("", PORT))
    made.listen(BACKLOG)
    return made


def refuse(listeners: Listeners) -> int:
    """Resets the connections that wait for a HAProxy; how many."""
    count = 0
    for door in (door for pair in listeners for door in pair):
        with contextlib.suppress(OSError):  # no more, at last
            while True:
                waiting, _ = door.accept()
                waiting.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                waiting.close()
                count += 1
    return count


def close(listeners: Listeners) -> None:
    """Ends them; the kernel resets what waits there."""
    for pair in listeners:
        for door in pair:
            door.close()


def files_of(listeners: Listeners) -> list[int]:
    """For who is to inherit them."""
    return [door.fileno() for pair in listeners for door in pair]


def die_with_parent() -> None:
    """Before exec: the kernel kills the child when its parent is gone."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def file_limit() -> int:
    """Open files that a process may have; raised as far as this one may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = 1 << 20
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def program() -> str:
    """Where HAProxy is; raises a sentence unless there is one that will do."""
    found = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    if found is None:
        raise Error("The proxy needs HAProxy: apt-get install haproxy.")
    said = subprocess.run([found, "-v"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"version (\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < OLDEST:
        have = f"{version[1]}.{version[2]}" if version else "of an unknown version"
        raise Error(f"HAProxy {have} is here and the proxy needs {OLDEST[0]}.{OLDEST[1]} or newer: Debian 12 has 2.6.")
    return found
