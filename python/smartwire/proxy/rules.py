"""Which connections go to the proxy: an ordered list of rules, first match wins.

A rule set is a TOML file::

    [[rule]]
    name = "video"
    action = "proxy"                 # or "direct"
    access = ["10.0.0.0/8"]          # prefixes of subscribers, IPv4 or IPv6
    core-list = ["cdn"]              # prefix lists, see below; access-list too
    port = [80, "8000-8099"]         # of the server
    vlan = [100, "200-299", "none"]  # outermost tag

    [prefix-list]
    cdn = "cdn.txt"                  # one prefix per line, # begins a comment; relative to this file

What a rule does not name it does not ask. A connection that meets no rule goes direct. :func:`compile_rules` makes the
tables that bpf/proxy_rules.h reads.
"""

from __future__ import annotations

import itertools
import struct
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

from smartwire.errors import NotThere, UsageError
from smartwire.proxy.layout import FAN, NUMBERS, RULES, SET_BYTES, UNTAGGED, VLAN_BASE

Network = IPv4Network | IPv6Network
MOST_PREFIXES = 1 << 17
FIELDS = {"name", "action", "protocol", "vlan", "access", "core", "access-list", "core-list", "port"}
MAPPED = 0xFFFF << 32


@dataclass(frozen=True)
class Rule:
    """One rule; None: any. Numbers are inclusive ranges."""

    name: str
    proxy: bool
    access: frozenset[Network] | None = None
    core: frozenset[Network] | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    vlans: tuple[tuple[int, int], ...] | None = None


EVERYTHING = (Rule("all", proxy=True),)
"""The rules of a proxy that was given none."""


@dataclass
class Tables:
    """The rules as the programs read them: keys and values of each map, packed."""

    sets: list[int] = field(default_factory=list)
    ranges: list[list[bytes]] = field(default_factory=list)
    """Chunks: of the access side's addresses, of the core side's."""
    numbers: bytes = b""
    _classes: dict[int, int] = field(default_factory=dict)

    def class_of(self, rules: int) -> int:
        """The class whose set of rules this is."""
        found = self._classes.setdefault(rules, len(self.sets))
        if found == len(self.sets):
            self.sets.append(rules)
        return found

    @property
    def packed_sets(self) -> bytes:
        """The sets by class."""
        return b"".join(s.to_bytes(SET_BYTES, "little") for s in self.sets)


def read_rules(path: Path) -> tuple[Rule, ...]:
    """Reads a rule set; raises a sentence that names the rule and what is wrong with it."""
    try:
        document = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise NotThere(f"There is no file {path}.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"{path} cannot be read: {e}.") from None
    except tomllib.TOMLDecodeError as e:
        raise UsageError(f"{path} is not TOML: {e}.") from None
    unknown = set(document) - {"rule", "prefix-list"}
    if unknown or not isinstance(document.get("rule"), list):
        what = f"has an unknown part {sorted(unknown)[0]!r}" if unknown else "has no [[rule]]"
        raise UsageError(f"{path} {what}: a rule set has [[rule]] entries and, if they are used, a [prefix-list].")
    lists = {name: prefix_list(path.parent / str(file)) for name, file in document.get("prefix-list", {}).items()}
    rules = tuple(rule(number, r, lists) for number, r in enumerate(document["rule"], 1))
    if len(rules) > RULES:
        raise UsageError(f"{path} has {len(rules)} rules and {RULES} are possible: join some with prefix lists.")
    for side in ("access", "core"):
        count = sum(len(getattr(r, side) or ()) for r in rules)
        if count > MOST_PREFIXES:
            raise UsageError(f"{path} has {count} prefixes for {side} and {MOST_PREFIXES} are possible.")
    return rules


def prefix_list(path: Path) -> frozenset[Network]:
    """The prefixes of a file."""
    found = set()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        raise NotThere(f"The prefix list {path} cannot be read.") from None
    for number, line in enumerate(lines, 1):
        if text := line.partition("#")[0].strip():
            found.add(prefix(text, f"{path}, line {number}"))
    return frozenset(found)


def prefix(text: object, where: str) -> Network:
    """A prefix or an address; host bits must be 0."""
    try:
        return ip_network(text)  # type: ignore[arg-type]
    except (ValueError, TypeError) as e:
        raise UsageError(f"{where}: {text!r} is no prefix ({e}); write 10.0.0.0/8 or 2001:db8::/32.") from None


def rule(number: int, r: dict[str, Any], lists: dict[str, frozenset[Network]]) -> Rule:
    """One [[rule]]."""
    where = f"rule {r.get('name', number)!r}"
    if unknown := set(r) - FIELDS:
        raise UsageError(f"{where} has an unknown field {sorted(unknown)[0]!r}: use {', '.join(sorted(FIELDS))}.")
    if r.get("action") not in ("proxy", "direct"):
        raise UsageError(f'{where} needs action = "proxy" or action = "direct".')
    if r.get("protocol", "tcp") != "tcp":
        raise UsageError(f'{where}: only TCP can go to the proxy; leave protocol out, or write "tcp".')
    return Rule(
        name=str(r.get("name", number)),
        proxy=r["action"] == "proxy",
        access=prefixes(r, "access", lists, where),
        core=prefixes(r, "core", lists, where),
        ports=ranges(r.get("port"), 65535, f"{where}, port"),
        vlans=ranges(r.get("vlan"), 4094, f"{where}, vlan", {"none": UNTAGGED}),
    )


def prefixes(
    r: dict[str, Any], side: str, lists: dict[str, frozenset[Network]], where: str
) -> frozenset[Network] | None:
    """What a rule says about the addresses of one side."""
    if side not in r and f"{side}-list" not in r:
        return None
    found = {prefix(p, f"{where}, {side}") for p in several(r.get(side, []))}
    for name in several(r.get(f"{side}-list", [])):
        if name not in lists:
            raise UsageError(f"{where} uses the prefix list {name!r}, which is not under [prefix-list].")
        found |= lists[name]
    return frozenset(found)


def ranges(
    value: object, most: int, where: str, words: dict[str, int] | None = None
) -> tuple[tuple[int, int], ...] | None:
    """Numbers, and ranges as "80-90"."""
    if value is None:
        return None
    found = []
    for item in several(value):
        text = str(item)
        if words and text in words:
            found.append((words[text], words[text]))
            continue
        low, dash, high = text.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()) or not int(low) <= int(high or low) <= most:
            raise UsageError(f'{where}: {item!r} is no number or range up to {most}; write 80 or "8000-8099".')
        found.append((int(low), int(high or low)))
    return tuple(found)


def several(value: object) -> Sequence[Any]:
    """A list, or the one thing that was given."""
    return value if isinstance(value, list) else [value]


def unreachable(rules: Sequence[Rule]) -> list[str]:
    """Warnings about rules that no connection meets, because an earlier one takes all of theirs."""
    found = []
    for later, r in enumerate(rules):
        for earlier in rules[:later]:
            numbers_within = all(within(getattr(r, what), getattr(earlier, what)) for what in ("ports", "vlans"))
            if numbers_within and all(covers(getattr(earlier, side), getattr(r, side)) for side in ("access", "core")):
                found.append(
                    f"rule {r.name!r} is never reached: rule {earlier.name!r} before it takes all of its connections"
                )
                break
    return found


def covers(outer: frozenset[Network] | None, inner: frozenset[Network] | None) -> bool:
    """True if each prefix of `inner` is in one of `outer`."""
    if outer is None or inner is None or inner == outer:
        return outer is None or inner == outer
    have: dict[tuple[int, int], set[int]] = {}
    for p in outer:
        have.setdefault((p.version, p.prefixlen), set()).add(top(p, p.prefixlen))
    return all(
        any(
            version == p.version and length <= p.prefixlen and top(p, length) in tops
            for (version, length), tops in have.items()
        )
        for p in inner
    )


def top(p: Network, length: int) -> int:
    """The first `length` bits of a prefix."""
    return int(p.network_address) >> p.max_prefixlen - length


def within(inner: tuple[tuple[int, int], ...] | None, outer: tuple[tuple[int, int], ...] | None) -> bool:
    """True if each range of `inner` is in one of `outer`."""
    if outer is None:
        return True
    return inner is not None and all(any(a <= low and high <= b for a, b in outer) for low, high in inner)


def compile_rules(rules: Sequence[Rule]) -> Tables:
    """The tables of a rule set."""
    tables = Tables()
    # Class 0 is asked for what the rule that was met says.
    tables.class_of(mask(i for i, r in enumerate(rules) if r.proxy))
    tables.ranges = [chunks(tables, [getattr(r, side) for r in rules]) for side in ("access", "core")]
    ports = numbers(tables, [r.ports for r in rules], VLAN_BASE)
    vlans = numbers(tables, [r.vlans for r in rules], NUMBERS - VLAN_BASE)
    tables.numbers = ports + vlans
    return tables


def mask(rules: Iterable[int]) -> int:
    """A set of rules."""
    return sum(1 << i for i in rules)


def chunks(tables: Tables, per_rule: Sequence[frozenset[Network] | None]) -> list[bytes]:
    """Address to class, as bpf/proxy_rules.h searches it: a chunk of chunks, then ranges."""
    v4, v6 = (steps(per_rule, version, bits) for version, bits in ((4, 32), (6, 128)))
    # The mapped IPv4 addresses are a hole in IPv6's.
    end = MAPPED + (1 << 32)
    after = next(rules for first, rules in reversed(v6) if first <= end)
    found = [s for s in v6 if s[0] < MAPPED] + [(MAPPED + first, rules) for first, rules in v4]
    found += [(end, after)] + [s for s in v6 if s[0] > end]
    leaves = [found[i : i + FAN] for i in range(0, len(found), FAN)]
    if len(leaves) > FAN:
        raise UsageError(f"The prefixes make {len(found)} ranges and {FAN * FAN} are possible: use fewer.")
    root = chunk([(leaf[0][0], i) for i, leaf in enumerate(leaves, 1)])
    return [root, *(chunk([(first, tables.class_of(rules)) for first, rules in leaf]) for leaf in leaves)]


def chunk(entries: Sequence[tuple[int, int]]) -> bytes:
    """One chunk; what it is not filled with repeats its end."""
    entries = [*entries, *[((1 << 128) - 1, entries[-1][1])] * (FAN - len(entries))]
    words = (w for first, _ in entries for w in (first >> 64, first & (1 << 64) - 1))
    return struct.pack(f"={2 * FAN}Q{FAN}I", *words, *(value for _, value in entries))


def steps(per_rule: Sequence[frozenset[Network] | None], version: int, bits: int) -> list[tuple[int, int]]:
    """The rules that do not object to an address, from each address on at which they change: those that name a prefix
    that it is in, and those that name none at all."""
    own = {(0, 0): mask(i for i, p in enumerate(per_rule) if p is None)}
    for i, named in enumerate(per_rule):
        for p in named or ():
            if p.version == version:
                at = (int(p.network_address), p.prefixlen)
                own[at] = own.get(at, 0) | 1 << i
    found: list[tuple[int, int]] = []
    around: list[tuple[int, int]] = []  # last address and rules of the prefixes that the current one is in

    def change(at: int, rules: int) -> None:
        if found and found[-1][0] == at:
            found.pop()
        if not found or found[-1][1] != rules:
            found.append((at, rules))

    def leave(before: int) -> None:
        while around[-1][0] < before:
            last, _ = around.pop()
            if around:
                change(last + 1, around[-1][1])

    for (first, length), rules in sorted(own.items()):
        if around:
            leave(first)
            rules |= around[-1][1]
        around.append((first | (1 << bits - length) - 1, rules))
        change(first, rules)
    leave((1 << bits) - 1)
    return found


def numbers(tables: Tables, per_rule: Sequence[tuple[tuple[int, int], ...] | None], count: int) -> bytes:
    """Number to class, for 0 to `count` - 1."""
    anyway = mask(i for i, r in enumerate(per_rule) if r is None)
    edges = sorted({0, count} | {e for r in per_rule if r for low, high in r for e in (low, high + 1) if e < count})
    out = bytearray()
    for start, end in itertools.pairwise(edges):
        met = mask(i for i, r in enumerate(per_rule) if r and any(low <= start <= high for low, high in r))
        out += struct.pack("=I", tables.class_of(anyway | met)) * (end - start)
    return bytes(out)
