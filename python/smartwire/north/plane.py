"""Protocols as a plane of smartwired: syslog servers, trap receivers, Prometheus and snmpd follow the configuration."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from smartwire import processes
from smartwire.alarms.watch import Sink
from smartwire.config.plane import Setup
from smartwire.config.schema import Problem
from smartwire.errors import Error
from smartwire.north import snmp
from smartwire.north.front import Front
from smartwire.north.syslog import ERROR, INFO, NOTICE, PORTS, WARNING, Message, Sender, Server
from smartwire.north.traps import Target, Traps, quoted
from smartwire.privileges import open_to_all

LEAST = {"error": ERROR, "warning": WARNING, "notice": NOTICE, "info": INFO}
SNMP_PORT = 161
SNMP_USER = "Debian-snmp"
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Wanted:
    """What the configuration asks for.

    Attributes:
        syslog: servers.
        traps: receivers.
        metrics: addresses and port that Prometheus asks; None if it is off.
        allowed: prefixes of those who may.
        snmpd: text of snmpd.conf; None if SNMP is off.
        namespace: network namespace of the management interface; None for the box's own.
    """

    syslog: tuple[Server, ...] = ()
    traps: tuple[Target, ...] = ()
    metrics: tuple[tuple[str, ...], int] | None = None
    allowed: tuple[str, ...] = ()
    snmpd: str | None = None
    namespace: str | None = None


def wanted(setup: Setup, snmp_port: int = SNMP_PORT) -> Wanted:
    """What a setup asks for.

    Raises:
        Error: the management interface has no address.
    """
    config = setup.config
    on = {name: config.value(("protocols", name, "enabled")) for name in ("prometheus", "snmp")}
    allowed = tuple(config.get(("system", "management", "allowed-prefix"), ()))
    namespace = config.get(("system", "management", "namespace"))
    interface = config.value(("system", "management", "interface"))
    hosts = addresses(interface, namespace) if any(on.values()) else ()
    return Wanted(
        tuple(syslog_server(setup, name) for name in config.get(("system", "syslog"), {})),
        tuple(trap_target(setup, name) for name in config.get(("protocols", "snmp", "trap-target"), {})),
        (hosts, config.value(("protocols", "prometheus", "port"))) if on["prometheus"] else None,
        allowed,
        snmpd_conf(setup, hosts, snmp_port, allowed) if on["snmp"] else None,
        namespace,
    )


def syslog_server(setup: Setup, name: str) -> Server:
    """One entry of `system syslog`."""
    own = setup.config.get(("system", "syslog", name))
    transport = setup.config.value(("system", "syslog", name, "transport"))
    least = LEAST[setup.config.value(("system", "syslog", name, "severity"))]
    ca_file = own.get("ca-file")
    return Server(transport, name, own.get("port") or PORTS[transport], least, Path(ca_file) if ca_file else None)


def trap_target(setup: Setup, name: str) -> Target:
    """One entry of `protocols snmp trap-target`."""
    own = setup.config.get(("protocols", "snmp", "trap-target", name))
    return Target(name, own.get("port") or 162, own.get("community") or "public")


def snmpd_conf(setup: Setup, hosts: tuple[str, ...], port: int, allowed: tuple[str, ...]) -> str:
    """The configuration of our own snmpd."""
    config = setup.config
    listen = ",".join(f"udp6:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}" for host in hosts)
    lines = [f"agentaddress {listen}", "dontLogTCPWrappersConnects yes"]
    if contact := config.get(("protocols", "snmp", "contact")):
        lines.append(f"sysContact {' '.join(contact.split())}")
    for entry in config.get(("protocols", "snmp", "community"), {}).values():
        for source in entry.get("client") or allowed or ("default", "::/0"):
            word = "rocommunity6" if ":" in source else "rocommunity"
            lines.append(f"{word} {entry['community']} {source} .1")
    for name, entry in config.get(("protocols", "snmp", "user"), {}).items():
        privacy = entry.get("privacy-password")
        private = f" AES {quoted(privacy)}" if privacy else ""
        lines.append(f"createUser {name} SHA {quoted(entry['authentication-password'])}{private}")
        lines.append(f"rouser {name} {'priv' if privacy else 'auth'} .1")
    return "\n".join(lines) + "\n" + snmp.snmpd_lines(f"{sys.executable} -m smartwire export snmp")


def addresses(interface: str, namespace: str | None = None) -> tuple[str, ...]:
    """The addresses of an interface that others can reach, IPv4 first.

    Args:
        interface: its name.
        namespace: the network namespace that it is in; None for the box's own.

    Raises:
        Error: there is none, or no such interface or namespace.
    """
    inside = ["-netns", namespace] if namespace else []
    done = subprocess.run(
        ["ip", *inside, "-json", "address", "show", "dev", interface], capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout) if done.returncode == 0 and done.stdout.strip() else []
    known = [a for link in found for a in link.get("addr_info", []) if a.get("scope") in ("global", "host")]
    hosts = tuple(a["local"] for a in sorted(known, key=lambda a: a["family"]))
    if not hosts:
        raise Error(f"The management interface {interface} has no address: give it one, or name another.")
    return hosts


class NorthPlane:
    """Serves and tells as configured.

    Args:
        say: takes sentences for the log.
        state: a directory that is kept over restarts.
        snmp_port: where snmpd answers.
    """

    name = "protocols"

    def __init__(self, say: Callable[[str], None], state: Path, snmp_port: int = SNMP_PORT) -> None:
        self.say, self.state, self.snmp_port = say, state, snmp_port
        self.now = Wanted()
        self.sinks: list[Sink] = []
        """Whoever is told of alarms; the watcher has the same list."""
        self.told: dict[Server | Target, Sender | Traps] = {}
        self.front: Front | None = None
        """Serves Prometheus."""
        self.snmpd: subprocess.Popen[bytes] | None = None

    def check(self, setup: Setup) -> list[Problem]:
        """Tools that are missing, addresses that are not there, passwords that snmpd cannot be given."""
        found = []
        base = ("protocols", "snmp")
        try:
            asked = wanted(setup, self.snmp_port)
        except Error as e:
            return [Problem(("protocols",), str(e))]
        if asked.snmpd is not None and not shutil.which("snmpd", path=PATH):
            found.append(Problem((*base, "enabled"), "snmpd is not installed: apt-get install snmpd."))
        if asked.traps and not shutil.which("snmptrap", path=PATH):
            found.append(Problem((*base, "trap-target"), "snmptrap is not installed: apt-get install snmp."))
        return found

    def differences(self, setup: Setup) -> list[str]:
        """What is not served or told as configured; an snmpd that has ended."""
        if self.now != wanted(setup, self.snmp_port):
            return ["protocols are not as configured."]
        if self.snmpd and self.snmpd.poll() is not None:
            self.snmpd, self.now = None, replace(self.now, snmpd=None)
            return ["snmpd has ended."]
        if self.front and not self.front.alive:
            self.front.close()
            self.front, self.now = None, replace(self.now, metrics=None)
            return ["the process that serves metrics has ended."]
        return []

    def apply(self, setup: Setup) -> list[str]:
        """Makes servers, receivers and listeners those of the setup; what stays the same is not interrupted."""
        asked = wanted(setup, self.snmp_port)
        done = []
        self.tell_those((*asked.syslog, *asked.traps))
        moved = asked.namespace != self.now.namespace
        if moved or (asked.metrics, asked.allowed) != (self.now.metrics, self.now.allowed):
            self.serve_metrics(asked)
            hosts, port = asked.metrics or ((), 0)
            done.append(f"metrics are served on {' '.join(hosts)} port {port}." if hosts else "metrics are not served.")
        if asked.snmpd != self.now.snmpd or (moved and asked.snmpd):
            self.run_snmpd(asked.snmpd, asked.namespace)
            done.append("snmpd answers as configured." if asked.snmpd else "snmpd does not answer any more.")
        self.now = asked
        return done

    def tell_those(self, those: tuple[Server | Target, ...]) -> None:
        """Tells exactly these of alarms."""
        for one in set(self.told) - set(those):
            self.told.pop(one).close()
        for one in those:
            if one not in self.told:
                directory = self.state / "snmp"
                self.told[one] = Sender(one, self.say) if isinstance(one, Server) else Traps(one, directory, self.say)
        self.sinks[:] = self.told.values()

    def serve_metrics(self, asked: Wanted) -> None:
        """Serves Prometheus as asked, and nowhere else."""
        if self.front:
            self.front.close()
        self.front = Front(*asked.metrics, asked.allowed, asked.namespace) if asked.metrics else None

    def run_snmpd(self, conf: str | None, namespace: str | None = None) -> None:
        """Runs our own snmpd with this configuration, or none."""
        if self.snmpd:
            processes.end(self.snmpd)
            self.snmpd = None
        if conf is None:
            return
        place = self.state / "snmpd"
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = place / "snmpd.conf"
        file.unlink(missing_ok=True)
        file.touch(mode=0o600)
        file.write_text(conf)
        tool = shutil.which("snmpd", path=PATH)
        if not tool:
            raise Error("snmpd is not installed: apt-get install snmpd.")
        log = place / "log"
        log.unlink(missing_ok=True)
        inside = ["ip", "netns", "exec", namespace] if namespace else []
        command = [*inside, tool, "-f", "-C", "-c", str(file), "-Lf", str(log), "-I", "-smux", *self.snmp_user(place)]
        env = os.environ | {"SNMP_PERSISTENT_DIR": str(place), "MIBS": ""}
        self.snmpd = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL)
        self.await_snmpd(log)

    def await_snmpd(self, log: Path) -> None:
        """Waits until snmpd says that it answers, or for five seconds.

        Raises:
            Error: it ended instead.
        """
        assert self.snmpd
        for _ in range(100):
            said = log.read_text(errors="replace") if log.exists() else ""
            if "NET-SNMP version" in said:
                return
            if self.snmpd.poll() is not None:
                self.snmpd = None
                why = next((line for line in said.splitlines() if "rror" in line), "it did not say why").strip()
                raise Error(f"snmpd ended at once ({why}): if the system's own runs, `systemctl disable --now snmpd`.")
            time.sleep(0.05)

    def snmp_user(self, place: Path) -> list[str]:
        """As whom snmpd serves: nobody with rights, where that user exists and can run our side."""
        with contextlib.suppress(KeyError, PermissionError):
            user = pwd.getpwnam(SNMP_USER)
            if os.geteuid() == 0 and open_to_all(Path(sys.executable)) and open_to_all(self.state):
                os.chown(place, user.pw_uid, user.pw_gid)
                return ["-u", SNMP_USER, "-g", str(user.pw_gid)]
        return []

    def log(self, sentence: str) -> None:
        """Something happened that syslog servers are told of."""
        for one in list(self.told.values()):
            if isinstance(one, Sender):
                one.send(Message(NOTICE, "EVENT", sentence))

    def close(self) -> None:
        """Ends everything."""
        self.tell_those(())
        self.serve_metrics(Wanted())
        self.run_snmpd(None)
        self.now = Wanted()
