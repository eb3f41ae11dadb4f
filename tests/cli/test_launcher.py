"""The launcher, with a toolchain of stubs: what it installs, when it builds, what it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "smartwire"

# Plays python3: answers the launcher's questions, makes a "virtual environment" of itself, and notes what it is asked.
PYTHON = """#!/bin/sh
case "$*" in
*"-m venv"*) for venv; do :; done; mkdir -p "$venv/bin"; cp "$0" "$venv/bin/python" ;;
*maturin\\ develop*)
    echo "begun" >>"$STUB_LOG"
    while [ -n "${STUB_UNTIL:-}" ] && ! [ -e "$STUB_UNTIL" ]; do sleep 0.02; done
    echo "built" >>"$STUB_LOG"
    if [ -n "${STUB_FAIL:-}" ]; then echo "error[E0425]: a compiler's complaint"; exit 1; fi ;;
*"-m smartwire"*) shift 2; printf 'ran:'; printf ' <%s>' "$@"; echo; echo "home=$SMARTWIRE_HOME" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose path has a space, and what runs its launcher: checkout.run("status", cwd=..., STUB_FAIL="1")."""
    return Checkout(tmp_path)


class Checkout:
    def __init__(self, tmp_path: Path) -> None:
        self.home = tmp_path / "a checkout"
        self.stubs = tmp_path / "stubs"
        self.log = tmp_path / "log"
        self.log.touch()
        source = self.home / "crates" / "x" / "src"
        source.mkdir(parents=True)
        self.source = source / "lib.rs"
        self.source.write_text("// one\n")
        (self.home / "bpf").mkdir()
        for name in ("Cargo.toml", "Cargo.lock", "pyproject.toml"):
            (self.home / name).write_text("\n")
        shutil.copy(LAUNCHER, self.home / "smartwire")
        self.stubs.mkdir()
        self.stub("python3", PYTHON)
        self.stub("cargo", "#!/bin/sh\necho cargo 1.99.0\n")
        self.stub("cc", "#!/bin/sh\n")

    def stub(self, name: str, text: str) -> None:
        path = self.stubs / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *args: str, command: Path | None = None, cwd: Path | None = None, **env: str) -> subprocess.Popen:
        # Only what the launcher may count on; nothing of the real toolchain.
        env = {"PATH": f"{self.stubs}:/usr/bin:/bin", "HOME": str(self.home), "STUB_LOG": str(self.log)} | env
        argv = ["dash" if shutil.which("dash") else "sh", str(command or self.home / "smartwire"), *args]
        return subprocess.Popen(
            argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
        )

    def run(self, *args: str, **kwargs) -> subprocess.CompletedProcess:
        process = self.start(*args, **kwargs)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(args, process.returncode, out, err)

    def builds(self) -> int:
        return self.log.read_text().count("built")


def cpu_seconds() -> float:
    """What all processes that this one has waited for have used of processors, however long they waited for one."""
    times = os.times()
    return times.children_user + times.children_system


def test_the_first_start_says_each_step_and_the_second_nothing(checkout):
    first = checkout.run("status", "--name", "two words")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[0] == "ran: <status> <--name> <two words>"
    assert "making a virtual environment" in first.stderr
    assert "building" in first.stderr
    before = cpu_seconds()
    second = checkout.run("status")
    assert (second.returncode, second.stderr) == (0, "")
    assert checkout.builds() == 1
    assert cpu_seconds() - before < 1.0, "it takes 0.05"


def test_it_works_from_anywhere_and_through_a_link(checkout, tmp_path):
    link = tmp_path / "bin"
    link.symlink_to(checkout.home / "smartwire")
    done = checkout.run("--version", command=link, cwd=tmp_path)
    assert f"home={checkout.home}" in done.stdout


@pytest.mark.parametrize("change", ["edit", "add", "delete"])
def test_a_change_of_the_rust_sources_builds_again(checkout, change):
    checkout.run("status")
    if change == "edit":
        checkout.source.write_text("// two and longer\n")
    elif change == "add":
        (checkout.source.parent / "more.rs").write_text("")
    else:
        checkout.source.unlink()
    checkout.run("status")
    assert checkout.builds() == 2


def test_a_change_of_tests_or_python_does_not_build_again(checkout):
    checkout.run("status")
    (checkout.home / "crates" / "x" / "tests").mkdir()
    (checkout.home / "crates" / "x" / "tests" / "t.rs").write_text("")
    (checkout.home / "python").mkdir()
    (checkout.home / "python" / "x.py").write_text("")
    checkout.run("status")
    assert checkout.builds() == 1


def test_a_moved_checkout_builds_again(checkout, tmp_path):
    checkout.run("status")
    checkout.home = checkout.home.rename(tmp_path / "elsewhere")
    assert checkout.run("status").returncode == 0
    assert checkout.builds() == 2


def test_a_failed_build_shows_the_log_and_is_tried_again(checkout):
    done = checkout.run("status", STUB_FAIL="1")
    assert done.returncode == 1
    assert "a compiler's complaint" in done.stderr
    assert "target/launcher/log" in done.stderr
    assert done.stdout == ""
    assert checkout.run("status").returncode == 0


def test_two_at_once_build_once(checkout, tmp_path):
    go_on = tmp_path / "go on"
    one = checkout.start("status", STUB_UNTIL=str(go_on))
    while "begun" not in checkout.log.read_text():
        assert one.poll() is None
        time.sleep(0.02)
    other = checkout.start("status")
    assert "waiting for another build" in other.stderr.readline()
    go_on.touch()
    for process in (one, other):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert out.startswith("ran: <status>")
    assert checkout.builds() == 1


def test_the_tests_tools_are_installed_only_for_the_tests(checkout):
    for tool in ("ip", "ethtool", "sysctl", "git", "curl", "tcpdump", "haproxy", "clang"):
        checkout.stub(tool, "#!/bin/sh\n")
    checkout.run("status")
    assert not (checkout.home / ".venv" / ".smartwire-dev").exists()
    checkout.run("test")
    assert (checkout.home / ".venv" / ".smartwire-dev").exists()
    assert checkout.builds() == 2


def test_what_the_web_pages_need_is_installed_for_them_and_with_the_tests_tools(checkout):
    for tool in ("ip", "ethtool", "sysctl", "git", "curl", "tcpdump", "haproxy", "clang"):
        checkout.stub(tool, "#!/bin/sh\n")
    checkout.run("status")
    assert not (checkout.home / ".venv" / ".smartwire-web").exists()
    checkout.run("web")
    checkout.run("daemon")
    assert checkout.builds() == 2
    (checkout.home / ".venv" / ".smartwire-web").unlink()
    checkout.run("demo", "--appliance")
    assert checkout.builds() == 3
    checkout.run("test")
    (checkout.home / "pyproject.toml").write_text("# other packages\n")
    checkout.run("test")
    assert checkout.builds() == 5
    checkout.run("web")
    assert checkout.builds() == 5


def lacks(*tools: str) -> pytest.MarkDecorator:
    """Skips where one of the tools is in /usr/bin or /bin and cannot be hidden."""
    there = [t for t in tools if any(os.path.exists(f"{d}/{t}") for d in ("/usr/bin", "/bin"))]
    return pytest.mark.skipif(bool(there), reason=f"{', '.join(there)} cannot be hidden here")


@lacks("rustup", "cargo")
def test_without_rust_and_network_it_says_how_to_install_it(checkout):
    checkout.stub("cargo", "#!/bin/sh\necho cargo 1.63.0\n")
    checkout.stub("curl", "#!/bin/sh\nexit 6\n")
    done = checkout.run("status")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "Rust 1.85 or newer is needed" in last
    assert "https://sh.rustup.rs" in last


def test_an_installed_rustup_is_used(checkout):
    checkout.stub(
        "cargo", '#!/bin/sh\n[ "${RUSTUP_TOOLCHAIN:-}" = stable ] && echo cargo 1.99.0 || echo cargo 1.63.0\n'
    )
    checkout.stub("rustup", '#!/bin/sh\necho "rustup $*" >>"$STUB_LOG"\n')
    assert checkout.run("status").returncode == 0
    assert "rustup toolchain install stable --profile minimal" in checkout.log.read_text()


def test_without_a_recent_python_it_says_how_to_install_it(checkout):
    for name in ("python3", "python3.14", "python3.13", "python3.12", "python3.11"):
        checkout.stub(name, "#!/bin/sh\nexit 1\n")
    checkout.stub("id", "#!/bin/sh\necho 1000\n")
    done = checkout.run("status")
    assert done.returncode == 1
    assert "Python 3.11 or newer" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_a_subcommand_needs_is_named_with_the_command_that_installs_it(checkout):
    checkout.stub("id", "#!/bin/sh\necho 1000\n")
    text = (checkout.home / "smartwire").read_text().replace("haproxy=haproxy ;;", "no-such-tool=some-package ;;")
    (checkout.home / "smartwire").write_text(text)
    checkout.run("status")
    done = checkout.run("demo")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("smartwire: demo needs")
    assert "sudo apt-get install" in done.stderr
    assert checkout.run("demo", "--help").returncode == 0


def test_root_has_missing_packages_installed(checkout):
    checkout.stub("id", "#!/bin/sh\necho 0\n")
    checkout.stub("apt-get", '#!/bin/sh\necho "apt-get $*" >>"$STUB_LOG"\n')
    text = (checkout.home / "smartwire").read_text().replace("haproxy=haproxy ;;", "no-such-tool=some-package ;;")
    (checkout.home / "smartwire").write_text(text)
    done = checkout.run("demo")
    assert done.returncode == 0
    assert "installing" in done.stderr
    assert "some-package" in checkout.log.read_text()
