"""Edits: each returns a new configuration and leaves the old one as it was. Edits at random, with a seed."""

from __future__ import annotations

import random

import pytest
from smartwire.config import document, load, text
from smartwire.config.merge import changed, merge
from smartwire.config.schema import Invalid
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.errors import Error, NotThere

SCHEMA = load_schema()
SEEDS = range(40)


def make(*lines: str) -> Config:
    return load.load(Config(SCHEMA), "set", "\n".join(lines))


BASE = make("set wires north pair eth1 core eth2", "set policies a engine none", "set policies b", "set policies c")


def test_an_edit_leaves_the_old_one_as_it_was():
    before = text.show(BASE)
    BASE.set(("wires", "north", "workers"), 3).delete(("policies", "a")).rename(("policies", "b"), "x")
    assert text.show(BASE) == before


def test_what_is_empty_after_a_delete_is_gone_but_an_entry_stays():
    config = make("set policies a match core-port 80")
    assert config.delete(("policies", "a", "match", "core-port", "80")).values == {"policies": {"a": {}}}
    assert config.delete(("policies", "a")).values == {}


def test_marks_go_with_what_they_mark():
    marked = BASE.deactivate(("policies", "a", "engine")).annotate(("policies", "a"), "why")
    assert marked.rename(("policies", "a"), "z").inactive == {("policies", "z", "engine")}
    assert marked.rename(("policies", "a"), "z").notes == {("policies", "z"): "why"}
    assert marked.copy(("policies", "a"), "z").notes == {("policies", "a"): "why", ("policies", "z"): "why"}
    assert marked.delete(("policies", "a")).inactive == frozenset()


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.delete(("policies", "gone")),
        lambda c: c.rename(("policies", "gone"), "x"),
        lambda c: c.deactivate(("wires", "north", "mode")),
        lambda c: c.annotate(("system",), "x"),
    ],
)
def test_what_is_not_there_is_a_sentence(edit):
    with pytest.raises(NotThere, match=r"There is no .* in the configuration"):
        edit(BASE)


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        (lambda c: c.set(("wires",)), "wires needs a name"),
        (lambda c: c.set(("wires", "north", "mode")), "needs a value: optimize | observe | bypass | proxy."),
        (lambda c: c.set(("wires", "north"), 1), "takes no value"),
        (lambda c: c.set(("wires", "no/rth")), "'no/rth' is no name"),
        (lambda c: c.rename(("policies", "a"), "b"), "There is a policies b already"),
        (lambda c: c.rename(("wires", "north", "mode"), "b"), "has no name that could be another"),
        (lambda c: c.set(("wires", "north", "mode", "x"), 1), "Nothing can follow wires north mode but its value."),
    ],
)
def test_what_makes_no_sense_is_a_sentence(edit, sentence):
    with pytest.raises(Invalid) as e:
        edit(BASE)
    assert sentence in str(e.value)


def test_the_order_counts_where_it_is_the_operators_and_nowhere_else():
    assert BASE.insert(("policies", "c"), "before", "a") != BASE
    one = make("set wires a pair x core y", "set wires b pair z core w", "set system location l")
    other = make("set system location l", "set wires b pair z core w", "set wires a pair x core y")
    assert one == other
    assert list(changed(one, other)) == []


def random_edit(config: Config, chance: random.Random) -> Config:
    """One edit that may or may not be possible."""
    name, key = chance.choice("abcd"), chance.choice("abcd")
    edits = (
        lambda: config.set(("policies", name, "engine"), chance.choice(["wire", "none"])),
        lambda: config.set(("policies", name, "match", "core-port"), (str(chance.randint(1, 9)),)),
        lambda: config.set(("wires", name, "pair", "x", "core"), chance.choice("yz")),
        lambda: config.set(("system", "location"), chance.choice(["attic", 'a "b" \\ c', "é;{}[]#/*"])),
        lambda: config.delete(chance.choice([("policies", name), ("wires", name), ("policies", name, "match")])),
        lambda: config.rename(("policies", name), key),
        lambda: config.copy(("policies", name), key),
        lambda: config.insert(("policies", name), chance.choice(["before", "after"]), key),
        lambda: config.deactivate(("policies", name)),
        lambda: config.activate(("policies", name)),
        lambda: config.annotate(("policies", name), chance.choice(["", "a note"])),
    )
    try:
        return chance.choice(edits)()
    except Error:
        return config


def edited(config: Config, chance: random.Random, count: int = 25) -> Config:
    for _ in range(count):
        config = random_edit(config, chance)
    return config


@pytest.mark.parametrize("seed", SEEDS)
def test_any_configuration_is_read_back_from_every_form_as_it_was(seed):
    config = edited(Config(SCHEMA), random.Random(seed))
    assert load.read(SCHEMA, text.show(config, mask=False)) == config
    assert load.load(Config(SCHEMA), "set", text.show_set(config, mask=False)) == config
    assert document.from_raw(SCHEMA, document.to_raw(config)) == config.active()


@pytest.mark.parametrize("seed", SEEDS)
def test_changed_is_empty_exactly_where_two_are_equal(seed):
    chance = random.Random(seed)
    one = edited(Config(SCHEMA), chance, 8)
    other = edited(one, chance, 3)
    assert (list(changed(one, other)) == []) == (one == other)


@pytest.mark.parametrize("seed", SEEDS)
def test_putting_together_with_no_change_is_the_other_side(seed):
    chance = random.Random(seed)
    base = edited(Config(SCHEMA), chance)
    other = edited(base, chance)
    assert merge(base, base, other) == (other, [])
    assert merge(base, other, base)[0] == other
    assert merge(base, other, other) == (other, [])


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_in_different_places_are_put_together_without_conflict(seed):
    chance = random.Random(seed)
    base = edited(Config(SCHEMA), chance)
    ours = base.set(("system", "host-name"), f"h{seed}")
    theirs = base.set(("counters", "interval"), 5)
    both, conflicts = merge(base, ours, theirs)
    assert conflicts == []
    assert both == theirs.set(("system", "host-name"), f"h{seed}")
