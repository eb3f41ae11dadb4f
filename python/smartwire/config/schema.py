"""The schema: what can be configured, read from the YANG modules in ``smartwire/yang``. The only importer of yangson.

A path is a tuple of words as an operator types them: ``("wires", "east", "pair", "eth1", "core")``. A container whose
only child is a list is one level, not two, as in Junos: ``wires east``, not ``wires wire east`` (``Node.inner`` is the
name that YANG knows between the two). Lists have one key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from smartwire.config import words
from smartwire.errors import UsageError

if TYPE_CHECKING:
    from yangson import DataModel
    from yangson.instance import RootNode
    from yangson.statement import Statement

MODULES = ("types", "system", "wires", "subscribers", "policies", "management")
REVISION = "2026-11-25"
Path = tuple[str, ...]
Names = Callable[[Path], Iterable[str]]


@cache
def datatypes() -> Any:
    """yangson's types. It takes a while to load, and who only asks smartwired (its command line) needs none of it."""
    from yangson import datatype

    return datatype


class Invalid(UsageError):
    """A path or value that the schema does not know; one sentence."""


class Problem(NamedTuple):
    """One thing that is wrong with a configuration, or that has no effect."""

    path: Path
    sentence: str
    severity: str = "error"

    def __str__(self) -> str:
        """As it is shown: severity, path, sentence."""
        where = f"[{words.join(self.path)}]: " if self.path else ""
        return f"{self.severity}: {where}{self.sentence}"


class Option(NamedTuple):
    """One word that may come next: what completion and ``?`` show."""

    word: str
    help: str
    kind: str
    """container, list, leaf, leaf-list, key, enum, reference, value, or enter: the statement may end here."""


@dataclass(eq=False)
class Node:
    """One thing that can be configured."""

    name: str
    kind: str
    """container, list, leaf or leaf-list."""
    module: str
    description: str
    parent: Node | None = None
    children: dict[str, Node] = field(default_factory=dict)
    inner: str | None = None
    """Of a list: the name of the YANG list inside the YANG container of this name."""
    key: Node | None = None
    ordered_by_user: bool = False
    min_elements: int = 0
    mandatory: bool = False
    default: Any = None
    units: str = ""
    enums: dict[str, str] = field(default_factory=dict)
    leafref: Path = ()
    """Path of the list whose keys are the possible values."""
    secret: bool = False
    password: bool = False
    musts: list[Any] = field(default_factory=list)
    type: Any = None

    @cached_property
    def path(self) -> Path:
        """Names from the top, without keys."""
        return ((*self.parent.path, self.name)) if self.parent else ()

    @property
    def is_leaf(self) -> bool:
        """True for leaf and leaf-list."""
        return self.kind in ("leaf", "leaf-list")

    @cached_property
    def is_flag(self) -> bool:
        """True for a boolean."""
        return isinstance(self.type, datatypes().BooleanType)

    @cached_property
    def mandatory_children(self) -> list[Node]:
        """Children that must be there."""
        return [c for c in self.children.values() if c.mandatory or c.min_elements]

    @cached_property
    def qualified(self) -> str:
        """The member name in RFC 7951 JSON."""
        same = self.parent is not None and self.parent.module == self.module
        return self.name if same else f"{self.module}:{self.name}"

    @cached_property
    def typed(self) -> str:
        """What a value looks like, for ``?``: a range, a type, a set of words."""
        return describe_type(self)

    @property
    def is_key(self) -> bool:
        """True for the leaf that names a list's entries."""
        return self.parent is not None and self.parent.key is self

    @property
    def help(self) -> str:
        """One line for ``?``: the description, range or type, units, default."""
        facts = [self.typed] if self.is_leaf and not self.enums else []
        if self.default is not None:
            facts.append(f"default {words.quote(to_text(self.default))}")
        if self.mandatory and not self.is_key:
            facts.append("mandatory")
        return self.description + (f" ({', '.join(facts)})" if facts else "")


def describe_type(node: Node) -> str:
    """A leaf's type in an operator's words."""
    if node.enums:
        return " | ".join(node.enums)
    if node.is_flag:
        return "true | false"
    if node.leafref:
        return f"name of one of {words.join(node.leafref)}"
    kind = node.type
    if isinstance(kind, datatypes().NumericType):
        spans = kind.range.intervals if kind.range else [kind._range]
        text = " | ".join(f"{s[0]}..{s[-1]}" if s[0] != s[-1] else str(s[0]) for s in spans)
        return f"{text} {node.units}".strip()
    if isinstance(kind, datatypes().StringType) and kind.name:
        return str(kind.name)
    if isinstance(kind, datatypes().LinearType) and kind.length:
        low, high = kind.length.intervals[0][0], kind.length.intervals[-1][-1]
        return f"text, {low}..{high} characters"
    return "text"


def to_text(value: Any) -> str:
    """A leaf's value as an operator types it, unquoted."""
    if value is True:
        return "true"
    if value is False:
        return "false"
    return str(value)


class Schema:
    """All that can be configured. Use :func:`load`."""

    def __init__(self, model: DataModel, statements: dict[str, Statement]) -> None:
        self.model = model
        self.root = Node("", "container", "", "The configuration.")
        for module in MODULES:
            full = f"smartwire-{module}"
            for statement in statements[full].substatements:
                if statement.keyword in ("container", "list"):
                    node = model.schema.get_data_child(statement.argument, full)
                    self._add(self.root, node, statement, full)
        for node in self.walk():
            node.leafref = self._level(node.leafref)

    def _add(self, parent: Node, source: Any, statement: Statement, module: str) -> None:
        """Adds the schema node `source`, written as `statement`, and all below it."""
        if not source.config:
            return
        name, described, inner = statement.argument, statement, None
        if (only := _only_list(statement)) is not None:
            source, statement, inner = source.get_data_child(only.argument, module), only, only.argument
        node = Node(name, statement.keyword, module, _text(described), parent, inner=inner)
        node.musts = list(source.must)
        parent.children[name] = node
        if node.is_leaf:
            self._type(node, source, statement)
            return
        for child in statement.substatements:
            if child.keyword in ("container", "list", "leaf", "leaf-list"):
                self._add(node, source.get_data_child(child.argument, module), child, module)
        if node.kind == "list":
            node.key = node.children.pop(source.keys[0][0])
            node.ordered_by_user = source.user_ordered
            node.min_elements = source.min_elements

    def _type(self, node: Node, source: Any, statement: Statement) -> None:
        """Fills in what a leaf's value may be."""
        node.type = source.type
        node.mandatory = node.kind == "leaf" and source.mandatory
        node.default = source.default
        node.units = source.units or ""
        node.secret = any(s.prefix == "sw" and s.keyword in ("secret", "password") for s in statement.substatements)
        node.password = any(s.prefix == "sw" and s.keyword == "password" for s in statement.substatements)
        if isinstance(source.type, datatypes().EnumerationType):
            written = statement.find1("type").find_all("enum")
            node.enums = {e.argument: _text(e) for e in written} or dict.fromkeys(source.type.enum, "")
        if isinstance(source.type, datatypes().LeafrefType):
            steps = statement.find1("type").find1("path").argument.split("/")[1:-1]
            node.leafref = tuple(step.partition(":")[2] for step in steps)

    def _level(self, steps: Path) -> Path:
        """A path of YANG names as one of ours: without the names of lists that are their container's only child."""
        node, path = self.root, []
        for step in steps:
            if node.inner != step:
                node = node.children[step]
                path.append(step)
        return tuple(path)

    # ---- finding -----------------------------------------------------------------------------------------------

    def find(self, path: Path) -> Node:
        """The node at `path`; for a list entry, its list.

        Raises:
            Invalid: nothing like it can be configured.
        """
        return self.locate(path)[0]

    def locate(self, path: Path) -> tuple[Node, bool]:
        """(the node, True if the path ends in the key of an entry, or in a value of a leaf-list).

        Raises:
            Invalid: nothing like it can be configured.
        """
        node, at = self.root, 0
        while at < len(path):
            child = node.children.get(path[at])
            if child is None:
                raise unknown(node, path[:at], path[at])
            node, at = child, at + 1
            if node.kind == "list" and at < len(path):
                at += 1
                if at == len(path):
                    return node, True
            elif node.kind == "leaf-list" and at == len(path) - 1:
                return node, True
            elif node.is_leaf and at < len(path):
                raise Invalid(f"Nothing can follow {words.join(path[:at])} but its value.")
        return node, False

    def walk(self, node: Node | None = None) -> Iterator[Node]:
        """Every node below, depth first, in the order of the modules."""
        for child in (node or self.root).children.values():
            yield child
            yield from self.walk(child)

    def parse(self, node: Node, text: str) -> Any:
        """The value that `text` means for a leaf, a leaf-list or a list's key.

        Raises:
            Invalid: with a sentence that says what it may be.
        """
        kind = node.type
        if isinstance(kind, datatypes().LeafrefType):
            kind = kind.ref_type if hasattr(kind, "ref_type") else datatypes().StringType(kind.sctx, None)
        if isinstance(kind, datatypes().IntegralType) and (short := re.fullmatch(r"(\d+)([kmgKMG])", text)):
            text = str(int(short[1]) * {"k": 10**3, "m": 10**6, "g": 10**9}[short[2].lower()])
        try:
            value = kind.parse_value(text)
        except (ValueError, TypeError):
            value = None
        if value is None or value not in kind:
            raise Invalid(refusal(node, text))
        sentence = words.check(str(kind.name), text)
        if sentence:
            raise Invalid(sentence)
        return value

    def options(self, words_before: list[str], names: Names) -> list[Option]:
        """What the next word of a path may be, after `words_before` (whole words; a value may follow its leaf).

        Args:
            words_before: e.g. ["wires", "east", "mode"].
            names: keys of the list at a path, as in :meth:`smartwire.config.tree.Config.names`.

        Returns:
            An Option per word; `<name>` and the like stand for what cannot be listed. Empty after nonsense.
        """
        node, path, entry = self.root, (), True
        for word in words_before:
            if node.kind == "list" and not entry:
                path, entry = (*path, word), True
            elif node.is_leaf:
                node, path, entry = self._after_value(node, path, word)
            elif (child := node.children.get(word)) is not None:
                node, path, entry = child, (*path, word), False
            else:
                return []
        if node.is_leaf:
            return list(self._values(node, names))
        if node.kind == "list" and not entry:
            assert node.key
            known = [Option(k, node.description, "key") for k in names(path)]
            return [*known, Option(f"<{node.key.name}>", node.key.help, "value")]
        children = [Option(c.name, c.help, c.kind) for c in node.children.values()]
        return [*children, Option("", "Done", "enter")] if path else children

    def _after_value(self, node: Node, path: Path, word: str) -> tuple[Node, Path, bool]:
        """Where the words stand after a value: at the leaf's parent; in brackets, still at the leaf."""
        assert node.parent
        if word == "[" or (node.kind == "leaf-list" and path[-1:] == ("[",) and word != "]"):
            return node, (*path, "[") if word == "[" else path, False
        while path[-1:] == ("[",):
            path = path[:-1]
        return node.parent, path[:-1], True

    def _values(self, node: Node, names: Names) -> Iterator[Option]:
        """What a leaf's value may be."""
        if node.enums:
            yield from (Option(word, text, "enum") for word, text in node.enums.items())
        elif node.is_flag:
            yield Option("true", node.description, "enum")
            yield Option("false", f"Not: {node.description}", "enum")
        else:
            known = names(node.leafref) if node.leafref else ()
            yield from (Option(n, f"Name of one of {words.join(node.leafref)}", "reference") for n in known)
            yield Option(f"<{node.name}>", node.help, "value")
        if node.kind == "leaf-list":
            yield Option("[", "Several values in brackets", "enter")

    def check_value(self, node: Node, value: Any) -> str | None:
        """A sentence if `value`, as it came from JSON or a file, is none for the leaf."""
        if isinstance(value, int if isinstance(node.type, datatypes().IntegralType) else str) or node.is_flag:
            try:
                self.parse(node, to_text(value))
            except Invalid as e:
                return str(e)
            return None
        return refusal(node, to_text(value))

    def instance(self, raw: dict[str, Any]) -> RootNode:
        """yangson's instance of a whole RFC 7951 tree, for XPath."""
        return self.model.from_raw(raw)


def _only_list(statement: Statement) -> Statement | None:
    """The list of a container that has nothing but one list in it."""
    kinds = ("container", "list", "leaf", "leaf-list", "choice", "uses")
    data = [s for s in statement.substatements if s.keyword in kinds]
    return data[0] if statement.keyword == "container" and len(data) == 1 and data[0].keyword == "list" else None


def _text(statement: Statement) -> str:
    """The description, on one line."""
    found = statement.find1("description")
    return " ".join(found.argument.split()) if found else ""


def unknown(node: Node, path: Path, word: str) -> Invalid:
    """What is said about a word that is no child of `node`."""
    import difflib

    close = difflib.get_close_matches(word, node.children, 1)
    where = f"under {words.join(path)}" if path else "at the top"
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(node.children)}."
    if node.is_leaf:
        return Invalid(f"Nothing can follow {words.join(path)} but its value.")
    return Invalid(f"There is no {word!r} {where}; {hint}")


def refusal(node: Node, text: str) -> str:
    """Why `text` is no value of the leaf."""
    if node.secret:
        return f"That is no {node.name}: it must be {node.typed}."
    if node.enums or node.is_flag:
        return f"{text!r} is none of {node.typed}."
    if isinstance(node.type, datatypes().NumericType):
        number = re.fullmatch(r"-?\d+[kmgKMG]?", text)
        return f"{text} is not in {node.typed}." if number else f"{text!r} is no number in {node.typed}."
    if isinstance(node.type, datatypes().StringType) and node.type.name in words.MEANING:
        return f"{text!r} is no {words.MEANING[node.type.name]}."
    if isinstance(node.type, datatypes().LinearType) and node.type.length and len(text) not in node.type.length:
        return f"{text[:40]!r} has {len(text)} characters; it must be {node.typed}."
    return f"{text!r} is not written as a {node.name} must be: {node.description[0].lower()}{node.description[1:]}"


@cache
def load() -> Schema:
    """The schema of this version, loaded once."""
    from yangson import DataModel
    from yangson.statement import ModuleParser

    here = resources.files("smartwire") / "yang"
    library: list[dict[str, Any]] = []
    statements = {}
    for module in MODULES:
        name = f"smartwire-{module}"
        statements[name] = ModuleParser((here / f"{name}.yang").read_text(encoding="utf-8"), name, REVISION).parse()
        library.append({"name": name, "revision": REVISION, "namespace": f"urn:smartwire:{module}",
                        "conformance-type": "implement"})  # fmt: skip
    yang_library = {"ietf-yang-library:modules-state": {"module-set-id": REVISION, "module": library}}
    with resources.as_file(here) as directory:
        model = DataModel(json.dumps(yang_library), (str(directory),))
    return Schema(model, statements)
