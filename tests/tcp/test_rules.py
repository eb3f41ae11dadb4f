"""Each rule of the specification has a script that holds it."""

from __future__ import annotations

import re
from pathlib import Path

from smartwire.cli.script import SUFFIX

HERE = Path(__file__).parent
SCRIPTS = sorted(HERE.rglob(f"*{SUFFIX}"))


def rules() -> dict[str, str]:
    """Identifiers and texts, from RULES."""
    lines = (line.split(None, 1) for line in (HERE / "RULES").read_text().splitlines() if line and line[0] != "#")
    return dict(lines)


def named(script: Path) -> set[str]:
    """The rules that a script names."""
    return {r for line in re.findall(r"^rule (.+)$", script.read_text(), re.M) for r in line.split()}


def test_every_rule_has_a_script():
    held = set().union(*map(named, SCRIPTS))
    assert sorted(set(rules()) - held) == []


def test_scripts_name_only_rules_that_exist():
    assert {s.name: sorted(named(s) - set(rules())) for s in SCRIPTS if named(s) - set(rules())} == {}


def test_every_script_says_what_it_holds_and_why():
    wanting = [s.name for s in SCRIPTS if not re.match(r"# .+\.\n(#.*\n)*# why: ", s.read_text()) or not named(s)]
    assert wanting == []


def test_names_are_behaviours_in_words_and_none_comes_twice():
    names = [s.stem for s in SCRIPTS]
    assert len(names) == len(set(names))
    assert [n for n in names if not re.fullmatch(r"[a-z0-9_]+", n)] == []
