"""The YANG modules, by two referees that are not ours, and what the schema makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import smartwire
from smartwire.config import document, load
from smartwire.config.schema import MODULES, Invalid
from smartwire.config.schema import load as load_schema

SCHEMA = load_schema()
DIRECTORY = Path(smartwire.__file__).parent / "yang"
FILES = sorted(str(f) for f in DIRECTORY.glob("*.yang"))


def test_every_module_is_loaded():
    assert {f"smartwire-{m}" for m in MODULES} == {f.rsplit("/", 1)[1].removesuffix(".yang") for f in FILES}


def test_pyang_finds_nothing():
    if find_spec("pyang") is None:
        pytest.skip("pyang is not installed (pip install pyang)")
    code = "import sys; sys.argv[0] = 'pyang'; from pyang.scripts.pyang_tool import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--strict", "--lint", "-p", str(DIRECTORY), *FILES], capture_output=True, text=True
    )
    assert (done.stdout + done.stderr).strip() == ""
    assert done.returncode == 0


def yanglint(*argv: str) -> subprocess.CompletedProcess:
    if not shutil.which("yanglint"):
        pytest.skip("yanglint is not installed (apt-get install libyang-tools)")
    return subprocess.run(["yanglint", *argv], capture_output=True, text=True)


def test_yanglint_loads_all_modules():
    done = yanglint("-p", str(DIRECTORY), *FILES)
    assert (done.returncode, done.stderr) == (0, "")


GOOD = """
system { host-name box1; login { user alice { class super-user; } } syslog { 192.0.2.1 { transport tls; } } }
wires { north { pair eth1 { core eth2; } mode observe; } }
prefix-lists { cdn { prefix [ 192.0.2.0/24 2001:db8::/32 ]; } }
policies { web { match { core-port [ 80 8000-8999 ]; core-prefix-list cdn; wire north; } rate-limit 20m; burst 3000; } }
alarms { alarm disk-full { severity minor; } }
protocols { snmp { enabled true; community noc { community public1; } } }
"""


def referee(tmp_path, source: str) -> subprocess.CompletedProcess:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(document.to_raw(load.read(SCHEMA, source))))
    return yanglint("-t", "config", "-p", str(DIRECTORY), *FILES, str(file))


def test_yanglint_accepts_the_json_of_a_good_configuration(tmp_path):
    done = referee(tmp_path, GOOD)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "planted",
    [
        "policies { web { burst 3000; } }",
        "policies { web { match { wire gone; } } }",
        "wires { north { mode observe; } }",
        "system { login { user bob; } }",
    ],
)
def test_yanglint_and_we_refuse_the_same(tmp_path, planted):
    from smartwire.config.checks import problems

    assert any(p.severity == "error" for p in problems(load.read(SCHEMA, planted)))
    assert referee(tmp_path, planted).returncode != 0


def test_every_node_says_what_it_is():
    for node in SCHEMA.walk():
        assert node.description.endswith("."), node.path
        assert len(node.description) > 10, node.path
        assert all(node.enums.values()), node.path
        if node.is_leaf:
            assert node.typed, node.path


def test_the_model_uses_only_what_the_schema_understands():
    for file in FILES:
        text = Path(file).read_text()
        for word in (
            "choice ",
            "when ",
            "augment ",
            "uses ",
            "anydata ",
            "instance-identifier",
            "identityref",
            " union",
        ):
            assert f"\n    {word}" not in text, (file, word)
    assert all(n.key for n in SCHEMA.walk() if n.kind == "list")


def test_every_action_of_the_model_is_a_command():
    from smartwire.config.commands import loaded

    wire = SCHEMA.model.schema.get_data_child("wires", "smartwire-wires").get_data_child("wire", "smartwire-wires")
    actions = {c.name: c for c in wire.children if type(c).__name__ == "RpcActionNode"}
    assert set(actions) == {"drain", "bypass", "resume", "capture"}
    for name, action in actions.items():
        said = {c.name for c in action.get_child("input", "smartwire-wires").children}
        assert {p.name for p in loaded()["request", "wire", name].parameters} == said | {"wire"}


@pytest.mark.parametrize(
    ("path", "text", "sentence"),
    [
        ("wires workers", "99", "99 is not in 1..64."),
        ("wires workers", "many", "'many' is no number in 1..64."),
        ("wires mode", "fast", "'fast' is none of optimize | observe | bypass | proxy."),
        ("policies pacing", "yes", "'yes' is none of true | false."),
        ("policies rate-limit", "1k", "1000 is not in 8000..1000000000000 bit/s."),
        ("policies match core-prefix", "10.0.0.1/8", "has bits beyond its length: did you mean 10.0.0.0/8?"),
        ("policies match core-prefix", "10.0.0.0/99", "'10.0.0.0/99' is no IPv4 or IPv6 prefix"),
        ("policies match core-port", "9-8", "ports are 1..65535, the lower one first"),
        ("system host-name", "-x", "is not written as a host-name must be"),
        ("system login user password", "short", "That is no password: it must be text, 8..255 characters."),
    ],
)
def test_a_wrong_value_is_refused_in_an_operators_words(path, text, sentence):
    node = SCHEMA.root
    for name in path.split():
        node = node.children[name]
    with pytest.raises(Invalid) as e:
        SCHEMA.parse(node, text)
    assert sentence in str(e.value)
