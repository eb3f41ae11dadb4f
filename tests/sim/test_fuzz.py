"""`smartwire sim fuzz`: random worlds from the command line."""

from __future__ import annotations

import json

import pytest
from smartwire.cli import main


@pytest.fixture
def fuzz(capfd):
    """Runs the command in this process and returns (status, out, err)."""

    def call(*args: str) -> tuple[int, str, str]:
        return main.run(["sim", "fuzz", *args]), *capfd.readouterr()

    return call


def never_ends() -> dict:
    """A world whose phone waits for bytes that its server never sends."""
    flow = {
        "phone": 0, "v6": True, "start_ns": 0, "opens": "access", "ports": [1000, 443], "phone_tcp": {},
        "server_tcp": {}, "phone_app": [{"send": 10}, {"expect": 1}, "eof", "fin"], "server_app": [{"expect": 11}],
    }  # fmt: skip
    world = {
        "seed": 7, "phones": [[{}, {}]], "internet": [{}, {}], "wire": "copper", "flows": [flow],
        "probe_every_ns": None, "icmp": True, "actions": [],
    }  # fmt: skip
    return {"seed": 7, "what": [], "world": world}


def test_worlds_are_run_and_counted(fuzz):
    status, out, err = fuzz("--seeds", "6", "--from", "3", "--jobs", "2", "--json")
    assert status == 0, err
    report = json.loads(out)
    assert (report["worlds"], report["first_seed"], report["failures"]) == (6, 3, [])
    assert report["virtual_hours"] > 0


def test_a_failure_is_run_again_from_its_file(fuzz, tmp_path):
    path = tmp_path / "fuzz-7.json"
    path.write_text(json.dumps(never_ends()))
    status, out, _ = fuzz("--replay", str(path))
    assert status == 1
    assert "flow 0 has not ended as it should" in out
    world = never_ends()
    world["world"]["flows"][0]["server_app"] = [{"expect": 10}, {"send": 1}, "fin"]
    path.write_text(json.dumps(world))
    status, out, _ = fuzz("--replay", str(path))
    assert (status, out) == (0, f"{path}: this world ends well today.\n")


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (["--replay", "nowhere.json"], 3, "There is no file nowhere.json."),
        (["--out", "nowhere"], 3, "There is no directory nowhere."),
        (["--from", "9223372036854775807"], 2, "Seeds end at 2^63: begin with a smaller one."),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(fuzz, args, status, sentence):
    code, _, err = fuzz(*args)
    assert code == status
    assert sentence in err


def test_a_file_that_is_no_world_is_said_to_be_none(fuzz, tmp_path):
    path = tmp_path / "fuzz.json"
    path.write_text('{"seed": 1}')
    code, _, err = fuzz("--replay", str(path))
    assert code == 1
    assert "the file is no description of a world: missing field" in err
    assert len(err.strip().splitlines()) == 1
