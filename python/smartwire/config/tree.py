"""A configuration as a value: nothing here ever changes one, every edit returns a new one that shares what is the same.

``values`` is plain: a container is a dict, a list a dict of entries by key (without the key leaf; in the operator's
order where that counts), a leaf an int, bool or str, a leaf-list a tuple. What Junos calls ``inactive:`` and its
comments stand beside the values, by path, and are gone in :meth:`Config.active`, which is what takes effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from smartwire.config import words
from smartwire.config.schema import Invalid, Node, Path, Schema
from smartwire.errors import NotThere

Values = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Config:
    """A configuration."""

    schema: Schema = field(repr=False, compare=False)
    values: Values = field(default_factory=dict)
    inactive: frozenset[Path] = frozenset()
    """Paths of what is deactivated, with all below it."""
    notes: Mapping[Path, str] = field(default_factory=dict)
    """Comments by path."""

    def __eq__(self, other: object) -> bool:
        """The same values, in the same order where that counts, and the same marks."""
        if self is other:
            return True
        if not isinstance(other, Config) or self.inactive != other.inactive or self.notes != other.notes:
            return False
        return same(self.schema.root, self.values, other.values)

    def __hash__(self) -> int:
        """By identity: values are big."""
        return id(self)

    # ---- reading -------------------------------------------------------------------------------------------------

    def get(self, path: Path, default: Any = None) -> Any:
        """What is configured at `path`, or `default`; defaults of the schema are not applied."""
        here: Any = self.values
        for step in path:
            if isinstance(here, dict):
                if step not in here:
                    return default
                here = here[step]
            elif isinstance(here, tuple):
                return next((v for v in here if str(v) == step), default)
            else:
                return default
        return here

    def value(self, path: Path) -> Any:
        """What counts for a leaf: what is configured, else the schema's default (None if there is neither)."""
        found = self.get(path)
        return self.schema.find(path).default if found is None else found

    def has(self, path: Path) -> bool:
        """True if something is configured there."""
        missing = object()
        return self.get(path, missing) is not missing

    def names(self, path: Path) -> list[str]:
        """Keys of the list, or values of the leaf-list, at `path`."""
        return [str(k) for k in self.get(path, ())]

    def active(self) -> Config:
        """What takes effect: without what is deactivated, without comments."""
        config = Config(self.schema, self.values)
        for path in sorted(self.inactive, key=len, reverse=True):
            if config.has(path):
                config = config.delete(path)
        return config

    # ---- edits ---------------------------------------------------------------------------------------------------

    def set(self, path: Path, value: Any = None) -> Config:
        """Sets a leaf, adds a value to a leaf-list, or makes a list entry or a container be there.

        Args:
            path: where.
            value: as :meth:`Schema.parse` returns it; for a leaf-list one value or a tuple of them.

        Raises:
            Invalid: a value is missing, or does not belong there.
        """
        node, entry = self.schema.locate(path)
        if node.is_leaf:
            if value is None:
                raise Invalid(f"{words.join(path)} needs a value: {node.typed}.")
            if node.kind == "leaf":
                return self._put(path, value)
            before = self.get(path, ())
            more = value if isinstance(value, tuple) else (value,)
            return self._put(path, before + tuple(v for v in dict.fromkeys(more) if v not in before))
        if value is not None:
            raise Invalid(f"{words.join(path)} takes no value.")
        if node.kind == "list":
            if not entry:
                raise Invalid(f"{words.join(path)} needs a name: {node.key.help if node.key else ''}")
            if node.key:
                self.schema.parse(node.key, path[-1])
            return self if self.has(path) else self._put(path, {})
        return self

    def delete(self, path: Path) -> Config:
        """Without what is at `path`, its marks and all below.

        Raises:
            NotThere: nothing is configured there.
        """
        if not path:
            return Config(self.schema)
        self._need(path)
        return replace(self, values=_without(self.values, path, self.schema.root), **self._marks(path, None))

    def rename(self, path: Path, key: str) -> Config:
        """The list entry at `path` under another key, in the same place; references to it are not changed."""
        target = (*path[:-1], key)
        self._entry(path, target)
        siblings = self.get(path[:-1])
        renamed = {key if k == path[-1] else k: v for k, v in siblings.items()}
        return replace(self, values=_with(self.values, path[:-1], renamed), **self._marks(path, target))

    def copy(self, path: Path, key: str) -> Config:
        """A copy of the list entry at `path` under another key, after all others."""
        target = (*path[:-1], key)
        self._entry(path, target)
        notes = dict(self.notes)
        notes |= {target + p[len(path) :]: t for p, t in self.notes.items() if _below(p, path)}
        off = self.inactive | {target + p[len(path) :] for p in self.inactive if _below(p, path)}
        return replace(self, values=_with(self.values, target, self.get(path)), inactive=off, notes=notes)

    def insert(self, path: Path, where: str, key: str) -> Config:
        """The list entry (or leaf-list value) at `path` moved `where` ("before" or "after") another one.

        Raises:
            Invalid: the order does not count there.
            NotThere: one of the two is not there.
        """
        node, _ = self.schema.locate(path)
        if not node.ordered_by_user:
            raise Invalid(f"The order of {words.join(path[:-1])} does not count: insert is for what is ordered by you.")
        self._need(path)
        self._need((*path[:-1], key))
        if key == path[-1]:
            return self
        siblings = self.get(path[:-1])
        order = [k for k in siblings if k != path[-1]]
        order.insert(order.index(key) + (where == "after"), path[-1])
        return self._put(path[:-1], {k: siblings[k] for k in order})

    def deactivate(self, path: Path) -> Config:
        """What is at `path` stays, and has no effect."""
        self._need(path)
        return replace(self, inactive=self.inactive | {path})

    def activate(self, path: Path) -> Config:
        """What is at `path` has effect again."""
        self._need(path)
        return replace(self, inactive=self.inactive - {path})

    def annotate(self, path: Path, text: str) -> Config:
        """A comment for what is at `path`; an empty one takes it away."""
        self._need(path)
        if "*/" in text or not text.isprintable():
            raise Invalid("A comment is one line of printable characters and cannot contain */.")
        notes = {p: t for p, t in self.notes.items() if p != path} | ({path: text} if text else {})
        return replace(self, notes=notes)

    # ---- how -----------------------------------------------------------------------------------------------------

    def _put(self, path: Path, value: Any) -> Config:
        return replace(self, values=_with(self.values, path, value))

    def _need(self, path: Path) -> None:
        self.schema.locate(path)
        if not self.has(path):
            raise NotThere(f"There is no {words.join(path)} in the configuration.")

    def _entry(self, path: Path, target: Path) -> None:
        node, entry = self.schema.locate(path)
        if node.kind != "list" or not entry:
            raise Invalid(f"{words.join(path)} has no name that could be another: give the path of a list's entry.")
        self._need(path)
        if node.key:
            self.schema.parse(node.key, target[-1])
        if self.has(target):
            raise Invalid(f"There is a {words.join(target)} already: delete it first, or choose another name.")

    def _marks(self, path: Path, target: Path | None) -> dict[str, Any]:
        """The marks when what is at `path` moves to `target`, or goes."""

        def moved(p: Path) -> Path | None:
            if not _below(p, path):
                return p
            return None if target is None else target + p[len(path) :]

        off = frozenset(q for p in self.inactive if (q := moved(p)) is not None)
        return {"inactive": off, "notes": {q: t for p, t in self.notes.items() if (q := moved(p)) is not None}}


def same(node: Node | None, a: Any, b: Any, entry: bool = True) -> bool:
    """True if what stands at a node is the same on both sides; the order of entries counts where it is the operator's.

    Args:
        node: the node; None for what no schema knows.
        a: one side.
        b: the other.
        entry: False if `a` and `b` are all entries of a list by key, not one of them.
    """
    if a is b:
        return True
    if not (isinstance(a, dict) and isinstance(b, dict)):
        return type(a) is type(b) and a == b
    if a.keys() != b.keys():
        return False
    if not entry:
        ordered = node is not None and node.ordered_by_user
        return not (ordered and list(a) != list(b)) and all(same(node, a[k], b[k]) for k in a)
    below = node.children if node else {}
    return all(same(c := below.get(k), a[k], b[k], c is None or c.kind != "list") for k in a)


def _below(path: Path, top: Path) -> bool:
    return path[: len(top)] == top


def _with(values: Values, path: Path, value: Any) -> Values:
    """A copy of the dicts along the path, with the value at its end."""
    if not path:
        return value
    return {**values, path[0]: _with(values.get(path[0], {}), path[1:], value)}


def _without(here: Values, path: Path, node: Node) -> Values:
    """As `_with`, without what is at the path; containers, lists and leaf-lists that are empty then are gone too."""
    child = node.children[path[0]]
    inside, rest = here[path[0]], path[1:]
    if not rest:
        below: Any = None
    elif child.kind == "leaf-list":
        below = tuple(v for v in inside if str(v) != rest[0])
    elif child.kind == "list":
        kept = {k: v for k, v in inside.items() if k != rest[0]}
        below = {**inside, rest[0]: _without(inside[rest[0]], rest[1:], child)} if rest[1:] else kept
    else:
        below = _without(inside, rest, child)
    if below:
        return {**here, path[0]: below}
    return {k: v for k, v in here.items() if k != path[0]}


def leaves(schema: Schema, values: Values) -> Iterator[tuple[Path, Node, Any]]:
    """(path, node, value) of every leaf and leaf-list, and (path, list, {}) of every list entry, in order."""

    def under(node: Node, here: Values, path: Path) -> Iterator[tuple[Path, Node, Any]]:
        for child in node.children.values():
            if child.name not in here:
                continue
            value, at = here[child.name], (*path, child.name)
            if child.is_leaf:
                yield at, child, value
            elif child.kind == "list":
                for key, entry in value.items():
                    yield (*at, key), child, {}
                    yield from under(child, entry, (*at, key))
            else:
                yield from under(child, value, at)

    yield from under(schema.root, values, ())
