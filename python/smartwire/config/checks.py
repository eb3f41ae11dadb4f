"""What must hold in a configuration as a whole; everything that does not, at once, in an operator's words.

The YANG modules say most of it (types, mandatory, references, ``must``). What they cannot say is in ``RULES``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from smartwire.config import document, wiring, words
from smartwire.config.schema import Node, Path, Problem
from smartwire.config.tree import Config, Values, leaves

BUILT_IN_CLASSES = ("super-user", "operator", "read-only")


def problems(config: Config) -> list[Problem]:
    """All that is wrong with a configuration, errors first. Deactivated parts do not count."""
    config = config.active()
    found = list(_types(config))
    typed = not found
    found += _structure(config, config.schema.root, (), config.values)
    found += _references(config)
    if typed:  # XPath on what is broken already would only say the same again
        broken = {p.path for p in found}
        found += [p for p in _musts(config) if not any(path[: len(p.path)] == p.path for path in broken)]
    for rule in RULES:
        found += rule(config)
    return sorted(found, key=lambda p: p.severity != "error")


def _types(config: Config) -> Iterator[Problem]:
    """Values that the schema does not allow."""
    for path, node, value in leaves(config.schema, config.values):
        if node.kind == "list":
            assert node.key
            sentence = config.schema.check_value(node.key, path[-1])
            if sentence:
                yield Problem(path, sentence)
            continue
        for one in value if node.kind == "leaf-list" else (value,):
            if sentence := config.schema.check_value(node, one):
                yield Problem(path, sentence)


def _structure(config: Config, node: Node, path: Path, here: Values) -> Iterator[Problem]:
    """What must be there and is not; what is there and unknown."""
    for child in node.mandatory_children:
        if child.name not in here:
            yield Problem(path, f"{child.name} is missing: {child.description[0].lower()}{child.description[1:]}")
    for name, inside in here.items():
        child = node.children.get(name)
        if child is None:
            yield Problem((*path, name), f"there is no {name!r} here.")
        elif child.kind == "container":
            yield from _structure(config, child, (*path, name), inside)
        elif child.kind == "list":
            for key, entry in inside.items():
                yield from _structure(config, child, (*path, name, key), entry)


def _references(config: Config) -> Iterator[Problem]:
    """Names of what is not there."""
    for path, node, value in leaves(config.schema, config.values):
        if not node.leafref:
            continue
        there = config.get(node.leafref, {})
        for name in value if node.kind == "leaf-list" else (value,):
            if name not in there:
                yield Problem(path, f"there is no {words.join(node.leafref)} named {name}.")


def _musts(config: Config) -> Iterator[Problem]:
    """``must`` expressions of the modules that do not hold."""
    root = None
    for node in config.schema.walk():
        if not node.musts:
            continue
        if root is None:
            root = config.schema.instance(document.to_raw(config))
        for path, instance in _instances(node, root):
            for must in node.musts:
                if not must.expression.evaluate(instance):
                    yield Problem(path, must.error_message or "a condition of the schema does not hold.")


def _instances(node: Node, root: Any) -> Iterator[tuple[Path, Any]]:
    """(path, yangson's instance) of every instance of a schema node."""
    if node.parent is None:
        yield (), root
        return
    for path, parent in _instances(node.parent, root):
        if node.qualified not in parent.value:
            continue
        inside = parent[node.qualified]
        if node.kind != "list":
            yield (*path, node.name), inside
            continue
        assert node.key
        for entry in inside[node.inner] if node.inner else inside:
            yield (*path, node.name, str(entry.value[node.key.name])), entry


# ---- what YANG cannot say --------------------------------------------------------------------------------------------


def ports_are_used_once(config: Config) -> Iterator[Problem]:
    """A port belongs to one pair of one wire, and the management is not on it."""
    used: dict[str, Path] = {}
    for _, (port, path) in wiring.places(config):
        if port in used:
            yield Problem(path, f"{port} is a port of {words.join(used[port])} already: a port has one place.")
        elif port == "lo":
            yield Problem(path, "lo cannot be part of a wire: name an Ethernet interface.")
        else:
            used[port] = path
    management = config.value(("system", "management", "interface"))
    if management in used and config.get(("system", "management", "namespace")) is None:
        yield Problem(
            ("system", "management", "interface"),
            f"{management} is a port of {words.join(used[management])}: nothing may listen on a wire's port.",
        )


def a_proxy_serves_one_pair(config: Config) -> Iterator[Problem]:
    """A proxy has two ports, or one with two VLANs."""
    for wire, entry in wiring.wires(config).items():
        if len(entry.get("trunk", {})) > 1:
            yield Problem(("wires", wire), "a wire has one trunk: make a wire for each.")
        elif len(entry.get("pair", {})) > 1 and wiring.has_proxy(config, wire, entry):
            yield Problem(("wires", wire), "a proxy serves one pair of ports: make a wire of the other pairs.")


def users_have_classes(config: Config) -> Iterator[Problem]:
    """Every user's class is built in or configured; the built-in names are not taken."""
    own = config.get(("system", "login", "class"), {})
    for name in own:
        if name in BUILT_IN_CLASSES:
            yield Problem(("system", "login", "class", name), f"{name} is built in: give your class another name.")
    for name, user in config.get(("system", "login", "user"), {}).items():
        kind = user.get("class")
        if kind and kind not in own and kind not in BUILT_IN_CLASSES:
            known = ", ".join((*BUILT_IN_CLASSES, *own))
            yield Problem(("system", "login", "user", name, "class"), f"there is no class {kind}; there are: {known}.")
        if name == "root":
            yield Problem(("system", "login", "user", name), "root always is a super-user of the box: choose another.")


def class_paths_exist(config: Config) -> Iterator[Problem]:
    """What a class allows or denies can be configured."""
    for name, entry in config.get(("system", "login", "class"), {}).items():
        for kind in ("allow-configuration", "deny-configuration"):
            for text in entry.get(kind, ()):
                try:
                    config.schema.locate(tuple(words.split(text)))
                except Exception as e:
                    yield Problem(("system", "login", "class", name, kind), f"{text!r}: {e}")


def lists_have_prefixes(config: Config) -> Iterator[Problem]:
    """A prefix list has prefixes or a file."""
    for name, entry in config.get(("prefix-lists",), {}).items():
        if not entry.get("prefix") and not entry.get("file"):
            yield Problem(("prefix-lists", name), "it is empty: set a prefix, or a file of prefixes.")


def policies_can_match(config: Config) -> Iterator[Problem]:
    """No policy stands behind one that takes everything."""
    every = None
    for name, policy in config.get(("policies",), {}).items():
        path = ("policies", name)
        if every:
            yield Problem(path, f"policy {every} before it takes every connection: this one never counts.", "warning")
        elif not policy.get("match"):
            every = name


OF_THE_WIRE_ENGINE = (
    "rate-limit", "burst", "budget-target", "pacing", "mss-clamp", "mss-clamp-down", "mss-clamp-up", "window-mode",
)  # fmt: skip
"""What a policy says to the wire engine alone."""


def policies_have_an_engine(config: Config) -> Iterator[Problem]:
    """A policy's engine is there where the policy counts, and does what the policy says."""
    policies, proxied = config.get(("policies",), {}), wiring.by_proxy(config)
    for name, policy in policies.items():
        if policy.get("engine") != "proxy":
            continue
        if not any(wiring.concerns(policy, wire) for wire in proxied):
            text = "no wire that it matches has mode optimize or proxy: its connections pass untouched."
            yield Problem(("policies", name, "engine"), text, "warning")
        for leaf in OF_THE_WIRE_ENGINE:
            if leaf in policy:
                text = "the proxy engine knows no such thing (see `set proxy`): it has no effect."
                yield Problem(("policies", name, leaf), text, "warning")
    for wire, entry in proxied.items():
        before = wiring.up_to_the_last_proxied(config, wire)
        if entry.get("mode") == "proxy" and not before:
            text = "no policy has engine proxy for it: all connections pass."
            yield Problem(("wires", wire, "mode"), text, "warning")
        for name, policy in before.items():
            if policy.get("match", {}).get("subscriber-class"):
                text = (
                    f"the proxy of wire {wire} knows no classes, and this policy comes before its last one: match by "
                    "access-prefix-list instead, or put it behind."
                )
                yield Problem(("policies", name, "match", "subscriber-class"), text)


def syslog_names_a_certificate_only_for_tls(config: Config) -> Iterator[Problem]:
    """ca-file means something for TLS only."""
    for name, host in config.get(("system", "syslog"), {}).items():
        if host.get("ca-file") and host.get("transport") != "tls":
            yield Problem(("system", "syslog", name, "ca-file"), "it is for transport tls only.")


RULES: tuple[Callable[[Config], Iterator[Problem]], ...] = (
    ports_are_used_once,
    a_proxy_serves_one_pair,
    users_have_classes,
    class_paths_exist,
    lists_have_prefixes,
    policies_can_match,
    policies_have_an_engine,
    syslog_names_a_certificate_only_for_tls,
)
