"""docs/acceptance.md names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from smartwire.lab.foreign import FOREIGN
from smartwire.lab.scenarios import SCENARIOS

HOME = Path(__file__).parents[2]
TEXT = (HOME / "docs/acceptance.md").read_text()
NAMED = re.findall(r"`([^`]+)`", TEXT.split("\n## ", 1)[1])


def there(name: str) -> bool:
    if found := re.fullmatch(r"lab run ([\w-]+)", name):
        return found[1] in SCENARIOS
    file, _, test = name.partition("::")
    return (HOME / file).is_file() and bool(re.search(rf"\b{test}\b", (HOME / file).read_text()))


def test_every_test_that_it_names_exists():
    assert [name for name in NAMED if not there(name) and name != "[raw]"] == []


def test_it_has_forty_ways_in_order():
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)] == list(range(1, 41))


def test_it_counts_the_kinds_of_frames_right():
    assert f"({len(FOREIGN)} kinds of frames" in TEXT
