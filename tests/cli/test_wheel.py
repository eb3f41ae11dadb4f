"""The wheel: it builds, installs into an empty environment, and works from there without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]


def run(*argv: object, cwd: Path, **env: str) -> str:
    clean = {k: v for k, v in os.environ.items() if k not in ("SMARTWIRE_HOME", "PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=clean | env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The `smartwire` script of an environment that has nothing but the wheel."""
    if not shutil.which("cargo"):
        pytest.skip("there is no cargo here")
    place = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "maturin", "build", "--release", "--locked", "--out", place, cwd=HOME)
    (wheel,) = place.glob("*.whl")
    assert "cp311-abi3" in wheel.name
    run(sys.executable, "-m", "venv", place / "venv", cwd=place)
    run(place / "venv/bin/python", "-m", "pip", "install", "--quiet", wheel, cwd=place)
    return place / "venv/bin/smartwire"


@pytest.mark.slow
def test_the_wheel_runs_without_the_checkout(installed, tmp_path):
    assert "very smart piece of wire" in " ".join(run(installed, "--help", cwd=tmp_path).split())
    where = run(installed.parent / "python", "-c", "import smartwire; print(smartwire.__file__)", cwd=tmp_path)
    assert str(HOME) not in where


@pytest.mark.slow
def test_the_wheel_has_the_schema_of_the_configuration(installed, tmp_path):
    code = "from smartwire.config.schema import load; print('wires' in load().root.children)"
    assert run(installed.parent / "python", "-c", code, cwd=tmp_path) == "True\n"


@pytest.mark.slow
def test_the_wheel_simulates(installed, tmp_path):
    out = run(installed, "sim", "--down", "lte-still", "--flows", "1", "--seconds", "2", "--json", cwd=tmp_path)
    assert json.loads(out)["goodput_mbps"] > 0


@pytest.mark.slow
def test_the_wheel_has_the_files_for_other_systems_with_its_own_paths(installed, tmp_path):
    assert "SMARTWIRE-MIB DEFINITIONS" in run(installed, "export", "file", "mib", cwd=tmp_path)
    assert json.loads(run(installed, "export", "file", "dashboard", cwd=tmp_path))["panels"]
    unit = run(installed, "export", "file", "unit", cwd=tmp_path)
    assert f"ExecStart={installed.parent}/python" in unit
