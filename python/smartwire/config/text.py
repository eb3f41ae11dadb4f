"""The text forms of a configuration, printed: curly braces and ``set`` lines, as Junos writes them.

With ``mask`` secrets are shown as stars. What is printed without it is read back by :mod:`smartwire.config.parse` as
the same configuration, marks included.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smartwire.config import words
from smartwire.config.schema import Node, Path, to_text
from smartwire.config.tree import Config

INDENT = "    "


def show(config: Config, path: Path = (), mask: bool = True) -> str:
    """What is at `path` and below, in curly braces."""
    return "".join(f"{line}\n" for line in show_lines(config, path, mask))


def show_lines(config: Config, path: Path, mask: bool) -> list[str]:
    """The lines of :func:`show`."""
    node, entry = config.schema.locate(path)
    here = config.get(path)
    if here is None:
        return []
    if node.is_leaf or (node.kind == "list" and not entry):
        return list(node_lines(config, node, path if not _is_value(node, entry) else path[:-1], mask))
    return list(body(config, node, path, here, mask))


def _is_value(node: Node, entry: bool) -> bool:
    return node.kind == "leaf-list" and entry


def body(config: Config, node: Node, path: Path, here: dict[str, Any], mask: bool) -> Iterator[str]:
    """The lines of all children of a container or list entry, in the schema's order."""
    for child in node.children.values():
        if child.name in here:
            yield from node_lines(config, child, (*path, child.name), mask)


def node_lines(config: Config, node: Node, path: Path, mask: bool) -> Iterator[str]:
    """The lines of one child: a statement, a block, or a block per entry of a list."""
    here = config.get(path)
    if node.is_leaf:
        yield from marks(config, path, leaf_line(config, node, path, here, mask))
    elif node.kind == "container":
        yield from marks(config, path, *block(node.name, list(body(config, node, path, here, mask))))
    elif node.inner:
        inside = [line for key in here for line in entry_lines(config, node, (*path, key), mask)]
        yield from marks(config, path, *block(node.name, inside))
    else:
        for key in here:
            yield from entry_lines(config, node, (*path, key), mask)


def entry_lines(config: Config, node: Node, path: Path, mask: bool) -> Iterator[str]:
    """The lines of one entry of a list."""
    head = words.quote(path[-1]) if node.inner else f"{node.name} {words.quote(path[-1])}"
    inside = list(body(config, node, path, config.get(path), mask))
    yield from marks(config, path, *(block(head, inside) if inside else [f"{head};"]))


def block(head: str, inside: list[str]) -> list[str]:
    """A head with its lines in braces."""
    return [f"{head} {{", *(INDENT + line for line in inside), "}"]


def leaf_line(config: Config, node: Node, path: Path, value: Any, mask: bool) -> str:
    """The statement of a leaf or leaf-list."""
    if node.kind == "leaf-list":
        texts = [words.quote(to_text(v)) for v in value]
        off = [
            f"inactive: {t}" if (*path, to_text(v)) in config.inactive else t for t, v in zip(texts, value, strict=True)
        ]
        return f"{node.name} [ {' '.join(off)} ];" if len(value) != 1 or off != texts else f"{node.name} {texts[0]};"
    if node.secret:
        return f"{node.name} {words.quote(words.MASK if mask else to_text(value))}; ## SECRET-DATA"
    return f"{node.name} {words.quote(to_text(value))};"


def marks(config: Config, path: Path, *lines: str) -> Iterator[str]:
    """Lines with the comment and ``inactive:`` of their path before them."""
    if path in config.notes:
        yield f"/* {config.notes[path]} */"
    first, *rest = lines
    yield f"inactive: {first}" if path in config.inactive else first
    yield from rest


def show_set(config: Config, path: Path = (), mask: bool = True) -> str:
    """What is at `path` and below as ``set``, ``deactivate`` and ``annotate`` commands, with full paths."""
    node, entry = config.schema.locate(path)
    here = config.get(path)
    if here is None:
        return ""
    return "".join(f"{line}\n" for line in _set_lines(config, node, path, here, entry, mask))


def _set_lines(config: Config, node: Node, path: Path, here: Any, entry: bool, mask: bool) -> Iterator[str]:
    shown = words.join(path)
    if node.kind == "leaf-list":
        for value in (here,) if entry else here:
            text = to_text(value)
            yield f"set {words.join(path[:-1] if entry else path)} {words.quote(text)}"
            if (*path, text) in config.inactive:
                yield f"deactivate {shown} {words.quote(text)}"
    elif node.kind == "leaf":
        yield f"set {shown} {words.quote(words.MASK if node.secret and mask else to_text(here))}"
    elif node.kind == "list" and not entry:
        for key, inside in here.items():
            yield from _set_lines(config, node, (*path, key), inside, True, mask)
    else:
        if entry and not here:
            yield f"set {shown}"
        for child in node.children.values():
            if child.name in here:
                yield from _set_lines(config, child, (*path, child.name), here[child.name], False, mask)
    if path in config.inactive:
        yield f"deactivate {shown}"
    if path in config.notes:
        yield f"annotate {shown} {words.quote(config.notes[path])}"
