"""Sessions: two people at one configuration, in each mode, and what each may do."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher
from smartwire.config.access import AccessDenied, Passwords
from smartwire.config.session import Conflict, Ended, Locked
from smartwire.errors import NotThere, UsageError

USERS = (
    "set system login user alice class super-user password correct-horse",
    "set system login user olga class operator",
    "set system login user rita class read-only",
    "set system login class noc permission [ view configure ] allow-configuration policies "
    'deny-configuration "system login"',
    "set system login user nina class noc",
    "set wires north pair eth1 core eth2",
)


@pytest.fixture
def staffed(box):
    box.commit(*USERS)
    return box


def test_shared_edits_are_seen_by_all_and_survive_leaving(box):
    one, two = box.root(), box.root()
    one.set("system location attic")
    assert "attic" in two.show()
    assert one.leave() == ["The uncommitted changes stay in the shared candidate."]
    assert "attic" in box.root().show()


def test_entering_names_who_edits_already(staffed):
    staffed.root()
    alice = staffed.engine.session("alice", "cli pts/1")
    assert alice.configure("private") == ["root (test) edits too, shared."]


def test_exclusive_lets_nobody_else_edit_or_commit_and_names_its_holder(staffed):
    alice = staffed.engine.session("alice", "cli pts/1")
    alice.configure("exclusive")
    root = staffed.root()
    with pytest.raises(Locked, match=r"alice \(cli pts/1\) holds the configuration exclusively"):
        root.set("system location x")
    private = staffed.root("private")
    private.set("system location x")
    with pytest.raises(Locked, match="alice"):
        private.commit()
    with pytest.raises(Locked, match="alice"):
        staffed.root("exclusive")
    alice.set("system location y")
    assert alice.leave() == ["The uncommitted changes were discarded."]
    root.set("system location x")


def test_exclusive_is_refused_while_the_shared_candidate_has_changes(box):
    box.root().set("system location x")
    with pytest.raises(Locked, match="uncommitted changes"):
        box.root("exclusive")


def test_private_copies_that_do_not_collide_are_put_together(box):
    one, two = box.root("private"), box.root("private")
    one.set("system location attic")
    two.set("system host-name tower")
    one.commit()
    two.commit()
    assert box.engine.running.config.get(("system",)) == {"location": "attic", "host-name": "tower"}


def test_the_second_of_two_that_collide_is_warned_once(box):
    one, two = box.root("private"), box.root("private")
    one.set("system location attic")
    two.set("system location cellar")
    one.commit()
    with pytest.raises(Conflict) as e:
        two.commit()
    assert [str(p) for p in e.value.problems] == ["warning: [system location]: another user committed a change here."]
    two.commit()
    assert box.engine.running.config.get(("system", "location")) == "cellar"


def test_a_private_commit_leaves_shared_edits_in_place(box):
    shared = box.root()
    shared.set("system host-name tower")
    box.commit("set system location attic")
    assert shared.compare() == "[edit system]\n+   host-name tower;\n"


def test_edits_are_relative_to_the_level(box):
    session = box.root()
    assert session.edit("wires north") == ["wires", "north"]
    session.set("pair eth1 core eth2")
    session.set("workers 2 io xdp")
    assert session.show() == "pair eth1 {\n    core eth2;\n}\nio xdp;\nworkers 2;\n"
    session.edit("pair eth1")
    assert session.up() == ["wires", "north"]
    assert session.up() == ["wires"]
    assert session.top() == []


def test_policies_can_be_put_in_order_renamed_and_copied(box):
    session = box.root()
    for name in "abc":
        session.set(f"policies {name} engine none")
    session.insert("policies c", "before", "a")
    session.rename("policies b", "z")
    session.copy("policies a", "y")
    assert list(session.candidate.config.get(("policies",))) == ["c", "a", "z", "y"]
    session.set("wires w pair a core b")
    with pytest.raises(UsageError, match="The order of wires does not count"):
        session.insert("wires w", "before", "w")
    with pytest.raises(NotThere):
        session.insert("policies c", "after", "nothing")


def test_what_is_deactivated_stays_and_has_no_effect(box):
    session = box.root()
    session.load("set", "set wires north pair eth1 core eth2\ndeactivate wires north")
    session.commit()
    assert "inactive: north {" in session.show()
    assert list(box.plane.wires) == []
    session.activate("wires north")
    assert session.compare() == "[edit wires]\n!   active: north { ... }\n"
    session.commit()
    assert list(box.plane.wires) == ["north"]


def test_an_operator_may_not_edit_and_a_reader_may_not_operate(staffed):
    with pytest.raises(AccessDenied, match="The class operator may not edit"):
        staffed.engine.session("olga", "x").configure()
    with pytest.raises(AccessDenied, match="does not allow `request wire drain`"):
        staffed.engine.session("rita", "x").run("request wire drain north")
    assert "north" in staffed.engine.session("rita", "x").show()


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s.set("wires north workers 2"),
        lambda s: s.set("system login user nina class super-user"),
        lambda s: s.delete("system login"),
        lambda s: s.load("override", "policies { a; }"),
        lambda s: s.rollback(1),
        lambda s: s.deactivate("wires north"),
        lambda s: s.rename("wires north", "south"),
        lambda s: s.annotate("wires north", "x"),
    ],
)
def test_a_class_of_its_own_changes_only_what_it_is_allowed_by_any_verb(staffed, edit):
    nina = staffed.engine.session("nina", "x")
    nina.configure("private")
    nina.set("policies a engine none")
    before = nina.candidate.config
    with pytest.raises(AccessDenied, match="may not change"):
        edit(nina)
    assert nina.candidate.config is before
    nina.commit()


def test_nobody_commits_anothers_shared_edits_that_they_may_not_make(staffed):
    staffed.root().set("wires north workers 2")
    nina = staffed.engine.session("nina", "x")
    nina.configure()
    nina.set("policies a engine none")
    with pytest.raises(AccessDenied, match="may not change wires north workers"):
        nina.commit()


def test_what_a_class_is_denied_it_does_not_see(staffed):
    nina = staffed.engine.session("nina", "x")
    nina.configure()
    for form in ("text", "set", "json", "xml"):
        assert "alice" not in nina.show("", form)
    assert nina.options("set", ["system", "login", "user", ""])[0].word == "<name>"
    assert "alice" not in nina.compare(1)


def test_a_password_is_kept_and_shown_as_no_more_than_a_hash(staffed):
    kept = staffed.engine.running.config.get(("system", "login", "user", "alice", "password"))
    assert kept.startswith("$argon2id$")
    session = staffed.root()
    session.set("system login user alice password another-horse")
    for shown in (session.show(), session.compare(), session.show("", "json"), session.show("", "set")):
        assert "horse" not in shown
        assert "argon2" not in shown
    assert "another-horse" not in str(session.candidate.config.values)


def test_a_password_lets_in_and_five_wrong_ones_lock_out(staffed):
    engine = staffed.engine
    assert engine.login("alice", "correct-horse", "x").who.user == "alice"
    for _ in range(5):
        with pytest.raises(AccessDenied, match="The user or the password is wrong"):
            engine.login("alice", "wrong", "x")
    with pytest.raises(AccessDenied, match="alice is locked for 15 more minutes"):
        engine.login("alice", "correct-horse", "x")
    staffed.clock.move(15 * 60 + 1)
    engine.login("alice", "correct-horse", "x")
    for name in ("nobody", "olga", "root"):
        with pytest.raises(AccessDenied, match="wrong"):
            engine.login(name, "", "x")


def test_a_lockout_survives_a_restart_and_no_clock_makes_it_longer_than_a_day(staffed, tmp_path):
    file, config = tmp_path / "lockouts.json", staffed.engine.running.config.active()

    def again():
        cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
        return Passwords(staffed.clock.monotonic, cheap, file=file, wall=staffed.clock.time)

    def refused(passwords, words: str, password: str = "wrong") -> None:
        with pytest.raises(AccessDenied, match=words):
            passwords.verify(config, "alice", password)

    passwords = again()
    for _ in range(3):
        refused(passwords, "The user or the password is wrong")
    passwords = again()
    for _ in range(2):
        refused(passwords, "The user or the password is wrong")
    refused(again(), "alice is locked for 15 more minutes", "correct-horse")
    assert file.stat().st_mode & 0o777 == 0o600
    staffed.clock.wall -= 10 * 86_400
    refused(again(), "alice is locked for 1440 more minutes", "correct-horse")
    assert again().unlock("alice")
    again().verify(config, "alice", "correct-horse")
    file.write_text('{"alice": "nonsense"}')
    again().verify(config, "alice", "correct-horse")


def test_an_idle_session_ends_and_its_exclusive_lock_with_it(staffed):
    alice = staffed.engine.session("alice", "x")
    alice.configure("exclusive")
    staffed.clock.move(14 * 60)
    staffed.engine.tick()
    alice.show()
    staffed.clock.move(15 * 60 + 1)
    staffed.engine.tick()
    with pytest.raises(Ended, match="after 15 minutes without input"):
        alice.show()
    staffed.root("exclusive")


def test_a_user_that_is_removed_can_do_nothing_more(staffed):
    rita = staffed.engine.session("rita", "x")
    staffed.commit("delete system login user rita")
    with pytest.raises(AccessDenied, match="There is no user rita"):
        rita.show()


def test_completion_offers_what_can_be_set_and_what_is_there(staffed):
    session = staffed.root()

    def words(verb, *tokens):
        return [o.word for o in session.options(verb, list(tokens))]

    assert words("set", "wi") == ["wires"]
    assert words("set", "wires", "") == ["north", "<name>"]
    assert words("set", "wires", "north", "mode", "") == ["optimize", "observe", "bypass", "proxy"]
    assert words("set", "policies", "a", "match", "wire", "n") == ["north", "<wire>"]
    assert "workers" in words("set", "wires", "north", "mode", "observe", "")
    assert words("delete", "wires", "north", "") == ["pair", ""]
    assert words("edit", "wires", "north", "") == ["pair", "trunk", ""]
    assert words("run", "sh") == ["show"]
    assert words("run", "request", "wire", "drain", "") == ["north", "<wire>"]
    assert words("run", "request", "wire", "drain", "north", "") == ["", "limit"]
    session.edit("wires north")
    assert words("set", "wor") == ["workers"]


def test_commands_may_be_shortened_and_say_what_they_expect(staffed):
    session = staffed.root()
    assert "alice" not in session.run("sh sys u")["text"]
    assert session.run("test policy client 10.0.0.1 server 192.0.2.1 port 443")["data"]["engine"] == "wire"
    for line, sentence in [
        ("show sys", "after show sys comes one of: audit, commit, rollback, software, users."),
        ("shw", "There is no command shw: shw is none of clear, request, show, test."),
        ("show system rollback x", "'x' is not in 0..1000000."),
        ("test policy client 10.0.0.1", "server is missing: test policy client <address> server <address> port <port>"),
        ("test policy 10.0.0.1", "'10.0.0.1' is not expected here: test policy client <address>"),
        ("test policy client", "client needs a value"),
        ("request wire drain north limits 3", "'limits' is not expected here"),
    ]:
        with pytest.raises(UsageError) as e:
            session.run(line)
        assert sentence in str(e.value)


@pytest.mark.parametrize("bad", ["\x1b[2J", "a\x00b", "\ud800"])
def test_no_value_comment_or_note_can_talk_to_a_terminal(box, bad):
    session = box.root()
    with pytest.raises(UsageError, match="control character"):
        session.set(f'system location "x{bad}"')
    session.set("system location x")
    with pytest.raises(UsageError, match="printable"):
        session.annotate("system location", f"x{bad}")
    with pytest.raises(UsageError, match="printable"):
        session.commit(comment=f"x{bad}")
