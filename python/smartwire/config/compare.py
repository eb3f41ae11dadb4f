"""``show | compare``: what differs between two configurations, with ``[edit ...]`` banners as Junos prints them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smartwire.config import text, words
from smartwire.config.schema import Node, Path
from smartwire.config.tree import Config


def compare(old: Config, new: Config, mask: bool = True) -> str:
    """What leads from `old` to `new`; empty if nothing does.

    ``-`` and ``+`` before what goes and comes, ``!`` before what is moved, deactivated, activated or commented.
    """
    lines: list[str] = []
    for path, changed in sections(old, new, mask):
        lines.append(f"[edit{' ' if path else ''}{words.join(path)}]")
        lines += changed
    return "".join(f"{line}\n" for line in lines)


def sections(old: Config, new: Config, mask: bool = True) -> Iterator[tuple[Path, list[str]]]:
    """(path of a container or entry that both have, the lines that differ right in it)."""
    marked = set(old.inactive ^ new.inactive)
    marked |= {p for p in {*old.notes, *new.notes} if old.notes.get(p) != new.notes.get(p)}
    yield from _container(old, new, old.schema.root, (), old.values, new.values, mask, marked)


def _container(
    old: Config, new: Config, node: Node, path: Path, a: dict, b: dict, mask: bool, marked: set[Path]
) -> Iterator[tuple[Path, list[str]]]:
    """The sections of a container or entry that is in both."""
    if a is b and not any(p[: len(path)] == path for p in marked):
        return
    lines: list[str] = []
    below: list[Iterator[tuple[Path, list[str]]]] = []
    for child in node.children.values():
        at = (*path, child.name)
        here, there = a.get(child.name), b.get(child.name)
        if here is None and there is None:
            continue
        if here is None:
            lines += _signed("+", new, child, at, mask)
        elif there is None:
            lines += _signed("-", old, child, at, mask)
        elif child.is_leaf:
            lines += _leaf(old, new, child, at, mask, marked)
        elif child.kind == "container":
            lines += _mark(old, new, at, f"{child.name} {{ ... }}", marked)
            below.append(_container(old, new, child, at, here, there, mask, marked))
        elif child.inner:
            lines += _mark(old, new, at, f"{child.name} {{ ... }}", marked)
            first = len(below)
            if inside := list(_list(old, new, child, at, here, there, mask, marked, below)):
                below.insert(first, iter([(at, inside)]))
        else:
            lines += _list(old, new, child, at, here, there, mask, marked, below)
    if lines:
        yield path, lines
    for sections_below in below:
        yield from sections_below


def _list(
    old: Config, new: Config, node: Node, path: Path, a: dict, b: dict, mask: bool, marked: set[Path], below: list
) -> Iterator[str]:
    """The lines of a list that is in both; the sections of entries that are in both go to `below`."""
    if a is b and not any(p[: len(path)] == path for p in marked):
        return
    for key in a:
        if key not in b:
            yield from (f"-   {line}" for line in text.entry_lines(old, node, (*path, key), mask))
    moved = _moved([k for k in a if k in b], [k for k in b if k in a]) if node.ordered_by_user else set()
    for key in b:
        if a.get(key) is b[key] and not marked and key not in moved:
            continue
        at = (*path, key)
        head = words.quote(key) if node.inner else f"{node.name} {words.quote(key)}"
        if key not in a:
            yield from (f"+   {line}" for line in text.entry_lines(new, node, at, mask))
            continue
        if key in moved:
            before = list(b)[: list(b).index(key)]
            yield f"!   {head} {{ ... }} ## moved {'after ' + words.quote(before[-1]) if before else 'to the front'}"
        yield from _mark(old, new, at, f"{head} {{ ... }}", marked)
        below.append(_container(old, new, node, at, a[key], b[key], mask, marked))


def _leaf(old: Config, new: Config, node: Node, path: Path, mask: bool, marked: set[Path]) -> Iterator[str]:
    """The lines of a leaf or leaf-list that is in both."""
    a, b = old.get(path), new.get(path)
    if node.kind == "leaf":
        if a != b:
            # A changed secret is shown changed, though both are stars.
            yield f"-   {text.leaf_line(old, node, path, a, mask)}"
            yield f"+   {text.leaf_line(new, node, path, b, mask)}"
    elif a != b:
        gone, come = (tuple(v for v in x if v not in y) for x, y in ((a, b), (b, a)))
        if gone:
            yield f"-   {text.leaf_line(old, node, path, gone, mask)}"
        if come:
            yield f"+   {text.leaf_line(new, node, path, come, mask)}"
        if not gone and not come:
            yield f"!   {text.leaf_line(new, node, path, b, mask)}"
    values = {(*path, text.to_text(v)) for v in b} if node.kind == "leaf-list" else set()
    if values & marked and a == b:
        yield f"!   {text.leaf_line(new, node, path, b, mask)}"
    yield from _mark(old, new, path, text.leaf_line(new, node, path, b, mask), marked)


def _signed(sign: str, config: Config, node: Node, path: Path, mask: bool) -> Iterator[str]:
    """All of a child that only one of the two has."""
    return (f"{sign}   {line}" for line in text.node_lines(config, node, path, mask))


def _mark(old: Config, new: Config, path: Path, what: str, marked: set[Path]) -> Iterator[str]:
    """The lines of a changed ``inactive:`` or comment of what is in both."""
    if path not in marked:
        return
    if (path in old.inactive) != (path in new.inactive):
        yield f"!   {'inactive' if path in new.inactive else 'active'}: {what}"
    if (note := new.notes.get(path)) != (before := old.notes.get(path)):
        if before:
            yield f"-   /* {before} */"
        if note:
            yield f"+   /* {note} */"
        yield f"    {what}"


def _moved(a: list[Any], b: list[Any]) -> set[Any]:
    """The fewest keys that had to move to get from order `a` to order `b`: those outside a longest common run."""
    if a == b:
        return set()
    import bisect

    place = {key: n for n, key in enumerate(a)}
    tails: list[int] = []
    ends: list[Any] = []
    before: dict[Any, Any] = {}
    for key in b:
        n = place[key]
        at = bisect.bisect_left(tails, n)
        before[key] = ends[at - 1] if at else None
        if at == len(tails):
            tails.append(n)
            ends.append(key)
        else:
            tails[at], ends[at] = n, key
    kept, key = set(), ends[-1] if ends else None
    while key is not None:
        kept.add(key)
        key = before[key]
    return set(b) - kept
