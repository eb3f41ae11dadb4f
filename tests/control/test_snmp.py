"""SNMP: SMARTWIRE-MIB judged by smilint, read through Debian's snmpd, and traps received by Debian's snmptrapd."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from io import StringIO
from pathlib import Path

import pytest
from smartwire.alarms import journal
from smartwire.alarms.evaluate import Alarm, Change
from smartwire.counters.sources import Wires
from smartwire.errors import Error
from smartwire.north import PEN
from smartwire.north import snmp as north
from smartwire.north.snmp import Agent, date_and_time, number, objects, text
from smartwire.north.traps import Target, Traps

from .conftest import PageWire

ROOT = Path(__file__).resolve().parents[2]
MIB = ROOT / "python/smartwire/share/mibs/SMARTWIRE-MIB.txt"
MIBS = f"{ROOT}/python/smartwire/share/mibs:{Path(__file__).parent}/mibs"
USER, AUTH, PRIV = "watcher", "authentication secret", "privacy secret"
BASE = f".1.3.6.1.4.1.{PEN}.1"


def installed(*tools: str) -> pytest.MarkDecorator:
    missing = [t for t in tools if not shutil.which(t, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")]
    return pytest.mark.skipif(
        bool(missing), reason=f"not installed: {' '.join(missing)} (apt: snmpd snmp snmptrapd smitools)"
    )


# ---- the MIB --------------------------------------------------------------------------------------------------------


@installed("smilint")
def test_smilint_finds_nothing_to_say(tmp_path):
    env = os.environ | {"SMIPATH": MIBS}
    done = subprocess.run(["smilint", "-l", "6", "-s", MIB], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    wrong = tmp_path / "SMARTWIRE-MIB"
    wrong.write_text(MIB.read_text().replace("INDEX       { swWireName }", "INDEX       { swWireNome }", 1))
    done = subprocess.run(["smilint", "-l", "6", "-s", wrong], env=env, capture_output=True, text=True)
    assert "swWireNome" in done.stdout + done.stderr


def test_the_placeholder_number_is_the_same_in_the_mib_and_in_the_code():
    found = re.findall(r"enterprises \w+\((\d+)\)", MIB.read_text())
    assert found == [str(PEN)]
    assert "PLACEHOLDER" in MIB.read_text()


def test_the_agent_answers_for_each_column_that_the_mib_has_and_no_other(page_wire):
    column = r"^(sw\w+) OBJECT-TYPE\n    SYNTAX (?:(?!OBJECT-TYPE).)*?MAX-ACCESS\s+(\S+)(?:(?!OBJECT-TYPE).)*?"
    column += r"::= \{ (sw(?:Wire|Port|Reason|Alarm|Match|Worker)Entry) (\d+) \}"
    entries = re.findall(column, MIB.read_text(), re.S | re.M)
    tables = {"swWireEntry": 10, "swPortEntry": 11, "swReasonEntry": 12, "swAlarmEntry": 13}
    tables |= {"swMatchEntry": 14, "swWorkerEntry": 15}
    page_wire.decide({"web": 5}, {"gold": 2})
    promised = {(tables[entry], int(column)) for _, access, entry, column in entries if access == "read-only"}
    assert len(promised) == 16 + 8 + 1 + 7 + 2 + 5
    found = objects(Agent().look(), journal.Active((an_alarm(),), 0.0), time.time())
    prefix = len(north.OBJECTS)
    assert {(oid[prefix], oid[prefix + 2]) for oid in found if len(oid) > prefix + 2} == promised


def an_alarm(cleared: float | None = None) -> Alarm:
    text, remedy = "The core port eth2 has no carrier.", "Check the cable."
    return Alarm(17, "port-down", "wire/w/port/core", "critical", text, remedy, 1_764_028_800.5, cleared)


# ---- the agent, without snmpd ---------------------------------------------------------------------------------------


def talk(agent: Agent, *lines: str) -> list[str]:
    out = StringIO()
    agent.answer(iter([line + "\n" for line in lines]), out)
    return out.getvalue().splitlines()


def test_it_speaks_pass_persist(page_wire):
    agent = Agent()
    assert talk(agent, "PING") == ["PONG"]
    assert talk(agent, "get", f"{BASE}.1.10.1.7.1.119") == [f"{BASE}.1.10.1.7.1.119", "gauge", "3"]
    assert talk(agent, "getnext", f"{BASE}.1.10.1.7")[0] == f"{BASE}.1.10.1.7.1.119"
    assert talk(agent, "getnext", f"{BASE}.1.16") == ["NONE"]
    assert talk(agent, "get", f"{BASE}.1.10.1.7") == ["NONE"]
    assert talk(agent, "set", f"{BASE}.1.1.0", "integer 5", "PING") == ["not-writable", "PONG"]


@pytest.mark.parametrize("line", ["", ".", "1..3", "x", "1.3.6.1.4.1.99999999999999999999", ".-1", "\x00"])
def test_what_is_no_identifier_has_no_answer_and_does_no_harm(page_wire, line):
    agent = Agent()
    for verb in ("get", "getnext", "garbage"):
        answered = talk(agent, verb, line)
        assert not answered or answered[0] in ("NONE", "PONG") or answered[0].startswith(".")
    assert talk(agent, "PING") == ["PONG"]


def test_a_walk_visits_every_object_once_in_order(page_wire):
    agent = Agent()
    at, seen = north.ROOT, []
    while found := agent.get_next(at):
        at = found[0]
        seen.append(at)
    assert seen == sorted(seen)
    assert len(seen) == len(agent.values) > 30


def test_it_reads_anew_every_two_seconds(page_wire):
    now = [0.0]
    agent = Agent(steady=lambda: now[0])
    flows = (*north.WIRES, 7, 1, ord("w"))
    assert agent.get(flows) == (flows, ("gauge", "3"))
    page_wire.publish(flows=5)
    assert agent.get(flows) == (flows, ("gauge", "3"))
    now[0] = 2.0
    assert agent.get(flows) == (flows, ("gauge", "5"))


def test_a_wire_that_hangs_is_silent_and_has_no_numbers(page_wire):
    page_wire.publish(age_s=60)
    found = objects(Agent().look(), journal.Active((), None), time.time())
    assert found[(*north.WIRES, 4, 1, ord("w"))] == ("integer", "2")
    assert not any(oid[: len(north.PORTS)] == north.PORTS for oid in found)


def test_alarms_that_cannot_be_read_do_not_end_the_agent(page_wire, run_dir):
    (run_dir / "alarms.json").write_text("{")
    assert Agent().get((*north.OBJECTS, 2, 0)) == ((*north.OBJECTS, 2, 0), ("gauge", "0"))


def test_values_keep_to_their_types():
    assert number("gauge", 2**40) == ("gauge", str(2**32 - 1))
    assert number("counter64", 2**64 + 5) == ("counter64", "5")
    assert text("two\nlines")[1] == "two lines"
    assert len(text("ü" * 300)[1].encode()) <= 255
    assert date_and_time(1_764_028_800.5) == ("octet", "07 e9 0b 19 00 00 00 05 2b 00 00")


# ---- behind snmpd ---------------------------------------------------------------------------------------------------


def free_udp() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def snmpd(run_dir, tmp_path):
    """Debian's snmpd on a port of loopback, with our agent behind it, a v2c community and a v3 user."""
    port = free_udp()
    conf = tmp_path / "snmpd.conf"
    conf.write_text(
        f"agentaddress udp:127.0.0.1:{port}\n"
        f'createUser {USER} SHA "{AUTH}" AES "{PRIV}"\n'
        f"rouser {USER} priv .1\nrocommunity public 127.0.0.1 .1\n"
        + north.snmpd_lines(f"{sys.executable} -m smartwire export snmp")
    )
    env = os.environ | {"SNMP_PERSISTENT_DIR": str(tmp_path / "snmp"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    log = (tmp_path / "snmpd.log").open("w")
    command = ["snmpd", "-f", "-C", "-c", conf, "-Lo", "-I", "-smux", "-p", tmp_path / "pid"]
    with subprocess.Popen(command, env=env, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + 60
            while not get(port, f"{BASE}.1.1.0") and time.monotonic() < end:
                time.sleep(0.05)
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)


V2C = ["-v2c", "-c", "public"]
V3 = ["-v3", "-u", USER, "-l", "authPriv", "-a", "SHA", "-A", AUTH, "-x", "AES", "-X", PRIV]


def snmp(tool: str, port: int, oid: str, credentials=V2C, names=False) -> subprocess.CompletedProcess:
    shown = ["-M", MIBS, "-m", "SMARTWIRE-MIB", "-OQ"] if names else ["-m", "", "-On"]
    argv = [tool, *credentials, *shown, "-t", "5", f"127.0.0.1:{port}", oid]
    return subprocess.run(argv, capture_output=True, text=True)


def get(port: int, oid: str) -> bool:
    argv = ["snmpget", *V2C, "-m", "", "-t", "0.3", "-r", "0", f"127.0.0.1:{port}", oid]
    return "STRING" in subprocess.run(argv, capture_output=True, text=True).stdout


@installed("snmpd", "snmpwalk")
@pytest.mark.parametrize("credentials", [V2C, V3], ids=["v2c", "v3 authPriv"])
def test_snmpwalk_reads_wires_ports_reasons_and_alarms_by_their_names(page_wire, snmpd, credentials):
    journal.publish([an_alarm()], time.time())
    page_wire.publish(**{"custody_bytes": 2**40, "port1.up": 0, "refused.mid-stream": 2**33})
    page_wire.publish(**{"worker1.frames_in": 9})
    page_wire.decide({"web": 5, "rest": 6}, {"gold": 2})
    Wires()()  # as the collector does: snmpd's agent may not ask the wire

    def walk() -> str:
        page_wire.publish()  # it must look alive
        return snmp("snmpwalk", snmpd, "smartwireMIB", credentials, names=True).stdout

    expected = (
        'SMARTWIRE-MIB::swWireCustodyBytes."w" = 1099511627776 bytes',
        'SMARTWIRE-MIB::swWireState."w" = alive',
        'SMARTWIRE-MIB::swPortInterface."w"."core" = eth2',
        'SMARTWIRE-MIB::swPortState."w"."core" = down',
        'SMARTWIRE-MIB::swReasonConnections."w".refused."mid-stream" = 8589934592 connections',
        'SMARTWIRE-MIB::swMatchName."w".policy.2 = rest',
        'SMARTWIRE-MIB::swMatchConnections."w".policy.2 = 6 connections',
        'SMARTWIRE-MIB::swMatchConnections."w".class.1 = 2 connections',
        'SMARTWIRE-MIB::swWorkerFramesIn."w".2 = 9 frames',
        "SMARTWIRE-MIB::swAlarmName.17 = port-down",
        "SMARTWIRE-MIB::swAlarmSeverity.17 = critical",
        "SMARTWIRE-MIB::swAlarmRaised.17 = 2025-11-25,0:0:0.5,+0:0",
        "SMARTWIRE-MIB::swAlarmAcknowledged.17 = false",
    )
    wait_for(lambda: all(line in walk() for line in expected))  # the agent reads anew every two seconds
    out = walk()
    assert [line for line in expected if line not in out] == [], out


@installed("snmpd", "snmpget")
def test_a_wrong_community_and_a_wrong_password_read_nothing(page_wire, snmpd):
    wrong = [*V3[:-1], "another secret"]
    for credentials in (["-v2c", "-c", "guess"], wrong):
        argv = ["snmpget", *credentials, "-t", "0.5", "-r", "0", f"127.0.0.1:{snmpd}", f"{BASE}.1.1.0"]
        assert subprocess.run(argv, capture_output=True).returncode != 0


@installed("snmpd", "snmpset")
def test_nothing_can_be_set(page_wire, snmpd):
    argv = ["snmpset", *V2C, "-m", "", f"127.0.0.1:{snmpd}", f"{BASE}.1.1.0", "s", "x"]
    assert subprocess.run(argv, capture_output=True).returncode != 0


@installed("snmpd", "snmpbulkwalk")
def test_a_bulk_walk_of_2000_rows_gets_them_all(snmpd, run_dir):
    reasons = {f"refused.reason-{k:02}": k for k in range(40)}
    wires = []
    for k in range(50):
        wires.append(wire := PageWire(run_dir, f"wire{k:02}"))
        wire.values = {"flows": 1} | reasons
        wire.publish()
    stop = time.monotonic() + 60
    took, rows = 0.0, []
    while len(rows) != 2000 and time.monotonic() < stop:
        for wire in wires:
            wire.publish()
        began = time.monotonic()
        rows = snmp("snmpbulkwalk", snmpd, f"{BASE}.1.12").stdout.splitlines()
        took = time.monotonic() - began
    print(f"\na bulk walk of {len(rows)} rows: {took:.2f} s")
    assert len(rows) == len(set(rows)) == 2000
    assert all("Counter64" in row for row in rows)
    for wire in wires:
        wire.die()


# ---- traps ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def snmptrapd(tmp_path):
    """Debian's snmptrapd on a port of loopback; returns (port, file of what it received)."""
    port, log = free_udp(), tmp_path / "traps"
    engine = north_engine()
    conf = tmp_path / "snmptrapd.conf"
    conf.write_text(
        "authCommunity log public\n"
        f'createUser -e {engine} {USER} SHA "{AUTH}" AES "{PRIV}"\n'
        f'createUser {USER} SHA "{AUTH}" AES "{PRIV}"\n'
        f"authUser log {USER} priv\n"
        "format2 %V|%v\\n\n"
    )
    env = os.environ | {"SNMP_PERSISTENT_DIR": str(tmp_path / "snmptrapd"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    command = ["snmptrapd", "-f", "-C", "-c", conf, "-Lf", log, "-M", MIBS, "-m", "SMARTWIRE-MIB", "-OQ",
               "-p", tmp_path / "trap.pid", f"udp:127.0.0.1:{port}"]  # fmt: skip
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: log.exists() and "NET-SNMP version" in log.read_text())
            yield port, log
        finally:
            process.terminate()
            process.wait(timeout=60)


def north_engine() -> str:
    from smartwire.north.traps import engine_id

    return engine_id(os.uname().nodename)


def wait_for(what, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not (done := what()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(done)


@installed("snmptrapd", "snmptrap")
@pytest.mark.parametrize(
    "target",
    [
        Target("127.0.0.1"),
        Target("127.0.0.1", inform=True),
        Target("127.0.0.1", user=USER, authentication=AUTH, privacy=PRIV),
    ],
    ids=["v2c trap", "v2c inform", "v3 authPriv trap"],
)
def test_snmptrapd_receives_an_alarm_raised_and_cleared(snmptrapd, tmp_path, target):
    port, log = snmptrapd
    said: list[str] = []
    target = Target(**vars(target) | {"port": port})
    traps = Traps(target, tmp_path / "state", said.append)
    traps.tell(Change(an_alarm(), "The core port eth2 has no carrier."))
    traps.tell(Change(an_alarm(cleared=2.0), "The core port eth2 has a carrier."))
    assert wait_for(lambda: "swAlarmClear" in log.read_text()), log.read_text() + str(said)
    traps.close()
    raised, cleared = [line for line in log.read_text().splitlines() if "swAlarm" in line]
    for part in ("swAlarmRaise", "swAlarmName.17 = port-down", "swAlarmObject.17 = wire/w/port/core",
                 "swAlarmSeverity.17 = critical", "swAlarmText.17 = The core port eth2 has no carrier.",
                 "swAlarmRemedy.17 = Check the cable."):  # fmt: skip
        assert part in raised
    assert "swAlarmSeverity.17 = cleared" in cleared
    assert "has a carrier" in cleared
    assert said == []


@installed("snmptrap")
def test_secrets_are_in_no_command_line_and_in_no_file_that_others_can_read(tmp_path):
    traps = Traps(Target("127.0.0.1", 9, user=USER, authentication=AUTH, privacy=PRIV), tmp_path)
    conf = Path(traps.secret.name) / "snmp.conf"
    assert AUTH in conf.read_text()
    assert (conf.stat().st_mode & 0o077, conf.parent.stat().st_mode & 0o077) == (0, 0)
    traps.close()
    assert not conf.exists()
    assert "secret" not in " ".join(north_varbinds())
    with pytest.raises(Error, match="quote"):
        Target("127.0.0.1", community='a"b').configuration()


def north_varbinds() -> list[str]:
    from smartwire.north.traps import varbinds

    return varbinds(Change(an_alarm(), "x"))


@installed("snmptrap")
def test_a_receiver_that_does_not_answer_is_said_once_and_costs_nothing(tmp_path, monkeypatch):
    from smartwire.north import traps as module

    monkeypatch.setattr(module, "TIMEOUT_S", 0.3)
    said: list[str] = []
    traps = Traps(Target("127.0.0.1", free_udp(), inform=True), tmp_path, said.append)
    for _ in range(3):
        traps.tell(Change(an_alarm(), "x"))
    assert wait_for(lambda: traps.dropped == 3)
    assert len(said) == 1
    assert "do not reach 127.0.0.1" in said[0]
    traps.close()


def test_without_snmptrap_the_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Error, match="apt-get install snmp"):
        Traps(Target("127.0.0.1"), tmp_path)
