"""A configuration as RFC 7951 JSON and as XML, and back from JSON; what is deactivated is left out."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

from smartwire.config import words
from smartwire.config.schema import Invalid, Node, Path, Schema, to_text
from smartwire.config.tree import Config, Values

LONG = ("int64", "uint64", "decimal64")
"""Types whose values are strings in JSON (RFC 7951, section 6.1)."""


def only(config: Config, path: Path) -> Config:
    """The configuration with nothing in it but what is at `path`."""
    if not path:
        return config
    here = config.get(path)
    _, entry = config.schema.locate(path)
    if here is None or (entry and not isinstance(here, dict)):
        return Config(config.schema)
    for step in reversed(path):
        here = {step: here}
    return Config(config.schema, here, config.inactive, config.notes)


def to_raw(config: Config, mask: bool = False) -> dict[str, Any]:
    """The active configuration as an RFC 7951 document."""
    return _raw_body(config.schema.root, config.active().values, mask)


def to_json(config: Config) -> str:
    """The active configuration as JSON text, secrets masked."""
    return json.dumps(to_raw(config, mask=True), indent=2) + "\n"


def _raw_body(node: Node, here: Values, mask: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for child in node.children.values():
        if child.name not in here:
            continue
        value = here[child.name]
        if child.is_leaf:
            scalars = [_raw_scalar(child, v, mask) for v in (value if child.kind == "leaf-list" else (value,))]
            found[child.qualified] = scalars if child.kind == "leaf-list" else scalars[0]
        elif child.kind == "container":
            found[child.qualified] = _raw_body(child, value, mask)
        else:
            entries = [_raw_entry(child, key, entry, mask) for key, entry in value.items()]
            found[child.qualified] = {child.inner: entries} if child.inner else entries
    return found


def _raw_entry(node: Node, key: str, entry: Values, mask: bool) -> dict[str, Any]:
    assert node.key
    return {node.key.name: key} | _raw_body(node, entry, mask)


def _raw_scalar(node: Node, value: Any, mask: bool) -> Any:
    if node.secret and mask:
        return words.MASK
    return str(value) if node.type.yang_type() in LONG else value


def from_raw(schema: Schema, document: Any) -> Config:
    """The configuration that an RFC 7951 document is.

    Raises:
        Invalid: the first thing that does not fit, with its path.
    """
    return Config(schema, _body(schema, schema.root, document, ()))


def from_json(schema: Schema, text: str) -> Config:
    """As :func:`from_raw`, from text."""
    try:
        return from_raw(schema, json.loads(text))
    except (json.JSONDecodeError, RecursionError) as e:
        raise Invalid(f"This is no JSON: {e}.") from None


def _body(schema: Schema, node: Node, document: Any, path: Path) -> Values:
    where = words.join(path) or "the top"
    if not isinstance(document, dict):
        raise Invalid(f"{where} must be an object.")
    values: Values = {}
    for name, value in document.items():
        child = node.children.get(name.rpartition(":")[2])
        if child is None:
            raise Invalid(f"There is no {name!r} under {where}.")
        at = (*path, child.name)
        if child.kind == "list":
            if child.inner:
                value = value.get(child.inner, []) if isinstance(value, dict) else None
            values[child.name] = _entries(schema, child, value, at)
        elif child.kind == "container":
            values[child.name] = _body(schema, child, value, at)
        elif child.kind == "leaf-list":
            if not isinstance(value, list):
                raise Invalid(f"{words.join(at)} must be an array.")
            values[child.name] = tuple(dict.fromkeys(_scalar(schema, child, v, at) for v in value))
        else:
            values[child.name] = _scalar(schema, child, value, at)
    order = {name: n for n, name in enumerate(node.children)}
    return {k: v for k, v in sorted(values.items(), key=lambda kv: order[kv[0]]) if v not in ({}, ())}


def _entries(schema: Schema, node: Node, entries: Any, path: Path) -> Values:
    assert node.key
    if not isinstance(entries, list) or not all(isinstance(e, dict) and node.key.name in e for e in entries):
        raise Invalid(f"{words.join(path)} must be an array of objects that each have {node.key.name!r}.")
    found: Values = {}
    for entry in entries:
        key = str(entry[node.key.name])
        schema.parse(node.key, key)
        if key in found:
            raise Invalid(f"{words.join((*path, key))} is there twice.")
        rest = {k: v for k, v in entry.items() if k != node.key.name}
        found[key] = _body(schema, node, rest, (*path, key))
    return found


def _scalar(schema: Schema, node: Node, value: Any, path: Path) -> Any:
    plain = isinstance(value, bool) if node.is_flag else isinstance(value, (int, str)) and not isinstance(value, bool)
    if not plain:
        raise Invalid(f"{words.join(path)}: {value!r} is none of {node.typed}.")
    return schema.parse(node, to_text(value))


def to_xml(config: Config) -> str:
    """The active configuration as XML text (RFC 7950), secrets masked."""
    top = ET.Element("configuration")
    for child, value in _present(config.schema.root, config.active().values):
        element = ET.SubElement(top, child.name, xmlns=f"urn:smartwire:{child.module.removeprefix('smartwire-')}")
        _xml(element, top, child, value)
    ET.indent(top, "  ")
    return ET.tostring(top, encoding="unicode") + "\n"


def _present(node: Node, here: Values) -> list[tuple[Node, Any]]:
    return [(c, here[c.name]) for c in node.children.values() if c.name in here]


def _xml(element: ET.Element, parent: ET.Element, node: Node, value: Any) -> None:
    """Fills in the element of a child; further entries or values become its siblings."""
    if node.kind == "leaf":
        element.text = words.MASK if node.secret else to_text(value)
    elif node.kind == "container":
        for child, inside in _present(node, value):
            _xml(ET.SubElement(element, child.name), element, child, inside)
    elif node.kind == "leaf-list":
        for number, one in enumerate(value):
            (element if number == 0 else ET.SubElement(parent, node.name)).text = to_text(one)
    else:
        assert node.key
        holder = element if node.inner else parent
        for number, (key, entry) in enumerate(value.items()):
            fresh = node.inner is not None or number > 0
            item = ET.SubElement(holder, node.inner or node.name) if fresh else element
            ET.SubElement(item, node.key.name).text = key
            for child, inside in _present(node, entry):
                _xml(ET.SubElement(item, child.name), item, child, inside)
