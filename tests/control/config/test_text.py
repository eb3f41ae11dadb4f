"""The text forms of a configuration: what is printed is read back as the same."""

from __future__ import annotations

import pytest
from smartwire.config import document, load, parse, text
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config

SCHEMA = load_schema()
EXAMPLE = """
system { host-name box1; login { user alice { class super-user; password "$argon2id$abc"; } } }
/* the north link */
wires {
    north { pair eth1 { core eth2; } inactive: mode observe; workers 2; description "a \\"b\\" \\\\ c"; }
}
prefix-lists { cdn { prefix [ 192.0.2.0/24 2001:db8::/32 ]; } }
policies {
    web { match { core-port [ 80 443 ]; core-prefix-list cdn; } rate-limit 20m; }
    inactive: rest;
    cdn { engine none; }
}
"""


def config(source: str = EXAMPLE) -> Config:
    return load.read(SCHEMA, source)


def test_braces_that_are_printed_are_read_back_as_the_same_configuration():
    assert load.read(SCHEMA, text.show(config(), mask=False)) == config()


def test_set_lines_that_are_printed_are_read_back_as_the_same_configuration():
    assert load.load(Config(SCHEMA), "set", text.show_set(config(), mask=False)) == config()


def test_json_is_read_back_as_the_active_configuration():
    assert document.from_raw(SCHEMA, document.to_raw(config())).values == config().active().values


def test_a_secret_is_printed_as_stars_in_every_form():
    for form in (text.show(config()), text.show_set(config()), document.to_json(config()), document.to_xml(config())):
        assert "argon2id" not in form
        assert "********" in form


def test_stars_are_not_read_back_as_a_secret():
    with pytest.raises(parse.Malformed, match="stands for a password that is not shown"):
        load.read(SCHEMA, text.show(config()))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("wires { north { workers 99; } }", "line 1: 99 is not in 1..64."),
        ("wires {\n north {\n mod x;\n}}", "line 3: There is no 'mod' under wires north; did you mean mode?"),
        ("wires { north {", "a { is not closed"),
        ("wires { } }", "a } too many"),
        ('system { host-name "x; }', "a double quote is not closed"),
        ("system { host-name x }", "'}' is not expected here"),
        ("system { host-name x", "ends within a statement"),
        ("wires { north { workers { 2; } } }", "needs a value"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_line(source, sentence):
    with pytest.raises(parse.Malformed) as e:
        load.read(SCHEMA, source)
    assert sentence in str(e.value)
