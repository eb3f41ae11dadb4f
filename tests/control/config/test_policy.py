"""Which policy counts for a connection: asked of the fake data plane, with scripted flows."""

from __future__ import annotations

import pytest

POLICIES = """
prefix-lists { cdn { prefix 192.0.2.0/24; } big { file big.txt; } }
subscribers { class gold { prefix 10.1.0.0/16; } class vlan7 { vlan 7; } }
wires { north { pair eth1 { core eth2; } } }
policies {
    web { match { core-port [ 80 8000-8999 ]; core-prefix-list cdn; } engine none; }
    six { match { core-prefix 2001:db8::/32; } engine none; }
    listed { match { core-prefix-list big; } engine none; }
    gold { match { subscriber-class gold; } }
    tagged { match { vlan 7; wire north; } engine none; }
    inactive: all;
}
"""


@pytest.fixture
def plane(box):
    (box.engine.store.prefix_lists / "big.txt").write_text("198.51.100.0/24 # a list\n")
    session = box.root("private")
    session.load("merge", POLICIES)
    session.commit()
    return box.plane


@pytest.mark.parametrize(
    ("client", "server", "port", "facts", "policy"),
    [
        ("10.0.0.1", "192.0.2.9", 80, {}, "web"),
        ("10.0.0.1", "192.0.2.9", 8500, {}, "web"),
        ("10.0.0.1", "192.0.2.9", 9000, {}, None),
        ("10.1.0.1", "192.0.2.9", 80, {}, "web"),
        ("10.1.0.1", "192.0.2.9", 443, {}, "gold"),
        ("2001:db8:1::1", "2001:db8::9", 443, {}, "six"),
        ("10.0.0.1", "198.51.100.200", 443, {}, "listed"),
        ("10.0.0.1", "203.0.113.1", 443, {"vlan": 7, "wire": "north"}, "tagged"),
        ("10.0.0.1", "203.0.113.1", 443, {"vlan": 7, "wire": "south"}, None),
    ],
)
def test_the_first_policy_that_matches_counts(plane, client, server, port, facts, policy):
    plane.connect(client, server, port, **facts)
    [(_, verdict)] = plane.served()
    assert verdict.policy == policy
    assert verdict.engine == ("wire" if policy in (None, "gold") else "none")
    assert len(verdict.why) >= 1


def test_the_reason_is_told_for_every_policy_that_was_looked_at(box, plane):
    told = box.root(None).run("test policy client 10.0.0.1 server 192.0.2.9 port 443 vlan 7")["text"]
    assert "web: port 443 is none of its ports." in told
    assert "gold: the subscriber's class is vlan7." in told
    assert "policy: tagged" in told
