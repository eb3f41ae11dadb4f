"""The document that a wire's engine compiles, and that the engine then decides as `test policy` explains."""

from __future__ import annotations

import ipaddress
import json
import os
import random

from smartwire import _native
from smartwire.config.load import load
from smartwire.config.plane import Setup
from smartwire.config.policy import Flow, decide
from smartwire.config.prefixlists import Snapshot
from smartwire.config.rulings import ruling
from smartwire.config.schema import load as load_schema
from smartwire.config.tree import Config

SCHEMA = load_schema()


def setup(lines: str, **files: str) -> Setup:
    lists = {name: Snapshot.of(content.encode()) for name, content in files.items()}
    return Setup(load(Config(SCHEMA), "set", lines), lists)


def test_without_policies_a_wire_is_told_nothing():
    assert ruling(setup("set policies p match wire south"), "north") == ("", "")


def test_where_there_are_only_classes_a_wire_is_told_them_to_count_their_connections():
    assert json.loads(ruling(setup("set subscribers class gold vlan 7"), "north").text)["classes"][0]["name"] == "gold"


def test_everything_that_a_policy_says_is_in_the_document():
    lines = """
set subscribers class gold prefix 10.1.0.0/16 prefix-list big vlan 7
set prefix-lists big prefix 10.2.0.0/16
set prefix-lists big file big.txt
set policies p match wire north subscriber-class gold core-prefix 192.0.2.0/24 access-prefix-list big
set policies p match core-port [ 80 8000-8099 ] vlan [ 0 7 ]
set policies p rate-limit 8m burst 30000 budget-target 40 pacing false mss-clamp 1360 mss-clamp-up 1200
set policies p window-mode passive engine wire
set policies elsewhere match wire south
"""
    found = ruling(setup(lines, big="10.3.0.0/16\n"), "north")
    assert json.loads(found.text) == {
        "lists": {"big": ["10.2.0.0/16", "10.3.0.0/16"]},
        "classes": [{"name": "gold", "access": {"prefixes": ["10.1.0.0/16"], "lists": ["big"]}, "vlans": [7]}],
        "policies": [
            {
                "name": "p",
                "access": {"prefixes": [], "lists": ["big"]},
                "core": {"prefixes": ["192.0.2.0/24"], "lists": []},
                "ports": [[80, 80], [8000, 8099]],
                "vlans": [0, 7],
                "classes": ["gold"],
                "service": "wire",
                "rate": 1_000_000,
                "burst": 30_000,
                "target_ms": 40,
                "pacing": False,
                "mss_access": 1360,
                "mss_core": 1200,
                "window": "passive",
            }
        ],
    }
    assert _native.policies_of(found.text, []) == []


def test_the_digest_is_that_of_what_counts_for_the_wire():
    one = ruling(setup("set policies p match core-port 80"), "north")
    assert one == ruling(setup("set policies p match core-port 80\nset policies q match wire south"), "north")
    assert one.digest != ruling(setup("set policies p match core-port 81"), "north").digest


def draw(rng: random.Random) -> tuple[Setup, list[str]]:
    """Policies over few addresses, so that much of it overlaps."""

    def prefix() -> str:
        if rng.random() < 0.6:
            return str(ipaddress.ip_network((0x0A000000 + rng.randrange(1024), rng.randint(22, 32)), strict=False))
        address = (0x20010DB8 << 96) + rng.randrange(1024)
        return str(ipaddress.ip_network((address, rng.randint(118, 128)), strict=False))

    def some(make, low: int = 0, high: int = 3) -> str:
        return " ".join(dict.fromkeys(make() for _ in range(rng.randint(low, high))))

    lines = []
    for i in range(3):
        lines.append(f"set prefix-lists list{i} prefix [ {some(prefix, 1, 12)} ]")
    lines.append("set prefix-lists list3 file list3.txt")
    for i in range(rng.randint(1, 8)):
        lines.append(f"set subscribers class class{i} prefix [ {some(prefix, 1)} ]")
        if rng.random() < 0.3:
            lines.append(f"set subscribers class class{i} prefix-list list{rng.randrange(4)}")
        if rng.random() < 0.3:
            lines.append(f"set subscribers class class{i} vlan {rng.randrange(4)}")
    classes = len({line.split()[3] for line in lines if line.startswith("set subscribers")})
    for i in range(rng.randint(1, 90)):
        match = f"set policies p{i} match"
        if rng.random() < 0.4:
            lines.append(f"set policies p{i} engine {rng.choice(('none', 'proxy'))}")
        for side in ("access", "core"):
            if rng.random() < 0.5:
                lines.append(f"{match} {side}-prefix [ {some(prefix, 1)} ]")
            if rng.random() < 0.2:
                lines.append(f"{match} {side}-prefix-list list{rng.randrange(4)}")
        if rng.random() < 0.3:
            lines.append(f"{match} core-port [ {rng.randint(79, 82)} 443-{rng.randint(443, 446)} ]")
        if rng.random() < 0.2:
            lines.append(f"{match} vlan {rng.randrange(4)}")
        if rng.random() < 0.2:
            lines.append(f"{match} subscriber-class class{rng.randrange(classes)}")
        if rng.random() < 0.2:
            lines.append(f"{match} wire {rng.choice(('north', 'south'))}")
        lines.append(f"set policies p{i} description x")
    listed = "\n".join(dict.fromkeys(prefix() for _ in range(20)))
    return setup("\n".join(lines), list3=listed), lines


def test_the_engine_decides_as_test_policy_explains():
    seed = int(os.environ.get("SEED", "1"))
    met = {True: 0, False: 0}
    for number in range(seed, seed + 12):
        rng = random.Random(number)
        given, _ = draw(rng)
        document = ruling(given, "north").text
        asked = []
        for _ in range(80):
            base = rng.choice((0x0A000000, 0x20010DB8 << 96))
            six = base > 1 << 32
            of = ipaddress.IPv6Address if six else ipaddress.IPv4Address
            client, server = (of(base + rng.randrange(1024)) for _ in "cs")
            asked.append((client, server, rng.choice((79, 80, 81, 443, 445, 9)), rng.randrange(5)))
        decided = _native.policies_of(document, asked) if document else [None] * len(asked)
        for (client, server, port, vlan), policy in zip(asked, decided, strict=True):
            expected = decide(given, Flow(client, server, port, "north", vlan)).policy
            assert policy == expected, f"SEED={number}: {client} {server} {port} vlan {vlan}"
            met[policy is not None] += 1
    assert min(met.values()) > 50, f"{met}: it always decides the same"
