"""Every bad input is answered with one sentence that names the fix, and the right exit status."""

from __future__ import annotations

import os

import pytest
from smartwire.wire import ports


@pytest.fixture
def two_ports(monkeypatch):
    """A root user's machine with eth1 and eth2."""
    monkeypatch.setattr(ports, "interfaces", lambda: ["eth1", "eth2", "lo"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def one_sentence(err: str) -> bool:
    return err.startswith("smartwire: ") and err.count("\n") == 1 and "Traceback" not in err


def test_a_missing_interface_is_named_with_those_that_exist(smartwire, two_ports):
    done = smartwire("run", "eth1", "eth9")
    assert done.status == 3
    assert one_sentence(done.err)
    assert "no interface eth9" in done.err
    assert "eth1, eth2" in done.err


def test_the_same_interface_twice_is_a_usage_error(smartwire, two_ports):
    done = smartwire("run", "eth1", "eth1")
    assert done.status == 2
    assert one_sentence(done.err)
    assert "eth1 is named twice" in done.err


def test_loopback_cannot_be_a_port(smartwire, two_ports):
    assert "lo cannot be part" in smartwire("run", "lo", "eth1").err


@pytest.mark.parametrize("command", ["run", "unwire"])
def test_without_root_it_says_sudo(smartwire, two_ports, monkeypatch, command):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = smartwire(command, "eth1", "eth2")
    assert done.status == 1
    assert one_sentence(done.err)
    assert "sudo" in done.err


def test_an_old_kernel_is_refused_with_what_is_needed(smartwire, two_ports, monkeypatch):
    real = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result([real[0], real[1], "5.10.0-8-amd64", real[3], real[4]]))
    done = smartwire("run", "eth1", "eth2")
    assert done.status == 1
    assert "5.10.0-8-amd64 is too old" in done.err
    assert "6.1" in done.err


def test_what_the_core_says_is_the_message(smartwire, two_ports, native):
    sentence = "eth1 has TSO on: switch it off with `ethtool -K eth1 tso off`."

    def refuse(*args, **kwargs):
        from smartwire import Error

        raise Error(sentence)

    native.Wire = refuse
    done = smartwire("run", "eth1", "eth2")
    assert (done.status, done.err) == (1, f"smartwire: {sentence}\n")


def test_a_failed_start_leaves_no_run_directory(smartwire, two_ports, native, tmp_path):
    native.Wire = lambda *a, **k: (_ for _ in ()).throw(__import__("smartwire").Error("no memory for frames"))
    smartwire("run", "eth1", "eth2", "--name", "n")
    assert not (tmp_path / "run" / "n").exists()


def test_a_pair_that_is_already_a_wire_is_refused(smartwire, two_ports, wire):
    done = smartwire("run", "eth2", "eth1", "--name", "other")
    assert done.status == 1
    assert "already a wire (w, pid" in done.err


def test_unwire_refuses_while_a_wire_runs(smartwire, two_ports, wire):
    assert "already a wire" in smartwire("unwire", "eth1", "eth2").err


def test_a_name_in_use_is_refused(smartwire, monkeypatch, wire):
    monkeypatch.setattr(ports, "interfaces", lambda: ["eth3", "eth4"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "called w is already running" in smartwire("run", "eth3", "eth4", "--name", "w").err


@pytest.mark.parametrize("command", ["status", "flows", "subscribers", "events", "drain", "bypass", "resume"])
def test_with_no_wire_running_it_says_how_to_start_one(smartwire, command):
    done = smartwire(command)
    assert done.status == 3
    assert one_sentence(done.err)
    assert "smartwire run ACCESS CORE" in done.err


def test_an_unknown_wire_is_answered_with_those_that_run(smartwire, wire):
    done = smartwire("status", "--name", "x")
    assert done.status == 3
    assert "running: w" in done.err


UNREADABLE = ["10.0.0", "10.0.0.7:1-192.0.2.1", "10.0.0.7:1-[2001:db8::1]:2", "1.2.3.4:70000-1.1.1.1:1"]


@pytest.mark.parametrize("target", UNREADABLE)
def test_a_target_that_cannot_be_read_is_explained(smartwire, wire, target):
    done = smartwire("drain", target)
    assert done.status == 2
    assert one_sentence(done.err)
    assert "10.0.0.7:40000-192.0.2.1:443" in done.err


def test_a_target_that_matches_nothing_exits_3(smartwire, wire):
    done = smartwire("drain", "10.9.9.9")
    assert done.status == 3
    assert "matches" in done.err


def test_a_bad_time_is_explained(smartwire, wire):
    done = smartwire("drain", "--limit", "soon")
    assert done.status == 2
    assert "500ms, 90s, 5m or 2h" in done.err


def test_a_misspelt_command_is_answered_with_the_likely_one(smartwire):
    done = smartwire("staus")
    assert done.status == 2
    assert "did you mean 'status'?" in done.err


def test_an_internal_error_is_one_sentence_too(smartwire, native, two_ports):
    def explode(*args, **kwargs):
        raise ZeroDivisionError("boom")

    native.Wire = explode
    done = smartwire("run", "eth1", "eth2")
    assert done.status == 1
    assert one_sentence(done.err)
    assert "internal error: ZeroDivisionError: boom" in done.err


def test_a_wheel_says_where_the_tests_are(smartwire, monkeypatch):
    monkeypatch.delenv("SMARTWIRE_HOME", raising=False)
    done = smartwire("test")
    assert done.status == 3
    assert "not in the wheel" in done.err
