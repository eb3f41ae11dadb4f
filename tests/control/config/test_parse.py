"""What is typed or loaded, and is wrong in some way: a sentence, never anything else."""

from __future__ import annotations

import json
import random

import pytest
from smartwire.config import document, load, parse, words
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config
from smartwire.errors import Error, UsageError

SCHEMA = load_schema()
SEED = 11
GOOD = """
/* a note */
system { host-name box1; location "a \\"b\\" {c}"; login { user alice { class super-user; } } }
wires { north { pair eth1 { core eth2; } inactive: mode observe; workers 2; } }
prefix-lists { cdn { prefix [ 192.0.2.0/24 inactive: 2001:db8::/32 ]; } }
policies { replace: web { match { core-port [ 80 443 ]; } rate-limit 20m; } delete: old; c; }
"""


def mutated(text: str, chance: random.Random) -> str:
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(text))
        kind = chance.randrange(4)
        if kind == 0:
            text = text[:at] + text[at + chance.randint(1, 12) :]
        elif kind == 1:
            text = (
                text[:at]
                + chance.choice(['"', "{", "}", ";", "[", "]", "/*", "*/", "#", "\\", "\0", "é", " "])
                + text[at:]
            )
        elif kind == 2:
            other = chance.randrange(len(text))
            text = text[:at] + text[other : other + 20] + text[at:]
        else:
            text = (
                text[:at]
                + chance.choice(["inactive:", "replace:", "delete:", "active:", "policies", "web"])
                + text[at:]
            )
    return text


def said(read) -> tuple[bool, str]:
    """(was it refused as a text that cannot be read, what was said); anything but an Error of ours fails the test."""
    try:
        read()
    except Error as e:
        return isinstance(e, parse.Malformed), str(e)
    return False, "-"


def test_broken_texts_in_braces_are_read_or_refused_with_a_line():
    chance = random.Random(SEED)
    base = load.load(Config(SCHEMA), "set", "set policies old engine none")
    refused = 0
    for _ in range(1500):
        text = mutated(GOOD, chance)
        for way in ("merge", "override", "replace"):
            malformed, sentence = said(lambda way=way, text=text: load.load(base, way, text))
            refused += malformed
            assert sentence, (SEED, text)
            assert not malformed or sentence.startswith("line "), (SEED, text)
    assert refused > 1500


def test_broken_set_lines_and_json_are_refused_with_a_sentence():
    chance = random.Random(SEED)
    lines = 'set policies web match core-port [ 80 443 ]\nannotate policies web "x y"\ndeactivate policies web\n'
    raw = json.dumps(document.to_raw(load.read(SCHEMA, GOOD.replace("delete: old;", ""))))
    for _ in range(1500):
        for read, text in ((lambda t: load.load(Config(SCHEMA), "set", t), lines), (json_of, raw)):
            assert said(lambda read=read, text=text: read(mutated(text, chance)))[1], SEED


def json_of(text: str) -> Config:
    return document.from_json(SCHEMA, text)


def test_the_first_line_that_is_wrong_is_named_and_nothing_is_loaded():
    before = load.load(Config(SCHEMA), "set", "set system location x")
    with pytest.raises(parse.Malformed, match="line 2: 99 is not in"):
        load.load(before, "set", "set wires north workers 2\nset wires north workers 99")
    assert before.values == {"system": {"location": "x"}}


def test_replace_replaces_what_it_marks_and_merge_does_not():
    base = load.load(Config(SCHEMA), "set", "set policies web engine none\nset policies other")
    text = "policies { replace: web { rate-limit 1m; } }"
    assert load.load(base, "replace", text).get(("policies", "web")) == {"rate-limit": 1_000_000}
    assert load.load(base, "merge", text).get(("policies", "web")) == {"engine": "none", "rate-limit": 1_000_000}
    assert load.load(base, "override", text).names(("policies",)) == ["web"]


def test_a_text_is_loaded_at_the_level_where_one_edits():
    config = load.load(Config(SCHEMA), "merge", "workers 2; pair a { core b; }", ("wires", "north"))
    assert config.get(("wires", "north")) == {"workers": 2, "pair": {"a": {"core": "b"}}}


@pytest.mark.parametrize("word", ["a", "a b", 'a"b', "a\\b", "", "{", "#x", "/*", "é", "[x]", "a\nb"])
def test_a_quoted_word_is_split_back_as_it_was(word):
    assert words.split(f"x {words.quote(word)} y") == ["x", word, "y"]


def test_an_open_quote_is_a_sentence():
    with pytest.raises(UsageError, match="A double quote is not closed"):
        words.split('set system location "x')
