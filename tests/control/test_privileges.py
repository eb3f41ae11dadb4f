"""What a process that reads what others send may still do: nothing, wherever its Python is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root has rights to give up"),
]

PROGRAM = """
import importlib, os, sys
from pathlib import Path
home = Path(sys.argv[1])
sys.path.insert(0, str(home / "venv"))
from smartwire import privileges
import early
print(privileges.drop([os.__file__, early.__file__]))
import late
status = Path("/proc/self/status").read_text()
print([line.split()[1] for line in status.splitlines() if line.startswith(("Uid", "CapEff", "CapBnd", "NoNewPrivs"))])
print(sorted(p.name for p in home.iterdir()))
try:
    (home / "venv" / "new").write_text("")
except OSError as e:
    print(type(e).__name__)
"""


@pytest.fixture
def home(tmp_path) -> Path:
    """A directory like root's own, with a Python environment and a secret in it."""
    made = tmp_path / "home"
    (made / "venv").mkdir(parents=True)
    made.chmod(0o700)
    for module in ("early", "late"):
        (made / "venv" / f"{module}.py").write_text("")
    (made / "secret").write_text("the key")
    return made


def run(home: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(home)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_python_in_a_home_that_is_closed_is_all_that_it_reaches_there(home):
    said, status, there, written = run(home)
    assert said == "serving as nobody"
    assert status == "['65534', '0000000000000000', '0000000000000000', '1']"
    assert there == "['venv']"
    assert written in ("OSError", "PermissionError")
    assert sorted(p.name for p in home.iterdir()) == ["secret", "venv"]  # for everybody else


def test_what_cannot_be_laid_open_is_said_in_a_sentence_and_leaves_root_without_powers(home):
    (home / "venv").chmod(0o700)  # the environment itself is closed
    said, status, *_ = run(home)
    assert "serving as root without capabilities, since nobody could not read" in said
    assert "install Smartwire where everybody may read it" in said
    assert status == "['0', '0000000000000000', '0000000000000000', '1']"


def test_rights_are_given_up_before_there_are_threads():
    code = "import threading, time; from smartwire import privileges\n"
    code += "threading.Thread(target=time.sleep, args=(9,), daemon=True).start(); privileges.drop()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "before there are threads" in done.stderr
