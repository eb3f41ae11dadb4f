"""smartwired's socket: what a face gets, and what nonsense gets."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
import time

import pytest
from smartwire.config import client
from smartwire.config.api import VERBS, Answerer
from smartwire.config.daemon import Daemon
from smartwire.config.engine import CommitFailed
from smartwire.config.session import Session
from smartwire.errors import Error, NotThere, UsageError

SEED = 7


@pytest.fixture
def served(box, tmp_path):
    """A daemon on the box's engine, in a thread; gives the path of its socket."""
    path = tmp_path / "api.sock"
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()
    daemon = Daemon(box.engine, path, box.told.append)

    async def main() -> None:
        await daemon.run(stop)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    while not any("serves" in told for told in box.told):
        assert thread.is_alive()
        time.sleep(0.01)
    yield path
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    daemon.threads.shutdown()
    loop.close()


@pytest.mark.root
def test_a_face_edits_and_commits_over_the_socket(box, served):
    with client.connect(source="cli pts/3", path=served) as session:
        assert session.identity["class"] == "super-user"
        session.configure("private")
        session.set("wires north pair eth1 core eth2")
        assert session.compare().startswith("[edit]\n+   wires {")
        assert session.check() == []
        assert session.commit(comment="over the socket").done == ["wire north was started."]
        assert [o.word for o in session.options("set", ["wires", "n"])] == ["north", "<name>"]
        assert session.run("show system commit")["data"][0]["comment"] == "over the socket"
        session.set("policies a burst 3000")
        with pytest.raises(CommitFailed, match="there is one problem") as e:
            session.commit()
        assert str(e.value.problems[0]).startswith("error: [policies a]: burst needs a rate-limit")
        with pytest.raises(UsageError, match=r"99 is not in 1\.\.64"):
            session.set("wires north workers 99")


@pytest.mark.root
def test_everybody_is_told_of_an_automatic_rollback(box, served):
    told: list[str] = []
    with client.connect(path=served, tell=told.append) as session, client.connect(path=served) as other:
        other.configure("private")
        other.set("system location x")
        other.commit(confirmed=1)
        box.clock.move(61)
        box.engine.tick()
        session.about()
        session.heard()
    assert told == ["Commit was not confirmed; automatic rollback complete."]


def test_without_smartwired_a_sentence_says_how_to_start_it(tmp_path):
    with pytest.raises(NotThere, match="start it with `smartwire daemon`"):
        client.connect(path=tmp_path / "nothing")


def test_a_stranger_needs_a_password(box):
    box.commit("set system login user alice class operator password correct-horse")
    for peer in (None, "nobody"):
        stranger = Answerer(box.engine, peer, "pid 1")
        assert ask(stranger, "show")["error"] == "Log in first."
        assert ask(stranger, "login", "root", "")["error"] == "The user or the password is wrong."
        assert ask(stranger, "login", "alice", "correct-horse")["ok"]["class"] == "operator"


def test_a_configured_user_of_the_machine_and_root_need_none_and_are_nobody_else(box):
    box.commit("set system login user alice class operator")
    assert ask(Answerer(box.engine, "alice", "pid 1"), "login")["ok"]["user"] == "alice"
    assert "wrong" in ask(Answerer(box.engine, "alice", "pid 1"), "login", "root")["error"]
    assert ask(Answerer(box.engine, "root", "pid 1"), "login")["ok"]["user"] == "root"


def ask(answerer: Answerer, do: str, *args, **kw) -> dict:
    return json.loads(answerer.answer(json.dumps({"id": 1, "do": do, "args": args, "kw": kw}).encode()))


def test_every_verb_is_a_method_of_a_session():
    for verb in VERBS:
        assert callable(getattr(Session, verb)), verb


WORDS = [
    "", " ", "wires", "north", "system", "login", "user", "policies", "a", "match", "core-port", "80", "[", "]",
    '"', "{", "}", ";", "inactive:", "/*", "*/", "set", "delete", "\x00", "\ud800", "é", "999999999999999999999", "-1",
    "show", "request", "wire", "drain", "rescue", "**", "../../etc/passwd", "$(id)", "a" * 300,
]  # fmt: skip
VALUES = [None, True, 0, -1, 1e308, 10**30, "", [], {}, [[]], {"a": 1}, "x", ["x"], [None]]


def nonsense(chance: random.Random) -> bytes:
    """A request that is wrong in some way, or nearly right."""
    kind = chance.randrange(6)
    if kind == 0:
        return bytes(chance.randrange(256) for _ in range(chance.randrange(40))).replace(b"\n", b"")
    if kind == 1:
        return json.dumps(chance.choice(VALUES)).encode()
    if kind == 2:
        return b"[" * chance.randrange(1, 100_000 if chance.random() < 0.01 else 100)
    verb = chance.choice([*VERBS, "close", "__init__", "engine", "who", "login"])
    args = [text(chance) if chance.random() < 0.8 else chance.choice(VALUES) for _ in range(chance.randrange(4))]
    kw = {chance.choice(["typed", "form", "n", "way", "confirmed", "x"]): chance.choice([*VALUES, text(chance)])}
    document = {"id": chance.choice(VALUES), "do": verb, "args": args, "kw": kw if chance.random() < 0.3 else {}}
    if kind == 3:
        document[chance.choice(["do", "args", "kw"])] = chance.choice(VALUES)
    return json.dumps(document).encode()


def text(chance: random.Random) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randrange(6)))


def test_ten_thousand_malformed_requests_get_a_sentence_and_change_nothing(box):
    box.commit("set wires north pair eth1 core eth2", "set system login user rita class read-only")
    before = box.engine.running
    chance = random.Random(SEED)
    answerer = Answerer(box.engine, "rita", "pid 1")
    ask(answerer, "login")
    for _ in range(10_000):
        request = nonsense(chance)
        answer = json.loads(answerer.answer(request))
        assert "internal error" not in answer.get("error", ""), (SEED, request, answer)
        assert "Traceback" not in answer.get("error", ""), (SEED, request)
        if answerer.session is None:
            ask(answerer, "login")
    assert box.engine.running is before
    assert box.engine.shared.config == before.config


def test_nonsense_of_a_super_user_raises_no_internal_error_either(box):
    chance = random.Random(SEED + 1)
    answerer = Answerer(box.engine, "root", "pid 1")
    ask(answerer, "login")
    ask(answerer, "configure", "private")
    for _ in range(3_000):
        request = nonsense(chance)
        answer = json.loads(answerer.answer(request))
        assert "internal error" not in answer.get("error", ""), (SEED + 1, request, answer)
        if answerer.session is None:
            ask(answerer, "login")
            ask(answerer, "configure", "private")


def test_what_cannot_be_put_right_is_said_once_and_tried_ever_more_seldom(box, tmp_path):
    said: list[str] = []
    daemon = Daemon(box.engine, tmp_path / "api.sock", said.append)
    box.commit("set wires north pair eth1 core eth2")
    tries: list[int] = []
    looks: list[int] = []
    box.plane.kill("north")
    box.plane.fail = lambda setup: (tries.append(len(looks)), (_ for _ in ()).throw(Error("eth1 is not there.")))
    while len(looks) < 100:
        daemon.reconcile()
        looks.append(1)
    assert said == ["wire north is not running.", "data plane could not be made as configured: eth1 is not there."]
    assert tries[:4] == [0, 1, 3, 7]
    assert len(tries) < 12
    box.plane.fail = None
    for _ in range(20):
        daemon.reconcile()
    assert box.plane.wires
    assert said[-1] == "wire north was started."


def test_a_link_that_changes_is_looked_at_at_once(box, tmp_path):
    async def look():
        daemon, looked = Daemon(box.engine, tmp_path / "api.sock", print), asyncio.Event()
        loop = asyncio.get_running_loop()
        keeper = asyncio.create_task(
            daemon.every(3600.0, lambda: loop.call_soon_threadsafe(looked.set), daemon.changed)
        )
        daemon.changed.set()
        await asyncio.wait_for(looked.wait(), 60)
        keeper.cancel()

    asyncio.run(look())


@pytest.mark.root
def test_nonsense_on_the_socket_ends_no_other_session(box, served):
    with client.connect(path=served) as session:
        for junk in (b"\n", b"\xff\xfe\n", b"{}\n", b"[]\n", b'{"do": "login"', b"x" * 70_000 + b"\n"):
            with socket.socket(socket.AF_UNIX) as raw:
                raw.connect(str(served))
                raw.sendall(junk)
        assert session.about()["user"] == "root"


def spoken(path, sent: bytes) -> bytes:
    """All that the socket answers until it closes."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(str(path))
        raw.settimeout(60)
        raw.sendall(sent)
        answer = b""
        while chunk := raw.recv(65536):
            answer += chunk
        return answer


def test_who_is_not_logged_in_has_little_time_and_little_room(box, served, monkeypatch):
    monkeypatch.setattr("smartwire.config.daemon.LOGIN_S", 0.1)
    assert b"Nobody has logged in within 0 s." in spoken(served, b"")
    monkeypatch.setattr("smartwire.config.daemon.LOGIN_S", 60)
    assert b"The request is too long." in spoken(served, b"x" * 200_000)


@pytest.mark.root
def test_a_long_configuration_is_loaded_over_the_socket(box, served):
    lines = "".join(f"set policies p{n} match core-port {n + 1}\n" for n in range(5000))
    with client.connect(path=served) as session:
        session.configure("private")
        session.load("set", lines)
        assert session.show("", "set") == lines


def test_an_error_of_the_client_is_of_the_class_that_the_face_expects():
    assert isinstance(client._error({"error": "x", "exit_code": 3}), NotThere)
    assert type(client._error({"error": "x"})) is Error
