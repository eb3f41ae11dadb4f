"""Commit: everywhere or nowhere, confirmed or undone, remembered and logged."""

from __future__ import annotations

import json

import pytest
from smartwire.config.engine import NOT_CONFIRMED, CommitFailed
from smartwire.errors import Error, NotThere

NORTH = "set wires north pair eth1 core eth2"


def names(box):
    return list(box.plane.wires)


def test_a_commit_reaches_the_planes_and_the_disk(box):
    box.commit(NORTH, comment="the first wire")
    assert names(box) == ["north"]
    box.again()
    assert box.engine.running.config.has(("wires", "north"))
    assert box.engine.store.history()[0].comment == "the first wire"


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_changed(box):
    session = box.root()
    session.load("set", "set wires north workers 3\nset wires south pair eth1 core eth1\nset policies a burst 2000\n"
                        "set policies a match wire gone\nset system login user bob full-name B")  # fmt: skip
    with pytest.raises(CommitFailed) as e:
        session.commit()
    said = "\n".join(str(p) for p in e.value.problems if p.severity == "error")
    assert "[wires north]: it has no ports: set pair" in said
    assert "eth1 is a port of wires south pair eth1 already" in said
    assert "[policies a match wire]: there is no wires named gone." in said
    assert "[system login user bob]: class is missing" in said
    assert names(box) == []
    assert box.engine.running.about.number == 1


def test_a_condition_of_the_schema_is_said_in_its_own_words(box):
    session = box.root()
    session.set("policies a burst 2000")
    assert "burst needs a rate-limit: set one, or delete burst." in [p.sentence for p in session.check()]


def test_a_warning_is_said_and_does_not_stop_a_commit(box):
    done = box.commit(NORTH, "set policies web engine proxy", "set policies web rate-limit 8m")
    assert "the proxy engine knows no such thing (see `set proxy`): it has no effect." in [
        p.sentence for p in done.warnings
    ]


def test_a_plane_that_fails_leaves_all_as_it_was_and_says_what_failed(box):
    box.commit(NORTH)

    def fail(setup):
        if setup.config.has(("wires", "south")):
            raise Error("eth9 is on fire.")

    box.plane.fail = fail
    with pytest.raises(CommitFailed, match="commit failed: data plane: eth9 is on fire; all is as it was"):
        box.commit("set wires south pair eth3 core eth4")
    assert names(box) == ["north"]
    assert box.plane.differences(box.engine.setup) == []
    assert box.engine.audit.last()[-1]["event"] != "commit"
    box.again()
    assert not box.engine.running.config.has(("wires", "south"))


def test_a_plane_with_a_bug_is_a_sentence_too(box):
    def fail(setup):
        if setup.config.has(("wires", "north")):
            raise KeyError("oops")

    box.plane.fail = fail
    with pytest.raises(CommitFailed, match="data plane: internal error: KeyError"):
        box.commit(NORTH)


def test_planes_that_were_applied_get_the_old_setup_back_when_a_later_one_fails(box):
    from smartwire.config.fakeplane import FakePlane

    later = FakePlane("exporters", fail=lambda setup: (_ for _ in ()).throw(Error("no port")))
    box.engine.planes.append(later)
    with pytest.raises(CommitFailed, match="exporters: no port"):
        box.commit(NORTH)
    assert names(box) == []


def test_an_unconfirmed_commit_is_undone_when_its_time_is_over(box):
    box.commit(NORTH)
    box.commit("delete wires north", "set wires south pair eth3 core eth4", confirmed=10)
    assert names(box) == ["south"]
    box.clock.move(599)
    box.engine.tick()
    assert names(box) == ["south"]
    box.clock.move(2)
    box.engine.tick()
    assert names(box) == ["north"]
    assert box.told == [NOT_CONFIRMED]


@pytest.mark.parametrize("how", ["commit", "check"])
def test_a_commit_or_a_check_confirms(box, how):
    box.commit(NORTH, confirmed=10)
    session = box.root()
    session.commit() if how == "commit" else session.check()
    box.clock.move(3600)
    box.engine.tick()
    assert names(box) == ["north"]
    assert not box.told


def test_a_restart_past_the_deadline_restores_the_old_configuration(box):
    box.commit(NORTH)
    box.commit("delete wires", confirmed=10)
    box.clock.move(3600)
    box.again()
    assert names(box) == ["north"]
    assert NOT_CONFIRMED in box.told


def test_a_restart_before_the_deadline_still_undoes_at_it(box):
    box.commit(NORTH, confirmed=10)
    box.clock.move(300)
    box.again()
    assert names(box) == ["north"]
    box.clock.move(301)
    box.engine.tick()
    assert names(box) == []


def test_a_clock_that_was_set_back_does_not_prolong_the_wait(box):
    box.commit(NORTH, confirmed=10)
    box.clock.wall -= 86_400
    box.again()
    box.clock.move(601)
    box.engine.tick()
    assert names(box) == []


def test_two_unconfirmed_commits_go_back_to_the_last_confirmed_one(box):
    box.commit(NORTH)
    box.commit("set wires north workers 2", confirmed=10)
    box.commit("set wires north workers 3", confirmed=10)
    box.clock.move(601)
    box.engine.tick()
    assert "workers" not in box.plane.wires["north"]


def test_a_rollback_that_fails_is_said_and_tried_again(box):
    box.commit(NORTH, confirmed=1)
    box.plane.fail = lambda setup: (_ for _ in ()).throw(Error("stuck"))
    box.clock.move(61)
    box.engine.tick()
    assert "the rollback failed: commit failed: data plane: stuck" in box.told[-1]
    box.plane.fail = None
    box.clock.move(61)
    box.engine.tick()
    assert names(box) == []
    assert box.told[-1] == NOT_CONFIRMED


def test_fifty_rollbacks_are_kept_and_each_can_be_loaded(box):
    for n in range(60):
        box.commit(f"set system host-name h{n}")
    session = box.root()
    session.rollback(50)
    assert "host-name h9;" in session.show()
    with pytest.raises(NotThere, match=r"There is no rollback 51 \(there are: 0..50\)"):
        session.rollback(51)


def test_a_rollback_brings_back_the_content_of_prefix_lists(box):
    file = box.engine.store.prefix_lists / "cdn.txt"
    file.write_text("192.0.2.0/24\n")
    box.commit("set prefix-lists cdn file cdn.txt")
    file.write_text("198.51.100.0/24\n2001:db8::/32\n")
    session = box.root()
    assert "## +2 -1 prefixes" in session.compare()
    session.commit()
    assert session.compare() == ""
    session.rollback(1)
    assert "## +1 -2 prefixes" in session.compare()
    session.commit()
    assert box.plane.setup.lists["cdn"].content == b"192.0.2.0/24\n"
    box.again()
    assert box.plane.differences(box.engine.setup) == []


def test_bad_lines_of_a_prefix_list_are_named_each(box):
    file = box.engine.store.prefix_lists / "cdn.txt"
    file.write_text("192.0.2.0/24\n10.0.0.1/8\n# a comment\nnonsense\n192.0.2.0/24\n")
    session = box.root()
    session.set("prefix-lists cdn file cdn.txt")
    said = [p.sentence for p in session.check()]
    assert "cdn.txt: line 2: 10.0.0.1/8 has bits beyond its length: did you mean 10.0.0.0/8?" in said
    assert "cdn.txt: line 4: 'nonsense' is no IPv4 or IPv6 prefix such as 192.0.2.0/24." in said
    assert "cdn.txt: line 5: 192.0.2.0/24 is there twice, in line 1 too." in said
    session.set("prefix-lists cdn file gone.txt")
    assert any("cannot be read" in p.sentence for p in session.check())


def test_the_rescue_configuration_can_be_saved_and_loaded(box):
    box.commit(NORTH)
    session = box.root()
    with pytest.raises(NotThere, match="There is no rescue configuration"):
        session.rollback("rescue")
    session.run("request system configuration rescue save")
    box.commit("delete wires")
    session.rollback("rescue")
    session.commit()
    assert names(box) == ["north"]


def test_a_damaged_revision_falls_back_to_the_newest_good_one_loudly(box):
    box.commit(NORTH)
    box.commit("delete wires")
    file = box.engine.store.file(box.engine.running.about.number)
    file.write_bytes(file.read_bytes().replace(b"revision", b"rev1sion"))
    box.again()
    assert names(box) == ["north"]
    assert "is damaged" in box.told[0]
    assert "put aside" in box.told[0]
    assert box.engine.audit.last()[-1]["event"] == "damage"
    box.commit("set system location x")
    assert box.again().running.config.has(("system", "location"))


def test_with_no_whole_revision_the_rescue_configuration_counts(box):
    box.commit(NORTH)
    box.root().run("request system configuration rescue save")
    for number in box.engine.store.numbers():
        box.engine.store.file(number).write_text("x")
    box.again()
    assert names(box) == ["north"]
    assert "The rescue configuration is used, since there is no other." in box.told


def test_what_a_hand_or_a_death_has_changed_is_put_right_and_said(box):
    box.commit(NORTH)
    box.plane.kill("north")
    assert box.engine.reconcile() == ["wire north is not running.", "wire north was started."]
    assert box.engine.reconcile() == []


def test_the_audit_log_says_who_changed_what_without_secrets(box):
    box.commit(NORTH, "set system login user alice class operator password very-secret-1", comment="why")
    record = [r for r in box.engine.audit.last() if r["event"] == "commit"][-1]
    assert (record["user"], record["source"], record["comment"]) == ("root", "test", "why")
    assert "+       north {" in record["text"]
    whole = (box.directory / "audit.log").read_text()
    assert "very-secret" not in whole
    assert "argon2" not in whole


def test_a_cut_off_line_of_the_audit_log_hides_no_other(box):
    box.root()
    log = box.directory / "audit.log"
    log.write_text(log.read_text() + '{"time": 1, "us')
    box.again()
    box.root()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()[-1:]] == ["login"]
    assert box.engine.audit.last()[-1]["event"] == "login"


def test_a_commit_while_another_is_being_applied_is_refused_by_name(box):
    session = box.root()

    def meanwhile(setup):
        box.plane.fail = None
        with pytest.raises(CommitFailed, match="root is committing"):
            box.commit("set system location x")

    box.plane.fail = meanwhile
    session.set("wires north pair eth1 core eth2")
    session.commit()
    assert names(box) == ["north"]


def test_an_automatic_rollback_is_known_to_the_alarms_until_the_next_commit(box):
    from smartwire.config.daemon import rolled_back

    box.commit(NORTH)
    box.commit("delete wires", confirmed=10)
    assert rolled_back(box.engine) is None
    box.clock.move(601)
    box.engine.tick()
    assert rolled_back(box.engine) == "Commit was not confirmed; automatic rollback complete."
    box.commit("set system host-name b")
    assert rolled_back(box.engine) is None
