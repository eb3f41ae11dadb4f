"""Programs that everybody uses, at both ends of the lab: what a phone does with the servers of :mod:`.servers`.

Each is a function of a Stand and an IP version. It does its work once and raises Wrong unless every byte, every answer
and every exit status is as it would be without anything between the two.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from smartwire.lab.content import slice_at
from smartwire.lab.ends import Connection, join

from .servers import H2C, HTTP, HTTPS, LARGE, RSYNC, SITE, SSH, Stand, ssh_options

PATIENCE_S = 60
IDLE_S = 2.0


class Wrong(Exception):
    """What a program found that should not be."""


@dataclass(frozen=True)
class Program:
    """Something to do, and the packages of the tools that it needs."""

    use: Callable[[Stand, int], None]
    needs: tuple[str, ...] = ()


def sha256(path: Path) -> str:
    """Of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """What each file below a folder holds."""
    return {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file() and ".git/" not in str(p)}


def the_same(what: str, found: object, expected: object) -> None:
    """Compares."""
    if found != expected:
        raise Wrong(f"{what}: {str(found)[:300]} instead of {str(expected)[:300]}")


def do(stand: Stand, *argv: str) -> str:
    """Runs a command on the phone; returns what it printed."""
    done = subprocess.run(stand.lab.command("phone", *argv), capture_output=True, text=True, check=False,
                          timeout=PATIENCE_S, stdin=subprocess.DEVNULL)  # fmt: skip
    if done.returncode:
        raise Wrong(f"{argv[0]} ended with status {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


@contextlib.contextmanager
def place(stand: Stand) -> Iterator[Path]:
    """A folder for one use."""
    with tempfile.TemporaryDirectory(dir=stand.folder) as folder:
        yield Path(folder)


def curl(stand: Stand, *argv: str) -> str:
    """curl that says nothing but what it was asked for."""
    return do(stand, "curl", "-gsSk", "--fail", "--noproxy", "*", *argv)


def gets(stand: Stand, version: int, scheme: str, port: int, *argv: str) -> None:
    """Three files over one connection, that each HTTP version keeps."""
    with place(stand) as folder:
        wanted = ("small", "medium", "large")
        urls = [w for name in wanted for w in ("-o", str(folder / name), f"{stand.url(version, scheme, port)}/{name}")]
        connects = curl(stand, *argv, "-w", "%{num_connects} %{http_version} %{http_code}\\n", *urls).splitlines()
        for name in wanted:
            the_same(name, sha256(folder / name), stand.hashes[name])
        the_same("connections made", sum(int(line.split()[0]) for line in connects), 1)


def http_keep_alive(stand: Stand, version: int) -> None:
    gets(stand, version, "http", HTTP, "--http1.1")


def http2_over_tls(stand: Stand, version: int) -> None:
    gets(stand, version, "https", HTTPS, "--http2")


def http2_without_tls(stand: Stand, version: int) -> None:
    """One file: curl 7.88 of Debian 12 cannot use such a connection again, wire or no wire."""
    with place(stand) as folder:
        url = f"{stand.url(version, 'http', H2C)}/large"
        said = curl(stand, "--http2-prior-knowledge", "-w", "%{http_version}", "-o", f"{folder}/it", url)
        the_same("version", said, "2")
        the_same("large", sha256(folder / "it"), stand.hashes["large"])


def http2_many_streams(stand: Stand, version: int) -> None:
    with place(stand) as folder:
        url = f"{stand.url(version, 'https', HTTPS)}/medium"
        urls = [word for n in range(8) for word in ("-o", str(folder / f"{n}"), url)]
        curl(stand, "--http2", "--parallel", "--parallel-max", "8", *urls)
        the_same("eight streams", {sha256(folder / f"{n}") for n in range(8)}, {stand.hashes["medium"]})


def http_ranges(stand: Stand, version: int) -> None:
    whole, url = (stand.folder / SITE / "large").read_bytes(), f"{stand.url(version, 'http', HTTP)}/large"
    with place(stand) as folder:
        for first, last in ((0, 0), (1, 65_536), (300_001, LARGE - 1)):
            curl(stand, "-r", f"{first}-{last}", "-o", str(folder / "part"), url)
            the_same(f"bytes {first} to {last}", (folder / "part").read_bytes() == whole[first : last + 1], True)


def post(stand: Stand, url: str, *argv: str) -> None:
    """A large body; the server says in which file it kept it."""
    kept = Path(curl(stand, *argv, "-H", "Expect:", "--data-binary", f"@{stand.folder / SITE / 'large'}", url).strip())
    the_same("what was posted", sha256(kept), stand.hashes["large"])
    kept.unlink()


def http_post(stand: Stand, version: int) -> None:
    post(stand, f"{stand.url(version, 'http', HTTP)}/upload", "--http1.1")


def http2_post(stand: Stand, version: int) -> None:
    post(stand, f"{stand.url(version, 'https', HTTPS)}/upload", "--http2")


RACE = "unable to receive control message: Connection reset by peer"
"""At the end iperf3's server may reset its control connection (esnet/iperf issue 499): over a plain bridge without any
wire 5 of 80 uses in both directions ended so. That the wire resets nothing is a test of its own."""
RACE_S = 1.0
"""Until its server has noticed and serves again."""


def iperf3(stand: Stand, version: int, mode: str, *argv: str) -> None:
    """Has no payload to compare, and forgets what is under way in the end: something arrives, and nothing complains."""
    port = str(stand.iperf_port(version, mode))
    argv = ("iperf3", "-J", "-c", stand.lab.server(version), "-p", port, "-n", "1500K", *argv)
    said = json.loads(do(stand, *argv))
    if RACE in said.get("error", ""):
        time.sleep(RACE_S)
        said = json.loads(do(stand, *argv))
    if "error" in said:
        raise Wrong(said["error"])
    for key, total in said["end"].items():
        if key.startswith("sum_received") and not total["bytes"]:
            raise Wrong(f"{key}: no bytes arrived")


def iperf3_up(stand: Stand, version: int) -> None:
    iperf3(stand, version, "up")


def iperf3_down(stand: Stand, version: int) -> None:
    iperf3(stand, version, "down", "-R")


def iperf3_both_ways(stand: Stand, version: int) -> None:
    iperf3(stand, version, "both", "--bidir")


def ssh_one_byte_at_a_time(stand: Stand, version: int) -> None:
    """Somebody types: each byte comes back before the next is sent."""
    cat = ("ssh", *ssh_options(stand.folder), "-p", str(SSH), f"root@{stand.lab.server(version)}", "cat")
    argv = stand.lab.command("phone", "timeout", str(PATIENCE_S), *cat)
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as session:
        assert session.stdin
        assert session.stdout
        for i in range(30):
            session.stdin.write(bytes([i]))
            session.stdin.flush()
            if session.stdout.read(1) != bytes([i]):
                assert session.stderr
                raise Wrong(f"byte {i} did not come back: {session.stderr.read().decode().strip()[-300:]}")
        session.stdin.close()
        the_same("exit status of ssh", session.wait(PATIENCE_S), 0)


def scp_there_and_back(stand: Stand, version: int) -> None:
    with place(stand) as folder:
        remote = f"root@[{stand.lab.server(version)}]:{folder}/there"
        scp = ("scp", "-q", *ssh_options(stand.folder), "-P", str(SSH))
        do(stand, *scp, str(stand.folder / SITE / "large"), remote)
        do(stand, *scp, remote, str(folder / "back"))
        the_same("what came back", sha256(folder / "back"), stand.hashes["large"])


def rsync_from_a_daemon(stand: Stand, version: int) -> None:
    with place(stand) as folder:
        do(stand, "rsync", "-a", f"rsync://{stand.bracketed(version)}:{RSYNC}/lab/", f"{folder}/")
        the_same("the tree", tree(folder), tree(stand.folder / "tree"))


def rsync_over_ssh(stand: Stand, version: int) -> None:
    shell = " ".join(("ssh", *ssh_options(stand.folder), "-p", str(SSH)))
    with place(stand) as folder:
        do(stand, "rsync", "-a", "-e", shell, f"{stand.folder}/tree/", f"root@[{stand.lab.server(version)}]:{folder}/")
        the_same("the tree", tree(folder), tree(stand.folder / "tree"))


def git_clone_over_http(stand: Stand, version: int) -> None:
    with place(stand) as folder:
        copy = folder / "copy"
        do(stand, "git", "-c", "http.proxy=", "clone", "-q", f"{stand.url(version, 'http', HTTP)}/tree.git", str(copy))
        do(stand, "git", "-C", str(copy), "fsck", "--strict")
        the_same("the working tree", tree(copy), tree(stand.folder / "tree"))


def half_closed(stand: Stand, version: int, first: str) -> None:
    """One end says what it has to say and closes; the other has heard the end of it before it says anything."""
    other = "server" if first == "phone" else "phone"
    ends = join(stand.lab, version)
    connection = Connection(ends, {first: 200_000, other: 1_000_000})
    with ThreadPoolExecutor(2) as pool:
        for speaker, listener in ((first, other), (other, first)):
            said = connection.begin(pool, connection.send, speaker)
            connection.begin(pool, connection.receive, listener).result()
            said.result()
    connection.close()
    the_same("problems", connection.problems, [])


def half_closed_by_the_client(stand: Stand, version: int) -> None:
    half_closed(stand, version, "phone")


def half_closed_by_the_server(stand: Stand, version: int) -> None:
    half_closed(stand, version, "server")


def tell(ends: dict, speaker: str, listener: str, size: int) -> None:
    """A message that must arrive."""
    message = bytes(slice_at(3, 0, size))
    ends[speaker].sendall(message)
    got = bytearray()
    while len(got) < size and (data := ends[listener].recv(size - len(got))):
        got += data
    the_same(f"{size} bytes from the {speaker}", bytes(got) == message, True)


def idle_and_resumed(stand: Stand, version: int, idle_s: float = IDLE_S) -> None:
    """As a web socket: some words, a long silence, and then either end speaks first."""
    ends = join(stand.lab, version)
    for waker, other in (("server", "phone"), ("phone", "server")):
        for _ in range(5):
            tell(ends, "phone", "server", 100)
            tell(ends, "server", "phone", 1_000)
        time.sleep(idle_s)
        tell(ends, waker, other, 40_000)
        tell(ends, other, waker, 10)
    for sock in ends.values():
        sock.close()


PROGRAMS = {
    "curl and nginx, HTTP/1.1 kept alive": Program(http_keep_alive, ("curl", "nginx")),
    "curl and nginx, ranges": Program(http_ranges, ("curl", "nginx")),
    "curl and nginx, POST": Program(http_post, ("curl", "nginx")),
    "curl and nginx, HTTP/2 over TLS": Program(http2_over_tls, ("curl", "nginx", "openssl")),
    "curl and nginx, HTTP/2 over TLS, eight at once": Program(http2_many_streams, ("curl", "nginx", "openssl")),
    "curl and nginx, HTTP/2 over TLS, POST": Program(http2_post, ("curl", "nginx", "openssl")),
    "curl and nginx, HTTP/2 without TLS": Program(http2_without_tls, ("curl", "nginx")),
    "iperf3, up": Program(iperf3_up, ("iperf3",)),
    "iperf3, down": Program(iperf3_down, ("iperf3",)),
    "iperf3, both ways": Program(iperf3_both_ways, ("iperf3",)),
    "ssh, a byte at a time": Program(ssh_one_byte_at_a_time, ("ssh", "sshd")),
    "scp there and back": Program(scp_there_and_back, ("ssh", "sshd")),
    "rsync from a daemon": Program(rsync_from_a_daemon, ("rsync",)),
    "rsync over ssh": Program(rsync_over_ssh, ("rsync", "ssh", "sshd")),
    "git clone over HTTP": Program(git_clone_over_http, ("git", "nginx")),
    "half closed by the client": Program(half_closed_by_the_client),
    "half closed by the server": Program(half_closed_by_the_server),
    "idle and resumed": Program(idle_and_resumed),
}

PACKAGES = {"curl": "curl", "nginx": "nginx-light", "openssl": "openssl", "iperf3": "iperf3", "ssh": "openssh-client",
            "sshd": "openssh-server", "rsync": "rsync", "git": "git"}  # fmt: skip


def missing(tools: tuple[str, ...]) -> list[str]:
    """Packages of the tools that are not there."""
    return [PACKAGES[tool] for tool in tools if shutil.which(tool) is None]
