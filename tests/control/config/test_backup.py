"""Backup and restore: the configuration comes back whole, secrets and prefix lists included."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from scratchbox import Box
from smartwire.config.access import AccessDenied
from smartwire.errors import Error, NotThere, UsageError


@pytest.fixture
def full(box):
    (box.engine.store.prefix_lists / "cdn.txt").write_text("192.0.2.0/24 # é\n")
    box.commit(
        "set wires north pair eth1 core eth2", "set prefix-lists cdn file cdn.txt",
        "set system login user alice class operator password correct-horse",
    )  # fmt: skip
    return box


def test_what_was_backed_up_comes_back_on_another_box(full, tmp_path):
    file = Path(full.root(None).run("request system configuration backup")["data"]["file"])
    assert os.stat(file).st_mode & 0o77 == 0
    other = Box(tmp_path / "other")
    (other.directory / file.name).write_bytes(file.read_bytes())
    session = other.root()
    session.run(f"request system configuration restore {file.name}")
    assert "+       north {" in session.compare()
    session.commit()
    assert other.engine.running.config == full.engine.running.config
    assert other.plane.setup.lists["cdn"].content == "192.0.2.0/24 # é\n".encode()
    other.engine.login("alice", "correct-horse", "x")


def test_only_a_super_user_backs_up_and_restores(full):
    for what in ("backup", "restore x"):
        with pytest.raises(AccessDenied):
            full.engine.session("alice", "x").run(f"request system configuration {what}")


def test_what_is_no_backup_is_a_sentence_and_changes_nothing(full):
    session = full.root()
    (full.directory / "junk.tar.gz").write_bytes(b"junk")
    with pytest.raises(Error, match=r"junk\.tar\.gz is no backup"):
        session.run("request system configuration restore junk.tar.gz")
    with pytest.raises(NotThere):
        session.run("request system configuration restore ../../etc/passwd")
    support = Path(session.run("request support information")["data"]["file"]).name
    with pytest.raises(Error, match="is no backup"):
        session.run(f"request system configuration restore {support}")
    assert session.compare() == ""
    with pytest.raises(UsageError, match="type `configure` first"):
        full.root(None).run("request system configuration restore x")
