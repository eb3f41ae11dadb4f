"""What two sides changed since a common base, put together: private commits, and shared edits under them.

And :func:`changed`, the paths that differ between two configurations, which is what access is decided by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smartwire.config.schema import Node, Path
from smartwire.config.tree import Config, Values, same

_GONE = object()


def merge(base: Config, ours: Config, theirs: Config) -> tuple[Config, list[Path]]:
    """(both sides' changes together, the paths that both changed differently, where ours counts)."""
    conflicts: list[Path] = []
    values = _values(base.schema.root, True, base.values, ours.values, theirs.values, (), conflicts)
    off = (theirs.inactive | (ours.inactive - base.inactive)) - (base.inactive - ours.inactive)
    notes = dict(theirs.notes)
    for path in {*base.notes, *ours.notes}:
        if ours.notes.get(path) != base.notes.get(path):
            notes.pop(path, None)
            if path in ours.notes:
                notes[path] = ours.notes[path]
    merged = Config(base.schema, {} if values is _GONE else values)
    there = frozenset(p for p in off if merged.has(p))
    return Config(base.schema, merged.values, there, {p: t for p, t in notes.items() if merged.has(p)}), conflicts


def _values(node: Node, entry: bool, base: Any, ours: Any, theirs: Any, path: Path, conflicts: list[Path]) -> Any:
    """As :func:`merge`, of what stands at one node (`entry` as in :func:`smartwire.config.tree.same`)."""
    if same(node, ours, theirs, entry):
        return ours
    if same(node, base, ours, entry):
        return theirs
    if same(node, base, theirs, entry):
        return ours
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return _leaf_list(base if isinstance(base, tuple) else (), ours, theirs)
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        conflicts.append(path)
        return ours
    before = base if isinstance(base, dict) else {}
    found = {}
    for key in _order(node, entry, before, ours, theirs, path, conflicts):
        child, whole = (node, True) if not entry else (node.children[key], node.children[key].kind != "list")
        sides = (before.get(key, _GONE), ours.get(key, _GONE), theirs.get(key, _GONE))
        one = _values(child, whole, *sides, (*path, key), conflicts)
        if one is not _GONE:
            found[key] = one
    return found or (_GONE if path and not (node.kind == "list" and entry) else {})


def _order(
    node: Node, entry: bool, base: Values, ours: Values, theirs: Values, path: Path, conflicts: list[Path]
) -> list[str]:
    """All keys, in the order that one side gave them, or that both left them in."""
    if entry or not node.ordered_by_user:
        return list(dict.fromkeys((*theirs, *ours)))
    mine, other = (_moved(base, side) for side in (ours, theirs))
    if mine and other and mine != other:
        conflicts.append(path)
    first, second = (ours, theirs) if mine else (theirs, ours)
    return list(dict.fromkeys((*first, *second)))


def _moved(base: Values, side: Values) -> list[str]:
    """The order of what both have, if it is another than in the base."""
    order = [k for k in side if k in base]
    return order if order != [k for k in base if k in side] else []


def _leaf_list(base: tuple, ours: tuple, theirs: tuple) -> Any:
    kept = [v for v in theirs if v in ours or v not in base]
    return (*kept, *(v for v in ours if v not in base and v not in kept)) or _GONE


def changed(old: Config, new: Config) -> Iterator[Path]:
    """Paths of the leaves, entries, marks and orders that differ."""
    yield from _changed(old.schema.root, True, old.values, new.values, ())
    yield from old.inactive ^ new.inactive
    yield from (p for p in {*old.notes, *new.notes} if old.notes.get(p) != new.notes.get(p))


def _changed(node: Node, entry: bool, a: Any, b: Any, path: Path) -> Iterator[Path]:
    if a is b:
        return
    if not isinstance(a, dict) and not isinstance(b, dict):
        if a != b:
            yield path
        return
    if entry and node.kind == "list" and (a is None or b is None):
        yield path  # an entry that only one side has
    a, b = a or {}, b or {}
    if not entry and node.ordered_by_user and [k for k in a if k in b] != [k for k in b if k in a]:
        yield path
    for key in {**a, **b}:
        child, whole = (node, True) if not entry else (node.children[key], node.children[key].kind != "list")
        yield from _changed(child, whole, a.get(key), b.get(key), (*path, key))
