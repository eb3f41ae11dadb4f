"""A large configuration: 2,000 policies and a list of 128K prefixes. Figures are printed; what is held to is counted.

Seconds would say how busy the machine is. So calls of Python functions are counted: they are the same on any machine.
"""

from __future__ import annotations

import ipaddress
import sys
import time

import pytest
from scratchbox import Box
from smartwire import _native
from smartwire.config.rulings import ruling

PREFIXES = 131_072


def policies(count: int) -> str:
    return "".join(
        f"set policies p{n} match core-port {n + 1} core-prefix 10.{n // 250}.{n % 250}.0/24 core-prefix-list cdn\n"
        f"set policies p{n} rate-limit 20m burst 30000\n"
        for n in range(count)
    )


def prefixes() -> str:
    base = int(ipaddress.ip_address("10.0.0.0"))
    v4 = "".join(f"{ipaddress.ip_address(base + 256 * n)}/24\n" for n in range(PREFIXES // 2))
    return v4 + "".join(f"2001:db8:{n:x}::/48\n" for n in range(PREFIXES // 2))


def calls(what) -> int:
    """How many Python functions are called."""
    count = 0

    def profile(_frame, event, _argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        what()
    finally:
        sys.setprofile(None)
    return count


def grown(box, count: int):
    """A session at a committed configuration of so many policies, with one line changed."""
    (box.engine.store.prefix_lists / "cdn.txt").write_text("192.0.2.0/24\n")
    session = box.root("private")
    session.load("set", "set prefix-lists cdn file cdn.txt\n" + policies(count))
    session.commit()
    session.set("policies p1 rate-limit 30m")
    return session


def test_a_large_configuration_is_loaded_compared_checked_and_committed(box, capsys):
    (box.engine.store.prefix_lists / "cdn.txt").write_text(prefixes())
    session = box.root("private")
    figures = {}

    def timed(name, what):
        before = time.process_time()
        result = what()
        figures[name] = time.process_time() - before
        return result

    timed("load", lambda: session.load("set", "set prefix-lists cdn file cdn.txt\n" + policies(2000)))
    timed("commit", session.commit)
    document = timed("a wire's document", lambda: ruling(box.plane.setup, "north").text)
    asked = [(ipaddress.ip_address("192.0.2.1"), ipaddress.ip_address("10.3.9.1"), 760, 0)]
    decided = timed("its compilation", lambda: _native.policies_of(document, asked))
    assert decided == ["p759"]
    session.set("policies p1000 rate-limit 30m")
    compared = timed("compare of one line", session.compare)
    timed("check of one line", session.check)
    timed("commit of one line", session.commit)
    assert compared == "[edit policies p1000]\n-   rate-limit 20000000;\n+   rate-limit 30000000;\n"
    assert len(box.plane.setup.lists["cdn"].content.splitlines()) == PREFIXES
    with capsys.disabled():
        told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in figures.items())
        print(f"\n2,000 policies, {PREFIXES} prefixes, seconds of processor time: {told}")


@pytest.mark.parametrize(("what", "most"), [("compare", 1.5), ("check", 11.0), ("commit", 11.0)])
def test_ten_times_as_many_policies_take_no_more_than_ten_times_the_work(box, tmp_path, what, most):
    small = calls(getattr(grown(box, 50), what))
    large = calls(getattr(grown(Box(tmp_path / "large"), 500), what))
    assert large / small < most, f"{small} calls for 50 policies, {large} for 500"


def test_a_list_that_has_not_changed_is_not_read_prefix_by_prefix_again(box):
    session = grown(box, 10)
    (box.engine.store.prefix_lists / "cdn.txt").write_text(prefixes())
    first, again = calls(session.check), calls(session.check)
    assert first > PREFIXES > 20 * again


def test_a_list_that_is_too_long_is_refused(box):
    (box.engine.store.prefix_lists / "cdn.txt").write_text(prefixes() + "192.0.2.0/24\n")
    session = box.root()
    session.set("prefix-lists cdn file cdn.txt")
    assert "cdn.txt: it has 131073 prefixes; a list may have 131072: split it into several lists." in [
        p.sentence for p in session.check()
    ]
