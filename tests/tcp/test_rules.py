"""Each rule of the specification has a script that holds it."""

from __future__ import annotations

import re
from pathlib import Path

from smartwire.cli.script import held, known, scripts, table

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "tcp-rules.md"
SCRIPTS = scripts([HERE])


def test_every_rule_has_a_script():
    assert sorted(set(known(HERE)) - set(held(HERE))) == []


def test_scripts_name_only_rules_that_exist():
    assert {name: paths for name, paths in held(HERE).items() if name not in known(HERE)} == {}


def test_every_script_says_what_it_holds_and_why():
    holding = {path for paths in held(HERE).values() for path in paths}
    texts = {path: path.read_text() for path in SCRIPTS}
    assert [p.name for p, t in texts.items() if not re.match(r"# .+\.\n(#.*\n)*# why: ", t) or p not in holding] == []


def test_names_are_behaviours_in_words_and_none_comes_twice():
    names = [path.stem for path in SCRIPTS]
    assert len(names) == len(set(names))
    assert [n for n in names if not re.fullmatch(r"[a-z0-9_]+", n)] == []


def test_the_table_of_rules_is_up_to_date(monkeypatch):
    monkeypatch.chdir(HERE.parents[1])
    wrong = "run: ./smartwire script rules > docs/tcp-rules.md"
    assert table(Path("tests/tcp")) == DOCUMENT.read_text(encoding="utf-8"), wrong
