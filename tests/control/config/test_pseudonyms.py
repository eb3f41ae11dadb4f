"""Subscribers in what leaves the box: a keyed hash instead of an address, the same for the same subscriber."""

from __future__ import annotations

import re
import tarfile

from smartwire.config.pseudonyms import hider, key, pseudonym


def archive_of(box) -> dict[str, str]:
    """What `request support information` writes."""
    made = box.root(None).run("request support information")["data"]["file"]
    with tarfile.open(made) as archive:
        return {m.name.partition("/")[2]: archive.extractfile(m).read().decode() for m in archive}


def test_without_the_setting_nothing_is_replaced(box):
    assert hider(box.engine.setup.config, box.directory)("10.0.0.7") == "10.0.0.7"
    assert not (box.directory / "pseudonyms.key").exists()


def test_archives_name_no_subscriber_and_the_same_one_alike(box):
    box.commit("set subscribers hash-in-exports true", "set system management allowed-prefix 192.0.2.0/24")
    session = box.root(None)
    for address in ("100.64.3.10", "2001:db8:7:5::2", "100.64.3.10"):
        session.engine.note("command", "root", "test", text=f"show flows match {address}")
    parts = archive_of(box)
    assert "100.64.3.10" not in str(parts)
    assert "2001:db8:7:5" not in str(parts)
    names = re.findall(r"match (subscriber-[0-9a-f]{16})", parts["audit.json"])
    assert len(names) == 3
    assert names[0] == names[2] != names[1]
    assert "192.0.2.0/24" in parts["configuration.txt"]


def test_a_name_is_of_the_subscriber_not_of_the_address_and_needs_the_boxs_key(box, tmp_path):
    secret = key(tmp_path)
    assert key(tmp_path) == secret
    assert (tmp_path / "pseudonyms.key").stat().st_mode & 0o777 == 0o600
    assert pseudonym(secret, "2001:db8:7:5::2") == pseudonym(secret, "2001:db8:7:5:1::9")
    assert pseudonym(secret, "2001:db8:7:5::2", 48) == pseudonym(secret, "2001:db8:7:6::2", 48)
    assert pseudonym(secret, "10.0.0.7") != pseudonym(secret, "10.0.0.8")
    assert pseudonym(b"x" * 32, "10.0.0.7") != pseudonym(secret, "10.0.0.7")


def test_what_only_looks_like_an_address_stays(box):
    box.commit("set subscribers hash-in-exports true")
    hide = hider(box.engine.setup.config, box.directory)
    for text in ("17:04:55", "1.2.3", "smartwire 0.1.0", "999.1.1.1", "a::b::c", "127.0.0.1:8443", "02:00:00:00:01:01"):
        assert hide(text) == text
    assert hide("[2001:db8::1]:443").startswith("[subscriber-")
    assert hide("It is 2001:db8::1. And 10.0.0.7.").count("subscriber-") == 2
    assert "100.64" not in hide("::ffff:100.64.3.10")
    assert re.fullmatch(r"subscriber-\w{16}:40000", hide("10.0.0.7:40000"))
