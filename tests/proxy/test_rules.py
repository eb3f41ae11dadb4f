"""Rules: what a file says, what is refused, and that the programs in the kernel find the first rule that matches."""

from __future__ import annotations

import random
import socket
import struct
from ipaddress import ip_address, ip_network

import pytest
from smartwire.errors import NotThere, UsageError
from smartwire.proxy.layout import RULES, UNTAGGED
from smartwire.proxy.rules import Rule, read_rules, steps, unreachable

SEED = 20261125


def written(tmp_path, text: str):
    file = tmp_path / "rules.toml"
    file.write_text(text)
    return file


def test_a_file_says_it_all(tmp_path):
    (tmp_path / "cdn.txt").write_text("# two\n192.0.2.0/24\n2001:db8::/32 # of ours\n\n")
    rules = read_rules(
        written(
            tmp_path,
            """
            [[rule]]
            name = "ssh"
            action = "direct"
            port = 22
            [[rule]]
            action = "proxy"
            access = "10.0.0.0/8"
            core-list = ["cdn"]
            port = [80, "8000-8099"]
            vlan = [100, "200-299", "none"]
            [prefix-list]
            cdn = "cdn.txt"
            """,
        )
    )
    assert rules == (
        Rule("ssh", proxy=False, ports=((22, 22),)),
        Rule(
            "2",
            proxy=True,
            access=frozenset({ip_network("10.0.0.0/8")}),
            core=frozenset({ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")}),
            ports=((80, 80), (8000, 8099)),
            vlans=((100, 100), (200, 299), (UNTAGGED, UNTAGGED)),
        ),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no .*rule"),
        ("nonsense", "is not TOML"),
        ('[[rule]]\naction = "drop"', 'needs action = "proxy" or'),
        ('[[rule]]\naction = "proxy"\ncolour = 1', "unknown field 'colour'"),
        ('[[rule]]\naction = "proxy"\nprotocol = "udp"', "only TCP"),
        ('[[rule]]\naction = "proxy"\naccess = "10.0.0.1/8"', "is no prefix .*host bits"),
        ('[[rule]]\naction = "proxy"\ncore = "cdn"', "is no prefix"),
        ('[[rule]]\naction = "proxy"\ncore-list = "cdn"', "not under .prefix-list."),
        ('[[rule]]\naction = "proxy"\nport = "90-80"', "no number or range"),
        ('[[rule]]\naction = "proxy"\nvlan = 4095', "no number or range"),
        ('[[rule]]\naction = "proxy"\n' * (RULES + 1), f"has {RULES + 1} rules"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_rules(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotThere, match=r"no file .*rules\.toml"):
        read_rules(tmp_path / "rules.toml")
    with pytest.raises(NotThere, match=r"prefix list .*cdn\.txt"):
        read_rules(written(tmp_path, '[[rule]]\naction = "proxy"\n[prefix-list]\ncdn = "cdn.txt"'))


def test_a_rule_that_is_never_reached_is_a_warning():
    wide = Rule("wide", proxy=True, access=frozenset({ip_network("10.0.0.0/8")}), ports=((1, 1000),))
    narrow = Rule("narrow", proxy=False, access=frozenset({ip_network("10.1.0.0/16")}), ports=((80, 80),))
    other = Rule("other", proxy=False, access=frozenset({ip_network("11.0.0.0/8")}))
    assert unreachable([narrow, wide, other]) == []
    assert unreachable([wide, narrow, other]) == [
        "rule 'narrow' is never reached: rule 'wide' before it takes all of its connections"
    ]


def test_ranges_of_nested_prefixes_have_the_rules_of_all_of_them():
    outer, inner = frozenset({ip_network("10.0.0.0/8")}), frozenset({ip_network("10.255.255.0/24")})
    first = [int(ip_address(a)) for a in ("0.0.0.0", "10.0.0.0", "10.255.255.0", "11.0.0.0")]
    assert steps([outer, inner, None], 4, 32) == list(zip(first, (4, 5, 7, 4), strict=True))


def meets(rule: Rule, access, core, port: int, vlan: int) -> bool:
    """A rule as it reads."""

    def within(address, prefixes) -> bool:
        return prefixes is None or any(address.version == p.version and address in p for p in prefixes)

    def among(number, ranges) -> bool:
        return ranges is None or any(low <= number <= high for low, high in ranges)

    return (
        within(access, rule.access) and within(core, rule.core) and among(port, rule.ports) and among(vlan, rule.vlans)
    )


class Chance:
    """Rule sets in which everything overlaps, and connections that often meet several rules."""

    LENGTHS = ((4, (0, 5, 8, 12, 16, 20, 24, 31, 32)), (6, (0, 3, 32, 40, 48, 64, 65, 96, 112, 127, 128)))
    """Of prefixes; with and without each other field far more than 16 shapes."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)

    def address(self, version: int):
        r = self.random
        if version == 4:
            return ip_address(bytes([r.choice((10, 10, 192)), r.choice((0, 1, 255)), r.randrange(4), r.randrange(4)]))
        return ip_address(
            bytes([0x20, 1, 13, 0xB8, r.randrange(2)]) + bytes(9) + bytes([r.randrange(2), r.randrange(4)])
        )

    def prefixes(self):
        found = set()
        for _ in range(self.random.randrange(1, 6)):
            version, lengths = self.random.choice(self.LENGTHS)
            found.add(ip_network((self.address(version), self.random.choice(lengths)), strict=False))
        return frozenset(found)

    def ranges(self, numbers) -> tuple[tuple[int, int], ...]:
        low = self.random.choice(numbers)
        return ((low, low), (low + 5, low + 5 + self.random.randrange(3)))

    def rule(self, number: int) -> Rule:
        r = self.random
        return Rule(
            name=str(number),
            proxy=r.random() < 0.5,
            access=self.prefixes() if r.random() < 0.7 else None,
            core=self.prefixes() if r.random() < 0.7 else None,
            ports=self.ranges((80, 85, 443)) if r.random() < 0.5 else None,
            vlans=self.ranges((1, 6, 4089)) if r.random() < 0.3 else None,
        )

    def connection(self):
        version = self.random.choice((4, 6))
        vlan = self.random.choice((1, 6, 7, 11, 12, 4089, UNTAGGED))
        port = self.random.choice((80, 85, 90, 91, 443, 448, 65535))
        return self.address(version), self.address(version), port, vlan


def syn(access, core, port: int, vlan: int, number: int) -> bytes:
    """A frame that begins a connection, each another one."""
    tcp = struct.pack("!HHIIBBHHH", 1024 + number % 60_000, port, number, 0, 0x50, 2, 1000, 0, 0)
    tag = b"" if vlan == UNTAGGED else struct.pack("!HH", 0x8100, vlan)
    if access.version == 4:
        ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, socket.IPPROTO_TCP, 0) + access.packed + core.packed
        return bytes(12) + tag + b"\x08\x00" + ip + tcp
    ip = struct.pack("!IHBB", 6 << 28, 20, socket.IPPROTO_TCP, 64) + access.packed + core.packed
    return bytes(12) + tag + b"\x86\xdd" + ip + tcp


@pytest.mark.root
def test_the_kernel_finds_the_first_rule_that_matches():
    from smartwire.proxy.datapath import Datapath, Ports, maps_of_no_wire
    from smartwire.proxy.layout import PLACE

    chance = Chance()
    path = Datapath(Ports(1, 1), exact=True, most_flows=1024, wire=maps_of_no_wire(), open=True)
    program = path.program("port", PLACE.pack(0, 0, 0, 0, 0, 0))
    number = 0
    for size in (1, 3, 64, 65, 200, RULES):
        rules = [chance.rule(n) for n in range(size)]
        path.use(rules)
        expected = [0] * (size + 1)
        for _ in range(400):
            number += 1
            connection = chance.connection()
            expected[next((n for n, r in enumerate(rules) if meets(r, *connection)), size)] += 1
            program.time(syn(*connection, number), 1)
        assert path.hits() == expected, f"{size} rules, seed {SEED}"


@pytest.mark.root
def test_rules_are_exchanged_at_run_time(proxied, ends, tmp_path):
    file = written(tmp_path, '[[rule]]\nname = "mine"\naction = "proxy"\naccess = "10.1.0.0/16"\n')
    before = proxied.proxy("status")["counters"]
    for n in range(4):
        proxied.proxy("reload", "--rules-only", *(("--rules", str(file)) if n % 2 else ()))
        for version in (4, 6):
            assert len(ends.get(version, 5000)) == 5000
    after = proxied.proxy("status")["counters"]
    assert after["proxied"] - before["proxied"] == 4 + 2
    assert after["no_rule"] - before["no_rule"] == 2
    with pytest.raises(Exception, match="is not TOML"):
        proxied.proxy("reload", "--rules", str(written(tmp_path, "nonsense")))
