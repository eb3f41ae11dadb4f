"""A commit that is stopped anywhere: the configuration is whole, old or new, and the data plane is equal to it."""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from modeldisk import Killed, ModelDisk
from scratchbox import Box
from smartwire.config.engine import Candidate, CommitFailed, Who
from smartwire.config.load import load

OLD = "set wires north pair eth1 core eth2\nset prefix-lists cdn file cdn.txt\nset policies a engine none"
NEW = """
set wires south pair eth3 core eth4
set wires north workers 2
delete policies a
set prefix-lists more file more.txt
"""
SEEDS = 12


class Stage:
    """A box with an old configuration on a model disk, about to carry out one of several commits."""

    def __init__(self) -> None:
        self.disk = ModelDisk()
        self.box = Box(Path("/state"), self.disk)
        for name, content in (("cdn.txt", b"192.0.2.0/24\n"), ("more.txt", b"2001:db8::/32\n")):
            path = self.box.engine.store.prefix_lists / name
            self.disk.create(path)
            self.disk.write(path, content)
            self.disk.sync(path)
            self.disk.sync(path.parent)
        for n in range(3):
            self.box.commit(f"set system location l{n}")
        self.box.commit(*OLD.splitlines())
        self.old = self.box.engine.running.config
        self.new = load(self.old, "set", NEW)
        self.disk.calls = []

    def commit(self, confirmed: float | None = None) -> None:
        self.box.engine.commit(Candidate(self.new), Who("root", "test"), "commit", "", confirmed)

    def restart(self, disk: ModelDisk) -> None:
        self.box.disk = disk
        self.box.plane.fail = None
        self.box.again()

    def whole(self) -> str:
        """Which of the two is running, after everything about it was looked at."""
        engine = self.box.engine
        assert engine.running.config in (self.old, self.new)
        assert self.box.plane.differences(engine.setup) == []
        lists = {name: s.content for name, s in engine.setup.lists.items()}
        assert lists.pop("cdn") == b"192.0.2.0/24\n"
        assert lists == ({"more": b"2001:db8::/32\n"} if engine.running.config == self.new else {})
        assert engine.store.damage == []
        for number in engine.store.numbers():
            revision = engine.store.read(number)
            for digest in revision.about.lists.values():
                engine.store.content(digest)
        self.box.commit("set system location after")
        return "new" if lists else "old"


def calls(confirmed: float | None = None) -> list[str]:
    """The file system calls of the commit."""
    stage = Stage()
    stage.commit(confirmed)
    return list(stage.disk.calls)


CALLS = calls()


def test_the_calls_of_a_commit_are_what_the_store_promises():
    order = [c.split()[0] for c in CALLS]
    renames = [n for n, c in enumerate(CALLS) if c.endswith(".conf")]
    assert CALLS[0] == "write audit.log"
    assert CALLS[1] == "sync audit.log"
    assert CALLS[renames[0] - 1].startswith("sync ")
    assert CALLS[renames[0] + 1] == "sync revisions"
    assert order.count("rename") == 2


PLACES = [(n, False) for n in range(1, len(CALLS) + 1)]
PLACES += [(n, True) for n, call in enumerate(CALLS, 1) if call.startswith("write")]


@pytest.mark.parametrize(("at", "half"), PLACES)
def test_killed_at_any_call_the_next_start_finds_all_old_or_all_new(at, half):
    stage = Stage()
    stage.disk.die_at, stage.disk.half = at, half
    with pytest.raises(Killed):
        stage.commit()
    stage.restart(stage.disk.revived())
    committed = any(c.endswith(".conf") for c in CALLS[: at - 1])
    assert stage.whole() == ("new" if committed else "old")


@pytest.mark.parametrize("seed", range(SEEDS))
def test_power_lost_at_any_call_the_next_start_finds_all_old_or_all_new(seed):
    for at in range(1, len(CALLS) + 2):
        stage = Stage()
        stage.disk.die_at = at
        with contextlib.suppress(Killed):
            stage.commit()
        stage.restart(stage.disk.powered_off(random.Random(seed * 1000 + at)))
        which = stage.whole()
        if "sync revisions" in CALLS[: at - 1]:
            assert which == "new", f"at {at}, seed {seed}: a commit that was recorded is lost"
        if not any(c.endswith(".conf") for c in CALLS[: at - 1]):
            assert which == "old", f"at {at}, seed {seed}: a commit that was not recorded is there"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_then_started_then_power_lost_nothing_that_was_found_is_lost(seed):
    for at in range(1, len(CALLS) + 1):
        stage = Stage()
        stage.disk.die_at = at
        with pytest.raises(Killed):
            stage.commit()
        stage.restart(stage.disk.revived())
        found = stage.box.engine.running.config
        stage.restart(stage.disk.powered_off(random.Random(seed * 1000 + at)))
        assert stage.box.engine.running.config == found, f"at {at}, seed {seed}"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_then_committed_again_then_power_lost_the_commit_stays(seed):
    for at in range(1, len(CALLS) + 1):
        stage = Stage()
        stage.disk.die_at = at
        with pytest.raises(Killed):
            stage.commit()
        stage.restart(stage.disk.revived())
        stage.commit()
        stage.restart(stage.disk.powered_off(random.Random(seed * 1000 + at)))
        assert stage.whole() == "new", f"at {at}, seed {seed}"


@pytest.mark.parametrize("at", range(1, len(CALLS) + 1))
def test_an_error_at_any_call_leaves_all_old_or_all_new_and_is_said(at):
    stage = Stage()
    stage.disk.fail_at = at
    said = ""
    try:
        stage.commit()
    except CommitFailed as e:
        said = str(e)
    failed = bool(said)
    assert not failed or "the disk does not take it (No space left on device)" in said
    assert stage.box.engine.running.config == (stage.old if failed else stage.new)
    assert stage.box.plane.differences(stage.box.engine.setup) == []
    stage.disk.revived()
    stage.restart(stage.disk)
    assert stage.whole() == ("old" if failed else "new")


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_it_is_applied_the_next_start_makes_the_plane_equal_to_the_old_one(when):
    stage = Stage()
    real = stage.box.plane.apply

    def apply(setup):
        if when == "after":
            real(setup)
        raise Killed(when)

    stage.box.plane.apply = apply
    with pytest.raises(Killed):
        stage.commit()
    del stage.box.plane.apply
    stage.restart(stage.disk.revived())
    assert stage.whole() == "old"


@pytest.mark.parametrize("at", range(1, len(CALLS) + 1))
def test_killed_in_a_commit_to_be_confirmed_it_is_never_kept_past_its_deadline(at):
    stage = Stage()
    stage.disk.die_at = at
    with pytest.raises(Killed):
        stage.commit(confirmed=600)
    stage.box.clock.move(601)
    stage.restart(stage.disk.revived())
    assert stage.whole() == "old"


def test_killed_at_any_call_of_an_automatic_rollback_it_is_carried_out_by_the_next_start():
    stage = Stage()
    stage.commit(confirmed=600)
    stage.box.clock.move(601)
    stage.disk.calls = []
    stage.box.engine.tick()
    count = len(stage.disk.calls)
    assert count > 5
    for at in range(1, count + 1):
        stage = Stage()
        stage.commit(confirmed=600)
        stage.box.clock.move(601)
        stage.disk.calls, stage.disk.die_at = [], at
        with pytest.raises(Killed):
            stage.box.engine.tick()
        stage.restart(stage.disk.revived())
        assert stage.whole() == "old", f"at call {at}"


def test_killed_at_any_call_of_a_first_start_the_next_one_starts():
    disk = ModelDisk()
    Box(Path("/state"), disk)
    for at in range(1, len(disk.calls) + 1):
        disk = ModelDisk()
        disk.die_at = at
        with pytest.raises(Killed):
            Box(Path("/state"), disk)
        box = Box(Path("/state"), disk.revived())
        box.commit("set system location x")
        assert box.engine.store.damage == []


def test_a_full_disk_locks_nobody_out(monkeypatch):
    stage = Stage()

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage.disk, "write", full)
    session = stage.box.root("private")
    assert "north" in session.show()
    assert "The audit log cannot be written (No space left on device): login by root." in stage.box.told
    session.set("system location x")
    with pytest.raises(CommitFailed, match="the disk does not take it"):
        session.commit()
    session.close()
